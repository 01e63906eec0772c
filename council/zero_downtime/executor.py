"""How migrations are carried out: each one whole, in its turn, and again if it did not get its locks."""

import copy
import functools
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from django.db import Error, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.migration import Migration
from django.db.migrations.state import ProjectState

from council.zero_downtime import failures, locks, plan
from council.zero_downtime.baseline import AdoptBaseline
from council.zero_downtime.observer import Observer

# lock_not_available and deadlock_detected. Source: PostgreSQL manual, appendix A.
RETRIED = {"55P03", "40P01"}
BACKOFF_SECONDS = 0.1
BACKOFF_MOST_SECONDS = 5.0


@dataclass(frozen=True)
class Patience:
    """How long a statement waits for a lock, in the queue where it holds others up, and a migration outside."""

    lock_seconds: float = 0.1
    seconds: float = 600.0


class Executor(MigrationExecutor):
    """Django's executor, made safe for a database that is in use and for a death at any moment."""

    def __init__(
        self,
        connection: BaseDatabaseWrapper,
        progress_callback: Any = None,
        *,
        observer: Observer,
        patience: Patience,
    ) -> None:
        super().__init__(connection, progress_callback)
        self.observer = observer
        self.patience = patience

    def migrate(
        self,
        targets: Any,
        plan: Any = None,
        state: ProjectState | None = None,
        fake: bool = False,  # noqa: FBT001, FBT002
        fake_initial: bool = False,  # noqa: FBT001, FBT002
    ) -> ProjectState:
        """Run a plan, after a look at the database that it begins with.

        Raises BaselineMismatch before anything is written, Django's own table of migrations included.
        """
        if plan is None:
            plan = self.migration_plan(targets)
        for migration, backwards in plan:
            for operation in migration.operations:
                if isinstance(operation, AdoptBaseline) and not backwards and not fake:
                    operation.is_adoption(self.connection)
        self.planned, self.finished = len(plan), 0
        return super().migrate(targets, plan, state, fake, fake_initial)

    def apply_migration(
        self,
        state: ProjectState,
        migration: Migration,
        fake: bool = False,  # noqa: FBT001, FBT002
        fake_initial: bool = False,  # noqa: FBT001, FBT002
    ) -> ProjectState:
        """Run a migration and record it, in one transaction where it is atomic.

        Django records after COMMIT where there is deferred SQL; a crash between the two leaves tables that the next
        run trips over.
        """
        if fake or fake_initial:
            return super().apply_migration(state, migration, fake, fake_initial)
        self._report("apply_start", migration)
        with self._explained(migration):
            if migration.atomic:
                state = self._with_locks(migration, state, lambda: self._apply_atomically(state, migration))
            else:
                state = self._apply_step_by_step(state, migration)
        self._report("apply_success", migration)
        return state

    def _apply_atomically(self, state: ProjectState, migration: Migration) -> ProjectState:
        with self.connection.schema_editor(atomic=True) as schema_editor:
            after = migration.apply(state.clone(), schema_editor)
            schema_editor.flush_deferred_sql()  # type: ignore[attr-defined]
            self.record_migration(migration)
        return after

    def _apply_step_by_step(self, state: ProjectState, migration: Migration) -> ProjectState:
        """Run the operations of a migration that is not atomic, each until it is through.

        Begun anew as a whole, it would trip over what its first operations have done.
        """
        for operation in migration.operations:
            step = copy.copy(migration)
            step.operations = [operation]  # type: ignore[misc]  # as Migration.__init__ does
            state = self._with_locks(step, state, functools.partial(self._apply_step, state, step))
        self.record_migration(migration)
        return state

    def _apply_step(self, state: ProjectState, step: Migration) -> ProjectState:
        with self.connection.schema_editor(atomic=False) as schema_editor:
            return step.apply(state.clone(), schema_editor)

    def unapply_migration(
        self,
        state: ProjectState,
        migration: Migration,
        fake: bool = False,  # noqa: FBT001, FBT002
    ) -> ProjectState:
        """Reverse a migration and strike it from the record, in one transaction where it is atomic."""
        if fake:
            return super().unapply_migration(state, migration, fake)
        self._report("unapply_start", migration)
        with self._explained(migration, backwards=True):
            state = self._with_locks(
                migration, state, lambda: self._unapply(state, migration), backwards=True
            )
        self._report("unapply_success", migration)
        return state

    def _unapply(self, state: ProjectState, migration: Migration) -> ProjectState:
        with self.connection.schema_editor(atomic=migration.atomic) as schema_editor:
            after = migration.unapply(state.clone(), schema_editor)
            schema_editor.flush_deferred_sql()  # type: ignore[attr-defined]
            for app_label, name in migration.replaces:
                self.recorder.record_unapplied(app_label, name)
            self.recorder.record_unapplied(migration.app_label, migration.name)
        return after

    def _with_locks(
        self,
        migration: Migration,
        before: ProjectState,
        attempt: Callable[[], ProjectState],
        *,
        backwards: bool = False,
    ) -> ProjectState:
        """Attempt a migration until it gets its locks.

        Whoever waits for a lock holds up everybody behind it. So it waits in the queue for an instant, and for
        what is in the way outside of it: before the first attempt where the locks are known, and after one that
        timed out. A whole migration is attempted again, since a single statement would keep the locks before it
        while it waits.
        Raises PatienceExhausted.
        """
        if self.connection.in_atomic_block:  # a test's; its locks are its own matter
            return attempt()
        deadline = time.monotonic() + self.patience.seconds
        backoff = BACKOFF_SECONDS
        in_the_way = self._long_transactions(migration, before, backwards=backwards)
        while True:
            in_the_way = self.observer.wait_until_gone(in_the_way, deadline=deadline)
            if in_the_way:
                break
            self.observer.forget()
            try:
                # Set anew each time: what is SET in a transaction is undone when it rolls back.
                with locks.short_waits(self.connection, self.patience.lock_seconds):
                    return attempt()
            except Error as error:
                if failures.sqlstate(error) not in RETRIED:
                    raise
            in_the_way = self.observer.blocked_by
            if time.monotonic() > deadline:
                break
            if not in_the_way:
                time.sleep(random.uniform(backoff / 2, backoff))  # noqa: S311
                backoff = min(2 * backoff, BACKOFF_MOST_SECONDS)
        raise failures.PatienceExhausted(
            migration,
            self.observer.describe(in_the_way),
            seconds=self.patience.seconds,
            progress=self._progress(),
        )

    def _long_transactions(
        self, migration: Migration, before: ProjectState, *, backwards: bool
    ) -> frozenset[str]:
        """List the transactions in the way that are still there after the time that a statement would wait."""
        wanted = [
            (self.connection.ops.quote_name(lock.table), lock.mode)
            for lock in plan.locks(migration, before, backwards=backwards)
        ]
        first = self.observer.holding(wanted)
        if first:
            time.sleep(self.patience.lock_seconds)
        return first & self.observer.holding(wanted) if first else first

    @contextmanager
    def _explained(self, migration: Migration, *, backwards: bool = False) -> Iterator[None]:
        try:
            yield
        except Error as error:
            if isinstance(error, transaction.TransactionManagementError):
                raise
            progress = self._progress()
            raise failures.MigrationFailed(
                migration, error, backwards=backwards, progress=progress
            ) from error
        self.finished += 1

    def _progress(self) -> str:
        left = self.planned - self.finished
        return f"{self.finished} of {self.planned} migrations are done, {left} left."

    def _report(self, event: str, migration: Migration) -> None:
        if self.progress_callback:
            self.progress_callback(event, migration, False)  # noqa: FBT003  # Django's signature
