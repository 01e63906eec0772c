"""The changes that one run of makemigrations has found: the models before and after, and Django's operations."""

from collections.abc import Iterator
from typing import Any

import pgtrigger.migrations
from django.db import migrations
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ModelState, ProjectState

from council.zero_downtime.derivation import safety
from council.zero_downtime.planning.earlier_code import column_of


class Changes:
    """Answers questions about models, fields and tables before and after the change. Models have their new names.

    `detected` are Django's operations by app. `renamed_models` and `renamed_fields` map a new key to the old name.
    """

    def __init__(
        self,
        detected: dict[str, list[Operation]],
        before: ProjectState,
        after: ProjectState,
        *,
        renamed_models: dict[tuple[str, str], str],
        renamed_fields: dict[tuple[str, str, str], str],
    ) -> None:
        self.before = before
        self.after = after
        self.renamed_models = renamed_models
        self.renamed_fields = renamed_fields
        self.created: set[tuple[str, str]] = set()
        self.deleted: set[tuple[str, str]] = set()
        self.removed_fields: set[tuple[str, str, str]] = set()
        self.added_names: set[tuple[str, str, str]] = set()
        self.removed_triggers: set[tuple[str, str, str]] = set()
        for app_label, found in detected.items():
            for operation in found:
                self._note(app_label, operation)

    def _note(self, app_label: str, operation: Any) -> None:
        match operation:
            case migrations.CreateModel():
                self.created.add((app_label, operation.name_lower))
            case migrations.DeleteModel():
                self.deleted.add((app_label, operation.name_lower))
            case migrations.RemoveField():
                self.removed_fields.add((app_label, operation.model_name_lower, operation.name))
            case pgtrigger.migrations.RemoveTrigger():
                self.removed_triggers.add((app_label, operation.model_name_lower, operation.name))
            case (
                migrations.AddIndex(index=added)
                | migrations.AddConstraint(constraint=added)  # type: ignore[misc]
                | pgtrigger.migrations.AddTrigger(trigger=added)
            ):
                self.added_names.add((app_label, operation.model_name_lower, str(added.name)))

    def is_created(self, app_label: str, model_name: str) -> bool:
        return (app_label, model_name.lower()) in self.created

    def is_deleted(self, app_label: str, model_name: str) -> bool:
        return (app_label, model_name.lower()) in self.deleted

    def is_added_again(self, app_label: str, operation: Any) -> bool:
        """Return whether something is removed and another with the same name is added."""
        return (app_label, operation.model_name_lower, operation.name) in self.added_names

    def model_before(self, app_label: str, model_name: str) -> ModelState:
        name = self.renamed_models.get((app_label, model_name.lower()), model_name.lower())
        model: ModelState = self.before.models[app_label, name]
        return model

    def model_after(self, app_label: str, model_name: str) -> ModelState | None:
        model: ModelState | None = self.after.models.get((app_label, model_name.lower()))
        return model

    def meta_before(self, app_label: str, model_name: str) -> Any:
        return self.before.apps.get_model(app_label, self.model_before(app_label, model_name).name)._meta

    def meta_after(self, app_label: str, model_name: str) -> Any:
        return self.after.apps.get_model(app_label, model_name)._meta

    def table_given_with_name(self, app_label: str, model_name: str) -> str | None:
        """Return the db_table of a renamed model that had none before."""
        if (app_label, model_name.lower()) not in self.renamed_models:
            return None
        after = self.model_after(app_label, model_name)
        before = self.model_before(app_label, model_name)
        return None if after is None or "db_table" in before.options else after.options.get("db_table")

    def renamed_columns(self, app_label: str, model_name: str) -> Iterator[tuple[str, str, str]]:
        """Yield columns of many-to-many tables that are named after a renamed model: table, old and new name."""
        before = _columns_of_many_to_many(self.meta_before(app_label, model_name))
        after = _columns_of_many_to_many(self.meta_after(app_label, model_name))
        for table in before.keys() & after.keys():
            for old, new in zip(before[table], after[table], strict=True):
                if old != new:
                    yield table, old, new

    def field_before(self, app_label: str, model_name: str, name: str) -> Any:
        """Return a field as it was before the change. `name` is its new or its old name."""
        former = self.renamed_fields.get((app_label, model_name.lower(), name), name)
        return self.meta_before(app_label, model_name).get_field(former)

    def field_after(self, app_label: str, model_name: str, name: str) -> Any:
        return self.meta_after(app_label, model_name).get_field(name)

    def has_table(self, app_label: str, model_name: str) -> bool:
        """Return whether a model has its own table and Django manages it."""
        model = self.model_after(app_label, model_name) or self.model_before(app_label, model_name)
        return bool(model.options.get("managed", True)) and not model.options.get("proxy")

    def model_of_table(self, table: str) -> str | None:
        """Return the old model with a new model's table, as when a model moves to another app."""
        return next(
            (
                f"{app_label}.{model.name}"
                for (app_label, name), model in self.before.models.items()
                if (model.options.get("db_table") or f"{app_label}_{name}") == table
                and model.options.get("managed", True)
                and not model.options.get("proxy")
            ),
            None,
        )

    def removed_field_of_column(self, app_label: str, model_name: str, column: str) -> str | None:
        """Return the removed field whose column another field of the model has now."""
        before = self.model_before(app_label, model_name)
        names = (
            name
            for app, model, name in self.removed_fields
            if (app, model) == (app_label, model_name.lower())
        )
        return next((name for name in names if column_of(before.fields[name], name) == column), None)

    def is_column_kept(self, app_label: str, model_name: str, name: str) -> bool:
        """Return whether a removed field's column belongs to another field now."""
        field = self.model_before(app_label, model_name).fields[name]
        return any(
            one.column == column_of(field, name)
            for one in self.meta_after(app_label, model_name).local_concrete_fields
        )

    def goes_with_a_field(self, app_label: str, model_name: str, thing: Any) -> bool:
        """Return whether a constraint or index mentions a field that is removed from the model."""
        return any(
            safety.mentions(thing, name)
            for app, model, name in self.removed_fields
            if (app, model) == (app_label, model_name.lower())
        )

    def is_replaceable(self, app_label: str, model_name: str, name: str) -> bool:
        """Return whether a trigger can be replaced in place: its event and function are the same as before."""
        model = self.after.apps.get_model(app_label, model_name)
        old = {one.name: one for one in self.model_before(app_label, model_name).options["triggers"]}
        new = {one.name: one for one in self.after.models[app_label, model_name.lower()].options["triggers"]}
        before, after = old[name].sql, new[name].compile(model).sql
        return (before.event, before.function) == (after.event, after.function)

    def is_taken_over(self, app_label: str, model_name: str, learn: Any) -> bool:
        """Return whether a forgotten table or column belongs to another model or field now.

        `learn` is the operation that would restore it in state. Also True for a column whose model is gone.
        """
        if isinstance(learn, migrations.CreateModel):
            return any(
                model._meta.db_table == table_of(app_label, learn) for model in self.after.apps.get_models()
            )
        if not self.model_after(app_label, model_name):
            return True
        fields = self.meta_after(app_label, model_name).local_concrete_fields
        return any(one.column == column_of(learn.field, learn.name) for one in fields)


def _columns_of_many_to_many(meta: Any) -> dict[str, list[str]]:
    """Return the columns of the tables that Django creates for many-to-many fields from or to a model."""
    fields = [
        one if one.concrete else one.field for one in meta.get_fields(include_hidden=True) if one.many_to_many
    ]
    return {
        field.m2m_db_table(): [field.m2m_column_name(), field.m2m_reverse_name()]
        for field in fields
        if field.remote_field.through._meta.auto_created
    }


def table_of(app_label: str, operation: migrations.CreateModel) -> str:
    return str(operation.options.get("db_table") or f"{app_label}_{operation.name_lower}")
