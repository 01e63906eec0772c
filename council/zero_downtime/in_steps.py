"""Django's operations in steps: the same result, by statements that lock a table in use for an instant each.

They run in no transaction. Each step is left out if an earlier run has done it.
"""

import copy
from contextlib import nullcontext
from typing import Any

from django.db import migrations, models, transaction

from council.postgres.indexes import MAX_NAME_LENGTH
from council.zero_downtime.batch_operations import UpdateInBatches
from council.zero_downtime.operations import ValidateConstraint

FILL = "UPDATE {table} SET {column} = {value} WHERE {key} = ANY(%(keys)s) AND {column} IS NULL"


class InSteps:
    """The steps that several operations share."""

    model_name: str

    def build(self, schema_editor: Any, create_sql: Any) -> None:
        concurrently = str(create_sql).replace(" INDEX ", " INDEX CONCURRENTLY ", 1)
        schema_editor.execute(concurrently, params=None)

    def add_unique(self, schema_editor: Any, create_sql: Any) -> None:
        """Build the index first. What has a condition or expressions is an index alone, and no constraint."""
        if str(create_sql).startswith("CREATE UNIQUE INDEX"):
            self.build(schema_editor, create_sql)
            return
        part = {name: str(value) for name, value in create_sql.parts.items()}
        index = "CREATE UNIQUE INDEX {name} ON {table} ({columns}){nulls_distinct}"
        constraint = "ALTER TABLE {table} ADD CONSTRAINT {name} UNIQUE USING INDEX {name}{deferrable}"
        self.build(schema_editor, index.format(**part))
        schema_editor.execute(constraint.format(**part), params=None)

    def add_and_validate(self, app_label: str, schema_editor: Any, states: Any, constraint: Any) -> None:
        schema_editor.execute(f"{constraint} NOT VALID", params=None)
        name = str(constraint.parts["name"]).strip('"')
        ValidateConstraint(self.model_name, name).database_forwards(app_label, schema_editor, *states)

    def add_key(self, app_label: str, schema_editor: Any, states: Any, model: Any, field: Any) -> None:
        key = schema_editor._create_fk_sql(model, field, "_fk_%(to_table)s_%(to_column)s")
        self.add_and_validate(app_label, schema_editor, states, key)


def at_once(schema_editor: Any) -> Any:
    """Give a transaction. Under `collect_sql` nothing runs, and the plan's own transaction must not end here."""
    return nullcontext() if schema_editor.collect_sql else transaction.atomic(schema_editor.connection.alias)


class AddUniqueInSteps(InSteps, migrations.AddConstraint):
    """Build the unique index concurrently, then make it the constraint's.

    Locks: SHARE UPDATE EXCLUSIVE on the table during the build; ACCESS EXCLUSIVE for an instant.
    """

    constraint: models.UniqueConstraint

    def describe(self) -> str:
        return f"Build the index of {self.constraint.name} on {self.model_name} concurrently, then add the constraint"

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        model = to_state.apps.get_model(app_label, self.model_name)
        if self.allow_migrate_model(schema_editor.connection.alias, model):
            self.add_unique(schema_editor, self.constraint.create_sql(model, schema_editor))


class AddFieldInSteps(InSteps, migrations.AddField):
    """Add a column first, then build its indexes concurrently, and add its check and key NOT VALID and validate them.

    Locks: ACCESS EXCLUSIVE on the table for an instant, once more with a check and with a unique index; SHARE ROW
    EXCLUSIVE on a key's parent for an instant; SHARE UPDATE EXCLUSIVE for the rest.
    """

    def describe(self) -> str:
        return f"Add column {self.name} to {self.model_name}, then what belongs to it"

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        model = to_state.apps.get_model(app_label, self.model_name)
        connection, states = schema_editor.connection, (from_state, to_state)
        if not self.allow_migrate_model(connection.alias, model):
            return
        field = model._meta.get_field(self.name)
        check = check_name(model._meta.db_table, field, connection)
        with at_once(schema_editor):
            former = from_state.apps.get_model(app_label, self.model_name)
            schema_editor.add_field(former, self._column(field, has_check=check is None))
        if check:
            added = schema_editor._create_check_sql(model, check, field.db_check(connection))
            self.add_and_validate(app_label, schema_editor, states, added)
        if field.unique:
            name = schema_editor.quote_name(unique_name(model._meta.db_table, field))
            self.add_unique(schema_editor, schema_editor._create_unique_sql(model, [field], name=name))
        for index in schema_editor._field_indexes_sql(model, field):
            self.build(schema_editor, index)
        if has_key(field):
            self.add_key(app_label, schema_editor, states, model, field)

    def _column(self, field: Any, *, has_check: bool) -> Any:
        """Copy a field as one that has only a column."""
        column = copy.copy(field)
        column.db_index = column.db_constraint = column._unique = column.unique = False
        if not has_check:
            column.db_check = lambda connection: None
        if not self.preserve_default:
            column.default = self.field.default
        return column


