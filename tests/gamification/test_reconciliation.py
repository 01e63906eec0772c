"""Reconciliation finds, reports and repairs figures that a superuser has changed."""

import importlib
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from io import StringIO

import psycopg
import pytest
from django.core.management import call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext

from council.models import AuditLog, Member
from gamification import ledger, reconciliation
from tests.databases import Database
from tests.factories import MemberFactory, PointTransactionFactory

TUESDAY = datetime(2026, 11, 24, 12, tzinfo=UTC)


@pytest.fixture
def bent(mia: Member, carl: Member) -> Member:
    """Mia, with a ledger row and figures that do not match it."""
    PointTransactionFactory.create(member=mia, points=25, created_at=TUESDAY)
    PointTransactionFactory.create(member=carl, points=25, created_at=TUESDAY)
    Member.objects.filter(pk=mia.pk).update(
        total_points=99, points_month=None, month_points=1, last_active_at=None, current_streak=9
    )
    return mia


def test_figures_that_match_the_ledger_are_no_difference(mia: Member, carl: Member) -> None:
    PointTransactionFactory.create(member=mia)
    assert list(reconciliation.differences()) == list(reconciliation.repair()) == []
    assert not AuditLog.objects.exists()


def test_a_difference_has_the_found_and_the_right_value(bent: Member) -> None:
    [difference] = reconciliation.differences()
    assert difference.member_id == bent.pk
    assert str(difference) == (
        f"{bent.pk}: total_points 99 → 25, points_month None → 2026-11-01, month_points 1 → 25, "
        "last_active_at None → 2026-11-24 12:00:00+00:00, current_streak 9 → 1"
    )
    bent.refresh_from_db()
    assert bent.total_points == 99


def test_a_repair_sets_the_ledger_s_figures_and_logs_the_change(bent: Member) -> None:
    before = Member.objects.get(pk=bent.pk).updated_at
    [difference] = reconciliation.repair()
    bent.refresh_from_db()
    assert (bent.total_points, bent.points_month, bent.month_points) == (25, date(2026, 11, 1), 25)
    assert (bent.last_active_at, bent.current_streak, bent.updated_at) == (TUESDAY, 1, before)
    log = AuditLog.objects.get()
    assert (log.action, log.entity_id, log.performed_by) == ("POINTS_RECONCILED", bent.pk, "reconcile_points")
    assert log.details == {"change": str(difference)}
    assert list(reconciliation.repair()) == []


def test_points_without_any_row_are_a_difference(mia: Member) -> None:
    Member.objects.filter(pk=mia.pk).update(total_points=5)
    assert [str(difference) for difference in reconciliation.repair()] == [f"{mia.pk}: total_points 5 → 0"]


def test_rows_written_with_triggers_off_are_a_difference(mia: Member) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        PointTransactionFactory.create(member=mia, points=7)
        cursor.execute("SET LOCAL session_replication_role = origin")
    [difference] = reconciliation.differences()
    assert isinstance(difference, reconciliation.Difference)
    assert difference.expected.total_points == 7


# Rows from before the database refused them.
MISDATED = """
    SET LOCAL session_replication_role = replica;
    INSERT INTO "PointTransaction" (id, "memberId", action, points, metadata, "createdAt") VALUES
      ('late1', '{member}', 'x', 3, NULL, now() AT TIME ZONE 'UTC' + interval '1 day'),
      ('late2', '{member}', 'x', 4, (repeat('[', 3000) || repeat(']', 3000))::jsonb, '55840-01-01'),
      ('late3', '{member}', 'x', -1, '"x"', 'infinity');
    SET LOCAL session_replication_role = origin;
    UPDATE "Member"
       SET "totalPoints" = 31, "pointsMonth" = 'infinity', "monthPoints" = -1, "lastActiveAt" = '55840-01-01',
           "currentStreak" = 1
     WHERE id = '{member}'
"""


def write_misdated(member: Member) -> None:
    PointTransactionFactory.create(member=member, points=25, created_at=TUESDAY)
    with connection.cursor() as cursor:
        cursor.execute(MISDATED.format(member=member.pk))


def figures(member: Member) -> tuple[object, ...]:
    member.refresh_from_db()
    return (
        member.total_points, member.points_month, member.month_points, member.last_active_at, member.current_streak
    )  # fmt: skip


