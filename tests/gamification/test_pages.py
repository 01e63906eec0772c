"""The pages about points in a real browser, and what staff do with the ledger."""

import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from council.accounts.models import Account
from council.models import Member, SubscriptionStatus
from gamification import ledger
from gamification.models import Action, PointTransaction
from tests.browser import Visitor
from tests.factories import AccountFactory, MemberFactory, PointTransactionFactory

pytestmark = pytest.mark.any_server

NewVisitor = Callable[..., Visitor]
REASON = "Led the workshop on cold calls\nand wrote it up for everybody"
NAMES = ("Ana", "Bo", "Cleo", "Dee", "Eli", "Fay", "Gus", "Hal", "Ida", "Jo", "Kim", "Lou", "Maximilian")


@pytest.fixture
def staff(live: str) -> Account:
    return AccountFactory.create(is_staff=True, is_superuser=True)


@pytest.fixture
def busy(live: str, staff: Account) -> Member:
    """A member with 70 entries over four months, one taken back, and some by staff."""
    member: Member = MemberFactory.create(first_name="Mia", last_name="Meyer")
    now = datetime.now(UTC)
    PointTransaction.objects.bulk_create(
        PointTransaction(
            member=member,
            action=(Action.DISCORD_ACTIVITY, Action.RESOURCE_DOWNLOAD)[n % 2],
            points=(1 + n % 7, 5)[n % 2],
            created_at=now - timedelta(hours=40 * n + 30),
        )
        for n in range(1, 70)
    )
    ledger.award(ledger.Award(member_id=member.pk, action=Action.INTRO_COMPLETED))
    ledger.adjust(members=[member], points=1200, reason=REASON, performed_by=staff, form_key=_key())
    download = PointTransaction.objects.filter(member=member, points=5).latest("created_at")
    ledger.reverse(
        entry_id=download.pk, reason="The file was broken and has been taken away", performed_by=staff
    )
    return member


