"""The answers' admin page, which must not say whose they are."""

import pytest
from django.test import Client

from council.models import Member
from tests.factories import BenchmarkSubmissionFactory

SUBMISSIONS = "/admin/benchmarks/benchmarksubmission/"


@pytest.mark.parametrize("page", ["", "{pk}/change/", "{pk}/history/"])
def test_a_page_names_no_member(page: str, sams_browser: Client, mia: Member) -> None:
    submission = BenchmarkSubmissionFactory.create(member=mia)
    response = sams_browser.get(SUBMISSIONS + page.format(pk=submission.pk))
    assert response.status_code == 200
    html = response.content.decode()
    for trace in (mia.pk, "mia@", "Mia", "Meyer", "Acme", "council/member/c"):
        assert trace not in html


def test_the_answers_are_a_table(sams_browser: Client) -> None:
    submission = BenchmarkSubmissionFactory.create(
        data={"domain_vendor": "<b>Porkbun</b>", "cost_per_domain": 12}
    )
    html = sams_browser.get(f"{SUBMISSIONS}{submission.pk}/change/").content.decode()
    assert '<tr><th scope="row">cost_per_domain</th><td>12</td></tr>' in html
    assert '<tr><th scope="row">domain_vendor</th><td>&lt;b&gt;Porkbun&lt;/b&gt;</td></tr>' in html


def test_answers_that_are_no_object_are_shown_all_the_same(sams_browser: Client) -> None:
    submission = BenchmarkSubmissionFactory.create(data=["odd"])
    assert "odd" in sams_browser.get(f"{SUBMISSIONS}{submission.pk}/change/").content.decode()


@pytest.mark.parametrize(
    "field", ["member", "member__id__exact", "member_id", "member_id__exact", "member__email"]
)
def test_answers_cannot_be_found_by_member(field: str, sams_browser: Client, mia: Member) -> None:
    BenchmarkSubmissionFactory.create(member=mia)
    assert (
        sams_browser.get(SUBMISSIONS, {field: "mia@acme.example" if "email" in field else mia.pk}).status_code
        == 400
    )


@pytest.mark.parametrize(
    "field", ["benchmark_submissions", "benchmark_submissions__id", "benchmark_submissions__data"]
)
def test_a_member_cannot_be_found_by_answers(field: str, sams_browser: Client, mia: Member) -> None:
    submission = BenchmarkSubmissionFactory.create(member=mia)
    response = sams_browser.get("/admin/council/member/", {field: submission.pk})
    assert (response.status_code, response.headers["Location"]) == (302, "/admin/council/member/?e=1")


def test_there_is_no_search(sams_browser: Client, mia: Member) -> None:
    BenchmarkSubmissionFactory.create(member=mia)
    response = sams_browser.get(SUBMISSIONS, {"q": "mia"})
    assert response.context["cl"].result_count == 1
    assert 'name="q"' not in response.content.decode()
