"""Tables that nobody wrote a migration for here, shut to the data API like our own."""

from collections.abc import Iterable

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.recorder import MigrationRecorder

from council.postgres import catalog


def enable_for_installed_apps(connection: BaseDatabaseWrapper, *, except_tables: Iterable[str]) -> list[str]:
    """Enable row level security on every table of an installed app that has none, save the exceptions.

    Returns the tables that were changed. Each is one statement of its own, an instant of ACCESS EXCLUSIVE on
    a table that no one else uses. The owner, who the application connects as, is unaffected.
    """
    ours = {*connection.introspection.django_table_names(), MigrationRecorder.Migration._meta.db_table}
    open_tables = [
        table
        for table in catalog.tables_without_row_security(connection)
        if table in ours and table not in set(except_tables)
    ]
    with connection.cursor() as cursor:
        for table in open_tables:
            cursor.execute(f"ALTER TABLE {connection.ops.quote_name(table)} ENABLE ROW LEVEL SECURITY")
    return open_tables
