"""Tables that nobody wrote a migration for here, shut to the data API like our own."""

from collections.abc import Iterable

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.recorder import MigrationRecorder

from council.postgres import catalog


def open_tables(connection: BaseDatabaseWrapper, *, except_tables: Iterable[str]) -> list[str]:
    """List the tables of installed apps that have no row level security, save the exceptions."""
    ours = {*connection.introspection.django_table_names(), MigrationRecorder.Migration._meta.db_table}
    return [
        table
        for table in catalog.tables_without_row_security(connection)
        if table in ours and table not in set(except_tables)
    ]


def enable(connection: BaseDatabaseWrapper, table: str) -> None:
    """Enable row level security on a table, which takes ACCESS EXCLUSIVE for an instant.

    The owner, who the application connects as, is unaffected.
    """
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {connection.ops.quote_name(table)} ENABLE ROW LEVEL SECURITY")
