"""The pages about points, for members, lapsed and hidden members, staff and visitors."""

import re
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from html import unescape
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from council.accounts.models import Account
from council.models import Member
from gamification import ledger
from gamification.models import PointRule, PointTransaction
from tests.factories import AccountFactory, MemberFactory, PointTransactionFactory
from tests.reading import plain, words

pytestmark = pytest.mark.any_server

OVERVIEW = "/points/"
HISTORY = "/points/history/"
LEADERBOARD = "/leaderboard/"
PRIVACY = "/leaderboard/privacy/"
KEY = uuid.UUID("6f0d1d0e-5a0b-4b55-9f0f-6d1f3c0a7e11")
PAGES = (OVERVIEW, HISTORY, LEADERBOARD, f"{LEADERBOARD}?period=all")
REASON = "Helped at the meetup"
MINUS = "\N{MINUS SIGN}"
FillIn = Callable[..., dict[str, Any]]


def browser_of(member: Member) -> Client:
    browser = Client()
    browser.force_login(AccountFactory.create(member=member))
    return browser


@pytest.fixture
def mias_browser(mia: Member) -> Client:
    return browser_of(mia)


@pytest.fixture
def lars_browser(lars: Member) -> Client:
    return browser_of(lars)


def rows(response: Any) -> list[list[str]]:
    """Return the cells of a page's tables, row by row, without tags and levels."""
    html = re.sub(r'<span class="entry-facts level">[^<]*</span>', "", response.content.decode())
    found = re.findall(r"<tr.*?</tr>", html, re.DOTALL)
    return [
        [plain(cell) for cell in re.findall(r"<t[dh](?: [^>]*)?>(.*?)</t[dh]>", row, re.DOTALL)]
        for row in found
    ]


# Who may see what


@pytest.mark.parametrize("address", [*PAGES, PRIVACY])
def test_pages_are_for_members(address: str, client: Client, sams_browser: Client) -> None:
    assert client.get(address).headers["Location"].startswith("/sign-in/?next=/")
    assert sams_browser.get(address).status_code == 403
    assert client.post(address).status_code == 302
    assert sams_browser.post(address, {"listed": "no"}).status_code == 403


@pytest.mark.parametrize("address", PAGES)
def test_pages_accept_only_get(address: str, mias_browser: Client) -> None:
    assert mias_browser.get(address).status_code == 200
    assert mias_browser.head(address).status_code == 200
    assert mias_browser.post(address).status_code == 405


@pytest.mark.parametrize("address", PAGES)
def test_a_lapsed_member_sees_their_own_figures_and_what_is_missing(
    address: str, lars: Member, mia: Member, lars_browser: Client
) -> None:
    PointTransactionFactory.create(member=mia, points=50)
    PointTransactionFactory.create(member=lars, points=1234)
    response = lars_browser.get(address)
    assert response.status_code == 200
    assert "1,234" in words(response)
    assert "Mia" not in response.content.decode()
    if address != HISTORY:
        assert "Your membership has ended." in words(response)
        assert "1,234 points Rank 1" in words(response)


@pytest.mark.parametrize("address", [OVERVIEW, HISTORY, LEADERBOARD])
@pytest.mark.parametrize("name", ["member", "member_id", "id", "pk", "user", "account", "email", "after"])
def test_no_parameter_shows_another_member_s_entries(
    name: str, address: str, mia: Member, lars: Member, mias_browser: Client
) -> None:
    entry = PointTransactionFactory.create(
        member=lars, points=77, metadata={"reason": "Only Lars may read it"}
    )
    PointTransactionFactory.create(member=mia, points=5, created_at="2020-01-01T00:00Z")
    place = ledger.Place(datetime(2100, 1, 1, tzinfo=UTC), 5, entry.pk)
    for value in [str(place)] if name == "after" else [lars.pk, lars.email, "lars", lars_account(lars)]:
        response = mias_browser.get(address, {name: value})
        assert response.status_code == 200
        assert "Only Lars" not in response.content.decode()
        assert "77" not in [cell.strip("+") for row in rows(response) for cell in row]