@pytest.fixture
def leaders(live: str) -> list[Member]:
    """About thirty members with more points than all other listed members."""
    Member.objects.filter(total_points__gte=900_000).update(leaderboard_visible=False)
    members = [
        MemberFactory.create(first_name=first, last_name=last)
        for last in ("Moreau", "Oyelaran")
        for first in NAMES
    ]
    members += [
        MemberFactory.create(first_name=None, discord_username="night_owl"),
        MemberFactory.create(first_name=None),
        MemberFactory.create(first_name="W" * 60),
        MemberFactory.create(first_name="شهرزاد"),
    ]
    for n, member in enumerate(members):
        PointTransactionFactory.create(member=member, points=90_000 - 250 * (n // 2))
        PointTransactionFactory.create(member=member, points=900_000, created_at="2026-01-05T10:00Z")
    return members


def _key() -> uuid.UUID:
    return uuid.uuid4()


def tab_to(visitor: Visitor, name: str) -> None:
    for _ in range(60):
        if visitor.focused() == name:
            return
        visitor.page.keyboard.press("Tab")
    raise AssertionError(f"{name} cannot be reached")


def test_a_member_sees_their_points_and_every_entry(visitor: Visitor, busy: Member) -> None:
    visitor.sign_in(busy)
    visitor.open("/points/")
    visitor.inspect("points")
    visitor.page.get_by_role("link", name="All your points").click()
    visitor.page.wait_for_url("**/points/history/")
    visitor.inspect("history")
    visitor.page.get_by_role("link", name="Older").click()
    visitor.page.wait_for_url("**/points/history/?after=*")
    visitor.inspect("history-older")
    visitor.page.get_by_role("link", name="Newest").click()
    visitor.page.wait_for_url("**/points/history/")


def test_a_member_without_points_is_told_how_to_earn_them(visitor: Visitor, live: str) -> None:
    visitor.sign_in(MemberFactory.create())
    visitor.open("/points/")
    visitor.inspect("points-none")
    visitor.open("/points/history/")
    visitor.inspect("history-none")


def test_an_invalid_place_links_back_to_the_newest_entries(visitor: Visitor, busy: Member) -> None:
    visitor.sign_in(busy)
    visitor.open("/points/history/?after=yesterday")
    visitor.expect_complaints("400 (Bad Request)")
    visitor.inspect("history-no-place")
    visitor.page.get_by_role("link", name="To the newest entries").click()
    visitor.page.wait_for_url("**/points/history/")


def test_the_leaderboard_marks_the_member_in_it(visitor: Visitor, leaders: list[Member]) -> None:
    visitor.sign_in(leaders[5])
    visitor.open("/leaderboard/")
    assert visitor.page.locator("tr[aria-current]").all_inner_texts() == [
        "5\tFay Moreau You\nPillar\n\t89,500"
    ]
    visitor.inspect("leaderboard-month")
    visitor.page.get_by_role("link", name="All time").click()
    visitor.page.wait_for_url("**/leaderboard/?period=all")
    visitor.inspect("leaderboard-all-time")


def test_a_member_outside_the_top_25_sees_their_neighbours(
    visitor: Visitor, leaders: list[Member], busy: Member
) -> None:
    visitor.sign_in(busy)
    visitor.open("/leaderboard/")
    visitor.page.get_by_role("heading", name="Around you").wait_for()
    visitor.inspect("leaderboard-outside")


def test_a_lapsed_member_sees_their_own_figures(
    visitor: Visitor, leaders: list[Member], busy: Member
) -> None:
    Member.objects.filter(pk=busy.pk).update(subscription_status=SubscriptionStatus.PAST_DUE)
    visitor.sign_in(Member.objects.get(pk=busy.pk))
    visitor.open("/leaderboard/")
    visitor.inspect("leaderboard-lapsed")
    visitor.open("/points/")
    visitor.inspect("points-lapsed")


def test_a_member_hides_and_is_listed_again_by_keyboard(visitor: Visitor, leaders: list[Member]) -> None:
    visitor.sign_in(leaders[3])
    visitor.open("/leaderboard/?period=all")
    tab_to(visitor, "Hide me")
    visitor.page.keyboard.press("Enter")
    visitor.page.get_by_text("You are hidden: no other member sees you").wait_for()
    assert visitor.path == "/leaderboard/?period=all"
    visitor.inspect("leaderboard-hidden")
    visitor.open("/points/")
    visitor.inspect("points-hidden")
    visitor.open("/leaderboard/")
    tab_to(visitor, "List me")
    visitor.page.keyboard.press("Enter")
    visitor.page.get_by_text("You are listed on leaderboards, by name.").wait_for()


def test_the_pages_work_without_javascript(new_visitor: NewVisitor, leaders: list[Member]) -> None:
    visitor = new_visitor(java_script_enabled=False)
    visitor.sign_in(leaders[0])
    visitor.open("/leaderboard/")
    visitor.page.get_by_role("button", name="Hide me").click()
    visitor.page.get_by_role("button", name="List me").wait_for()


LEDGER = "/admin/gamification/pointtransaction/"


def test_staff_reverse_an_entry(visitor: Visitor, staff: Account, busy: Member) -> None:
    visitor.sign_in(staff)
    visitor.open(f"{LEDGER}?member__id__exact={busy.pk}")
    visitor.picture("staff-ledger")
    entry = PointTransaction.objects.filter(member=busy, points__gt=0).earliest("created_at")
    visitor.open(f"{LEDGER}{entry.pk}/change/")
    visitor.picture("staff-entry")
    visitor.page.get_by_role("link", name="Reverse").click()
    visitor.page.wait_for_url("**/reverse/")
    visitor.page.get_by_label("Reason").fill("too short")
    visitor.page.get_by_role("button", name="Reverse").click()
    visitor.page.get_by_label("Reason").fill("The resource was a duplicate")
    visitor.picture("staff-reverse")
    visitor.page.get_by_role("button", name="Reverse").click()
    visitor.page.get_by_text("points recorded.").wait_for()
    visitor.open(f"{LEDGER}{entry.pk}/change/")
    visitor.picture("staff-entry-reversed")


def test_staff_adjust_points_after_a_preview(visitor: Visitor, staff: Account, busy: Member) -> None:
    visitor.sign_in(staff)
    visitor.open(f"/admin/council/member/?q={busy.email}")
    visitor.page.locator("#action-toggle").check()
    visitor.page.locator("select[name=action]").select_option("adjust_points")
    visitor.page.get_by_role("button", name="Go").click()
    visitor.page.get_by_label("Points").fill("-250")
    visitor.page.get_by_label("Reason").fill("Counted twice in October")
    visitor.page.get_by_role("button", name="Preview").click()
    visitor.page.get_by_text("1,284").wait_for()
    visitor.picture("staff-adjust")
    visitor.page.get_by_role("button", name="Record").click()
    visitor.page.get_by_text("-250 points recorded for 1 member.").wait_for()
    visitor.picture("staff-adjusted")


def test_staff_change_a_rule(visitor: Visitor, staff: Account) -> None:
    visitor.sign_in(staff)
    visitor.open("/admin/gamification/pointrule/")
    visitor.picture("staff-rules")
    visitor.page.get_by_role("link", name="Share your benchmarks").click()
    visitor.page.get_by_label("Points").wait_for()
    visitor.picture("staff-rule")
