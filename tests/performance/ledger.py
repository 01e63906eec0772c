"""Measure the times of awards, histories and leaderboards, and how they grow with the ledger.

    python -m tests.performance.ledger [--members 1000000] [--rounds 3] [--only awards] [--quick] [--json FILE]

Compares two databases, one with a hundredth of the other's members. Members have ten ledger rows on average: a few have
thousands, most have only some. What is compared takes turns. Then the ledger's migrations run on a million rows, with
clients at work. Run it on an idle machine. It takes about half an hour, prints tables, and writes every figure to
build/ledger.json. With `--only` it measures one part, such as the awards (four minutes).
"""

import argparse
import json
import logging
import os
import random
import statistics
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
if __name__ == "__main__":
    django.setup()

from django.db import connections, transaction

from council.models import Member
from council.postgres.fields import cuid
from gamification import leaderboard, ledger, reconciliation
from gamification.leaderboard import Leaderboard, Period
from gamification.models import Action, PointTransaction
from tests.performance import ledger_data, ledger_deploy
from tests.performance.measuring import PROJECT, Server, private_server, table

log = logging.getLogger(__name__)

DEPTHS = {"1 % down": 0.01, "10 % down": 0.1, "half way down": 0.5, "at the end": 0.999}
BAR_MS = 5.0
BAR_TIMES_AS_FAST = 30.0
BARE, AWARD = "bare INSERT", "ledger.award"
SINGLE, AT_ONCE = "awards one by one, each", "awards in one call, each"
WITHOUT_TRIGGER = "awards in one call, without the points trigger, each"
PARTS = ("reads", "writes", "awards")

BARE_INSERT = """
    INSERT INTO "PointTransaction" (id, "memberId", action, points, "idempotencyKey") VALUES (%s, %s, %s, %s, %s)
"""
COUNT_ABOVE = """
    SELECT 1 + count(*) FROM "Member"
     WHERE "leaderboardVisible" AND "subscriptionStatus" IN ('ACTIVE', 'TRIALING') AND "{column}" > %s {month}
"""


