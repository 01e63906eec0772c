"""Introspection during a plan: shows operations the database as it will be when they run."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.base.introspection import TableInfo
from django.db.backends.postgresql.introspection import DatabaseIntrospection

from council.postgres import sql_parser
from council.zero_downtime.planning.inventory import Inventory, TableConstraint, TableIndex


class PlannedIntrospection(DatabaseIntrospection):
    """Looks up tables, and their constraints and indexes by columns, in an inventory."""

    def __init__(self, connection: BaseDatabaseWrapper, there: Inventory) -> None:
        super().__init__(connection)
        self.there = there
        self.written: Sequence[Any] = ()  # SQL that the current operation has written so far

    def get_table_list(self, cursor: Any) -> list[Any]:
        # An inventory also contains tables that were only looked up; these have no columns.
        return [TableInfo(name, "t") for name, table in self.there.tables.items() if table.columns]

    def get_constraints(self, cursor: Any, table_name: str) -> dict[str, dict[str, Any]]:
        found = self.there.tables.get(self._name_before(table_name))
        if found is None:
            return {}
        indexes = {name: _as_index(name, index) for name, index in found.indexes.items()}
        return indexes | {name: _as_constraint(constraint) for name, constraint in found.constraints.items()}

    def _name_before(self, table: str) -> str:
        """Return a table's name before the current operation, which may have renamed the table already."""
        if table in self.there.tables:
            return table
        for sql in self.written:
            for statement in sql_parser.read(str(sql)):
                node = statement.node
                if sql_parser.kind(node) == "RenameStmt" and node.newname == table and node.relation:
                    return str(node.relation.relname)
        return table


def _as_constraint(constraint: TableConstraint) -> dict[str, Any]:
    return {
        "columns": constraint.columns,
        "primary_key": constraint.kind == "p",
        "unique": constraint.kind in "pu",
        "foreign_key": (constraint.parent, "") if constraint.kind == "f" else None,
        "check": constraint.kind == "c",
        "index": False,
        "definition": None,
        "options": None,
    }


def _as_index(name: str, index: TableIndex) -> dict[str, Any]:
    is_plain = index.method == "btree" and not name.endswith("_btree")
    return {
        "columns": [column or None for column in index.columns] if any(index.columns) else [],
        "orders": [],
        "primary_key": False,
        "unique": index.is_unique,
        "foreign_key": None,
        "check": False,
        "index": True,
        "type": models.Index.suffix if is_plain else index.method,
        "definition": None,
        "options": None,
    }


@contextmanager
def planned(connection: BaseDatabaseWrapper, there: Inventory) -> Iterator[None]:
    """Make operations in the block see what an inventory holds."""
    stock = connection.introspection
    connection.introspection = PlannedIntrospection(connection, there)
    try:
        yield
    finally:
        connection.introspection = stock
