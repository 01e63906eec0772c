"""Migration operations for checks, and for NOT NULL, which is first enforced by a check."""

from collections.abc import Sequence
from typing import Any

from django.core.management import CommandError
from django.db import models
from django.db.migrations.operations import AddConstraint, AlterField
from django.db.migrations.operations.base import Operation, OperationCategory

from council.postgres import catalog, definitions, indexes
from council.zero_downtime.failures import DefinitionConflict


class AddCheckNotValid(AddConstraint):
    """Add a check that applies to new and changed rows. ValidateConstraint checks the existing rows later.

    Locks: ACCESS EXCLUSIVE on the table, for an instant.
    """

    model_name: str
    constraint: models.CheckConstraint

    def __init__(self, model_name: str, constraint: models.CheckConstraint) -> None:
        if not isinstance(constraint, models.CheckConstraint):
            raise TypeError(f"AddCheckNotValid takes a CheckConstraint, not {constraint!r}.")
        super().__init__(model_name, constraint)

    def describe(self) -> str:
        return f"Add check {self.constraint.name} to {self.model_name}, not valid yet"

    @property
    def migration_name_fragment(self) -> str:
        return f"{super().migration_name_fragment}_not_valid"

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        model = to_state.apps.get_model(app_label, self.model_name)
        if self.allow_migrate_model(schema_editor.connection.alias, model):
            create_sql = str(self.constraint.create_sql(model, schema_editor))
            _add_check(schema_editor, model._meta.db_table, self.constraint.name, create_sql)

    def database_backwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        model = from_state.apps.get_model(app_label, self.model_name)
        if self.allow_migrate_model(schema_editor.connection.alias, model):
            _drop_check(schema_editor, model._meta.db_table, self.constraint.name)


def without_check(field: Any) -> Any:
    """Return a field without its check: IntegerField for PositiveIntegerField. Returns None for other fields."""
    unrestricted = getattr(type(field), "integer_field_class", None)
    if unrestricted is None:
        return None
    _, _, args, kwargs = field.deconstruct()
    return unrestricted(*args, **kwargs)


def field_check_name(table: str, column: str) -> str:
    """Return the name of the check that a field such as PositiveIntegerField has."""
    return f"{table}_{column}_check"[-indexes.MAX_NAME_LENGTH :]


class AddFieldCheckNotValid(AlterField):
    """Turn a field into one that has its own check, such as IntegerField into PositiveIntegerField.

    The check applies to new and changed rows. ValidateConstraint checks the existing rows later.
    Locks: ACCESS EXCLUSIVE on the table, for an instant.
    """

    model_name: str
    name: str

    def __init__(self, model_name: str, name: str, field: Any) -> None:
        super().__init__(model_name, name, field)

    def describe(self) -> str:
        return f"Add the check of {self.name} to {self.model_name}, not valid yet"

    @property
    def migration_name_fragment(self) -> str:
        return f"{self.model_name_lower}_{self.name_lower}_check_not_valid"

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        model = to_state.apps.get_model(app_label, self.model_name)
        if self.allow_migrate_model(schema_editor.connection.alias, model):
            field, table = model._meta.get_field(self.name), model._meta.db_table
            name = field_check_name(table, field.column)
            condition = field.db_check(schema_editor.connection)
            quote = schema_editor.quote_name
            create_sql = f"ALTER TABLE {quote(table)} ADD CONSTRAINT {quote(name)} CHECK ({condition})"
            _add_check(schema_editor, table, name, create_sql)

    def database_backwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        model = from_state.apps.get_model(app_label, self.model_name)
        if self.allow_migrate_model(schema_editor.connection.alias, model):
            table, column = model._meta.db_table, model._meta.get_field(self.name).column
            _drop_check(schema_editor, table, field_check_name(table, column))


def filled_check_name(table: str, column: str) -> str:
    """Return the name of the check that enforces NOT NULL until NOT NULL itself is set."""
    return f"{table}_{column}_filled_check"[-indexes.MAX_NAME_LENGTH :]


