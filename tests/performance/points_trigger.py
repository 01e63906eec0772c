"""Compare the points trigger with none, with the gateway's row-level trigger, and with a row-level one of our figures.

    python -m tests.performance.points_trigger [--rounds 5] [--json FILE] [--quick]

Run it in the project's folder on an idle machine. It takes a quarter of an hour. On a busy machine, run it at real-time
priority (`chrt -f 5`), because a commit that waits for a processor takes ten times as long, and hides the cost of any
trigger. It prints a table, and writes every run to build/points_trigger.json.
`COUNCIL_POSTGRES_BIN=/usr/lib/postgresql/15/bin` measures the PostgreSQL in that folder.

In every round the triggers take turns, each on a new copy of its database, which has the whole schema with all other
triggers and 100,000 members. Single inserts take turns of 25. Ratios are medians of the rounds' ratios. Bulk means one
INSERT … SELECT of 100,000 rows.
"""

import argparse
import json
import logging
import random
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
from psycopg import errors

from tests.performance import measuring

log = logging.getLogger(__name__)

NONE, ROW_LEVEL, SAME_FIGURES, OURS = "no points trigger", "row-level", "row-level, our figures", "ours"
# Row by row and with locks in any order, like the gateway's. With our figures, it is right only for rows of today.
ROW_LEVEL_TRIGGER = """
    DROP FUNCTION update_member_total_points CASCADE;
    CREATE FUNCTION update_member_total_points() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      UPDATE "Member" AS member SET {figures} WHERE id = NEW."memberId";
      RETURN NEW;
    END $$;
    CREATE TRIGGER trg_update_member_points AFTER INSERT ON "PointTransaction"
    FOR EACH ROW EXECUTE FUNCTION update_member_total_points();
"""
TOTAL = """ "totalPoints" = "totalPoints" + NEW.points, "lastActiveAt" = NEW."createdAt" """
OUR_FIGURES = f"""{TOTAL},
    "pointsMonth" = date_trunc('month', NEW."createdAt"),
    "monthPoints" = CASE WHEN "pointsMonth" = date_trunc('month', NEW."createdAt") THEN "monthPoints" ELSE 0 END
                    + NEW.points,
    "currentStreak" = CASE WHEN NEW."createdAt"::date <= "lastActiveAt"::date THEN "currentStreak"
                           WHEN NEW."createdAt"::date <= next_weekday("lastActiveAt"::date) THEN "currentStreak" + 1
                           ELSE 1 END
"""
# Prepares a migrated database for the measurement.
VARIANTS = {
    NONE: "DROP FUNCTION update_member_total_points CASCADE",
    ROW_LEVEL: ROW_LEVEL_TRIGGER.format(figures=TOTAL),
    SAME_FIGURES: ROW_LEVEL_TRIGGER.format(figures=OUR_FIGURES),
    OURS: "",
}


@dataclass(frozen=True)
class Sizes:
    members: int = 100_000
    few_members: int = 100
    bulk_rows: int = 100_000
    single_inserts: int = 2_000
    writers: int = 4
    contended_members: int = 500
    rows_a_transaction: int = 200
    writing_seconds: float = 4


ROWS_A_TURN = 25
QUICK = Sizes(members=2_000, bulk_rows=4_000, single_inserts=100, writing_seconds=2)

ADD_MEMBERS = """
    INSERT INTO "Member" (id, email, "discordId", "stripeCustomerId", "firstName", "lastName", company,
                          "subscriptionStatus", "updatedAt")
    SELECT 'm' || lpad(i::text, 24, '0'), 'member' || i || '@example.com', (10 ^ 17)::bigint + i, 'cus_' || i,
           'First' || i, 'Last' || i, 'Company' || i, 'ACTIVE', now()
      FROM generate_series(0, %(members)s - 1) AS i
"""
# A prime scatters the rows over the members, each of whom gets equally many.
BULK_INSERT = """
    INSERT INTO "PointTransaction" (id, "memberId", action, points)
    SELECT 'b' || lpad(i::text, 24, '0'), 'm' || lpad((i * 7919 %% %(members)s)::text, 24, '0'),
           'event_attended', 10
      FROM generate_series(1, %(rows)s::bigint) AS i
"""
INSERT = """
    INSERT INTO "PointTransaction" (id, "memberId", action, points)
    SELECT gen_random_uuid(), member, 'event_attended', 10
      FROM unnest(%(members)s::text[]) AS member
"""
SINGLE_INSERT = """
    INSERT INTO "PointTransaction" (id, "memberId", action, points)
    VALUES (%(id)s, %(member)s, 'event_attended', 10)
"""
WRONG_TOTALS = """
    SELECT count(*)
      FROM "Member"
      LEFT JOIN (SELECT "memberId", sum(points) AS points
                   FROM "PointTransaction"
                  GROUP BY "memberId") AS ledger
        ON ledger."memberId" = "Member".id
     WHERE "Member"."totalPoints" <> coalesce(ledger.points, 0)
"""


