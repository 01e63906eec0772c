"""A migration and its record are one transaction. A kill between the two leaves neither."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import migrations
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.migration import Migration
from django.db.migrations.recorder import MigrationRecorder
from django.db.migrations.state import ProjectState

from council.zero_downtime import partial_progress
from council.zero_downtime.executor import Executor
from council.zero_downtime.observer import Observer
from council.zero_downtime.retries import Patience

MADE = "SELECT to_regclass('made') IS NOT NULL"
TABLE = migrations.RunSQL("CREATE TABLE made ()", "DROP TABLE made")


class Died(BaseException):
    """Stands for the death of the process."""


@pytest.fixture
def executor(scratch: BaseDatabaseWrapper) -> Iterator[Executor]:
    with Observer(scratch, lambda event: None) as observer:
        executor = Executor(scratch, observer=observer, patience=Patience())
        executor.planned, executor.finished, executor.wanted = 1, 0, {}
        executor.recorder.ensure_schema()
        yield executor


def migration(*, atomic: bool) -> Migration:
    """A migration that creates a table, as one transaction or with one operation that is a transaction."""

    def make(apps: Any, schema_editor: Any) -> None:
        schema_editor.execute("CREATE TABLE made ()")

    def drop(apps: Any, schema_editor: Any) -> None:
        schema_editor.execute("DROP TABLE made")

    steps = [TABLE] if atomic else [migrations.RunPython(make, drop, atomic=True)]
    made: Migration = type("Migration", (Migration,), {"atomic": atomic, "operations": steps})("0001", "app")
    return made


def is_made(executor: Executor) -> bool:
    with executor.connection.cursor() as cursor:
        cursor.execute(MADE)
        return bool(cursor.fetchone()[0])


def die(*_: Any, **__: Any) -> None:
    raise Died


@pytest.mark.parametrize("atomic", [True, False], ids=["atomic", "in steps"])
def test_a_kill_before_the_record_leaves_nothing_of_a_migration(
    executor: Executor, atomic: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MigrationRecorder, "record_applied", die)
    with pytest.raises(Died):
        executor.apply_migration(ProjectState(), migration(atomic=atomic))
    assert not is_made(executor)


@pytest.mark.parametrize("atomic", [True, False], ids=["atomic", "in steps"])
def test_a_kill_before_the_record_reverses_nothing_of_a_migration(
    executor: Executor, atomic: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    executor.apply_migration(ProjectState(), migration(atomic=atomic))
    assert is_made(executor)
    monkeypatch.setattr(MigrationRecorder, "record_applied", die)  # of an operation, too
    monkeypatch.setattr(MigrationRecorder, "record_unapplied", die)
    with pytest.raises(Died):
        executor.unapply_migration(ProjectState(), migration(atomic=atomic))
    assert is_made(executor)


@pytest.mark.parametrize("backwards", [False, True], ids=["applied", "reversed"])
def test_the_note_of_finished_operations_and_the_record_change_together(
    executor: Executor, backwards: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without both records, the operations would run again."""
    whole = migration(atomic=False)
    if backwards:
        executor.apply_migration(ProjectState(), whole)
    partial_progress.note(executor.recorder, whole, 1, backwards=backwards)
    monkeypatch.setattr(MigrationRecorder, "record_unapplied" if backwards else "record_applied", die)
    with pytest.raises(Died):
        if backwards:
            executor.unapply_migration(ProjectState(), whole)
        else:
            executor.apply_migration(ProjectState(), whole)
    assert partial_progress.count(executor.recorder, whole, backwards=backwards) == 1
