"""Run the migrations of a group of apps in a separate process, and print a line of JSON for each operation.

`worker.py list` prints the operations and their SQL. `worker.py judge FILE` prints, for the operations in the file,
what PostgreSQL does, what earlier code can no longer do, and what our lint says, with and without added indexes, checks
and keys. Settings and environment are as for tests/others/command.py.
"""

import copy
import itertools
import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import django
import psycopg
from django.db import connection, connections, transaction
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.migration import Migration
from django.db.migrations.state import ProjectState
from psycopg import sql

from council.postgres import sql_parser
from council.zero_downtime.planning import inventory, plan, sql_commands
from council.zero_downtime.planning.inventory import Inventory
from tests.others.linters import old_code, probe, rows

PLANNED = "planned"
SESSIONS = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s"
READ = ("SELECT", "SAVEPOINT", "RELEASE", "ROLLBACK")


class Recorder:
    """Keeps the SQL that changes something, with its parameters filled in."""

    def __init__(self) -> None:
        self.sql: list[str] = []

    def __call__(self, execute: Any, text: Any, params: Any, many: Any, context: Any) -> Any:
        operations: Any = connection.ops
        if not str(text).lstrip().upper().startswith(READ):
            written = operations.compose_sql(str(text), params) if params and not many else str(text)
            self.sql.append(written.strip().rstrip(";") + ";")
        return execute(text, params, many, context)


def tell(**facts: Any) -> None:
    sys.stdout.write(json.dumps(facts, default=str) + "\n")
    sys.stdout.flush()


def whole_plan() -> list[Migration]:
    executor = MigrationExecutor(connection)
    return [one for one, _ in executor.migration_plan(executor.loader.graph.leaf_nodes(), clean_start=True)]


def list_operations() -> None:
    state = ProjectState(real_apps=MigrationExecutor(connection).loader.unmigrated_apps)
    for migration in whole_plan():
        editor: Any
        with connection.schema_editor(atomic=migration.atomic) as editor:
            for number, operation in enumerate(migration.operations):
                recorder = Recorder()
                with connection.execute_wrapper(recorder):
                    state = run(migration, operation, editor, state)
                if not type(migration).__module__.startswith("django."):
                    kind, is_sql = type(operation).__name__, operation.reduces_to_sql
                    tell(migration=str(migration), number=number, kind=kind, is_sql=is_sql, sql=recorder.sql)


def run(migration: Migration, operation: Any, editor: Any, state: ProjectState) -> ProjectState:
    """Run one operation as Django does, including SQL that Django defers to the end of the migration."""
    before, state = state, state.clone()
    operation.state_forwards(migration.app_label, state)
    operation.database_forwards(migration.app_label, editor, before, state)
    for text in editor.deferred_sql:
        editor.execute(text, None)
    editor.deferred_sql.clear()
    return state


@contextmanager
def another_database(name: str) -> Iterator[None]:
    """Connect Django to another database."""
    connection.close()
    former, connection.settings_dict["NAME"] = connection.settings_dict["NAME"], name
    try:
        yield
    finally:
        connection.close()
        connection.settings_dict["NAME"] = former


