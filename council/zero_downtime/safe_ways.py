"""Safe ways for other people's migrations: what locks a table in use for long is replaced by steps that do not.

The loaded migration is changed before it is planned, so that the plan and the execution read the same operations.
Its state, its record and the catalogue afterwards are those of the original. It then runs operation by operation, and
each finished one is noted, as for a migration with `atomic = False`. So a migration that is one transaction is changed
only if it may be cut into several: see SEPARABLE.
"""

import copy
from collections.abc import Callable, Iterator
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core.management import CommandError
from django.db import migrations, models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.migration import Migration
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ModelState, ProjectState

from council.zero_downtime import partial_progress
from council.zero_downtime.check_operations import (
    AddCheckNotValid,
    AddFilledCheck,
    SetNotNull,
    filled_check_name,
)
from council.zero_downtime.in_steps import (
    AddFieldInSteps,
    AddUniqueInSteps,
    AlterFieldInSteps,
    FillInBatches,
    check_name,
    gets_index,
    gets_key,
    gets_unique,
    has_key,
    unique_name,
)
from council.zero_downtime.index_operations import AddIndexConcurrently
from council.zero_downtime.operations import ValidateConstraint

TABLES = "SELECT relname FROM pg_class WHERE relkind = 'r' AND pg_table_is_visible(oid)"
# Each of these may be committed before the next one runs: they add something, take nothing away that a rule or older
# code relies on, and run no Python or SQL of the migration's own.
SEPARABLE = {
    migrations.AddConstraint,
    migrations.AddField,
    migrations.AddIndex,
    migrations.AlterField,
    migrations.AlterModelManagers,
    migrations.AlterModelOptions,
    migrations.CreateModel,
    migrations.RemoveIndex,
}

Plan = list[tuple[Migration, bool]]


# These are no transaction: they wait, or read all rows, and go on where an earlier run ended.
IN_PARTS = (
    AddFieldInSteps,
    AddIndexConcurrently,
    AddUniqueInSteps,
    AlterFieldInSteps,
    FillInBatches,
    ValidateConstraint,
)


def plan(executor: MigrationExecutor, targets: Any) -> Plan:
    """Return an executor's plan, in which migrations with a safe way are changed to it. Changes the executor's graph.

    A migration that was begun in steps is finished in the same steps. Raises CommandError for a wrong setting.
    """
    found: Plan = executor.migration_plan(targets)
    is_chosen = _choice()
    if any(backwards for _, backwards in found):
        return found
    with executor.connection.cursor() as cursor:
        cursor.execute(TABLES)
        in_use = {table for (table,) in cursor.fetchall()}
    state = executor._create_project_state(with_applied_migrations=True)  # type: ignore[attr-defined]
    for migration, _ in found:
        way = _Way(executor.connection, migration, state)
        begun = partial_progress.begun(executor.loader.applied_migrations, migration)
        if begun is None:
            is_taken = is_chosen(migration.app_label) and not in_use.isdisjoint(way.tables)
        else:
            is_taken = bool(way.tables) and begun == len(way.operations)
        if is_taken and way.is_separable:
            executor.loader.graph.nodes[migration.app_label, migration.name] = way.migration()
    return executor.migration_plan(targets)


def _choice() -> Callable[[str], bool]:
    chosen = set(settings.MIGRATE_IN_STEPS)
    for label in sorted(chosen - {"all", "none"}):
        try:
            apps.get_app_config(label)
        except LookupError as error:
            raise CommandError(f"MIGRATE_IN_STEPS: {error}") from error
    return lambda label: "all" in chosen or label in chosen


