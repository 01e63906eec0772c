"""What a migration will do to a database that is in use, as far as that is known before it runs."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import pgtrigger.migrations
from django.db import migrations
from django.db.migrations.migration import Migration
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ModelState, ProjectState

from council.zero_downtime import check_operations, operations, trigger_operations


class Lock(NamedTuple):
    """A lock on a table, with its mode as PostgreSQL's manual spells it."""

    table: str
    mode: str


ACCESS_EXCLUSIVE = "ACCESS EXCLUSIVE"
SHARE_ROW_EXCLUSIVE = "SHARE ROW EXCLUSIVE"
SHARE = "SHARE"

# What an operation takes on its model's table. Its reversal drops something: ACCESS EXCLUSIVE.
MODES: dict[type[Operation], str] = {
    migrations.AddField: ACCESS_EXCLUSIVE,
    migrations.RemoveField: ACCESS_EXCLUSIVE,
    migrations.AlterField: ACCESS_EXCLUSIVE,
    migrations.RenameField: ACCESS_EXCLUSIVE,
    migrations.AddConstraint: ACCESS_EXCLUSIVE,
    migrations.RemoveConstraint: ACCESS_EXCLUSIVE,
    migrations.AddIndex: SHARE,
    migrations.RemoveIndex: ACCESS_EXCLUSIVE,
    migrations.DeleteModel: ACCESS_EXCLUSIVE,
    check_operations.AddCheckNotValid: ACCESS_EXCLUSIVE,
    check_operations.AddFilledCheck: ACCESS_EXCLUSIVE,
    check_operations.SetNotNull: ACCESS_EXCLUSIVE,
    operations.AddForeignKeyNotValid: SHARE_ROW_EXCLUSIVE,
    operations.EnableRowLevelSecurity: ACCESS_EXCLUSIVE,
    pgtrigger.migrations.RemoveTrigger: ACCESS_EXCLUSIVE,
    trigger_operations.AddTrigger: SHARE_ROW_EXCLUSIVE,
    trigger_operations.ReplaceTrigger: SHARE_ROW_EXCLUSIVE,
}


def locks(migration: Migration, before: ProjectState, *, backwards: bool = False) -> set[Lock]:
    """List the locks a migration takes that others would wait for, on tables that it did not make.

    `before` is the state that the migration begins with forwards. Operations that are not in MODES take none that
    anybody waits for, as concurrent index builds, or are not known, as RunSQL.
    """
    # Without its rendered models, which a clone would render anew.
    state = ProjectState({key: model.clone() for key, model in before.models.items()}, before.real_apps)
    there = {_table(model) for model in before.models.values()}
    found: set[Lock] = set()
    for operation in migration.operations:
        mode = MODES.get(type(operation))
        if mode and (model := _model(operation, migration.app_label, state)):
            mode = ACCESS_EXCLUSIVE if backwards else mode
            found.update(Lock(table, mode) for table in (_table(model), *_parents(operation, model, state)))
        operation.state_forwards(migration.app_label, state)
    return {lock for lock in found if lock.table in there}


def _model(operation: Operation, app_label: str, state: ProjectState) -> ModelState | None:
    name: str = getattr(operation, "model_name", None) or getattr(operation, "name", None) or ""
    return state.models.get((app_label, name.lower()))


def _table(model: ModelState) -> str:
    return str(model.options.get("db_table") or f"{model.app_label}_{model.name_lower}")


def _parents(operation: Operation, model: ModelState, state: ProjectState) -> Iterator[str]:
    if isinstance(operation, operations.AddForeignKeyNotValid):
        field: Any = model.fields[operation.constraint.field]
        to = field.remote_field.model
        app_label, _, name = str(to).lower().rpartition(".")
        yield _table(state.models[app_label or model.app_label, name])
