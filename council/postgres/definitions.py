"""Definitions of indexes, constraints, triggers and functions, as PostgreSQL prints them without their schema.

`…_as_created` returns the definition that a statement would create, so that it can be compared with an existing one.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from council.postgres import catalog


class FoundIndex(NamedTuple):
    table: str
    definition: str
    is_valid: bool


class FoundConstraint(NamedTuple):
    definition: str
    is_validated: bool


class FoundFunction(NamedTuple):
    definition: str
    comment: str | None


class FoundTrigger(NamedTuple):
    """A trigger and its function, with definitions that omit the schema. `comment` holds pgtrigger's hash."""

    definition: str
    function: str
    comment: str | None
    is_enabled: bool


# An index or constraint of a temporary table may use types from the current schema: hence both prefixes.
INDEX = """
    SELECT t.relname,
           replace(replace(pg_get_indexdef(i.indexrelid), %(prefix)s, ''), %(current_prefix)s, ''),
           i.indisvalid AND i.indisready
      FROM pg_index i
      JOIN pg_class x ON x.oid = i.indexrelid
      JOIN pg_class t ON t.oid = i.indrelid
      JOIN pg_namespace n ON n.oid = x.relnamespace
     WHERE n.nspname = %(schema)s AND x.relname = %(name)s
"""


def index(connection: BaseDatabaseWrapper, name: str, *, schema: str | None = None) -> FoundIndex | None:
    """Look up an index by name in a schema (by default the current one)."""
    rows = catalog.ask(connection, INDEX, {"name": name, "schema": schema})
    return FoundIndex(*rows[0]) if rows else None


@contextmanager
def _made_on_a_copy(connection: BaseDatabaseWrapper, table: str, create_sql: str) -> Iterator[str]:
    """Run SQL on an empty copy of a table, and yield the copy's schema.

    The copy is a temporary table with the same name, so the SQL applies to it. Everything is rolled back.
    """
    quote = connection.ops.quote_name
    source = f"{quote(catalog.current_schema(connection))}.{quote(table)}"
    with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
        cursor.execute(f"CREATE TEMPORARY TABLE {quote(table)} (LIKE {source}) ON COMMIT DROP")
        cursor.execute(create_sql)
        cursor.execute("SELECT nspname FROM pg_namespace WHERE oid = pg_my_temp_schema()")
        (schema,) = cursor.fetchone()
        yield schema
        transaction.set_rollback(True, using=connection.alias)


def index_as_created(connection: BaseDatabaseWrapper, *, table: str, name: str, create_sql: str) -> str:
    """Return the catalogue's definition of an index, by creating it on an empty copy of its table."""
    with _made_on_a_copy(connection, table, create_sql) as schema:
        created = index(connection, name, schema=schema)
    assert created is not None
    return created.definition


CONSTRAINT = """
    SELECT replace(replace(regexp_replace(pg_get_constraintdef(k.oid), ' NOT VALID$', ''),
                           %(prefix)s, ''), %(current_prefix)s, ''),
           k.convalidated
      FROM pg_constraint k
      JOIN pg_class t ON t.oid = k.conrelid
      JOIN pg_namespace n ON n.oid = t.relnamespace
     WHERE n.nspname = %(schema)s AND t.relname = %(table)s AND k.conname = %(name)s
"""


def constraint(
    connection: BaseDatabaseWrapper, table: str, name: str, *, schema: str | None = None
) -> FoundConstraint | None:
    """Look up a table's constraint by name in a schema (by default the current one)."""
    rows = catalog.ask(connection, CONSTRAINT, {"table": table, "name": name, "schema": schema})
    return FoundConstraint(*rows[0]) if rows else None


def constraint_as_created(connection: BaseDatabaseWrapper, *, table: str, name: str, create_sql: str) -> str:
    """Return the catalogue's definition of a check, by creating it on an empty copy of its table."""
    with _made_on_a_copy(connection, table, create_sql) as schema:
        created = constraint(connection, table, name, schema=schema)
    assert created is not None
    return created.definition


FOREIGN_KEY_DEFINITION = """
    SELECT format('FOREIGN KEY (%%I) REFERENCES %%I(%%I)', %(column)s, %(to_table)s, %(to_column)s)
           || CASE %(on_update)s WHEN 'NO ACTION' THEN '' ELSE ' ON UPDATE ' || %(on_update)s END
           || CASE %(on_delete)s WHEN 'NO ACTION' THEN '' ELSE ' ON DELETE ' || %(on_delete)s END
"""


def foreign_key_definition(
    connection: BaseDatabaseWrapper,
    *,
    column: str,
    to_table: str,
    to_column: str,
    on_delete: str,
    on_update: str,
) -> str:
    """Write the definition of a foreign key as `constraint` would return it."""
    params = {
        "column": column,
        "to_table": to_table,
        "to_column": to_column,
        "on_delete": on_delete,
        "on_update": on_update,
    }
    return str(catalog.ask(connection, FOREIGN_KEY_DEFINITION, params)[0][0])


TRIGGER = """
    SELECT replace(pg_get_triggerdef(g.oid), %(prefix)s, ''),
           replace(pg_get_functiondef(g.tgfoid), %(prefix)s, ''),
           obj_description(g.oid, 'pg_trigger'),
           g.tgenabled <> 'D'
      FROM pg_trigger g
      JOIN pg_class t ON t.oid = g.tgrelid
      JOIN pg_namespace n ON n.oid = t.relnamespace
     WHERE n.nspname = %(schema)s AND t.relname = %(table)s AND g.tgname = %(name)s AND NOT g.tgisinternal
"""


def trigger(connection: BaseDatabaseWrapper, table: str, name: str) -> FoundTrigger | None:
    """Look up a table's trigger by name, in the current schema."""
    rows = catalog.ask(connection, TRIGGER, {"table": table, "name": name})
    return FoundTrigger(*rows[0]) if rows else None


FUNCTION = """
    SELECT replace(pg_get_functiondef(p.oid), %(prefix)s, ''), obj_description(p.oid, 'pg_proc')
      FROM pg_proc p
      JOIN pg_namespace n ON n.oid = p.pronamespace
     WHERE n.nspname = %(schema)s AND p.proname = %(name)s
       AND pg_get_function_identity_arguments(p.oid) = %(arguments)s
"""


def function(connection: BaseDatabaseWrapper, name: str, arguments: str = "") -> FoundFunction | None:
    """Look up a function in the current schema by name and arguments, which are written `member_ids text[]`."""
    rows = catalog.ask(connection, FUNCTION, {"name": name, "arguments": arguments})
    return FoundFunction(*rows[0]) if rows else None
