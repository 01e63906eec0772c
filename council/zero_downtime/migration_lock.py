"""The migration lock: only one migrate runs at a time, across all machines."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from django.core.management import CommandError
from django.db.backends.base.base import BaseDatabaseWrapper

from council.postgres import units
from council.zero_downtime.events import Listener, OtherMigrateAwaited

# An advisory lock is identified by two numbers within its database. These spell "coun" and "migr".
CLASS, OBJECT = 0x636F756E, 0x6D696772
POLL_SECONDS = 0.5
REPORT_SECONDS = 5.0

HOLDER = """
    SELECT l.pid, coalesce(a.usename, 'user: hidden'), coalesce(host(a.client_addr), 'a local socket'),
           extract(epoch FROM clock_timestamp() - a.backend_start)::float
      FROM pg_locks l
      LEFT JOIN pg_stat_activity a ON a.pid = l.pid
     WHERE l.locktype = 'advisory' AND l.classid = %s AND l.objid = %s AND l.granted
       AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


@contextmanager
def held(connection: BaseDatabaseWrapper, *, patience_seconds: float, tell: Listener) -> Iterator[None]:
    """Hold the migration lock during a block. If another migrate is running, wait for it.

    The lock is polled, because a session that waits in pg_advisory_lock holds a snapshot, and the other migrate's
    concurrent index builds would wait for that. The lock belongs to the migrating session: if the client is killed,
    it is held until the server ends that session.
    Raises CommandError after `patience_seconds`.
    """
    began = reported = time.monotonic()
    waited = False
    while not _try(connection):
        now = time.monotonic()
        holder = _holder(connection)
        if now - began > patience_seconds:
            raise CommandError(
                f"Another migrate is still running after {units.duration(now - began)}: {holder}. "
                f"This one has changed nothing. Wait for it and run migrate again; if it hangs, end it with "
                f"SELECT pg_terminate_backend(pid)."
            )
        if not waited or now - reported > REPORT_SECONDS:
            tell(OtherMigrateAwaited(holder, now - began))
            waited, reported = True, now
        time.sleep(POLL_SECONDS)
    try:
        yield
    finally:
        if connection.connection is not None and not connection.needs_rollback and connection.is_usable():
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_unlock(%s, %s)", [CLASS, OBJECT])


def _try(connection: BaseDatabaseWrapper) -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s, %s)", [CLASS, OBJECT])
        (is_ours,) = cursor.fetchone()
        return bool(is_ours)


def _holder(connection: BaseDatabaseWrapper) -> str:
    with connection.cursor() as cursor:
        cursor.execute(HOLDER, [CLASS, OBJECT])
        row = cursor.fetchone()
    if row is None:
        return "it has just ended"
    pid, user, address, seconds = row
    age = f", connected for {units.duration(seconds)}" if seconds is not None else ""
    return f"pid {pid} ({user}, from {address}{age})"
