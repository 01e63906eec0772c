"""The database pays for an introduction once, whoever records it."""

from concurrent.futures import ThreadPoolExecutor

from django.db import connection

from council.accounts.models import Account
from council.models import Member
from gamification import ledger
from gamification.models import PointRule, PointTransaction
from tests.databases import Database
from tests.factories import MemberFactory, PointTransactionFactory

NOTE = """UPDATE "Member" SET "introCompleted" = %s, "introCompletedAt" = now() WHERE id = %s"""


def note(member: Member, *, completed: bool = True) -> None:
    """Write like the gateway."""
    with connection.cursor() as cursor:
        cursor.execute(NOTE, [completed, member.pk])


def points(member: Member) -> int:
    member.refresh_from_db()
    return member.total_points


def test_an_introduction_is_paid_once_whoever_records_it(mia: Member) -> None:
    note(mia)
    note(mia)
    note(mia, completed=False)
    note(mia)
    assert points(mia) == 25
    assert mia.current_streak == 1
    entry = PointTransaction.objects.get(member=mia)
    assert (entry.action, entry.idempotency_key) == ("intro_completed", f"intro_completed:{mia.pk}")
    assert len(entry.pk) == 25


def test_a_member_inserted_with_an_introduction_is_paid(db: None) -> None:
    assert points(MemberFactory.create(intro_completed=True)) == 25
    assert points(MemberFactory.create()) == 0


def test_other_changes_pay_nothing(mia: Member) -> None:
    Member.objects.filter(pk=mia.pk).update(company="Acme")
    note(mia, completed=False)
    assert points(mia) == 0


def test_a_disabled_rule_pays_nothing_and_blocks_nothing(mia: Member) -> None:
    PointRule.objects.filter(action="intro_completed").update(enabled=False)
    note(mia)
    assert points(mia) == 0
    PointRule.objects.filter(action="intro_completed").update(enabled=True, points=40)
    note(mia, completed=False)
    note(mia)
    assert points(mia) == 40


def test_an_introduction_paid_by_the_gateway_is_not_paid_again(mia: Member) -> None:
    PointTransactionFactory.create(member=mia, action="intro_completed", points=10)
    note(mia)
    assert points(mia) == 10


def test_a_reversed_introduction_is_not_paid_again(mia: Member, sam: Account) -> None:
    note(mia)
    ledger.reverse(
        entry_id=PointTransaction.objects.get().pk, reason="It was somebody else's", performed_by=sam
    )
    note(mia, completed=False)
    note(mia)
    assert points(mia) == 0


def test_the_gateway_can_record_an_introduction_with_a_total_at_its_limit(mia: Member) -> None:
    PointTransactionFactory.create(member=mia, points=ledger.MAX_TOTAL)
    note(mia)
    assert points(mia) == ledger.MAX_TOTAL
    assert mia.intro_completed


def test_concurrent_records_of_an_introduction_are_paid_once(migrated: Database) -> None:
    migrated.execute("""INSERT INTO "Member" (id, "updatedAt") VALUES ('m1', now())""")

    def act(number: int) -> None:
        with migrated.connect() as session:
            session.execute(NOTE, [number % 2 == 0, "m1"])

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(act, range(64)))
    assert migrated.fetch("""SELECT "totalPoints" FROM "Member" """) == [(25,)]


def test_earlier_introductions_are_paid_with_their_own_date(migrated: Database) -> None:
    """Rows from before the trigger, and the migration that pays them, run twice."""
    fill = "gamification.migrations.0020_pay_introductions"
    sql = __import__(fill, fromlist=["PAY"]).PAY
    with migrated.connect() as session:
        session.execute("""SET session_replication_role = replica""")
        session.execute(
            """
            INSERT INTO "Member" (id, "updatedAt", "createdAt", "introCompleted", "introCompletedAt")
            VALUES ('early', now(), '2025-01-01', true, '2025-03-04 10:00'),
                   ('endless', now(), '2025-01-02', true, 'infinity'),
                   ('unknown', now(), '2025-01-03', true, NULL),
                   ('none', now(), '2025-01-03', false, NULL),
                   ('paid', now(), '2025-01-03', true, '2025-03-04 10:00')
            """
        )
        session.execute("SET session_replication_role = origin")
        session.execute(
            """INSERT INTO "PointTransaction" (id, "memberId", action, points)
               VALUES ('p', 'paid', 'intro_completed', 5)"""
        )
        members = [row[0] for row in session.execute('SELECT id FROM "Member"')]
        for _ in range(2):
            session.execute(sql, {"keys": members})
        found = session.execute(
            """SELECT id, "totalPoints", "lastActiveAt"::date::text, "monthPoints" FROM "Member" ORDER BY id"""
        ).fetchall()
    assert found[:3] == [
        ("early", 25, "2025-03-04", 25),
        ("endless", 25, "2025-01-02", 25),
        ("none", 0, None, 0),
    ]
    assert found[3][1] == 5
    assert found[4] == ("unknown", 25, "2025-01-03", 25)
    assert migrated.manage("reconcile_points").stdout.startswith("Every member")
