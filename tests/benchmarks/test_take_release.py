"""`manage.py take_release` with real processes: concurrent, killed, and with a transaction pooler."""

import os
import signal
import subprocess
import sys

import pytest

from tests.databases import ROOT, Database
from tests.pgbouncer import PROGRAM, pgbouncer

KEY = {"BENCHMARK_KEY": "the tests' key", "ALLOWED_HOSTS": "council.example"}
ANSWERS = """
INSERT INTO "Member" (id, "subscriptionStatus", "createdAt", "updatedAt")
SELECT 'm' || n, 'ACTIVE', '2026-01-01', now() FROM generate_series(1, 40) AS n;
INSERT INTO "BenchmarkVersion" ("memberId", category, number, data, "companyKey", "recordedAt")
SELECT id, 'OPERATIONAL', 1, '{"domains_per_client": 12}', 'member:' || id, '2026-03-01' FROM "Member";
INSERT INTO "BenchmarkReview" ("versionId", state, "createdAt")
SELECT id, 'RECEIVED', "recordedAt" FROM "BenchmarkVersion"
"""
RELEASES = 'SELECT month::text FROM "BenchmarkRelease" ORDER BY month'
FIGURES = """
SELECT count(*), count(DISTINCT (category, field, dimension, bands)) FROM "BenchmarkFigure"
"""


@pytest.fixture
def database_with_answers(migrated: Database) -> Database:
    migrated.execute(ANSWERS)
    return migrated


def begin(database: Database, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "manage.py", "take_release", *arguments],
        cwd=ROOT,
        env=database.environment(**KEY),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_two_machines_at_once_take_one_release(database_with_answers: Database) -> None:
    with database_with_answers.connect() as holder:
        holder.execute("BEGIN")
        holder.execute('LOCK TABLE "BenchmarkFigure" IN SHARE MODE')
        machines = [begin(database_with_answers, "--month", "2026-09") for _ in range(3)]
        database_with_answers.wait_for_waiting(3)
        holder.execute("ROLLBACK")
    said = [machine.communicate(timeout=120) for machine in machines]
    assert [machine.returncode for machine in machines] == [0, 0, 0], said
    outs = sorted(out for out, _ in said)
    assert outs[0].startswith("September 2026: ")
    assert outs[1:] == ["The release of September 2026 is out already.\n"] * 2
    assert database_with_answers.fetch(RELEASES) == [("2026-09-01",)]
    ((figures, cells),) = database_with_answers.fetch(FIGURES)
    assert figures == cells


def test_a_run_that_is_killed_leaves_nothing_and_the_next_takes_the_release(
    database_with_answers: Database,
) -> None:
    with database_with_answers.connect() as holder:
        holder.execute("BEGIN")
        holder.execute('LOCK TABLE "BenchmarkFigure" IN SHARE MODE')
        machine = begin(database_with_answers, "--month", "2026-09")
        database_with_answers.wait_for_waiting(1)
        os.kill(machine.pid, signal.SIGKILL)
        machine.communicate()
        holder.execute("ROLLBACK")
    database_with_answers.manage("take_release", "--month", "2026-09", check=True, **KEY)
    assert database_with_answers.fetch(RELEASES) == [("2026-09-01",)]
    assert database_with_answers.fetch('SELECT DISTINCT p50 FROM "BenchmarkFigure" WHERE p50 IS NOT NULL')


@pytest.mark.skipif(not PROGRAM, reason="pgbouncer is not installed")
def test_a_release_can_be_taken_through_a_transaction_pooler(database_with_answers: Database) -> None:
    with pgbouncer(database_with_answers, mode="transaction") as url:
        pooled = Database(database_with_answers.name, server=url)
        done = pooled.manage("take_release", "--month", "2026-09", check=True, **KEY)
        again = pooled.manage("take_release", "--month", "2026-09", check=True, **KEY)
    assert done.stdout.startswith("September 2026: ")
    assert again.stdout == "The release of September 2026 is out already.\n"


def test_without_a_key_the_command_says_what_to_set(migrated: Database) -> None:
    done = migrated.manage("take_release", check=False, **(KEY | {"BENCHMARK_KEY": ""}))
    assert done.returncode == 1
    assert "BENCHMARK_KEY is not set" in done.stderr
