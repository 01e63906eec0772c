"""What operations find when they look into the database to write their SQL, at the moment that a plan has come to."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.postgresql.introspection import DatabaseIntrospection

from council.zero_downtime.planning.inventory import Constraint, Index, Inventory


class PlannedIntrospection(DatabaseIntrospection):
    """Answers from an inventory about the constraints and indexes that Django looks up by their columns."""

    def __init__(self, connection: BaseDatabaseWrapper, there: Inventory) -> None:
        super().__init__(connection)
        self.there = there

    def get_constraints(self, cursor: Any, table_name: str) -> dict[str, dict[str, Any]]:
        found = self.there.tables.get(table_name)
        if found is None:
            return {}
        indexes = {name: _as_index(name, index) for name, index in found.indexes.items()}
        return indexes | {name: _as_constraint(constraint) for name, constraint in found.constraints.items()}


def _as_constraint(constraint: Constraint) -> dict[str, Any]:
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


def _as_index(name: str, index: Index) -> dict[str, Any]:
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
    """Have operations find what an inventory holds, until the end of the block."""
    stock = connection.introspection
    connection.introspection = PlannedIntrospection(connection, there)
    try:
        yield
    finally:
        connection.introspection = stock
