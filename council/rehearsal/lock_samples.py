"""Samples a migration's table locks from another session, and measures the size of the database."""

import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

import psycopg

from council.rehearsal.database_url import DatabaseUrl
from council.rehearsal.migrate_process import APPLICATION as MIGRATE
from council.zero_downtime.lock_modes import BY_NAME, MODES

APPLICATION = "rehearsal observer"
SAMPLE_SECONDS = 0.004
SEARCH_SECONDS = 0.05
STEADY_SECONDS = 0.5

# Only locks of migrating sessions in this database. A table created in an open transaction is not visible here, but
# nobody waits for it either.
LOCKS = """
    SELECT c.relname, l.mode, l.granted
      FROM pg_locks l
      JOIN pg_class c ON c.oid = l.relation
     WHERE l.locktype = 'relation' AND l.pid = ANY(%s)
       AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
       AND c.relkind IN ('r', 'p', 'm') AND c.relnamespace NOT IN ('pg_catalog'::regnamespace, 'pg_toast'::regnamespace)
"""
SESSIONS = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name = %s"
# This reads the sizes of files. Unlike pg_table_size, it locks no table.
SIZE = "SELECT pg_database_size(current_database())"


class LockSample(NamedTuple):
    """A lock on a table at a time (of the monotonic clock). If it is not granted, the session waits for it."""

    moment: float
    table: str
    mode: str
    is_granted: bool


def strongest(locks: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return the strongest mode for each table, from pairs of table and mode."""
    found: dict[str, str] = {}
    for table, mode in locks:
        found[table] = max(found.get(table, mode), mode, key=MODES.index)
    return found


def size_bytes(session: psycopg.Connection) -> int:
    row = session.execute(SIZE).fetchone()
    assert row
    return int(row[0])


@contextmanager
def watching(database: DatabaseUrl) -> Iterator[list[LockSample]]:
    """Sample the migrating sessions' locks every few milliseconds during a block. Shorter ones may be missed."""
    held: list[LockSample] = []
    ended = threading.Event()
    with database.connect(application=APPLICATION) as session:
        thread = threading.Thread(target=_sample, args=[session, held, ended], daemon=True)
        thread.start()
        try:
            yield held
        finally:
            ended.set()
            thread.join()


def _sample(session: psycopg.Connection, held: list[LockSample], ended: threading.Event) -> None:
    searched = changed = noted = 0.0
    pids: list[int] = []
    before: list[tuple[str, str, bool]] = []
    with suppress(psycopg.OperationalError):  # the server was stopped
        while not ended.wait(SAMPLE_SECONDS):
            now = time.monotonic()
            if now - searched > SEARCH_SECONDS:
                pids = [row[0] for row in session.execute(SESSIONS, [MIGRATE])]
                searched = now
            found = session.execute(LOCKS, [pids], prepare=True).fetchall() if pids else []
            if found != before:
                before, changed = found, now
            # Locks that stay the same for long are recorded only now and then.
            if now - changed < STEADY_SECONDS or now - noted > STEADY_SECONDS:
                held.extend(LockSample(now, table, BY_NAME[mode], granted) for table, mode, granted in found)
                noted = now
