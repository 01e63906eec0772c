"""The contents of the database, in a canonical form that can be compared.

Definitions are PostgreSQL's own output (`pg_get_indexdef` and similar functions). They are read with only
pg_catalog and pg_temp in the search_path, so every other name is qualified. The name of their own schema is
then removed, so that they are the same in every schema. PostgreSQL 15 to 18 print them identically.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

from django.db.backends.base.base import BaseDatabaseWrapper


def current_schema(connection: BaseDatabaseWrapper) -> str:
    """Return the schema in which unqualified names are created.

    Raises LookupError if no schema in the search_path exists.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_schema()")
        (schema,) = cursor.fetchone()
        if schema is None:
            cursor.execute("SHOW search_path")
            (path,) = cursor.fetchone()
            raise LookupError(
                f"None of the schemas in search_path ({path}) exists. Create one: CREATE SCHEMA …"
            )
        return str(schema)


# PostgreSQL prints temporary tables as pg_temp.name, although their schema is called pg_temp_N.
NAMES = """
    SELECT current_schema(),
           coalesce(%(schema)s, current_schema()),
           quote_ident(regexp_replace(coalesce(%(schema)s, current_schema()), '^pg_temp_[0-9]+$', 'pg_temp')) || '.',
           quote_ident(current_schema()) || '.',
           current_setting('search_path'),
           current_setting('jit')
"""
# The three statements are sent together: one transaction and one round trip. Compiling such a query takes PostgreSQL
# seconds, and running it milliseconds.
WITH_QUALIFIED_NAMES = """
    SELECT set_config('search_path', 'pg_catalog, pg_temp', true), set_config('jit', 'off', true);
    {query};
    SELECT set_config('search_path', %(search_path)s, true), set_config('jit', %(jit)s, true)
"""


def ask(connection: BaseDatabaseWrapper, query: str, params: dict[str, Any]) -> list[tuple[Any, ...]]:
    """Run a query on the catalogue. PostgreSQL qualifies every name that it prints.

    The query may use %(schema)s (the current schema if `params` gives none), %(prefix)s (that schema as printed
    before a name) and %(current_prefix)s (the current schema, printed the same way).
    """
    with connection.cursor() as cursor:
        cursor.execute(NAMES, {"schema": params.get("schema")})
        current, schema, prefix, current_prefix, search_path, jit = cursor.fetchone()
        if current is None:
            current_schema(connection)  # raises LookupError
        names = {
            "schema": schema,
            "prefix": prefix,
            "current_prefix": current_prefix,
            "search_path": search_path,
            "jit": jit,
        }
        statements = WITH_QUALIFIED_NAMES.format(query=query)
        sql = connection.ops.compose_sql(statements, {**params, **names})  # type: ignore[attr-defined]  # only on PostgreSQL
        cursor.execute(sql)
        cursor.nextset()
        return list(cursor.fetchall())


def quoted(connection: BaseDatabaseWrapper, names: Iterable[str]) -> list[str]:
    """Quote names as PostgreSQL does in definitions: only where needed."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT array_agg(quote_ident(name)) FROM unnest(%s::text[]) AS name", [list(names)])
        return list(cursor.fetchone()[0] or ())


RELATION_KIND = """
    SELECT CASE c.relkind WHEN 'r' THEN 'table' WHEN 'p' THEN 'partitioned table' WHEN 'v' THEN 'view'
           WHEN 'm' THEN 'materialized view' WHEN 'S' THEN 'sequence' WHEN 'f' THEN 'foreign table'
           WHEN 'c' THEN 'composite type' ELSE 'index' END
      FROM pg_class c
      JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE n.nspname = %(schema)s AND c.relname = %(name)s
"""


def relation_kind(connection: BaseDatabaseWrapper, name: str) -> str | None:
    """Return what kind of relation has a name. Tables, indexes, sequences and views share one namespace."""
    rows = ask(connection, RELATION_KIND, {"name": name})
    return rows[0][0] if rows else None


# If REINDEX CONCURRENTLY is interrupted more than once, PostgreSQL adds a number to the name of the next copy.
INTERRUPTED_REBUILDS = r"""
    SELECT x.relname
      FROM pg_index i
      JOIN pg_class x ON x.oid = i.indexrelid
      JOIN pg_namespace n ON n.oid = x.relnamespace
     WHERE n.nspname = %(schema)s
       AND NOT i.indisvalid
       AND regexp_replace(x.relname, '_cc(new|old)[0-9]*$', '') = %(name)s
       AND x.relname <> %(name)s
     ORDER BY x.relname
"""


def interrupted_rebuilds(connection: BaseDatabaseWrapper, name: str) -> list[str]:
    """List the invalid copies of an index that an interrupted REINDEX CONCURRENTLY left behind."""
    return [row[0] for row in ask(connection, INTERRUPTED_REBUILDS, {"name": name})]


INDEX_BUILDER = """
    SELECT p.pid
      FROM pg_stat_progress_create_index p
      JOIN pg_class x ON x.oid = p.index_relid
      JOIN pg_namespace n ON n.oid = x.relnamespace
     WHERE p.datname = current_database() AND n.nspname = %(schema)s AND x.relname = %(name)s
"""


def index_builder(connection: BaseDatabaseWrapper, name: str) -> int | None:
    """Return the process id of the session that is building an index; None if there is none."""
    rows = ask(connection, INDEX_BUILDER, {"name": name})
    return rows[0][0] if rows else None


IS_NOT_NULL = """
    SELECT a.attnotnull
      FROM pg_attribute a
      JOIN pg_class c ON c.oid = a.attrelid
      JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE n.nspname = %(schema)s AND c.relname = %(table)s AND c.relkind IN ('r', 'p')
       AND a.attname = %(column)s AND NOT a.attisdropped
