"""Submitting, withdrawing and confirming answers, and the points for them."""

import math
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection

from benchmarks import definitions, submissions
from benchmarks.answers import BenchmarkSubmission, BenchmarkVersion
from benchmarks.definitions import Category
from benchmarks.fields import NumberField
from benchmarks.figures import Release
from benchmarks.models import BenchmarkReview, State
from benchmarks.submissions import ChangedMeanwhile, Invalid, NotInGoodStanding, Refused
from council.models import Member, SubscriptionStatus
from gamification import ledger
from gamification.models import Action, PointRule, PointTransaction
from tests.benchmarks.conftest import ANSWERS
from tests.databases import Database
from tests.factories import BenchmarkSubmissionFactory, MemberFactory

pytestmark = pytest.mark.any_server

PAY = Category.COMPENSATION
INFRASTRUCTURE = Category.INFRASTRUCTURE


def submit(member: Member, category: Category = INFRASTRUCTURE, **changes: Any) -> submissions.Submitted:
    return submissions.submit(member=member, category=category, answers={**ANSWERS[category], **changes})


def points(member: Member) -> int:
    member.refresh_from_db()
    return member.total_points


@pytest.mark.parametrize("category", Category)
def test_answers_are_stored_with_numbers_as_numbers_and_a_version(category: Category, mia: Member) -> None:
    submitted = submit(mia, category)

    assert submitted == submissions.Submitted(points=50, is_changed=True)
    row = BenchmarkSubmission.objects.get(member=mia)
    assert row.data == {"version": 1, **ANSWERS[category]}
    assert row.is_valid
    version = BenchmarkVersion.objects.get(member=mia)
    assert (version.number, version.company_key) == (1, f"team:{mia.team_id}")
    assert version.reviews.get().state == State.RECEIVED


def test_a_category_is_paid_once_whatever_is_sent_again(mia: Member) -> None:
    assert submit(mia).points == 50
    assert submit(mia, cost_per_domain=13) == submissions.Submitted(points=0, is_changed=True)
    assert submit(mia, cost_per_domain=13) == submissions.Submitted(points=0, is_changed=False)
    submissions.withdraw(member=mia, category=INFRASTRUCTURE)
    assert submit(mia).points == 0
    assert submit(mia, PAY).points == 50
    assert points(mia) == 100
    [paid, _] = PointTransaction.objects.filter(member=mia).order_by("created_at")
    assert paid.metadata == {"category": "INFRASTRUCTURE"}


def test_a_rule_that_is_off_pays_nothing_and_blocks_nothing(mia: Member) -> None:
    PointRule.objects.filter(action=Action.BENCHMARK_SUBMISSION).update(enabled=False)
    assert submit(mia).points == 0
    PointRule.objects.filter(action=Action.BENCHMARK_SUBMISSION).update(enabled=True)
    assert submit(mia).points == 50


