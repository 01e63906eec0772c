"""The contents of a schema, as facts that can be saved and compared: one line per object."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from django.db.backends.base.base import BaseDatabaseWrapper

from council.postgres import catalog


class Fact(NamedTuple):
    """One object in the catalogue, such as ("column", "Member.email", "text")."""

    kind: str
    name: str
    definition: str


def names(kind: str, described: Iterable[Fact]) -> frozenset[str]:
    return frozenset(fact.name for fact in described if fact.kind == kind)


# All other kinds belong to a table, and their names begin with its name.
FREE_STANDING = {"table", "enum", "function", "comment", "extension"}


class Difference(NamedTuple):
    """An object that is missing (`found` is None), not expected (`expected` is None), or defined differently."""

    kind: str
    name: str
    expected: str | None
    found: str | None


def compare(*, expected: Iterable[Fact], found: Iterable[Fact]) -> Iterator[Difference]:
    """Yield the differences by kind and name. For a missing table, its columns, indexes and so on are not listed."""
    found = set(found)
    definitions_expected = {(kind, name): definition for kind, name, definition in expected}
    definitions_found = {(kind, name): definition for kind, name, definition in found}
    tables_found = {name for kind, name, _ in found if kind == "table"}
    for kind, name in sorted(definitions_expected.keys() | definitions_found.keys()):
        want, have = definitions_expected.get((kind, name)), definitions_found.get((kind, name))
        if want == have:
            continue
        if have is None and kind not in FREE_STANDING and name.partition(".")[0] not in tables_found:
            continue
        yield Difference(kind, name, want, have)


# One row per fact. Row level security, policies and comments are left out: the owner of a database may set them
# without changing the tables' contents. The baseline's manifest depends on this exact format: do not change it.
OF_TABLES = """
    WITH tables AS (
        SELECT c.*
          FROM pg_class c
          JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE n.nspname = %(schema)s AND c.relname = ANY(%(tables)s) AND c.relkind IN ('r', 'p', 'f', 'v', 'm'))
    SELECT 'table', relname::text,
           CASE relkind WHEN 'r' THEN 'table' WHEN 'p' THEN 'partitioned table' WHEN 'f' THEN 'foreign table'
                WHEN 'm' THEN 'materialized view' ELSE 'view' END
           || CASE relpersistence WHEN 'u' THEN ', unlogged' WHEN 't' THEN ', temporary' ELSE '' END
           || CASE WHEN EXISTS (SELECT FROM pg_inherits h WHERE h.inhrelid = tables.oid) THEN ', inherits' ELSE '' END
      FROM tables
    UNION ALL
    SELECT 'column', relname || '.' || attname,
           replace(format_type(atttypid, atttypmod), %(prefix)s, '')
           || CASE WHEN attcollation <> y.typcollation
                   THEN ' COLLATE ' || (SELECT quote_ident(l.collname) FROM pg_collation l WHERE l.oid = attcollation)
                   ELSE '' END
           || CASE WHEN attnotnull THEN ' NOT NULL' ELSE '' END
           || CASE WHEN attidentity <> '' THEN ' GENERATED AS IDENTITY' ELSE '' END
           || CASE WHEN attgenerated <> '' THEN ' GENERATED AS ' WHEN atthasdef THEN ' DEFAULT ' ELSE '' END
           || coalesce((SELECT replace(pg_get_expr(d.adbin, d.adrelid), %(prefix)s, '')
                          FROM pg_attrdef d WHERE d.adrelid = a.attrelid AND d.adnum = a.attnum), '')
      FROM tables
      JOIN pg_attribute a ON a.attrelid = tables.oid AND a.attnum > 0 AND NOT a.attisdropped
      JOIN pg_type y ON y.oid = a.atttypid
    UNION ALL
    -- NOT NULL is the column's; PostgreSQL 18 lists it here as well
    SELECT 'constraint', relname || '.' || conname,
           replace(pg_get_constraintdef(k.oid), %(prefix)s, '')
      FROM tables
      JOIN pg_constraint k ON k.conrelid = tables.oid AND k.contype <> 'n'
    UNION ALL
    SELECT 'index', tables.relname || '.' || x.relname,
           replace(pg_get_indexdef(i.indexrelid), %(prefix)s, '')
           || CASE WHEN i.indisvalid AND i.indisready THEN '' ELSE ' INVALID' END
      FROM tables
      JOIN pg_index i ON i.indrelid = tables.oid
      JOIN pg_class x ON x.oid = i.indexrelid
    UNION ALL
    SELECT 'trigger', relname || '.' || tgname, replace(pg_get_triggerdef(g.oid), %(prefix)s, '')
      FROM tables
      JOIN pg_trigger g ON g.tgrelid = tables.oid AND NOT g.tgisinternal
    UNION ALL
    SELECT 'rule', relname || '.' || rulename, replace(pg_get_ruledef(r.oid), %(prefix)s, '')
      FROM tables
      JOIN pg_rewrite r ON r.ev_class = tables.oid AND tables.relkind <> 'v'
    UNION ALL
    SELECT 'enum', typname::text, string_agg(quote_literal(enumlabel), ', ' ORDER BY enumsortorder)
      FROM pg_type y
      JOIN pg_namespace n ON n.oid = y.typnamespace
      JOIN pg_enum e ON e.enumtypid = y.oid
     WHERE n.nspname = %(schema)s AND typname = ANY(%(enums)s)
     GROUP BY typname
