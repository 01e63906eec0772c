"""Finds transactions that lock several tables in use, one after the other, as deadlocks come from that."""

from collections.abc import Iterator, Sequence
from typing import Any

from django.db.migrations import CreateModel
from django.db.migrations.migration import Migration
from django.db.migrations.operations.fields import FieldOperation
from django.db.migrations.state import ProjectState

from council.postgres import sql_parser
from council.zero_downtime.lock_modes import MODES, Lock
from council.zero_downtime.planning import rules
from council.zero_downtime.planning.inventory import Inventory
from council.zero_downtime.planning.rules import Risk


class LocksTogether:
    """The locks of one transaction for which reads or writes of tables in use wait."""

    def __init__(self) -> None:
        self.locks: list[Lock] = []
        self.keys: list[set[str]] = []  # two tables each

    def add(self, node: Any, locks: Sequence[Lock], *, own: str) -> Iterator[Risk]:
        """Add a statement's locks. Warn if more tables are locked than the two of one key, which cannot be split.

        `own`: the table that the statement locks first.
        """
        before = {lock.table for lock in self.locks}
        self.locks += locks
        added = {lock.table for lock in locks}
        if _is_about_one_table(node) and own in added and len(added) == 2:
            self.keys.append(added)
        held = before | added
        if held == before or len(held) == 1 or any(held <= key for key in self.keys):
            return
        last = next(lock.table for lock in reversed(locks) if lock.table not in before)
        others = (lock for lock in self.locks if lock.table != last)
        first = max(others, key=lambda lock: MODES.index(lock.mode))
        yield rules.DEADLOCK.of(held=first.table, mode=first.mode, table=last)


def _is_about_one_table(node: Any) -> bool:
    """Return whether a statement names one table that exists, so that it locks others for its keys alone."""
    kind = sql_parser.kind(node)
    return kind == "AlterTableStmt" or (kind == "DropStmt" and len(node.objects) == 1)


def begin_release(migration: Migration, state: ProjectState, there: Inventory) -> None:
    """Set which tables are in use before a migration, for lint, which cannot know what is deployed together.

    A table is new until a later migration of its app makes another one or changes a column of this one: the keys,
    indexes and triggers that come in migrations of their own belong to the change that made it.
    """
    new = there.new_of_app.setdefault(migration.app_label, set())
    for operation in migration.operations:
        if isinstance(operation, CreateModel):
            new.clear()
        elif isinstance(operation, FieldOperation):
            key = migration.app_label, operation.model_name_lower
            model = state.models.get(key)
            new.discard(model.options.get("db_table") or "_".join(key) if model else "")
    for name, table in there.tables.items():
        table.is_in_use = name not in new


def end_release(migration: Migration, there: Inventory) -> None:
    there.new_of_app[migration.app_label] |= there.new_tables
