"""A release to compare with, and answers to send."""

import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from benchmarks import definitions, submissions
from benchmarks.answers import BenchmarkVersion
from benchmarks.definitions import Category
from benchmarks.figures import Figure, Release
from benchmarks.models import BenchmarkReview
from council.models import Member
from tests.databases import Database

PAY = Category.COMPENSATION

# Valid answers by category, in the form that `submissions` accepts.
ANSWERS: dict[Category, dict[str, Any]] = {
    Category.COMPENSATION: {"gtm_engineer_us": 120_000, "sdr_bdr_us_commission": "$100 a meeting"},
    Category.INFRASTRUCTURE: {"cost_per_domain": 12, "domain_vendor": "porkbun"},
    Category.BUSINESS: {"annual_revenue_band": "500k_1m", "gross_margin_percent": 55.5},
    Category.OPERATIONAL: {"domains_per_client": 6, "average_reply_rate_percent": 3.2},
}
TakeRelease = Callable[..., Release]


def take_release(month: date = date(2026, 9, 1), **bands: tuple[float, float, float]) -> Release:
    """Add a release with the quartiles of some fields for all companies."""
    cut_off = datetime.combine((month + timedelta(days=32)).replace(day=1), datetime.min.time(), UTC)
    release = Release.objects.create(month=month, cut_off=cut_off)
    fields = {field.name: category for category in Category for field in definitions.number_fields(category)}
    for name, (p25, p50, p75) in bands.items():
        add_figure(release, fields[name], name, p25=p25, p50=p50, p75=p75)
    return release


def add_figure(release: Release, category: Category, name: str, **values: Any) -> Figure:
    """Publish a cell of a release that is being taken in this transaction."""
    return Figure.objects.create(
        release=release,
        category=category,
        field=name,
        **{"as_of": release.cut_off.date(), "companies_at_least": 10, **values},
    )


@pytest.fixture
def release(db: None) -> Release:
    """The newest release. Its quartiles for GTM engineers in the United States are $100,000, $120,000 and $140,000."""
    return take_release(gtm_engineer_us=(100_000, 120_000, 140_000))


@pytest.fixture
def committing(migrated: Database, django_db_blocker: Any) -> Iterator[Database]:
    with django_db_blocker.unblock(), migrated.as_default_connection():
        yield migrated


def submit(member: Member, category: Category = PAY, **changes: Any) -> uuid.UUID:
    """Send answers. Returns the random number of their version."""
    submissions.submit(member=member, category=category, answers={**ANSWERS[category], **changes})
    return newest(member, category).pk


def newest(member: Member, category: Category = PAY) -> BenchmarkVersion:
    return BenchmarkVersion.objects.filter(member=member, category=category).latest("number")


def state(number: uuid.UUID) -> str:
    return str(BenchmarkReview.objects.filter(version=number).latest("pk").state)