def lars_account(lars: Member) -> int:
    return Account.objects.get_or_create(member=lars, defaults={"username": "lars"})[0].pk


# The overview


def test_the_overview_shows_figures_the_latest_entries_and_what_earns_points(
    mia: Member, carl: Member, mias_browser: Client
) -> None:
    PointTransactionFactory.create(member=mia, points=1500, created_at="2025-03-04T10:00Z")
    PointTransactionFactory.create(member=carl, points=600)
    for _ in range(6):
        PointTransactionFactory.create(member=mia, action="resource_download", points=5)
    response = mias_browser.get(OVERVIEW)
    assert "All time 1,530 points Rank 1 This month 30 points Rank 2 Streak 1 day" in words(response)
    assert len([row for row in rows(response) if "Download a resource" in row[0] and row[1] == "+5"]) == 5 + 1
    assert ["Share your benchmarks Once for each category, when you first send your answers.", "+50"] in rows(
        response
    )


def test_only_rules_in_force_are_shown(mias_browser: Client) -> None:
    PointRule.objects.filter(action="intro_completed").update(enabled=False)
    PointRule.objects.filter(action="resource_download").update(points=0)
    PointRule.objects.filter(action="discord_activity").update(label="Chat & <b>help</b>", points=3000)
    html = mias_browser.get(OVERVIEW).content.decode()
    assert "Introduce yourself" not in html
    assert "Download a resource" not in html
    assert "Chat &amp; &lt;b&gt;help&lt;/b&gt;" in html
    assert "+3,000" in html
    PointRule.objects.update(enabled=False)
    assert "At present, no action earns points." in words(mias_browser.get(OVERVIEW))


def test_empty_pages_have_a_text(mias_browser: Client) -> None:
    overview = words(mias_browser.get(OVERVIEW))
    assert "All time 0 points Nobody has points yet" in overview
    assert "Streak 0 days Starts on the next day that you are active" in overview
    assert "Nothing yet. The points that you earn are listed here" in overview
    assert "Nothing yet. All points" in words(mias_browser.get(HISTORY))
    assert "Nobody has points yet this month." in words(mias_browser.get(LEADERBOARD))
    assert "Nobody has points yet." in words(mias_browser.get(f"{LEADERBOARD}?period=all"))


def test_one_point_is_written_in_the_singular(mia: Member, mias_browser: Client) -> None:
    PointTransactionFactory.create(member=mia, points=1)
    assert "All time 1 point Rank 1" in words(mias_browser.get(OVERVIEW))


def test_a_total_below_0_has_a_minus_sign_and_no_first_rank(
    mia: Member, carl: Member, mias_browser: Client
) -> None:
    PointTransactionFactory.create(member=mia, points=-1500)
    assert f"All time {MINUS}1,500 points Nobody has points yet" in words(mias_browser.get(OVERVIEW))
    PointTransactionFactory.create(member=carl, points=5)
    assert f"All time {MINUS}1,500 points Rank 2" in words(mias_browser.get(OVERVIEW))
    assert ["2", "Mia Meyer You", f"{MINUS}1,500"] in rows(mias_browser.get(LEADERBOARD))
    assert [f"{MINUS}1,500", f"{MINUS}1,500"] in [row[1:] for row in rows(mias_browser.get(HISTORY))]


