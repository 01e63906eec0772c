"""Schedules of jobs. All times are UTC."""

from dataclasses import dataclass
from datetime import datetime, time, timedelta


@dataclass(frozen=True)
class Every:
    """Due a number of minutes after the last run began."""

    minutes: int

    def __str__(self) -> str:
        return f"every {self.minutes} minutes"

    @property
    def grace(self) -> timedelta:
        return max(timedelta(minutes=2 * self.minutes), timedelta(minutes=15))

    def next_after(self, began_at: datetime) -> datetime:
        return began_at + timedelta(minutes=self.minutes)


@dataclass(frozen=True)
class Daily:
    """Due once a day, at a time of day."""

    at: time

    def __str__(self) -> str:
        return f"daily at {self.at:%H:%M}"

    @property
    def grace(self) -> timedelta:
        return timedelta(hours=6)

    def next_after(self, began_at: datetime) -> datetime:
        today = began_at.replace(hour=self.at.hour, minute=self.at.minute, second=0, microsecond=0)
        return today if began_at < today else today + timedelta(days=1)


@dataclass(frozen=True)
class Monthly:
    """Due on the first of each month, at a time of day."""

    at: time = time(0, 10)

    def __str__(self) -> str:
        return f"on the first of the month at {self.at:%H:%M}"

    @property
    def grace(self) -> timedelta:
        return timedelta(hours=24)

    def next_after(self, began_at: datetime) -> datetime:
        first = began_at.replace(day=1, hour=self.at.hour, minute=self.at.minute, second=0, microsecond=0)
        if began_at < first:
            return first
        return (first + timedelta(days=32)).replace(day=1)


# Each has `grace`, which is how late a run may be before the job counts as overdue, and `next_after`, which returns
# when a job is due that last began at a given time.
Schedule = Every | Daily | Monthly
