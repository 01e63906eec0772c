"""Lists rows that break a rule, such as duplicates and orphans. Never changes them."""

import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg import sql

from council.postgres import units
from council.zero_downtime import session_settings

LISTED = 10  # the number of keys listed, those with the most rows first

ORPHANS = """
SELECT c.{column}, count(*), count(*) OVER (), sum(count(*)) OVER ()
  FROM {table} c
 WHERE c.{column} IS NOT NULL AND {has_no_parent}
 GROUP BY c.{column}
 ORDER BY 2 DESC, 1
 LIMIT {listed}
"""
HAS_NO_PARENT = "NOT EXISTS (SELECT FROM {to_table} p WHERE p.{to_column} = c.{column})"
DUPLICATES = """
SELECT {columns}, count(*), count(*) OVER (), sum(count(*)) OVER ()
  FROM {table}
 WHERE {filled}
 GROUP BY {columns}
HAVING count(*) > 1
 ORDER BY count(*) DESC, {columns}
 LIMIT {listed}
"""


class ForeignKey(NamedTuple):
    """A foreign key on one column."""

    table: str
    column: str
    to_table: str
    to_column: str

    @classmethod
    def read(cls, table: str, definition: str) -> "ForeignKey":
        """Parse a definition as pg_get_constraintdef prints it."""
        match = re.match(r'FOREIGN KEY \("?([^",]+)"?\) REFERENCES "?([^"(]+)"?\("?([^",]+)"?\)', definition)
        if match is None:
            raise ValueError(f"Not a foreign key of one column: {definition}")
        return cls(table, *match.groups())


def condition(connection: BaseDatabaseWrapper, values: dict[str, Any]) -> str:
    """Write column values as a condition that an operator can paste into WHERE."""
    return " AND ".join(
        connection.ops.quote_name(column)
        + (" IS NULL" if value is None else f" = {sql.Literal(value).as_string(connection.connection)}")
        for column, value in values.items()
    )


def orphans(connection: BaseDatabaseWrapper, key: ForeignKey, *, parent_is_there: bool = True) -> list[str]:
    """List rows without a parent, one line per key."""
    quote = connection.ops.quote_name
    names = {
        "table": quote(key.table),
        "column": quote(key.column),
        "to_table": quote(key.to_table),
        "to_column": quote(key.to_column),
    }
    has_no_parent = HAS_NO_PARENT.format(**names) if parent_is_there else "true"
    query = ORPHANS.format(**names, has_no_parent=has_no_parent, listed=LISTED)
    return list(_lines(connection, query, [key.column]))


def duplicates(connection: BaseDatabaseWrapper, table: str, columns: Sequence[str]) -> list[str]:
    """List column values that occur more than once, one line per key."""
    quoted = [connection.ops.quote_name(column) for column in columns]
    query = DUPLICATES.format(
        table=connection.ops.quote_name(table),
        columns=", ".join(quoted),
        filled=" AND ".join(f"{column} IS NOT NULL" for column in quoted),
        listed=LISTED,
    )
    return list(_lines(connection, query, columns))


def _lines(connection: BaseDatabaseWrapper, query: str, columns: Sequence[str]) -> Iterator[str]:
    # It reads whole tables; a role's statement_timeout is not meant for that.
    with session_settings.changed(connection, statement_timeout="0"), connection.cursor() as cursor:
        cursor.execute(query)
        found = cursor.fetchall()
    for *values, count, keys, rows in found:
        pairs = dict(zip(columns, values, strict=True))
        yield f"{units.count(count, 'row')} with {condition(connection, pairs)}"
        shown = (keys, rows)
    if found and shown[0] > LISTED:
        yield f"{shown[1]} rows with {shown[0]} keys in all, of which {LISTED} are listed"
