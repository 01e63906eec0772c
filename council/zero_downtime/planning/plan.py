"""The plan: predicts what pending migrations will do to a database that is in use."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.migration import Migration
from django.db.migrations.operations.base import Operation
from django.db.migrations.recorder import MigrationRecorder
from django.db.migrations.state import ProjectState

from council.zero_downtime.forward_state import ForwardState
from council.zero_downtime.planning import deadlocks, estimates, introspection, inventory
from council.zero_downtime.planning.earlier_code import EarlierCode
from council.zero_downtime.planning.inventory import Inventory
from council.zero_downtime.planning.steps import Change, Prediction, Step

MigrationPlan = Sequence[tuple[Migration, bool]]


def of(executor: MigrationExecutor, migrations: MigrationPlan) -> list[Step]:
    """Predict the steps of an executor's migration plan on its database. Takes no lock on a table."""
    return [step for _, step in _of(executor, migrations, inventory.read(executor.connection))]


def of_operations(executor: MigrationExecutor, migrations: MigrationPlan) -> list[tuple[Operation, Step]]:
    """Predict the step of each operation of an executor's migration plan.

    Returns nothing for a database without tables, where no other session can wait.
    """
    there = inventory.read(executor.connection)
    if not migrations or there.tables.keys() <= {MigrationRecorder.Migration._meta.db_table}:
        return []
    return [(change.operation, step) for change, step in _of(executor, migrations, there)]


def _of(executor: Any, migrations: MigrationPlan, there: Inventory) -> list[tuple[Change, Step]]:
    connection = executor.connection
    state = executor._create_project_state(with_applied_migrations=True)
    pace = estimates.pace(connection) if migrations else 1.0
    ways_back = [migration for migration, backwards in migrations if backwards]
    before = _states_before(executor, ways_back) if ways_back else {}
    return with_changes(connection, migrations, state=state, there=there, pace=pace, before=before)


def steps(
    connection: BaseDatabaseWrapper,
    migrations: MigrationPlan,
    *,
    state: ProjectState,
    there: Inventory,
    pace: float = 1.0,
    is_one_release: bool = True,
) -> list[Step]:
    """Predict the steps of a migration plan, starting from a model state and an inventory of the database.

    The earlier release's code has the models of that state. Unless `is_one_release`, each migration is a release.
    """
    found = with_changes(
        connection, migrations, state=state, there=there, pace=pace, is_one_release=is_one_release
    )
    return [step for _, step in found]


def with_changes(
    connection: BaseDatabaseWrapper,
    migrations: MigrationPlan,
    *,
    state: ProjectState,
    there: Inventory,
    pace: float = 1.0,
    before: Mapping[Migration, ProjectState] = MappingProxyType({}),
    is_one_release: bool = True,
) -> list[tuple[Change, Step]]:
    """Predict as `steps` does. `before` holds the model state before each migration that is reversed.

    During a reversal, the deployed code has the models that the reversal leads back to.
    """
    earlier = EarlierCode(state)
    for last, is_reversal in migrations[-1:]:
        if is_reversal:
            earlier = EarlierCode(before[last])
    found: list[tuple[Change, Step]] = []
    if migrations:
        state.apps  # noqa: B018  # rendered once, then updated by each operation
    with _looking_on(connection), introspection.planned(connection, there):
        for migration, backwards in migrations:
            there.begin_migration()
            if not is_one_release:
                earlier = EarlierCode(state)
                deadlocks.begin_release(migration, state, there)
            predicted = Prediction(connection, migration, there, earlier, pace)
            changes, made = [], []
            for change in (
                _undone(migration, before.get(migration, state)) if backwards else _done(migration, state)
            ):
                changes.append(change)
                made.append(predicted.step(change))
            if changes and not backwards:
                state = changes[-1].after
            if not is_one_release:
                deadlocks.end_release(migration, there)
            found += zip(changes, _until_the_end(made) if migration.atomic else made, strict=True)
    return found


@contextmanager
def _looking_on(connection: BaseDatabaseWrapper) -> Iterator[None]:
    """Make the block read-only, since operations run their own code to produce SQL."""
    if getattr(connection, "is_offline", False):
        yield
        return
    with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
        cursor.execute("SHOW transaction_read_only")
        (former,) = cursor.fetchone()
        cursor.execute("SET LOCAL transaction_read_only = on")
        yield
        if former == "off":
            transaction.set_rollback(True, using=connection.alias)


def _states_before(executor: MigrationExecutor, migrations: list[Migration]) -> dict[Migration, ProjectState]:
    """Return the model state before each of some applied migrations."""
    state = ProjectState(real_apps=executor.loader.unmigrated_apps)
    found = {}
    for migration, _ in executor.migration_plan(executor.loader.graph.leaf_nodes(), clean_start=True):
        if migration in migrations:
            found[migration] = state
        if (migration.app_label, migration.name) in executor.loader.applied_migrations:
            state = migration.mutate_state(state, preserve=migration in migrations)
    return found


def _done(migration: Migration, state: ProjectState) -> Iterator[Change]:
    """Apply a migration's operations to a state, lazily: each operation may change the models of earlier changes."""
    for operation in migration.operations:
        before, state = state, ForwardState.of(state)
        operation.state_forwards(migration.app_label, state)
        yield Change(operation, before, state, backwards=False)


def _undone(migration: Migration, state: ProjectState) -> list[Change]:
    """Return a migration's changes, last one first. `state` is the model state before the migration."""
    changes = []
    for operation in migration.operations:
        before, state = state, state.clone()
        operation.state_forwards(migration.app_label, state)
        changes.append(Change(operation, before, state, backwards=True))
    return changes[::-1]


def _until_the_end(made: list[Step]) -> list[Step]:
    """Extend the locks of a transaction's steps to the end of the transaction."""
    return [
        replace(
            step,
            locks=[
                held._replace(seconds=sum(later.seconds for later in made[number:])) for held in step.locks
            ],
        )
        for number, step in enumerate(made)
    ]
