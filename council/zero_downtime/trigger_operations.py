"""Migration operations for triggers and database functions."""

import hashlib
from collections.abc import Sequence
from typing import Any

import pgtrigger.migrations
from django.db import router
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.operations.base import Operation, OperationCategory

from council.postgres import catalog, definitions, triggers
from council.zero_downtime.failures import DefinitionConflict


class AddTrigger(pgtrigger.migrations.AddTrigger):
    """Install a trigger of council.postgres.triggers. If one has the same name, event and function, upgrade it.

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
        """Compare with the existing trigger. Raises DefinitionConflict if that must not be replaced."""
        sql = self.trigger.sql
        found = definitions.trigger(connection, model._meta.db_table, sql.pgid)
        if found is None:
            used = catalog.trigger_function(connection, sql.function)
            function = definitions.function(connection, sql.function)
            # A trigger function that no trigger calls was made for the missing trigger.
            if used and function and (used.returns != "trigger" or used.triggers):
                thing = f'Function "{sql.function}"'
                raise DefinitionConflict(thing, found=function.definition, expected=str(sql))
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


class ReplaceTrigger(AddTrigger):
    """Replace a trigger by another version, so that one of the two is always installed.

    Locks: SHARE ROW EXCLUSIVE on the table, for an instant, in both directions; reading goes on.
    """

    def describe(self) -> str:
        return f"Replace trigger {self.trigger.name} on {self.model_name}"

    @property
    def migration_name_fragment(self) -> str:
        return f"replace_{self.trigger.name}"

    def state_forwards(self, app_label: str, state: Any) -> None:
        options = state.models[app_label, self.model_name_lower].options
        options["triggers"] = [
            self.trigger if trigger.name == self.trigger.name else trigger for trigger in options["triggers"]
        ]
        state.reload_model(app_label, self.model_name_lower, delay=True)

    def database_backwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        [before] = [
            trigger
            for trigger in to_state.models[app_label, self.model_name_lower].options["triggers"]
            if trigger.name == self.trigger.name
        ]
        AddTrigger(self.model_name, before).database_forwards(app_label, schema_editor, from_state, to_state)


class CreateFunction(Operation):
    """Install a function in SQL or plpgsql, or replace an earlier version of it. Takes no lock.

    `definition` is the text after `CREATE OR REPLACE FUNCTION name(arguments)`, with tables written as
    `@extschema@."Member"`. A hash in the function's comment shows that the function is ours.
    """

    category = OperationCategory.ADDITION
    reduces_to_sql = True
    reversible = True

    def __init__(self, name: str, arguments: str, definition: str) -> None:
        self.name = name
        self.arguments = arguments
        self.definition = definition

    def deconstruct(self) -> tuple[str, Sequence[Any], dict[str, Any]]:
        given = {"name": self.name, "arguments": self.arguments, "definition": self.definition}
        return type(self).__name__, [], given

    def describe(self) -> str:
        return f"Create function {self.name}({self.arguments})"

    @property
    def migration_name_fragment(self) -> str:
        return f"create_function_{self.name}"

    @property
    def comment(self) -> str:
        return f"council {hashlib.sha256(self.definition.encode()).hexdigest()}"

    def state_forwards(self, app_label: str, state: Any) -> None:
        """Change nothing: migration state does not include functions."""

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        connection = schema_editor.connection
        if not router.allow_migrate(connection.alias, app_label):
            return
        signature = f"{triggers.SCHEMA}.{self.name}({self.arguments})"
        sql = f"CREATE OR REPLACE FUNCTION {signature}\n{self.definition}"
        if not schema_editor.collect_sql:
            found = definitions.function(connection, self.name, self.arguments)
            if found and found.comment == self.comment:
                return
            if found and not (found.comment or "").startswith("council "):
                thing = f'Function "{self.name}({self.arguments})"'
                raise DefinitionConflict(thing, found=found.definition, expected=sql)
        comment = f"COMMENT ON FUNCTION {signature} IS '{self.comment}'"
        schema_editor.execute(f"{sql};\n{comment}", params=None)

    def database_backwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        if router.allow_migrate(schema_editor.connection.alias, app_label):
            signature = f"{triggers.SCHEMA}.{self.name}({self.arguments})"
            schema_editor.execute(f"DROP FUNCTION IF EXISTS {signature}", params=None)


class ReplaceFunction(CreateFunction):
    """Replace a function by a version with the same return type; `former` is the definition that it replaces.

    Takes no lock, neither forwards nor backwards.
    """

    def __init__(self, name: str, arguments: str, definition: str, former: str) -> None:
        super().__init__(name, arguments, definition)
        self.former = former

    def deconstruct(self) -> tuple[str, Sequence[Any], dict[str, Any]]:
        name, args, kwargs = super().deconstruct()
        return name, args, {**kwargs, "former": self.former}

    def describe(self) -> str:
        return f"Replace function {self.name}({self.arguments})"

    @property
    def migration_name_fragment(self) -> str:
        return f"replace_function_{self.name}"

    def database_backwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        former = CreateFunction(self.name, self.arguments, self.former)
        former.database_forwards(app_label, schema_editor, from_state, to_state)


class RemoveFunction(CreateFunction):
    """Drop a function that nothing calls any more. Reversing creates it from `definition`. Takes no lock."""

    category = OperationCategory.REMOVAL

    def describe(self) -> str:
        return f"Drop function {self.name}({self.arguments})"

    @property
    def migration_name_fragment(self) -> str:
        return f"remove_function_{self.name}"

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        super().database_backwards(app_label, schema_editor, from_state, to_state)

    def database_backwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        super().database_forwards(app_label, schema_editor, from_state, to_state)
