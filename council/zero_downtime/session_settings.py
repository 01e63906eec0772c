"""Session settings that limit how long a statement may wait or run."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from django.db.backends.base.base import BaseDatabaseWrapper

SET = "SELECT set_config(name, value, false) FROM unnest(%s::text[], %s::text[]) AS given (name, value)"


@contextmanager
def changed(connection: BaseDatabaseWrapper, **values: str) -> Iterator[None]:
    """Run a block, outside a transaction, with other session settings. Always restore the old ones.

    Settings that the server does not know are ignored.
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


def without_timeouts(connection: BaseDatabaseWrapper) -> AbstractContextManager[None]:
    """Disable the server's idle and transaction timeouts for a block, since a migration may wait or run for long.

    TCP keepalives tell the server within a minute if this machine dies; otherwise its locks could stay for two hours.
    """
    return changed(
        connection,
        idle_session_timeout="0",
        idle_in_transaction_session_timeout="0",
        transaction_timeout="0",  # since version 17
        tcp_keepalives_idle="30",
        tcp_keepalives_interval="10",
        tcp_keepalives_count="3",
    )


def short_lock_waits(connection: BaseDatabaseWrapper, lock_seconds: float) -> AbstractContextManager[None]:
    """Limit how long each statement of a block waits for a lock.

    PostgreSQL cancels a blocking autovacuum after deadlock_timeout, by default one second, which would be too late
    here. So it is shortened if the role may set it: superusers and roles with that privilege.
    """
    values = {"lock_timeout": f"{lock_seconds * 1000:.0f}ms"}
    with connection.cursor() as cursor:
        cursor.execute("SELECT has_parameter_privilege('deadlock_timeout', 'SET')")
        if cursor.fetchone() == (True,):
            values["deadlock_timeout"] = f"{max(lock_seconds * 500, 1):.0f}ms"
    return changed(connection, **values)
