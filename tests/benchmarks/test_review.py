"""Decisions of staff, the points that these reverse or pay again, and what staff see."""

import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection

from benchmarks import definitions, flags, review, submissions
from benchmarks.answers import BenchmarkSubmission, BenchmarkVersion
from benchmarks.definitions import Category
from benchmarks.figures import Release
from benchmarks.models import BenchmarkReview, State
from benchmarks.review import Refused
from council.accounts.models import Account
from council.models import AuditLog, Member
from gamification import ledger
from gamification.models import PointTransaction
from tests.benchmarks.conftest import PAY, newest, state, submit
from tests.databases import Database
from tests.factories import AccountFactory, BenchmarkSubmissionFactory, MemberFactory

pytestmark = pytest.mark.any_server

REASON = "This is not a salary but a company's revenue."


def points(member: Member) -> int:
    member.refresh_from_db()
    return member.total_points


# Decisions -----------------------------------------------------------------------------------------------------------


def test_a_rejection_reverses_the_points_and_publishing_pays_them_again(mia: Member, sam: Account) -> None:
    number = submit(mia)
    assert points(mia) == 50
    for _ in range(2):
        assert review.reject(numbers=[number], reason=REASON, reviewer=sam) == 1
        assert review.reject(numbers=[number], reason=REASON, reviewer=sam) == 0
        assert (points(mia), state(number)) == (0, State.REJECTED)
        assert not BenchmarkSubmission.objects.get().is_valid
        assert review.publish(numbers=[number], reason="", reviewer=sam) == 1
        assert review.publish(numbers=[number], reason="", reviewer=sam) == 0
        assert (points(mia), state(number)) == (50, State.RECEIVED)
        assert BenchmarkSubmission.objects.get().is_valid
    rows = PointTransaction.objects.filter(member=mia).order_by("created_at", "pk")
    assert [row.points for row in rows] == [50, -50, 50, -50, 50]
    assert rows[1].reason == f"Your answers about pay were not accepted: {REASON}"
    assert BenchmarkVersion.objects.count() == 1


def test_a_rejection_also_reverses_points_paid_by_the_gateway(mia: Member, sam: Account) -> None:
    PointTransaction.objects.create(
        member=mia, action="benchmark_submission", points=40, metadata={"category": "COMPENSATION"}
    )
    PointTransaction.objects.create(
        member=mia, action="benchmark_submission", points=40, metadata={"category": "BUSINESS"}
    )
    BenchmarkSubmissionFactory.create(member=mia, category=PAY, data={"gtm_engineer_us": 120_000})
    flags.receive_waiting()
    number = newest(mia).pk
    review.reject(numbers=[number], reason=REASON, reviewer=sam)
    assert points(mia) == 40
    review.publish(numbers=[number], reason="", reviewer=sam)
    assert points(mia) == 90


def test_publishing_flagged_answers_pays_nothing(mia: Member, sam: Account) -> None:
    number = submit(mia, gtm_engineer_us=1_000_000)
    assert (state(number), points(mia)) == (State.FLAGGED, 50)
    review.publish(numbers=[number], reason="", reviewer=sam)
    assert (state(number), points(mia)) == (State.RECEIVED, 50)


def test_sending_answers_again_does_not_lift_a_rejection(mia: Member, sam: Account) -> None:
    review.reject(numbers=[submit(mia)], reason=REASON, reviewer=sam)
    again = submit(mia, gtm_engineer_us=130_000)
    assert (state(again), points(mia)) == (State.FLAGGED, 0)
    assert BenchmarkReview.objects.get(version=again).reason == flags.RESUBMITTED
    assert not BenchmarkSubmission.objects.get().is_valid

    submissions.withdraw(member=mia, category=PAY)
    anew = submit(mia, gtm_engineer_us=131_000)
    assert (state(anew), points(mia)) == (State.FLAGGED, 0)
    assert not BenchmarkSubmission.objects.get().is_valid
    assert flags.standing_rejection(member=mia, category=PAY) == REASON
    assert submit(mia, Category.BUSINESS) and points(mia) == 50

    review.publish(numbers=[anew], reason="Now it is right.", reviewer=sam)
    assert (state(anew), points(mia)) == (State.RECEIVED, 100)
    assert flags.standing_rejection(member=mia, category=PAY) is None
    assert state(submit(mia, gtm_engineer_us=132_000)) == State.RECEIVED


