"""Adjustments count once, for all members or for none, and are recorded in the audit log."""

import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from django.db import connection, transaction

from council.accounts.models import Account
from council.models import Admin, AuditLog, Member
from gamification import ledger
from gamification.models import Action, PointTransaction
from tests.databases import Database
from tests.factories import MemberFactory, PointTransactionFactory

REASON = "Helped at the meetup"
KEY = uuid.UUID("6f0d1d0e-5a0b-4b55-9f0f-6d1f3c0a7e11")


def test_an_adjustment_is_logged_for_every_member(mia: Member, carl: Member, sam: Account) -> None:
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


def test_staff_of_the_gateway_are_named_by_their_id_in_admin(mia: Member, sam: Account) -> None:
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


def test_ids_of_entries_look_like_the_gateway_s(mia: Member, sam: Account) -> None:
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


def test_limits_apply_to_the_total_in_the_database(mia: Member, sam: Account) -> None:
    PointTransactionFactory.create(member=mia, points=30)
    assert mia.total_points == 0
    ledger.adjust(members=[mia], points=-30, reason=REASON, performed_by=sam, form_key=KEY)
    assert AuditLog.objects.filter(details__previousTotal=30).exists()


@pytest.mark.parametrize("reason", ["too short", " " * 20, "x" * 501])
def test_a_reason_has_10_to_500_characters(reason: str, mia: Member, sam: Account) -> None:
    with pytest.raises(ledger.Refused, match="Give a reason of 10 to 500 characters."):
        ledger.adjust(members=[mia], points=5, reason=reason, performed_by=sam, form_key=KEY)


def test_a_deleted_member_stops_the_adjustment(mia: Member, sam: Account) -> None:
    gone = Member(pk="cgone")
    with pytest.raises(ledger.Refused, match="1 of the 2 members no longer exist."):
        ledger.adjust(members=[mia, gone], points=5, reason=REASON, performed_by=sam, form_key=KEY)
    assert not PointTransaction.objects.exists()


@pytest.fixture
def in_use(migrated: Database) -> Iterator[Database]:
    """A database in which this process commits, with the members m1 to m3, an entry for each, and the superuser sam."""
    migrated.execute(
        """
        INSERT INTO "Member" (id, "updatedAt") SELECT 'm' || n, now() FROM generate_series(1, 3) AS n;
        INSERT INTO "PointTransaction" (id, "memberId", action, points)
        SELECT 'e' || n, 'm' || n, 'x', 5 FROM generate_series(1, 3) AS n;
        INSERT INTO council_account (username, password, is_superuser, is_staff, is_active, created_at)
        VALUES ('sam', '', true, true, true, now())
        """
    )
    with migrated.as_default_connection():
        yield migrated


def adjust_all() -> None:
    ledger.adjust(
        members=[*Member.objects.all()],
        points=5,
        reason=REASON,
        performed_by=Account.objects.get(),
        form_key=KEY,
    )


def reverse_e1() -> None:
    ledger.reverse(entry_id="e1", reason=REASON, performed_by=Account.objects.get())


@pytest.mark.parametrize("act", [adjust_all, reverse_e1])
def test_the_gateway_can_insert_rows_of_a_member_during_an_adjustment(
    in_use: Database, act: Callable[[], None]
) -> None:
    """Foreign keys lock the member with FOR KEY SHARE."""
    with in_use.connect() as gateway, transaction.atomic():
        act()
        gateway.execute("""SELECT FROM "Member" WHERE id = 'm1' FOR KEY SHARE NOWAIT""")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            gateway.execute("""SELECT FROM "Member" WHERE id = 'm1' FOR NO KEY UPDATE NOWAIT""")


def in_a_thread(act: Callable[[], object]) -> None:
    try:
        act()
    finally:
        connection.close()


