"""The progress of a migration that is not atomic: a row in django_migrations, until the migration is done.

For tables and indexes, the catalogue shows what is done; for changed rows and for other people's SQL, nothing does. So
each finished operation is noted, in the operation's own transaction if it has one, and the next run continues after
it. Django ignores unknown names in django_migrations. A separate table would become part of the schema.
"""

import re
from collections.abc import Iterable

from django.db import transaction
from django.db.migrations.migration import Migration
from django.db.migrations.recorder import MigrationRecorder

ROW = re.compile(r"(?P<name>.+) \[(?P<count>\d+) of (?P<all>\d+) operations (?P<what>done|undone)\]")
NAME_LENGTH = 255 - len(" [9999 of 9999 operations undone]")


def is_row(name: str) -> bool:
    """Return whether a name is a note of this module, not a migration."""
    return ROW.fullmatch(name) is not None


def being_reversed(recorder: MigrationRecorder) -> list[tuple[str, str, str]]:
    """List app, name and note of migrations whose reversal was interrupted."""
    found = []
    for app, note in recorder.applied_migrations():
        match = ROW.fullmatch(note)
        if match and match["what"] == "undone":
            found.append((app, match["name"], note))
    return found


def begun(applied: Iterable[tuple[str, str]], migration: Migration) -> int | None:
    """Return how many operations a migration had when it was interrupted; None if it was not interrupted."""
    for app, note in applied:
        match = ROW.fullmatch(note)
        if match and (app, match["name"]) == (migration.app_label, migration.name[:NAME_LENGTH]):
            return int(match["all"]) if match["what"] == "done" else None
    return None


def count(recorder: MigrationRecorder, migration: Migration, *, backwards: bool) -> int:
    """Return how many operations of a migration are done, or undone; 0 if no note fits the migration."""
    for app, note in recorder.applied_migrations():
        match = ROW.fullmatch(note)
        if match and (app, match["name"]) == (migration.app_label, migration.name[:NAME_LENGTH]):
            is_same = int(match["all"]) == len(migration.operations)
            return int(match["count"]) if is_same and (match["what"] == "undone") is backwards else 0
    return 0


def note(recorder: MigrationRecorder, migration: Migration, done: int, *, backwards: bool) -> None:
    """Note how many operations are done, or undone, in place of the note before. The next run skips them."""
    what = "undone" if backwards else "done"
    text = f"{migration.name[:NAME_LENGTH]} [{done} of {len(migration.operations)} operations {what}]"
    with transaction.atomic(using=recorder.connection.alias):
        forget(recorder, migration)
        recorder.record_applied(migration.app_label, text)


def forget(recorder: MigrationRecorder, migration: Migration) -> None:
    """Remove the note of a migration that is done, or undone."""
    rows = recorder.migration_qs.filter(
        app=migration.app_label, name__startswith=migration.name[:NAME_LENGTH]
    )
    for row in rows:
        match = ROW.fullmatch(row.name)
        if match and match["name"] == migration.name[:NAME_LENGTH]:
            row.delete()
