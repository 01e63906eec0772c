"""From a changed model to applied migrations, with the command in a copy of the project."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from council.postgres import facts
from council.postgres.facts import Fact
from council.verification import manifest
from tests.council.changes import CHANGES, with_member_field
from tests.databases import Database
from tests.projects import APPS, Project, ahead, number

pytestmark = pytest.mark.any_server

ANSWERS = ("\nLocks: ", "\nSafe with the code before it: ", "\nWay back: ")
BASELINE = "0001_baseline.py"


def ruff(*arguments: str, folder: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "ruff", *arguments, "."],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_makemigrations_derives_all_of_version_2_from_the_models(
    project: Project, database: Database, migrated: Database
) -> None:
    for app in APPS:
        for file in (project.folder / app / "migrations").glob("0*.py"):
            if file.name != BASELINE:
                file.unlink()

    written = project.makemigrations()

    assert [name for name in written if not name.startswith("council/")] == [
        "benchmarks/0001_initial",
        "benchmarks/0002_fks_not_valid",
        "benchmarks/0003_validate_fks",
        "benchmarks/0004_indexes",
        "benchmarks/0005_create_function_benchmark_answers",
        "benchmarks/0006_triggers",
        "gamification/0001_initial",
        "gamification/0002_fks_not_valid",
        "gamification/0003_validate_fks",
        "gamification/0004_indexes",
        "gamification/0005_functions",
        "gamification/0006_triggers",
        "resources/0001_initial",
        "resources/0002_fks_not_valid",
        "resources/0003_validate_fks",
        "resources/0004_indexes",
        "resources/0005_triggers",
    ]
    for name, text in written.items():
        assert text.startswith('"""') and all(answer in text for answer in ANSWERS), name
        assert ("atomic = False" in text) is ("indexes" in name.split("/")[1]), name
        assert ("CreateModel" in text) <= ("EnableRowLevelSecurity" in text), name
        assert set(re.findall(r"^(?:from|import) (\w+)", text, re.MULTILINE)) <= {"django", "council"}, name
    ruff("check", "--quiet", folder=project.folder)
    ruff("format", "--check", "--quiet", folder=project.folder)
    project.manage("migrate", database=database)
    assert set(database.catalog()) == set(migrated.catalog())
    with database.as_django_connection() as connection:
        assert manifest.describe(connection) ^ manifest.expected() == set()
    project.manage("makemigrations", "--check", database=database)
    assert project.makemigrations() == {}
    assert project.manage("lint_migrations", database=database).stdout == "Nothing found.\n"


def schema(database: Database) -> set[Fact]:
    """Describe everything in a database."""
    enums = database.fetch("SELECT DISTINCT enumtypid::regtype::text FROM pg_enum")
    tables = database.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    with database.as_django_connection() as connection:
        return facts.of_schema(
            connection,
            tables=[str(name) for (name,) in tables],
            enums=[str(name).strip('"') for (name,) in enums],
        )


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_becomes_steps_that_can_be_applied_and_reversed(
    project: Project, migrated: Database, name: str
) -> None:
    change = CHANGES[name]
    for edit in change.edits:
        project.edit(*edit)
    files, before = project.migrations(), schema(migrated)

    project.manage("makemigrations", "--no-input", database=migrated)
    project.manage("migrate", database=migrated)
    project.manage("makemigrations", "--check", database=migrated)

    written = {ahead(file): project.text(file) for file in sorted(project.migrations() - files)}
    assert list(written) == list(change.files)
    for file, fragments in change.files.items():
        assert all(answer in written[file] for answer in ANSWERS)
        for fragment in fragments:
            assert fragment in written[file]
    assert (schema(migrated) != before) is change.is_of_the_database
    leaves = [
        max(file for file in files if file.startswith(f"{app}/"))
        for app in {one.split("/")[0] for one in written}
    ]
    for leaf in leaves:
        project.manage("migrate", *leaf.split("/"), database=migrated)
    if change.is_reversible:
        assert schema(migrated) == before


CHECKED = {"check", "another check of the same name", "not null"}
# Changes that need the same lines as others.
ALONE = {"index", "other actions of a key", "another event of a trigger"}


def test_the_steps_of_many_changes_follow_the_plan_s_rules(project: Project, migrated: Database) -> None:
    for edit in (
        edit for name, change in CHANGES.items() if name not in CHECKED | ALONE for edit in change.edits
    ):
        project.edit(*edit)

    project.manage("makemigrations", "--no-input", database=migrated)
    project.manage("lint_migrations", database=migrated)
    project.manage("migrate", database=migrated)
    project.manage("makemigrations", "--check", database=migrated)

    for edit in (edit for name in CHECKED for edit in CHANGES[name].edits):
        project.edit(*edit)
    project.makemigrations()
    linted = project.manage("lint_migrations", "--format", "json", database=migrated, check=False)
    assert {one["rule"] for one in json.loads(linted.stdout)} == {
        "unchecked-rows"
    }  # findings that a person must look at
    project.manage("migrate", database=migrated)


