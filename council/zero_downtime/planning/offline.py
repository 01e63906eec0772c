"""Makes a plan without a server, as if the database held exactly what the models say."""

from collections.abc import Iterable
from contextlib import nullcontext
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connections
from django.db.migrations.migration import Migration
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState
from psycopg.sql import quote

from council.postgres import base, operations, sql_parser
from council.zero_downtime.planning import introspection, plan, sql_commands
from council.zero_downtime.planning.inventory import Inventory
from council.zero_downtime.planning.steps import Step


class Operations(operations.DatabaseOperations):
    def compose_sql(self, sql: str, params: Any) -> str:
        return sql if params is None else sql % tuple(quote(value) for value in params)


class Cursor:
    """A cursor that knows only the name of the schema."""

    def execute(self, query: Any, params: Any = None) -> None: ...

    def fetchone(self) -> tuple[str]:
        return ("public",)

    def fetchall(self) -> list[tuple[str]]:
        return []


class Connection(base.DatabaseWrapper):
    """A connection without a server. It writes SQL for the oldest supported PostgreSQL."""

    is_offline = True
    ops_class = Operations
    pg_version = 150000

    def cursor(self) -> Any:
        return nullcontext(Cursor())

    def is_usable(self) -> bool:
        return True


def steps(migrations: Iterable[Migration], state: ProjectState) -> list[tuple[Operation, Step]]:
    """Predict the step of each operation of new migrations, starting from a model state.

    Returns nothing if models in the state reference models that it lacks, since no database can have such a state.
    """
    try:
        state.apps  # noqa: B018
    except ValueError:
        return []
    connection: Any = Connection(connections[DEFAULT_DB_ALIAS].settings_dict, DEFAULT_DB_ALIAS)
    there = _inventory(connection, state)
    planned = [(migration, False) for migration in migrations]
    found = plan.with_changes(connection, planned, state=state.clone(), there=there)
    return [(change.operation, step) for change, step in found]


def _inventory(connection: Any, state: ProjectState) -> Inventory:
    there = Inventory()
    with (
        introspection.planned(connection, there),
        connection.schema_editor(collect_sql=True, atomic=False) as editor,
    ):
        for model in state.apps.get_models():
            if model._meta.managed and not model._meta.proxy:
                editor.create_model(model)
    for sql in editor.collected_sql:
        for statement in sql_parser.read(str(sql)):
            list(sql_commands.effects(statement.node, there))
    for table in there.tables.values():
        table.is_in_use = True
    return there
