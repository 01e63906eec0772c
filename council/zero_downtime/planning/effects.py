"""The kinds of effects that a statement has on a database in use: locks, work, breaking changes and risks."""

from collections.abc import Iterator
from enum import StrEnum
from typing import Any, NamedTuple

from pglast import enums

from council.postgres import sql_parser
from council.postgres.indexes import MAX_NAME_LENGTH
from council.zero_downtime.lock_modes import Lock
from council.zero_downtime.planning import rules
from council.zero_downtime.planning.inventory import Column, Inventory, TableConstraint, TableIndex
from council.zero_downtime.planning.rules import Risk


class Kind(StrEnum):
    SCAN = "scan"
    KEYS = "foreign key check"
    BUILD = "index build"
    REWRITE = "rewrite"
    CHANGE = "rows changed"


class Work(NamedTuple):
    """Work whose duration grows with the number of rows.

    `rows` and `bytes` are the table's. `entries` counts the entries of the index that is built, the keys that are
    looked up, or the rows that are changed.
    """

    kind: Kind
    table: str
    rows: int
    bytes: int
    entries: int = 0
    entry_bytes: int = 0
    method: str = ""
    is_concurrent: bool = False
    parent_rows: int = 0
    indexes: int = 0
    batches: int = 0
    is_counted: bool = True
    is_sorted: bool = False  # rows are in the index's order
    is_partial: bool = False


class Break(NamedTuple):
    """Something that stops working in code that was deployed before.

    `risk` is reported if that code knows the table and, if one is given, the column.
    """

    text: str
    risk: Risk | None = None
    table: str = ""
    column: str = ""


Effect = Lock | Work | Break | Risk


KINDS = {
    enums.ConstrType.CONSTR_CHECK: "c",
    enums.ConstrType.CONSTR_FOREIGN: "f",
    enums.ConstrType.CONSTR_PRIMARY: "p",
    enums.ConstrType.CONSTR_UNIQUE: "u",
    enums.ConstrType.CONSTR_EXCLUSION: "x",
}


def constraint_of(
    part: Any, name: str, inventory: Inventory, *, column: str = ""
) -> tuple[str, TableConstraint] | None:
    """Return the name and the facts of a constraint that a statement adds to a table or column."""
    kind = KINDS.get(part.contype)
    if kind is None:
        return None
    if kind == "c":
        columns = [ref.fields[-1].sval for ref in sql_parser.nodes(part.raw_expr, "ColumnRef")]
    else:
        keys = part.fk_attrs if kind == "f" else part.keys
        columns = [key.sval for key in keys or ()] or [column]
    columns = list(dict.fromkeys(columns))
    test = part.raw_expr
    is_filled = sql_parser.kind(test) == "NullTest" and test.nulltesttype == enums.NullTestType.IS_NOT_NULL
    constraint = TableConstraint(
        kind,
        parent=table(part.pktable, inventory) if part.pktable else None,
        is_validated=not part.skip_validation,
        not_null=str(test.arg.fields[-1].sval)
        if is_filled and sql_parser.kind(test.arg) == "ColumnRef"
        else None,
        columns=columns,
    )
    return part.conname or _chosen_name(name, kind, columns), constraint


def _chosen_name(table: str, kind: str, columns: list[str]) -> str:
    """Return the name that PostgreSQL chooses for a constraint without one. Source: makeObjectName."""
    label = {"c": "check", "f": "fkey", "p": "pkey", "u": "key", "x": "excl"}[kind]
    parts = [table] if kind == "p" else [table, "_".join(columns)]
    while len("_".join([*parts, label])) > MAX_NAME_LENGTH:
        longest = max(range(len(parts)), key=lambda number: len(parts[number]))
        parts[longest] = parts[longest][:-1]
    return "_".join([*parts, label])


def table(relation: Any, inventory: Inventory) -> str:
    """Return the table name of a RangeVar."""
    return inventory.name(relation.schemaname, relation.relname)


def named(names: Any, inventory: Inventory) -> str:
    """Return the table name of a list of Strings, with or without a schema."""
    return inventory.name(names[-2].sval if len(names) > 1 else None, names[-1].sval)


def scan(name: str, inventory: Inventory) -> Work:
    found = inventory[name]
    return Work(Kind.SCAN, name, found.rows, found.bytes)


def build(
    name: str, index: TableIndex, inventory: Inventory, *, entries: int, is_concurrent: bool = False
) -> Work:
    found = inventory[name]
    columns = [found.columns.get(column, Column("")) for column in index.columns]
    if index.method == "gin":
        entries = round(entries * max((column.elements for column in columns), default=1))
    width = round(sum(column.bytes for column in columns))
    work = Work(Kind.BUILD, name, found.rows, found.bytes, entries, width, index.method, is_concurrent)
    return work._replace(is_sorted=all(column.is_sorted for column in columns))


def partitioned(name: str, inventory: Inventory, what: str) -> Iterator[Risk]:
    if inventory[name].is_partitioned:
        yield rules.PARTITIONED.of(table=name, what=what)


def rewrite(name: str, inventory: Inventory, why: str) -> Iterator[Effect]:
    """Yield the effects of rewriting a table with its indexes."""
    found = inventory[name]
    yield Work(Kind.REWRITE, name, found.rows, found.bytes)
    for index in found.indexes.values():
        yield build(name, index, inventory, entries=found.rows)
    if name not in inventory.new_tables:
        yield rules.REWRITE.of(why=why, table=name)
