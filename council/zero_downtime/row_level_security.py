"""Hides the tables of other apps from Supabase's data API, as the project's migrations do for its own tables.

The API runs requests with the site's public key under its own database roles. If the server has no such role, there
is no data API, and the tables of other apps stay as their migrations create them.
"""

import re
from collections.abc import Collection, Iterable

from django.apps import apps
from django.conf import settings
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.recorder import MigrationRecorder

from council.postgres import catalog

DATA_API_ROLES = ("anon", "authenticated")
ROLES = "SELECT rolname FROM pg_roles WHERE rolname = ANY(%s) ORDER BY 1"


def data_api_roles(connection: BaseDatabaseWrapper) -> list[str]:
    """Return those of the data API's roles that exist on the server."""
    with connection.cursor() as cursor:
        cursor.execute(ROLES, [list(DATA_API_ROLES)])
        return [role for (role,) in cursor.fetchall()]


def excepted_tables() -> set[str]:
    """Return the tables of the apps that settings exempt."""
    return {
        model._meta.db_table
        for label in settings.ROW_LEVEL_SECURITY_EXCEPT_APPS
        for model in apps.get_app_config(label).get_models(include_auto_created=True)
    }


def open_tables(connection: BaseDatabaseWrapper, *, except_tables: Iterable[str]) -> list[str]:
    """List the installed apps' tables without row level security, except the exempted; none without a data API."""
    if not data_api_roles(connection):
        return []
    wanted = _known(connection) - {*except_tables, *excepted_tables()}
    return [table for table in catalog.tables_without_row_security(connection) if table in wanted]


def open_tables_after(
    connection: BaseDatabaseWrapper, sql: Collection[str], *, except_tables: Iterable[str]
) -> list[str]:
    """List the tables that will need row level security after a plan's SQL has run."""
    if not data_api_roles(connection):
        return []
    except_tables = {*except_tables, *excepted_tables()}
    made = {match[1] for one in sql if (match := re.match(r'CREATE TABLE "([^"]+)"', one))}
    gone = {match[1] for one in sql if (match := re.match(r'DROP TABLE "([^"]+)"', one))}
    found = {*open_tables(connection, except_tables=except_tables), *(_known(connection) & made)}
    found |= {MigrationRecorder.Migration._meta.db_table} - set(connection.introspection.table_names())
    shut = {table for table in found if f"{_enable(connection, table)};" in sql}
    return sorted(found - except_tables - gone - shut)


def _known(connection: BaseDatabaseWrapper) -> set[str]:
    return {*connection.introspection.django_table_names(), MigrationRecorder.Migration._meta.db_table}


def enable(connection: BaseDatabaseWrapper, table: str) -> None:
    """Enable row level security on a table. Takes ACCESS EXCLUSIVE for an instant.

    The application connects as the table's owner, who still sees all rows.
    """
    with connection.cursor() as cursor:
        cursor.execute(_enable(connection, table))


def _enable(connection: BaseDatabaseWrapper, table: str) -> str:
    return f"ALTER TABLE {connection.ops.quote_name(table)} ENABLE ROW LEVEL SECURITY"
