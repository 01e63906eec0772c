"""Deaths in the middle: a sample of what `python -m tests.faults` tries, builds that go on, reversals from anywhere."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.council.zero_downtime.test_deploy import Deploy, deploy, open_transaction
from tests.databases import ROOT, Database, migrate

__all__ = ["deploy"]

V1_SQL = (Path(__file__).resolve().parents[2] / "schema" / "v1.sql").read_text()
INDEX = """SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass('"Member_totalPoints_idx"')"""
BUILDER = "SELECT pid FROM pg_stat_progress_create_index WHERE datname = current_database()"


@pytest.fixture
def v1(database: Database) -> Database:
    database.execute(V1_SQL)
    database.execute(
        """INSERT INTO "Member" (id, "updatedAt") SELECT 'm' || n, now() FROM generate_series(1, 100) n"""
    )
    return database


@pytest.mark.parametrize("writer", [[], ["--writer"]], ids=["alone", "beside a writer"])
def test_a_migrate_killed_anywhere_is_finished_by_the_next(db: None, writer: list[str]) -> None:
    """Every 331st of the boundaries; all of them by hand."""
    result = subprocess.run(
        [sys.executable, "-m", "tests.faults", "--every", "331", "--lanes", "1", *writer],
        cwd=ROOT,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert result.returncode == 0, result.stdout + result.stderr
    assert " points of " in result.stdout


def wait_until_building(database: Database) -> int:
    deadline = time.monotonic() + 20
    while not (rows := database.fetch(BUILDER)):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return int(str(rows[0][0]))


def test_a_build_whose_client_was_killed_is_waited_for_and_not_dropped(
    v1: Database, deploy: Callable[..., Deploy]
) -> None:
    v1.manage("migrate", "council", "0005")
    with open_transaction(v1, """UPDATE "Member" SET company = 'x' WHERE id = 'm1'"""):
        first = deploy(v1, "council", "0006")
        builder = wait_until_building(v1)
        first.process.send_signal(signal.SIGKILL)
        first.process.wait()
        index = v1.fetch("""SELECT to_regclass('"Member_totalPoints_idx"')::oid""")

        second = deploy(v1, "council", "0006")

        second.wait_for(rf"Waiting for another migrate, .* pid {builder} ")
        assert v1.fetch(BUILDER) == [(builder,)]
    assert second.finish() == 0, second.output
    assert v1.fetch(INDEX) == [(True,)]
    assert v1.fetch("""SELECT to_regclass('"Member_totalPoints_idx"')::oid""") == index


def test_a_build_that_died_with_its_server_process_is_made_anew(
    v1: Database, deploy: Callable[..., Deploy]
) -> None:
    v1.manage("migrate", "council", "0005")
    with open_transaction(v1, """UPDATE "Member" SET company = 'x' WHERE id = 'm1'"""):
        first = deploy(v1, "council", "0006")
        builder = wait_until_building(v1)
        v1.execute(f"SELECT pg_terminate_backend({builder})")
        assert first.finish() == 1
        assert "Traceback" not in first.output
    assert v1.fetch(INDEX) == [(False,)]

    second = deploy(v1, "council", "0006")

    assert second.finish() == 0, second.output
    assert v1.fetch(INDEX) == [(True,)]


MIDPOINTS = [
    ("council", "0003"),
    ("council", "0005"),
    ("gamification", "0002"),
    ("gamification", "0004"),
    ("benchmarks", "0001"),
    ("resources", "0003"),
]


@pytest.mark.parametrize("midpoint", MIDPOINTS, ids="-".join)
def test_from_any_midpoint_it_goes_back_and_forward_again(
    v1: Database, migrated: Database, midpoint: tuple[str, str]
) -> None:
    with v1.as_django_connection():
        migrate(*midpoint)
        for app in ("benchmarks", "resources", "gamification", "admin"):
            migrate(app, "zero")
        migrate("council", "0001")
        migrate()

    assert v1.catalog() == migrated.catalog()
