"""A migration that is not atomic continues where it was interrupted, and repeats nothing."""

import signal

import pytest

from tests.council.zero_downtime.test_deploy import open_transaction
from tests.databases import Database
from tests.projects import NEWEST, Project, number

NAME = f"{number('resources', 1)}_in_steps"
# The schema does not show which operations have run: each one adds a row whenever it runs.
MIGRATION = f'''
import os
from django.db import migrations

ADD = """
INSERT INTO "FeatureFlag" (id, key, "updatedAt")
SELECT '{{0}}' || count(*), '{{0}}' || count(*), now() FROM "FeatureFlag"
"""
TAKE = ADD.replace("{{0}}", "un{{0}}")

def add(letter):
    return migrations.RunSQL(ADD.format(letter), TAKE.format(letter))

def act(apps, schema_editor):
    with schema_editor.connection.cursor() as cursor:
        cursor.execute(ADD.format("c"))
    if os.environ.get("DIE") == "c":
        os.kill(os.getpid(), 9)

def unact(apps, schema_editor):
    with schema_editor.connection.cursor() as cursor:
        cursor.execute(TAKE.format("c"))
        if os.environ.get("FAIL") == "c":
            cursor.execute("SELECT 1 / 0")

class Migration(migrations.Migration):
    atomic = False
    dependencies = [("resources", "{NEWEST["resources"]}")]
    operations = [
        add("a"),
        migrations.RunSQL(
            'ALTER TABLE "Team" ADD COLUMN notes text; ' + ADD.format("b"), 'ALTER TABLE "Team" DROP COLUMN notes'
        ),
        migrations.RunPython(act, unact, atomic=True),
        add("d"),
    ]
'''
FLAGS = "SELECT id FROM \"FeatureFlag\" ORDER BY length(id), substring(id FROM '[0-9]+')"
RECORD = "SELECT name FROM django_migrations WHERE app = 'resources' AND name LIKE '%in_steps%'"


@pytest.fixture
def stepping(project: Project) -> Project:
    (project.folder / "resources" / "migrations" / f"{NAME}.py").write_text(MIGRATION)
    return project


def flags(database: Database) -> list[object]:
    return [name for (name,) in database.fetch('SELECT id FROM "FeatureFlag" ORDER BY "updatedAt"')]


def test_after_any_interruption_a_migration_continues_after_its_finished_operations(
    stepping: Project, migrated: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_transaction(migrated, 'SELECT count(*) FROM "Team"'):
        first = stepping.manage("migrate", "resources", "--patience", "1s", database=migrated, check=False)
    assert first.returncode == 1
    assert "did not get its locks within" in first.stderr
    assert flags(migrated) == ["a0"]
    assert migrated.fetch(RECORD) == [(f"{NAME} [1 of 4 operations done]",)]
    verified = stepping.manage("verify_schema", database=migrated, check=False).stdout
    assert f"only partly applied: resources.{NAME} [1 of 4 operations done]" in verified

    monkeypatch.setenv("DIE", "c")
    second = stepping.manage("migrate", "resources", database=migrated, check=False)
    assert second.returncode == -signal.SIGKILL
    # The third operation is a transaction, which also records it.
    assert flags(migrated) == ["a0", "b1"]
    assert migrated.fetch(RECORD) == [(f"{NAME} [2 of 4 operations done]",)]

    monkeypatch.delenv("DIE")
    stepping.manage("migrate", "resources", database=migrated)
    assert flags(migrated) == ["a0", "b1", "c2", "d3"]
    assert migrated.fetch(RECORD) == [(NAME,)]

    monkeypatch.setenv("FAIL", "c")
    back = stepping.manage("migrate", "resources", NEWEST["resources"], database=migrated, check=False)
    assert back.returncode == 1
    assert flags(migrated)[4:] == ["und4"]
    assert sorted(migrated.fetch(RECORD)) == [(NAME,), (f"{NAME} [1 of 4 operations undone]",)]

    forward = stepping.manage("migrate", "resources", database=migrated, check=False)
    assert forward.returncode == 1
    assert f"The reversal of resources.{NAME} was interrupted: 1 of 4 operations undone." in forward.stderr

    monkeypatch.delenv("FAIL")
    stepping.manage("migrate", "resources", NEWEST["resources"], database=migrated)
    assert flags(migrated)[4:] == ["und4", "unc5", "una6"]
    assert migrated.fetch(RECORD) == []