class AddFilledCheck(Operation):
    """Refuse NULL in new and changed rows, using a check that SetNotNull later replaces by NOT NULL.

    Between the two, ValidateConstraint checks the existing rows. Migration state does not change.
    Locks: ACCESS EXCLUSIVE on the table, for an instant.
    """

    category = OperationCategory.ADDITION
    reversible = True

    def __init__(self, model_name: str, name: str) -> None:
        self.model_name = model_name
        self.name = name

    def deconstruct(self) -> tuple[str, Sequence[Any], dict[str, Any]]:
        return type(self).__name__, [], {"model_name": self.model_name, "name": self.name}

    def describe(self) -> str:
        return f"Refuse NULL in {self.name} of {self.model_name}, in new and changed rows"

    @property
    def migration_name_fragment(self) -> str:
        return f"{self.model_name.lower()}_{self.name.lower()}_filled_check"

    def state_forwards(self, app_label: str, state: Any) -> None:
        """Change nothing: SetNotNull changes the state later."""

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        model = to_state.apps.get_model(app_label, self.model_name)
        if not self.allow_migrate_model(schema_editor.connection.alias, model):
            return
        table, column = model._meta.db_table, model._meta.get_field(self.name).column
        if schema_editor.collect_sql or not catalog.is_not_null(schema_editor.connection, table, column):
            _add_filled_check(schema_editor, table, column)

    def database_backwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        model = from_state.apps.get_model(app_label, self.model_name)
        if self.allow_migrate_model(schema_editor.connection.alias, model):
            table, column = model._meta.db_table, model._meta.get_field(self.name).column
            _drop_check(schema_editor, table, filled_check_name(table, column))


class SetNotNull(AlterField):
    """Replace the check of AddFilledCheck by NOT NULL. As that check is validated, PostgreSQL scans no rows.

    Locks: ACCESS EXCLUSIVE on the table, for an instant, in both directions.
    """

    model_name: str
    name: str

    def __init__(self, model_name: str, name: str, field: Any) -> None:
        super().__init__(model_name, name, field)

    def describe(self) -> str:
        return f"Set {self.name} of {self.model_name} NOT NULL"

    @property
    def migration_name_fragment(self) -> str:
        return f"{self.model_name_lower}_{self.name_lower}_not_null"

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        model = to_state.apps.get_model(app_label, self.model_name)
        if not self.allow_migrate_model(schema_editor.connection.alias, model):
            return
        table, column = model._meta.db_table, model._meta.get_field(self.name).column
        check = filled_check_name(table, column)
        quote = schema_editor.quote_name
        if not schema_editor.collect_sql:
            if catalog.is_not_null(schema_editor.connection, table, column):
                return
            found = definitions.constraint(schema_editor.connection, table, check)
            if found is None:
                raise CommandError(
                    f'"{table}" has no constraint "{check}". Without it, PostgreSQL would search "{column}" for NULL '
                    f"while nobody can read the table. Someone dropped it after the migration that adds it: "
                    f"reverse that migration, then run migrate again."
                )
            if not found.is_validated:  # as after a reversal; reads and writes continue
                schema_editor.execute(
                    f"ALTER TABLE {quote(table)} VALIDATE CONSTRAINT {quote(check)}", params=None
                )
        schema_editor.execute(
            f"ALTER TABLE {quote(table)} ALTER COLUMN {quote(column)} SET NOT NULL", params=None
        )
        _drop_check(schema_editor, table, check)

    def database_backwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        model = from_state.apps.get_model(app_label, self.model_name)
        if not self.allow_migrate_model(schema_editor.connection.alias, model):
            return
        table, column = model._meta.db_table, model._meta.get_field(self.name).column
        quote = schema_editor.quote_name
        if schema_editor.collect_sql or catalog.is_not_null(schema_editor.connection, table, column):
            _add_filled_check(schema_editor, table, column)
            schema_editor.execute(
                f"ALTER TABLE {quote(table)} ALTER COLUMN {quote(column)} DROP NOT NULL", params=None
            )


def _add_filled_check(schema_editor: Any, table: str, column: str) -> None:
    quote = schema_editor.quote_name
    name = filled_check_name(table, column)
    create_sql = (
        f"ALTER TABLE {quote(table)} ADD CONSTRAINT {quote(name)} CHECK ({quote(column)} IS NOT NULL)"
    )
    _add_check(schema_editor, table, name, create_sql)


def _add_check(schema_editor: Any, table: str, name: str, create_sql: str) -> None:
    """Add a check NOT VALID unless it exists. Raises DefinitionConflict if its definition differs."""
    connection = schema_editor.connection
    if not schema_editor.collect_sql and (found := definitions.constraint(connection, table, name)):
        expected = definitions.constraint_as_created(
            connection, table=table, name=name, create_sql=create_sql
        )
        if found.definition != expected:
            raise DefinitionConflict(
                f'Constraint "{name}" of "{table}"', found=found.definition, expected=expected
            )
        return
    schema_editor.execute(f"{create_sql} NOT VALID", params=None)


def _drop_check(schema_editor: Any, table: str, name: str) -> None:
    if schema_editor.collect_sql or definitions.constraint(schema_editor.connection, table, name):
        quote = schema_editor.quote_name
        schema_editor.execute(
            f"ALTER TABLE {quote(table)} DROP CONSTRAINT IF EXISTS {quote(name)}", params=None
        )
