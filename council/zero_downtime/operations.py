"""Migration operations for a database that is in use.

Each looks in the catalogue first and does only what is missing, so that a migration that was cut short is
finished by running it again. A thing of the same name with another definition stops the migration; nothing is
taken for done because its name is there. Under `sqlmigrate` they look nothing up and print all they would run.
"""

import time
from collections.abc import Sequence
from typing import Any

import pgtrigger.migrations
from django.core.management import CommandError
from django.db import NotSupportedError, models, router
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.operations import AddConstraint, AddIndex, RemoveIndex
from django.db.migrations.operations.base import Operation, OperationCategory

from council.postgres import catalog, constraints, indexes, triggers
from council.zero_downtime import locks

BUILDER_POLL_SECONDS = 0.5


class DefinitionConflict(CommandError):
    """A name that a migration needs stands for something else."""

    def __init__(self, thing: str, *, found: str, expected: str) -> None:
        super().__init__(
            f"{thing} is there already, with another definition.\n"
            f"  found:    {found}\n"
            f"  expected: {expected}\n"
            f"Nothing was changed. Rename or drop what was found, then run migrate again."
        )


class AddForeignKeyNotValid(AddConstraint):
    """Add a foreign key for new and changed rows, leaving the rows that are there to ValidateConstraint.

    Locks: SHARE ROW EXCLUSIVE on both tables, for an instant; reading goes on.
    """

    model_name: str
    constraint: constraints.ForeignKeyConstraint

    def __init__(self, model_name: str, constraint: constraints.ForeignKeyConstraint) -> None:
        if not isinstance(constraint, constraints.ForeignKeyConstraint):
            raise TypeError(
                f"AddForeignKeyNotValid takes a ForeignKeyConstraint, not {constraint!r}. "
                f"Use Django's AddConstraintNotValid for a check."
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
            expected = catalog.foreign_key_definition(
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
            return
        schema_editor.execute(self.constraint.create_sql(model, schema_editor, not_valid=True), params=None)

    def database_backwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        model = from_state.apps.get_model(app_label, self.model_name)
        connection = schema_editor.connection
        if not self.allow_migrate_model(connection.alias, model):
            return
        if schema_editor.collect_sql or self._look_up(connection, model):
            schema_editor.execute(self.constraint.remove_sql(model, schema_editor), params=None)

    def _look_up(self, connection: BaseDatabaseWrapper, model: Any) -> catalog.Constraint | None:
        return catalog.constraint(connection, model._meta.db_table, self.constraint.name)


class ValidateConstraint(Operation):
    """Check the rows that were there before a constraint was added NOT VALID.

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
        """Leave the state: it does not tell valid from not valid."""

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        model = to_state.apps.get_model(app_label, self.model_name)
        if not self.allow_migrate_model(schema_editor.connection.alias, model):
            return
        table = model._meta.db_table
        if not schema_editor.collect_sql:
            found = catalog.constraint(schema_editor.connection, table, self.name)
            if found is None:
                raise CommandError(
                    f'"{table}" has no constraint "{self.name}" to validate. Someone dropped it after the '
                    f"migration that adds it: reverse that migration, then run migrate again."
                )
            if found.is_validated:
                return
        quote = schema_editor.quote_name
        schema_editor.execute(
            f"ALTER TABLE {quote(table)} VALIDATE CONSTRAINT {quote(self.name)}", params=None
        )

    def database_backwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        """Leave the constraint valid."""


class ConcurrentIndexMixin:
    """What building and dropping an index without blocking writers have in common.

    Locks: SHARE UPDATE EXCLUSIVE on the table for as long as it takes; reading and writing go on.
    """

    atomic = False

    def _ensure_not_in_transaction(self, schema_editor: Any) -> None:
        if schema_editor.connection.in_atomic_block:
            raise NotSupportedError(
                f"{type(self).__name__} cannot run in a transaction. "
                f"Set `atomic = False` on the migration, and keep other kinds of operations out of it."
            )

    def _build(self, schema_editor: Any, model: Any, index: models.Index | indexes.UniqueIndex) -> None:
        self._ensure_not_in_transaction(schema_editor)
        create_sql = str(index.create_sql(model, schema_editor, concurrently=True))
        if schema_editor.collect_sql:
            schema_editor.execute(create_sql, params=None)
            return
        connection = schema_editor.connection
        while catalog.index_builder(connection, index.name):
            time.sleep(BUILDER_POLL_SECONDS)
        self._drop_remains(schema_editor, index.name)
        if found := self._look_up(connection, index.name):
            expected = catalog.index_as_created(
                connection,
                table=model._meta.db_table,
                name=index.name,
                create_sql=str(index.create_sql(model, schema_editor)),
            )
            if found.definition != expected:
                raise DefinitionConflict(f'Index "{index.name}"', found=found.definition, expected=expected)
            return
        # A time-out in the middle of a build would leave an INVALID index.
        with locks.session_settings(connection, lock_timeout="0", statement_timeout="0"):
            try:
                schema_editor.execute(create_sql, params=None)
            except Exception:
                # An INVALID unique index rejects duplicates all the same.
                if connection.is_usable():
                    self._drop_remains(schema_editor, index.name)
                raise

    def _drop(self, schema_editor: Any, model: Any, name: str) -> None:
        self._ensure_not_in_transaction(schema_editor)
        if not schema_editor.collect_sql:
            found = self._look_up(schema_editor.connection, name)
            if found is None:
                return
            if found.table != model._meta.db_table:
                raise DefinitionConflict(
                    f'Index "{name}"',
                    found=found.definition,
                    expected=f'an index on "{model._meta.db_table}"',
                )
        self._execute_drop(schema_editor, name)

    def _look_up(self, connection: BaseDatabaseWrapper, name: str) -> catalog.Index | None:
        kind = catalog.relation_kind(connection, name)
        if kind not in {None, "index"}:
            raise DefinitionConflict(f'"{name}"', found=f"a {kind}", expected="an index")
        return catalog.index(connection, name)

    def _drop_remains(self, schema_editor: Any, name: str) -> None:
        """Drop what interrupted builds left: the index itself where it is INVALID, and REINDEX's copies."""
        connection = schema_editor.connection
        found = self._look_up(connection, name)
        if found and not found.is_valid:
            self._execute_drop(schema_editor, name)
        for leftover in catalog.interrupted_rebuilds(connection, name):
            self._execute_drop(schema_editor, leftover)

    def _execute_drop(self, schema_editor: Any, name: str) -> None:
        schema_editor.execute(
            f"DROP INDEX CONCURRENTLY IF EXISTS {schema_editor.quote_name(name)}", params=None
        )


class AddIndexConcurrently(ConcurrentIndexMixin, AddIndex):
    """Build an index while its table is in use."""

    def describe(self) -> str:
        return f"Build index {self.index.name} on {self.model_name} concurrently"

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        model = to_state.apps.get_model(app_label, self.model_name)
        if self.allow_migrate_model(schema_editor.connection.alias, model):
            self._build(schema_editor, model, self.index)

    def database_backwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        model = from_state.apps.get_model(app_label, self.model_name)
        if self.allow_migrate_model(schema_editor.connection.alias, model):
            self._drop(schema_editor, model, self.index.name)


class RemoveIndexConcurrently(ConcurrentIndexMixin, RemoveIndex):
    """Drop an index while its table is in use."""

    def describe(self) -> str:
        return f"Drop index {self.name} of {self.model_name} concurrently"

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        model = from_state.apps.get_model(app_label, self.model_name)
        if self.allow_migrate_model(schema_editor.connection.alias, model):
            self._drop(schema_editor, model, self.name)

    def database_backwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        model = to_state.apps.get_model(app_label, self.model_name)
        if self.allow_migrate_model(schema_editor.connection.alias, model):
            index = to_state.models[app_label, self.model_name_lower].get_index_by_name(self.name)
            self._build(schema_editor, model, index)


class AddUniqueIndexConcurrently(ConcurrentIndexMixin, AddConstraint):
    """Build a unique index while its table is in use. Fails where there are duplicates, leaving nothing."""

    model_name: str
    constraint: indexes.UniqueIndex

    def __init__(self, model_name: str, constraint: indexes.UniqueIndex) -> None:
        if not isinstance(constraint, indexes.UniqueIndex):
            raise TypeError(f"AddUniqueIndexConcurrently takes a UniqueIndex, not {constraint!r}.")
        super().__init__(model_name, constraint)

    def describe(self) -> str:
        return f"Build unique index {self.constraint.name} on {self.model_name} concurrently"

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        model = to_state.apps.get_model(app_label, self.model_name)
        if self.allow_migrate_model(schema_editor.connection.alias, model):
            self._build(schema_editor, model, self.constraint)

    def database_backwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        model = from_state.apps.get_model(app_label, self.model_name)
        if self.allow_migrate_model(schema_editor.connection.alias, model):
            self._drop(schema_editor, model, self.constraint.name)


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
        """Leave the state: it knows a column's type by name only."""

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        connection = schema_editor.connection
        if not router.allow_migrate(connection.alias, app_label):
            return
        if not schema_editor.collect_sql and (found := catalog.enum_labels(connection, self.name)):
            if found != self.labels:
                found_words = "a type that is no enum" if found == [None] else ", ".join(map(str, found))
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


class EnableRowLevelSecurity(Operation):
    """Shut a table to everyone but its owner and superusers, by row level security without a policy.

    Supabase's data API thereby sees no row of it. Locks: ACCESS EXCLUSIVE, for an instant; put it into the
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
        """Leave the state: it does not know of row level security."""

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


class AddTrigger(pgtrigger.migrations.AddTrigger):
    """Install a trigger of council.postgres.triggers; one of the same name, event and function is upgraded.

    Locks: SHARE ROW EXCLUSIVE on the table, for an instant; reading goes on. Reversing takes ACCESS EXCLUSIVE.
    """

    trigger: triggers.CompiledTrigger

    def describe(self) -> str:
        return f"Install trigger {self.trigger.name} on {self.model_name}"

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        model = to_state.apps.get_model(app_label, self.model_name)
        connection = schema_editor.connection
        if not self.allow_migrate_model_trigger(schema_editor, model):
            return
        if schema_editor.collect_sql or not self._is_installed(connection, model):
            schema_editor.execute(self.trigger.install_sql, params=None)

    def _is_installed(self, connection: BaseDatabaseWrapper, model: Any) -> bool:
        """Compare with what is there. Raises DefinitionConflict unless that may be replaced."""
        sql = self.trigger.sql
        found = catalog.trigger(connection, model._meta.db_table, sql.pgid)
        if found is None:
            if function := catalog.function(connection, sql.function):
                raise DefinitionConflict(f'Function "{sql.function}"', found=function, expected=str(sql))
            return False
        same_event = found.definition.startswith(f"CREATE TRIGGER {sql.pgid} {sql.event} ON ")
        if not (same_event and found.definition.endswith(f" FUNCTION {sql.function}()")):
            thing = f'Trigger "{sql.pgid}" of "{model._meta.db_table}"'
            raise DefinitionConflict(thing, found=found.definition, expected=str(sql))
        return (
            found.is_enabled
            and found.comment == sql.hash
            and f" FOR EACH {sql.level} " in found.definition
            and triggers.in_schema(connection, sql.body) in found.function
            and all(f"SET {name} TO '{value}'" in found.function for name, value in sql.settings.items())
        )
