"""The steps of a plan: what each operation of a migration will do to the database."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

from django.conf import settings
from django.db import NotSupportedError, OperationalError, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.migration import Migration
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState

from council.postgres import sql_parser
from council.zero_downtime import failures
from council.zero_downtime.adoption import Adoption
from council.zero_downtime.baseline import AdoptBaseline
from council.zero_downtime.batch_operations import HELD_SECONDS, UpdateInBatches
from council.zero_downtime.lock_modes import MODES, Lock
from council.zero_downtime.planning import deadlocks, estimates, presence, rules, sql_commands
from council.zero_downtime.planning.earlier_code import EarlierCode
from council.zero_downtime.planning.effects import Break, Effect, Kind, Work
from council.zero_downtime.planning.inventory import Inventory
from council.zero_downtime.planning.rules import Risk

LOCK_NOT_AVAILABLE = "55P03"


class HeldLock(NamedTuple):
    """A lock, and how long it is held: until its transaction ends. `is_in_use`: False if this run created the table."""

    lock: Lock
    seconds: float
    is_in_use: bool = True

    @property
    def is_felt(self) -> bool:
        """Whether other sessions' reads or writes wait for it."""
        return self.is_in_use and self.lock.is_felt


@dataclass(frozen=True)
class Step:
    """What one operation will do. Seconds are estimates; below estimates.INSTANT_SECONDS they mean an instant."""

    migration: str
    operation: str
    found: list[str]
    sql: list[str]
    work: list[Work]
    seconds: float
    is_atomic: bool
    is_reversible: bool
    breaks: list[str]
    risks: list[Risk]
    accepted: Mapping[str, str]
    locks: list[HeldLock]
    # The worst case if its work is unknown: it changes each row of its app's tables, one by one.
    blind_seconds: float = 0.0
    # The operation of the original migration that this step replaces, if a safe way is taken.
    instead_of: str = ""

    @property
    def is_blind(self) -> bool:
        """Whether its locks and duration are unknown, and nobody has accepted that risk."""
        return any(risk.rule in rules.BLIND for risk in self.warnings)

    @property
    def warnings(self) -> list[Risk]:
        """The risks that are not accepted, neither by the migration nor in settings."""
        return [risk for risk in self.risks if risk.rule not in self.accepted]


class Change(NamedTuple):
    """An operation, with the model states before and after it."""

    operation: Operation
    before: ProjectState
    after: ProjectState
    backwards: bool


