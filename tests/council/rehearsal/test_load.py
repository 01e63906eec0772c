"""The load records the full wait of a statement, and of all statements behind it."""

import time
from pathlib import Path

import pytest

from council.rehearsal import load, lock_samples
from council.rehearsal.database_url import DatabaseUrl
from council.rehearsal.load import Load
from council.rehearsal.migrate_process import APPLICATION
from tests.databases import Database, migrate

pytestmark = pytest.mark.any_server


def of(database: Database) -> DatabaseUrl:
    return DatabaseUrl(database.url, "--on")


def test_statements_that_are_due_while_another_waits_are_recorded_as_waiting(
    gateway: Database, tmp_path: Path
) -> None:
    """A client that sends its next statement only after an answer would record a single long wait."""
    asked = Load(clients=1, per_second=50, held_seconds=0)
    with load.at_work(of(gateway), asked, schema="public", folder=tmp_path) as observed:
        time.sleep(0.5)
        with gateway.connect() as session, session.transaction():
            session.execute('LOCK TABLE "Member", "AuditLog" IN ACCESS EXCLUSIVE MODE')
            locked = time.monotonic()
            time.sleep(2)
        released = time.monotonic()
        time.sleep(0.5)

    due = [sample for sample in observed.samples if locked <= sample.due <= released - 0.5]
    behind = [sample for sample in due if sample.waited >= 0.5]
    assert len(behind) > 20
    assert len(behind) > 0.8 * len(due)
    # Each waits from the time when it was due until the lock is gone.
    assert all(sample.answered >= released - 0.05 for sample in behind)
    assert {sample.kind for sample in observed.samples} == {"read", "write"}
    assert not any(sample.error for sample in observed.samples)


def test_failed_statements_are_recorded_with_the_server_s_message(gateway: Database, tmp_path: Path) -> None:
    gateway.execute('ALTER TABLE "AuditLog" RENAME "performedBy" TO author')
    asked = Load(clients=2, per_second=300, held_seconds=0)
    with load.at_work(of(gateway), asked, schema="public", folder=tmp_path) as observed:
        time.sleep(2)

    failed = {sample.statement: sample.error for sample in observed.samples if sample.error}
    assert failed.keys() == {"newest of the audit log"}
    assert "column AuditLog.performedBy does not exist" in failed["newest of the audit log"]


def test_statements_about_the_ledger_begin_once_it_exists(gateway: Database, tmp_path: Path) -> None:
    asked = Load(clients=1, per_second=200, held_seconds=0)
    with load.at_work(of(gateway), asked, schema="public", folder=tmp_path) as observed:
        time.sleep(1)
        with gateway.as_django_connection():
            migrate("gamification", "0005")
        began = time.monotonic()
        while gateway.fetch('SELECT count(*) FROM "PointTransaction"') == [(0,)]:
            assert time.monotonic() - began < 60
            time.sleep(0.1)

    ledger = [sample for sample in observed.samples if sample.statement == "points for a member"]
    others = [sample for sample in observed.samples if sample.statement == "member by id"]
    assert min(sample.due for sample in ledger) > min(sample.due for sample in others)


def test_a_transaction_stays_open_now_and_then(gateway: Database, tmp_path: Path) -> None:
    asked = Load(clients=1, per_second=10, held_seconds=0.4, pause_seconds=0.4)
    with load.at_work(of(gateway), asked, schema="public", folder=tmp_path) as observed:
        began = time.monotonic()
        while len(observed.held) < 2:
            assert time.monotonic() - began < 60
            time.sleep(0.1)

    assert all(ended - began >= 0.4 for began, ended in observed.held[:2])


def test_an_interrupted_load_leaves_no_session(gateway: Database, tmp_path: Path) -> None:
    asked = Load(clients=2, per_second=50, held_seconds=60)
    try:
        with load.at_work(of(gateway), asked, schema="public", folder=tmp_path):
            time.sleep(1)
            raise KeyboardInterrupt
    except KeyboardInterrupt:
        pass

    others = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    began = time.monotonic()
    while gateway.fetch(others) != [(0,)]:
        assert time.monotonic() - began < 60
        time.sleep(0.05)


def test_only_locks_of_the_migrating_session_are_recorded(gateway: Database) -> None:
    with (
        gateway.connect(application_name=APPLICATION) as migrating,
        gateway.connect() as other,
        migrating.transaction(),
        other.transaction(),
        lock_samples.watching(of(gateway)) as held,
    ):
        migrating.execute('LOCK TABLE "Member" IN SHARE ROW EXCLUSIVE MODE')
        other.execute('LOCK TABLE "Team" IN ACCESS EXCLUSIVE MODE')
        began = time.monotonic()
        while not held:
            assert time.monotonic() - began < 60
            time.sleep(0.05)

    assert {(lock.table, lock.mode, lock.is_granted) for lock in held} == {
        ("Member", "SHARE ROW EXCLUSIVE", True)
    }


def test_the_strongest_lock_of_each_table_counts() -> None:
    locks = [("Member", "SHARE"), ("Member", "ACCESS EXCLUSIVE"), ("Member", "ROW SHARE"), ("Team", "SHARE")]

    assert lock_samples.strongest(locks) == {"Member": "ACCESS EXCLUSIVE", "Team": "SHARE"}
