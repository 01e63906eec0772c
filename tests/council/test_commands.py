"""The commands as an operator runs them, in separate processes."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.databases import ROOT, Database

pytestmark = pytest.mark.any_server


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        yield Path(name) / "postgres"


def manage(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run manage.py with the embedded server, which is not running."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in {"DATABASE_URL", "DIRECT_URL", "DJANGO_SETTINGS_MODULE"}
    }
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env={**environment, "COUNCIL_POSTGRES_FOLDER": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    "arguments",
    [["check"], ["help"], ["migrate", "--help"], ["makemigrations", "--check"], ["embedded", "status"]],
    ids=" ".join,
)
def test_a_command_that_needs_no_database_starts_no_server(arguments: list[str], folder: Path) -> None:
    result = manage(*arguments, folder=folder)

    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    assert not folder.exists()


def test_overview_lists_what_exists_and_what_to_do_next(migrated: Database) -> None:
    migrated.execute(
        """INSERT INTO "Team" (id, name, "stripeCustomerId", "updatedAt") VALUES ('t', 'A', 'c', now())"""
    )

    result = migrated.manage("overview")

    assert "migrations: all applied" in result.stdout
    assert "Team                    1 row\n" in result.stdout
    assert "council_signinfailures  0 rows\n" in result.stdout
    assert "Tables without row level security, open to the data API" in result.stdout
    assert "createsuperuser" in result.stdout


def test_overview_of_an_empty_database_says_to_migrate(database: Database) -> None:
    result = database.manage("overview")

    assert "to apply" in result.stdout
    assert "Member                  does not exist" in result.stdout
    assert "manage.py migrate" in result.stdout


def test_settings_without_a_secret_key_are_refused_in_production(database: Database) -> None:
    result = database.manage("check", check=False, SECRET_KEY="")

    assert result.returncode != 0
    assert "SECRET_KEY is not set. Set it to 50 random characters" in result.stderr
    assert "Traceback" not in result.stderr


def test_an_invalid_database_url_is_refused_without_its_password(database: Database) -> None:
    result = database.manage("check", check=False, DATABASE_URL="postgresql://u:hunter2@h/?sslmod=on")

    assert "DATABASE_URL cannot be read" in result.stderr
    assert "hunter2" not in result.stderr


def test_migrate_uses_the_direct_url(database: Database) -> None:
    nowhere = "postgresql://nobody@127.0.0.1:1/pooler"

    result = database.manage("migrate", "council", "0001", DATABASE_URL=nowhere, DIRECT_URL=database.url)

    assert "Applied council.0001_baseline in" in result.stdout


def test_enum_labels_that_differ_from_the_model_are_reported(migrated: Database) -> None:
    migrated.execute("""ALTER TYPE "AdminRole" ADD VALUE 'OWNER'""")

    result = migrated.manage("check", "--database", "default")

    assert 'The labels of type "AdminRole" are ADMIN, SUPER_ADMIN, OWNER in the database' in result.stderr
    assert "council.W001" in result.stderr


@pytest.mark.parametrize("command", ["overview", "reconcile_points", "refresh_leaderboard"])
def test_an_unreachable_database_gives_a_message(command: str, database: Database) -> None:
    result = database.manage(command, check=False, DATABASE_URL="postgresql://sam@127.0.0.1:1/council")

    assert result.returncode == 1
    assert "Check host and port, and whether the server is up." in result.stderr
    assert f"Then run `manage.py {command}` again." in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("command", ["reconcile_points", "refresh_leaderboard"])
def test_a_missing_schema_gives_a_message_with_the_command_to_run(command: str, database: Database) -> None:
    result = database.manage(command, check=False)

    assert result.returncode == 1
    assert "does not exist" in result.stderr
    assert "`manage.py migrate --plan` shows what is missing." in result.stderr
    assert "Traceback" not in result.stderr
