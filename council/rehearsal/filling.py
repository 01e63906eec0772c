"""Fills a database whose schema the project's own migrations have built with the gateway's made-up rows."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime

import psycopg
from django.utils.module_loading import autodiscover_modules
from psycopg import sql

from council.gateway.made_up_rows import Batch, MadeUpRows
from council.registry import Registry

CHUNK_LINES = 500

Complete = Callable[[psycopg.Connection], object]
_COMPLETIONS: Registry[Complete] = Registry()


def register(name: str) -> Callable[[Complete], Complete]:
    """Register a function that sets what triggers would have set, as these do not fire while rows are filled in.

    An app registers its functions in its module `rehearsal`. The tables that a function is about may not exist yet.
    """

    def decorate(complete: Complete) -> Complete:
        _COMPLETIONS.add(name, complete)
        return complete

    return decorate


def registered() -> Registry[Complete]:
    """Return the functions of all apps."""
    autodiscover_modules("rehearsal")
    return _COMPLETIONS


def fill(session: psycopg.Connection, *, members: int, advanced: Callable[[float], object]) -> None:
    """Fill empty tables, and leave them like tables in use: vacuumed, analysed and written to disk.

    Disables triggers and foreign keys if the role may; the generated rows are already consistent.
    """
    rows = MadeUpRows(members, now=datetime.now(UTC).replace(tzinfo=None))
    planned = [batch for batch in rows.batches() if _is_there(session, batch.table)]
    whole = sum(batch.rows for batch in planned) * 1.5 or 1  # building the indexes takes a third of the time
    done = 0
    session.execute("SET synchronous_commit = off")
    are_triggers_off = _disable_triggers(session)
    with without_indexes(session, [batch.table for batch in planned]):
        for batch in planned:
            for lines in _copy(session, batch):
                done += lines
                advanced(done / whole)
    if are_triggers_off:
        for complete in registered().values():
            complete(session)
    session.execute("RESET ALL")
    settle(session)
    advanced(1.0)


def settle(session: psycopg.Connection) -> None:
    """Vacuum, analyse, and write all pages to disk, so that all rehearsals start in the same state."""
    session.execute("VACUUM (ANALYZE)")
    with suppress(psycopg.errors.InsufficientPrivilege):
        session.execute("CHECKPOINT")


def _is_there(session: psycopg.Connection, table: str) -> bool:
    return session.execute("SELECT to_regclass(%s) IS NOT NULL", [f'"{table}"']).fetchone() == (True,)


def _disable_triggers(session: psycopg.Connection) -> bool:
    try:
        session.execute("SET session_replication_role = replica")
    except psycopg.errors.InsufficientPrivilege:
        return False
    return True


def _copy(session: psycopg.Connection, batch: Batch) -> Iterator[int]:
    """Send rows, and yield how many lines were sent since the last yield."""
    command = sql.SQL("COPY {} ({}) FROM STDIN").format(
        sql.Identifier(batch.table), sql.SQL(", ").join(map(sql.Identifier, batch.columns))
    )
    waiting: list[str] = []
    with session.cursor().copy(command) as copy:
        for line in batch.lines:
            waiting.append(line)
            if len(waiting) == CHUNK_LINES:
                copy.write("".join(waiting))
                yield len(waiting)
                waiting.clear()
        copy.write("".join(waiting))
        yield len(waiting)


INDEXES = """
    SELECT indexname, indexdef
      FROM pg_indexes
     WHERE tablename = ANY(%s) AND schemaname = current_schema()
       AND NOT EXISTS (SELECT FROM pg_constraint
                        WHERE conindid = to_regclass(quote_ident(schemaname) || '.' || quote_ident(indexname)))
"""


@contextmanager
def without_indexes(session: psycopg.Connection, tables: list[str]) -> Iterator[None]:
    """Drop indexes, except those of constraints, and rebuild them afterwards, which is many times faster."""
    session.execute("SET maintenance_work_mem = '512MB'; SET work_mem = '64MB'")
    indexes = session.execute(INDEXES, [tables]).fetchall()
    for name, _ in indexes:
        session.execute(sql.SQL("DROP INDEX {}").format(sql.Identifier(name)))
    yield
    for _, definition in indexes:
        session.execute(definition.encode())