"""


def of_tables(
    connection: BaseDatabaseWrapper, *, tables: Iterable[str], enums: Iterable[str], schema: str | None = None
) -> set[Fact]:
    """Describe tables and enums of a schema (by default the current one). Names that do not exist are left out."""
    params = {"tables": list(tables), "enums": list(enums), "schema": schema}
    return {Fact(*row) for row in catalog.ask(connection, OF_TABLES, params)}


# What the baseline does not compare. In a function's text, @extschema@ replaces the name of its schema, both where
# we wrote it and where PostgreSQL printed it, as in migrations. Migrations recognise our functions by their comment.
OF_SCHEMA = r"""
    WITH tables AS (
        SELECT c.*
          FROM pg_class c
          JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE n.nspname = %(schema)s AND c.relname = ANY(%(tables)s) AND c.relkind IN ('r', 'p')
    ), functions AS (
        SELECT p.oid, format('%%s(%%s)', quote_ident(proname), pg_get_function_identity_arguments(p.oid)) AS name
          FROM pg_proc p
          JOIN pg_namespace n ON n.oid = p.pronamespace
         WHERE n.nspname = %(schema)s AND p.prokind IN ('f', 'p')
           AND (%(functions)s::text[] IS NULL OR p.proname = ANY(%(functions)s))
           AND NOT EXISTS (SELECT FROM pg_depend d
                            WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'))
    SELECT 'trigger state', relname || '.' || tgname,
           CASE tgenabled WHEN 'O' THEN 'enabled' WHEN 'D' THEN 'disabled' WHEN 'R' THEN 'enabled on replicas only'
                ELSE 'enabled always' END
      FROM tables
      JOIN pg_trigger g ON g.tgrelid = tables.oid AND NOT g.tgisinternal
    UNION ALL
    -- a key is enforced by triggers of PostgreSQL's own, on both of its tables
    SELECT 'key state', relname || '.' || conname,
           CASE WHEN bool_and(tgenabled = 'O') THEN 'enforced' ELSE 'triggers disabled' END
      FROM tables
      JOIN pg_constraint k ON k.conrelid = tables.oid AND k.contype = 'f'
      JOIN pg_trigger g ON g.tgconstraint = k.oid
     GROUP BY relname, conname
    UNION ALL
    SELECT 'row security', relname::text,
           CASE WHEN relforcerowsecurity AND relrowsecurity THEN 'forced' WHEN relrowsecurity THEN 'on' ELSE 'off' END
      FROM tables
    UNION ALL
    SELECT 'sequence', relname || '.' || attname,
           CASE d.deptype WHEN 'i' THEN CASE attidentity WHEN 'a' THEN 'ALWAYS' ELSE 'BY DEFAULT' END ELSE 'OWNED' END
           || format(' %%s START %%s INCREMENT %%s MAXVALUE %%s',
                     format_type(seqtypid, NULL), seqstart, seqincrement, seqmax)
           || CASE WHEN seqcycle THEN ' CYCLE' ELSE '' END
      FROM tables
      JOIN pg_attribute a ON a.attrelid = tables.oid AND a.attnum > 0 AND NOT a.attisdropped
      JOIN pg_depend d ON d.refobjid = tables.oid AND d.refobjsubid = a.attnum AND d.deptype IN ('a', 'i')
           AND d.refclassid = 'pg_class'::regclass AND d.classid = 'pg_class'::regclass
      JOIN pg_sequence q ON q.seqrelid = d.objid
    UNION ALL
    SELECT 'function', name,
           rtrim(replace(replace(pg_get_functiondef(oid),
                         quoted.schema || '.', '@extschema@.'), %(prefix)s, '@extschema@.'), E'\n')
      FROM functions, (SELECT '"' || replace(%(schema)s, '"', '""') || '"' AS schema) AS quoted
    UNION ALL
    SELECT 'comment', 'function ' || name, obj_description(oid, 'pg_proc')
      FROM functions
     WHERE obj_description(oid, 'pg_proc') IS NOT NULL
    UNION ALL
    SELECT 'extension', extname::text, 'installed'
      FROM pg_extension
"""


def of_schema(
    connection: BaseDatabaseWrapper,
    *,
    tables: Iterable[str],
    enums: Iterable[str],
    functions: Iterable[str] | None = None,
) -> set[Fact]:
    """Describe tables, enums, functions (by name; None: all) and extensions, as `verify_schema` compares them."""
    tables = list(tables)
    params = {"tables": tables, "functions": None if functions is None else list(functions)}
    more = {Fact(*row) for row in catalog.ask(connection, OF_SCHEMA, params)}
    return of_tables(connection, tables=tables, enums=enums) | more
