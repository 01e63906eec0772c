"""Translates Django's operations into steps that do the same safely to a table in use."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import pgtrigger.migrations
from django.db import migrations, models
from django.db.migrations.autodetector import OperationDependency  # type: ignore[attr-defined]  # not in the stubs
from django.db.migrations.operations.base import Operation

from council.postgres.constraints import ForeignKeyConstraint
from council.postgres.indexes import UniqueIndex
from council.zero_downtime import check_operations, index_operations, operations, trigger_operations
from council.zero_downtime.derivation import safety
from council.zero_downtime.derivation.changes import Changes, table_of
from council.zero_downtime.derivation.history import Forgotten
from council.zero_downtime.derivation.safety import Refusal
from council.zero_downtime.derivation.stages import Stage
from council.zero_downtime.planning.earlier_code import column_of

TWO_RELEASES = (
    "Remove it in two releases. First, `makemigrations --forget` removes it from Django's state and leaves it in the "
    "database. When no running process uses it any more, `makemigrations --drop` drops it."
)
DROP_FIRST = (
    "Drop it first, with `makemigrations --drop`. If the migration that forgot it is not applied anywhere yet, delete "
    "that migration instead."
)
STATE_ONLY = migrations.AlterModelOptions | migrations.AlterModelManagers | migrations.AlterConstraint

Part = tuple[Stage, Operation]


class Placed(NamedTuple):
    """An operation with its stage and its dependencies."""

    stage: Stage
    operation: Operation
    dependencies: list[OperationDependency]


class Translation:
    """The translation of one run's operations; `refusals` are the changes without safe steps.

    `forgotten` pairs what state has forgotten with the operations that would restore it.
    """

    def __init__(
        self, changes: Changes, *, forgets: bool, forgotten: Sequence[tuple[Forgotten, Any]] = ()
    ) -> None:
        self.changes = changes
        self.forgets = forgets
        self.forgotten = forgotten
        self.refusals: list[Refusal] = []
        self.refused: set[Operation] = set()
        self.is_refused = False  # for the operation that is being translated

    def places(self, app_label: str, operation: Any) -> Iterator[Placed]:
        self.is_refused = False
        parts = list(self._translate(app_label, operation))
        if self.is_refused:
            self.refused |= {translated for _, translated in parts}
        for stage, translated in parts:
            yield Placed(stage, translated, operation._auto_deps)

    def _translate(self, app_label: str, operation: Any) -> Iterator[Part]:
        translate = {
            migrations.CreateModel: self._created_model,
            migrations.DeleteModel: self._deleted_model,
            migrations.RenameModel: self._renamed_model,
            migrations.AlterModelTable: self._altered_table,
            migrations.AlterUniqueTogether: self._altered_unique_together,
            migrations.AlterOrderWithRespectTo: self._altered_order,
            migrations.AddField: self._added_field,
            migrations.AlterField: self._altered_field,
            migrations.RemoveField: self._removed_field,
            migrations.RenameField: self._renamed_field,
            migrations.AddConstraint: self._added_constraint,
            migrations.RemoveConstraint: self._removed_constraint,
            migrations.AddIndex: self._added_index,
            migrations.RemoveIndex: self._removed_index,
            pgtrigger.migrations.AddTrigger: self._added_trigger,
            pgtrigger.migrations.RemoveTrigger: self._removed_trigger,
        }.get(type(operation))
        if translate:
            yield from translate(app_label, operation)
        elif isinstance(operation, STATE_ONLY):
            yield Stage.STATE, operation
        elif isinstance(operation, migrations.RenameIndex | migrations.AlterModelTableComment):
            yield Stage.ALTERATIONS, operation
        else:
            is_new = self.changes.is_created(app_label, operation.name)
            yield (Stage.TABLES if is_new else Stage.ALTERATIONS), operation

    def _refuse(self, app_label: str, fault: str, cure: str) -> None:
        self.is_refused = True
        refusal = Refusal(app_label, fault, cure)
        if refusal not in self.refusals:  # Django may express one change as two operations
            self.refusals.append(refusal)

    # Models.

    def _created_model(self, app_label: str, operation: Any) -> Iterator[Part]:
        yield Stage.TABLES, operation
        if not self.changes.has_table(app_label, operation.name):
            return
        yield Stage.TABLES, operations.EnableRowLevelSecurity(model_name=operation.name_lower)
        table = table_of(app_label, operation)
        if owner := self.changes.model_of_table(table):
            self._refuse(
                app_label,
                f"{operation.name} has the table {table}, which already belongs to {owner}.",
                "A new model needs a new table. If it is the same model with another name, run makemigrations before "
                "you change its fields as well. If it moves to another app, write both migrations by hand "
                "(`makemigrations --empty`, SeparateDatabaseAndState).",
            )
        elif any(
            isinstance(one, migrations.CreateModel) and table_of(key[0], one) == table
            for key, one in self.forgotten
        ):
            self._refuse(
                app_label,
                f"The table {table} of {operation.name} was forgotten, but it still exists.",
                DROP_FIRST,
            )

    def _deleted_model(self, app_label: str, operation: Any) -> Iterator[Part]:
        if not self.changes.has_table(app_label, operation.name):
            yield Stage.STATE, operation
            return
        if not self.forgets:
            self._refuse(
                app_label,
                f"{operation.name} was removed from the models, but running code may still use its table.",
                TWO_RELEASES,
            )
        yield Stage.FORGOTTEN, operation

    def _renamed_model(self, app_label: str, operation: Any) -> Iterator[Part]:
        self._refuse_another_table(app_label, operation.new_name)
        for table, old, new in self.changes.renamed_columns(app_label, operation.new_name):
            fault = f"The column {old} of {table} is named after {operation.old_name} and would become {new}"
            self._refuse(app_label, *safety.renamed_many_to_many(fault, table=table))
        if given := self.changes.table_given_with_name(app_label, operation.new_name):
            # Given first, as otherwise the table would be renamed like the model, and then back.
            yield Stage.STATE, migrations.AlterModelTable(operation.old_name, given)
        yield Stage.STATE, operation

    def _altered_table(self, app_label: str, operation: Any) -> Iterator[Part]:
        self._refuse_another_table(app_label, operation.name)
        if not self.changes.table_given_with_name(app_label, operation.name):
            yield Stage.STATE, operation

    def _altered_unique_together(self, app_label: str, operation: Any) -> Iterator[Part]:
        """Drop the old constraint after the new unique indexes are built, so that uniqueness is always enforced."""
        if self.changes.is_created(app_label, operation.name):
            yield Stage.TABLES, operation
            return
        before = self.changes.model_before(app_label, operation.name).options.get("unique_together", ())
        is_less = {*map(tuple, operation.unique_together or ())} <= {*map(tuple, before)}
        yield (Stage.OLD_UNIQUES if is_less else Stage.ALTERATIONS), operation

    def _altered_order(self, app_label: str, operation: Any) -> Iterator[Part]:
        is_new = self.changes.is_created(app_label, operation.name)
        yield (Stage.TABLES if is_new else Stage.ALTERATIONS), operation
        if operation.order_with_respect_to and not is_new:
            self._refuse(
                app_label,
                f"order_with_respect_to adds the column _order to {operation.name}, NOT NULL and without a default in "
                f"the database: INSERTs by earlier code fail.",
                "Add an IntegerField with db_default=0, and name it in Meta.ordering.",
            )

    def _refuse_another_table(self, app_label: str, model_name: str) -> None:
        old, new = (
            self.changes.meta_before(app_label, model_name),
            self.changes.meta_after(app_label, model_name),
        )
        if old.db_table != new.db_table:
            where = f"The table of {old.object_name}, {old.db_table}, would become {new.db_table}"
            self._refuse(app_label, *safety.renamed(where, what=f'db_table = "{old.db_table}"'))

    # Fields.

    def _added_field(self, app_label: str, operation: Any) -> Iterator[Part]:
        field = self.changes.field_after(app_label, operation.model_name, operation.name)
        where = f"{field.model.__name__}.{field.name}"
        has_table = self.changes.has_table(app_label, operation.model_name)
        if not has_table or self.changes.is_created(app_label, operation.model_name) or field.many_to_many:
            yield Stage.TABLES, operation
        elif former := self.changes.removed_field_of_column(app_label, operation.model_name, field.column):
            yield Stage.COLUMNS, operation
            self._refuse(
                app_label,
                f"{where} takes over the column {field.column} of {field.model.__name__}.{former}, but is not the same "
                f"field otherwise.",
                "First rename the field, change nothing else except db_column, and run makemigrations. Then change the "
                "rest.",
            )
        elif self._is_forgotten(app_label, field):
            yield Stage.COLUMNS, operation
            self._refuse(app_label, f"The column of {where} was forgotten, but it still exists.", DROP_FIRST)
        else:
            for reason in safety.added_field(field):
                self._refuse(app_label, *reason)
            if unchecked := check_operations.without_check(operation.field):
                yield Stage.COLUMNS, migrations.AddField(operation.model_name, operation.name, unchecked)
                yield from self._check_of_field(app_label, operation, operation.field)
            else:
                yield Stage.COLUMNS, operation

    def _check_of_field(self, app_label: str, operation: Any, field: Any) -> Iterator[Part]:
        """Add the check that a field has. Django would add it in one step, and check all rows under a lock."""
        new = self.changes.field_after(app_label, operation.model_name, operation.name)
        name = check_operations.field_check_name(new.model._meta.db_table, new.column)
        yield (
            Stage.CHECKS,
            check_operations.AddFieldCheckNotValid(operation.model_name, operation.name, field),
        )
        yield Stage.VALID_CHECKS, operations.ValidateConstraint(operation.model_name, name)

    def _is_forgotten(self, app_label: str, field: Any) -> bool:
        of_model = app_label, field.model._meta.model_name
        return any(
            key[:2] == of_model and key.field_name and column_of(learn.field, learn.name) == field.column
            for key, learn in self.forgotten
        )

    def _altered_field(self, app_label: str, operation: Any) -> Iterator[Part]:
        model_name, name = operation.model_name_lower, operation.name
        is_half_of_a_rename = name not in self.changes.after.models[app_label, model_name].fields
        if is_half_of_a_rename:
            yield Stage.STATE, operation
            return
        old = self.changes.field_before(app_label, model_name, name)
        new = self.changes.field_after(app_label, model_name, name)
        if not (self.changes.has_table(app_label, model_name) and safety.is_in_database(old, new)):
            yield Stage.STATE, operation
            return
        for reason in safety.altered_field(old, new):
            self._refuse(app_label, *reason)
        is_filled = old.null and not new.null and not new.primary_key
        field = _nullable(operation.field) if is_filled else operation.field
        unchecked = None if safety.has_check(old) else check_operations.without_check(field)
        if not (is_filled or unchecked):
            yield Stage.ALTERATIONS, operation
            return
        if safety.is_in_database(old, _of_model(unchecked or field, new)):
            yield Stage.ALTERATIONS, migrations.AlterField(operation.model_name, name, unchecked or field)
        if unchecked:
            yield from self._check_of_field(app_label, operation, field)
        if is_filled:
            check = check_operations.filled_check_name(new.model._meta.db_table, new.column)
            yield Stage.CHECKS, check_operations.AddFilledCheck(model_name, name)
            yield Stage.VALID_CHECKS, operations.ValidateConstraint(model_name, check)
            yield Stage.NOT_NULL, check_operations.SetNotNull(model_name, name, operation.field)

    def _removed_field(self, app_label: str, operation: Any) -> Iterator[Part]:
        model_name, name = operation.model_name, operation.name
        if self.changes.is_deleted(app_label, model_name):
            return  # covered by the model's deletion
        if not self.changes.has_table(app_label, model_name):
            yield Stage.STATE, operation
            return
        model = self.changes.model_before(app_label, model_name)
        field: Any = model.fields[name]
        where = f"{model.name}.{name}"
        if name in self.changes.after.models[app_label, model_name].fields:
            self._refuse(
                app_label, f"{where} changes to or from many-to-many and keeps its name.", safety.NEW_COLUMN
            )
        elif field.primary_key:
            self._refuse(
                app_label, f"{where} is the primary key, which cannot be forgotten.", "Leave it in the model."
            )
        elif not self.changes.is_column_kept(app_label, model_name, name):
            if not self.forgets:
                self._refuse(
                    app_label,
                    f"{where} was removed from the model, but running code may still use its column.",
                    TWO_RELEASES,
                )
            if not (field.null or field.has_db_default() or field.many_to_many):
                # From now on, Django's INSERTs leave this column out.
                yield Stage.ALTERATIONS, migrations.AlterField(model_name, name, _nullable(field))
        yield Stage.FORGOTTEN, operation

    def _renamed_field(self, app_label: str, operation: Any) -> Iterator[Part]:
        old = self.changes.field_before(app_label, operation.model_name, operation.old_name)
        new = self.changes.field_after(app_label, operation.model_name, operation.new_name)
        if old.column != new.column:
            where = f"The column of {old.model.__name__}.{old.name}, {old.column}, would become {new.column}"
            self._refuse(app_label, *safety.renamed(where, what=f'db_column="{old.column}"'))
        yield Stage.STATE, operation

    # Constraints and indexes.

    def _added_constraint(self, app_label: str, operation: Any) -> Iterator[Part]:
        model_name, constraint = operation.model_name, operation.constraint
        if isinstance(constraint, ForeignKeyConstraint):
            yield Stage.KEYS, operations.AddForeignKeyNotValid(model_name, constraint)
            yield Stage.VALID_KEYS, operations.ValidateConstraint(model_name, constraint.name)
        elif self.changes.is_created(app_label, model_name):
            yield Stage.TABLES, operation
        elif isinstance(constraint, models.CheckConstraint):
            yield Stage.CHECKS, check_operations.AddCheckNotValid(model_name, constraint)
            yield Stage.VALID_CHECKS, operations.ValidateConstraint(model_name, constraint.name)
        elif isinstance(constraint, UniqueIndex):
            yield Stage.INDEXES, index_operations.AddUniqueIndexConcurrently(model_name, constraint)
        else:
            yield Stage.CHECKS, operation

    def _removed_constraint(self, app_label: str, operation: Any) -> Iterator[Part]:
        constraint = self.changes.model_before(app_label, operation.model_name).get_constraint_by_name(
            operation.name
        )
        if self.changes.goes_with_a_field(app_label, operation.model_name, constraint):
            yield Stage.FORGOTTEN, operation
        elif isinstance(constraint, UniqueIndex):
            self._refuse_index_of_same_name(app_label, operation)
            removal = index_operations.RemoveUniqueIndexConcurrently(operation.model_name, operation.name)
            yield Stage.OLD_INDEXES, removal
        elif not self.changes.is_added_again(app_label, operation):
            yield Stage.OLD_CONSTRAINTS, operation
        else:  # in one transaction with its replacement
            yield (Stage.KEYS if isinstance(constraint, ForeignKeyConstraint) else Stage.CHECKS), operation

    def _added_index(self, app_label: str, operation: Any) -> Iterator[Part]:
        yield Stage.INDEXES, index_operations.AddIndexConcurrently(operation.model_name, operation.index)

    def _removed_index(self, app_label: str, operation: Any) -> Iterator[Part]:
        index = self.changes.model_before(app_label, operation.model_name).get_index_by_name(operation.name)
        if self.changes.goes_with_a_field(app_label, operation.model_name, index):
            yield Stage.FORGOTTEN, operation
            return
        self._refuse_index_of_same_name(app_label, operation)
        yield (
            Stage.OLD_INDEXES,
            index_operations.RemoveIndexConcurrently(operation.model_name, operation.name),
        )

    def _refuse_index_of_same_name(self, app_label: str, operation: Any) -> None:
        if self.changes.is_added_again(app_label, operation):
            self._refuse(
                app_label,
                f"The index {operation.name} would be dropped and then built with another definition, with none in "
                "between.",
                "Give the new one another name: it is built first, and then the old one is dropped.",
            )

    # Triggers.

    def _added_trigger(self, app_label: str, operation: Any) -> Iterator[Part]:
        model_name, trigger = operation.model_name, operation.trigger
        was_there = (app_label, model_name.lower(), trigger.name) in self.changes.removed_triggers
        if was_there and self.changes.is_replaceable(app_label, model_name, trigger.name):
            yield Stage.TRIGGERS, trigger_operations.ReplaceTrigger(model_name, trigger)
        else:
            yield Stage.TRIGGERS, trigger_operations.AddTrigger(model_name, trigger)

    def _removed_trigger(self, app_label: str, operation: Any) -> Iterator[Part]:
        is_replaced = self.changes.is_added_again(app_label, operation) and self.changes.is_replaceable(
            app_label, operation.model_name, operation.name
        )
        if not is_replaced:
            yield Stage.TRIGGERS, operation


def _nullable(field: Any) -> Any:
    nullable = field.clone()
    nullable.null = True
    return nullable


def _of_model(field: Any, like: Any) -> Any:
    """Copy a field with the name and model of another, which its SQL needs."""
    field = field.clone()
    field.set_attributes_from_name(like.name)
    field.model = like.model
    return field
