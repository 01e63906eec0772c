"""Measure how much slower the trigger that adds missing keys makes the gateway's inserts into the ledger.

    python -m tests.performance.key_trigger [--rounds 3] [--members 100000] [--inserts 2000]

Compares two copies of a database with the whole schema, one of them without the trigger. They take turns of 25 single
inserts in random order, of rows that get a key, and of rows that the trigger only looks at. Then each inserts many rows
in one statement. Each round uses new copies. Ratios are medians of the rounds' ratios. Takes at most a quarter of an
hour. `COUNCIL_POSTGRES_BIN=/usr/lib/postgresql/15/bin` measures another PostgreSQL.
"""

import argparse
import random
import statistics
import sys
import time
from collections import defaultdict
from contextlib import ExitStack

import psycopg

from tests.performance import measuring
from tests.performance.points_trigger import ADD_MEMBERS, ROWS_A_TURN

WITH, WITHOUT = "with the trigger", "without it"
CHANGES = {WITH: "SELECT", WITHOUT: "DROP FUNCTION update_point_transaction_keys CASCADE"}
SINGLE = """
    INSERT INTO "PointTransaction" (id, "memberId", action, points, metadata)
    VALUES (%(id)s, %(member)s, %(action)s, 5, jsonb_build_object('resourceId', %(id)s::text))
"""
# Each row has its own member, so that the points trigger always does the same work.
MANY = """
    INSERT INTO "PointTransaction" (id, "memberId", action, points, metadata)
    SELECT 'b' || i, 'm' || lpad(i::text, 24, '0'), %(action)s, 5, jsonb_build_object('resourceId', 'r' || i)
      FROM generate_series(0, %(rows)s - 1) AS i
"""
GIVEN = """SELECT count("idempotencyKey") FROM "PointTransaction" WHERE action = %s"""
KINDS = {"a row that gets a key": "resource_download", "a row that gets none": "event_attended"}


def single(
    sessions: dict[str, psycopg.Connection], action: str, *, inserts: int, members: int, chance: random.Random
) -> dict[str, float]:
    """Insert row by row, in turns. Returns the median of each, in ms."""
    took: dict[str, list[float]] = defaultdict(list)
    for first in range(0, inserts, ROWS_A_TURN):
        rows = [
            {"id": f"{action}{number}", "member": f"m{chance.randrange(members):024}", "action": action}
            for number in range(first, first + ROWS_A_TURN)
        ]
        for name, session in chance.sample([*sessions.items()], len(sessions)):
            for row in rows:
                began = time.perf_counter()
                session.execute(SINGLE, row)
                took[name].append(time.perf_counter() - began)
    return {name: statistics.median(times) * 1000 for name, times in took.items()}


def many(session: psycopg.Connection, action: str, *, rows: int) -> float:
    """Insert many rows in one statement, and roll back. Returns ms per row."""
    with session.transaction(force_rollback=True):
        began = time.perf_counter()
        session.execute(MANY, {"action": action, "rows": rows})
        return (time.perf_counter() - began) * 1000 / rows


def one_round(
    server: measuring.Server, *, inserts: int, members: int, chance: random.Random
) -> dict[str, dict[str, float]]:
    figures: dict[str, dict[str, float]] = {}
    with ExitStack() as stack:
        sessions = {}
        for name, change in CHANGES.items():
            server.copy("migrated", name)
            sessions[name] = stack.enter_context(server.connect(name))
            sessions[name].execute(change.encode())
        for kind, action in KINDS.items():
            figures[f"{kind}, single"] = single(
                sessions, action, inserts=inserts, members=members, chance=chance
            )
            for name, session in sessions.items():
                expected = inserts if name == WITH and action == "resource_download" else 0
                assert session.execute(GIVEN, [action]).fetchone() == (expected,), f"keys: {name}, {action}"
        for kind, action in KINDS.items():
            figures[f"{kind}, of {min(members, 10_000):,} in a statement"] = {
                name: many(session, action, rows=min(members, 10_000))
                for name, session in chance.sample([*sessions.items()], len(sessions))
            }
    with server.connect() as session:
        for name in CHANGES:
            session.execute(f'DROP DATABASE "{name}" WITH (FORCE)'.encode())
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--members", type=int, default=100_000)
    parser.add_argument("--inserts", type=int, default=2_000)
    options = parser.parse_args()
    chance = random.Random(1)
    with measuring.private_server() as server:
        server.migrate("migrated")
        with server.connect("migrated") as session:
            session.execute(ADD_MEMBERS, {"members": options.members})
            session.execute("VACUUM (FREEZE, ANALYZE)")
        rounds = [
            one_round(server, inserts=options.inserts, members=options.members, chance=chance)
            for _ in range(options.rounds)
        ]
        record = server.record()
    rows = [["", WITHOUT, WITH, "ratio"]]
    for kind in rounds[0]:
        medians = {name: statistics.median(found[kind][name] for found in rounds) for name in CHANGES}
        ratio = statistics.median(found[kind][WITH] / found[kind][WITHOUT] for found in rounds)
        rows.append([f"{kind}, ms", *(f"{medians[name]:.3f}" for name in (WITHOUT, WITH)), f"{ratio:.2f}"])
    sys.stdout.write(f"{record}\n{measuring.table(rows)}\n")


if __name__ == "__main__":
    main()
