"""The session settings that decide how long a statement may wait, and for what."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from django.db.backends.base.base import BaseDatabaseWrapper

SET = "SELECT set_config(name, value, false) FROM unnest(%s::text[], %s::text[]) AS given (name, value)"


@contextmanager
def session_settings(connection: BaseDatabaseWrapper, **values: str) -> Iterator[None]:
    """Run a block outside of a transaction with other session settings; put the old ones back, always.

    Those that the server does not know are left out.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT name, current_setting(name, true) FROM unnest(%s::text[]) AS name", [list(values)]
        )
        before: dict[str, str] = {name: value for name, value in cursor.fetchall() if value is not None}
        try:
            cursor.execute(SET, [list(before), [values[name] for name in before]])
            yield
        finally:
            if not connection.needs_rollback and connection.is_usable():
                cursor.execute(SET, [list(before), list(before.values())])


def long_life(connection: BaseDatabaseWrapper) -> AbstractContextManager[None]:
    """Have the server end the session of a block neither for being idle, as while it waits, nor for working long.

    But have it notice within a minute when the machine at our end has died, which would else keep its locks for two
    hours.
    """
    return session_settings(
        connection,
        idle_session_timeout="0",
        idle_in_transaction_session_timeout="0",
        transaction_timeout="0",  # from 17 on
        tcp_keepalives_idle="30",
        tcp_keepalives_interval="10",
        tcp_keepalives_count="3",
    )


def short_waits(connection: BaseDatabaseWrapper, lock_seconds: float) -> AbstractContextManager[None]:
    """Have no statement of a block wait for a lock longer than this.

    An autovacuum in the way is cancelled by PostgreSQL for whoever has waited for deadlock_timeout, a second
    unless told otherwise, which would be too late. Only superusers, and who is granted it, may shorten that.
    """
    values = {"lock_timeout": f"{lock_seconds * 1000:.0f}ms"}
    with connection.cursor() as cursor:
        cursor.execute("SELECT has_parameter_privilege('deadlock_timeout', 'SET')")
        if cursor.fetchone() == (True,):
            values["deadlock_timeout"] = f"{max(lock_seconds * 500, 1):.0f}ms"
    return session_settings(connection, **values)
