"""How migrations wait for blockers, and proceed."""

import threading
import time
from collections.abc import Callable
from contextlib import suppress

import psycopg
import pytest
from django.db import OperationalError
from django.db.backends.base.base import BaseDatabaseWrapper

from council.zero_downtime import failures, retries
from council.zero_downtime.retries import Patience
from tests.council.zero_downtime.test_deploy import (
    ACCEPTED,
    MEMBERS,
    READ,
    THIRD_PARTY,
    V1_SQL,
    Deploy,
    QueueWatch,
    adopted,
    deploy,
    open_transaction,
    v1,
    with_points,
)
from tests.databases import Database, server_of_its_own

__all__ = ["adopted", "deploy", "v1", "with_points"]

AUTOVACUUM = """
SELECT pid FROM pg_stat_activity JOIN pg_stat_progress_vacuum USING (pid)
 WHERE backend_type = 'autovacuum worker' AND relid = '"Member"'::regclass
"""


class Nobody:
    """An observer that sees no blocker."""

    blocked_by: frozenset[str] = frozenset()

    def wait_until_gone(self, transactions: frozenset[str], *, deadline: float) -> frozenset[str]:
        return frozenset()

    def forget(self) -> None:
        pass

    def describe(self, transactions: frozenset[str]) -> list[object]:
        return []


def retry(connection: BaseDatabaseWrapper, act: Callable[[], str], **patience: float) -> str:
    return retries.retry(
        act,
        connection=connection,
        observer=Nobody(),  # type: ignore[arg-type]
        patience=Patience(**patience),
        wanted=[],
        what="It",
        kept="Nothing.",
    )


def failing(*errors: type[psycopg.Error]) -> Callable[[], str]:
    """Make a function that fails with each of these errors in turn, and then succeeds."""
    left = list(errors)

    def act() -> str:
        if left:
            raise OperationalError from left.pop(0)("as planted")
        return "done"

    return act


def test_a_lock_timeout_or_a_deadlock_is_retried(scratch: BaseDatabaseWrapper) -> None:
    lost = [psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected]
    assert retry(scratch, failing(*lost)) == "done"


def test_other_errors_are_not_retried(scratch: BaseDatabaseWrapper) -> None:
    with pytest.raises(OperationalError):
        retry(scratch, failing(psycopg.errors.QueryCanceled))


def test_migrate_gives_up_when_its_patience_ends(scratch: BaseDatabaseWrapper) -> None:
    with pytest.raises(failures.PatienceExhausted, match="It did not get its locks within"):
        retry(scratch, failing(*[psycopg.errors.LockNotAvailable] * 3), seconds=0.0)


def test_a_superuser_s_migration_cancels_an_autovacuum(deploy: Callable[..., Deploy]) -> None:
    """The autovacuum is real, and slowed down so that it would take minutes. It begins within a few seconds."""
    settings = {"autovacuum_naptime": "1s", "autovacuum_vacuum_cost_limit": "1"}
    with server_of_its_own(**settings, autovacuum_vacuum_cost_delay="100ms") as (_, database):
        database.execute(V1_SQL + MEMBERS.replace("100)", "20000)"))
        assert database.manage("migrate", "council", "0001").returncode == 0
        database.execute("""
            ALTER TABLE "Member" SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 0);
            UPDATE "Member" SET company = 'x'
        """)
        deadline = time.monotonic() + 60
        while not (worker := database.fetch(AUTOVACUUM)):
            assert time.monotonic() < deadline, "no autovacuum came"
            time.sleep(0.05)

        run = deploy(database, "council", "0005", "--patience", "60s")

        assert run.finish(seconds=90) == 0, run.output
        assert database.fetch(AUTOVACUUM) != worker


def test_a_manual_vacuum_is_waited_for_and_named(adopted: Database, deploy: Callable[..., Deploy]) -> None:
    """PostgreSQL cancels only autovacuums."""
    adopted.execute(
        'INSERT INTO "Member" (id, "updatedAt") SELECT n, now() FROM generate_series(1, 20000) AS n'
    )

    def clean(session: psycopg.Connection) -> None:
        with suppress(psycopg.errors.QueryCanceled):
            session.execute('VACUUM "Member"')

    with adopted.connect() as operator:
        operator.execute("SET vacuum_cost_delay = '100ms'; SET vacuum_cost_limit = 1")
        vacuum = threading.Thread(target=clean, args=[operator])
        vacuum.start()
        run = deploy(adopted, "council", "0005")
        run.wait_for('waiting, .*holds SHARE UPDATE EXCLUSIVE on "Member"; query: VACUUM')
        assert run.process.poll() is None
        operator.cancel_safe()
        vacuum.join()
    assert run.finish() == 0, run.output


