"""Tables that nobody wrote a migration for here, shut to Supabase's data API like our own.

The API signs requests of everybody who has the site's public key in as a role. Where there is no such role, there is
no data API, and the tables of other apps are left as their migrations make them.
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
    """Name the data API's roles that the server has."""
    with connection.cursor() as cursor:
        cursor.execute(ROLES, [list(DATA_API_ROLES)])
        return [role for (role,) in cursor.fetchall()]


def excepted_tables() -> set[str]:
    """Name the tables of the apps that the settings leave open."""
    return {
        model._meta.db_table
        for label in settings.ROW_LEVEL_SECURITY_EXCEPT_APPS
        for model in apps.get_app_config(label).get_models(include_auto_created=True)
    }


def open_tables(connection: BaseDatabaseWrapper, *, except_tables: Iterable[str]) -> list[str]:
    """List the tables of installed apps that have to be shut, save the exceptions: none without a data API."""
    if not data_api_roles(connection):
        return []
    wanted = _known(connection) - {*except_tables, *excepted_tables()}
    return [table for table in catalog.tables_without_row_security(connection) if table in wanted]


def open_tables_after(
    connection: BaseDatabaseWrapper, sql: Collection[str], *, except_tables: Iterable[str]
) -> list[str]:
    """List those that will have to be shut once the SQL of a plan has run."""
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
    """Enable row level security on a table, which takes ACCESS EXCLUSIVE for an instant.

    The owner, who the application connects as, is unaffected.
    """
    with connection.cursor() as cursor:
        cursor.execute(_enable(connection, table))


def _enable(connection: BaseDatabaseWrapper, table: str) -> str:
    return f"ALTER TABLE {connection.ops.quote_name(table)} ENABLE ROW LEVEL SECURITY"
