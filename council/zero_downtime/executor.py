"""The migration executor: it applies each migration as a whole, and retries it if it did not get its locks."""

import copy
import functools
import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from django.core.management import CommandError
from django.db import Error, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.exceptions import IrreversibleError
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.migration import Migration
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState

from council.zero_downtime import failures, partial_progress, retries
from council.zero_downtime.baseline import AdoptBaseline
from council.zero_downtime.editor import SchemaEditor
from council.zero_downtime.events import Noted
from council.zero_downtime.forward_state import ForwardState
from council.zero_downtime.observer import Observer
from council.zero_downtime.planning import plan as planning
from council.zero_downtime.planning import refusal
from council.zero_downtime.retries import Patience


class Executor(MigrationExecutor):
    """Django's executor, made safe for a database that is in use, and for a crash at any time."""

    def __init__(
        self,
        connection: BaseDatabaseWrapper,
        progress_callback: Any = None,
        *,
        observer: Observer,
        patience: Patience,
        accepts_risks: bool = False,
    ) -> None:
        super().__init__(connection, progress_callback)
        self.accepts_risks = accepts_risks
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
        """Run a plan, after checking the database and predicting what the plan would do to it.

        Raises BaselineMismatch and Refused before anything is written, even Django's own table of migrations.
        """
        if plan is None:
            plan = self.migration_plan(targets)
        for migration, backwards in plan:
            for operation in migration.operations:
                if isinstance(operation, AdoptBaseline) and not backwards and not fake:
                    operation.refuse_another_schema(self.connection)
        self._refuse_if_half_reversed(plan)
        self.planned, self.finished = len(plan), 0
        predicted = [] if fake else planning.of_operations(self, plan)
        if not self.accepts_risks:
            refusal.refuse([step for _, step in predicted], limit_seconds=self.patience.lock_seconds)
        self.wanted = {
            operation: {held.lock for held in step.locks if held.lock.is_felt}
            for operation, step in predicted
        }
        with _rarely_collected():
            return super().migrate(targets, plan, state, fake, fake_initial)

    def _refuse_if_half_reversed(self, plan: Any) -> None:
        """Refuse a plan that ignores a half reversed migration, which is still recorded as applied."""
        going_back = {(migration.app_label, migration.name) for migration, backwards in plan if backwards}
        for app, name, note in partial_progress.being_reversed(self.recorder):
            if (app, name) not in going_back:
                raise CommandError(
                    f"The reversal of {app}.{name} was interrupted: {note.removeprefix(name).strip(' []')}. Nothing "
                    f"was changed now. Finish it first: manage.py migrate {app} and the name of the migration before "
                    "it."
                )

    def apply_migration(
        self,
        state: ProjectState,
        migration: Migration,
        fake: bool = False,  # noqa: FBT001, FBT002
        fake_initial: bool = False,  # noqa: FBT001, FBT002
    ) -> ProjectState:
        """Run a migration and record it; in one transaction if it is atomic.

        If there is deferred SQL, Django records after COMMIT. After a crash between the two, the next run would fail
        because the tables already exist.
        """
        if fake_initial and not fake:
            fake, state = self.detect_soft_applied(state, migration)
        if fake:
            return super().apply_migration(state, migration, fake=True)
        self._report("apply_start", migration)
        with self._explained(migration):
            if migration.atomic:
                state = self._with_locks(migration, lambda: self._apply_atomically(state, migration))
            else:
                state = self._apply_step_by_step(state, migration)
        self._report("apply_success", migration)
        return state

    def _editor(self, *, atomic: bool) -> SchemaEditor:
        return SchemaEditor(self.connection, atomic=atomic, tell=lambda text: self.observer.tell(Noted(text)))

    def _apply_atomically(self, state: ProjectState, migration: Migration) -> ProjectState:
        with self._editor(atomic=True) as schema_editor:
            after = migration.apply(ForwardState.of(state), schema_editor)
            schema_editor.flush_deferred_sql()
            self.record_migration(migration)
        return after

    def _apply_step_by_step(self, state: ProjectState, migration: Migration) -> ProjectState:
        """Run the operations of a migration that is not atomic. Retry each until it is done; skip those done before."""
        done = partial_progress.count(self.recorder, migration, backwards=False)
        if done == len(migration.operations):
            self._finish(migration)
        for number, operation in enumerate(migration.operations, start=1):
            step = _alone(migration, operation)
            if number <= done:
                state = step.mutate_state(state, preserve=False)
                continue
            if former := getattr(operation, "instead_of", ""):
                self.observer.tell(Noted(f"{operation.describe()}, instead of: {former}"))
            is_last = number == len(migration.operations)
            note = functools.partial(partial_progress.note, self.recorder, migration, number, backwards=False)
            ended = functools.partial(self._finish, migration) if is_last else note
            state = self._with_locks(step, functools.partial(self._apply_step, state, step, ended))
        return state

    def _apply_step(self, state: ProjectState, step: Migration, ended: Callable[[], object]) -> ProjectState:
        """Run one operation and note that it is done; in one transaction if the operation is atomic."""
        is_whole = bool(step.operations[0].atomic)
        with transaction.atomic(using=self.connection.alias) if is_whole else nullcontext():
            with self._editor(atomic=False) as schema_editor:
                after = step.apply(ForwardState.of(state), schema_editor)
            ended()
        return after

    def _finish(self, migration: Migration) -> None:
        with transaction.atomic(using=self.connection.alias):
            partial_progress.forget(self.recorder, migration)
            self.record_migration(migration)

    def unapply_migration(
        self,
        state: ProjectState,
        migration: Migration,
        fake: bool = False,  # noqa: FBT001, FBT002
    ) -> ProjectState:
        """Reverse a migration and remove its record; in one transaction if it is atomic."""
        if fake:
            return super().unapply_migration(state, migration, fake)
        self._report("unapply_start", migration)
        with self._explained(migration, backwards=True):
            if migration.atomic:
                act = functools.partial(self._unapply_atomically, state, migration)
                state = self._with_locks(migration, act)
            else:
                self._unapply_step_by_step(state, migration)
        self._report("unapply_success", migration)
        return state

    def _unapply_atomically(self, state: ProjectState, migration: Migration) -> ProjectState:
        with self._editor(atomic=True) as schema_editor:
            before = migration.unapply(state.clone(), schema_editor)
            schema_editor.flush_deferred_sql()
            self._record_unapplied(migration)
        return before

    def _unapply_step_by_step(self, state: ProjectState, migration: Migration) -> None:
        """Reverse the operations of a migration that is not atomic, last one first. Retry each until it is done."""
        steps = []
        for operation in migration.operations:
            if not operation.reversible:
                raise IrreversibleError(f"Operation {operation} in {migration} is not reversible")
            step = _alone(migration, operation)
            steps.append((step, state))
            state = step.mutate_state(state)
        undone = partial_progress.count(self.recorder, migration, backwards=True)
        for number, (step, before) in enumerate(reversed(steps), start=1):
            if number > undone:
                note = functools.partial(
                    partial_progress.note, self.recorder, migration, number, backwards=True
                )
                self._with_locks(step, functools.partial(self._unapply_step, before, step, note))
        with transaction.atomic(using=self.connection.alias):
            partial_progress.forget(self.recorder, migration)
            self._record_unapplied(migration)

    def _unapply_step(
        self, before: ProjectState, step: Migration, ended: Callable[[], object]
    ) -> ProjectState:
        is_whole = bool(step.operations[0].atomic)
        with transaction.atomic(using=self.connection.alias) if is_whole else nullcontext():
            with self._editor(atomic=False) as schema_editor:
                after = step.unapply(before.clone(), schema_editor)
            ended()
        return after

    def record_migration(self, migration: Migration) -> None:
        """Record a migration and those it replaces. Django records a squashed migration only at the end of a run."""
        super().record_migration(migration)
        if migration.replaces:
            self.recorder.record_applied(migration.app_label, migration.name)

    def _record_unapplied(self, migration: Migration) -> None:
        for app_label, name in migration.replaces:
            self.recorder.record_unapplied(app_label, name)
        self.recorder.record_unapplied(migration.app_label, migration.name)

    def _with_locks(self, migration: Migration, act: Callable[[], ProjectState]) -> ProjectState:
        """Apply or reverse a migration, and retry until it gets its locks. Raises PatienceExhausted."""
        wanted = (self.wanted.get(operation, ()) for operation in migration.operations)
        return retries.retry(
            act,
            connection=self.connection,
            observer=self.observer,
            patience=self.patience,
            wanted=set().union(*wanted),
            what=str(migration),
            kept=f"{failures.kept(migration)} {self._progress()}",
        )

    @contextmanager
    def _explained(self, migration: Migration, *, backwards: bool = False) -> Iterator[None]:
        try:
            yield
        except KeyboardInterrupt as error:
            is_known = self._is_as_before(migration, backwards=backwards)
            stays = f"{migration} was interrupted. {failures.kept(migration, is_known=is_known)} {self._progress()}"
            raise failures.Interrupted(error, what_stays=stays) from error
        except Error as error:
            if isinstance(error, transaction.TransactionManagementError):
                raise
            progress = self._progress()
            raise failures.MigrationFailed(
                migration, error, backwards=backwards, progress=progress
            ) from error
        self.finished += 1

    def _is_as_before(self, migration: Migration, *, backwards: bool) -> bool:
        """Return whether an interrupted migration was certainly not committed; False if the session is lost."""
        key = (migration.app_label, migration.name)
        return self.connection.is_usable() and (key in self.recorder.applied_migrations()) is backwards

    def _progress(self) -> str:
        left = self.planned - self.finished
        return f"{self.finished} of {self.planned} migrations are done, {left} left."

    def _report(self, event: str, migration: Migration) -> None:
        if self.progress_callback:
            self.progress_callback(event, migration, False)  # noqa: FBT003  # Django's signature


@contextmanager
def _rarely_collected() -> Iterator[None]:
    """Run Python's garbage collector less often. By default it takes a tenth of a migrate's time, to free 10 MB."""
    before = gc.get_threshold()
    gc.set_threshold(100_000, 50, 100)
    try:
        yield
    finally:
        gc.set_threshold(*before)


def _alone(migration: Migration, operation: Operation) -> Migration:
    """Copy a migration with only one of its operations."""
    step = copy.copy(migration)
    step.operations = [operation]  # type: ignore[misc]  # as Migration.__init__ does
    return step
