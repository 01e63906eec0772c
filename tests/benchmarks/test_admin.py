"""Staff review answers without any hint whose they are."""

import re
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.test import Client

from benchmarks import review, submissions
from benchmarks.answers import BenchmarkSubmission, BenchmarkVersion
from benchmarks.definitions import Category
from benchmarks.figures import Release
from benchmarks.models import BenchmarkReview, State
from council import roles
from council.accounts.models import Account
from council.models import AdminRole, AuditLog, Member
from gamification.models import PointTransaction
from tests.benchmarks.conftest import ANSWERS
from tests.factories import AccountFactory, MemberFactory

pytestmark = pytest.mark.any_server

QUEUE = "/admin/benchmarks/benchmarkreview/"
REASON = "This is not a salary but a company's revenue."
NOBODYS = "11cfbe6f-2d37-4c99-a9fb-3b7f387508f9"
FillIn = Callable[..., dict[str, Any]]


def submit(member: Member, **changes: Any) -> uuid.UUID:
    answers = {**ANSWERS[Category.COMPENSATION], **changes}
    submissions.submit(member=member, category=Category.COMPENSATION, answers=answers)
    return BenchmarkVersion.objects.filter(member=member).latest("number").pk


@pytest.fixture
def reviewer(db: None) -> Account:
    """Staff of the gateway with the role ADMIN."""
    account = AccountFactory.create(username="rita", is_staff=True)
    roles.assign(account, AdminRole.ADMIN)
    return account


@pytest.fixture
def reviewers_browser(reviewer: Account) -> Client:
    browser = Client()
    browser.force_login(reviewer)
    return browser


def one(number: uuid.UUID) -> str:
    return f"{QUEUE}answers/{number}/"


def traces(member: Member, number: uuid.UUID) -> list[str]:
    """Texts that would reveal whose an answer is: member, company, the row's id, and the time in any format."""
    version = BenchmarkVersion.objects.get(pk=number)
    row = BenchmarkSubmission.objects.get(member=member)
    moment = version.recorded_at
    is_monday = moment.weekday() == 0  # the week's own day
    return [
        *(member.pk, str(member.email), str(member.first_name), str(member.last_name), str(member.company)),
        *(str(member.team_id), version.company_key, row.pk, row.pk[:9]),
        *(f"{moment:%H:%M}", f"{moment:%Y-%m-%dT}", f"{moment:%Y-%m-%d }"),
        "\0" if is_monday else f"{moment:%-d %b %Y}",
    ]  # fmt: skip


def test_no_page_reveals_whose_answers_these_are(
    mia: Member, sam: Account, sams_browser: Client, release: Release
) -> None:
    number = submit(mia, gtm_engineer_us=1_000_000)
    chosen = {"number": [str(number)]}
    pages = [
        sams_browser.get(QUEUE),
        sams_browser.get(QUEUE, {"state": "RECEIVED"}),
        sams_browser.get(one(number)),
        sams_browser.post(f"{QUEUE}answers/", chosen),
        sams_browser.post(f"{QUEUE}answers/", {**chosen, "decision": "reject", "reason": "short"}),
        sams_browser.post(f"{QUEUE}count/", {"question": "COMPENSATION.gtm_engineer_us", "answer": "1m"}),
        sams_browser.get("/admin/"),
    ]
    for page in pages:
        assert page.status_code == 200, page
        html = re.sub(r'value="[A-Za-z0-9]{64}"', "", page.content.decode())
        for trace in traces(mia, number):
            assert trace not in html, f"{trace!r} on {page.request['PATH_INFO']}"
    assert str(number) in pages[0].content.decode()
    assert str(number) not in pages[1].content.decode()


def test_no_record_reveals_whose_answers_were_rejected(
    mia: Member, reviewer: Account, reviewers_browser: Client
) -> None:
    number = submit(mia)
    sent = {"number": [str(number)], "decision": "reject", "reason": REASON}
    assert reviewers_browser.post(f"{QUEUE}answers/", sent).status_code == 302
    mia.refresh_from_db()
    assert mia.total_points == 0

    rows = list(AuditLog.objects.all())
    assert {row.action for row in rows} >= {"BENCHMARK_REJECTED"}
    for row in rows:
        told = f"{row.action} {row.entity_type} {row.entity_id} {row.details}"
        assert not [trace for trace in traces(mia, number) if trace in told], told
    assert not LogEntry.objects.exists()
    # The member can see their ledger row, so it must not name the reviewer.
    reversal = PointTransaction.objects.get(member=mia, points=-50)
    assert reviewer.staff_id not in str(reversal.metadata)
    ledger = reviewers_browser.get("/admin/gamification/pointtransaction/").content.decode()
    assert "Mia" not in ledger
    for lookup in ("?q=mia@acme.example", f"?member__id__exact={mia.pk}", "?action=benchmark_submission"):
        page = reviewers_browser.get(f"/admin/gamification/pointtransaction/{lookup}", follow=True)
        assert page.context["cl"].result_count == 0, lookup
    assert (
        reviewers_browser.get(f"/admin/gamification/pointtransaction/{reversal.pk}/change/").status_code
        == 302
    )


