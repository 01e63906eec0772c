"""A walk through the made-up community in a browser: a member and two people on the staff, and how they interact."""

from collections.abc import Callable, Iterator
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.db import DEFAULT_DB_ALIAS, connection, connections, transaction

from benchmarks import releases, review
from benchmarks.definitions import Category
from benchmarks.models import State
from council import demo
from council.accounts.models import Account
from council.models import AuditLog, Member
from resources import library
from tests.browser import Visitor, serving
from tests.databases import Database

pytestmark = pytest.mark.any_server
REASON = "This is the pay of a whole team."
# Delete the last release, as if the job of the first of the month had not run. Only a superuser can do that.
TAKE_BACK_NEWEST_RELEASE = """
SET LOCAL session_replication_role = replica;
WITH newest AS (SELECT id FROM "BenchmarkRelease" ORDER BY month DESC LIMIT 1),
     figures AS (DELETE FROM "BenchmarkFigure" WHERE "releaseId" IN (SELECT id FROM newest)),
     bases AS (DELETE FROM "BenchmarkBasis" WHERE "releaseId" IN (SELECT id FROM newest))
DELETE FROM "BenchmarkRelease" WHERE id IN (SELECT id FROM newest);
"""


@pytest.fixture
def live(
    django_db_blocker: Any, seeded_template: tuple[str, str], database_name: Callable[[str], str]
) -> Iterator[str]:
    """Serve a copy of the community, and connect Django to it."""
    database = Database(database_name("walk"))
    usual = connections[DEFAULT_DB_ALIAS]
    with django_db_blocker.unblock():
        database.drop()
        database.create(template=seeded_template[0])
        connections[DEFAULT_DB_ALIAS] = usual.copy(DEFAULT_DB_ALIAS)
        connections[DEFAULT_DB_ALIAS].settings_dict["NAME"] = database.name
        try:
            with serving(database, STAFF_SECOND_FACTOR="false") as address:
                yield address
        finally:
            connections[DEFAULT_DB_ALIAS].close()
            connections[DEFAULT_DB_ALIAS] = usual
            database.drop()


def test_a_walk(new_visitor: Callable[..., Visitor], live: str) -> None:
    member = Member.objects.get(email=demo.MIA)
    points = member.total_points
    mia, ops, ada = new_visitor(), new_visitor(), new_visitor()
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(TAKE_BACK_NEWEST_RELEASE)

    sign_in(mia)
    compare(mia, points)
    download(mia, member)
    send_what_cannot_be(mia)
    reject(ops)
    take_release(mia)
    mia.open("/")
    mia.page.get_by_text(f"{points + 5} points").first.wait_for()
    mia.page.get_by_text("Not accepted").wait_for()
    mia.open("/points/history/")
    mia.page.get_by_text(REASON).wait_for()
    export(ada)
    out = StringIO()
    call_command("verify_schema", stdout=out)
    assert "0 failed" in out.getvalue()


def sign_in(mia: Visitor) -> None:
    mia.open("/")
    mia.page.get_by_label("Email").fill(demo.MIA)
    mia.page.get_by_label("Password").fill(demo.PASSWORD)
    mia.page.get_by_role("button", name="Sign in").click()
    mia.page.get_by_role("heading", name="Hello, Mia").wait_for()


def compare(mia: Visitor, points: int) -> None:
    """Her home page shows her standing. Three categories have figures, and the fourth has not enough answers yet."""
    for words in (f"{points} points", "Rank 4", "6 days"):
        mia.page.get_by_text(words).first.wait_for()
    mia.inspect("walk-home")
    mia.page.get_by_role("link", name="Operations", exact=True).click()
    mia.page.get_by_text("Lower quartile").first.wait_for()
    mia.inspect("walk-results")
    mia.open("/benchmarks/compensation/")
    assert mia.page.get_by_text("Not enough yet.").count() > 5


def download(mia: Visitor, member: Member) -> None:
    """She earns 5 points, which appear on her home page, in her history (with the title), and on the leaderboard."""
    points = member.total_points + 5
    mia.open("/library/")
    mia.inspect("walk-library")
    resource = next(one for one in library.recommended(member=member) if not one.is_link)
    mia.open(resource.get_absolute_url())
    with mia.page.expect_download():
        mia.page.get_by_role("button", name="Download").click()
    mia.open("/")
    mia.page.get_by_text(f"{points} points").first.wait_for()
    mia.page.get_by_role("link", name=f"+5 {resource.title}").wait_for()
    mia.open("/points/history/")
    mia.page.get_by_role("row", name=resource.title).first.get_by_text("+5").wait_for()
    mia.inspect("walk-history")
    mia.open("/leaderboard/?period=all")
    assert str(points) in mia.page.locator("tr[aria-current]").first.inner_text()
    mia.inspect("walk-leaderboard")


def send_what_cannot_be(mia: Visitor) -> None:
    mia.open("/benchmarks/compensation/answers/")
    mia.page.get_by_label("GTM engineer, United States").fill("1,900,000")
    mia.page.get_by_role("button", name="Send answers").click()
    mia.page.get_by_text("You earned 50 points.").wait_for()


def reject(ops: Visitor) -> None:
    """Ops looks at the flagged answers about pay, and rejects them."""
    flagged, _ = review.queue(state=State.FLAGGED)
    [number] = [entry.number for entry in flagged if entry.category == Category.COMPENSATION]
    ops.sign_in(Account.objects.get(admin__email=demo.OPS))
    ops.open("/admin/benchmarks/benchmarkreview/")
    ops.page.get_by_label(f"Choose {number}").check()
    ops.page.get_by_role("button", name="Look at the chosen answers").click()
    ops.page.get_by_label("Reason").fill(REASON)
    ops.picture("walk-review")
    ops.page.get_by_role("button", name="Reject").click()
    ops.page.wait_for_url("**/benchmarkreview/")


def take_release(mia: Visitor) -> None:
    """The job takes the release of last month. Its date is on the page, and figures have changed."""
    before = figures(mia)
    [month] = releases.due()

    call_command("take_release", stdout=StringIO())

    assert figures(mia) != before
    mia.page.get_by_text(f"Release of {releases.cut_off_of(month):%-d %B %Y}").wait_for()


def figures(mia: Visitor) -> list[str]:
    mia.open("/benchmarks/infrastructure/")
    return mia.page.locator("table td").all_inner_texts()


def export(ada: Visitor) -> None:
    ada.sign_in(Account.objects.get(admin__email=demo.ADA))
    ada.open("/admin/council/figuretable/")
    ada.inspect("walk-figures")
    with ada.page.expect_download():
        ada.page.get_by_role("button", name="CSV").first.click()
    assert AuditLog.objects.filter(action="FIGURES_EXPORTED").exists()
