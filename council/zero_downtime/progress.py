"""How far a migration has got that is not atomic: a row beside Django's own record of it, until it is done.

Looking first tells of tables and indexes what is done; of rows and of other people's SQL nothing does. So each
operation that is through is noted, in its own transaction where it has one, and the next run begins behind it. The row
is one of django_migrations, whose unknown names Django leaves alone: a table of ours would be part of the schema.
"""

import re

from django.db.migrations.migration import Migration
from django.db.migrations.recorder import MigrationRecorder

ROW = re.compile(r"(?P<name>.+) \[(?P<count>\d+) of (?P<all>\d+) operations (?P<what>done|undone)\]")
NAME_LENGTH = 255 - len(" [9999 of 9999 operations undone]")


def is_row(name: str) -> bool:
    """Tell a note of this module from the name of a migration."""
    return ROW.fullmatch(name) is not None


def being_reversed(recorder: MigrationRecorder) -> list[tuple[str, str, str]]:
    """List app, name and note of migrations whose reversal was cut short."""
    found = []
    for app, note in recorder.applied_migrations():
        match = ROW.fullmatch(note)
        if match and match["what"] == "undone":
            found.append((app, match["name"], note))
    return found


def count(recorder: MigrationRecorder, migration: Migration, *, backwards: bool) -> int:
    """Say how many operations of a migration are done, or undone; 0 where it has another number of them now."""
    for app, note in recorder.applied_migrations():
        match = ROW.fullmatch(note)
        if match and (app, match["name"]) == (migration.app_label, migration.name[:NAME_LENGTH]):
            is_same = int(match["all"]) == len(migration.operations)
            return int(match["count"]) if is_same and (match["what"] == "undone") is backwards else 0
    return 0


def note(recorder: MigrationRecorder, migration: Migration, done: int, *, backwards: bool) -> None:
    """Note that so many operations are done, or undone; from now on a run begins behind them."""
    forget(recorder, migration)
    what = "undone" if backwards else "done"
    recorder.record_applied(
        migration.app_label,
        f"{migration.name[:NAME_LENGTH]} [{done} of {len(migration.operations)} operations {what}]",
    )


def forget(recorder: MigrationRecorder, migration: Migration) -> None:
    """Remove the note of a migration that is done, or undone."""
    rows = recorder.migration_qs.filter(
        app=migration.app_label, name__startswith=migration.name[:NAME_LENGTH]
    )
    for row in rows:
        match = ROW.fullmatch(row.name)
        if match and match["name"] == migration.name[:NAME_LENGTH]:
            row.delete()
