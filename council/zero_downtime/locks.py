"""The session settings that decide how long a statement may wait, and for what."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from django.db.backends.base.base import BaseDatabaseWrapper


@contextmanager
def session_settings(connection: BaseDatabaseWrapper, **values: str) -> Iterator[None]:
    """Run a block outside of a transaction with other session settings; put the old ones back, always."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT name, current_setting(name) FROM unnest(%s::text[]) AS name", [list(values)])
        before: dict[str, str] = dict(cursor.fetchall())
        try:
            for name, value in values.items():
                cursor.execute("SELECT set_config(%s, %s, false)", [name, value])
            yield
        finally:
            if not connection.needs_rollback and connection.is_usable():
                for name, value in before.items():
                    cursor.execute("SELECT set_config(%s, %s, false)", [name, value])


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