def test_a_double_click_counts_once(in_use: Database) -> None:
    """The same form is sent twice at the same time. Both requests wait for a member that a third session has locked."""
    with in_use.connect() as holder, ThreadPoolExecutor(2) as pool:
        with holder.transaction():
            holder.execute("""SELECT FROM "Member" WHERE id = 'm1' FOR UPDATE""")
            clicks = [pool.submit(in_a_thread, adjust_all) for _ in range(2)]
            in_use.wait_for_waiting(2)
        refused = [str(error) for click in clicks if (error := click.exception(timeout=30))]
    assert refused == ["Already recorded: this form was sent before."]
    assert in_use.fetch('SELECT DISTINCT "totalPoints" FROM "Member"') == [(10,)]
    assert in_use.fetch('SELECT count(*) FROM "AuditLog"') == [(3,)]


def test_an_adjustment_locks_its_members_in_the_order_of_their_ids(in_use: Database) -> None:
    """Like bulk writers: a transaction that waits for the first member has locked none of the others."""
    free = """SELECT id FROM "Member" WHERE id > 'm1' ORDER BY id FOR NO KEY UPDATE NOWAIT"""
    with in_use.connect() as writer, ThreadPoolExecutor(1) as pool:
        with writer.transaction():
            writer.execute("""SELECT FROM "Member" WHERE id = 'm1' FOR NO KEY UPDATE""")
            adjusting = pool.submit(in_a_thread, adjust_all)
            in_use.wait_for_waiting(1)
            assert writer.execute(free.encode()).fetchall() == [("m2",), ("m3",)]
        adjusting.result(timeout=30)
    assert in_use.fetch('SELECT DISTINCT "totalPoints" FROM "Member"') == [(10,)]


def test_a_second_reversal_waits_for_the_first_and_finds_it(in_use: Database) -> None:
    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            reverse_e1()
            second = pool.submit(in_a_thread, reverse_e1)
            in_use.wait_for_waiting(1)
        with pytest.raises(ledger.AlreadyReversed, match="Already reversed"):
            second.result(timeout=30)


def test_a_reversal_finds_another_one_that_was_committed_meanwhile(in_use: Database) -> None:
    """The first has committed when the second gets the lock, so the second must find the reversal, not a used key."""
    with in_use.connect() as first, ThreadPoolExecutor(1) as pool:
        with first.transaction():
            first.execute("""SELECT FROM "Member" WHERE id = 'm1' FOR NO KEY UPDATE""")
            second = pool.submit(in_a_thread, reverse_e1)
            in_use.wait_for_waiting(1)
            first.execute(
                """INSERT INTO "PointTransaction" (id, "memberId", action, points, "reversesId")
                   VALUES ('r', 'm1', 'x', -5, 'e1')"""
            )
        with pytest.raises(ledger.AlreadyReversed, match="Already reversed"):
            second.result(timeout=30)


def test_awards_are_inserted_in_the_order_of_their_keys(in_use: Database) -> None:
    """So two statements with the same keys wait for each other, but never in both directions."""
    awards = [ledger.Award(f"m{n}", Action.RESOURCE_DOWNLOAD, "r") for n in (3, 2, 1)]
    taken = """INSERT INTO "PointTransaction" (id, "memberId", action, points, "idempotencyKey")
               VALUES (%s, %s, 'x', 1, %s)"""
    with in_use.connect() as writer, ThreadPoolExecutor(1) as pool:
        with writer.transaction(force_rollback=True):
            writer.execute(taken, ["w1", "m1", awards[2].key])
            awarding = pool.submit(in_a_thread, lambda: ledger.award_many(awards))
            in_use.wait_for_waiting(1)
            for number in (2, 3):  # it waits for the first key, and holds none of the others
                writer.execute("SET LOCAL lock_timeout = '1s'")
                writer.execute(taken, [f"w{number}", f"m{number}", awards[3 - number].key])
        awarding.result(timeout=30)
    assert in_use.fetch('SELECT DISTINCT "totalPoints" FROM "Member"') == [(10,)]