class Prediction:
    """The prediction for one migration, made operation by operation."""

    def __init__(
        self,
        connection: BaseDatabaseWrapper,
        migration: Migration,
        there: Inventory,
        earlier: EarlierCode,
        pace: float = 1.0,
    ) -> None:
        self.connection = connection
        self.migration = migration
        self.there = there
        self.earlier = earlier
        self.pace = pace
        self.accepted = {
            **settings.ACCEPTED_MIGRATION_RISKS.get(str(migration), {}),
            **getattr(migration, "accepts", {}),
        }
        self.met: list[Risk] = []  # found while producing an operation's SQL
        self.found: list[str] = []  # what exists already, or is replaced
        self.locked: list[Lock] = []  # by earlier statements, until the transaction ends
        self.together = deadlocks.LocksTogether()  # of the current transaction

    def step(self, change: Change) -> Step:
        operation = change.operation
        self.met.clear()
        self.found.clear()
        texts = self.sql(change)
        before = list(self.locked)
        effects: list[Effect] = list(self.of_operation(change))
        sql, locks = [], []
        for number, text in enumerate(texts):
            if not self.migration.atomic and (number == 0 or not operation.atomic):
                self.together = deadlocks.LocksTogether()
            if not self.is_there(text):
                sql.append(text)
                own = list(self.of_sql(text))
                effects += own
                locks += self.held(own, operation)
        work = [
            _batched(effect, operation)._replace(is_counted=self.there[effect.table].is_counted)
            for effect in effects
            if isinstance(effect, Work)
        ]
        if self.migration.atomic and any(piece.is_concurrent or piece.batches for piece in work):
            effects.append(rules.IN_TRANSACTION)
        seconds = sum(estimates.seconds(piece, self.pace) for piece in work)
        if not any(isinstance(effect, Risk) and effect.rule == "scan-under-lock" for effect in effects):
            effects += self.rows_locked(work)
        if self.migration.atomic or operation.atomic:
            locks = [held._replace(seconds=seconds) for held in locks]
        return Step(
            migration=str(self.migration),
            operation=f"Undo: {operation.describe()}" if change.backwards else operation.describe(),
            found=list(self.found),
            sql=sql,
            work=[piece for piece in work if piece.table not in self.there.new_tables],
            seconds=seconds,
            is_atomic=self.migration.atomic or bool(operation.atomic),
            is_reversible=bool(operation.reversible),
            breaks=list(dict.fromkeys(effect.text for effect in effects if isinstance(effect, Break))),
            risks=list(
                dict.fromkeys(_behind(effect, before) for effect in effects if isinstance(effect, Risk))
            ),
            accepted=self.accepted,
            # Each batch is a separate transaction.
            locks=[
                held._replace(seconds=held.seconds / max([1, *(piece.batches for piece in work)]))
                for held in _strongest(locks)
                if held.lock.table not in self.there.new_tables
            ],
            blind_seconds=self.blind_seconds(change, effects),
            instead_of=getattr(operation, "instead_of", ""),
        )

    def held(self, effects: list[Effect], operation: Operation) -> list[HeldLock]:
        """Return the locks of a statement, held for the duration of that statement."""
        work = [_batched(effect, operation) for effect in effects if isinstance(effect, Work)]
        seconds = sum(estimates.seconds(piece, self.pace) for piece in work)
        return [
            HeldLock(effect, seconds, is_in_use=self.there[effect.table].is_in_use)
            for effect in effects
            if isinstance(effect, Lock)
        ]

    def rows_locked(self, work: list[Work]) -> Iterator[Risk]:
        """Warn about rows that one statement changes, and so locks, for longer than an instant."""
        for piece in work:
            took = estimates.seconds(piece, self.pace)
            is_in_use = self.there[piece.table].is_in_use
            if (
                piece.kind is Kind.CHANGE
                and is_in_use
                and not piece.batches
                and took > estimates.INSTANT_SECONDS
            ):
                yield rules.ROWS_LOCKED.of(rows=piece.entries, table=piece.table)

    def blind_seconds(self, change: Change, effects: list[Effect]) -> float:
        """Estimate the worst case of an operation whose work is unknown."""
        if not any(isinstance(effect, Risk) and effect.rule in rules.BLIND for effect in effects):
            return 0.0
        names = {lock.table for lock in self.locked} | {
            model.options.get("db_table") or f"{app_label}_{name}"
            for (app_label, name), model in change.before.models.items()
            if app_label == self.migration.app_label
        }
        tables = [self.there.tables[name] for name in names if name in self.there.tables]
        rows = sum(table.rows for table in tables if table.is_in_use)
        return rows * estimates.ROW_BY_ROW_SECONDS * self.pace

    def sql(self, change: Change) -> list[str]:
        """Return an operation's SQL, as sqlmigrate prints it; empty if it cannot be produced."""
        operation = change.operation
        if not operation.reduces_to_sql or (change.backwards and not operation.reversible):
            return []
        if adopted := self.adopted(change):
            self.found += map(str, adopted.replacements)
            return [f"{step};" for step in adopted.statements]
        states = (change.after, change.before) if change.backwards else (change.before, change.after)
        run = operation.database_backwards if change.backwards else operation.database_forwards
        editor: Any = self.connection.schema_editor(collect_sql=True, atomic=False)
        try:
            with self.as_when_it_runs(operation), editor:
                looked_up: Any = self.connection.introspection
                looked_up.written = editor.collected_sql
                run(self.migration.app_label, editor, *states)
                editor.flush_deferred_sql()
        except NotSupportedError as error:
            self.met.append(rules.REFUSED.of(error=error))
            return []
        except Exception as error:
            # Other people's code runs here, in a database where earlier operations have not run yet.
            if not self.connection.is_usable():
                raise
            words = " ".join(str(error).split())
            self.met.append(rules.NOT_PLANNED.of(error=f"{type(error).__name__}: {words}"))
            return []
        return [f"{str(sql).strip().removesuffix(';').rstrip()};" for sql in editor.collected_sql]

    @contextmanager
    def as_when_it_runs(self, operation: Operation) -> Iterator[None]:
        """Let the connection say that it is in a transaction if it will be when the operation runs. Roll all back."""
        connection, is_begun = self.connection, False
        in_transaction = self.migration.atomic or bool(operation.atomic)
        if getattr(connection, "is_offline", False):
            yield
            return
        with ExitStack() as savepoint:

            def begin(execute: Callable[..., Any], *statement: Any) -> Any:
                nonlocal is_begun
                if not is_begun:
                    is_begun = connection.in_atomic_block = True
                    savepoint.enter_context(transaction.atomic(using=connection.alias))
                    connection.in_atomic_block = in_transaction
                return execute(*statement)

            connection.in_atomic_block = in_transaction
            try:
                with connection.execute_wrapper(begin):
                    yield
            finally:
                connection.in_atomic_block = True
            if is_begun:
                transaction.set_rollback(True, using=connection.alias)

    def adopted(self, change: Change) -> Adoption | None:
        """Return what a baseline adopts if its tables exist. Raises BaselineMismatch if they differ from it.

        Since version 17, PostgreSQL takes a reader's lock to print a definition. If that lock is not available, the
        plan assumes that the tables match, and migrate compares them later.
        """
        operation = change.operation
        if not isinstance(operation, AdoptBaseline) or change.backwards:
            return None
        if not operation.tables & self.there.tables.keys():
            return None
        try:
            with transaction.atomic(using=self.connection.alias):
                return operation.look(self.connection, with_rows=False)
        except OperationalError as error:
            if failures.sqlstate(error) != LOCK_NOT_AVAILABLE:
                raise
            self.met.append(rules.NOT_COMPARED)
            return Adoption(frozenset())

    def is_there(self, text: str) -> bool:
        """Return whether what a statement creates exists by name. migrate compares the definitions later."""
        try:
            things = presence.of_statement(text, self.there)
        except sql_parser.Unreadable:
            return False
        self.found += [f"{thing} already exists" for thing in things or ()]
        return bool(things)

    def of_operation(self, change: Change) -> Iterator[Risk]:
        if change.backwards and not change.operation.reversible:
            yield rules.IRREVERSIBLE
        elif not change.operation.reduces_to_sql:
            yield rules.UNKNOWN_OPERATION
        yield from self.met

    def of_sql(self, text: str) -> Iterator[Effect]:
        try:
            found = sql_parser.read(text)
        except sql_parser.Unreadable as error:
            yield rules.UNREADABLE.of(error=error)
            return
        for statement in found:
            effects: list[Effect] = []
            contended = []
            try:
                for effect in sql_commands.effects(statement.node, self.there):
                    effects.append(effect)
                    if isinstance(effect, Lock) and effect.is_felt and self.is_contended(effect.table):
                        contended.append(effect)  # before a dropped table leaves the inventory
                effects += sql_commands.new_labels(statement.node, self.there)
            except Exception as error:  # a form of statement that sql_commands.py does not know
                why = f"Planning it failed with {type(error).__name__} ({error})"
                yield rules.UNKNOWN_STATEMENT.of(why=why)
                continue
            yield from effects
            yield from self.broken(effects)
            own = next((effect.table for effect in effects if isinstance(effect, Lock)), "")
            yield from self.together.add(statement.node, contended, own=own)
            if self.migration.atomic:
                yield from self.read_under_locks(effects)

    def broken(self, effects: list[Effect]) -> Iterator[Risk]:
        """Warn about what stops working in the code of an earlier release, if that code has the table or column."""
        for effect in effects:
            if isinstance(effect, Break) and effect.risk and self.earlier.knows(effect.table, effect.column):
                yield effect.risk

    def is_contended(self, table: str) -> bool:
        """Return whether a table is in use and large: changing all of its rows takes longer than an instant."""
        found = self.there[table]
        work = Work(Kind.CHANGE, table, found.rows, found.bytes, found.rows, indexes=len(found.indexes))
        is_small = estimates.seconds(work, self.pace) < estimates.INSTANT_SECONDS
        return found.is_in_use and not (self.there.has_sizes and is_small)

    def read_under_locks(self, effects: list[Effect]) -> Iterator[Risk]:
        """Warn if a statement reads a table while earlier locks block others. Then remember its own locks."""
        for work in effects:
            if isinstance(work, Work) and work.table not in self.there.new_tables:
                for lock in self.locked:
                    yield rules.READ_BEHIND_LOCK.of(locked=lock.table, mode=lock.mode, table=work.table)
        self.locked += [
            lock
            for lock in effects
            if isinstance(lock, Lock) and lock.is_felt and lock.table not in self.there.new_tables
        ]


