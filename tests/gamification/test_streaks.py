"""Streaks as they are shown."""

from datetime import UTC, date, datetime, timedelta

import pytest
from django.db import connection

from council.models import Member
from gamification import streaks


@pytest.mark.parametrize(
    ("last_active", "shown_until"),
    [
        ("2026-11-23 00:00", "2026-11-24 23:59:59"),  # Monday
        ("2026-11-26 23:59", "2026-11-27 23:59:59"),  # Thursday
        ("2026-11-27 12:00", "2026-11-30 23:59:59"),  # Friday
        ("2026-11-28 12:00", "2026-11-30 23:59:59"),  # Saturday
        ("2026-11-29 12:00", "2026-11-30 23:59:59"),  # Sunday
        ("2026-12-31 12:00", "2027-01-01 23:59:59"),
    ],
)
def test_a_streak_is_0_once_a_weekday_was_missed(last_active: str, shown_until: str) -> None:
    member = Member(current_streak=7, last_active_at=datetime.fromisoformat(last_active).replace(tzinfo=UTC))
    last_moment = datetime.fromisoformat(shown_until).replace(tzinfo=UTC)
    assert streaks.current(member=member, now=last_moment) == 7
    assert streaks.current(member=member, now=last_moment + timedelta(seconds=1)) == 0


def test_days_are_in_utc() -> None:
    member = Member(current_streak=7, last_active_at=datetime(2026, 11, 23, 12, tzinfo=UTC))
    in_berlin = datetime.fromisoformat("2026-11-25T00:30:00+01:00")
    assert streaks.current(member=member, now=in_berlin) == 7


def test_a_member_who_was_never_active_has_no_streak() -> None:
    assert streaks.current(member=Member(current_streak=0, last_active_at=None)) == 0


@pytest.mark.django_db
def test_the_database_computes_the_same_weekdays() -> None:
    days = [date(2026, 11, 23) + timedelta(days=n) for n in range(800)]
    with connection.cursor() as cursor:
        cursor.execute("SELECT next_weekday(day) FROM unnest(%s::date[]) AS day", [days])
        assert [row[0] for row in cursor.fetchall()] == [streaks.next_weekday(day) for day in days]


def test_a_streak_on_the_last_possible_day() -> None:
    member = Member(current_streak=7, last_active_at=datetime.max.replace(tzinfo=UTC))
    assert streaks.active_by(member=member) == date.max