class _Way:
    """A migration's operations, with steps in place of those that lock `tables` for long. Moves `state` past it."""

    def __init__(self, connection: BaseDatabaseWrapper, migration: Migration, state: ProjectState) -> None:
        self.connection = connection
        self.original = migration
        self.is_separable = True
        self.tables: set[str] = set()
        self.operations: list[Operation] = []
        for operation in migration.operations:
            self._take(operation, state)
            operation.state_forwards(migration.app_label, state)

    def migration(self) -> Migration:
        changed = copy.copy(self.original)
        changed.operations = self.operations  # type: ignore[misc]  # as Migration.__init__ does
        changed.atomic = False  # type: ignore[misc]
        return changed

    def _take(self, operation: Any, state: ProjectState) -> None:
        key = self.original.app_label, str(getattr(operation, "model_name", "")).lower()
        model = state.models.get(key)
        steps = list(self._steps(operation, model)) if model else []
        if model and steps:
            self.tables.add(model.options.get("db_table") or "_".join(key))
        elif self.original.atomic:
            self.is_separable &= _is_separable(operation, model)
            operation = copy.copy(operation)
            operation.atomic = True  # so that it is noted in its own transaction
        for step in steps:
            step.instead_of = operation.describe()
            step.atomic = not isinstance(step, IN_PARTS)
        self.operations += steps or [operation]

    def _steps(self, operation: Any, model: ModelState) -> Iterator[Any]:
        """Yield the steps that do what an operation does; nothing if there is no other way."""
        kind, name = type(operation), operation.model_name
        table = model.options.get("db_table") or f"{model.app_label}_{model.name_lower}"
        if kind is migrations.AddIndex:
            yield AddIndexConcurrently(name, operation.index)
        elif kind is migrations.AddConstraint and isinstance(operation.constraint, models.CheckConstraint):
            yield AddCheckNotValid(name, operation.constraint)
            yield ValidateConstraint(name, operation.constraint.name)
        elif kind is migrations.AddConstraint and type(operation.constraint) is models.UniqueConstraint:
            yield AddUniqueInSteps(name, operation.constraint)
        elif kind is migrations.AddField:
            field = _named(operation.field, operation.name)
            if _is_a_column(field) and self._has_more(table, field):
                yield AddFieldInSteps(name, operation.name, operation.field, operation.preserve_default)
        elif kind is migrations.AlterField:
            old = _named(model.fields[operation.name], operation.name)
            yield from self._altered(operation, table, old, _named(operation.field, operation.name))

    def _has_more(self, table: str, field: Any) -> bool:
        """Return whether a new column brings an index, a key or a check with it, by a name that is known."""
        if field.unique and not unique_name(table, field):
            return False
        is_indexed = field.unique or field.db_index
        return bool(is_indexed or has_key(field) or check_name(table, field, self.connection))

    def _altered(self, operation: Any, table: str, old: Any, new: Any) -> Iterator[Any]:
        name, is_filled = operation.model_name, old.null and not new.null
        gets_more = gets_unique(old, new) or gets_index(old, new) or gets_key(old, new)
        if not (_is_a_column(old) and _is_a_column(new) and old.column == new.column):
            return
        if (gets_more and not self._have_one_type(old, new)) or (old.unique and not new.unique):
            return
        field = operation.field
        if is_filled:
            field = operation.field.clone()
            field.null = True
        if gets_more:
            yield AlterFieldInSteps(name, operation.name, field, operation.preserve_default)
        if not is_filled:
            return
        if not gets_more and field.deconstruct()[1:] != old.deconstruct()[1:]:
            yield migrations.AlterField(name, operation.name, field, operation.preserve_default)
        has_default = new.has_default() or new.has_db_default()
        if has_default:
            yield FillInBatches(name, operation.name, new)
        yield AddFilledCheck(name, operation.name)
        if has_default:  # the rows that came with NULL before the check
            yield FillInBatches(name, operation.name, new)
        yield ValidateConstraint(name, filled_check_name(table, new.column))
        not_null = SetNotNull(name, operation.name, operation.field)
        not_null.preserve_default = operation.preserve_default
        yield not_null

    def _have_one_type(self, old: Any, new: Any) -> bool:
        """Return whether two fields have the same type, or are keys of the same table."""
        if old.remote_field and new.remote_field:
            same = ("model", "field_name")
            return all(getattr(old.remote_field, part) == getattr(new.remote_field, part) for part in same)
        if old.remote_field or new.remote_field:
            return False
        types: list[Any] = [field.db_parameters(self.connection) for field in (old, new)]
        return bool(types[0] == types[1])


def _is_separable(operation: Any, model: ModelState | None) -> bool:
    """Return whether an operation may be committed before the next one."""
    if type(operation) is not migrations.AlterField:
        return type(operation) in SEPARABLE
    if model is None:
        return False
    old, new = model.fields[operation.name], operation.field
    return type(old) is type(new) and old.db_column == new.db_column


def _named(field: Any, name: str) -> Any:
    """Copy a field of migration state, so that it knows its name and its column."""
    named = field.clone()
    named.set_attributes_from_name(name)
    return named


def _is_a_column(field: Any) -> bool:
    """Return whether a field has a column of its own that is neither computed nor the primary key."""
    return not (field.many_to_many or field.generated or field.primary_key or field.column is None)
