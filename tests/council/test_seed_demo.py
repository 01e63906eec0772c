"""The made-up community of `manage.py seed_demo`."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db.models import Count
from django.test import override_settings

from benchmarks import review
from benchmarks.definitions import Category
from benchmarks.figures import Figure, Release
from benchmarks.models import State
from council import demo, passwords
from council.models import Admin, AdminRole, FigureTable, JobRun, Member, SubscriptionStatus, Team
from gamification import streaks
from gamification.leaderboard import Leaderboard, Period
from gamification.models import PointTransaction
from resources import storage
from resources.models import Resource, ResourceDownload, ResourceVersion, Status
from tests.databases import Database
from tests.factories import MemberFactory

pytestmark = pytest.mark.any_server


@pytest.fixture
def said(seeded_template: tuple[str, str], django_db_blocker: pytest.FixtureRequest) -> Iterator[str]:
    """Connect to the seeded database, which is only read. Returns the command's output."""
    name, said = seeded_template
    with django_db_blocker.unblock(), Database(name).as_default_connection():  # type: ignore[attr-defined]
        yield said


def test_the_community_is_as_the_readme_says(said: str) -> None:
    now = datetime.now(UTC)
    assert (Member.objects.count(), Team.objects.count()) == (240, 70)
    for email in (demo.MIA, demo.BEN, demo.OPS, demo.ADA):
        assert email in said
    assert demo.PASSWORD in said

    # The cast
    mia, ben = Member.objects.get(email=demo.MIA), Member.objects.get(email=demo.BEN)
    assert (mia.is_primary_owner, mia.subscription_status) == (True, SubscriptionStatus.ACTIVE)
    assert Leaderboard(Period.ALL_TIME).rank(mia.total_points) == 4
    assert streaks.current(member=mia) == 6
    assert ben.subscription_status == SubscriptionStatus.PAST_DUE
    hashes = [mia.password_hash, ben.password_hash, *Admin.objects.values_list("password_hash", flat=True)]
    assert all(passwords.is_correct(demo.PASSWORD, stored=encoded) for encoded in hashes)
    assert dict(Admin.objects.values_list("email", "role")) == {
        demo.OPS: AdminRole.ADMIN,
        demo.ADA: AdminRole.SUPER_ADMIN,
    }

    # Points
    first = PointTransaction.objects.earliest("created_at").created_at
    assert timedelta(days=395) < now - first <= timedelta(days=425)
    assert PointTransaction.objects.count() > 5_000

    # The library
    states = dict(Resource.objects.values_list("status").annotate(Count("pk")))
    assert states == {Status.PUBLISHED: 31, Status.DRAFT: 3, Status.SCHEDULED: 2}
    assert Resource.objects.exclude(deleted_at=None).count() == 1
    assert Resource.objects.filter(storage_path=None).count() == 1
    assert ResourceVersion.objects.filter(number=3).count() == 1
    assert ResourceDownload.objects.count() == 1_900
    counts = list(
        Resource.objects.shown().order_by("-download_count").values_list("download_count", flat=True)
    )
    assert counts[0] > 5 * counts[len(counts) // 2] > 0
    for path in ResourceVersion.objects.values_list("storage_path", flat=True):
        assert storage.exists(path)

    # Benchmarks
    assert Release.objects.count() == 4
    published = Figure.objects.filter(release=Release.objects.latest("month"), withheld_by=None)
    assert set(published.values_list("category", flat=True)) == set(Category) - {Category.COMPENSATION}
    assert Figure.objects.filter(category=Category.COMPENSATION).exists()
    assert len(review.queue(state=State.FLAGGED)[0]) == 4
    assert len(review.queue(state=State.REJECTED)[0]) == 1

    # Scheduled jobs
    assert JobRun.objects.filter(outcome=JobRun.Outcome.FAILED).count() == 1
    assert not JobRun.objects.filter(ended_at=None).exists()
    assert len(FigureTable.objects.get(figure="risk").table["rows"]) > 10


def test_verify_schema_finds_no_fault_in_it(said: str) -> None:
    out = StringIO()
    call_command("verify_schema", stdout=out)
    assert "0 warnings, 0 failed" in out.getvalue()


def test_it_refuses_any_database_but_the_embedded_one(db: None) -> None:
    with override_settings(EMBEDDED_SERVER=None), pytest.raises(CommandError, match="DATABASE_URL is set"):
        call_command("seed_demo")
    assert not Member.objects.exists()


def test_it_refuses_a_database_that_has_members(db: None) -> None:
    MemberFactory.create()
    with pytest.raises(CommandError, match="This database has members already. Nothing was changed."):
        call_command("seed_demo")
    assert Member.objects.count() == 1
