"""The home page: a member's standing, news, answered benchmarks, and recommendations."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client, override_settings
from django.test.utils import CaptureQueriesContext

from benchmarks import review, submissions
from benchmarks.answers import BenchmarkVersion
from benchmarks.definitions import Category
from benchmarks.figures import Release
from council import home
from council.accounts.models import Account
from council.models import Member, SubscriptionStatus
from gamification import ledger
from gamification.models import Action
from resources.models import ResourceDownload, ResourceTagging
from tests.factories import (
    AccountFactory,
    MemberFactory,
    PointTransactionFactory,
    ResourceFactory,
    ResourceTagFactory,
)
from tests.reading import words

pytestmark = pytest.mark.any_server

DOMAINS = {"domains_per_client": 4}
NOW = datetime.now(UTC)


@pytest.fixture
def account(mia: Member) -> Account:
    account: Account = AccountFactory.create(member=mia)
    return account


@pytest.fixture
def browser(account: Account) -> Client:
    browser = Client()
    browser.force_login(account)
    return browser


def words_of(browser: Client, **headers: Any) -> str:
    response = browser.get("/", headers=headers)
    assert response.status_code == 200
    return words(response)


def visited(account: Account, *, days: float) -> None:
    """Set the member's last visit to this many days ago."""
    Account.objects.filter(pk=account.pk).update(visited_at=NOW - timedelta(days=days))


def test_a_new_member_sees_what_each_part_is_for(browser: Client) -> None:
    words = words_of(browser)
    assert "Hello, Mia" in words
    assert "Level Member 100 more points to Contributor" in words
    assert "New in the last 30 days Nothing yet. New resources in the library" in words
    assert "You have not answered any yet." in words
    assert words.count("Not sent yet") == len(Category)
    assert "Recommended for you Nothing yet. Once you have downloaded a resource" in words


def test_the_standing_equals_that_of_the_points_page(mia: Member, browser: Client) -> None:
    PointTransactionFactory.create(points=900)
    PointTransactionFactory.create(member=mia, points=120, created_at=NOW - timedelta(days=400))
    PointTransactionFactory.create(member=mia, points=5)
    words = words_of(browser)
    assert "All time 125 points Rank 2 This month 5 points Rank 2 Streak 1 day" in words
    assert "Level Contributor 375 more points to Council Voice" in words


def test_things_since_the_last_visit_are_new_until_the_next(
    mia: Member, account: Account, browser: Client
) -> None:
    visited(account, days=3)
    ResourceFactory.create(title="An old one", created_at=NOW - timedelta(days=4))
    ResourceFactory.create(title="A new one", created_at=NOW - timedelta(days=2))
    ResourceFactory.create(
        title="Published since", created_at=NOW - timedelta(days=9), publish_at=NOW - timedelta(days=1)
    )
    ResourceFactory.create(title="Not out yet", status="SCHEDULED", publish_at=NOW + timedelta(days=1))
    ResourceFactory.create(title="A draft", status="DRAFT")
    PointTransactionFactory.create(member=mia, points=25, created_at=NOW - timedelta(days=5))
    ledger.award(
        ledger.Award(
            member_id=mia.pk, action=Action.RESOURCE_DOWNLOAD, subject="r", metadata={"title": "A template"}
        )
    )
    Release.objects.create(month=datetime(2026, 1, 1, tzinfo=UTC).date(), cut_off="2026-02-01T00:00Z")

    for _ in range(2):  # loading the page again shows the same
        words = words_of(browser)
        assert "New since your last visit" in words
        assert "Resources Published since Cold Email · Template A new one" in words
        assert "Points +5 A template" in words
        assert "Benchmarks Release of 1 February 2026" in words
        assert "old one" not in words
        assert "Not out yet" not in words
        assert "A draft" not in words
        assert "+25" not in words

    Account.objects.filter(pk=account.pk).update(visited_at=datetime.now(UTC) - timedelta(minutes=31))
    ResourceFactory.create(title="Newer still", created_at=datetime.now(UTC) - timedelta(minutes=5))
    words = words_of(browser)
    assert "Resources Newer still" in words
    assert "A new one" not in words


def test_news_beyond_the_limit_are_summarised(mia: Member, account: Account, browser: Client) -> None:
    visited(account, days=3)
    for n in range(7):
        ResourceFactory.create(title=f"Number {n}", created_at=NOW - timedelta(hours=n))
        PointTransactionFactory.create(member=mia, points=n + 1, created_at=NOW - timedelta(hours=n))
    words = words_of(browser)
    assert words.count("Number ") == 5
    assert "More in the library" in words
    assert "+28 points in 7 entries" in words


