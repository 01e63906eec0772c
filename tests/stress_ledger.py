"""Write to the ledger from many processes, kill them at random, and check every figure at the end.

    python -m tests.stress_ledger [--seconds 300] [--processes 8] [--seed 1]

The processes award points (often with the same keys), adjust, reverse, copy rows, roll back and delete members. Their
transactions deadlock or fail to serialize, and are then repeated. Processes are killed with SIGKILL and replaced, and
sessions are ended with pg_terminate_backend. Prints what was done, and what is wrong. The test suite runs ten seconds
of it.
"""

import argparse
import logging
import os
import random
import signal
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.sharedctypes import RawArray
from pathlib import Path
from typing import Any

import django
import psycopg

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
if __name__ == "__main__":
    django.setup()

from django.db import DatabaseError, connections, transaction

from council.accounts.models import Account
from council.models import Member
from gamification import ledger
from gamification.models import Action, PointTransaction
from tests.databases import Database, migrate
from tests.faults.processes import fork, status_of

MEMBERS = 60
KEPT_MEMBERS = 40  # the first ones are never deleted, so that their payments can be checked at the end
SUBJECTS = 25
REASON = "Helped at the meetup"
AGAIN = {"40P01": "deadlocks", "40001": "serialization failures"}
# A rare internal error of PostgreSQL (XX000), for a row that a session had locked and changed when it was ended.
MULTIXACT = "new multixact has more than one updating member"
# Only a superuser can set this. It makes deadlocks fail quickly.
SETTINGS = "SET deadlock_timeout = '10ms'"

ADD_MEMBERS = """
INSERT INTO "Member" (id, "subscriptionStatus", "updatedAt")
SELECT 'm' || n, 'ACTIVE', now() FROM generate_series(0, %s - 1) AS n ON CONFLICT DO NOTHING
"""
INSERT = """
INSERT INTO "PointTransaction" (id, "memberId", action, points, "createdAt", "idempotencyKey")
SELECT gen_random_uuid(), row.member, row.action, row.points,
       now() AT TIME ZONE 'UTC' - row.days * interval '1 day', row.key
  FROM unnest(%s::text[], %s::text[], %s::int[], %s::int[], %s::text[]) AS row (member, action, points, days, key)
"""
# Independent of points_by_ledger, and with another method: weekdays are numbered, and a streak continues between two
# active days if there is no weekday between them.
WRONG_FIGURES = """
WITH days AS (
    SELECT DISTINCT "memberId" AS member, "createdAt"::date AS day
      FROM "PointTransaction"
     WHERE points > 0 AND action <> 'admin_adjustment' AND "reversesId" IS NULL
), numbered AS (
    SELECT member, day,
           (day - 1 - date '2000-01-03') / 7 * 5 + least((day - 1 - date '2000-01-03') % 7 + 1, 5) AS weekdays_before,
           (day - date '2000-01-03') / 7 * 5 + least((day - date '2000-01-03') % 7 + 1, 5) AS weekdays
      FROM days
), gaps AS (
    SELECT member, day, weekdays_before - lag(weekdays) OVER (PARTITION BY member ORDER BY day) AS missed
      FROM numbered
), streaks AS (
    SELECT member, count(*) AS streak
      FROM gaps
     WHERE day >= (SELECT max(begun.day) FROM gaps AS begun
                    WHERE begun.member = gaps.member AND coalesce(begun.missed, 1) > 0)
     GROUP BY member
), figures AS (
    SELECT id, "totalPoints" AS total, "pointsMonth" AS month, "monthPoints" AS month_points,
           "lastActiveAt" AS last_active_at, "currentStreak" AS streak
      FROM "Member"
), ledger AS (
    SELECT member.id,
           (SELECT coalesce(sum(points), 0) FROM "PointTransaction" WHERE "memberId" = member.id) AS total,
           newest.month,
           (SELECT coalesce(sum(points), 0) FROM "PointTransaction"
             WHERE "memberId" = member.id AND "createdAt" >= newest.month) AS month_points,
           (SELECT max("createdAt") FROM "PointTransaction"
             WHERE "memberId" = member.id AND points > 0 AND action <> 'admin_adjustment'
               AND "reversesId" IS NULL) AS last_active_at,
           coalesce(streaks.streak, 0) AS streak
      FROM "Member" AS member
      LEFT JOIN streaks ON streaks.member = member.id
     CROSS JOIN LATERAL (SELECT date_trunc('month', max("createdAt"))::date AS month
                           FROM "PointTransaction" WHERE "memberId" = member.id) AS newest
)
SELECT figures::text, ledger::text
  FROM figures JOIN ledger USING (id)
 WHERE (figures.total, figures.month, figures.month_points, figures.last_active_at, figures.streak)
       IS DISTINCT FROM (ledger.total, ledger.month, ledger.month_points, ledger.last_active_at, ledger.streak)
"""
KEYS_THERE_TWICE = """
SELECT "idempotencyKey", count(*) FROM "PointTransaction" WHERE "idempotencyKey" IS NOT NULL
 GROUP BY "idempotencyKey" HAVING count(*) > 1
"""
REVERSED_TWICE = """
SELECT "reversesId", count(*) FROM "PointTransaction" WHERE "reversesId" IS NOT NULL
 GROUP BY "reversesId" HAVING count(*) > 1
"""
# Adjustments and reversals are in the audit log of the same transaction. The log stays when its member is deleted.
NOT_WRITTEN_DOWN = """
SELECT p.id FROM "PointTransaction" AS p
 WHERE (p."idempotencyKey" LIKE 'admin_adjustment:%' OR p."reversesId" IS NOT NULL)
   AND NOT EXISTS (SELECT FROM "AuditLog" AS log
                    WHERE log."entityId" = p."memberId" AND (log.details->>'points')::int = p.points
                      AND (p."reversesId" IS NULL OR log.details->>'reverses' = p."reversesId"))
"""
OTHERS = """
  FROM pg_stat_activity
 WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
"""


