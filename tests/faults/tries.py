"""All tries between v1 and v2, made from the statements of an undisturbed migrate."""

import os
import re
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import psycopg
from django.apps import apps
from django.db.migrations.loader import MigrationLoader

from tests.databases import ROOT, Database
from tests.faults import points, processes
from tests.faults.driver import Driver, Try, require, wait_for

PARTS = ("killed", "builds", "reversals")
BUILD = re.compile(r'CREATE (?:UNIQUE )?INDEX CONCURRENTLY "(\w+)" ON "(\w+)"')
ADOPTED = ("council", "0001_baseline")
BUILDERS = """
SELECT pid FROM pg_stat_progress_create_index
 WHERE datname = current_database() AND phase IN ('waiting for writers before build', 'waiting for old snapshots')
"""
LOCK_HOLDERS = """
SELECT pid FROM pg_locks
 WHERE locktype = 'advisory' AND granted
   AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


def tries(driver: Driver, *, has_writer: bool) -> list[Try]:
    """List all tries, always in the same order.

    Reversals have no writer, because they remove the columns that the writer needs.
    """
    found = [*_kills(driver.statements), *_builds(driver.statements), *_reversals(driver.statements)]
    return [replace(one, has_writer=has_writer and one.part != "reversals") for one in found]


def sample(driver: Driver) -> list[Try]:
    """Choose the points next to a COMMIT of a migration and next to a build, and one point of each other part.

    Every second one has a writer.
    """
    alone = tries(driver, has_writer=False)
    texts = driver.statements
    records = [n for n, text in enumerate(texts) if 'INSERT INTO "django_migrations"' in text]
    commit = texts.index("COMMIT", records[len(records) // 2])
    builds = [n for n, text in enumerate(texts) if BUILD.match(text)]
    around = {2 * n + 1 + step for n in (commit, builds[len(builds) // 2]) for step in (0, 1)}
    chosen = [alone[point] for point in sorted(around)]
    for part in ("builds", "reversals"):
        found = [one for one in alone if one.part == part]
        chosen.append(found[len(found) // 2])
    return [replace(one, has_writer=bool(n % 2 and one.part != "reversals")) for n, one in enumerate(chosen)]


def _kills(statements: list[str]) -> Iterator[Try]:
    yield Try("killed", "point 0, before all", partial(_try_point, point=0))
    for n, statement in enumerate(statements, 1):
        words = " ".join(statement.split())[:160]
        yield Try("killed", f"point {2 * n - 1}, sent: {words}", partial(_try_point, point=2 * n - 1))
        yield Try("killed", f"point {2 * n}, answered: {words}", partial(_try_point, point=2 * n))


def _builds(statements: list[str]) -> Iterator[Try]:
    for n, statement in enumerate(statements):
        if match := BUILD.match(statement):
            index, table = match.groups()
            for waits, obstacle in (
                ("a writer", f'LOCK TABLE "{table}" IN ROW EXCLUSIVE MODE'),
                ("a snapshot", "SELECT 1"),
            ):
                build = _Build(index, point_before=2 * n, obstacle=obstacle)
                yield Try("builds", f"{index} waits for {waits}, its server process lives on", build.live_on)
                yield Try("builds", f"{index} waits for {waits}, its server process ends", build.end)


def _reversals(statements: list[str]) -> Iterator[Try]:
    ours = {app.label for app in apps.get_app_configs() if Path(app.path).is_relative_to(ROOT)}
    for app, name in sorted(MigrationLoader(None).disk_migrations):
        if app in ours and (app, name) != ADOPTED:
            yield Try("reversals", f"{app}.{name}", partial(_try_reversal, migration=(app, name)))
    for n, statement in enumerate(statements):
        if match := BUILD.match(statement):
            yield Try("reversals", f"death in {match[1]}", partial(_try_reversal_of_death, point=2 * n + 1))


def _try_point(driver: Driver, database: Database, *, point: int) -> None:
    driver.kill(database, at=point)
    driver.run(database)


def _try_reversal(driver: Driver, database: Database, *, migration: tuple[str, str]) -> None:
    driver.run(database, *migration)
    _go_back_and_forward(driver, database)


def _try_reversal_of_death(driver: Driver, database: Database, *, point: int) -> None:
    driver.kill(database, at=point)
    _go_back_and_forward(driver, database)


def _go_back_and_forward(driver: Driver, database: Database) -> None:
    driver.run(database, *ADOPTED)
    left = sorted(set(database.catalog()) ^ set(driver.v1))
    require(not left, f"back at what was adopted, it differs from v1: {left[:6]}")
    driver.run(database)


@dataclass(frozen=True)
class _Build:
    """A concurrent build that has to wait, and whose client is killed meanwhile."""

    index: str
    point_before: int
    obstacle: str

    def live_on(self, driver: Driver, database: Database) -> None:
        """The server process goes on building. The next migrate waits for it, and uses its index."""
        with database.connect() as session:
            builder, index = self._begin(database, session)
            second = processes.fork(lambda: points.migrate(database))
            try:
                time.sleep(1.2)  # two attempts to get the lock
                require(os.waitpid(second, os.WNOHANG) == (0, 0), "the next migrate did not wait")
                require(database.fetch(BUILDERS) == [(builder,)], "the build did not outlive its client")
                require(database.fetch(LOCK_HOLDERS) == [(builder,)], "the build does not hold the lock")
                require(self._state(database) == [(index, False)], "the index was dropped under its builder")
                session.execute("COMMIT")
                status = processes.status_of(second)
                require(status == 0, f"the next migrate ended with {status}")
                require(
                    self._state(database) == [(index, True)], "the index is not the one that was being built"
                )
            finally:
                processes.end(second)

    def end(self, driver: Driver, database: Database) -> None:
        """The server process is terminated, too. The next migrate builds the index again."""
        with database.connect() as session:
            builder, index = self._begin(database, session)
            database.execute(f"SELECT pg_terminate_backend({builder}, 10000)")
            require(self._state(database) == [(index, False)], "no INVALID index was left to begin with")
            session.execute("COMMIT")
        driver.run(database)

    def _begin(self, database: Database, session: psycopg.Connection) -> tuple[int, int]:
        """Make the build wait for a session, and kill its client. Returns its server process and its index."""
        first = processes.fork(lambda: points.migrate(database, at=self.point_before, act=processes.stop))
        try:
            _, status = os.waitpid(first, os.WUNTRACED)
            require(os.WIFSTOPPED(status), "never came to the build")
            session.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
            session.execute(self.obstacle.encode())
            os.kill(first, signal.SIGCONT)
            ((builder,),) = wait_for(lambda: database.fetch(BUILDERS), "a build that waits")
        finally:
            processes.end(first)
        ((index, _),) = self._state(database)
        return int(str(builder)), int(str(index))

    def _state(self, database: Database) -> list[tuple[object, ...]]:
        """Return the index's oid and whether it is valid, or None if it does not exist."""
        return database.fetch(
            f"SELECT indexrelid, indisvalid FROM pg_index WHERE indexrelid = to_regclass('\"{self.index}\"')"
        )