@pytest.mark.parametrize(
    ("last_active", "today", "expected"),
    [
        ("2026-11-19", "2026-11-19", "7 days Continues if you are active by the end of Friday, 20 November"),
        ("2026-11-20", "2026-11-20", "7 days Continues if you are active by the end of Monday, 23 November"),
        ("2026-11-20", "2026-11-22", "7 days Continues if you are active by the end of Monday, 23 November"),
        ("2026-11-20", "2026-11-23", "7 days Ends tonight at midnight UTC unless you are active today"),
        ("2026-11-20", "2026-11-24", "0 days Starts on the next day that you are active"),
    ],
)
def test_the_overview_says_when_a_streak_ends(
    last_active: str,
    today: str,
    expected: str,
    mia: Member,
    mias_browser: Client,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Member.objects.filter(pk=mia.pk).update(current_streak=7, last_active_at=f"{last_active}T23:59Z")

    class Clock(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> "Clock":
            return cls.fromisoformat(f"{today}T12:00:00+00:00")

    monkeypatch.setattr("gamification.home.datetime", Clock)
    monkeypatch.setattr("gamification.streaks.datetime", Clock)
    assert f"Streak {expected}" in words(mias_browser.get(OVERVIEW))


@pytest.mark.parametrize("address", [OVERVIEW, LEADERBOARD])
def test_the_level_depends_on_all_points(address: str, mia: Member, mias_browser: Client) -> None:
    PointTransactionFactory.create(member=mia, points=480, created_at="2020-01-01T00:00Z")
    PointTransactionFactory.create(member=mia, points=20)
    assert "Level Council Voice 1,000 more points to Trusted Voice" in words(mias_browser.get(address))
    ranks = mias_browser.get(LEADERBOARD, {"period": "month"}).content.decode()
    assert '<span class="entry-facts level">Council Voice</span>' in ranks


# The history


def test_each_entry_says_what_it_was_for_when_and_the_total_after_it(
    mia: Member, sam: Account, mias_browser: Client
) -> None:
    intro = PointTransactionFactory.create(member=mia, points=25, created_at="2026-02-03T04:05:06Z")
    unknown = {"action": "webinar_attended", "metadata": ["not an object"], "points": 10}
    PointTransactionFactory.create(member=mia, created_at="2026-02-04T00:00Z", **unknown)
    PointTransactionFactory.create(member=mia, created_at="2026-03-01T00:00Z", points=0)
    [gift] = ledger.adjust(
        members=[mia], points=2000, reason=f"{REASON}\n& <more>", performed_by=sam, form_key=KEY
    )
    taken_back = ledger.reverse(entry_id=intro.pk, reason="Entered for the wrong member", performed_by=sam)
    response = mias_browser.get(HISTORY)
    html = response.content.decode()
    day = f"{gift.created_at:%a} {gift.created_at.day} {gift.created_at:%b, %H:%M}"
    moment = f"{taken_back.created_at.day} {taken_back.created_at:%b %Y, %H:%M}"
    assert rows(response) == [
        ["For", "Points", "Total"],
        [f"{gift.created_at:%B %Y}"],
        [
            f"Taken back: Introduce yourself Entered for the wrong member {day} "
            "Takes back the +25 of 3 Feb 2026, 04:05",
            f"{MINUS}25",
            "2,010",
        ],
        [f"Adjustment {REASON} & <more> {day}", "+2,000", "2,035"],
        ["March 2026"],
        ["Introduce yourself Sun 1 Mar, 00:00", "0", "35"],
        ["February 2026"],
        ["Webinar attended Wed 4 Feb, 00:00", "+10", "35"],
        [f"Introduce yourself Tue 3 Feb, 04:05 Taken back on {moment}", "+25", "25"],
    ]
    assert f"{REASON}<br>&amp; &lt;more&gt;" in html
    assert '<time datetime="2026-02-03T04:05:06+00:00">' in html
    assert "sam" not in words(response)


def test_links_lead_to_every_entry_and_totals_continue_on_the_next_page(
    mia: Member, mias_browser: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger, "PAGE_ROWS", 3)
    moment = datetime(2026, 1, 31, 23, 59, 59, 999000, tzinfo=UTC)
    PointTransaction.objects.bulk_create(
        PointTransaction(member=mia, action="x", points=n, created_at=moment + timedelta(milliseconds=n // 3))
        for n in range(1, 9)
    )
    address, totals = HISTORY, []
    for page in range(3):
        response = mias_browser.get(address)
        html = response.content.decode()
        assert ('href="/points/history/">Newest' in html) == (page > 0)
        totals += [row[2] for row in rows(response) if row[0].startswith("X ")]
        links = re.findall(r'href="([^"]*)" rel="next"', html)
        address = unescape(links[0]) if links else ""
    assert address == ""
    ordered = list(mia.point_transactions.order_by("created_at", "pk").values_list("points", flat=True))
    assert totals == [str(sum(ordered[: n + 1])) for n in reversed(range(8))]
    assert "There are no older entries." in words(
        mias_browser.get(HISTORY, {"after": "1999-01-01T00:00:00_0_c"})
    )


@pytest.mark.parametrize(
    "place",
    [
        "",
        "yesterday",
        "2026-01-01",
        "2026-13-01T00:00:00_c1",
        "2026-01-01T00:00:00_\0",
        "\0",
        "<script>alert(1)</script>",
        "' OR 1=1 --",
        "x" * 5000,
        "0000-00-00T00:00:00_5_x",
        "2026-01-01T00:00:00+14:00_5_c1",
        "2026-01-01T00:00:00_5_" + "x" * 5000,
        "2026-01-01T00:00:00_five_c1",
    ],
)
def test_an_invalid_place_shows_an_error_and_a_link_back(place: str, mias_browser: Client) -> None:
    response = mias_browser.get(HISTORY, {"after": place})
    assert response.status_code == 400
    assert "is not a place in a history. Start with the first page. To the newest entries" in words(response)
    assert "<script>" not in response.content.decode()


@pytest.mark.parametrize(
    "place",
    [
        "9999-12-31T23:59:59.999999_0_c1",
        "0001-01-01T00:00:00.000000_-9999999999999999999_c1",
        "2026-01-01T00:00:00_5_' OR 1=1 --",
        "2026-01-01T00:00:00_5_c_1",
        "2026-01-01T00:00:00_5_\ud83d\ude00".encode("utf-16", "surrogatepass").decode("utf-16"),
    ],
)
def test_any_well_formed_place_is_accepted(place: str, mia: Member, mias_browser: Client) -> None:
    PointTransactionFactory.create(member=mia)
    assert mias_browser.get(HISTORY, {"after": place}).status_code == 200


@pytest.mark.parametrize("raw", ["%ED%A0%80", "%FF%FE", "%00", "%", "a&after=b", "%C0%80_%ED%BF%BF"])
def test_invalid_utf_8_is_not_a_server_error(raw: str, mias_browser: Client) -> None:
    assert mias_browser.get(f"{HISTORY}?after={raw}").status_code == 400
    assert mias_browser.get(f"{HISTORY}?after=2026-01-01T00:00:00_c{raw}").status_code in {200, 400}
    assert mias_browser.get(f"{LEADERBOARD}?period={raw}").status_code == 404
    assert mias_browser.get(f"{OVERVIEW}?{raw}").status_code == 200


# The leaderboard


def test_the_leaderboard_gives_ties_one_rank_and_marks_the_member(
    mia: Member, carl: Member, mias_browser: Client
) -> None:
    best = MemberFactory.create(first_name="Bea", last_name="Best")
    PointTransactionFactory.create(member=best, points=1000)
    PointTransactionFactory.create(member=best, points=4000, created_at="2025-01-01T00:00Z")
    for member in (mia, carl):
        PointTransactionFactory.create(member=member, points=50)
    response = mias_browser.get(LEADERBOARD)
    assert rows(response) == [
        ["Rank", "Member", "Points"],
        ["1", "Bea Best", "1,000"],
        ["2", "Mia Meyer You", "50"],
        ["2", "Carl Cohen", "50"],
    ]
    assert response.content.decode().count('<tr aria-current="true">') == 1
    assert "This month 50 points Rank 2" in words(response)
    assert "Around you" not in words(response)
    assert ["1", "Bea Best", "5,000"] in rows(mias_browser.get(f"{LEADERBOARD}?period=all"))


def leaders(count: int, *, best: int = 1000) -> None:
    for n in range(count):
        PointTransactionFactory.create(
            member=MemberFactory.create(first_name=f"Leader {n + 1}"), points=best - n
        )


@pytest.mark.parametrize("hidden", [False, True])
@pytest.mark.parametrize(
    ("points", "rank", "around"),
    [
        (970, "31", ["Leader 29", "Leader 30", "Mia Meyer", "Leader 31", "Leader 32"]),
        (10, "33", ["Leader 31", "Leader 32", "Mia Meyer"]),
        (0, "33", ["Leader 31", "Leader 32", "Mia Meyer"]),
    ],
)
def test_a_member_below_the_25_sees_their_neighbours(
    points: int, rank: str, around: list[str], hidden: bool, mia: Member, mias_browser: Client
) -> None:
    leaders(32)
    PointTransactionFactory.create(member=mia, points=points)
    Member.objects.filter(pk=mia.pk).update(leaderboard_visible=not hidden)
    response = mias_browser.get(LEADERBOARD)
    html = response.content.decode()
    neighbours = rows(response)[27:]
    you = "Mia Meyer You, hidden" if hidden else "Mia Meyer You"
    assert [row[1] for row in neighbours] == [you if name == "Mia Meyer" else name for name in around]
    assert [row[0] for row in neighbours if row[1] == you] == [rank]
    assert html.count('<tr aria-current="true">') == 1


def test_only_a_hidden_member_sees_themselves(mia: Member, carl: Member, mias_browser: Client) -> None:
    for member in (mia, carl):
        PointTransactionFactory.create(member=member, points=50)
    mias_browser.post(PRIVACY, {"listed": "no"})
    assert "Mia" not in words(browser_of(carl).get(LEADERBOARD))
    assert ["1", "Mia Meyer You, hidden", "50"] in rows(mias_browser.get(LEADERBOARD))
    assert "You are hidden from leaderboards" in words(mias_browser.get(OVERVIEW))


@pytest.mark.parametrize(
    ("names", "shown"),
    [
        ({"first_name": "Ann", "last_name": "Adams"}, "Ann Adams"),
        ({"first_name": "", "last_name": "Adams"}, "Adams"),
        ({"first_name": None, "discord_username": "night_owl"}, "night_owl"),
        ({"first_name": " ", "discord_username": " "}, "A member"),
        ({"first_name": None, "discord_id": "81384788765712384", "stripe_customer_id": "cus_1"}, "A member"),
        ({"first_name": "ann@example.com", "discord_username": "night_owl"}, "night_owl"),
        ({"first_name": "81384788765712384", "discord_id": "81384788765712384"}, "A member"),
        ({"first_name": None, "discord_username": "cus_1", "stripe_customer_id": "cus_1"}, "A member"),
        ({"first_name": "<b>Ann</b>"}, "<b>Ann</b>"),
    ],
)
def test_others_never_see_an_email_or_an_id_as_a_name(
    names: dict[str, Any], shown: str, mias_browser: Client
) -> None:
    other = MemberFactory.create(email="secret@example.com", **names)
    PointTransactionFactory.create(member=other, points=50)
    response = mias_browser.get(LEADERBOARD)
    assert ["1", shown, "50"] in rows(response)
    html = response.content.decode()
    for secret in ("@example.com", other.pk, "81384788765712384", "cus_1", "<b>Ann"):
        assert secret not in html


@pytest.mark.parametrize("period", ["", "week", "MONTH", "month\0", "x" * 5000, "' OR 1=1 --", "all,month"])
def test_other_periods_have_no_leaderboard(period: str, mias_browser: Client) -> None:
    response = mias_browser.get(LEADERBOARD, {"period": period})
    assert response.status_code == 404
    assert "There is no such page" in words(response)


# The privacy switch


def test_a_member_hides_and_is_listed_again(mia: Member, mias_browser: Client, fill_in: FillIn) -> None:
    for visible, said in ((False, "You are hidden: no other member"), (True, "You are listed on")):
        form = fill_in(mias_browser.get(f"{LEADERBOARD}?period=all"))
        response = mias_browser.post(f"{PRIVACY}?period=all", form, follow=True)
        assert response.redirect_chain == [(f"{LEADERBOARD}?period=all", 302)]
        assert said in words(response)
        mia.refresh_from_db()
        assert mia.leaderboard_visible is visible


def test_the_switch_changes_only_its_column(mia: Member, mias_browser: Client) -> None:
    old = datetime(2020, 1, 1, tzinfo=UTC)
    Member.objects.filter(pk=mia.pk).update(updated_at=old)
    with CaptureQueriesContext(connection) as captured:
        mias_browser.post(PRIVACY, {"listed": "no"})
    [update] = [q["sql"] for q in captured.captured_queries if 'UPDATE "Member"' in q["sql"]]
    assert re.findall(r'"(\w+)" =', update.partition("WHERE")[0]) == ["leaderboardVisible", "updatedAt"]
    mia.refresh_from_db()
    assert mia.updated_at > old


def test_a_switch_without_a_change_writes_nothing(mia: Member, mias_browser: Client) -> None:
    mias_browser.post(PRIVACY, {"listed": "no"})
    first = Member.objects.get(pk=mia.pk).updated_at
    assert "You are hidden" in words(mias_browser.post(PRIVACY, {"listed": "no"}, follow=True))
    assert Member.objects.get(pk=mia.pk).updated_at == first


@pytest.mark.parametrize(
    "form", [{}, {"listed": ""}, {"listed": "maybe"}, {"listed": "no\0"}, {"listed": b"\xed\xa0\x80"}]
)
def test_an_invalid_value_of_the_switch_changes_nothing(
    form: dict[str, Any], mia: Member, mias_browser: Client
) -> None:
    response = mias_browser.post(PRIVACY, form)
    assert response.status_code == 400
    assert "The request was not understood" in words(response)
    mia.refresh_from_db()
    assert mia.leaderboard_visible


def test_other_sites_cannot_use_the_switch(mia: Member) -> None:
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(AccountFactory.create(member=mia))
    assert browser.post(PRIVACY, {"listed": "no"}).status_code == 403
    mia.refresh_from_db()
    assert mia.leaderboard_visible


def test_a_get_after_signing_in_redirects_to_the_leaderboard(mia: Member, mias_browser: Client) -> None:
    assert mias_browser.get(PRIVACY).headers["Location"] == f"{LEADERBOARD}?period=month"
    assert mias_browser.post(f"{PRIVACY}?period=week", {"listed": "no"}).status_code == 404
    mia.refresh_from_db()
    assert mia.leaderboard_visible


def test_a_lapsed_member_can_hide(lars: Member, lars_browser: Client) -> None:
    lars_browser.post(PRIVACY, {"listed": "no"})
    lars.refresh_from_db()
    assert not lars.leaderboard_visible
    assert "You are hidden." in words(lars_browser.get(LEADERBOARD))


# Queries of a page


@pytest.mark.parametrize(("address", "queries"), [(OVERVIEW, 8), (HISTORY, 4), (LEADERBOARD, 9)])
def test_the_number_of_queries_does_not_depend_on_the_number_of_rows(
    address: str, queries: int, mia: Member, sam: Account, mias_browser: Client
) -> None:
    def count() -> int:
        with CaptureQueriesContext(connection) as captured:
            assert mias_browser.get(address).status_code == 200
        assert not any("SUM(" in query["sql"] for query in captured)  # no page sums the ledger
        return len(captured)

    for n in range(70):
        row = PointTransactionFactory.create(member=mia, points=1, created_at=f"2026-01-01T00:{n % 60:02}Z")
        if n % 10 == 0:
            ledger.reverse(entry_id=row.pk, reason=REASON, performed_by=sam)
    leaders(30)
    assert count() == queries
    PointTransactionFactory.create_batch(50, member=mia)
    leaders(30, best=900)
    assert count() == queries