class AlterFieldInSteps(InSteps, migrations.AlterField):
    """Build the indexes that a field gets concurrently, and add its key NOT VALID and validate it.

    Locks: ACCESS EXCLUSIVE on the table for an instant, for a unique index and for what else changes; SHARE ROW
    EXCLUSIVE on both tables of a key for an instant; SHARE UPDATE EXCLUSIVE for the rest.
    """

    def describe(self) -> str:
        return f"Alter field {self.name} on {self.model_name}, by an index and a key that lock nobody out"

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        model = to_state.apps.get_model(app_label, self.model_name)
        if not self.allow_migrate_model(schema_editor.connection.alias, model):
            return
        former = from_state.apps.get_model(app_label, self.model_name)
        old, new = former._meta.get_field(self.name), model._meta.get_field(self.name)
        if gets_unique(old, new):  # before an index goes that it stands in for
            self.add_unique(schema_editor, schema_editor._create_unique_sql(model, [new]))
        before, rest = copy.copy(old), copy.copy(new)
        rest._unique = rest.unique = new.unique and not gets_unique(old, new)
        rest.db_index = old.db_index and new.db_index and not gets_unique(old, new)
        rest.db_constraint = False
        if has_key(new):  # so that a key which stays is left alone
            before.db_constraint = False
        with at_once(schema_editor):
            schema_editor.alter_field(former, before, rest)
        if gets_unique(old, new) or gets_index(old, new):
            for index in schema_editor._field_indexes_sql(model, new):
                self.build(schema_editor, index)
        if gets_key(old, new):
            self.add_key(app_label, schema_editor, (from_state, to_state), model, new)


class FillInBatches(UpdateInBatches):
    """Give a field's default to the rows in which it is NULL, in batches. Each batch is a separate transaction."""

    def __init__(self, model_name: str, name: str, field: Any) -> None:
        super().__init__(model_name, sql="")
        self.name = name
        self.field = field

    def describe(self) -> str:
        return f"Fill {self.name} of {self.model_name} with its default in batches, where it is NULL"

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        model = to_state.apps.get_model(app_label, self.model_name)
        quote = schema_editor.quote_name
        field = copy.copy(model._meta.get_field(self.name))
        field.default = self.field.default
        value = "DEFAULT"
        if not field.has_db_default():
            default = schema_editor.effective_default(field)
            value = schema_editor.connection.ops.compose_sql("%s", [default]).replace("%", "%%")
        names = {"table": model._meta.db_table, "column": field.column, "key": model._meta.pk.column}
        sql = FILL.format(value=value, **{part: quote(name) for part, name in names.items()})
        filling = UpdateInBatches(self.model_name, sql)
        filling.database_forwards(app_label, schema_editor, from_state, to_state)


def gets_unique(old: Any, new: Any) -> bool:
    return new.unique and not old.unique


def gets_index(old: Any, new: Any) -> bool:
    return new.db_index and not new.unique and not old.db_index


def gets_key(old: Any, new: Any) -> bool:
    return has_key(new) and not has_key(old)


def has_key(field: Any) -> bool:
    return bool(field.remote_field and field.db_constraint)


def check_name(table: str, field: Any, connection: Any) -> str | None:
    """Return the name that PostgreSQL gives to a column's own check; None if there is none, or it is too long."""
    name = f"{table}_{field.column}_check"
    return name if field.db_check(connection) and len(name) <= MAX_NAME_LENGTH else None


def unique_name(table: str, field: Any) -> str | None:
    """Return the name that PostgreSQL gives to a column's own unique constraint; None if it is too long."""
    name = f"{table}_{field.column}_key"
    return name if len(name) <= MAX_NAME_LENGTH else None