class Figure(NamedTuple):
    took: float  # in the measurement's unit
    committed: int = 1
    deadlocked: int = 0


class Run(NamedTuple):
    server: measuring.Server
    database: str
    sizes: Sizes

    def bulk_over_few_members(self) -> Figure:
        return self._bulk(members=self.sizes.few_members)

    def bulk_over_all_members(self) -> Figure:
        return self._bulk(members=self.sizes.members)

    def _bulk(self, *, members: int) -> Figure:
        with self.server.connect(self.database) as connection:
            return Figure(self.insert_in_bulk(connection, members=members))

    def concurrent_writers(self) -> Figure:
        with ThreadPoolExecutor(self.sizes.writers) as pool:
            counts = list(pool.map(self._write, range(self.sizes.writers)))
        committed, deadlocked = (sum(column) for column in zip(*counts, strict=True))
        thousands = committed * self.sizes.rows_a_transaction / 1000
        took = self.sizes.writing_seconds * 1000 / thousands if thousands else float("inf")
        return Figure(took, committed, deadlocked)

    def count_wrong_totals(self) -> int:
        with self.server.connect(self.database) as connection:
            return int(_value(connection.execute(WRONG_TOTALS)))

    def insert_in_bulk(self, connection: psycopg.Connection, *, members: int) -> float:
        began = time.perf_counter()
        connection.execute(BULK_INSERT, {"rows": self.sizes.bulk_rows, "members": members})
        return time.perf_counter() - began

    def _write(self, writer: int) -> tuple[int, int]:
        chance = random.Random(writer)
        committed = deadlocked = 0
        with self.server.connect(self.database) as connection:
            end = time.monotonic() + self.sizes.writing_seconds
            while time.monotonic() < end:
                numbers = chance.sample(range(self.sizes.contended_members), self.sizes.rows_a_transaction)
                try:
                    connection.execute(INSERT, {"members": [f"m{number:024}" for number in numbers]})
                    committed += 1
                except errors.DeadlockDetected:
                    deadlocked += 1
        return committed, deadlocked


def single_inserts(runs: Sequence[Run], *, after_bulk: bool = False) -> list[Figure]:
    """Insert rows one by one. All runs take turns of a few rows, so that other load on the machine affects them alike.

    After a bulk insert, the session has cached plans from it, which may not suit single rows.
    """
    sizes, chance = runs[0].sizes, random.Random(1)
    took: list[list[float]] = [[] for _ in runs]
    with ExitStack() as stack:
        sessions = [stack.enter_context(run.server.connect(run.database)) for run in runs]
        if after_bulk:
            for run, session in zip(runs, sessions, strict=True):
                run.insert_in_bulk(session, members=sizes.members)
        sessions[0].execute("CHECKPOINT")
        for first in range(0, sizes.single_inserts, ROWS_A_TURN):
            rows = [
                {"id": f"s{number:024}", "member": f"m{chance.randrange(sizes.members):024}"}
                for number in range(first, first + ROWS_A_TURN)
            ]
            for session, times in chance.sample([*zip(sessions, took, strict=True)], len(runs)):
                for row in rows:
                    began = time.perf_counter()
                    session.execute(SINGLE_INSERT, row)
                    times.append(time.perf_counter() - began)
    return [Figure(statistics.median(times) * 1000, committed=len(times)) for times in took]


def one_after_another(measurement: Callable[[Run], Figure]) -> Callable[[Sequence[Run]], list[Figure]]:
    return lambda runs: [measurement(run) for run in runs]


FEW, SINGLE, AFTER, WRITERS = (
    "bulk over few members",
    "single inserts",
    "single inserts after bulk",
    "concurrent writers",
)
# The runs of a round, one for each variant, are measured together.
MEASUREMENTS: dict[str, tuple[str, Callable[[Sequence[Run]], list[Figure]]]] = {
    FEW: ("s", one_after_another(Run.bulk_over_few_members)),
    "bulk over all members": ("s", one_after_another(Run.bulk_over_all_members)),
    SINGLE: ("ms each", single_inserts),
    AFTER: ("ms each", partial(single_inserts, after_bulk=True)),
    WRITERS: ("ms a 1,000 rows", one_after_another(Run.concurrent_writers)),
}
# By measurement and variant. Rounds that a variant skips are missing at the end.
Figures = dict[str, dict[str, list[Figure]]]


