"""Puts operations that lock different tables in use into different migrations, each of which is one transaction.

A transaction that locks one table and then waits for another can be in a deadlock with those who use both.
"""

from collections.abc import Sequence
from typing import Any

from django.db import migrations
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState

from council.zero_downtime.derivation.stages import NOT_ATOMIC, Stage, View, model_name_of
from council.zero_downtime.operations import EnableRowLevelSecurity

Tables = frozenset[str]
# Nobody waits for their operations, or each is a transaction of its own.
NOBODY_WAITS = NOT_ATOMIC | {
    *(Stage.STATE, Stage.VALID_KEYS, Stage.VALID_CHECKS, Stage.FUNCTIONS, Stage.FORGOTTEN),
}


class Transactions:
    """The transactions for the operations of one app in one stage, which lead from one state to another."""

    def __init__(self, stage: Stage, app_label: str, before: ProjectState, after: ProjectState) -> None:
        self.stage = stage
        self.view = View(app_label, before.clone() if stage is Stage.DROPPED else before, after)
        self.in_use = {
            model.options.get("db_table") or f"{app}_{name}" for (app, name), model in before.models.items()
        }

    def of(self, operations: Sequence[Operation]) -> list[list[Operation]]:
        """Return the operations of each transaction. Operations on the same tables stay together."""
        for operation in operations:  # what is dropped is first restored in state
            if self.stage is Stage.DROPPED and isinstance(operation, migrations.SeparateDatabaseAndState):
                operation.state_forwards(self.view.app_label, self.view.before)
        if self.stage in NOBODY_WAITS:
            return [list(operations)]
        if (
            self.stage is not Stage.TABLES
        ):  # where an operation may need one before it that locks another table
            sets = [Tables(), *map(self.locked, operations)]
            operations = sorted(operations, key=lambda operation: sets.index(self.locked(operation)))
        found: list[list[Operation]] = [[]]
        for operation in operations:
            if isinstance(operation, EnableRowLevelSecurity):
                self._part_of_table(found, operation).append(operation)
            elif _fit([*map(self.locked, found[-1]), self.locked(operation)]):
                found[-1].append(operation)
            else:
                found.append([*self._taken_from(found[-1], model_name_of(operation)), operation])
        return [part for part in found if part]

    def locked(self, operation: Operation) -> Tables:
        """Return the tables in use that an operation locks. What is dropped is no longer in the models."""
        tables = {*self.view.tables(operation), *self.view.parents(operation)}
        if isinstance(operation, migrations.AlterField):  # a key goes
            former = self.view.before.models.get((self.view.app_label, operation.model_name_lower))
            if former and operation.name in former.fields:
                was = migrations.AddField(operation.model_name, operation.name, former.fields[operation.name])
                tables |= {*self.view.parents(was)}
        return frozenset(tables if self.stage is Stage.DROPPED else tables & self.in_use)

    def _taken_from(self, part: list[Operation], model_name: str) -> list[Operation]:
        """Take a model's operations out of a transaction, unless others in it need its table."""
        own = [one for one in part if model_name_of(one).lower() == model_name.lower()]
        others = [one for one in part if one not in own]
        if self.stage is Stage.TABLES and not any(
            self.view.table(model_name) in self.view.parents(one) for one in others
        ):
            part[:] = others
            return own
        return []

    def _part_of_table(self, found: list[list[Operation]], operation: Any) -> list[Operation]:
        """Return the transaction that creates an operation's table; the last one if that is another migration's."""
        name = operation.model_name.lower()
        of_table = (
            part
            for part in found
            for one in part
            if isinstance(one, migrations.CreateModel) and one.name_lower == name
        )
        return next(of_table, found[-1])


def _fit(locked: Sequence[Tables]) -> bool:
    """Return whether one transaction may lock these tables: one, or the two that one operation locks for a key."""
    together = frozenset().union(*locked)
    return len(together) < 2 or together in locked
