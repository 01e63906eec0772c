"""The session settings that decide how long a statement may wait, and for what."""

from collections.abc import Iterator
from contextlib import contextmanager

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