def test_there_is_no_page_for_the_raw_rows(sams_browser: Client) -> None:
    for model in ("benchmarksubmission", "benchmarkversion"):
        assert sams_browser.get(f"/admin/benchmarks/{model}/").status_code == 404
    ours = {model.__name__ for model in admin.site._registry if model._meta.app_label == "benchmarks"}
    assert not ours & {"BenchmarkSubmission", "BenchmarkVersion"}


@pytest.mark.parametrize(
    "query",
    [
        "q=mia",
        "member=x",
        "version__member=x",
        "version__member__email=mia@acme.example",
        "version__member__id__exact=x",
        "version__company_key=team:x",
        "version__recorded_at__gte=2026-01-01",
        "created_at__gte=2026-01-01",
        "o=5",
        "category=COMPENSATION",
    ],
)
def test_no_query_string_filters_or_orders_the_list(query: str, sams_browser: Client, db: None) -> None:
    for _ in range(4):
        submit(MemberFactory.create())
    whole = sams_browser.get(f"{QUEUE}?state=RECEIVED")
    asked = sams_browser.get(f"{QUEUE}?state=RECEIVED&{query}")
    assert [entry.number for entry in asked.context["entries"]] == [
        entry.number for entry in whole.context["entries"]
    ]
    assert len(whole.context["entries"]) == 4


def test_members_cannot_be_found_by_their_answers(sams_browser: Client, mia: Member) -> None:
    submit(mia)
    for lookup in (
        "benchmark_submissions__data",
        "benchmarksubmission__category",
        "benchmarkversion__number",
    ):
        response = sams_browser.get("/admin/council/member/", {lookup: "COMPENSATION"})
        assert response.status_code in {302, 400}, lookup


def test_flagged_answers_come_first_with_a_chart(
    mia: Member, carl: Member, sams_browser: Client, release: Release
) -> None:
    odd, _ = submit(mia, gtm_engineer_us=399_000), submit(carl)
    listed = sams_browser.get(QUEUE)
    assert [entry.number for entry in listed.context["entries"]] == [odd]
    page = sams_browser.get(one(odd)).content.decode()
    assert "Far outside of the quartiles of the last release." in page
    assert "$399,000 a year" in page
    assert '<svg class="bands"' in page
    assert "lower quartile $100,000, median $120,000, upper quartile $140,000, this answer $399,000" in page
    assert "◀" not in page and "▶" in page
    for forbidden in ("<style", " style=", "<script>"):
        assert forbidden not in page


def test_each_view_of_an_answer_is_logged_but_not_a_view_of_the_list(
    mia: Member, carl: Member, sam: Account, sams_browser: Client
) -> None:
    numbers = [submit(mia), submit(carl)]
    sams_browser.get(QUEUE, {"state": "RECEIVED"})
    assert not AuditLog.objects.filter(action="BENCHMARK_SEEN").exists()
    sams_browser.get(one(numbers[0]))
    sams_browser.post(f"{QUEUE}answers/", {"number": [str(number) for number in numbers]})
    seen = AuditLog.objects.filter(action="BENCHMARK_SEEN").values_list("entity_id", "performed_by")
    assert sorted(seen) == sorted([(str(numbers[0]), "sam"), *((str(number), "sam") for number in numbers)])


def test_several_answers_are_decided_together(sams_browser: Client, fill_in: FillIn, db: None) -> None:
    members = [MemberFactory.create() for _ in range(3)]
    numbers = [str(submit(member, gtm_engineer_us=1_000_000)) for member in members]
    page = sams_browser.post(f"{QUEUE}answers/", {"number": numbers})
    sent = fill_in(page, decision="reject", reason=REASON)
    assert sorted(sent["number"]) == sorted(numbers)
    done = sams_browser.post(f"{QUEUE}answers/", sent, follow=True)
    assert "3 answers rejected." in done.content.decode()
    assert (
        list(Member.objects.filter(pk__in=[m.pk for m in members]).values_list("total_points", flat=True))
        == [0] * 3
    )

    sams_browser.post(f"{QUEUE}answers/", {"number": numbers[:1], "decision": "publish", "reason": ""})
    decisions = sams_browser.get(f"{QUEUE}decisions/").content.decode()
    assert decisions.count("Rejected") == 3
    assert decisions.count("<td>Published") == 1
    assert decisions.count("This is not a salary but a company&#x27;s revenue.") == 3


