"""Reconciliation: what a superuser has bent is found, said, and put right."""

from datetime import UTC, date, datetime
from io import StringIO

import pytest
from django.core.management import call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext

from council.models import AuditLog, Member
from gamification import reconciliation
from tests.databases import Database
from tests.factories import MemberFactory, PointTransactionFactory

TUESDAY = datetime(2026, 11, 24, 12, tzinfo=UTC)


@pytest.fixture
def bent(mia: Member, carl: Member) -> Member:
    """Mia, with a row in the ledger and figures that are not its."""
    PointTransactionFactory.create(member=mia, points=25, created_at=TUESDAY)
    PointTransactionFactory.create(member=carl, points=25, created_at=TUESDAY)
    Member.objects.filter(pk=mia.pk).update(
        total_points=99, points_month=None, month_points=1, last_active_at=None, current_streak=9
    )
    return mia


def test_figures_that_are_the_ledger_s_are_no_difference(mia: Member, carl: Member) -> None:
    PointTransactionFactory.create(member=mia)
    assert list(reconciliation.differences()) == list(reconciliation.repair()) == []
    assert not AuditLog.objects.exists()


def test_a_difference_names_what_was_found_and_what_is_right(bent: Member) -> None:
    [difference] = reconciliation.differences()
    assert difference.member_id == bent.pk
    assert str(difference) == (
        f"{bent.pk}: total_points 99 → 25, points_month None → 2026-11-01, month_points 1 → 25, "
        "last_active_at None → 2026-11-24 12:00:00+00:00, current_streak 9 → 1"
    )
    bent.refresh_from_db()
    assert bent.total_points == 99


def test_repair_gives_the_ledger_s_figures_and_writes_them_down(bent: Member) -> None:
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


def test_rows_that_were_written_with_the_triggers_off_are_a_difference(mia: Member) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        PointTransactionFactory.create(member=mia, points=7)
        cursor.execute("SET LOCAL session_replication_role = origin")
    [difference] = reconciliation.differences()
    assert difference.expected.total_points == 7


def test_members_are_compared_in_batches(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconciliation, "BATCH_MEMBERS", 3)
    members = MemberFactory.create_batch(8)
    Member.objects.filter(pk__in=[members[n].pk for n in (0, 3, 7)]).update(total_points=1)
    with CaptureQueriesContext(connection) as queries:
        found = {difference.member_id for difference in reconciliation.differences()}
    assert found == {members[n].pk for n in (0, 3, 7)}
    assert len(queries) == 2 * 3 + 1


def test_the_command_says_what_differs_with_the_exit_status_1_and_repairs_when_told(bent: Member) -> None:
    output = StringIO()
    with pytest.raises(SystemExit, match="1"):
        call_command("reconcile_points", stdout=output)
    assert f"{bent.pk}: total_points 99 → 25" in output.getvalue()
    advice = "The figures of 1 member are not the ledger's. To repair: manage.py reconcile_points --repair"
    assert advice in output.getvalue()

    output = StringIO()
    call_command("reconcile_points", "--repair", stdout=output)
    assert "Repaired 1 member. The audit log says what was changed." in output.getvalue()

    output = StringIO()
    call_command("reconcile_points", stdout=output)
    assert output.getvalue() == "Every member's figures are the ledger's.\n"


def test_a_row_that_is_under_way_is_no_difference_before_or_after(migrated: Database) -> None:
    """It holds its member: a repair of that member waits, and then sees it."""
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
            result.stdout
            == "m2: total_points 5 → 0\nRepaired 1 member. The audit log says what was changed.\n"
        )
        gateway.execute("COMMIT")
    assert migrated.fetch("""SELECT id, "totalPoints" FROM "Member" ORDER BY id""") == [("m1", 3), ("m2", 0)]
    assert migrated.manage("reconcile_points").stdout == "Every member's figures are the ledger's.\n"