def test_a_version_changed_or_withdrawn_meanwhile_cannot_be_decided(mia: Member, sam: Account) -> None:
    former = submit(mia)
    submit(mia, gtm_engineer_us=130_000)
    other = submit(MemberFactory.create())
    for decide in (review.publish, review.reject):
        with pytest.raises(Refused, match="was changed or withdrawn since you looked at it"):
            decide(numbers=[other, former], reason=REASON, reviewer=sam)
    assert state(other) == State.RECEIVED
    assert points(mia) == 50
    current = newest(mia).pk
    submissions.withdraw(member=mia, category=PAY)
    with pytest.raises(Refused, match="was changed or withdrawn"):
        review.reject(numbers=[current], reason=REASON, reviewer=sam)
    withdrawal = newest(mia).pk
    with pytest.raises(Refused, match="was changed or withdrawn"):
        review.reject(numbers=[withdrawal], reason=REASON, reviewer=sam)


def test_a_decision_about_several_answers_is_made_for_all_or_none(sam: Account, db: None) -> None:
    members = [MemberFactory.create() for _ in range(5)]
    numbers = [submit(member) for member in members]
    with pytest.raises(Refused, match="no longer exist"):
        review.reject(numbers=[*numbers, uuid.uuid4()], reason=REASON, reviewer=sam)
    assert {state(number) for number in numbers} == {State.RECEIVED}
    assert review.reject(numbers=numbers, reason=REASON, reviewer=sam) == 5
    assert {points(member) for member in members} == {0}
    assert {state(number) for number in numbers} == {State.REJECTED}


@pytest.mark.parametrize(
    ("numbers", "reason", "message"),
    [
        (1, "", "The reason has 0 characters"),
        (1, "   too short", "The reason has 9 characters"),
        (1, "x" * 401, "The reason has 401 characters. Give a reason of 10 to 400"),
        (0, REASON, "Choose 1 to 50 answers, not 0"),
        (51, REASON, "Choose 1 to 50 answers, not 51"),
    ],
)
def test_an_invalid_decision_is_refused(
    numbers: int, reason: str, message: str, mia: Member, sam: Account
) -> None:
    own = submit(mia)
    given = [own, *(uuid.uuid4() for _ in range(numbers - 1))] if numbers else []
    with pytest.raises(Refused, match=message):
        review.reject(numbers=given, reason=reason, reviewer=sam)
    assert points(mia) == 50


