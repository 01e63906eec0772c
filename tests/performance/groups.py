"""Measure how much longer our migrate takes than Django's, for twelve groups of other people's apps.

Django and we migrate each group in turn, from an empty database. We also continue after Django has done half of the
migrations. The resulting schemas are compared. `python -m tests.performance.groups` prints the table for
docs/measured.md. Arguments name groups, and `--runs 3` repeats each three times. With `--plan`, each is only planned,
on an empty database. The apps are downloaded from PyPI into build/others/. SERVER_URL names a server ("host=… user=…");
by default, a private one is started.
"""

import argparse
import os
import statistics
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tests.others import comparison, packages
from tests.others.comparison import Compared, Failed, Place
from tests.others.groups import GROUPS
from tests.performance import measuring

HEADINGS = [
    "group",
    "migrations",
    "operations",
    "not planned",
    "differences",
    "stock",
    "ours",
    "ratio",
    "plan",
]
PLANNED = ["group", "migrations", "operations", "plan, seconds", "plan, processor seconds"]


@contextmanager
def server() -> Iterator[str]:
    if given := os.environ.get("SERVER_URL"):
        yield given
        return
    with measuring.private_server() as private:
        yield f"host={private.address.host} port={private.address.port} user={private.address.user}"


def row(group: str, place: Place, *, runs: int) -> list[str]:
    try:
        turns = [
            comparison.compare(place, group, database=f"groups_{group}", beginnings=(0,) if turn else (0, 50))
            for turn in range(runs)
        ]
    except Failed as error:
        return [group, f"FAILED: {error}"[:400]]
    first = turns[0]
    for line in (*first.differences, *first.plan["unplanned"]):
        sys.stdout.write(f"  {group}: {line}" + "\n")

    def seconds(how: str) -> float:
        took: list[float] = [getattr(turn, how)["process_seconds"] for turn in turns]
        return statistics.median(took)

    def ratio(turn: Compared) -> float:
        found: float = turn.ours["process_seconds"] / turn.stock["process_seconds"]
        return found

    return [
        group,
        str(first.stock["migrations"]),
        str(first.stock["operations"]),
        str(len(first.plan["unplanned"])),
        str(len(first.differences)),
        f"{seconds('stock'):.1f} s",
        f"{seconds('ours'):.1f} s",
        f"{statistics.median(map(ratio, turns)):.2f}",
        f"{first.plan['seconds']:.1f} s",
    ]


def planned(group: str, place: Place, *, runs: int) -> list[str]:
    """Plan a group on an empty database. Returns the medians of the elapsed seconds and of the processor seconds."""
    database = f"groups_{group}"
    place.new(database)
    try:
        told = [place.run(group, "plan", database=database) for _ in range(runs)]
    finally:
        place.drop(database)
    times = [statistics.median(one[what] for one in told) for what in ("seconds", "cpu_seconds")]
    return [
        group,
        *(str(told[0][what]) for what in ("migrations", "operations")),
        *(f"{one:.2f}" for one in times),
    ]


def table(headings: list[str], rows: list[list[str]]) -> str:
    lines = [headings, ["---" for _ in headings], *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("groups", nargs="*", default=list(GROUPS))
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--plan", action="store_true")
    options = parser.parse_args()
    wanted = [package for group in GROUPS.values() for package in group.packages]
    folder = packages.installed("all-groups", wanted)
    with server() as address:
        place = Place(address, folder)
        one = planned if options.plan else row
        rows = [one(group, place, runs=options.runs) for group in options.groups]
    if options.plan:
        total = [f"{sum(float(cells[column]) for cells in rows):.2f}" for column in (3, 4)]
        counts = [str(sum(int(cells[column]) for cells in rows)) for column in (1, 2)]
        rows.append(["all", *counts, *total])
    sys.stdout.write(table(PLANNED if options.plan else HEADINGS, rows))


if __name__ == "__main__":
    main()
