"""Kill `migrate` at every point between v1 and v2, and check that the next run finishes.

    python -m tests.faults [--writer] [--every 4 [--first 3] | --sample] [--only killed builds reversals] [--lanes 2]

Each try has its own v1 database with rows. It must end with the same catalogue, record of migrations and rows of the
gateway as an undisturbed run. With --writer, another process keeps writing to Member and the ledger, and no write may
fail or be lost. Prints the number of tries, and each failure with its statement. The exit status is 1 if there are any.

killed migrate is killed by SIGKILL at each point, and the next run finishes. Each statement has two points:
            sent and not yet answered, and answered. There is one more before the first. BEGIN, COMMIT,
            ROLLBACK and SAVEPOINT count as statements, like all that psycopg sends in migrate's thread.
builds Each concurrent build has to wait for a writer or an older snapshot, and its client is killed. The server
            process goes on, and the next run waits for it; or it is terminated, too, and the next run builds again.
reversals Back to the adopted database from each migration of ours, and from a kill in each concurrent build, and
            forward again.

`COUNCIL_POSTGRES_BIN=/usr/lib/postgresql/15/bin` selects another PostgreSQL.
"""

import argparse
import gc
import io
import os
import sys
import time
from functools import partial

import django
from django.core.management import call_command
from django.db import connections
from django.db.migrations.loader import MigrationLoader

from tests.faults import tries
from tests.faults.driver import Driver, Try
from tests.faults.processes import Reporter

DAY_SECONDS = 24 * 3600


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.faults",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--writer", action="store_true", help="while another process writes")
    parser.add_argument("--every", type=int, default=1, help="try every n-th only")
    parser.add_argument("--first", type=int, default=0, help="the first one to try, counted from 0")
    parser.add_argument("--sample", action="store_true", help="try only a few, half of them with a writer")
    parser.add_argument("--only", nargs="+", choices=tries.PARTS, default=tries.PARTS, help="only some parts")
    parser.add_argument("--lanes", type=int, default=2, help="how many at the same time")
    return parser.parse_args()


def prepare() -> None:
    """Import what migrate imports, and start the server. Leave no connection or thread that forks would inherit."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    django.setup()
    connections["default"].ensure_connection()
    call_command("check", stdout=io.StringIO())
    MigrationLoader(None)
    connections.close_all()
    gc.freeze()  # otherwise garbage collection would copy most memory in each fork


def run_lane(driver: Driver, chosen: list[Try], *, lane: int) -> tuple[int, int, float]:
    """Run tries one by one. Returns how many failed, how many points were not reached, and the longest wait."""
    failed = 0
    for done, attempt in enumerate(chosen, 1):
        if fault := driver.carry_out(attempt, lane=lane):
            failed += 1
            print(f"FAILED {attempt}\n    {fault}", flush=True)
        if done % 100 == 0:
            print(f"lane {lane}: {done} of {len(chosen)}", flush=True)
    return failed, driver.unreached, driver.longest_seconds


def main() -> int:
    options = arguments()
    began = time.monotonic()
    prepare()
    driver = Driver(f"faults_{os.getpid()}")
    try:
        chosen = tries.sample(driver) if options.sample else tries.tries(driver, has_writer=options.writer)
        chosen = [one for one in chosen if one.part in options.only][options.first :: options.every]
        lanes = [
            Reporter(partial(run_lane, driver, chosen[lane :: options.lanes], lane=lane), seconds=DAY_SECONDS)
            for lane in range(options.lanes)
        ]
        reports = [lane.report() for lane in lanes]
    finally:
        driver.close()
    failed = sum(report[0] for report in reports if report)
    unreached = sum(report[1] for report in reports if report)
    longest = max((report[2] for report in reports if report), default=0.0)
    counts = ", ".join(f"{sum(one.part == part for one in chosen)} {part}" for part in options.only)
    print(
        f"Tried {counts}, of {2 * len(driver.statements) + 1} points that there are; {unreached} of them not "
        f"reached. {sum(one.has_writer for one in chosen)} tried beside a writer, who was kept waiting for "
        f"{longest:.2f} s at most. It took {(time.monotonic() - began) / 60:.1f} min."
    )
    print(f"{failed} failed{'' if all(reports) else ', and a lane died'}.")
    return 0 if all(reports) and not failed else 1


if __name__ == "__main__":
    sys.exit(main())
