"""The ledger under concurrency: killed processes, and fifty payments with the same key at the same time."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import psycopg
import pytest
from django.db import connections

from council.accounts.models import Account
from gamification import ledger
from gamification.models import Action
from tests.databases import Database
from tests.stress_ledger import ACTS, REASON, Stress

PAYERS = 50
AWARD = ledger.Award("m1", Action.INTRO_COMPLETED)
INSERT = """
INSERT INTO "PointTransaction" (id, "memberId", action, points, "idempotencyKey")
VALUES (gen_random_uuid(), 'm1', 'intro_completed', 25, %s)
"""


@pytest.fixture
def database(migrated: Database) -> Iterator[Database]:
    """A migrated database with a member, to which Django is connected."""
    migrated.execute("""INSERT INTO "Member" (id, "updatedAt") VALUES ('m1', now())""")
    with migrated.as_default_connection():
        yield migrated


def test_all_figures_are_right_after_writing_processes_were_killed(migrated: Database) -> None:
    """Ten seconds of `python -m tests.stress_ledger`."""
    stress = Stress(migrated, processes=4, seed=1)
    with migrated.as_default_connection():
        stress.run(seconds=10)

    assert stress.faults == []
    assert stress.counts["processes killed"] > 0
    assert stress.counts["rows paid by key"] > 0
    assert sum(stress.counts[act.__name__] for act in ACTS) > 100


def test_the_stress_test_finds_each_wrong_figure(migrated: Database) -> None:
    stress = Stress(migrated, processes=0, seed=1)
    with migrated.as_default_connection():
        stress.run(seconds=0)
        assert stress.faults == []
        for number, figure in enumerate(['"totalPoints"', '"monthPoints"', '"currentStreak"'], start=1):
            migrated.execute(f"""UPDATE "Member" SET {figure} = 1 WHERE id = 'm{number}'""")
        migrated.execute(
            """UPDATE "Member" SET "lastActiveAt" = now(), "pointsMonth" = now() WHERE id = 'm4'"""
        )
        stress.run(seconds=0)

    assert len(stress.faults) == 4


def pay(start: Callable[[], object]) -> str:
    """Award in a separate thread. Returns the result."""
    try:
        connections["default"].ensure_connection()
        start()
        return "paid" if ledger.award(AWARD) else "paid before"
    finally:
        connections.close_all()


def pay_by_plain_insert(database: Database, start: Callable[[], object]) -> str:
    """Insert the row like the gateway, without checking first."""
    with database.connect() as session:
        start()
        try:
            session.execute(INSERT, [AWARD.key])
        except psycopg.errors.UniqueViolation:
            return "paid before"
    return "paid"


def is_paid_once(database: Database) -> bool:
    rows = database.fetch('SELECT "memberId", points FROM "PointTransaction"')
    totals = database.fetch('SELECT "totalPoints", "monthPoints", "currentStreak" FROM "Member"')
    return rows == [("m1", 25)] and totals == [(25, 25, 1)]


def test_fifty_concurrent_awards_with_one_key_pay_once(database: Database) -> None:
    for _ in range(5):
        database.execute(
            """DELETE FROM "Member"; INSERT INTO "Member" (id, "updatedAt") VALUES ('m1', now())"""
        )
        start = threading.Barrier(PAYERS)
        with ThreadPoolExecutor(PAYERS) as pool:
            answers = list(pool.map(lambda _: pay(start.wait), range(PAYERS)))  # noqa: B023

        assert sorted(answers) == ["paid", *["paid before"] * (PAYERS - 1)]
        assert is_paid_once(database)


def test_fifty_concurrent_awards_and_inserts_with_one_key_pay_once(database: Database) -> None:
    start = threading.Barrier(PAYERS)

    def pay_either_way(number: int) -> str:
        return pay(start.wait) if number % 2 else pay_by_plain_insert(database, start.wait)

    with ThreadPoolExecutor(PAYERS) as pool:
        answers = list(pool.map(pay_either_way, range(PAYERS)))

    assert sorted(answers) == ["paid", *["paid before"] * (PAYERS - 1)]
    assert is_paid_once(database)


@pytest.mark.parametrize(("end", "paid"), [("COMMIT", 0), ("ROLLBACK", 1), ("TERMINATE", 1)])
def test_fifty_awards_wait_for_a_transaction_that_holds_the_key(
    end: str, paid: int, database: Database
) -> None:
    with ThreadPoolExecutor(PAYERS) as pool, closing(database.connect()) as gateway:
        gateway.execute("BEGIN")
        gateway.execute(INSERT, [AWARD.key])
        answers = pool.map(lambda _: pay(lambda: None), range(PAYERS))
        database.wait_for_waiting(PAYERS)
        if end == "TERMINATE":
            database.execute(f"SELECT pg_terminate_backend({gateway.info.backend_pid})")
        else:
            gateway.execute(end.encode())

        assert sorted(answers) == ["paid"] * paid + ["paid before"] * (PAYERS - paid)
    assert is_paid_once(database)


def test_an_insert_that_waits_for_an_award_with_its_key_is_refused_after_it(database: Database) -> None:
    with database.connect() as first, ThreadPoolExecutor(1) as pool:
        first.execute("BEGIN")
        first.execute(INSERT, [AWARD.key])
        answer = pool.submit(pay_by_plain_insert, database, lambda: None)
        database.wait_for_waiting(1)
        first.execute("COMMIT")

        assert answer.result() == "paid before"
    assert is_paid_once(database)


def test_an_entry_deleted_during_its_reversal_gives_a_message(database: Database) -> None:
    """Its member is deleted and added again with the same id, before the reversal has locked the member."""
    database.execute(
        """INSERT INTO "PointTransaction" (id, "memberId", action, points) VALUES ('e1', 'm1', 'intro_completed', 25)"""
    )

    def delete_first(execute: Callable[..., Any], sql: str, *args: Any) -> Any:
        if "FOR NO KEY UPDATE" in sql:
            database.execute(
                """DELETE FROM "Member"; INSERT INTO "Member" (id, "updatedAt") VALUES ('m1', now())"""
            )
        return execute(sql, *args)

    with (
        connections["default"].execute_wrapper(delete_first),
        pytest.raises(ledger.Refused, match="The entry no longer exists: Key .*e1.* Nothing was written."),
    ):
        ledger.reverse(entry_id="e1", reason=REASON, performed_by=Account(username="sam"))

    assert database.fetch('SELECT count(*) FROM "AuditLog"') == [(0,)]
