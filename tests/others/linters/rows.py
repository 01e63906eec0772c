"""Made-up rows for all tables of a database, and indexes, checks and keys that depend on all columns."""

import re
from typing import Any

import psycopg
from psycopg import sql

ROWS = 300
FIRST = 1_001  # larger than any key that migrations insert
COLUMNS = """
    SELECT c.oid::regclass::text, a.attname, y.typname, a.atttypmod, a.attnotnull,
           (SELECT e.enumlabel FROM pg_enum e WHERE e.enumtypid = y.oid ORDER BY e.enumsortorder LIMIT 1)
      FROM pg_class c
      JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
      JOIN pg_type y ON y.oid = a.atttypid
     WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND a.attgenerated = ''
       AND c.relname <> 'django_migrations'
     ORDER BY c.oid, a.attnum
"""
SEQUENCES = """
    SELECT setval(quote_ident(sequencename)::regclass, GREATEST(coalesce(last_value, 1), 100000))
      FROM pg_sequences WHERE schemaname = 'public' AND max_value > 100000
"""
KEYS = """
    SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod)
      FROM pg_index i
      JOIN pg_class c ON c.oid = i.indrelid
      JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = i.indkey[0]
     WHERE i.indisprimary AND i.indnatts = 1 AND c.relnamespace = 'public'::regnamespace
"""
INSERT = "INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE SELECT {} FROM generate_series({}, {}) AS g"
NUMBERS = ("int2", "int4", "int8", "oid")
VALUES = {
    "bool": "g % 2 = 0",
    "text": "g::text",
    "citext": "g::text",
    "timestamptz": "timestamptz '2020-01-01' + g * interval '1 day'",
    "timestamp": "timestamp '2020-01-01' + g * interval '1 day'",
    "date": "date '2020-01-01' + g::int",
    "time": "time '00:00' + g * interval '1 second'",
    "interval": "g * interval '1 second'",
    "uuid": "md5(g::text)::uuid",
    "json": "'{}'::json",
    "jsonb": "'{}'::jsonb",
    "bytea": "g::text::bytea",
    "inet": "('10.0.' || g / 250 || '.' || g % 250)::inet",
    "float4": "g",
    "float8": "g",
    "tsvector": "to_tsvector('simple', g::text)",
}


def fill(session: psycopg.Connection) -> None:
    """Add the same number of rows to each table. Row g of a child refers to row g of its parent."""
    tables: dict[str, dict[str, str]] = {}
    for table, column, kind, modifier, is_not_null, label in session.execute(COLUMNS).fetchall():
        value = _value(kind, modifier, label)
        tables.setdefault(table, {})
        if value or is_not_null:
            tables[table][column] = value or "NULL"
    session.execute("SET session_replication_role TO replica")
    for table, values in tables.items():
        insert = sql.SQL(INSERT).format(
            sql.SQL(table),
            sql.SQL(", ").join(map(sql.Identifier, values)),
            sql.SQL(", ").join(map(sql.SQL, values.values())),
            sql.Literal(FIRST),
            sql.Literal(FIRST + ROWS - 1),
        )
        attempt(session, insert)
    session.execute(SEQUENCES)
    session.execute("RESET session_replication_role")


def _value(kind: str, modifier: int, label: str | None) -> str | None:
    if kind in NUMBERS:
        return "g"
    if kind in {"varchar", "bpchar"}:
        return "g::text" if modifier < 0 or modifier - 4 >= 4 else f"right(g::text, {modifier - 4})"
    if kind == "numeric":
        return "g" if modifier < 0 or ((modifier - 4) >> 16) - ((modifier - 4) & 0xFFFF) >= 4 else "g % 9"
    if label:
        return f"'{label}'"
    return "'{}'" if kind.startswith("_") else VALUES.get(kind)


def add_dependants(session: psycopg.Connection, text: str) -> list[str]:
    """Add indexes, checks and keys to the tables that are named in SQL. Returns the statements that worked.

    No views are added, because PostgreSQL refuses to drop or change the columns of a view.
    """
    named = set(re.findall(r'"(\w+)"', text))
    made = []
    for name, key, kind in session.execute(KEYS).fetchall():
        if name not in named:
            continue
        columns = [column for table, column, *_ in session.execute(COLUMNS) if table.strip('"') == name]
        table = f'"{name}"'
        child = f'"of_{name[:55]}"'
        made += [
            f'CREATE TABLE {child} (parent {kind} REFERENCES {table} ("{key}"))',
            f'INSERT INTO {child} SELECT "{key}" FROM {table}',
        ]
        for number, column in enumerate(columns):
            made += [
                f'CREATE INDEX "a{number}_{name[:50]}" ON {table} ("{column}")',
                f'CREATE INDEX "b{number}_{name[:50]}" ON {table} (("{column}" IS NULL))',
                f'CREATE INDEX "c{number}_{name[:50]}" ON {table} ("{key}") WHERE "{column}" IS NOT NULL',
                f'ALTER TABLE {table} ADD CONSTRAINT "d{number}_{name[:50]}" '
                f'CHECK (num_nulls("{column}") < 2)',
            ]
    return [one for one in made if attempt(session, one)]


def attempt(session: psycopg.Connection, statement: Any) -> bool:
    try:
        session.execute(statement)
    except psycopg.Error:
        return False
    return True