def test_with_overlapping_transactions_attempts_become_rarer(
    with_points: Database, deploy: Callable[..., Deploy]
) -> None:
    ended = threading.Event()

    def read_again_and_again() -> None:
        with with_points.connect() as session:
            while not ended.is_set():
                with session.transaction():
                    session.execute('SELECT 1 FROM "Member" LIMIT 1')
                    time.sleep(0.3)

    readers = [threading.Thread(target=read_again_and_again) for _ in range(3)]
    for reader in readers:
        reader.start()
        time.sleep(0.1)
    try:
        with QueueWatch(with_points) as queue:
            deploy(with_points, "third_party", "0001", "--patience", "10s", **THIRD_PARTY).finish()
    finally:
        ended.set()
        for reader in readers:
            reader.join()

    assert 0 < queue.times < 15  # with an attempt every 0.3 s, it would be thirty


def test_a_session_is_not_ended_for_being_idle_while_it_waits(
    adopted: Database, deploy: Callable[..., Deploy]
) -> None:
    impatient = f"{adopted.url}&options=-c%20idle_session_timeout%3D3s"
    with open_transaction(adopted, READ):
        run = deploy(adopted, "council", "0005", DATABASE_URL=impatient)
        run.wait_for("waiting, ")
        time.sleep(4)
    assert run.finish() == 0, run.output


def test_fake_initial_waits_too(v1: Database, deploy: Callable[..., Deploy]) -> None:
    with open_transaction(v1, READ):
        run = deploy(v1, "council", "0005", "--fake-initial")
        run.wait_for("waiting, ")
    assert run.finish() == 0, run.output


@pytest.mark.parametrize("obstacle", ["a writer", "nobody"])
def test_a_manual_build_is_waited_for_and_used(
    with_points: Database, deploy: Callable[..., Deploy], obstacle: str
) -> None:
    """The build has ended when the migration looks, so nobody blocks it."""
    build = 'CREATE INDEX CONCURRENTLY "Member_totalPoints_idx" ON "Member" ("totalPoints" DESC)'
    there = """SELECT indexrelid, indisvalid FROM pg_index WHERE indexrelid = '"Member_totalPoints_idx"'::regclass"""
    with with_points.connect() as operator:
        if obstacle == "nobody":
            operator.execute(build)
            run = deploy(with_points, "council", "0006")
            (by_hand,) = with_points.fetch(there)
        else:
            with open_transaction(with_points, 'LOCK TABLE "Member" IN ROW EXCLUSIVE MODE'):
                building = threading.Thread(target=operator.execute, args=[build.encode()])
                building.start()
                run = deploy(with_points, "council", "0006")
                run.wait_for("waiting, .*query: CREATE INDEX CONCURRENTLY")
                ((index, _),) = with_points.fetch(there)
            building.join()
            by_hand = (index, True)
    assert run.finish() == 0, run.output
    assert with_points.fetch(there) == [by_hand]


def test_giving_up_in_a_non_atomic_migration_says_what_is_kept(
    v1: Database, deploy: Callable[..., Deploy]
) -> None:
    assert v1.manage("migrate", "third_party", "0003", ACCEPTED, **THIRD_PARTY).returncode == 0
    with open_transaction(v1, READ):
        run = deploy(v1, "third_party", "0004", ACCEPTED, "--patience", "1s", **THIRD_PARTY)
        assert run.finish() == 1
    assert "third_party.0004_not_atomic did not get its locks within 1.0 s." in run.output
    assert "Its finished steps are kept" in run.output


def test_the_finished_steps_of_a_reversal_that_is_not_atomic_are_not_repeated(
    v1: Database, deploy: Callable[..., Deploy]
) -> None:
    assert v1.manage("migrate", "third_party", "0004", ACCEPTED, **THIRD_PARTY).returncode == 0
    with open_transaction(v1, 'SELECT count(*) FROM "Team"'):
        run = deploy(v1, "third_party", "0003", ACCEPTED, **THIRD_PARTY)
        run.wait_for("waiting, ")
        assert v1.fetch("SELECT attrelid::regclass::text FROM pg_attribute WHERE attname = 'once'") == [
            ('"Team"',)
        ]
    assert run.finish() == 0, run.output
    assert v1.fetch("SELECT 1 FROM pg_attribute WHERE attname = 'once'") == []