def _behind(risk: Risk, held: list[Lock]) -> Risk:
    """Add to an unknown operation's risk which locks are held while it runs."""
    if risk.rule not in rules.BLIND or not held:
        return risk
    strongest = [one.lock for one in _strongest(HeldLock(lock, 0.0) for lock in held)]
    names = " and ".join(f'"{lock.table}" ({lock.mode})' for lock in strongest)
    stays = "stays" if len(strongest) == 1 else "stay"
    who = max(held, key=lambda lock: MODES.index(lock.mode)).blocks
    return risk._replace(
        fault=f"{risk.fault} Until it ends, {names} {stays} locked: {who} wait.",
        cure=f"Put it into its own migration. {risk.cure}",
    )


def _batched(work: Work, operation: Operation) -> Work:
    if isinstance(operation, UpdateInBatches) and work.kind is Kind.CHANGE:
        rows = min(operation.batch_rows, round(HELD_SECONDS / estimates.BATCH_CHANGE_SECONDS))
        return work._replace(batches=max(1, math.ceil(work.rows / rows)))
    return work


def _strongest(locks: Iterable[HeldLock]) -> list[HeldLock]:
    """Keep the strongest lock of each table; of equal ones, the one held longest."""
    found: dict[str, HeldLock] = {}
    for held in locks:
        other = found.get(held.lock.table, held)
        found[held.lock.table] = max(held, other, key=lambda one: (MODES.index(one.lock.mode), one.seconds))
    return list(found.values())
