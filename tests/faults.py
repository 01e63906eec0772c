"""Kill `migrate` everywhere: at every boundary of a statement in the whole way from v1 to v2.

    python -m tests.faults [--writer] [--every 10]

For each point a process runs the migration on a v1 database of its own and kills itself there; the next migrate must
exit 0 and leave what an undisturbed one leaves. Prints how many points were tried, and each that failed with the
statement. About 25 minutes for all of them on two cores; the test suite runs a sample.

A boundary is the moment before or after a call to the server: each statement that goes through a cursor of Django's
or psycopg's, and each BEGIN, COMMIT and ROLLBACK that psycopg sends by itself.
"""

import argparse
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import django
import psycopg

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
if __name__ == "__main__":
    django.setup()

from django.core.management import call_command
from django.db import connections

from tests.databases import Database

ROWS = """
INSERT INTO "Team" (id, name, "stripeCustomerId", "updatedAt") VALUES ('t1', 'Acme', 'cus_t1', now());
INSERT INTO "Member" (id, email, "teamId", "updatedAt")
SELECT 'm' || n, 'm' || n || '@example.com', 't1', now() FROM generate_series(1, 300) AS n
"""
# What must be the same at the end, whatever happened on the way.
OBJECTS = """
SELECT 'relation', relname::text, relkind::text || relrowsecurity::text FROM pg_class
 WHERE relnamespace = 'public'::regnamespace AND relkind <> 'S'
 UNION ALL
SELECT 'index', indexrelid::regclass::text, pg_get_indexdef(indexrelid) || indisvalid::text FROM pg_index
 WHERE indrelid IN (SELECT oid FROM pg_class WHERE relnamespace = 'public'::regnamespace)
 UNION ALL
SELECT 'constraint', conrelid::regclass || '.' || conname, pg_get_constraintdef(oid) FROM pg_constraint
 WHERE connamespace = 'public'::regnamespace
 UNION ALL
SELECT 'trigger', tgrelid::regclass || '.' || tgname, pg_get_triggerdef(oid) || tgenabled::text FROM pg_trigger
 WHERE NOT tgisinternal
 UNION ALL
SELECT 'function', proname, md5(pg_get_functiondef(oid)) FROM pg_proc WHERE pronamespace = 'public'::regnamespace
 UNION ALL
SELECT 'migration', app || '.' || name, count(*)::text FROM django_migrations GROUP BY app, name
 UNION ALL
SELECT 'permission', codename, c.model FROM auth_permission JOIN django_content_type c ON c.id = content_type_id
 UNION ALL
SELECT 'rows', 'Member', count(*)::text FROM "Member"
 ORDER BY 1, 2, 3
"""


class Killer:
    """Counts the boundaries in a process, and ends the process at one of them."""

    def __init__(self, kill_at: int | None) -> None:
        self.kill_at = kill_at
        self.reached = 0
        self.statements: list[str] = []
        self.thread = threading.get_ident()

    def boundary(self, statement: str) -> None:
        if threading.get_ident() != self.thread:  # the observer's
            return
        if self.reached == self.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        self.reached += 1
        self.statements.append(statement)

    def install(self) -> None:
        """Wrap what reaches the server: the cursors, and psycopg's own BEGIN, COMMIT and ROLLBACK."""
        execute = psycopg.Cursor.execute
        command = psycopg.Connection._exec_command

        def counted_execute(cursor: Any, query: Any, *args: Any, **kwargs: Any) -> Any:
            text = query if isinstance(query, str) else repr(query)
            self.boundary(f"before {text}")
            result = execute(cursor, query, *args, **kwargs)
            self.boundary(f"after {text}")
            return result

        def counted_command(connection: Any, query: Any, *args: Any, **kwargs: Any) -> Any:
            self.boundary(f"before {query!r}")
            result = yield from command(connection, query, *args, **kwargs)
            self.boundary(f"after {query!r}")
            return result

        psycopg.Cursor.execute = counted_execute  # type: ignore[method-assign, assignment]
        psycopg.Connection._exec_command = counted_command  # type: ignore[method-assign, assignment]