def test_no_table_is_rewritten_for_a_longer_text(project: Project, migrated: Database) -> None:
    file = """SELECT pg_relation_filenode('"PointRule"'), pg_relation_filenode('"PointRule_pkey"')"""
    before = migrated.fetch(file)
    project.edit(
        "gamification/models.py", "label = models.CharField(max_length=80)", "label = models.TextField()"
    )

    project.makemigrations()
    project.manage("migrate", database=migrated)

    assert migrated.fetch(file) == before
    assert migrated.fetch("""SELECT pg_typeof(label)::text FROM "PointRule" LIMIT 1""") == [("text",)]


def test_check_says_what_is_missing_and_writes_nothing(project: Project) -> None:
    assert project.manage("makemigrations", "--check").stdout == "No changes detected\n"
    project.edit(*with_member_field("nickname = models.TextField(null=True)"))
    before = project.migrations()

    missing = project.manage("makemigrations", "--check", check=False)

    assert missing.returncode == 1
    assert f"council/migrations/{number('council', 1)}_member_nickname.py" in missing.stdout
    assert project.migrations() == before


def test_a_refused_change_fails_the_check_with_its_recipe(project: Project) -> None:
    project.edit(*with_member_field("nickname = models.TextField()"))

    result = project.manage("makemigrations", "--check", check=False)

    assert result.returncode == 1
    assert result.stderr.startswith("Refused: One change cannot be made while the database is in use.")
    assert "Give it a db_default, or null=True." in result.stderr


def test_migrate_says_that_a_migration_is_missing(project: Project, migrated: Database) -> None:
    project.edit("gamification/functions.py", "ELSE 1 END", "ELSE 1 + 0 END")

    result = project.manage("migrate", database=migrated)

    assert "Your models in app(s): 'gamification' have changes that are not yet reflected" in result.stdout


def test_a_dry_run_prints_the_file_and_writes_none(project: Project) -> None:
    project.edit(*with_member_field("nickname = models.TextField(null=True)"))
    before = project.migrations()

    result = project.manage("makemigrations", "--dry-run", "--verbosity", "3")

    assert '"""Adds columns: Member.nickname.\n\nLocks: ACCESS EXCLUSIVE on Member' in result.stdout
    assert project.migrations() == before


def test_name_and_header_follow_the_options(project: Project) -> None:
    project.edit(*with_member_field("nickname = models.TextField(null=True)"))

    written = project.makemigrations("council", "--name", "nicknames", "--no-header")

    assert list(written) == ["council/+1_nicknames"]
    assert written["council/+1_nicknames"].startswith("from django.db import migrations, models\n")


def test_scriptable_prints_only_the_paths(project: Project) -> None:
    project.edit(*with_member_field("nickname = models.TextField(null=True)"))

    result = project.manage("makemigrations", "--scriptable")

    assert result.stdout == f"council/migrations/{number('council', 1)}_member_nickname.py\n"


def test_an_empty_migration_has_a_header_with_questions(project: Project) -> None:
    written = project.makemigrations("gamification", "--empty", "--name", "fill_levels")

    [text] = written.values()
    assert list(written) == ["gamification/+1_fill_levels"]
    assert text.startswith('"""What it does.\n') and all(answer in text for answer in ANSWERS)
    assert "operations = []" in text


def test_two_branches_can_be_merged(project: Project, migrated: Database) -> None:
    project.edit(*with_member_field("nickname = models.TextField(null=True)"))
    [(one, text)] = project.makemigrations().items()
    assert one == "council/+1_member_nickname"
    own, other = (f"{number('council', 1)}_{name}" for name in ("member_nickname", "other"))
    (project.folder / "council" / "migrations" / f"{other}.py").write_text(text.replace("nickname", "other"))
    project.edit(*with_member_field("other = models.TextField(null=True)"))

    joined = project.makemigrations("--merge")

    [(path, text)] = joined.items()
    assert path == f"council/+2_merge_{own}_{other}"
    assert text.startswith('"""Merges branches that start from the same migration.\n\nLocks: none.')
    project.manage("migrate", database=migrated)
    project.manage("makemigrations", "--check", database=migrated)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ["--update"],
            "--update would put several steps into one migration. Delete the files that are not applied",
        ),
        (["--forget", "--drop"], "--forget and --drop belong to two releases"),
    ],
)
def test_options_that_would_undo_the_steps_are_refused(
    project: Project, arguments: list[str], words: str
) -> None:
    result = project.manage("makemigrations", *arguments, check=False)

    assert result.returncode == 1
    assert words in result.stderr
