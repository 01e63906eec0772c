"""Builds an index while its table is in use, and handles what an interrupted build has left."""

from collections.abc import Callable
from contextlib import suppress

from django.db import Error, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from council.postgres import catalog, definitions
from council.zero_downtime import session_settings
from council.zero_downtime.failures import DefinitionConflict

# How long an interrupted migration may spend on cleaning up.
CLEARING_SECONDS = 5

Run = Callable[[str], None]


def look_up(connection: BaseDatabaseWrapper, name: str) -> definitions.FoundIndex | None:
    """Find an index by name. Raises DefinitionConflict if the name belongs to a table or a view."""
    kind = catalog.relation_kind(connection, name)
    if kind not in {None, "index"}:
        raise DefinitionConflict(f'"{name}"', found=f"a {kind}", expected="an index")
    return definitions.index(connection, name)


def build(
    connection: BaseDatabaseWrapper, run: Run, *, table: str, name: str, create_sql: str, plain_sql: str
) -> bool:
    """Build an index concurrently, unless it exists. Returns whether it was built.

    `plain_sql` is `create_sql` without CONCURRENTLY, for comparing with an existing index. Waits for a build by
    another session, and drops what an interrupted build left. Raises DefinitionConflict.
    """
    if catalog.index_builder(connection, name):
        _let_finish(connection, run, table)
    drop_remains(connection, run, name)
    if found := look_up(connection, name):
        expected = definitions.index_as_created(connection, table=table, name=name, create_sql=plain_sql)
        if found.definition != expected:
            raise DefinitionConflict(f'Index "{name}"', found=found.definition, expected=expected)
        return False
    # A timeout during a build would leave an INVALID index.
    with session_settings.changed(connection, lock_timeout="0", statement_timeout="0"):
        try:
            run(create_sql)
        except KeyboardInterrupt:
            # Dropping waits for transactions that use the table; the timeout keeps that short.
            with suppress(Error), session_settings.changed(connection, lock_timeout=f"{CLEARING_SECONDS}s"):
                drop_remains(connection, run, name)
            raise
        except Error:
            # Drop it, as even an INVALID unique index rejects duplicates.
            if connection.is_usable():
                drop_remains(connection, run, name)
            raise
    return True


def _let_finish(connection: BaseDatabaseWrapper, run: Run, table: str) -> None:
    """Wait for another session's build by requesting a lock, to which the usual timeout, report and retries apply."""
    with transaction.atomic(using=connection.alias):
        run(f"LOCK TABLE {connection.ops.quote_name(table)} IN SHARE UPDATE EXCLUSIVE MODE")


def drop_remains(connection: BaseDatabaseWrapper, run: Run, name: str) -> None:
    """Drop what interrupted builds left: the index itself if it is INVALID, and copies made by REINDEX."""
    found = look_up(connection, name)
    if found and not found.is_valid:
        run(drop_sql(connection, name))
    for leftover in catalog.interrupted_rebuilds(connection, name):
        run(drop_sql(connection, leftover))


def drop_sql(connection: BaseDatabaseWrapper, name: str) -> str:
    return f"DROP INDEX CONCURRENTLY IF EXISTS {connection.ops.quote_name(name)}"
