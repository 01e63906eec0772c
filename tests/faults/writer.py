"""A process that writes to Member and the ledger while migrates are killed."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from tests.databases import Database
from tests.faults.processes import HUNG_SECONDS, Reporter, end

HAS_TRIGGER = "SELECT EXISTS (SELECT FROM pg_trigger WHERE tgname = 'trg_update_member_points')"
UNEQUAL_TOTALS = """
SELECT m.id, m."totalPoints", coalesce(sum(p.points), 0)
  FROM "Member" m LEFT JOIN "PointTransaction" p ON p."memberId" = m.id
 GROUP BY m.id HAVING m."totalPoints" <> coalesce(sum(p.points), 0)
"""


@dataclass
class Written:
    longest_seconds: float = 0.0
    fault: str | None = None


@contextmanager
def writing(database: Database, *, points_before: int = 0) -> Iterator[Written]:
    """Write during a block, then check that all writes succeeded and stayed. Raises Fault otherwise.

    `points_before` is the sum of the ledger's points at the beginning.
    """
    written = Written()
    writer = Reporter(partial(_write, database), seconds=3 * HUNG_SECONDS)
    try:
        yield written
        time.sleep(0.05)  # a few rounds on the finished schema
        os.kill(writer.pid, signal.SIGTERM)
        report = writer.report()
    except BaseException:
        end(writer.pid)
        raise
    if report is None:
        written.fault = "the writer failed"
        return
    rounds, points, written.longest_seconds = report
    points += points_before
    members = database.fetch("""SELECT count(*) FROM "Member" WHERE id ~ '^written'""")
    total = database.fetch('SELECT coalesce(sum(points), 0) FROM "PointTransaction"')
    if members != [(rounds,)]:
        written.fault = f"{members} of {rounds} new members are there"
    elif points == points_before or total != [(points,)]:
        written.fault = f"{total} of {points} points are there"
    elif unequal := database.fetch(UNEQUAL_TOTALS):
        written.fault = f"totals that differ from the ledger: {unequal[:5]}"


def _write(database: Database) -> tuple[int, int, float]:
    """Write like the gateway until SIGTERM, to the ledger once its trigger exists.

    Returns the rounds, the points, and the longest round in seconds.
    """
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    rounds, points, has_trigger, longest = 0, 0, False, 0.0
    with database.connect(options="-c lock_timeout=10s") as session:
        while not ended.is_set():
            began = time.monotonic()
            rounds += 1
            member = f"m{1 + rounds % 100}"
            session.execute(
                'UPDATE "Member" SET "jobTitle" = %s WHERE id = %s', [f"written {rounds}", member]
            )
            session.execute(
                'INSERT INTO "Member" (id, email, "updatedAt") VALUES (%(id)s, %(id)s, now())',
                {"id": f"written{rounds}"},
            )
            if has_trigger:
                session.execute(
                    'INSERT INTO "PointTransaction" (id, "memberId", action, points) VALUES (%s, %s, %s, %s)',
                    [f"written{rounds}", member, "written", rounds],
                )
                points += rounds
            else:
                has_trigger = session.execute(HAS_TRIGGER).fetchone() == (True,)
            longest = max(longest, time.monotonic() - began)
            time.sleep(0.005)
    return rounds, points, longest