class Judge:
    def __init__(self, wanted: dict[str, dict[int, list[str]]]) -> None:
        """`wanted` holds the SQL of the operations to judge, by migration and number."""
        self.wanted = wanted
        connections.databases[PLANNED] = {**connection.settings_dict, "ENGINE": "council.postgres"}
        self.planned = connections[PLANNED]
        read = inventory.read(self.planned)
        self.there = Inventory(functions=read.functions, is_utc=read.is_utc)
        self.real = ProjectState(real_apps=MigrationExecutor(connection).loader.unmigrated_apps)
        self.said = ProjectState()  # the same starting point as that of the lint

    def go_through(self) -> None:
        left = set(self.wanted)
        for migration in whole_plan():
            if not left:
                return
            there, state = copy.deepcopy(self.there) if str(migration) in left else None, self.said
            found = self.plan(migration, state, self.there)
            if found:
                self.said = found[-1][0].after
            if there is not None:
                left.remove(str(migration))
                self.judge(migration, found, self.make_database(migration))
                dependants: list[str] = []
                name = self.make_database(migration, dependants)
                for statement in itertools.chain(*map(sql_parser.read, dependants)):
                    list(sql_commands.effects(statement.node, there))
                self.judge(migration, self.plan(migration, state, there), name, has_dependants=True)
            with connection.schema_editor(atomic=migration.atomic) as editor:
                for operation in migration.operations:
                    self.real = run(migration, operation, editor, self.real)

    def plan(self, migration: Migration, state: ProjectState, there: Inventory) -> list[tuple[Any, Any]]:
        """Check a migration with our lint, as `lint.findings` does."""
        found = plan.with_changes(
            self.planned, [(migration, False)], state=state, there=there, is_one_release=False
        )
        self.planned.close()
        return found

    def judge(
        self, migration: Migration, found: list[tuple[Any, Any]], name: str, *, has_dependants: bool = False
    ) -> None:
        operations = self.wanted[str(migration)]
        said = [sorted({risk.rule for risk in step.warnings}) for _, step in found]
        with another_database(name):
            for number, facts in sorted(self.truth(migration, operations).items()):
                tell(
                    migration=str(migration),
                    number=number,
                    kind=type(migration.operations[number]).__name__,
                    dependants=has_dependants,
                    ours=said[number],
                    describe=migration.operations[number].describe(),
                    **facts,
                )

    def make_database(self, migration: Migration, dependants: list[str] | None = None) -> str:
        """Copy the present database and fill it. With a list for the SQL, also add indexes, checks and keys."""
        name = f"{connection.settings_dict['NAME']}_judged"
        connection.close()
        self.planned.close()
        given = connection.get_connection_params()
        server = {key: given[key] for key in ("host", "port", "user") if given.get(key)}
        with psycopg.connect(**server, dbname="postgres", autocommit=True) as session:
            session.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
            while session.execute(SESSIONS, [connection.settings_dict["NAME"]]).fetchone() != (0,):
                time.sleep(0.02)  # a session ends a little later than its client
            template = sql.Identifier(connection.settings_dict["NAME"])
            session.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), template))
        with psycopg.connect(**server, dbname=name, autocommit=True) as session:
            rows.fill(session)
            if dependants is not None:
                text = " ".join(itertools.chain(*self.wanted[str(migration)].values()))
                dependants += rows.add_dependants(session, text)
            session.execute("ANALYZE")
        return name

    def truth(self, migration: Migration, operations: dict[int, list[str]]) -> dict[int, dict[str, Any]]:
        """Run a migration up to the last of these operations, then undo it. Returns what each operation did."""
        found: dict[int, dict[str, Any]] = {}
        number = 0
        try:
            editor: Any
            with connection.schema_editor(atomic=migration.atomic) as editor:
                state, there = self.real, probe.Relations(connection)
                for number, operation in enumerate(migration.operations[: max(operations) + 1]):
                    is_apart = not migration.atomic and bool(operation.atomic)
                    with transaction.atomic() if is_apart else nullcontext():
                        if number in operations:
                            text = " ".join(operations[number])
                            state, found[number] = self.look_on(
                                migration, operation, editor, state, there, text
                            )
                        else:
                            state = run(migration, operation, editor, state)
                raise old_code.Undone
        except old_code.Undone:
            pass
        except Exception as error:
            told = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
            for one in operations.keys() - found.keys():
                found[one] = {"error": told, "at": number}
        return found

    def look_on(
        self, migration: Migration, operation: Any, editor: Any, state: ProjectState, there: Any, text: str
    ) -> tuple[ProjectState, dict[str, Any]]:
        """Run an operation. Returns the state after it, and what it did. `text` names the tables that it concerns."""
        models = old_code.of_tables(self.real.apps.get_models(include_auto_created=True), text)
        broken, before = old_code.faults(models), probe.look(connection, there)
        recorder, alone = Recorder(), probe.Statements(connection, there)
        with connection.execute_wrapper(recorder):
            if connection.in_atomic_block:
                state = run(migration, operation, editor, state)
                done = probe.look(connection, there).since(before)
            else:
                with connection.execute_wrapper(alone):
                    state = run(migration, operation, editor, state)
                done = alone.worst()
        new = sorted(old_code.faults(models) - broken)
        return state, {"sql": recorder.sql, "breaks": new[:3], **done}


def main(how: str, *arguments: str) -> None:
    django.setup()
    if how == "list":
        list_operations()
    else:
        given = json.loads(Path(arguments[0]).read_text())
        Judge({name: {int(n): text for n, text in own.items()} for name, own in given.items()}).go_through()


main(*sys.argv[1:])
