"""The benchmarks' pages for members and staff in a real browser."""

import re
from datetime import date, datetime, timedelta

import pytest
from django.db import transaction

from benchmarks import submissions
from benchmarks.answers import BenchmarkSubmission, BenchmarkVersion
from benchmarks.definitions import Category
from benchmarks.figures import Release
from council.accounts.models import Account
from council.models import Member, SubscriptionStatus
from tests.benchmarks.conftest import ANSWERS, add_figure
from tests.browser import Visitor
from tests.factories import AccountFactory, BenchmarkSubmissionFactory, MemberFactory

pytestmark = pytest.mark.any_server


@pytest.fixture
def release(live: str) -> Release:
    """A release that is newer than that of any other test."""
    newest = Release.objects.order_by("-month").first()
    month = (newest.month + timedelta(days=32)).replace(day=1) if newest else date(2020, 1, 1)
    cut_off = datetime.combine((month + timedelta(days=32)).replace(day=1), datetime.min.time())
    with transaction.atomic():
        release = Release.objects.create(month=month, cut_off=cut_off.astimezone())
        pay, tools = Category.COMPENSATION, Category.INFRASTRUCTURE
        add_figure(release, pay, "gtm_engineer_us", p10=82_000, p25=100_000, p50=120_000, p75=150_000, p90=180_000, companies_at_least=30)  # fmt: skip  # noqa: E501
        add_figure(release, pay, "gtm_engineer_offshore", p25=18_000, p50=24_000, p75=36_000)
        add_figure(release, pay, "account_manager", p25=68_000, p50=82_000, p75=100_000)
        add_figure(release, pay, "copywriter_hourly", p25=30, p50=30, p75=30, as_of=date(2020, 1, 1))
        add_figure(release, tools, "domain_vendor", shares={"porkbun": 60, "godaddy": 20, "other": 10})
        add_figure(release, tools, "cost_per_domain", p25=9.1, p50=11, p75=13)
    return release


@pytest.fixture
def member(live: str) -> Member:
    return MemberFactory.create(first_name="Mia", last_name="Meyer")


@pytest.fixture
def staff(live: str) -> Account:
    return AccountFactory.create(is_staff=True, is_superuser=True)


def test_a_member_answers_and_compares(visitor: Visitor, member: Member, release: Release) -> None:
    visitor.sign_in(member)
    visitor.open("/benchmarks/")
    visitor.inspect("benchmarks")
    visitor.page.get_by_role("link", name=re.compile("Answer.*Pay")).click()
    visitor.page.wait_for_url("**/compensation/answers/")
    visitor.page.get_by_label("GTM engineer, United States").fill("$130,000")
    visitor.page.get_by_label("GTM engineer, offshore").fill("about 30k")
    visitor.page.get_by_label("Account manager").fill("900k")
    visitor.page.get_by_role("button", name="Send answers").click()
    visitor.page.get_by_role("alert").wait_for()
    visitor.inspect("benchmarks-faults")
    visitor.page.get_by_label("GTM engineer, offshore").fill("30k")
    visitor.page.get_by_role("button", name="Send answers").click()
    visitor.page.wait_for_url("**/benchmarks/")
    assert "You earned 50 points." in visitor.page.content()
    visitor.page.get_by_role("link", name=re.compile("Results.*Pay")).click()
    visitor.page.wait_for_url("**/compensation/")
    visitor.inspect("benchmarks-results")
    visitor.page.get_by_label("Compare with").select_option("Consulting")
    visitor.page.get_by_role("button", name="Show").click()
    visitor.page.wait_for_url("**/compensation/?group=agency_type.consulting")
    visitor.inspect("benchmarks-group")


def test_choices_protection_and_withdrawal(visitor: Visitor, member: Member, release: Release) -> None:
    category = Category.INFRASTRUCTURE
    submissions.submit(member=member, category=category, answers=ANSWERS[category])
    BenchmarkSubmission.objects.filter(member=member).update(updated_at="2020-01-01T00:00Z")
    visitor.sign_in(member)
    visitor.open("/benchmarks/infrastructure/")
    visitor.inspect("benchmarks-choices")
    visitor.open("/benchmarks/infrastructure/answers/")
    visitor.inspect("benchmarks-answers")
    visitor.open("/benchmarks/protection/")
    visitor.inspect("benchmarks-protection")
    visitor.open("/benchmarks/")
    visitor.inspect("benchmarks-reminder")
    visitor.page.get_by_role("button", name="Still right").click()
    visitor.page.wait_for_url("**/benchmarks/")
    visitor.page.get_by_role("link", name=re.compile("Withdraw.*Infrastructure")).click()
    visitor.page.wait_for_url("**/withdraw/")
    visitor.inspect("benchmarks-withdraw")
    visitor.page.get_by_role("button", name="Withdraw").click()
    visitor.page.wait_for_url("**/benchmarks/")
    assert not BenchmarkSubmission.objects.filter(member=member).exists()


def test_a_lapsed_member_sees_what_is_missing(visitor: Visitor, live: str) -> None:
    lapsed = MemberFactory.create(subscription_status=SubscriptionStatus.CANCELLED)
    BenchmarkSubmissionFactory.create(member=lapsed)
    visitor.sign_in(lapsed)
    visitor.open("/benchmarks/")
    visitor.inspect("benchmarks-lapsed")


def test_staff_review(visitor: Visitor, staff: Account, member: Member, release: Release) -> None:
    category = Category.COMPENSATION
    submissions.submit(
        member=member, category=category, answers={"gtm_engineer_us": 399_000, "account_manager": 80_000}
    )
    number = BenchmarkVersion.objects.get(member=member).pk
    visitor.sign_in(staff)
    visitor.open("/admin/benchmarks/benchmarkreview/")
    visitor.picture("review-queue")
    visitor.page.get_by_label(f"Choose {number}").check()
    visitor.page.get_by_role("button", name="Look at the chosen answers").click()
    visitor.page.wait_for_url("**/answers/")
    visitor.picture("review-answers")
    visitor.page.get_by_label("Reason").fill("This is the pay of a whole team.")
    visitor.page.get_by_role("button", name="Reject").click()
    visitor.page.wait_for_url("**/benchmarkreview/")
    visitor.open("/admin/benchmarks/benchmarkreview/decisions/")
    visitor.picture("review-decisions")
    visitor.open("/admin/benchmarks/benchmarkreview/count/")
    visitor.page.get_by_label("Answer").fill("399k")
    visitor.page.get_by_role("button", name="Count").click()
    visitor.page.get_by_role("status").wait_for()
    visitor.picture("review-count")
