"""When a job is due. All times are UTC."""

from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import Protocol


class Schedule(Protocol):
    @property
    def grace(self) -> timedelta:
        """How late a run may be before the job counts as overdue."""

    def next_after(self, moment: datetime) -> datetime:
        """Give the time at which a job is due that last began at `moment`."""


@dataclass(frozen=True)
class Every:
    """So many minutes after the last run began."""

    minutes: int

    def __str__(self) -> str:
        return f"every {self.minutes} minutes"

    @property
    def grace(self) -> timedelta:
        return max(timedelta(minutes=2 * self.minutes), timedelta(minutes=15))

    def next_after(self, moment: datetime) -> datetime:
        return moment + timedelta(minutes=self.minutes)


@dataclass(frozen=True)
class Daily:
    """Once a day, at a time of day."""

    at: time

    def __str__(self) -> str:
        return f"daily at {self.at:%H:%M}"

    @property
    def grace(self) -> timedelta:
        return timedelta(hours=6)

    def next_after(self, moment: datetime) -> datetime:
        today = moment.replace(hour=self.at.hour, minute=self.at.minute, second=0, microsecond=0)
        return today if moment < today else today + timedelta(days=1)


@dataclass(frozen=True)
class Monthly:
    """On the first of each month, at a time of day."""

    at: time = time(0, 10)

    def __str__(self) -> str:
        return f"on the first of the month at {self.at:%H:%M}"

    @property
    def grace(self) -> timedelta:
        return timedelta(hours=24)

    def next_after(self, moment: datetime) -> datetime:
        first = moment.replace(day=1, hour=self.at.hour, minute=self.at.minute, second=0, microsecond=0)
        if moment < first:
            return first
        return (first + timedelta(days=32)).replace(day=1)