class Worker:
    """One process. It acts until the time is up, or until it is killed."""

    def __init__(self, database: Database, seed: str, payments: Path, tally: Callable[[str], None]) -> None:
        self.database = database
        self.chance = random.Random(seed)
        self.tally = tally
        self.payments = os.open(payments, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        self.gateway: psycopg.Connection | None = None

    def run(self, until: float) -> None:
        logging.getLogger("psycopg").setLevel(logging.ERROR)  # psycopg warns of sessions that were ended
        acts = [act for act, weight in ACTS.items() for _ in range(weight)]
        while time.monotonic() < until:
            act = self.chance.choice(acts)
            self.tally(act.__name__)
            self.try_until_done(act)

    def try_until_done(self, act: Callable[["Worker"], None]) -> None:
        while True:
            try:
                if connections["default"].connection is None:
                    with connections["default"].cursor() as cursor:
                        cursor.execute(SETTINGS)
                if self.gateway is None:
                    self.gateway = self.database.connect(options="-c deadlock_timeout=10ms")
                act(self)
            except ledger.Refused:
                self.tally("refused")
            except (psycopg.errors.UniqueViolation, psycopg.errors.ForeignKeyViolation):
                self.tally("refused by the database")
            except (DatabaseError, psycopg.Error) as error:
                cause = error if isinstance(error, psycopg.Error) else error.__cause__
                state = getattr(cause, "sqlstate", None)
                if state in AGAIN:
                    self.tally(AGAIN[state])
                    continue
                if MULTIXACT in str(cause):
                    self.tally("multixact errors")
                    continue
                if state in {None, "57P01"}:  # no answer, or terminated
                    self.tally("sessions lost")
                    connections["default"].close()
                    self.gateway = None
                    continue
                raise
            return

    def member(self) -> str:
        return f"m{self.chance.randrange(MEMBERS)}"

    def rows(self, count: int, *, days: int = 1) -> list[list[Any]]:
        """Make up rows of the gateway, as columns for INSERT."""
        chance = self.chance
        actions = ["event_attended", "resource_download", "admin_adjustment"]
        rows = [
            (self.member(), chance.choice(actions), chance.randint(-3, 20), chance.randrange(days), None)
            for _ in range(count)
        ]
        return [list(column) for column in zip(*rows, strict=True)]

    def insert(self, columns: list[list[Any]]) -> None:
        assert self.gateway
        self.gateway.execute(INSERT, columns)

    def some_award(self) -> ledger.Award:
        action = self.chance.choice(
            [Action.RESOURCE_DOWNLOAD, Action.INTRO_COMPLETED, Action.DISCORD_ACTIVITY]
        )
        subject = f"s{self.chance.randrange(SUBJECTS)}" if action != Action.INTRO_COMPLETED else ""
        return ledger.Award(self.member(), action, subject, self.chance.randint(1, 3))

    def note(self, rows: list[PointTransaction]) -> None:
        """Record which payments were reported, in a way that survives a SIGKILL."""
        for row in rows:
            self.tally("rows paid by key")
            os.write(self.payments, f"{row.member_id} {row.idempotency_key}\n".encode())


def award(worker: Worker) -> None:
    row = ledger.award(worker.some_award())
    worker.note([row] if row else [])


def award_many(worker: Worker) -> None:
    worker.note(ledger.award_many([worker.some_award() for _ in range(worker.chance.randint(1, 30))]))


def award_and_roll_back(worker: Worker) -> None:
    with transaction.atomic():
        ledger.award_many([worker.some_award() for _ in range(5)])
        transaction.set_rollback(True)


def award_by_plain_insert(worker: Worker) -> None:
    given = worker.some_award()
    worker.insert([[given.member_id], [str(given.action)], [5], [0], [given.key]])


def adjust(worker: Worker) -> None:
    ids = {worker.member() for _ in range(worker.chance.randint(1, 4))}
    ledger.adjust(
        members=[Member(pk=id) for id in ids],
        points=worker.chance.choice([-7, 5, 11]),
        reason=REASON,
        performed_by=Account(username="sam"),
        form_key=uuid.UUID(int=worker.chance.randrange(200)),
    )


def reverse(worker: Worker) -> None:
    entries = PointTransaction.objects.filter(member=worker.member()).order_by("?")[:1]
    for entry in entries:
        ledger.reverse(entry_id=entry.pk, reason=REASON, performed_by=Account(username="sam"))


def insert(worker: Worker) -> None:
    worker.insert(worker.rows(1))


def insert_many(worker: Worker) -> None:
    worker.insert(worker.rows(30))


def back_date(worker: Worker) -> None:
    worker.insert(worker.rows(6, days=40))


def copy(worker: Worker) -> None:
    assert worker.gateway
    with (
        worker.gateway.cursor() as cursor,
        cursor.copy('COPY "PointTransaction" (id, "memberId", action, points) FROM STDIN') as rows,
    ):
        for _ in range(worker.chance.randint(1, 60)):
            rows.write_row((str(uuid.uuid4()), worker.member(), "event_attended", 2))


def insert_in_a_transaction(worker: Worker) -> None:
    """Write to members one after the other, in any order. This deadlocks, and is then repeated."""
    assert worker.gateway
    with worker.gateway.transaction():
        for _ in range(worker.chance.randint(2, 5)):
            worker.insert(worker.rows(1, days=3))


def read_and_insert_serializably(worker: Worker) -> None:
    assert worker.gateway
    level = worker.chance.choice(
        [psycopg.IsolationLevel.REPEATABLE_READ, psycopg.IsolationLevel.SERIALIZABLE]
    )
    worker.gateway.isolation_level = level
    try:
        with worker.gateway.transaction():
            worker.gateway.execute('SELECT sum("totalPoints") FROM "Member"')
            worker.insert(worker.rows(2))
    finally:
        if not worker.gateway.closed:
            worker.gateway.isolation_level = None


def roll_back(worker: Worker) -> None:
    assert worker.gateway
    with worker.gateway.transaction(force_rollback=True):
        worker.insert(worker.rows(10, days=5))


def roll_back_to_a_savepoint(worker: Worker) -> None:
    assert worker.gateway
    with worker.gateway.transaction():
        worker.insert(worker.rows(1))
        with worker.gateway.transaction(force_rollback=True):
            worker.insert(worker.rows(5, days=5))
        worker.insert(worker.rows(1))


def delete_a_member(worker: Worker) -> None:
    """Delete a member with all rows, then add the member again without rows."""
    assert worker.gateway
    member = f"m{worker.chance.randrange(KEPT_MEMBERS, MEMBERS)}"
    worker.gateway.execute('DELETE FROM "Member" WHERE id = %s', [member])
    worker.gateway.execute(ADD_MEMBERS, [MEMBERS])


def die_in_a_transaction(worker: Worker) -> None:
    assert worker.gateway
    with worker.gateway.transaction():
        worker.insert(worker.rows(5, days=5))
        os.kill(os.getpid(), signal.SIGKILL)


ACTS: dict[Callable[[Worker], None], int] = {
    award: 60,
    award_many: 20,
    award_and_roll_back: 8,
    award_by_plain_insert: 15,
    adjust: 12,
    reverse: 12,
    insert: 30,
    insert_many: 15,
    back_date: 15,
    copy: 10,
    insert_in_a_transaction: 15,
    read_and_insert_serializably: 12,
    roll_back: 8,
    roll_back_to_a_savepoint: 8,
    delete_a_member: 3,
    die_in_a_transaction: 1,
}
COUNTED = [
    *(act.__name__ for act in ACTS),
    *(
        "refused",
        "refused by the database",
        *AGAIN.values(),
        "multixact errors",
        "sessions lost",
        "rows paid by key",
    ),
]


@dataclass
class Stress:
    database: Database
    processes: int
    seed: int
    counts: dict[str, int] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    def run(self, seconds: float) -> None:
        with self.database.connect() as session, tempfile.TemporaryDirectory() as folder:
            session.execute(ADD_MEMBERS, [MEMBERS])
            until = time.monotonic() + seconds
            # In shared memory, so that the counts of killed processes are kept.
            shared = [RawArray("Q", len(COUNTED)) for _ in range(self.processes)]
            self._disturb(session, until, shared, Path(folder))
            self.counts |= {name: sum(c[n] for c in shared) for n, name in enumerate(COUNTED)}
            self._compare(session, Path(folder))

    def _start(self, slot: int, generation: int, until: float, shared: list[Any], folder: Path) -> int:
        def tally(name: str) -> None:
            shared[slot][COUNTED.index(name)] += 1

        seed = f"{self.seed} {slot} {generation}"
        seconds = int(until - time.monotonic()) + 120
        return fork(
            lambda: Worker(self.database, seed, folder / str(slot), tally).run(until), seconds=seconds
        )

    def _disturb(self, session: psycopg.Connection, until: float, shared: list[Any], folder: Path) -> None:
        """Keep the processes running, and kill processes and sessions at random."""
        chance = random.Random(self.seed)
        pids = [self._start(slot, 0, until, shared, folder) for slot in range(self.processes)]
        generation = killed = terminated = 0
        while time.monotonic() < until:
            time.sleep(chance.uniform(0.02, 0.3))
            if chance.random() < 0.5:
                os.kill(chance.choice(pids), signal.SIGKILL)
            else:
                terminated += self._terminate_a_session(session)
            for slot, pid in enumerate(pids):
                if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                    killed += self._end(pid)
                    generation += 1
                    pids[slot] = self._start(slot, generation, until, shared, folder)
        for pid in pids:
            killed += self._end(pid)
        self.counts = {"processes killed": killed, "sessions terminated": terminated}

    def _end(self, pid: int) -> int:
        """Wait for a process, and return whether it was killed."""
        status = status_of(pid)
        if status not in {0, -signal.SIGKILL}:
            self.faults.append(f"a process ended with {status}")
        return status == -signal.SIGKILL

    def _terminate_a_session(self, session: psycopg.Connection) -> int:
        query = f"SELECT pg_terminate_backend(pid) {OTHERS} ORDER BY random() LIMIT 1"
        return session.execute(query.encode()).rowcount

    def _compare(self, session: psycopg.Connection, folder: Path) -> None:
        self._wait_for_sessions_to_end(session)
        for query in (WRONG_FIGURES, KEYS_THERE_TWICE, REVERSED_TWICE, NOT_WRITTEN_DOWN):
            self.faults += [str(row) for row in session.execute(query.encode())]
        paid = [line for file in folder.iterdir() for line in file.read_text().splitlines()]
        kept = [line for line in paid if int(line.split()[0][1:]) < KEPT_MEMBERS]
        self.faults += [f"paid twice: {line}" for line, times in Counter(kept).items() if times > 1]
        there = {
            f"{row[0]} {row[1]}"
            for row in session.execute('SELECT "memberId", "idempotencyKey" FROM "PointTransaction"')
        }
        self.faults += [f"paid, and not there: {line}" for line in set(kept) - there]
        for name, query in {
            "rows in the ledger": 'SELECT count(*) FROM "PointTransaction"',
            "reversals among them": 'SELECT count(*) FROM "PointTransaction" WHERE "reversesId" IS NOT NULL',
            "members compared": 'SELECT count(*) FROM "Member"',
        }.items():
            self.counts[name] = session.execute(query.encode()).fetchall()[0][0]

    def _wait_for_sessions_to_end(self, session: psycopg.Connection) -> None:
        """Wait until the server has noticed that processes were killed."""
        deadline = time.monotonic() + 60
        while session.execute(f"SELECT {OTHERS}".encode()).rowcount:
            assert time.monotonic() < deadline, "sessions that do not end"
            time.sleep(0.05)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    connections["default"].ensure_connection()
    connections.close_all()
    database = Database(f"stress_{os.getpid()}")
    database.drop()
    database.create()
    try:
        with database.as_django_connection():
            migrate()
        stress = Stress(database, options.processes, options.seed)
        with database.as_default_connection():
            stress.run(options.seconds)
    finally:
        database.drop()
    for name, number in stress.counts.items():
        print(f"{number:>10,}  {name.replace('_', ' ')}")
    print(*stress.faults[:50], sep="\n")
    print(f"{len(stress.faults)} faults in {options.seconds:.0f} s with {options.processes} processes.")
    return 1 if stress.faults else 0


if __name__ == "__main__":
    sys.exit(main())
