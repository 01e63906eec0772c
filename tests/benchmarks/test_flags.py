"""Flags, and the first states of versions."""

from concurrent.futures import ThreadPoolExecutor
from datetime import date
from typing import Any

import pytest
from django.db import connection

from benchmarks import definitions, flags, results
from benchmarks.answers import BenchmarkSubmission
from benchmarks.definitions import Category
from benchmarks.figures import Release
from benchmarks.models import BenchmarkReview, State
from council.models import Member
from tests.benchmarks.conftest import PAY, newest, state, submit, take_release
from tests.databases import Database
from tests.factories import BenchmarkSubmissionFactory, MemberFactory

pytestmark = pytest.mark.any_server


def flagged(**answers: Any) -> dict[str, str]:
    return flags.of(category=PAY, answers=answers, bands=results.last_bands(PAY))


@pytest.mark.parametrize(
    ("pay", "is_flagged"),
    [(40_000, False), (39_999, True), (400_000, False), (400_001, True), (0, True), (2_000_000, True)],
)
def test_an_implausible_number_is_flagged_even_without_a_release(
    pay: int, is_flagged: bool, db: None
) -> None:
    assert list(flagged(gtm_engineer_us=pay)) == (["gtm_engineer_us"] if is_flagged else [])


def test_flags_compare_with_the_quartiles_of_the_last_release(db: None) -> None:
    take_release(date(2026, 9, 1), gtm_engineer_us=(100_000, 110_000, 120_000))
    assert list(flagged(gtm_engineer_us=181_000)) == ["gtm_engineer_us"]
    assert list(flagged(gtm_engineer_us=180_000)) == []
    assert list(flagged(gtm_engineer_us=40_000)) == []
    take_release(date(2026, 10, 1), gtm_engineer_us=(170_000, 180_000, 190_000))
    assert list(flagged(gtm_engineer_us=181_000)) == []
    assert list(flagged(gtm_engineer_us=109_000)) == ["gtm_engineer_us"]


def test_flags_do_not_depend_on_live_answers(release: Release) -> None:
    before = flagged(gtm_engineer_us=250_000)
    for _ in range(12):
        submit(MemberFactory.create(), gtm_engineer_us=250_000)
    assert flagged(gtm_engineer_us=250_000) == before


def test_no_number_in_its_plausible_range_is_flagged(db: None) -> None:
    for category in Category:
        for field in definitions.number_fields(category):
            for number, is_flagged in (
                (field.plausible[0], False),
                (field.plausible[1], False),
                (field.maximum, field.maximum > field.plausible[1]),
            ):
                found = flags.of(category=category, answers={field.name: number}, bands={})
                assert bool(found) == is_flagged, f"{field.name} {number}"


def test_a_first_state_has_the_time_of_the_version(mia: Member) -> None:
    number = submit(mia, gtm_engineer_us=1_000_000)
    found = BenchmarkReview.objects.get(version=number)
    assert found.created_at == newest(mia).recorded_at
    assert found.reviewed_by is None
    assert found.reason == (
        "GTM engineer, United States: Outside of the plausible range: $40,000 to $400,000 a year."
    )


def test_answers_from_the_gateway_get_one_first_state(mia: Member, carl: Member) -> None:
    BenchmarkSubmissionFactory.create(member=mia, data={"cost_per_domain": "12"})
    BenchmarkSubmissionFactory.create(member=carl, data={"cost_per_domain": 5_000})
    BenchmarkSubmissionFactory.create(data={"cost_per_domain": 12}, is_valid=False)
    BenchmarkSubmissionFactory.create(data=["nonsense"])

    assert flags.receive_waiting() == 4
    assert flags.receive_waiting() == 0
    found = {row.version.member_id: row for row in BenchmarkReview.objects.select_related("version")}
    assert found[mia.pk].state == State.RECEIVED
    assert found[carl.pk].state == State.FLAGGED
    assert sorted(row.state for row in found.values()) == ["FLAGGED", "FLAGGED", "RECEIVED", "RECEIVED"]
    assert all(row.created_at == row.version.recorded_at for row in found.values())

    BenchmarkSubmission.objects.filter(member=mia).update(is_valid=False)
    assert flags.receive_waiting() == 1
    assert flags.receive_waiting() == 0
    assert state(newest(mia, Category.INFRASTRUCTURE).pk) == State.FLAGGED


def test_of_two_runs_that_give_first_states_the_second_gives_none(committing: Database) -> None:
    BenchmarkSubmissionFactory.create()

    def receive() -> int:
        try:
            return flags.receive_waiting()
        finally:
            connection.close()

    with committing.connect() as first, ThreadPoolExecutor(1) as pool:
        with first.transaction():
            first.execute('SELECT FROM "BenchmarkVersion" FOR UPDATE')
            second = pool.submit(receive)
            committing.wait_for_waiting(1)
            first.execute(
                """INSERT INTO "BenchmarkReview" ("versionId", state, reason, "createdAt")
                   SELECT id, 'RECEIVED', '', "recordedAt" FROM "BenchmarkVersion" """
            )
        assert second.result(timeout=30) == 0
    assert BenchmarkReview.objects.count() == 1