def test_rows_dated_in_the_future_are_marked_and_count_only_in_the_total(mia: Member) -> None:
    write_misdated(mia)
    said = [str(each) for each in reconciliation.differences()]
    assert f"{mia.pk}: row late2 is dated in the future, 55840-01-01 00:00:00" in said
    assert len(list(reconciliation.repair())) == 3
    assert figures(mia) == (31, date(2026, 11, 1), 25, TUESDAY, 1)
    log = AuditLog.objects.filter(action="POINTS_RECONCILED")
    assert {row.entity_id for row in log} == {mia.pk}
    assert len(log) == 3
    # and later rows continue from there
    wednesday = TUESDAY + timedelta(days=1)
    PointTransactionFactory.create(member=mia, points=5, created_at=wednesday)
    assert figures(mia) == (36, date(2026, 11, 1), 30, wednesday, 2)
    PointTransactionFactory.create(member=mia, points=5, created_at=TUESDAY - timedelta(days=1))
    assert figures(mia) == (41, date(2026, 11, 1), 35, wednesday, 3)
    assert list(reconciliation.differences()) == list(reconciliation.repair()) == []
    assert len(ledger.history(member=mia).entries) == 6


def test_the_migration_marks_existing_rows_dated_in_the_future(mia: Member, carl: Member) -> None:
    write_misdated(mia)
    PointTransactionFactory.create(member=carl, created_at=TUESDAY)
    before = figures(carl)
    migration = importlib.import_module("gamification.migrations.0032_mark_misdated")
    with connection.cursor() as cursor:
        cursor.execute(migration.MARK, {"keys": [mia.pk, carl.pk]})
    assert figures(mia) == (31, date(2026, 11, 1), 25, TUESDAY, 1)
    assert figures(carl) == before
    assert list(reconciliation.differences()) == []


def test_a_member_with_only_rows_dated_in_the_future_has_no_month_and_no_streak(mia: Member) -> None:
    with connection.cursor() as cursor:
        cursor.execute(MISDATED.format(member=mia.pk))
    assert len(list(reconciliation.repair())) == 3
    assert figures(mia) == (6, None, 0, None, 0)
    assert list(reconciliation.differences()) == []
    Member.objects.filter(pk=mia.pk).update(id="another")
    assert list(reconciliation.differences()) == []


def test_members_are_compared_in_batches(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconciliation, "BATCH_MEMBERS", 3)
    members = MemberFactory.create_batch(8)
    Member.objects.filter(pk__in=[members[n].pk for n in (0, 3, 7)]).update(total_points=1)
    with CaptureQueriesContext(connection) as queries:
        found = {difference.member_id for difference in reconciliation.differences()}
    assert found == {members[n].pk for n in (0, 3, 7)}
    assert len(queries) == 1 + 2 * 3 + 1


def test_the_command_reports_differences_with_exit_status_1_and_repairs_on_request(bent: Member) -> None:
    output = StringIO()
    with pytest.raises(SystemExit, match="1"):
        call_command("reconcile_points", stdout=output)
    assert f"{bent.pk}: total_points 99 → 25" in output.getvalue()
    advice = "The figures of 1 member differ from the ledger. To repair: manage.py reconcile_points --repair"
    assert advice in output.getvalue()

    output = StringIO()
    call_command("reconcile_points", "--repair", stdout=output)
    assert "Repaired 1 member. The audit log lists the changes." in output.getvalue()

    output = StringIO()
    call_command("reconcile_points", stdout=output)
    assert output.getvalue() == "Every member's figures match the ledger.\n"