def test_a_rejection_and_its_points_are_one_transaction(
    mia: Member, sam: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = submit(mia)

    def fail(**_: Any) -> None:
        raise ledger.Refused("no")

    monkeypatch.setattr(ledger, "reverse", fail)
    with pytest.raises(ledger.Refused):
        review.reject(numbers=[number], reason=REASON, reviewer=sam)
    assert state(number) == State.RECEIVED
    assert BenchmarkSubmission.objects.get().is_valid
    assert not AuditLog.objects.filter(action="BENCHMARK_REJECTED").exists()


# What staff see ------------------------------------------------------------------------------------------------------


def test_the_list_has_the_current_versions_with_a_state(mia: Member, carl: Member, sam: Account) -> None:
    former = submit(mia, gtm_engineer_us=1_000_000)
    odd = submit(mia, gtm_engineer_us=1_000_001)
    plain = submit(carl)
    gone = MemberFactory.create()
    submit(gone, gtm_engineer_us=1_000_000)
    submissions.withdraw(member=gone, category=PAY)
    rejected = submit(MemberFactory.create())
    review.reject(numbers=[rejected], reason=REASON, reviewer=sam)

    def numbers(state: State) -> list[uuid.UUID]:
        entries, has_more = review.queue(state=state)
        assert not has_more
        assert {entry.week for entry in entries} <= {
            datetime.now(UTC).date() - timedelta(datetime.now(UTC).weekday())
        }
        return [entry.number for entry in entries]

    assert numbers(State.FLAGGED) == [odd]
    assert numbers(State.RECEIVED) == [plain]
    assert numbers(State.REJECTED) == [rejected]
    assert former not in numbers(State.FLAGGED)


def test_the_order_of_the_list_reveals_only_the_week(db: None) -> None:
    numbers = [submit(MemberFactory.create(), gtm_engineer_us=500_000 + n) for n in range(12)]
    [*entries], _ = review.queue(state=State.FLAGGED)
    assert [entry.number for entry in entries] == sorted(numbers)


def test_the_list_has_pages(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(review, "MAX_AT_ONCE", 2)
    numbers = {submit(MemberFactory.create()) for _ in range(3)}
    first, has_more = review.queue(state=State.RECEIVED)
    second, has_still_more = review.queue(state=State.RECEIVED, page=2)
    assert (has_more, has_still_more) == (True, False)
    assert {entry.number for entry in (*first, *second)} == numbers


def test_a_view_of_answers_is_recorded(mia: Member, sam: Account, release: Release) -> None:
    number = submit(mia, gtm_engineer_us=399_000)
    [look] = review.look(numbers=[number], viewer=sam)
    assert look.number == number
    assert look.state == State.FLAGGED
    [pay, text] = look.lines
    assert (pay.field.name, int(pay.answer), pay.fault) == (
        "gtm_engineer_us", 399_000, "Far outside of the quartiles of the last release.",
    )  # fmt: skip
    assert pay.band
    assert (pay.band.p25, pay.band.p75) == (100_000, 140_000)
    assert text.answer == "$100 a meeting"
    assert [(decision.decided_at, decision.reviewed_by) for decision in look.decisions] == [(None, "")]
    seen = AuditLog.objects.get(action="BENCHMARK_SEEN")
    assert (seen.entity_type, seen.entity_id, seen.details, seen.performed_by) == (
        "BenchmarkVersion", str(number), None, "sam",
    )  # fmt: skip


def test_every_view_adds_a_row_to_the_audit_log(sam: Account, db: None) -> None:
    numbers = [submit(MemberFactory.create()) for _ in range(3)]
    review.look(numbers=numbers, viewer=sam)
    review.look(numbers=numbers[:1], viewer=sam)
    assert AuditLog.objects.filter(action="BENCHMARK_SEEN").count() == 4
    with pytest.raises(Refused, match="51 answers are too many at once"):
        review.look(numbers=[uuid.uuid4() for _ in range(51)], viewer=sam)


def test_exact_answers_are_counted_and_the_count_recorded(sam: Account, db: None) -> None:
    for price in (12, 12, 12.5):
        BenchmarkSubmissionFactory.create(data={"cost_per_domain": price, "domain_vendor": "porkbun"})
    price_field = definitions.field(Category.INFRASTRUCTURE, "cost_per_domain")
    found = review.count(category=Category.INFRASTRUCTURE, field=price_field, answer=12, viewer=sam)
    assert found == 2
    [row] = AuditLog.objects.filter(action="BENCHMARK_COUNTED")
    assert (row.entity_id, row.details) == ("INFRASTRUCTURE.cost_per_domain", {"answer": 12})


def test_the_count_goes_through_the_gin_index_at_200_000_rows(db: None) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role TO replica")  # no triggers, and no members
        cursor.execute(
            """INSERT INTO "BenchmarkSubmission" (id, "memberId", category, data, "updatedAt")
               SELECT 's' || n, 'g' || n, 'INFRASTRUCTURE',
                      jsonb_build_object('version', 1, 'cost_per_domain', n % 997, 'domain_vendor', 'porkbun'), now()
                 FROM generate_series(1, 200000) AS n"""
        )
        cursor.execute('ANALYZE "BenchmarkSubmission"')
    rows = review.exact(category=Category.INFRASTRUCTURE, answers={"cost_per_domain": 12})
    assert "BenchmarkSubmission_data_idx" in rows.explain()
    assert rows.count() == 201


# Concurrency ---------------------------------------------------------------------------------------------------------


def test_a_decision_about_a_version_without_a_state_leaves_it_its_first_one(
    mia: Member, sam: Account
) -> None:
    submit(mia)
    BenchmarkSubmission.objects.filter(member=mia).update(data={"gtm_engineer_us": 90_000})
    version = newest(mia)
    assert not version.reviews.exists()
    review.reject(numbers=[version.pk], reason=REASON, reviewer=sam)
    flags.receive_waiting()
    states = version.reviews.order_by("pk").values_list("state", "reviewed_by")
    assert list(states) == [(State.RECEIVED, None), (State.REJECTED, sam.staff_id)]


def test_points_are_right_after_concurrent_decisions_and_submissions(committing: Database) -> None:
    staff = [AccountFactory.create(username=f"staff{n}", is_staff=True) for n in range(2)]
    members = [MemberFactory.create() for _ in range(4)]
    for member in members:
        submit(member)

    def work(worker: int) -> None:
        try:
            for n in range(15):
                member = members[(worker + n) % 4]
                try:
                    if worker == 0:
                        submit(member, gtm_engineer_us=100_000 + n)
                    elif worker == 1:
                        BenchmarkSubmission.objects.filter(member=member).update(
                            data={"gtm_engineer_us": 90_000 + n}
                        )
                        flags.receive_waiting()
                    else:
                        decide = (review.reject, review.publish)[n % 2]
                        numbers = [newest(one).pk for one in members[n % 3 :]]
                        decide(numbers=numbers, reason=REASON, reviewer=staff[worker - 2])
                except Refused:
                    continue
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    flags.receive_waiting()
    for member in members:
        rejected = flags.is_rejection_standing(member=member, category=PAY)
        assert points(member) == (0 if rejected else 50)
        firsts = BenchmarkReview.objects.filter(version__member=member, reviewed_by=None)
        assert firsts.count() == BenchmarkVersion.objects.filter(member=member).count()


@pytest.fixture
def sent(committing: Database) -> list[uuid.UUID]:
    """Add the answers of two members, in the order of the members' ids."""
    members = sorted([MemberFactory.create(), MemberFactory.create()], key=lambda member: member.pk)
    return [submit(member) for member in members]


def reject(numbers: list[uuid.UUID]) -> int:
    try:
        return review.reject(numbers=numbers, reason=REASON, reviewer=AccountFactory.create(is_staff=True))
    finally:
        connection.close()


def test_a_decision_waits_for_answers_that_the_gateway_is_writing(
    committing: Database, sent: list[uuid.UUID]
) -> None:
    with committing.connect() as gateway, ThreadPoolExecutor(1) as pool:
        with gateway.transaction():
            gateway.execute("""UPDATE "BenchmarkSubmission" SET data = '{"gtm_engineer_us": 90000}'""")
            rejected = pool.submit(reject, sent[:1])
            committing.wait_for_waiting(1)
        with pytest.raises(Refused, match="was changed or withdrawn since you looked at it"):
            rejected.result()
    assert committing.fetch("""SELECT bool_and("isValid") FROM "BenchmarkSubmission" """) == [(True,)]


def test_a_decision_locks_members_by_their_ids_and_answers_after_them(
    committing: Database, sent: list[uuid.UUID]
) -> None:
    with committing.connect() as first, ThreadPoolExecutor(1) as pool:
        with first.transaction():
            lock = 'SELECT FROM "Member" WHERE id = (SELECT {}(id) FROM "Member") FOR NO KEY UPDATE'
            first.execute(lock.format("min").encode())
            second = pool.submit(reject, sent)
            committing.wait_for_waiting(1)
            first.execute("SET LOCAL lock_timeout = '1s'")  # the second has not locked these yet
            first.execute(lock.format("max").encode())
            first.execute('SELECT FROM "BenchmarkVersion" FOR UPDATE')
        assert second.result(timeout=30) == 2


def test_the_gateway_can_insert_rows_of_members_during_a_decision(
    committing: Database, sent: list[uuid.UUID]
) -> None:
    reviewer = AccountFactory.create(is_staff=True)
    with committing.connect() as gateway, gateway.transaction(force_rollback=True):
        gateway.execute('SELECT FROM "Member" FOR KEY SHARE')  # as the foreign key of a row does
        with connection.cursor() as cursor:
            cursor.execute("SET lock_timeout = '1s'")
        assert review.reject(numbers=sent, reason=REASON, reviewer=reviewer) == 2