def test_a_submission_that_fails_leaves_nothing(mia: Member, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(award: ledger.Award) -> None:
        raise ledger.Refused("no")

    monkeypatch.setattr(ledger, "award", fail)
    with pytest.raises(ledger.Refused):
        submit(mia)
    assert not BenchmarkSubmission.objects.exists()
    assert not BenchmarkVersion.objects.exists()
    assert not BenchmarkReview.objects.exists()


def test_every_submission_gets_the_same_answer_and_points_flagged_or_not(
    mia: Member, release: Release
) -> None:
    plain = submit(mia, PAY)
    odd = submit(MemberFactory.create(), PAY, gtm_engineer_us=1_999_999)

    assert plain == odd
    states = BenchmarkReview.objects.order_by("pk").values_list("state", flat=True)
    assert list(states) == [State.RECEIVED, State.FLAGGED]


@pytest.mark.parametrize("standing", ["NONE", "PAST_DUE", "CANCELLED"])
def test_a_member_without_standing_sends_nothing(standing: str, mia: Member) -> None:
    Member.objects.filter(pk=mia.pk).update(subscription_status=standing)  # without the session noticing
    with pytest.raises(NotInGoodStanding, match="requires an active membership"):
        submit(mia)
    assert not BenchmarkSubmission.objects.exists()


def test_a_member_who_lost_standing_can_still_withdraw(lars: Member) -> None:
    BenchmarkSubmissionFactory.create(member=lars)
    assert submissions.withdraw(member=lars, category=INFRASTRUCTURE)
    assert not submissions.withdraw(member=lars, category=INFRASTRUCTURE)
    assert submissions.of_member(lars) == {}


def test_a_deleted_member_gets_an_error(mia: Member) -> None:
    BenchmarkSubmissionFactory.create(member=mia)
    Member.objects.filter(pk=mia.pk).delete()
    with pytest.raises(Refused, match="no longer exists"):
        submit(mia)


def test_a_member_who_joined_yesterday_is_told_when_answers_count(mia: Member) -> None:
    assert submissions.counts_from(mia) == mia.created_at + timedelta(days=30)
    joined, mia.created_at = mia.created_at, datetime.max.replace(tzinfo=UTC)
    assert submissions.counts_from(mia) == mia.created_at
    mia.created_at = joined
    mia.created_at -= timedelta(days=31)
    assert submissions.counts_from(mia) is None


def test_answers_changed_elsewhere_are_not_overwritten(mia: Member) -> None:
    submissions.submit(member=mia, category=PAY, answers=ANSWERS[PAY], shown=0)
    for shown in (0, 2, 7):
        with pytest.raises(ChangedMeanwhile, match="changed elsewhere since this page was opened"):
            submissions.submit(member=mia, category=PAY, answers={"gtm_engineer_us": 5}, shown=shown)
    submissions.submit(member=mia, category=PAY, answers={"gtm_engineer_us": 50_000}, shown=1)
    submissions.withdraw(member=mia, category=PAY)
    with pytest.raises(ChangedMeanwhile):
        submissions.submit(member=mia, category=PAY, answers={"gtm_engineer_us": 5}, shown=2)
    submissions.submit(member=mia, category=PAY, answers={"gtm_engineer_us": 60_000}, shown=0)


def test_the_gateway_s_answers_are_shown_if_they_make_sense(mia: Member) -> None:
    BenchmarkSubmissionFactory.create(
        member=mia,
        data={
            "cost_per_domain": "12.50",
            "domain_vendor": "Joe's Domains",
            "warmup_tool": "Instantly",
            "old_field": 7,
            "cost_per_inbox": {"deep": [[[[1]]]]},
        },
    )
    submission = submissions.of_category(mia, INFRASTRUCTURE)
    assert submission
    assert submission.answers == {
        "cost_per_domain": Decimal("12.5"),
        "domain_vendor": "other",
        "warmup_tool": "instantly",
    }
    assert submission.others == {"domain_vendor_other": "Joe's Domains"}
    assert submissions.of_member(mia) == {INFRASTRUCTURE: submission}


def test_after_twelve_months_answers_can_be_confirmed(mia: Member) -> None:
    submit(mia)
    BenchmarkSubmission.objects.update(updated_at=datetime.now(UTC) - timedelta(days=364))
    assert not submissions.of_member(mia)[INFRASTRUCTURE].is_stale
    BenchmarkSubmission.objects.update(updated_at=datetime.now(UTC) - timedelta(days=366))
    assert submissions.of_member(mia)[INFRASTRUCTURE].is_stale

    assert submissions.confirm(member=mia, category=INFRASTRUCTURE)
    assert not submissions.of_member(mia)[INFRASTRUCTURE].is_stale
    assert BenchmarkVersion.objects.count() == 1
    assert not submissions.confirm(member=mia, category=PAY)


# Limits --------------------------------------------------------------------------------------------------------------

NUMBERS = [(category, field) for category in Category for field in definitions.number_fields(category)]


def needed(category: Category, name: str) -> dict[str, Any]:
    """Return the answers that a category requires in addition to a field."""
    return {
        field.name: ANSWERS[category][field.name]
        for field in definitions.FIELDS[category]
        if field.is_required and field.name != name
    }


@pytest.mark.parametrize(("category", "field"), NUMBERS, ids=lambda value: getattr(value, "name", ""))
def test_a_number_is_accepted_up_to_its_limits(category: Category, field: NumberField) -> None:
    def check(number: Any) -> dict[str, Any]:
        return submissions.check(
            category=category, answers={field.name: number, **needed(category, field.name)}
        )

    smallest = Decimal(1).scaleb(-field.unit.decimals)
    for number in (field.minimum, field.maximum, field.minimum + smallest, field.maximum - smallest):
        assert Decimal(str(check(number)[field.name])) == number
    for number in (field.minimum - smallest, field.maximum + smallest):
        with pytest.raises(
            Invalid, match=f"{field.name}: .* is outside of the allowed range. Write a number from"
        ):
            check(number)
    with pytest.raises(Invalid, match="has too many decimals. Write"):
        check(field.minimum + smallest / 10)


@pytest.mark.parametrize(
    "answer",
    [math.nan, math.inf, -math.inf, Decimal("NaN"), Decimal("sNaN"), Decimal("Infinity"), Decimal("1e400"), 10**400,
     "12", "١٢", True, [12], {"a": 1}, b"12", 12j],
    ids=repr,
)  # fmt: skip
def test_a_refused_number_is_reported_at_its_field(answer: Any) -> None:
    with pytest.raises(Invalid) as raised:
        submissions.check(category=INFRASTRUCTURE, answers={"cost_per_domain": answer})
    assert set(raised.value.faults) == {"cost_per_domain"}


@pytest.mark.parametrize(
    ("category", "answers", "faults"),
    [
        (PAY, {}, {"": "There is no answer yet. Answer at least one question."}),
        (PAY, {"gtm_engineer_us": None, "sdr_bdr_us_commission": ""}, {"": "There is no answer yet."}),
        (INFRASTRUCTURE, {"cost_per_inbox": 3}, {"cost_per_domain": "This answer is required"}),
        (Category.BUSINESS, {"agency_type": "hybrid"}, {"annual_revenue_band": "This answer is required"}),
        (Category.OPERATIONAL, {}, {"domains_per_client": "This answer is required"}),
        (PAY, {"gtm_engineer_us": 5, "salary": 5}, {"": "Pay does not ask for salary."}),
        (PAY, {"gtm_engineer_us": 5, "version": 2}, {"": "does not ask for version"}),
        (INFRASTRUCTURE, {**ANSWERS[INFRASTRUCTURE], "warmup_tool": "Instantly"}, {"warmup_tool": "not on the list"}),
        (INFRASTRUCTURE, {**ANSWERS[INFRASTRUCTURE], "warmup_tool": 7}, {"warmup_tool": "not on the list"}),
        (Category.BUSINESS, {"annual_revenue_band": "other"}, {"annual_revenue_band": "not on the list"}),
        (INFRASTRUCTURE, {**ANSWERS[INFRASTRUCTURE], "warmup_tool": "other"}, {"warmup_tool": "You chose Other."}),
        (
            INFRASTRUCTURE,
            {**ANSWERS[INFRASTRUCTURE], "domain_vendor_other": "Joe's"},
            {"domain_vendor": "You chose Porkbun and wrote “Joe's”"},
        ),
        (PAY, {"sdr_bdr_us_commission": "x" * 121}, {"sdr_bdr_us_commission": "This has 121 characters"}),
        (PAY, {"sdr_bdr_us_commission": "a\0b"}, {"sdr_bdr_us_commission": "cannot be shown"}),
        (PAY, {"sdr_bdr_us_commission": "a\ud800"}, {"sdr_bdr_us_commission": "broken character"}),
        (PAY, {"sdr_bdr_us_commission": 10}, {"sdr_bdr_us_commission": "This is not a text"}),
    ],
)  # fmt: skip
def test_errors_are_reported_by_field(category: Category, answers: Any, faults: dict[str, str]) -> None:
    with pytest.raises(Invalid) as raised:
        submissions.check(category=category, answers=answers)
    assert set(raised.value.faults) == set(faults)
    for name, words in faults.items():
        assert words in raised.value.faults[name]


def test_texts_become_one_line_and_a_text_for_other_sets_the_choice() -> None:
    stored = submissions.check(
        category=INFRASTRUCTURE, answers={"cost_per_domain": 12, "domain_vendor_other": " Joe's\n Domains "}
    )
    assert stored == {
        "version": 1,
        "cost_per_domain": 12,
        "domain_vendor": "other",
        "domain_vendor_other": "Joe's Domains",
    }
    longest = {"sdr_bdr_us_commission": "x" * 120}
    assert submissions.check(category=PAY, answers=longest) == {"version": 1, **longest}


def test_every_choice_of_every_list_is_accepted() -> None:
    for category in Category:
        for field in definitions.choice_fields(category):
            for value, _ in field.choices:
                answers = {field.name: value, **needed(category, field.name)}
                assert submissions.check(category=category, answers=answers)[field.name] == value


# At once -------------------------------------------------------------------------------------------------------------


def test_two_tabs_at_once_are_paid_once_and_the_second_gets_an_error(committing: Database) -> None:
    member = MemberFactory.create(subscription_status=SubscriptionStatus.ACTIVE)

    def send(price: int) -> str:
        try:
            submitted = submissions.submit(
                member=member, category=INFRASTRUCTURE, answers={"cost_per_domain": price}, shown=0
            )
        except ChangedMeanwhile:
            return "changed"
        finally:
            connection.close()
        return f"{submitted.points} points"

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(send, range(1, 9)))
    assert sorted(results) == ["50 points", *["changed"] * 7]
    assert points(member) == 50
    assert BenchmarkVersion.objects.count() == BenchmarkReview.objects.count() == 1


def test_a_member_who_loses_good_standing_meanwhile_sends_no_answers(committing: Database) -> None:
    """The submission waits for the change of the member, and then reads the new row."""
    member = MemberFactory.create(subscription_status=SubscriptionStatus.ACTIVE)

    def send() -> None:
        try:
            submit(member)
        finally:
            connection.close()

    with committing.connect() as first, ThreadPoolExecutor(1) as pool:
        with first.transaction():
            first.execute("""UPDATE "Member" SET "subscriptionStatus" = 'CANCELLED'""")
            second = pool.submit(send)
            committing.wait_for_waiting(1)
        with pytest.raises(NotInGoodStanding):
            second.result(timeout=30)


def test_the_gateway_can_insert_rows_of_a_member_during_a_submission(committing: Database) -> None:
    member = MemberFactory.create(subscription_status=SubscriptionStatus.ACTIVE)
    with committing.connect() as gateway, gateway.transaction(force_rollback=True):
        gateway.execute('SELECT FROM "Member" FOR KEY SHARE')  # as the foreign key of a row does
        with connection.cursor() as cursor:
            cursor.execute("SET lock_timeout = '1s'")
        assert submit(member).is_changed
