"""What pending migrations will do to a database that is in use, told before they run."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.migration import Migration
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState

from council.postgres import statements
from council.zero_downtime import commands, durations, inventory
from council.zero_downtime.baseline import AdoptBaseline
from council.zero_downtime.batch_operations import UpdateInBatches
from council.zero_downtime.effects import MODES, SHARE, Break, Effect, Kind, Lock, Risk, Work
from council.zero_downtime.inventory import Inventory

# Whoever reads or writes waits for these.
FELT = MODES[MODES.index(SHARE) :]


class Held(NamedTuple):
    """A lock on a table that is in use, and how long it is held: to the end of its transaction."""

    lock: Lock
    seconds: float


@dataclass(frozen=True)
class Step:
    """One operation of a migration. Seconds are estimates; below durations.INSTANT_SECONDS they mean an instant."""

    migration: str
    operation: str
    sql: list[str]
    work: list[Work]
    seconds: float
    is_atomic: bool
    is_reversible: bool
    breaks: list[str]
    risks: list[Risk]
    accepted: dict[str, str]
    locks: list[Held] = field(default_factory=list)

    @property
    def warnings(self) -> list[Risk]:
        """The risks that the migration does not accept in writing."""
        return [risk for risk in self.risks if risk.rule not in self.accepted]


MigrationPlan = Sequence[tuple[Migration, bool]]


def of(connection: BaseDatabaseWrapper, migrations: MigrationPlan) -> list[Step]:
    """Foretell the steps of a plan on the database of a connection. Takes no lock on a table."""
    executor: Any = MigrationExecutor(connection)
    state = executor._create_project_state(with_applied_migrations=True)
    pace = durations.pace(connection) if migrations else 1.0
    return steps(connection, migrations, state=state, there=inventory.read(connection), pace=pace)


def locks(
    connection: BaseDatabaseWrapper, migration: Migration, before: ProjectState, *, backwards: bool = False
) -> set[Lock]:
    """List the locks a migration takes that readers or writers would wait for, on tables that are there.

    `before` is the state that the migration begins with forwards.
    """
    there = inventory.read(connection)
    tables = frozenset(there.tables)
    # Without its rendered models, which belong to whoever gave it.
    state = ProjectState({key: model.clone() for key, model in before.models.items()}, before.real_apps)
    changes = _changes(migration, state, backwards=backwards)
    made = [_step(connection, migration, change, there) for change in changes]
    return {lock for step in made for lock, _ in step.locks if lock.mode in FELT and lock.table in tables}


def steps(
    connection: BaseDatabaseWrapper,
    migrations: MigrationPlan,
    *,
    state: ProjectState,
    there: Inventory,
    pace: float = 1.0,
) -> list[Step]:
    """Foretell the steps of a plan that finds a state of the models and an inventory of the database."""
    found: list[Step] = []
    for migration, backwards in migrations:
        there.begin_migration()
        if backwards:
            state = MigrationExecutor(connection).loader.project_state(
                (migration.app_label, migration.name), at_end=False
            )
        made = [
            _step(connection, migration, change, there, pace=pace)
            for change in _changes(migration, state, backwards=backwards)
        ]
        found += _held(made, migration, there)
        if not backwards:
            state = migration.mutate_state(state, preserve=False)
    return found


class _Change(NamedTuple):
    """An operation between two states of the models."""

    operation: Operation
    before: ProjectState
    after: ProjectState
    backwards: bool


def _changes(migration: Migration, state: ProjectState, *, backwards: bool) -> list[_Change]:
    changes = []
    for operation in migration.operations:
        before, state = state, state.clone()
        operation.state_forwards(migration.app_label, state)
        changes.append(_Change(operation, before, state, backwards))
    return changes[::-1] if backwards else changes


def _sql(
    connection: BaseDatabaseWrapper, migration: Migration, change: _Change, there: Inventory
) -> list[str]:
    """Have an operation print its SQL, as sqlmigrate does, where it can."""
    operation = change.operation
    if not operation.reduces_to_sql:
        return []
    if isinstance(operation, AdoptBaseline) and operation.tables & there.tables.keys():  # noqa: SIM102
        if not change.backwards and operation.is_adoption(connection):
            return []
    editor: Any
    with connection.schema_editor(collect_sql=True, atomic=False) as editor:
        if change.backwards:
            operation.database_backwards(migration.app_label, editor, change.after, change.before)
        else:
            operation.database_forwards(migration.app_label, editor, change.before, change.after)
        editor.flush_deferred_sql()
    return [str(sql) for sql in editor.collected_sql]


def _step(
    connection: BaseDatabaseWrapper,
    migration: Migration,
    change: _Change,
    there: Inventory,
    *,
    pace: float = 1.0,
) -> Step:
    operation = change.operation
    sql = _sql(connection, migration, change, there)
    effects = [effect for text in sql for effect in _effects(text, there)]
    work = [_batched(effect, operation) for effect in effects if isinstance(effect, Work)]
    risks = [effect for effect in effects if isinstance(effect, Risk)]
    if not operation.reduces_to_sql:
        risks.append(
            Risk(
                "unknown-operation",
                "It is no SQL: what it locks, and for how long, is not known.",
                "Write it as SQL, for rows by zero_downtime.UpdateInBatches.",
            )
        )
    if migration.atomic and any(piece.is_concurrent or piece.batches for piece in work):
        risks.append(
            Risk(
                "concurrent-in-transaction",
                "It cannot run in a transaction, and the migration is one.",
                "Set `atomic = False` on the migration.",
            )
        )
    locks = dict.fromkeys(effect for effect in effects if isinstance(effect, Lock))
    return Step(
        migration=str(migration),
        operation=operation.describe(),
        sql=sql,
        work=[piece for piece in work if piece.rows or piece.table not in there.new_tables],
        seconds=sum(durations.seconds(piece, pace) for piece in work),
        is_atomic=migration.atomic or bool(operation.atomic),
        is_reversible=bool(operation.reversible),
        breaks=list(dict.fromkeys(effect.words for effect in effects if isinstance(effect, Break))),
        risks=list(dict.fromkeys(risks)),
        accepted=dict(getattr(migration, "accepts", {})),
        locks=[Held(lock, 0.0) for lock in _strongest(locks) if lock.table not in there.new_tables],
    )


def _effects(text: str, there: Inventory) -> Iterator[Effect]:
    try:
        for statement in statements.read(text):
            yield from commands.effects(statement.node, there)
            yield from commands.new_labels(statement.node, there)
    except statements.Unreadable as error:
        yield Risk(
            "unknown-statement", f"PostgreSQL's parser does not read it: {error}", "Mend the statement."
        )


def _batched(work: Work, operation: Operation) -> Work:
    if isinstance(operation, UpdateInBatches) and work.kind is Kind.CHANGE:
        return work._replace(batches=math.ceil(work.rows / operation.batch_rows))
    return work


def _strongest(locks: Iterable[Lock]) -> list[Lock]:
    """Keep the strongest lock of each table."""
    found: dict[str, Lock] = {}
    for lock in locks:
        other = found.get(lock.table, lock)
        found[lock.table] = max(lock, other, key=lambda one: MODES.index(one.mode))
    return list(found.values())


def _held(made: list[Step], migration: Migration, there: Inventory) -> list[Step]:
    """Say how long the locks of a migration are held, and warn of what is read meanwhile."""
    found = []
    before: list[Lock] = []
    for number, step in enumerate(made):
        till_end = sum(later.seconds for later in made[number:])
        held = [Held(lock, till_end if migration.atomic else step.seconds) for lock, _ in step.locks]
        risks = list(step.risks)
        if migration.atomic:
            risks += [
                Risk(
                    "scan-under-lock",
                    f'"{lock.table}" stays locked ({lock.mode}) while all of "{work.table}" is read.',
                    "Put what reads all rows into a migration of its own.",
                )
                for work in step.work
                for lock in before
                if work.table not in there.new_tables
            ]
            before += [lock for lock, _ in step.locks if lock.mode in FELT and lock not in before]
        found.append(replace(step, locks=held, risks=risks))
    return found