@dataclass
class Contestant:
    """A database, and the times measured on it, in ms."""

    server: Server
    members: int
    figures: dict[str, list[float]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"members_{self.members}"

    def any_member(self, chance: random.Random) -> str:
        return ledger_data.member_id(chance.randrange(self.members))

    def some_award(self, chance: random.Random) -> ledger.Award:
        """Make an award that was not paid before."""
        return ledger.Award(self.any_member(chance), Action.RESOURCE_DOWNLOAD, cuid())

    def time(self, what: str, acts: Sequence[Callable[[], object]], *, each: int = 1) -> None:
        """Time functions, each of which does this many things."""
        for act in acts:
            began = time.perf_counter()
            act()
            self.figures.setdefault(what, []).append((time.perf_counter() - began) * 1000 / each)

    def time_warm(self, what: str, act: Callable[[], object], *, calls: int) -> None:
        act()
        self.time(what, [act] * calls)


def read_histories(contestant: Contestant, chance: random.Random, calls: int) -> None:
    members = [Member.objects.get(pk=contestant.any_member(chance)) for _ in range(calls + 1)]
    pages = [partial(ledger.history, member=member) for member in members]
    pages[0]()
    contestant.time("history, first page", pages[1:])
    heavy = Member.objects.get(pk=ledger_data.member_id(0))
    contestant.time_warm(
        "history of who has most, first page", partial(ledger.history, member=heavy), calls=calls
    )
    entries = PointTransaction.objects.filter(member=heavy).order_by("-created_at", "-pk")
    rows = entries.count()
    contestant.figures["rows of who has most"] = [rows]
    for name, down in {"1,000 rows down": min(1_000, rows - 1), "half way down": rows // 2}.items():
        place = ledger.Place(entries[down].created_at, heavy.total_points, entries[down].pk)
        page = partial(ledger.history, member=heavy, after=place)
        contestant.time_warm(f"history of who has most, {name}", page, calls=calls)


def read_leaderboards(contestant: Contestant, calls: int) -> None:
    for period in Period:
        board, of = Leaderboard(period), period.label.lower()
        contestant.time_warm(f"leaderboard, {of}", board.top, calls=calls)
        ranked = board.listed.order_by(f"-{board.column}", "pk")
        listed = ranked.count()
        contestant.figures[f"listed, {of}"] = [listed]
        for name, depth in DEPTHS.items():
            own = ranked[int(listed * depth)]
            points = board.points(own)
            assert board.rank(points) == count_rank(board, points), "a wrong rank"
            contestant.time_warm(f"own rank, {of}, {name}", partial(board.rank, points), calls=calls)
            contestant.time_warm(
                f"… with neighbours, {of}, {name}", partial(board.standing, own), calls=calls
            )
            by_count = partial(count_rank, board, points)
            contestant.time_warm(f"… by count(*), {of}, {name}", by_count, calls=max(calls // 5, 2))


def count_rank(board: Leaderboard, points: int) -> int:
    """Count the members with more points, without a checkpoint."""
    columns = {"total_points": "totalPoints", "month_points": "monthPoints"}
    month = 'AND "pointsMonth" = %s' if board.month else ""
    with connections["default"].cursor() as cursor:
        query = COUNT_ABOVE.format(column=columns[board.column], month=month)
        cursor.execute(query, [points, board.month] if board.month else [points])
        return int(cursor.fetchone()[0])


def write_rows(contestant: Contestant, chance: random.Random, calls: int) -> None:
    """Insert rows with awards and with plain INSERTs, a few of each in turn."""
    with contestant.server.connect(contestant.name) as session:

        def insert() -> None:
            given = contestant.some_award(chance)
            session.execute(BARE_INSERT, [cuid(), given.member_id, str(given.action), 5, given.key])

        def award() -> None:
            assert ledger.award(contestant.some_award(chance))

        insert()
        award()
        for _ in range(calls // 10):
            contestant.time(BARE, [insert] * 10)
            contestant.time(AWARD, [award] * 10)


def award_many(contestant: Contestant, chance: random.Random, *, awards: int) -> None:
    """Pay many awards in one call, and the same number one by one, a fifth of them in each turn.

    Also pay them in one call without the points trigger, to show how much time that takes.
    """
    for _ in range(5):
        few = [contestant.some_award(chance) for _ in range(awards // 5)]
        contestant.time(SINGLE, [lambda few=few: [ledger.award(one) for one in few]], each=len(few))  # type: ignore[misc]
        many = [contestant.some_award(chance) for _ in range(awards)]
        contestant.time(AT_ONCE, [partial(ledger.award_many, many)], each=awards)
        many = [contestant.some_award(chance) for _ in range(awards)]
        with transaction.atomic():
            with connections["default"].cursor() as cursor:
                cursor.execute('ALTER TABLE "PointTransaction" DISABLE TRIGGER trg_update_member_points')
            contestant.time(WITHOUT_TRIGGER, [partial(ledger.award_many, many)], each=awards)
            transaction.set_rollback(True)


def measure(
    server: Server, sizes: list[int], *, rounds: int, calls: int, awards: int, parts: Collection[str]
) -> list[Contestant]:
    contestants = [Contestant(server, members) for members in sizes]
    for contestant in contestants:
        server.migrate(contestant.name)
        ledger_data.fill(server, contestant.name, members=contestant.members)
    if "reads" in parts:
        for contestant in contestants:
            with contestant.server.in_django(contestant.name):
                contestant.time("leaderboard.refresh", [leaderboard.refresh] * 3)
                contestant.time("reconcile_points", [compare])
            log.info("%s: compared with its ledger", contestant.name)
        for number in range(rounds):
            for contestant in contestants:
                with contestant.server.in_django(contestant.name):
                    read_histories(contestant, random.Random(number), calls)
                    read_leaderboards(contestant, calls)
            log.info("round %d of %d: read", number + 1, rounds)
    if "writes" in parts:
        for number in range(rounds):
            for contestant in contestants:
                with contestant.server.in_django(contestant.name):
                    write_rows(contestant, random.Random(number), calls * 10)
            log.info("round %d of %d: written", number + 1, rounds)
    if "awards" in parts:
        for contestant in contestants:
            with contestant.server.in_django(contestant.name):
                award_many(contestant, random.Random(1), awards=awards)
                if "reads" in parts:
                    compare()
            log.info("%s: awarded", contestant.name)
    return contestants


def compare() -> None:
    assert next(reconciliation.differences(), None) is None, "wrong figures"


def times_as_fast(contestant: Contestant, what: str) -> float:
    """Return how many times as fast as single awards it is."""
    pairs = zip(contestant.figures[SINGLE], contestant.figures[what], strict=True)
    return statistics.median(single / at_once for single, at_once in pairs)


def report(contestants: list[Contestant]) -> str:
    """Write a table of medians, and how they grow from the smallest database to the largest."""
    names = [f"{c.members:,} members" for c in contestants]
    rows = [["", *names, "grows", "the slowest 5 %"]]
    for what in contestants[0].figures:
        medians = [statistics.median(contestant.figures[what]) for contestant in contestants]
        slow = contestants[-1].figures[what]
        rows.append(
            [
                what,
                *(f"{value:,.3f}" for value in medians),
                f"{medians[-1] / medians[0]:.1f}",
                f"{statistics.quantiles(slow, n=20)[18]:,.2f}" if len(slow) >= 20 else "",
            ]
        )
    return table(rows)


def bars(contestants: list[Contestant]) -> dict[str, bool]:
    """Compare the largest database's times with their limits."""
    judged = {}
    for what, took in contestants[-1].figures.items():
        if what.startswith(("leaderboard, ", "own rank, ")):
            value = statistics.median(took)
            judged[f"{what}: {value:.2f} ms, at most {BAR_MS:.0f}"] = value <= BAR_MS
    for contestant in contestants:
        for what in (AT_ONCE, WITHOUT_TRIGGER):
            if what in contestant.figures:
                gain = times_as_fast(contestant, what)
                judged[
                    f"{contestant.members:,} members, {what}: {gain:.0f} times as fast as one by one, "
                    f"at least {BAR_TIMES_AS_FAST:.0f}"
                ] = gain >= BAR_TIMES_AS_FAST
    return judged


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--members", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=PARTS, help="measure only this part")
    parser.add_argument("--json", type=Path, default=PROJECT / "build" / "ledger.json")
    parser.add_argument(
        "--quick", action="store_true", help="small sizes, to try the script; no limit is checked"
    )
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    members, calls, awards, deployed = (
        (20_000, 5, 500, 2_000) if options.quick else (options.members, 30, 10_000, 100_000)
    )
    with private_server() as server:
        record = server.record()
        deploy = {} if options.only else ledger_deploy.measure(server, members=deployed)
        log.info("%s", deploy)
        contestants = measure(
            server,
            [members // 100, members],
            rounds=options.rounds,
            calls=calls,
            awards=awards,
            parts=[options.only] if options.only else PARTS,
        )
    judged = {} if options.quick else bars(contestants)
    record |= {"bars": judged, "deploy": deploy}
    record["figures"] = {contestant.members: contestant.figures for contestant in contestants}
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(record, indent=2) + "\n")
    waits = [f"{name}: {value}" for name, value in deploy.items()]
    verdicts = [f"{'met' if is_met else 'MISSED'}: {bar}" for bar, is_met in judged.items()]
    print("In ms:", report(contestants), *waits, *verdicts, sep="\n")  # noqa: T201


if __name__ == "__main__":
    main()