def test_a_visit_is_recorded_once(account: Account, browser: Client) -> None:
    def moments() -> tuple[Any, Any]:
        account.refresh_from_db()
        return account.visited_at, account.visited_before_at

    browser.head("/")
    words_of(browser, **{"Sec-Purpose": "prefetch"})
    assert moments() == (None, None)
    words_of(browser)
    first, none = moments()
    assert first
    assert none is None
    with CaptureQueriesContext(
        connection,
    ) as queries:
        words_of(browser)
    assert not [query for query in queries if query["sql"].startswith(("UPDATE", "INSERT", "DELETE"))]
    assert moments() == (first, None)
    visited(account, days=2)
    words_of(browser)
    second, before = moments()
    assert before == NOW - timedelta(days=2)
    assert second > first


def test_the_first_of_two_concurrent_requests_begins_the_visit(account: Account) -> None:
    visited(account, days=2)
    account, other = Account.objects.get(), Account.objects.get()
    home.visit(account)
    begun = Account.objects.get()
    assert home.visit(other).since == begun.visited_before_at
    assert (Account.objects.get().visited_at, begun.visited_before_at) == (
        begun.visited_at,
        NOW - timedelta(days=2),
    )


def test_the_four_categories_show_what_is_answered(mia: Member, browser: Client, sam: Account) -> None:
    operational = Category.OPERATIONAL
    submissions.submit(member=mia, category=operational, answers=DOMAINS)
    submissions.submit(member=mia, category=Category.BUSINESS, answers={"annual_revenue_band": "1m_2m"})
    words = words_of(browser)
    assert "You have answered 2 of 4." in words
    assert f"{operational.label} 1 of 7 questions Sent" in words
    version = BenchmarkVersion.objects.get(category=operational)
    review.reject(numbers=[version.pk], reason="Copied from another company", reviewer=sam)
    html = browser.get("/").content.decode()
    assert "Not accepted" in html
    assert 'href="/benchmarks/operational/answers/"' in html
    assert 'href="/benchmarks/business/"' in html


def test_resources_with_the_same_tags_are_recommended(mia: Member, browser: Client) -> None:
    tag = ResourceTagFactory.create()
    had, other = ResourceFactory.create(title="Had"), ResourceFactory.create(title="Like it")
    for resource in (had, other):
        ResourceTagging.objects.create(resource=resource, tag=tag)
    ResourceDownload.objects.create(member=mia, resource=had)
    assert "Recommended for you They share tags with your latest downloads. Like it" in words_of(browser)


@pytest.mark.parametrize(
    ("status", "link"),
    [
        (SubscriptionStatus.PAST_DUE, "Fix your payment"),
        (SubscriptionStatus.CANCELLED, "Become a member"),
        (SubscriptionStatus.NONE, "Become a member"),
    ],
)
def test_a_member_without_good_standing_gets_a_link_to_the_billing_page(
    status: SubscriptionStatus, link: str, mia: Member, browser: Client
) -> None:
    Member.objects.update(subscription_status=status)
    browser = Client()
    browser.force_login(Account.objects.get())
    Release.objects.create(month=datetime(2026, 1, 1, tzinfo=UTC).date(), cut_off="2026-02-01T00:00Z")
    with override_settings(GATEWAY_URL="https://gateway.example/billing"):
        html = browser.get("/").content.decode()
    assert f'<a href="https://gateway.example/billing">{link}</a>' in html
    assert 'href="/benchmarks/operational' not in html  # neither answers nor results are available
    assert "Release of" not in html
    assert "Where you manage your membership, you can" in words_of(browser)


def test_a_member_in_good_standing_gets_no_such_link(browser: Client) -> None:
    with override_settings(GATEWAY_URL="https://gateway.example/billing"):
        assert "gateway.example" not in browser.get("/").content.decode()


def test_it_takes_as_many_queries_for_many_rows_as_for_few(
    mia: Member, account: Account, browser: Client
) -> None:
    def queries() -> int:
        visited(account, days=3)
        with CaptureQueriesContext(connection) as captured:
            words_of(browser)
        return len(captured)

    make: Callable[..., Any] = ResourceFactory.create
    tag = ResourceTagFactory.create()

    def more(number: int) -> None:
        for n in range(number):
            resources = [make(), make()]
            for resource in resources:
                ResourceTagging.objects.create(resource=resource, tag=tag)
            ResourceDownload.objects.create(member=mia, resource=resources[0])
            PointTransactionFactory.create(member=mia, points=5)
            PointTransactionFactory.create(member=MemberFactory.create(), points=n + 1)

    more(1)
    submissions.submit(member=mia, category=Category.OPERATIONAL, answers=DOMAINS)
    submissions.submit(member=mia, category=Category.BUSINESS, answers={"annual_revenue_band": "1m_2m"})
    few = queries()
    more(20)
    assert queries() == few <= 22