def test_a_decision_that_is_refused_says_why_and_loses_nothing(sams_browser: Client, mia: Member) -> None:
    number = submit(mia)
    sent = {"number": [str(number)], "decision": "reject", "reason": "Too short"}
    page = sams_browser.post(f"{QUEUE}answers/", sent)
    html = page.content.decode()
    assert "The reason has 9 characters. Give a reason of 10 to 400 characters." in html
    assert "Too short" in html
    submit(mia, gtm_engineer_us=130_000)
    html = sams_browser.post(f"{QUEUE}answers/", {**sent, "reason": REASON}).content.decode()
    assert "was changed or withdrawn since you looked at it" in html
    assert "The member has changed or withdrawn these answers since." in html
    assert 'value="reject"' not in html
    assert BenchmarkReview.objects.filter(state=State.REJECTED).count() == 0


@pytest.mark.parametrize(
    ("address", "status"),
    [
        (f"{QUEUE}?state=NONSENSE", 404),
        (f"{QUEUE}?page=0", 404),
        (f"{QUEUE}?page=-1", 404),
        (f"{QUEUE}?page=%D9%A3", 404),
        (f"{QUEUE}?page={'9' * 400}", 404),
        (f"{QUEUE}?state=REJECTED&page=2", 200),
        (f"{QUEUE}answers/{NOBODYS}/", 404),
        (f"{QUEUE}answers/nonsense/", 404),
        (f"{QUEUE}answers/", 302),
        (f"{QUEUE}1/change/", 404),
        (f"{QUEUE}add/", 404),
        (f"{QUEUE}decisions/", 200),
        (f"{QUEUE}count/", 200),
    ],
)
def test_unknown_addresses_are_not_found(address: str, status: int, sams_browser: Client) -> None:
    assert sams_browser.get(address).status_code == status


@pytest.mark.parametrize("numbers", [[], ["nonsense"], [NOBODYS], [NOBODYS] * 60])
@pytest.mark.parametrize("decision", ["", "publish", "reject", "nonsense"])
def test_ids_that_are_invalid_are_not_found(
    numbers: list[str], decision: str, sams_browser: Client, db: None
) -> None:
    sent = {"number": numbers, "decision": decision, "reason": REASON}
    assert sams_browser.post(f"{QUEUE}answers/", sent).status_code in {302, 404}
    assert not AuditLog.objects.exists()


def test_exact_answers_are_counted_and_small_counts_are_hidden(sams_browser: Client, db: None) -> None:
    def ask(question: str, answer: str) -> str:
        sent = {"question": question, "answer": answer}
        return sams_browser.post(f"{QUEUE}count/", sent).content.decode()

    for n in range(5):
        submit(MemberFactory.create(), gtm_engineer_us=120_000 if n else 130_000)
    pay = "COMPENSATION.gtm_engineer_us"
    assert "Fewer than 5 submissions have this answer." in ask(pay, "$120,000")
    submit(MemberFactory.create(), gtm_engineer_us=120_000)
    assert "5 submissions have this answer." in ask(pay, "120k")
    assert "Fewer than 5" in ask(pay, "130k")
    assert "is not a number" in ask(pay, "lots")
    assert "is not on the list: Lead generation, " in ask("BUSINESS.agency_type", "circus")
    assert "Fewer than 5" in ask("BUSINESS.agency_type", "Full service")
    assert "Select a valid choice" in ask("BUSINESS.member", "x")
    assert AuditLog.objects.filter(action="BENCHMARK_COUNTED").count() == 4


def test_permissions_decide_who_may_see_and_decide(
    mia: Member, noras_browser: Client, reviewers_browser: Client, client: Client
) -> None:
    number = submit(mia)
    viewer = Client()
    viewer.force_login(AccountFactory.create(is_staff=True, permissions=["benchmarks.view_benchmarkreview"]))
    decide = {"number": [str(number)], "decision": "reject", "reason": REASON}
    pages = [QUEUE, one(number), f"{QUEUE}decisions/", f"{QUEUE}count/"]
    for page in pages:
        assert noras_browser.get(page).status_code == 403
        assert client.get(page).status_code == 302
        assert viewer.get(page).status_code == reviewers_browser.get(page).status_code == 200
    assert 'name="decision"' not in viewer.get(one(number)).content.decode()
    for browser, status in ((noras_browser, 403), (viewer, 403), (client, 302), (reviewers_browser, 302)):
        assert browser.post(f"{QUEUE}answers/", decide).status_code == status
    assert BenchmarkReview.objects.latest("pk").reviewed_by == "rita"
    member = Client()
    member.force_login(AccountFactory.create(member=mia))
    assert member.get(QUEUE).status_code == 302


def test_only_the_week_of_an_answer_is_shown(mia: Member, sams_browser: Client) -> None:
    number = submit(mia)
    monday = datetime.now(UTC).date() - timedelta(datetime.now(UTC).weekday())
    [entry] = sams_browser.get(QUEUE, {"state": "RECEIVED"}).context["entries"]
    assert entry == review.Entry(number, Category.COMPENSATION, monday, State.RECEIVED)
    assert f"week of {monday:%-d %b %Y}" in sams_browser.get(one(number)).content.decode()
