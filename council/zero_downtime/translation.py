"""Django's operations in the words of this project: each as the steps that do the same to a table in use."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import pgtrigger.migrations
from django.db import migrations, models
from django.db.migrations.autodetector import OperationDependency  # type: ignore[attr-defined]  # not in the stubs
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ModelState, ProjectState

from council.postgres.constraints import ForeignKeyConstraint
from council.postgres.indexes import UniqueIndex
from council.zero_downtime import check_operations, index_operations, operations, safety, trigger_operations
from council.zero_downtime.safety import Refusal
from council.zero_downtime.steps import Stage

TWO_RELEASES = (
    "In two releases: `makemigrations --forget` has Django forget it and leaves it in the database; when no process "
    "runs that knows it, `makemigrations --drop` drops what was forgotten."
)


STATE_ONLY = migrations.AlterModelOptions | migrations.AlterModelManagers | migrations.AlterConstraint

Part = tuple[Stage, Operation]


class Placed(NamedTuple):
    """An operation in its stage, with what it needs to come before it."""

    stage: Stage
    operation: Operation
    dependencies: list[OperationDependency]


class Translation:
    """The translation of all operations of one run; `refusals` are what it has no safe words for.

    `detected` are Django's operations by app, in order. `renamed_models` maps a model's key to its former name.
    """

    def __init__(
        self,
        detected: dict[str, list[Operation]],
        before: ProjectState,
        after: ProjectState,
        *,
        renamed_models: dict[tuple[str, str], str],
        renamed_fields: dict[tuple[str, str, str], str],
        forgets: bool,
    ) -> None:
        self.before = before
        self.after = after
        self.renamed_models = renamed_models
        self.renamed_fields = renamed_fields
        self.forgets = forgets
        self.refusals: list[Refusal] = []
        everything = [(app_label, operation) for app_label, found in detected.items() for operation in found]
        self.created = {
            (app_label, operation.name_lower)
            for app_label, operation in everything
            if isinstance(operation, migrations.CreateModel)
        }
        self.deleted = {
            (app_label, operation.name_lower)
            for app_label, operation in everything
            if isinstance(operation, migrations.DeleteModel)
        }
        self.removed_fields = {
            (app_label, operation.model_name_lower, operation.name)
            for app_label, operation in everything
            if isinstance(operation, migrations.RemoveField)
        }
        self.added_names = {
            (app_label, operation.model_name_lower, _name_of_added(operation))
            for app_label, operation in everything
            if isinstance(
                operation, migrations.AddIndex | migrations.AddConstraint | pgtrigger.migrations.AddTrigger
            )
        }
        self.removed_triggers = {
            (app_label, operation.model_name_lower, operation.name)
            for app_label, operation in everything
            if isinstance(operation, pgtrigger.migrations.RemoveTrigger)
        }

    def places(self, app_label: str, operation: Any) -> Iterator[Placed]:
        dependencies = operation._auto_deps
        for stage, translated in self._translate(app_label, operation):
            yield Placed(stage, translated, dependencies)

    def _translate(self, app_label: str, operation: Any) -> Iterator[Part]:
        translate = {
            migrations.CreateModel: self._created_model,
            migrations.DeleteModel: self._deleted_model,
            migrations.RenameModel: self._renamed_model,
            migrations.AlterModelTable: self._altered_table,
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
            yield from self._other(app_label, operation)

    def _refuse(self, app_label: str, fault: str, cure: str) -> None:
        refusal = Refusal(app_label, fault, cure)
        if refusal not in self.refusals:  # as Django may say one thing in two operations
            self.refusals.append(refusal)

    def _is_created(self, app_label: str, model_name: str) -> bool:
        return (app_label, model_name.lower()) in self.created

    def _model_before(self, app_label: str, model_name: str) -> ModelState:
        name = self.renamed_models.get((app_label, model_name.lower()), model_name.lower())
        model: ModelState = self.before.models[app_label, name]
        return model

    def _is_in_database(self, app_label: str, model_name: str) -> bool:
        """Tell whether a model has a table of its own that Django looks after."""
        state = self.after.models.get((app_label, model_name.lower())) or self._model_before(
            app_label, model_name
        )
        return bool(state.options.get("managed", True)) and not state.options.get("proxy")

    def _field(self, state: ProjectState, app_label: str, model_name: str, name: str) -> Any:
        return state.apps.get_model(app_label, model_name)._meta.get_field(name)

    # Models.

    def _created_model(self, app_label: str, operation: Any) -> Iterator[Part]:
        if not self._is_in_database(app_label, operation.name):
            yield Stage.STATE if operation.options.get("proxy") else Stage.TABLES, operation
            return
        yield Stage.TABLES, operation
        yield Stage.TABLES, operations.EnableRowLevelSecurity(model_name=operation.name_lower)

    def _deleted_model(self, app_label: str, operation: Any) -> Iterator[Part]:
        if not self._is_in_database(app_label, operation.name):
            yield Stage.STATE, operation
            return
        if not self.forgets:
            model = self._model_before(app_label, operation.name)
            self._refuse(
                app_label,
                f"{model.name} is gone from the models, and code that runs may still use its table.",
                TWO_RELEASES,
            )
        yield Stage.FORGOTTEN, operation

    def _renamed_model(self, app_label: str, operation: Any) -> Iterator[Part]:
        self._refuse_another_table(app_label, operation.new_name)
        yield Stage.STATE, operation

    def _altered_table(self, app_label: str, operation: Any) -> Iterator[Part]:
        self._refuse_another_table(app_label, operation.name)
        yield Stage.STATE, operation

    def _refuse_another_table(self, app_label: str, model_name: str) -> None:
        model_before = self._model_before(app_label, model_name)
        old = self.before.apps.get_model(app_label, model_before.name)._meta.db_table
        new = self.after.apps.get_model(app_label, model_name)._meta.db_table
        if old != new:
            where = f"The table of {model_before.name}, {old}, would become {new}"
            self._refuse(app_label, *safety.renamed(where, what=f'db_table = "{old}"'))

    # Fields.

    def _added_field(self, app_label: str, operation: Any) -> Iterator[Part]:
        field = self._field(self.after, app_label, operation.model_name, operation.name)
        if not self._is_in_database(app_label, operation.model_name):
            yield Stage.STATE, operation
        elif self._is_created(app_label, operation.model_name) or field.many_to_many:
            for words in safety.new_key(field):
                self._refuse(app_label, *words)
            yield Stage.TABLES, operation
        elif old_name := self._removed_field_of_column(app_label, operation.model_name, field.column):
            where = f"{field.model.__name__}.{field.name}"
            self._refuse(
                app_label,
                f"{where} has the column {field.column} of {field.model.__name__}.{old_name}, and is otherwise another "
                f"field.",
                "Rename the field first, with nothing else changed but db_column, and run makemigrations; then change "
                "the rest.",
            )
            yield Stage.COLUMNS, operation
        else:
            for words in safety.added_field(field):
                self._refuse(app_label, *words)
            yield Stage.COLUMNS, operation

    def _altered_field(self, app_label: str, operation: Any) -> Iterator[Part]:
        key = app_label, operation.model_name_lower
        if operation.name not in self.after.models[key].fields:  # Django's first half of a rename
            yield Stage.STATE, operation
            return
        old = self._field(
            self.before,
            app_label,
            self._model_before(app_label, operation.model_name).name,
            self.renamed_fields.get((*key, operation.name), operation.name),
        )
        new = self._field(self.after, app_label, operation.model_name, operation.name)
        if not (self._is_in_database(app_label, operation.model_name) and safety.is_in_database(old, new)):
            yield Stage.STATE, operation
            return
        for words in safety.altered_field(old, new):
            self._refuse(app_label, *words)
        if not old.null or new.null or new.primary_key:
            yield Stage.ALTERATIONS, operation
            return
        nullable = _nullable(operation.field)
        without_null = new.clone()
        without_null.null = True
        without_null.set_attributes_from_name(new.name)
        without_null.model = new.model
        if safety.is_in_database(old, without_null):
            yield Stage.ALTERATIONS, migrations.AlterField(operation.model_name, operation.name, nullable)
        check = check_operations.filled_check_name(new.model._meta.db_table, new.column)
        model_name = operation.model_name_lower
        yield Stage.CHECKS, check_operations.AddFilledCheck(model_name, operation.name)
        yield Stage.VALID_CHECKS, operations.ValidateConstraint(model_name, check)
        yield Stage.NOT_NULL, check_operations.SetNotNull(model_name, operation.name, operation.field)

    def _removed_field(self, app_label: str, operation: Any) -> Iterator[Part]:
        if (app_label, operation.model_name_lower) in self.deleted:
            return  # it goes with its table
        if not self._is_in_database(app_label, operation.model_name):
            yield Stage.STATE, operation
            return
        model = self._model_before(app_label, operation.model_name)
        field: Any = model.fields[operation.name]
        if self._is_column_kept(app_label, operation.model_name, field, operation.name):
            yield Stage.FORGOTTEN, operation
            return
        if not self.forgets:
            self._refuse(
                app_label,
                f"{model.name}.{operation.name} is gone from the model, and code that runs may still use its column.",
                TWO_RELEASES,
            )
        if field.primary_key:
            self._refuse(
                app_label,
                f"{model.name}.{operation.name} is the primary key, which cannot be forgotten.",
                "Leave it in the model.",
            )
        elif not (field.null or field.has_db_default() or field.many_to_many):
            # Django inserts rows without it from now on.
            yield (
                Stage.ALTERATIONS,
                migrations.AlterField(operation.model_name, operation.name, _nullable(field)),
            )
        yield Stage.FORGOTTEN, operation

    def _removed_field_of_column(self, app_label: str, model_name: str, column: str) -> str | None:
        """Name the field that is gone from the model and had a column that another field has now."""
        before = self._model_before(app_label, model_name)
        for app, model, name in self.removed_fields:
            if (app, model) == (app_label, model_name.lower()) and _column(
                before.fields[name], name
            ) == column:
                return name
        return None

    def _is_column_kept(self, app_label: str, model_name: str, field: Any, name: str) -> bool:
        fields = self.after.apps.get_model(app_label, model_name)._meta.local_concrete_fields
        return any(one.column == _column(field, name) for one in fields)

    def _renamed_field(self, app_label: str, operation: Any) -> Iterator[Part]:
        old_model = self._model_before(app_label, operation.model_name).name
        old = self._field(self.before, app_label, old_model, operation.old_name)
        new = self._field(self.after, app_label, operation.model_name, operation.new_name)
        if old.column != new.column:
            where = f"The column of {old_model}.{old.name}, {old.column}, would become {new.column}"
            self._refuse(app_label, *safety.renamed(where, what=f'db_column="{old.column}"'))
        yield Stage.STATE, operation

    # Constraints and indexes.

    def _added_constraint(self, app_label: str, operation: Any) -> Iterator[Part]:
        model_name, constraint = operation.model_name, operation.constraint
        if isinstance(constraint, ForeignKeyConstraint):
            yield Stage.KEYS, operations.AddForeignKeyNotValid(model_name, constraint)
            yield Stage.VALID_KEYS, operations.ValidateConstraint(model_name, constraint.name)
        elif self._is_created(app_label, model_name):
            yield Stage.TABLES, operation
        elif isinstance(constraint, models.CheckConstraint):
            yield Stage.CHECKS, check_operations.AddCheckNotValid(model_name, constraint)
            yield Stage.VALID_CHECKS, operations.ValidateConstraint(model_name, constraint.name)
        elif isinstance(constraint, UniqueIndex):
            yield Stage.INDEXES, index_operations.AddUniqueIndexConcurrently(model_name, constraint)
        else:
            self._refuse(
                app_label,
                f"{constraint.name} is a {type(constraint).__name__}: it would be built while nobody can read or write "
                f"{self._model_before(app_label, model_name).name}.",
                "Write it as a council.postgres.indexes.UniqueIndex, which is built concurrently."
                if isinstance(constraint, models.UniqueConstraint)
                else "Write it as a CheckConstraint or a UniqueIndex, or have a trigger refuse such rows.",
            )
            yield Stage.CHECKS, operation

    def _removed_constraint(self, app_label: str, operation: Any) -> Iterator[Part]:
        constraint = self._model_before(app_label, operation.model_name).get_constraint_by_name(
            operation.name
        )
        if self._goes_with_a_field(app_label, operation.model_name, constraint):
            yield Stage.FORGOTTEN, operation
        elif isinstance(constraint, UniqueIndex):
            self._refuse_index_of_same_name(app_label, operation)
            removal = index_operations.RemoveUniqueIndexConcurrently(operation.model_name, operation.name)
            yield Stage.OLD_INDEXES, removal
        elif isinstance(constraint, ForeignKeyConstraint):
            yield Stage.KEYS, operation
        else:
            yield Stage.CHECKS, operation

    def _added_index(self, app_label: str, operation: Any) -> Iterator[Part]:
        yield Stage.INDEXES, index_operations.AddIndexConcurrently(operation.model_name, operation.index)

    def _removed_index(self, app_label: str, operation: Any) -> Iterator[Part]:
        index = self._model_before(app_label, operation.model_name).get_index_by_name(operation.name)
        if self._goes_with_a_field(app_label, operation.model_name, index):
            yield Stage.FORGOTTEN, operation
            return
        self._refuse_index_of_same_name(app_label, operation)
        yield (
            Stage.OLD_INDEXES,
            index_operations.RemoveIndexConcurrently(operation.model_name, operation.name),
        )

    def _refuse_index_of_same_name(self, app_label: str, operation: Any) -> None:
        if (app_label, operation.model_name_lower, operation.name) in self.added_names:
            self._refuse(
                app_label,
                f"The index {operation.name} would be dropped and then built as another, with none in between.",
                "Give the new one another name: it is built first, and then the old one is dropped.",
            )

    def _goes_with_a_field(self, app_label: str, model_name: str, thing: Any) -> bool:
        """Tell whether a constraint or index is on a column that stays for code from before, and goes with that."""
        return any(
            safety.mentions(thing, name)
            for app, model, name in self.removed_fields
            if (app, model) == (app_label, model_name.lower())
        )

    # Triggers.

    def _added_trigger(self, app_label: str, operation: Any) -> Iterator[Part]:
        model_name, trigger = operation.model_name, operation.trigger
        is_new = (app_label, model_name.lower(), trigger.name) not in self.removed_triggers
        if not is_new and self._is_replaceable(app_label, model_name, trigger):
            yield Stage.TRIGGERS, trigger_operations.ReplaceTrigger(model_name, trigger)
        else:
            yield Stage.TRIGGERS, trigger_operations.AddTrigger(model_name, trigger)

    def _removed_trigger(self, app_label: str, operation: Any) -> Iterator[Part]:
        model_name = operation.model_name
        if (app_label, model_name.lower(), operation.name) in self.added_names:
            after = self.after.apps.get_model(app_label, model_name)
            [trigger] = [
                one.compile(after)
                for one in self.after.models[app_label, model_name.lower()].options["triggers"]
                if one.name == operation.name
            ]
            if self._is_replaceable(app_label, model_name, trigger):
                return
        yield Stage.TRIGGERS, operation

    def _is_replaceable(self, app_label: str, model_name: str, trigger: Any) -> bool:
        """Tell whether a trigger has the event and the function of the one before it, which may then be replaced."""
        [before] = [
            one
            for one in self._model_before(app_label, model_name).options["triggers"]
            if one.name == trigger.name
        ]
        return (before.sql.event, before.sql.function) == (trigger.sql.event, trigger.sql.function)

    # The rest.

    def _other(self, app_label: str, operation: Any) -> Iterator[Part]:
        """Take what belongs to a new table; the rest has no safe way."""
        if self._is_created(app_label, operation.name):
            yield Stage.TABLES, operation
            return
        self._refuse(
            app_label,
            f'"{operation.describe()}" has no way that is known to be safe for a table in use.',
            "Take another way; constraints and indexes belong into Meta.constraints and Meta.indexes.",
        )
        yield Stage.ALTERATIONS, operation


def _column(field: Any, name: str) -> str | None:
    named = field.clone()
    named.set_attributes_from_name(name)
    column: str | None = named.column
    return column


def _nullable(field: Any) -> Any:
    nullable = field.clone()
    nullable.null = True
    return nullable


def _name_of_added(operation: Any) -> str:
    for kind in ("index", "constraint", "trigger"):
        if thing := getattr(operation, kind, None):
            return str(thing.name)
    raise AssertionError(operation)
