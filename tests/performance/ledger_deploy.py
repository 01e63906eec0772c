"""Measure how long clients wait while migrations run on a large ledger in use.

    python -m tests.performance.ledger_deploy [--members 1000000] [--ledger-rows 2000000]

Starts from version 1 with the gateway's whole plan for version 2, like production may be. Two clients read and add
ledger rows and read and update members, with 200 statements per second. After the migrations they continue for the same
time, because any disk has its slow moments, and a longer measurement meets more of them. Limit: the longest wait is at
most twice the longest wait without migrations. Takes a quarter of an hour on a quiet machine.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from council.rehearsal import load
from council.rehearsal.database_url import DatabaseUrl
from council.rehearsal.load import Load
from tests.adoption import states
from tests.performance import deploys, ledger_data
from tests.performance.measuring import Server, private_server
from tests.performance.runs import Run

LEDGER = ("points of a member", "points for a member")
LOAD = Load(clients=2, per_second=200, held_seconds=0, statements=LEDGER)
LOAD_FROM_PLAN = Load(
    clients=2, per_second=200, held_seconds=0, statements=(*LEDGER, "member by id", "update of a profile")
)
BAR = 2.0  # multiplied by the longest wait before the migrations
BEFORE_SECONDS, AFTER_SECONDS = 4.0, 2.0
DATABASE = "deployed"
# Leads to the state before the ledger's migrations, with everything else that does not need them.
BEFORE = [("gamification", "0005"), ("council", "0006"), ("benchmarks",), ("resources",)]


@contextmanager
def at_work(url: str, run: Run, what: Load = LOAD) -> Iterator[None]:
    """Run clients during a block and for some seconds before and after it. Yields what they recorded."""
    with tempfile.TemporaryDirectory() as name:
        place, folder = DatabaseUrl(url, "--url"), Path(name)
        with load.at_work(place, what, schema="public", folder=folder) as observed:
            time.sleep(BEFORE_SECONDS)
            yield
            time.sleep(AFTER_SECONDS)
        run.samples += [(sample.due, sample.waited, sample.kind) for sample in observed.samples]


def measure(server: Server, *, members: int) -> dict[str, float | str]:
    """Migrate a ledger in use from gamification 0005 to the newest. Returns waits in ms, and the duration in s."""
    server.create(DATABASE)
    for target in BEFORE:
        server.migrate_to(DATABASE, *target)
    ledger_data.fill_before_0006(server, DATABASE, members=members)
    found = deploy(server, LOAD)
    return {"ledger rows": members * ledger_data.ROWS_A_MEMBER, **found}


def measure_from_plan(server: Server, *, members: int, ledger_rows: int) -> dict[str, float | str]:
    """Migrate the result of the gateway's own tool, with members and a ledger whose totals its trigger kept."""
    server.create(DATABASE)
    with server.connect(DATABASE) as session:
        for statement in (states.V1, *states.upto(states.STEPS)):
            session.execute(statement.encode())
    ledger_data.fill_plan(server, DATABASE, members=members, ledger_rows=ledger_rows)
    return {
        "members": members,
        "ledger rows": ledger_rows,
        **deploy(server, LOAD_FROM_PLAN, is_compared=True),
    }


def deploy(server: Server, what: Load, *, is_compared: bool = False) -> dict[str, float | str]:
    """Migrate under load. If `is_compared`, the load continues for the same time without migrations."""
    run = Run("ledger")
    with at_work(server.url(DATABASE), run, what):
        run.began = time.monotonic()
        deploys.ours(server.url(DATABASE), run)
        run.ended = time.monotonic()
        if is_compared:
            time.sleep(run.ended - run.began)
    if run.status:
        raise RuntimeError(f"The deploy ended with {run.status}.")
    found: dict[str, float | str] = {
        "migrations": len(run.steps),
        "deploy, s": round(run.ended - run.began, 1),
    }
    for kind in ("read", "write"):
        before = [took for start, took, which in run.samples if which == kind and start + took < run.began]
        after = [took for start, took, which in run.samples if which == kind and start > run.ended]
        during = sorted(
            (took, start + took)
            for start, took, which in run.samples
            if which == kind and start + took >= run.began and start <= run.ended
        )
        found[f"longest {kind} before, ms"] = round(max(before) * 1000, 1)
        found[f"longest {kind} without migrations, ms"] = round(max(before + after) * 1000, 1)
        found[f"99 % of {kind}s during, ms"] = round(during[int(len(during) * 0.99)][0] * 1000, 1)
        took, moment = during[-1]
        found[f"longest {kind} during, ms"] = round(took * 1000, 1)
        found[f"longest {kind} during, in"] = next(
            (name for at, name in run.steps if at >= moment), "the end"
        )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--members", type=int, default=1_000_000)
    parser.add_argument("--ledger-rows", type=int, default=2_000_000)
    options = parser.parse_args()
    with private_server() as server:
        found = measure_from_plan(server, members=options.members, ledger_rows=options.ledger_rows)
        record = server.record()
    sys.stdout.write(json.dumps(record | {"load of the machine": os.getloadavg(), **found}, indent=2) + "\n")
    for kind in ("read", "write"):
        without = float(found[f"longest {kind} without migrations, ms"])
        ratio = float(found[f"longest {kind} during, ms"]) / without
        sys.stdout.write(
            f"{'met' if ratio <= BAR else 'MISSED'}: longest {kind} {ratio:.1f} times the longest without migrations, "
            f"at most {BAR:.0f}\n"
        )


if __name__ == "__main__":
    main()