def takes_part(variant: str, name: str, number: int) -> bool:
    """Tell whether a variant takes part in this round.

    With few members, every row adds another version of its member's row, which the next one must skip. That takes over
    a minute for each run, so the row-level trigger skips the later rounds. The other row-level one is only for single
    inserts.
    """
    if variant == SAME_FIGURES:
        return name in (SINGLE, AFTER)
    return not (variant == ROW_LEVEL and name == FEW and number > 1)


def _value(cursor: psycopg.Cursor[Any]) -> Any:
    row = cursor.fetchone()
    assert row
    return row[0]


def make_templates(server: measuring.Server, sizes: Sizes, variants: Mapping[str, str]) -> None:
    server.migrate("migrated")
    with server.connect("migrated") as connection:
        connection.execute(ADD_MEMBERS, {"members": sizes.members})
        connection.execute("VACUUM (FREEZE, ANALYZE)")
    for variant, change in variants.items():
        server.copy("migrated", variant)
        with server.connect(variant) as connection:
            connection.execute(change)


def measure(server: measuring.Server, sizes: Sizes, *, rounds: int, variants: Mapping[str, str]) -> Figures:
    make_templates(server, sizes, variants)
    figures: Figures = {name: defaultdict(list) for name in MEASUREMENTS}
    for number in range(1, rounds + 1):
        for name, (_, measurement) in MEASUREMENTS.items():
            present = [variant for variant in variants if takes_part(variant, name, number)]
            with ExitStack() as stack:
                databases = [stack.enter_context(server.throw_away(variant)) for variant in present]
                runs = [Run(server, database, sizes) for database in databases]
                measured = measurement(runs)
                for variant, run, figure in zip(present, runs, measured, strict=True):
                    assert variant == NONE or run.count_wrong_totals() == 0, f"{variant}: wrong totals"
                    figures[name][variant].append(figure)
                    log.info("round %d of %d: %s, %s: %s", number, rounds, name, variant, figure)
    return figures


def ratio(figures: Figures, name: str, slower: str, faster: str) -> float:
    pairs = zip(figures[name][slower], figures[name][faster], strict=False)
    return statistics.median(one.took / other.took for one, other in pairs)


def bars(figures: Figures) -> dict[str, bool]:
    """Compare the figures with their limits. Returns each limit with its figure, and whether it is met."""
    judged = {}
    for name, limit in ((FEW, 1.6), (SINGLE, 1.3), (AFTER, 1.3)):
        value = ratio(figures, name, OURS, NONE)
        judged[f"{name}: {value:.2f} times no points trigger, at most {limit}"] = value <= limit
    gain = ratio(figures, FEW, ROW_LEVEL, OURS)
    judged[f"{FEW}: {gain:.0f} times as fast as row-level, at least 20"] = gain >= 20
    deadlocks = {
        variant: sum(figure.deadlocked for figure in runs) for variant, runs in figures[WRITERS].items()
    }
    judged[f"deadlocks: {deadlocks[OURS]}, none allowed; row-level {deadlocks[ROW_LEVEL]}"] = not deadlocks[
        OURS
    ]
    return judged


def report(figures: Figures) -> str:
    rows = [["", "", "median", "least", "most", "to none", "deadlocked"]]
    for name, by_variant in figures.items():
        for variant, runs in by_variant.items():
            took = [run.took for run in runs]
            deadlocked = sum(run.deadlocked for run in runs)
            transactions = deadlocked + sum(run.committed for run in runs)
            rows.append(
                [
                    f"{name}, {MEASUREMENTS[name][0]}",
                    variant,
                    *(f"{value:.3f}" for value in (statistics.median(took), min(took), max(took))),
                    f"{ratio(figures, name, variant, NONE):.2f}",
                    f"{deadlocked} of {transactions}" if name == WRITERS else "",
                ]
            )
    return measuring.table(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, default=measuring.PROJECT / "build" / "points_trigger.json")
    parser.add_argument(
        "--quick", action="store_true", help="small sizes, to try the script; no limit is checked"
    )
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    sizes = QUICK if options.quick else Sizes()

    with measuring.private_server() as server:
        record = server.record()
        log.info("%s", record)
        figures = measure(server, sizes, rounds=options.rounds, variants=VARIANTS)
    judged = {} if options.quick else bars(figures)
    record |= {"rounds": options.rounds, "sizes": asdict(sizes), "bars": judged}
    record["figures"] = {
        name: {variant: [run._asdict() for run in runs] for variant, runs in by_variant.items()}
        for name, by_variant in figures.items()
    }
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(record, indent=2) + "\n")
    verdicts = [f"{'met' if is_met else 'MISSED'}: {bar}" for bar, is_met in judged.items()]
    print(report(figures), *verdicts, sep="\n")  # noqa: T201


if __name__ == "__main__":
    main()
