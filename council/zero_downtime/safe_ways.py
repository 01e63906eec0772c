"""Safe ways for other people's migrations: what locks a table in use for long is replaced by steps that do not.

The loaded migration is changed before it is planned, so that the plan and the execution read the same operations.
Its state, its record and the catalogue afterwards are those of the original. It then runs operation by operation, and
each finished one is noted, as for a migration with `atomic = False`. So a migration that is one transaction is changed
only if it may be cut into several: see SEPARABLE.
"""

import copy
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core.management import CommandError
from django.db import migrations, models, transaction
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
from council.zero_downtime.index_operations import AddIndexConcurrently
from council.zero_downtime.operations import ValidateConstraint

MAX_NAME_LENGTH = 63
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


class AddFieldInSteps(migrations.AddField):
    """Add a column first, then build its index concurrently, and add its check and foreign key NOT VALID and validate.

    The result is the same as that of AddField. Each step is separate, and is left out if an earlier run has done it.
    Locks: ACCESS EXCLUSIVE on the table for an instant, twice with a check; SHARE ROW EXCLUSIVE on a key's parent for
    an instant; SHARE UPDATE EXCLUSIVE for the rest.
    """

    def describe(self) -> str:
        return f"Add column {self.name} to {self.model_name}, then its index, check and foreign key"

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        model = to_state.apps.get_model(app_label, self.model_name)
        connection = schema_editor.connection
        if not self.allow_migrate_model(connection.alias, model):
            return

        def add(constraint: Any) -> None:
            schema_editor.execute(f"{constraint} NOT VALID", params=None)
            name = str(constraint.parts["name"]).strip('"')
            ValidateConstraint(self.model_name, name).database_forwards(
                app_label, schema_editor, from_state, to_state
            )

        field = model._meta.get_field(self.name)
        check = _check_name(model._meta.db_table, field, connection)
        # Under `collect_sql` nothing runs, and the plan's own transaction must not end here.
        with nullcontext() if schema_editor.collect_sql else transaction.atomic(using=connection.alias):
            former = from_state.apps.get_model(app_label, self.model_name)
            schema_editor.add_field(former, self._column(field, has_check=check is None))
        if check:
            add(schema_editor._create_check_sql(model, check, field.db_check(connection)))
        for index in schema_editor._field_indexes_sql(model, field):
            concurrently = str(index).replace("CREATE INDEX", "CREATE INDEX CONCURRENTLY", 1)
            schema_editor.execute(concurrently, params=None)
        if _has_key(field):
            add(schema_editor._create_fk_sql(model, field, "_fk_%(to_table)s_%(to_column)s"))

    def _column(self, field: Any, *, has_check: bool) -> Any:
        """Copy a field without its index, its foreign key and, unless `has_check`, its CHECK."""
        column = copy.copy(field)
        column.db_index = column.db_constraint = False
        if not has_check:
            column.db_check = lambda connection: None
        if not self.preserve_default:
            column.default = self.field.default
        return column


# These do not run in one transaction: they wait or read all rows, and continue where an earlier run ended.
IN_PARTS = (AddFieldInSteps, AddIndexConcurrently, ValidateConstraint)


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
        elif kind is migrations.AddField:
            field = _named(operation.field, operation.name)
            has_check = _check_name(table, field, self.connection)
            if not _is_more_than_a_column(field) and (field.db_index or _has_key(field) or has_check):
                yield AddFieldInSteps(name, operation.name, operation.field, operation.preserve_default)
        elif kind is migrations.AlterField:
            old, new = (
                _named(field, operation.name) for field in (model.fields[operation.name], operation.field)
            )
            if not old.null or new.null or new.has_default() or new.has_db_default():
                return
            if _is_more_than_a_column(old) or _is_more_than_a_column(new) or old.column != new.column:
                return
            nullable = operation.field.clone()
            nullable.null = True
            if nullable.deconstruct()[1:] != model.fields[operation.name].deconstruct()[1:]:
                yield migrations.AlterField(name, operation.name, nullable)
            yield AddFilledCheck(name, operation.name)
            yield ValidateConstraint(name, filled_check_name(table, new.column))
            yield SetNotNull(name, operation.name, operation.field)


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


def _is_more_than_a_column(field: Any) -> bool:
    """Return whether a field has no column, or one that is computed or unique."""
    return bool(field.many_to_many or field.generated or field.unique or field.column is None)


def _has_key(field: Any) -> bool:
    return bool(field.remote_field and field.db_constraint)


def _check_name(table: str, field: Any, connection: BaseDatabaseWrapper) -> str | None:
    """Return the name that PostgreSQL gives to a column's own check; None if there is none, or it is too long."""
    name = f"{table}_{field.column}_check"
    return name if field.db_check(connection) and len(name) <= MAX_NAME_LENGTH else None