def test_no_row_can_be_added_between_the_read_and_the_write_of_a_repair(
    migrated: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gateway writes after each comparison. Its first row comes before the lock, and its second must wait."""
    row = """INSERT INTO "PointTransaction" (id, "memberId", action, points) VALUES (%s, 'm1', 'x', 3)"""
    compare = reconciliation.compare
    tries: list[str] = []

    def compare_and_be_interrupted(ids: list[str]) -> list[reconciliation.Difference]:
        found = compare(ids)
        with migrated.connect(options="-c lock_timeout=100ms") as gateway:
            try:
                gateway.execute(row, [f"r{len(tries)}"])
                tries.append("came in")
            except psycopg.errors.LockNotAvailable:
                tries.append("waits")
            gateway.execute("""SELECT FROM "Member" WHERE id = 'm1' FOR KEY SHARE NOWAIT""")
        return found

    migrated.execute("""INSERT INTO "Member" (id, "totalPoints", "updatedAt") VALUES ('m1', 5, now())""")
    monkeypatch.setattr(reconciliation, "compare", compare_and_be_interrupted)
    with migrated.as_default_connection():
        [difference] = reconciliation.repair()
    assert tries == ["came in", "waits"]
    assert str(difference).startswith("m1: total_points 8 → 3")
    assert migrated.fetch("""SELECT "totalPoints" FROM "Member" """) == [(3,)]


def test_a_repair_locks_its_members_in_the_order_of_their_ids(migrated: Database) -> None:
    """Like bulk writers: a transaction that waits for the first member has locked none of the others."""
    migrated.execute(
        """INSERT INTO "Member" (id, "totalPoints", "updatedAt")
           SELECT 'm' || n, 5, now() FROM generate_series(1, 3) AS n"""
    )

    def repair() -> list[object]:
        try:
            return list(reconciliation.repair())
        finally:
            connection.close()

    free = """SELECT id FROM "Member" WHERE id > 'm1' ORDER BY id FOR NO KEY UPDATE NOWAIT"""
    with migrated.as_default_connection(), migrated.connect() as writer, ThreadPoolExecutor(1) as pool:
        with writer.transaction():
            writer.execute("""SELECT FROM "Member" WHERE id = 'm1' FOR NO KEY UPDATE""")
            repairing = pool.submit(repair)
            migrated.wait_for_waiting(1)
            assert writer.execute(free.encode()).fetchall() == [("m2",), ("m3",)]
        assert len(repairing.result(timeout=30)) == 3


def test_a_row_added_while_others_are_marked_is_counted(migrated: Database) -> None:
    """The members are locked first, and counted in a later statement, which sees what was committed during the wait."""
    migrated.execute(
        """INSERT INTO "Member" (id, "totalPoints", "updatedAt") VALUES ('m1', 4, now()), ('m2', 4, now());
           SET session_replication_role = replica;
           INSERT INTO "PointTransaction" (id, "memberId", action, points, "createdAt")
           VALUES ('late2', 'm2', 'x', 4, '2999-01-01'), ('late1', 'm1', 'x', 4, '2999-01-01')"""
    )
    mark = """UPDATE "PointTransaction" SET "isMisdated" = true WHERE id IN ('late1', 'late2')"""
    free = """SELECT id FROM "Member" WHERE id = 'm2' FOR NO KEY UPDATE NOWAIT"""
    with migrated.connect() as gateway, ThreadPoolExecutor(1) as pool:
        with gateway.transaction():
            gateway.execute(
                """INSERT INTO "PointTransaction" (id, "memberId", action, points) VALUES ('a', 'm1', 'x', 3)"""
            )
            marking = pool.submit(migrated.execute, mark)
            migrated.wait_for_waiting(1)
            assert gateway.execute(free).fetchall() == [("m2",)]  # in the order of their ids
        marking.result(timeout=30)
    assert migrated.fetch("""SELECT id, "totalPoints" FROM "Member" ORDER BY id""") == [("m1", 7), ("m2", 4)]


def test_a_repair_and_its_log_are_one_transaction(bent: Member, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(changes: list[object]) -> None:
        if changes:
            raise RuntimeError("no log")

    monkeypatch.setattr(reconciliation, "_log", fail)
    with pytest.raises(RuntimeError, match="no log"):
        list(reconciliation.repair())
    bent.refresh_from_db()
    assert bent.total_points == 99


def test_a_repair_does_not_wait_for_an_uncommitted_row(migrated: Database) -> None:
    """The member's figures match the ledger before the row is committed, and after it."""
    migrated.execute(
        """INSERT INTO "Member" (id, "totalPoints", "updatedAt") VALUES ('m1', 0, now()), ('m2', 5, now())"""
    )
    with migrated.connect() as gateway:
        gateway.execute("BEGIN")
        gateway.execute(
            """INSERT INTO "PointTransaction" (id, "memberId", action, points) VALUES ('a', 'm1', 'x', 3)"""
        )
        result = migrated.manage("reconcile_points", "--repair")
        assert (
            result.stdout == "m2: total_points 5 → 0\nRepaired 1 member. The audit log lists the changes.\n"
        )
        gateway.execute("COMMIT")
    assert migrated.fetch("""SELECT id, "totalPoints" FROM "Member" ORDER BY id""") == [("m1", 3), ("m2", 0)]
    assert migrated.manage("reconcile_points").stdout == "Every member's figures match the ledger.\n"
