"""Migration operations for a database that is in use.

Each looks in the catalogue first and does only what is missing, so an interrupted migration can simply be run
again. Definitions are compared, not only names: if an object with the same name has another definition, the
migration stops. Under `sqlmigrate`, operations look nothing up and print all their SQL.
"""

import re
from collections.abc import Sequence
from typing import Any

from django.core.management import CommandError
from django.db import IntegrityError, router, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.operations import AddConstraint
from django.db.migrations.operations.base import Operation, OperationCategory

from council.postgres import catalog, constraints, definitions
from council.zero_downtime import offending_rows, session_settings
from council.zero_downtime.failures import DefinitionConflict


class AddForeignKeyNotValid(AddConstraint):
    """Add a foreign key that applies to new and changed rows. ValidateConstraint checks the existing rows later.

    Locks: SHARE ROW EXCLUSIVE on both tables, for an instant; reading goes on.
    """

    model_name: str
    constraint: constraints.ForeignKeyConstraint

    def __init__(self, model_name: str, constraint: constraints.ForeignKeyConstraint) -> None:
        if not isinstance(constraint, constraints.ForeignKeyConstraint):
            raise TypeError(
                f"AddForeignKeyNotValid takes a ForeignKeyConstraint, not {constraint!r}. "
                f"Use AddCheckNotValid for a check."
            )
        super().__init__(model_name, constraint)

    def describe(self) -> str:
        return f"Add foreign key {self.constraint.name} to {self.model_name}, not valid yet"

    @property
    def migration_name_fragment(self) -> str:
        return f"{super().migration_name_fragment}_not_valid"

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        model = to_state.apps.get_model(app_label, self.model_name)
        connection = schema_editor.connection
        if not self.allow_migrate_model(connection.alias, model):
            return
        if not schema_editor.collect_sql and (found := self._look_up(connection, model)):
            field = model._meta.get_field(self.constraint.field)
            expected = definitions.foreign_key_definition(
                connection,
                column=field.column,
                to_table=field.remote_field.model._meta.db_table,
                to_column=field.target_field.column,
                on_delete=self.constraint.on_delete.value,
                on_update=self.constraint.on_update.value,
            )
            if found.definition != expected:
                thing = f'Constraint "{self.constraint.name}" of "{model._meta.db_table}"'
                raise DefinitionConflict(thing, found=found.definition, expected=expected)
            schema_editor.tell(
                f'Constraint "{self.constraint.name}" of "{model._meta.db_table}" already exists.'
            )
            return
        schema_editor.execute(self.constraint.create_sql(model, schema_editor, not_valid=True), params=None)

    def database_backwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        model = from_state.apps.get_model(app_label, self.model_name)
        connection = schema_editor.connection
        if not self.allow_migrate_model(connection.alias, model):
            return
        if schema_editor.collect_sql or self._look_up(connection, model):
            schema_editor.execute(self.constraint.remove_sql(model, schema_editor), params=None)

    def _look_up(self, connection: BaseDatabaseWrapper, model: Any) -> definitions.FoundConstraint | None:
        return definitions.constraint(connection, model._meta.db_table, self.constraint.name)


class OrphanRows(CommandError):
    """A foreign key cannot be validated because some rows have no parent."""

    def __init__(self, connection: BaseDatabaseWrapper, table: str, name: str, definition: str) -> None:
        try:
            lines = offending_rows.orphans(connection, offending_rows.ForeignKey.read(table, definition))
        except ValueError:  # a key of several columns
            lines = [f"rows without a parent according to {definition}"]
        super().__init__(
            f'Foreign key "{name}" of "{table}" cannot be validated: rows have no parent.\n  '
            + "\n  ".join(lines)
            + "\nNo row was changed, and no new row without a parent is accepted. Give them a parent or remove them, "
            "then run migrate again."
        )


class ValidateConstraint(Operation):
    """Check the rows that existed before a constraint was added NOT VALID.

    Locks: SHARE UPDATE EXCLUSIVE on the table, ROW SHARE on a key's parent; reading and writing go on.
    Reversing does nothing: PostgreSQL has no way to make a constraint not valid again, and none is needed.
    """

    category = OperationCategory.ALTERATION
    reduces_to_sql = True
    reversible = True

    def __init__(self, model_name: str, name: str) -> None:
        self.model_name = model_name
        self.name = name

    def deconstruct(self) -> tuple[str, Sequence[Any], dict[str, Any]]:
        return type(self).__name__, [], {"model_name": self.model_name, "name": self.name}

    def describe(self) -> str:
        return f"Validate constraint {self.name} of {self.model_name}"

    @property
    def migration_name_fragment(self) -> str:
        return f"validate_{self.name.lower()}"

    def state_forwards(self, app_label: str, state: Any) -> None:
        """Change nothing: migration state does not record whether a constraint is valid."""

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        model = to_state.apps.get_model(app_label, self.model_name)
        if not self.allow_migrate_model(schema_editor.connection.alias, model):
            return
        table = model._meta.db_table
        if not schema_editor.collect_sql:
            found = definitions.constraint(schema_editor.connection, table, self.name)
            if found is None:
                raise CommandError(
                    f'"{table}" has no constraint "{self.name}" to validate. Someone dropped it after the '
                    f"migration that adds it: reverse that migration, then run migrate again."
                )
            if found.is_validated:
                return
        quote = schema_editor.quote_name
        sql = f"ALTER TABLE {quote(table)} VALIDATE CONSTRAINT {quote(self.name)}"
        if schema_editor.collect_sql:
            schema_editor.execute(sql, params=None)
            return
        connection = schema_editor.connection
        # It reads the whole table; a role's statement_timeout is not meant for that.
        with session_settings.changed(connection, statement_timeout="0"):
            try:
                with transaction.atomic(using=connection.alias):
                    schema_editor.execute(sql, params=None)
            except IntegrityError as error:
                assert found is not None
                if not found.definition.startswith("FOREIGN KEY "):
                    raise
                raise OrphanRows(connection, table, self.name, found.definition) from error

    def database_backwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        """Change nothing: the constraint stays valid."""


