"""Streaks: days in a row with activity, where Saturdays and Sundays may be missed.

The database counts them as ledger rows are written (triggers.py); what it cannot know is when one has ended.
"""

from datetime import UTC, date, datetime, timedelta

from council.models import Member

FRIDAY, SATURDAY = 5, 6


def next_weekday(day: date) -> date:
    """Name the day by whose end a streak goes on: the weekday after. The database's function of the same name."""
    return day + timedelta(days={FRIDAY: 3, SATURDAY: 2}.get(day.isoweekday(), 1))


def current(*, member: Member, now: datetime | None = None) -> int:
    """Give the days of a member's streak, 0 once a weekday has been missed."""
    return member.current_streak if active_by(member=member, now=now) else 0


def active_by(*, member: Member, now: datetime | None = None) -> date | None:
    """Name the day by whose end (UTC) the member has to be active again for the streak to go on. None: it has ended."""
    if member.last_active_at is None:
        return None
    today = (now or datetime.now(UTC)).astimezone(UTC).date()
    day = next_weekday(member.last_active_at.date())
    return day if today <= day else None
