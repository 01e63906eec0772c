"""Migrate databases in every state that production may be in, and check that migrate finishes.

    python -m tests.adoption [--every 4 [--first 3]] [--only states builds variants refused watched killed]

Each state has its own database, with rows in every table. After migrate, its catalogue, its record of migrations and
its rows must be those of an undisturbed run. A refused database must be unchanged, and migrate once it is repaired.
Prints how many were tried, and each failure; exit status 1 if any.

states      after each statement of the gateway's plan (tests/schema/plan.sql)
builds      an index INVALID, or the copy that an interrupted REINDEX leaves
variants definitions that mean the same as the contract's, which migrate replaces
refused other definitions, of which migrate lists every difference
watched the variants, while a second session tries to break each rule before and after each schema change
killed migrate is killed by SIGKILL at a random point, every second time during writes; the next run finishes

`COUNCIL_POSTGRES_BIN=/usr/lib/postgresql/15/bin` selects another PostgreSQL.
"""

import argparse
import os
import random
import sys
import time
from functools import partial

from tests.adoption import refusals, states
from tests.adoption.walk import Walk
from tests.faults.__main__ import prepare
from tests.faults.processes import Reporter

PARTS = {
    "states": states.on_the_way,
    "builds": states.interrupted_builds,
    "variants": states.variants,
    "refused": refusals.refused,
    "watched": states.variants,
    "killed": states.to_be_killed,
}
DAY_SECONDS = 24 * 3600


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.adoption",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--every", type=int, default=1, help="try every n-th only")
    parser.add_argument("--first", type=int, default=0, help="the first one to try, counted from 0")
    parser.add_argument("--only", nargs="+", choices=list(PARTS), default=list(PARTS), help="only some parts")
    parser.add_argument("--named", help="only those whose name contains this")
    parser.add_argument("--lanes", type=int, default=2, help="how many at the same time")
    return parser.parse_args()


def run_lane(lane: int, chosen: list[tuple[str, states.State]]) -> int:
    walk = Walk(f"adoption_{os.getpid()}_{lane}")
    failed = 0
    try:
        for number, (part, state) in enumerate(chosen):
            if part == "killed":
                at = random.randrange(walk.points)
                fault = walk.try_killed(state, at=at, has_writer=number % 2 == 0)
                place = f" at point {at}{', beside a writer' if number % 2 == 0 else ''}"
            elif part == "watched":
                fault, place = walk.try_watched(state), ""
            else:
                fault, place = walk.try_state(state), ""
            if fault:
                failed += 1
                print(f"FAILED {part}, {state.name}{place}\n    {fault}", flush=True)
            if (number + 1) % 5 == 0:
                print(f"lane {lane}: {number + 1} of {len(chosen)}", flush=True)
    finally:
        walk.close()
    return failed


def main() -> int:
    options = arguments()
    began = time.monotonic()
    prepare()
    chosen = [(part, state) for part in options.only for state in PARTS[part]()]
    chosen = [one for one in chosen if not options.named or options.named in one[1].name]
    chosen = chosen[options.first :: options.every]
    lanes = [
        Reporter(partial(run_lane, lane, chosen[lane :: options.lanes]), seconds=DAY_SECONDS)
        for lane in range(options.lanes)
    ]
    reports = [lane.report() for lane in lanes]
    counts = ", ".join(f"{sum(one == part for one, _ in chosen)} {part}" for part in options.only)
    failed = sum(report for report in reports if report)
    print(f"Tried {len(chosen)}: {counts}. It took {(time.monotonic() - began) / 60:.1f} min.")
    print(f"{failed} failed{'' if None not in reports else ', and a lane died'}.")
    return 0 if None not in reports and not failed else 1


if __name__ == "__main__":
    sys.exit(main())
