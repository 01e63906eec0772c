"""Streaks: days in a row with activity. Saturdays and Sundays may be missed.

A trigger counts the days when ledger rows are added (triggers.py). This module finds out whether a streak has ended.
"""

from datetime import UTC, date, datetime, timedelta

from council.models import Member

FRIDAY, SATURDAY = 5, 6


def next_weekday(day: date) -> date:
    """Return the last day on which activity continues the streak. The SQL function of this name does the same."""
    step = timedelta(days={FRIDAY: 3, SATURDAY: 2}.get(day.isoweekday(), 1))
    return min(day, date.max - step) + step


def current(*, member: Member, now: datetime | None = None) -> int:
    """Return the length of a member's streak in days, or 0 once a weekday was missed."""
    return member.current_streak if active_by(member=member, now=now) else 0


def active_by(*, member: Member, now: datetime | None = None) -> date | None:
    """Return the last day (UTC) on which activity continues the streak, or None if the streak has ended."""
    if member.last_active_at is None:
        return None
    today = (now or datetime.now(UTC)).astimezone(UTC).date()
    day = next_weekday(member.last_active_at.date())
    return day if today <= day else None
