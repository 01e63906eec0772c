"""How migrations are carried out."""

from typing import Any

from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.migration import Migration
from django.db.migrations.state import ProjectState

from council.zero_downtime.baseline import AdoptBaseline


class Executor(MigrationExecutor):
    """Django's executor, made safe for a database that is there already and for a death at any moment."""

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
        return super().migrate(targets, plan, state, fake, fake_initial)

    def apply_migration(
        self,
        state: ProjectState,
        migration: Migration,
        fake: bool = False,  # noqa: FBT001, FBT002
        fake_initial: bool = False,  # noqa: FBT001, FBT002
    ) -> ProjectState:
        """Run a migration and record it, in one transaction where it is atomic.

        Django records after COMMIT where there is deferred SQL; a crash between the two leaves tables that the
        next run trips over.
        """
        if fake or fake_initial:
            return super().apply_migration(state, migration, fake, fake_initial)
        self._report("apply_start", migration)
        with self.connection.schema_editor(atomic=migration.atomic) as schema_editor:
            state = migration.apply(state, schema_editor)
            schema_editor.flush_deferred_sql()  # type: ignore[attr-defined]
            self.record_migration(migration)
        self._report("apply_success", migration)
        return state

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
        with self.connection.schema_editor(atomic=migration.atomic) as schema_editor:
            state = migration.unapply(state, schema_editor)
            schema_editor.flush_deferred_sql()  # type: ignore[attr-defined]
            for app_label, name in migration.replaces:
                self.recorder.record_unapplied(app_label, name)
            self.recorder.record_unapplied(migration.app_label, migration.name)
        self._report("unapply_success", migration)
        return state

    def _report(self, event: str, migration: Migration) -> None:
        if self.progress_callback:
            self.progress_callback(event, migration, False)  # noqa: FBT003  # Django's signature