def fork(act: Callable[[], object]) -> int:
    """Start a process that does an act, and give its id. Forked, since importing Django takes longer than a run."""
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            status = int(bool(act()))
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        finally:
            os._exit(status)
    return pid


def status_of(pid: int) -> int:
    """Wait for a process and give its exit status, negative for the signal that ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def migrate(database: Database, *, kill_at: int | None = None, report_to: int | None = None) -> None:
    """Migrate in this process, which may not survive it."""
    with database.as_django_connection():
        killer = Killer(kill_at)
        killer.install()
        call_command("migrate", database="scratch", verbosity=0)
        if report_to is not None:
            os.write(report_to, "\0".join(killer.statements).encode())


class Driver:
    """Has one v1 template, and what an undisturbed run makes of it."""

    def __init__(self, name: str, *, writer: bool) -> None:
        self.name = name
        self.writer = writer
        self.template = Database(f"{name}_v1")
        self.template.drop()
        self.template.create()
        self.template.execute((Path(__file__).parent / "schema" / "v1.sql").read_text() + ROWS)
        with self.fresh("undisturbed") as database:
            self.boundaries = self._count(database)
            self.expected = database.fetch(OBJECTS)

    def close(self) -> None:
        self.template.drop()

    @contextmanager
    def fresh(self, purpose: str) -> Iterator[Database]:
        database = Database(f"{self.name}_{purpose}")
        database.drop()
        database.create(template=self.template.name)
        try:
            yield database
        finally:
            database.drop()

    def _count(self, database: Database) -> list[str]:
        with tempfile.TemporaryFile() as report:
            assert status_of(fork(lambda: migrate(database, report_to=report.fileno()))) == 0
            report.seek(0)
            return report.read().decode().split("\0")

    def try_point(self, point: int) -> str | None:
        """Kill a migrate at a point and run the next. Returns what went wrong."""
        with self.fresh(f"p{point}") as database, self._writing(database):
            if (status := status_of(fork(lambda: migrate(database, kill_at=point)))) != -signal.SIGKILL:
                return f"was not killed, but ended with {status}"
            if (status := status_of(fork(lambda: migrate(database)))) != 0:
                return f"the next migrate ended with {status}"
            found = database.fetch(OBJECTS)
            if found != self.expected:
                return f"differs: {sorted(set(found) ^ set(self.expected))[:6]}"
            invalid = database.fetch("SELECT indexrelid::regclass::text FROM pg_index WHERE NOT indisvalid")
            return f"left invalid: {invalid}" if invalid else None

    @contextmanager
    def _writing(self, database: Database) -> Iterator[None]:
        """Have somebody else write to Member all the while."""
        if not self.writer:
            yield
            return
        writer = fork(lambda: write(database))
        try:
            yield
        finally:
            os.kill(writer, signal.SIGKILL)
            status_of(writer)


def write(database: Database) -> None:
    with database.connect() as session:
        while True:
            session.execute('UPDATE "Member" SET company = clock_timestamp()::text WHERE id = %s', ["m7"])
            time.sleep(0.005)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--writer", action="store_true", help="with somebody else writing to Member")
    parser.add_argument("--every", type=int, default=1, help="try every n-th point only")
    parser.add_argument("--lanes", type=int, default=2, help="how many at a time")
    options = parser.parse_args()
    began = time.monotonic()
    connections["default"].ensure_connection()
    connections.close_all()
    driver = Driver(f"faults_{os.getpid()}", writer=options.writer)
    points = range(0, len(driver.boundaries), options.every)

    def lane(number: int) -> int:
        failed = 0
        for point in points[number :: options.lanes]:
            if fault := driver.try_point(point):
                failed += 1
                print(f"point {point}, {driver.boundaries[point][:200]!r}: {fault}", flush=True)
        return failed

    try:
        lanes = [fork(lambda number=number: lane(number)) for number in range(options.lanes)]  # type: ignore[misc]
        failed = sum(status_of(pid) != 0 for pid in lanes)
    finally:
        driver.close()
    minutes = (time.monotonic() - began) / 60
    writer = "with" if options.writer else "without"
    print(f"{len(points)} points of {len(driver.boundaries)}, {writer} a writer, in {minutes:.1f} min")
    print("Some failed." if failed else "None failed.")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