class CreateEnum(Operation):
    """Create a native enum type. Takes no lock on any table."""

    category = OperationCategory.ADDITION
    reversible = True

    def __init__(self, name: str, labels: Sequence[str]) -> None:
        self.name = name
        self.labels = list(labels)

    def deconstruct(self) -> tuple[str, Sequence[Any], dict[str, Any]]:
        return type(self).__name__, [], {"name": self.name, "labels": self.labels}

    def describe(self) -> str:
        return f"Create enum {self.name} ({', '.join(self.labels)})"

    @property
    def migration_name_fragment(self) -> str:
        return f"create_enum_{self.name.lower()}"

    def state_forwards(self, app_label: str, state: Any) -> None:
        """Change nothing: migration state knows a column's type only by name."""

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        connection = schema_editor.connection
        if not router.allow_migrate(connection.alias, app_label):
            return
        if not schema_editor.collect_sql and (found := catalog.enum_labels(connection, self.name)):
            if found != self.labels:
                found_words = "a type that is not an enum" if found == [None] else ", ".join(map(str, found))
                raise DefinitionConflict(
                    f'Type "{self.name}"', found=found_words, expected=", ".join(self.labels)
                )
            return
        labels = ", ".join(schema_editor.quote_value(label) for label in self.labels)
        schema_editor.execute(
            f"CREATE TYPE {schema_editor.quote_name(self.name)} AS ENUM ({labels})", params=None
        )

    def database_backwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        if router.allow_migrate(schema_editor.connection.alias, app_label):
            schema_editor.execute(f"DROP TYPE IF EXISTS {schema_editor.quote_name(self.name)}", params=None)


class AddEnumValue(Operation):
    """Add a label to a native enum type, after another label (None: as the first). Takes no lock on any table.

    Nothing may use the label in the same transaction: put it in a separate migration with `atomic = False`.
    Reversing does nothing: PostgreSQL cannot remove a label, and rows may hold it.
    """

    category = OperationCategory.ADDITION
    reversible = True

    def __init__(self, name: str, label: str, after: str | None) -> None:
        self.name = name
        self.label = label
        self.after = after

    def deconstruct(self) -> tuple[str, Sequence[Any], dict[str, Any]]:
        return type(self).__name__, [], {"name": self.name, "label": self.label, "after": self.after}

    def describe(self) -> str:
        return f"Add {self.label} to enum {self.name}"

    @property
    def migration_name_fragment(self) -> str:
        return f"{self.name.lower()}_{re.sub(r'[^a-z0-9]+', '_', self.label.lower())}"

    def state_forwards(self, app_label: str, state: Any) -> None:
        """Change nothing: migration state knows a column's type only by name."""

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        connection = schema_editor.connection
        if not router.allow_migrate(connection.alias, app_label):
            return
        quote, quote_value = schema_editor.quote_name, schema_editor.quote_value
        place = f" AFTER {quote_value(self.after)}" if self.after is not None else ""
        if not schema_editor.collect_sql:
            found = catalog.enum_labels(connection, self.name) or []
            if self.label in found:
                return
            if self.after is not None and self.after not in found:
                raise DefinitionConflict(
                    f'Type "{self.name}"',
                    found=", ".join(map(str, found)) or "no such enum",
                    expected=f"an enum with the label {self.after}, after which {self.label} is added",
                )
            if self.after is None and found:
                place = f" BEFORE {quote_value(found[0])}"
        schema_editor.execute(
            f"ALTER TYPE {quote(self.name)} ADD VALUE IF NOT EXISTS {quote_value(self.label)}{place}",
            params=None,
        )

    def database_backwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        """Change nothing: the label stays."""


class EnableRowLevelSecurity(Operation):
    """Hide a table's rows from everyone but its owner and superusers: row level security without a policy.

    Supabase's data API then sees no rows. Locks: ACCESS EXCLUSIVE, for an instant; put it into the
    migration that creates the table.
    """

    category = OperationCategory.ALTERATION
    reversible = True

    def __init__(self, model_name: str) -> None:
        self.model_name = model_name

    def deconstruct(self) -> tuple[str, Sequence[Any], dict[str, Any]]:
        return type(self).__name__, [], {"model_name": self.model_name}

    def describe(self) -> str:
        return f"Enable row level security on {self.model_name}"

    @property
    def migration_name_fragment(self) -> str:
        return f"{self.model_name.lower()}_row_level_security"

    def state_forwards(self, app_label: str, state: Any) -> None:
        """Change nothing: migration state does not include row level security."""

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        self._alter(schema_editor, to_state.apps.get_model(app_label, self.model_name), enable=True)

    def database_backwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        self._alter(schema_editor, from_state.apps.get_model(app_label, self.model_name), enable=False)

    def _alter(self, schema_editor: Any, model: Any, *, enable: bool) -> None:
        connection = schema_editor.connection
        if not self.allow_migrate_model(connection.alias, model):
            return
        table = model._meta.db_table
        if schema_editor.collect_sql or catalog.has_row_security(connection, table) is not enable:
            action = "ENABLE" if enable else "DISABLE"
            schema_editor.execute(
                f"ALTER TABLE {schema_editor.quote_name(table)} {action} ROW LEVEL SECURITY", params=None
            )
