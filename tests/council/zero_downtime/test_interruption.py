"""Ctrl-C and similar signals give a message and leave nothing behind, and the next run completes."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from council.zero_downtime.interruption import interruptible
from tests.council.zero_downtime.test_deploy import (
    READ,
    Deploy,
    adopted,
    deploy,
    open_transaction,
    v1,
    with_points,
)
from tests.databases import ROOT, Database

__all__ = ["adopted", "deploy", "v1", "with_points"]

SESSIONS = (
    "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND application_name ~ '^council'"
)
INDEX = """SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass('"Member_totalPoints_idx"')"""


def interrupt(run: Deploy, number: signal.Signals = signal.SIGINT) -> int:
    run.process.send_signal(number)
    status = run.finish()
    assert "Traceback" not in run.output
    assert "To continue, run `manage.py migrate` again." in run.output
    return status


def assert_no_session_is_left(database: Database) -> None:
    deadline = time.monotonic() + 20
    while database.fetch(SESSIONS):
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("number", "name", "status"),
    [(signal.SIGINT, "Ctrl-C", 130), (signal.SIGTERM, "SIGTERM", 143), (signal.SIGHUP, "SIGHUP", 129)],
    ids=["Ctrl-C", "SIGTERM", "SIGHUP"],
)
def test_interrupting_a_wait_for_a_lock_leaves_nothing_of_the_migration(
    adopted: Database, deploy: Callable[..., Deploy], number: signal.Signals, name: str, status: int
) -> None:
    with open_transaction(adopted, READ):
        run = deploy(adopted, "council", "0005")
        run.wait_for("waiting, ")
        assert interrupt(run, number) == status
        assert f"{name}: council.0005_member_points was interrupted. None of it was kept." in run.output
        assert "0 of 1 migrations are done, 1 left." in run.output
        assert_no_session_is_left(adopted)
    assert adopted.manage("migrate", "council", "0005").returncode == 0


def test_interrupting_an_index_build_drops_its_index(
    with_points: Database, deploy: Callable[..., Deploy]
) -> None:
    snapshot = 'SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM "Team"'
    with open_transaction(with_points, snapshot):
        run = deploy(with_points, "council", "0006")
        run.wait_for("waiting, ")
        assert with_points.fetch(INDEX) == [(False,)]
        assert interrupt(run) == 130
        assert "Its finished steps are kept" in run.output
        assert with_points.fetch(INDEX) == []
        assert_no_session_is_left(with_points)


def test_an_index_that_cannot_be_dropped_yet_is_left_to_the_next_run(
    with_points: Database, deploy: Callable[..., Deploy]
) -> None:
    with open_transaction(with_points, """UPDATE "Member" SET company = 'x' WHERE id = 'm1'"""):
        run = deploy(with_points, "council", "0006")
        run.wait_for("waiting, ")
        assert interrupt(run) == 130
        assert "The next run drops an unfinished index" in run.output
        assert_no_session_is_left(with_points)
        assert with_points.fetch(INDEX) == [(False,)]
    assert with_points.manage("migrate", "council", "0006").returncode == 0
    assert with_points.fetch(INDEX) == [(True,)]


def test_interrupting_a_wait_for_another_migrate_ends_at_once(
    v1: Database, deploy: Callable[..., Deploy]
) -> None:
    with v1.connect() as other:
        other.execute("SELECT pg_advisory_lock(%s, %s)", [0x636F756E, 0x6D696772])
        run = deploy(v1)
        run.wait_for("Waiting for another migrate")
        assert interrupt(run) == 130
    assert "Ctrl-C: Migrations that are recorded as applied stay applied." in run.output
    assert v1.fetch("SELECT to_regclass('django_migrations')") == [(None,)]


def test_a_signal_that_is_ignored_as_under_nohup_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with interruptible():
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
            assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    finally:
        signal.signal(signal.SIGHUP, before)


def test_migrate_can_be_called_from_another_thread_than_the_main_one(v1: Database) -> None:
    program = """
import django, sys, threading
django.setup()
from django.core.management import call_command
thread = threading.Thread(target=call_command, args=["migrate", "council"], kwargs={"verbosity": 0})
thread.start()
thread.join()
"""
    environment = v1.environment(DJANGO_SETTINGS_MODULE="council.settings")
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=environment, check=True)

    assert v1.fetch("SELECT 1 FROM django_migrations WHERE name = '0006_member_points_index'") == [(1,)]
