"""Awards are paid by the rule in force, once for each key."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from council.models import Member
from gamification import ledger
from gamification.ledger import Award
from gamification.models import Action, PointRule, PointTransaction
from tests.databases import Database
from tests.factories import MemberFactory

DOWNLOAD = Action.RESOURCE_DOWNLOAD


def total(member: Member) -> int:
    member.refresh_from_db()
    return member.total_points


def test_an_award_pays_what_the_rule_says(mia: Member) -> None:
    row = ledger.award(Award(mia.pk, DOWNLOAD, "r1", metadata={"resourceId": "r1"}))

    assert row is not None
    assert (row.member_id, row.action, row.points) == (mia.pk, "resource_download", 5)
    assert row.metadata == {"resourceId": "r1"}
    assert row == PointTransaction.objects.get()
    assert total(mia) == 5


def test_awarding_twice_with_one_key_pays_once(mia: Member) -> None:
    assert ledger.award(Award(mia.pk, DOWNLOAD, "r1")) is not None
    assert ledger.award(Award(mia.pk, DOWNLOAD, "r1")) is None
    assert total(mia) == 5


def test_each_action_on_a_subject_is_paid_once_per_member(mia: Member, carl: Member) -> None:
    awards = [
        Award(mia.pk, DOWNLOAD, "r1"),
        Award(mia.pk, DOWNLOAD, "r2"),
        Award(carl.pk, DOWNLOAD, "r1"),
        Award(mia.pk, Action.BENCHMARK_SUBMISSION, "COMPENSATION"),
        Award(mia.pk, Action.INTRO_COMPLETED),
    ]
    rows = ledger.award_many([*awards, *awards])

    assert [row.idempotency_key for row in rows] == sorted({award.key for award in awards})
    assert (total(mia), total(carl)) == (5 + 5 + 50 + 25, 5)


def test_an_award_may_count_several_times(mia: Member) -> None:
    row = ledger.award(Award(mia.pk, Action.DISCORD_ACTIVITY, "sync 1", times=12))
    assert row is not None
    assert row.points == 12


def test_a_changed_rule_applies_at_once_to_new_awards(mia: Member) -> None:
    ledger.award(Award(mia.pk, DOWNLOAD, "r1"))
    PointRule.objects.filter(action=DOWNLOAD).update(points=7)
    ledger.award(Award(mia.pk, DOWNLOAD, "r2"))
    assert total(mia) == 12


@pytest.mark.parametrize("change", [{"enabled": False}, {"points": 0}], ids=["disabled", "worth 0"])
def test_a_rule_that_pays_nothing_writes_nothing_and_blocks_nothing(
    mia: Member, change: dict[str, Any]
) -> None:
    PointRule.objects.filter(action=DOWNLOAD).update(**change)
    assert ledger.award(Award(mia.pk, DOWNLOAD, "r1")) is None
    assert not PointTransaction.objects.exists()

    PointRule.objects.filter(action=DOWNLOAD).update(enabled=True, points=5)
    assert ledger.award(Award(mia.pk, DOWNLOAD, "r1")) is not None


def test_any_number_of_awards_is_one_statement(mia: Member) -> None:
    for count in (1, 500):
        with CaptureQueriesContext(
            connection,
        ) as queries:
            rows = ledger.award_many([Award(mia.pk, DOWNLOAD, f"{count}-{n}") for n in range(count)])
        assert (len(queries), len(rows)) == (1, count)


def test_an_empty_list_of_awards_adds_no_rows(db: None) -> None:
    assert ledger.award_many([]) == []


REFUSED = {
    "an action that is none": (Award("m", "gift"), "'gift' is not an action. Use one of intro_completed"),  # type: ignore[arg-type]
    "an adjustment": (Award("m", Action.ADMIN_ADJUSTMENT), "Use ledger.adjust"),
    "no times": (Award("m", DOWNLOAD, times=0), "cannot be paid 0 times. Give a number from 1"),
    "a member who is gone": (Award("cgone", DOWNLOAD, "r"), r"A member no longer exists: .*\(cgone\)"),
    "a key that is too long": (
        Award("m", DOWNLOAD, "r" * 200),
        "has 220 characters, and at most 200 are allowed",
    ),
    "NUL in a subject": (Award("m", DOWNLOAD, "r\0"), "cannot store this: .*NUL.* Nothing was written"),
    "half a character in a subject": (Award("m", DOWNLOAD, "r\ud800"), "broken character cannot be stored"),
    "NUL in metadata": (Award("m", DOWNLOAD, metadata={"a": "\0"}), "cannot store this: unsupported Unicode"),
    "half a character in metadata": (Award("m", DOWNLOAD, metadata={"\ud800": 1}), "cannot store this"),
    "NaN in metadata": (
        Award("m", DOWNLOAD, metadata={"a": float("nan")}),
        "The metadata is not JSON: .*JSON compliant",
    ),
    "an object in metadata": (Award("m", DOWNLOAD, metadata={"a": object()}), "The metadata is not JSON"),
    "points beyond 32 bits": (Award("m", DOWNLOAD, times=2**31 - 1), "would leave the range"),
}


@pytest.mark.parametrize("fault", REFUSED)
def test_an_invalid_award_is_refused_with_a_message_and_nothing_is_paid(mia: Member, fault: str) -> None:
    wrong, words = REFUSED[fault]
    if wrong.member_id == "m":
        wrong = Award(mia.pk, wrong.action, wrong.subject, wrong.times, wrong.metadata)
        words = words.replace("220", str(219 + len(mia.pk)))
    with pytest.raises(ledger.Refused, match=words), transaction.atomic():
        ledger.award_many([Award(mia.pk, DOWNLOAD, "good"), wrong])

    assert not PointTransaction.objects.exists()
    assert total(mia) == 0


def test_a_total_beyond_32_bits_is_refused_with_a_message_for_all_awards(mia: Member, carl: Member) -> None:
    PointTransaction.objects.create(member=mia, action="x", points=2**31 - 3)
    with (
        pytest.raises(
            ledger.Refused, match="A total would leave the range from -2,147,483,648 to 2,147,483,647"
        ),
        transaction.atomic(),
    ):
        ledger.award_many([Award(carl.pk, DOWNLOAD, "r1"), Award(mia.pk, DOWNLOAD, "r1")])
    assert (total(mia), total(carl)) == (2**31 - 3, 0)


GATEWAY_ROW = """
INSERT INTO "PointTransaction" (id, "memberId", action, points, "idempotencyKey")
VALUES (%s, %s, 'resource_download', 5, %s)
"""


def test_the_gateway_s_rows_without_a_key_count_as_before(mia: Member) -> None:
    with connection.cursor() as cursor:
        for row in ("a", "b"):
            cursor.execute(GATEWAY_ROW, [row, mia.pk, None])
    assert ledger.award(Award(mia.pk, DOWNLOAD, "r1")) is not None
    assert total(mia) == 15


def test_an_award_that_the_gateway_paid_with_the_same_key_is_not_paid_again(mia: Member) -> None:
    with connection.cursor() as cursor:
        cursor.execute(GATEWAY_ROW, ["a", mia.pk, Award(mia.pk, DOWNLOAD, "r1").key])
    assert ledger.award(Award(mia.pk, DOWNLOAD, "r1")) is None
    assert total(mia) == 5


AWARD = """
from gamification import ledger
from gamification.models import Action
print(ledger.award(ledger.Award("m1", Action.RESOURCE_DOWNLOAD, "r1")) is not None)
"""


@pytest.mark.parametrize("end", ["COMMIT", "ROLLBACK"])
def test_an_award_waits_for_a_concurrent_one_with_the_same_key(migrated: Database, end: str) -> None:
    migrated.execute("""INSERT INTO "Member" (id, "updatedAt") VALUES ('m1', now())""")
    with migrated.connect() as gateway, ThreadPoolExecutor(1) as pool:
        gateway.execute("BEGIN")
        gateway.execute(GATEWAY_ROW, ["a", "m1", Award("m1", DOWNLOAD, "r1").key])
        second = pool.submit(migrated.manage, "shell", "-v", "0", "-c", AWARD)
        migrated.wait_for_waiting(1)
        gateway.execute(end.encode())
        assert second.result(timeout=30).stdout.strip() == str(end == "ROLLBACK")

    assert migrated.fetch('SELECT "totalPoints" FROM "Member"') == [(5,)]


def test_many_awards_of_one_member_add_up(db: None) -> None:
    members = MemberFactory.create_batch(3)
    ledger.award_many(
        [Award(member.pk, DOWNLOAD, f"r{n}") for n in range(40) for member in members[: 1 + n % 3]]
    )
    assert [total(member) for member in members] == [200, 130, 65]


@pytest.mark.django_db
def test_metadata_that_the_ledger_refuses_gives_a_message(mia: Member) -> None:
    given = Award(mia.pk, Action.INTRO_COMPLETED, metadata={"text": "x" * 20_000})
    with (
        pytest.raises(ledger.Refused, match="metadata of more than 16,384 bytes.* Nothing was written"),
        transaction.atomic(),
    ):
        ledger.award(given)
