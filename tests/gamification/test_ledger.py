"""Adjustments: counted once, for all the members or for none, and written down."""

import threading
import uuid

import pytest

from council.accounts.models import Account
from council.models import Admin, AuditLog, Member
from gamification import ledger
from gamification.models import PointTransaction
from tests.databases import Database
from tests.factories import MemberFactory, PointTransactionFactory

REASON = "Helped at the meetup"
KEY = uuid.UUID("6f0d1d0e-5a0b-4b55-9f0f-6d1f3c0a7e11")
ADJUST = f"""
import uuid
from council.accounts.models import Account
from council.models import Member
from gamification import ledger
try:
    ledger.adjust(members=Member.objects.all(), points=50, reason={REASON!r},
                  performed_by=Account.objects.get(), form_key=uuid.UUID({str(KEY)!r}))
    print("counted")
except ledger.AlreadyAdjusted as error:
    print(error)
"""


def test_an_adjustment_is_written_down_for_every_member(mia: Member, carl: Member, sam: Account) -> None:
    PointTransactionFactory.create(member=mia, points=30)
    rows = ledger.adjust(members=[mia, carl], points=5, reason=f" {REASON} ", performed_by=sam, form_key=KEY)
    assert set(PointTransaction.objects.filter(action="admin_adjustment")) == set(rows)
    assert {(row.member_id, row.points) for row in rows} == {(mia.pk, 5), (carl.pk, 5)}
    assert all(row.metadata == {"reason": REASON, "adminId": "sam"} for row in rows)
    assert {
        *AuditLog.objects.values_list(
            "action", "entity_type", "entity_id", "details__previousTotal", "details__newTotal"
        )
    } == {("POINTS_ADJUSTED", "Member", mia.pk, 30, 35), ("POINTS_ADJUSTED", "Member", carl.pk, 0, 5)}
    log = AuditLog.objects.get(entity_id=mia.pk)
    assert log.details == {"points": 5, "reason": REASON, "previousTotal": 30, "newTotal": 35}
    assert log.performed_by == "sam"
    mia.refresh_from_db()
    assert mia.total_points == 35


def test_staff_whom_the_gateway_knows_are_named_by_their_id_there(mia: Member, sam: Account) -> None:
    sam.admin = Admin.objects.create(email="sam@council.example", password_hash="x")
    [row] = ledger.adjust(members=[mia], points=5, reason=REASON, performed_by=sam, form_key=KEY)
    assert row.metadata == {"reason": REASON, "adminId": sam.admin.pk}
    assert AuditLog.objects.get().performed_by == sam.admin.pk


def test_adjusting_twice_with_one_form_counts_once(mia: Member, carl: Member, sam: Account) -> None:
    PointTransactionFactory.create(member=mia, points=30)
    ledger.adjust(members=[mia], points=-20, reason=REASON, performed_by=sam, form_key=KEY)
    for members in ([mia], [mia, carl]):
        with pytest.raises(ledger.AlreadyAdjusted, match="Already recorded: this form was sent before."):
            ledger.adjust(members=members, points=-20, reason=REASON, performed_by=sam, form_key=KEY)
    mia.refresh_from_db()
    assert (mia.total_points, AuditLog.objects.count()) == (10, 1)


def test_another_form_counts_again(mia: Member, sam: Account) -> None:
    for key in (KEY, uuid.uuid4()):
        ledger.adjust(members=[mia], points=5, reason=REASON, performed_by=sam, form_key=key)
    mia.refresh_from_db()
    assert mia.total_points == 10


def test_ids_look_like_the_others(mia: Member, sam: Account) -> None:
    [row] = ledger.adjust(members=[mia], points=5, reason=REASON, performed_by=sam, form_key=KEY)
    assert len(row.pk) == len(mia.pk) == 25
    assert row.pk.startswith("c")
    assert row.pk.isalnum()
    assert row.pk == row.pk.lower()


@pytest.mark.parametrize(
    ("points", "words"),
    [
        (-31, "Mia Meyer has 30 points and would have -1."),
        (2**31 - 30, "Mia Meyer has 30 points and would have 2,147,483,648."),
        (0, "0 points change nothing."),
    ],
)
def test_a_refusal_for_one_member_writes_nothing_for_anyone(
    points: int, words: str, mia: Member, sam: Account
) -> None:
    PointTransactionFactory.create(member=mia, points=30)
    rich = MemberFactory.create()
    PointTransactionFactory.create(member=rich, points=100)
    members = [mia, rich] if points < 0 else [mia]
    with pytest.raises(ledger.Refused, match=words):
        ledger.adjust(members=members, points=points, reason=REASON, performed_by=sam, form_key=KEY)
    assert not PointTransaction.objects.filter(action="admin_adjustment").exists()
    assert not AuditLog.objects.exists()


@pytest.mark.parametrize("points", [-30, 2**31 - 31])
def test_totals_may_reach_the_ends_of_the_range(points: int, mia: Member, sam: Account) -> None:
    PointTransactionFactory.create(member=mia, points=30)
    ledger.adjust(members=[mia], points=points, reason=REASON, performed_by=sam, form_key=KEY)
    mia.refresh_from_db()
    assert mia.total_points in {0, 2**31 - 1}


def test_the_total_that_counts_is_the_one_in_the_database(mia: Member, sam: Account) -> None:
    PointTransactionFactory.create(member=mia, points=30)
    assert mia.total_points == 0
    ledger.adjust(members=[mia], points=-30, reason=REASON, performed_by=sam, form_key=KEY)
    assert AuditLog.objects.filter(details__previousTotal=30).exists()


@pytest.mark.parametrize("reason", ["too short", " " * 20, "x" * 501])
def test_a_reason_has_10_to_500_characters(reason: str, mia: Member, sam: Account) -> None:
    with pytest.raises(ledger.Refused, match="Give a reason of 10 to 500 characters."):
        ledger.adjust(members=[mia], points=5, reason=reason, performed_by=sam, form_key=KEY)


def test_a_member_who_is_gone_stops_it(mia: Member, sam: Account) -> None:
    gone = Member(pk="cgone")
    with pytest.raises(ledger.Refused, match="1 of the 2 members no longer exist."):
        ledger.adjust(members=[mia, gone], points=5, reason=REASON, performed_by=sam, form_key=KEY)
    assert not PointTransaction.objects.exists()


def test_a_double_click_counts_once(migrated: Database) -> None:
    """Two processes send one form at the same moment: both wait for a member whom a third session holds."""
    migrated.execute(
        """
        INSERT INTO "Member" (id, "updatedAt") SELECT 'm' || n, now() FROM generate_series(1, 3) AS n;
        INSERT INTO council_account (username, password, is_superuser, is_staff, is_active, created_at)
        VALUES ('sam', '', true, true, true, now())
        """
    )
    answers: list[str] = []
    clicks = [
        threading.Thread(
            target=lambda: answers.append(migrated.manage("shell", "-v", "0", "-c", ADJUST).stdout.strip())
        )
        for _ in range(2)
    ]
    with migrated.connect() as holder:
        with holder.transaction():
            holder.execute("""SELECT FROM "Member" WHERE id = 'm1' FOR UPDATE""")
            for click in clicks:
                click.start()
            migrated.wait_for_waiting(2)
        for click in clicks:
            click.join()
    assert sorted(answers) == ["Already recorded: this form was sent before.", "counted"]
    assert migrated.fetch('SELECT DISTINCT "totalPoints" FROM "Member"') == [(50,)]
    assert migrated.fetch('SELECT count(*) FROM "AuditLog"') == [(3,)]