"""


def is_not_null(connection: BaseDatabaseWrapper, table: str, column: str) -> bool | None:
    """Return whether a column of the current schema is NOT NULL; None if there is no such column."""
    rows = ask(connection, IS_NOT_NULL, {"table": table, "column": column})
    return rows[0][0] if rows else None


class IncomingKey(NamedTuple):
    name: str
    is_django_s: bool  # initially deferred and without actions, as Django creates them


INCOMING_FOREIGN_KEYS = """
    SELECT k.conname, k.condeferrable AND k.condeferred AND k.confupdtype = 'a' AND k.confdeltype = 'a'
      FROM pg_constraint k
      JOIN pg_class t ON t.oid = k.confrelid
      JOIN pg_namespace n ON n.oid = t.relnamespace
      JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = ANY(k.confkey)
     WHERE n.nspname = %(schema)s AND t.relname = %(table)s AND a.attname = %(column)s AND k.contype = 'f'
     ORDER BY k.conname
"""


def incoming_foreign_keys(connection: BaseDatabaseWrapper, table: str, column: str) -> list[IncomingKey]:
    """List the foreign keys that reference a column."""
    rows = ask(connection, INCOMING_FOREIGN_KEYS, {"table": table, "column": column})
    return [IncomingKey(*row) for row in rows]


ENUM_LABELS = """
    SELECT array_agg(e.enumlabel::text ORDER BY e.enumsortorder)
      FROM pg_type y
      JOIN pg_namespace n ON n.oid = y.typnamespace
      LEFT JOIN pg_enum e ON e.enumtypid = y.oid
     WHERE n.nspname = %(schema)s AND y.typname = %(name)s
     GROUP BY y.oid
"""


def enum_labels(connection: BaseDatabaseWrapper, name: str) -> list[str | None] | None:
    """List an enum's labels in order. Return [None] if the type is not an enum, None if there is no such type."""
    rows = ask(connection, ENUM_LABELS, {"name": name})
    return rows[0][0] if rows else None


class TriggerFunction(NamedTuple):
    """The return type of a function, and the triggers that call it, each as `Table.trigger`."""

    returns: str
    triggers: list[str]


TRIGGER_FUNCTION = """
    SELECT format_type(p.prorettype, NULL),
           ARRAY(SELECT t.relname || '.' || g.tgname
                   FROM pg_trigger g
                   JOIN pg_class t ON t.oid = g.tgrelid
                  WHERE g.tgfoid = p.oid AND NOT g.tgisinternal
                  ORDER BY 1)
      FROM pg_proc p
      JOIN pg_namespace n ON n.oid = p.pronamespace
     WHERE n.nspname = %(schema)s AND p.proname = %(name)s AND p.pronargs = 0
"""


def trigger_function(connection: BaseDatabaseWrapper, name: str) -> TriggerFunction | None:
    """Look up a function without arguments in the current schema, and the triggers that call it."""
    rows = ask(connection, TRIGGER_FUNCTION, {"name": name})
    return TriggerFunction(*rows[0]) if rows else None


OWNED_BY_OTHERS = """
    SELECT 'table', c.relname, c.relowner::regrole::text, current_user::text
      FROM pg_class c
      JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE n.nspname = %(schema)s AND c.relname = ANY(%(tables)s)
       AND NOT pg_has_role(c.relowner, 'USAGE')
    UNION ALL
    SELECT 'function', p.proname || '()', p.proowner::regrole::text, current_user::text
      FROM pg_proc p
      JOIN pg_namespace n ON n.oid = p.pronamespace
     WHERE n.nspname = %(schema)s AND p.proname = ANY(%(functions)s) AND p.pronargs = 0
       AND NOT pg_has_role(p.proowner, 'USAGE')
     ORDER BY 1 DESC, 2
"""


def owned_by_others(
    connection: BaseDatabaseWrapper, *, tables: Iterable[str], functions: Iterable[str]
) -> list[tuple[str, str, str, str]]:
    """List what the current role may not alter, as (kind, name, owner, current role)."""
    rows = ask(connection, OWNED_BY_OTHERS, {"tables": list(tables), "functions": list(functions)})
    return [(kind, name, owner, role) for kind, name, owner, role in rows]


ROW_SECURITY = """
    SELECT c.relrowsecurity
      FROM pg_class c
      JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE n.nspname = %(schema)s AND c.relname = %(table)s AND c.relkind IN ('r', 'p')
"""


def has_row_security(connection: BaseDatabaseWrapper, table: str) -> bool | None:
    """Return whether row level security is on for a table of the current schema; None if there is no such table."""
    rows = ask(connection, ROW_SECURITY, {"table": table})
    return rows[0][0] if rows else None


TABLES_WITHOUT_ROW_SECURITY = """
    SELECT c.relname
      FROM pg_class c
      JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE n.nspname = %(schema)s AND c.relkind IN ('r', 'p') AND NOT c.relrowsecurity
     ORDER BY c.relname
"""


def tables_without_row_security(connection: BaseDatabaseWrapper) -> list[str]:
    """List the tables of the current schema that the data API could read if its roles were granted access."""
    return [row[0] for row in ask(connection, TABLES_WITHOUT_ROW_SECURITY, {})]
