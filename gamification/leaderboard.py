"""Leaderboards: the listed members by points, for this month or for all time.

Both are read in the order of an index. A low rank is counted from the nearest checkpoint above it. There is one
checkpoint for about a thousand members, and `refresh` recounts them. Between two refreshes, a rank below a checkpoint
is off by the number of members who have passed that checkpoint. Without checkpoints, ranks are counted from the top.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from itertools import groupby
from typing import Any, NamedTuple

from django.db import models, transaction

from council.models import Member
from gamification import levels
from gamification.models import LeaderboardCheckpoint

TOP_ROWS = 25
NEIGHBOURS = 2
CHECKPOINT_MEMBERS = 1_000


class Period(models.TextChoices):
    MONTH = "month", "This month"
    ALL_TIME = "all", "All time"


class Row(NamedTuple):
    rank: int
    member: Member
    points: int

    @property
    def level(self) -> levels.Level:
        """Return the level of the member's total points, on a month's leaderboard as well."""
        return levels.of(self.member.total_points)


@dataclass(frozen=True)
class Standing:
    """A member's rank among the listed members, and the nearest of these. The member may be hidden."""

    rank: int
    points: int
    above: list[Row]
    below: list[Row]


class Leaderboard:
    """The leaderboard for all time, or for the month of a day (UTC, by default today)."""

    def __init__(self, period: Period, *, day: date | None = None) -> None:
        self.period = period
        self.month: date | None = None
        self.column = "total_points"
        self.listed = Member.objects.listed()
        if period == Period.MONTH:
            self.month = (day or datetime.now(UTC).date()).replace(day=1)
            self.column = "month_points"
            self.listed = self.listed.filter(points_month=self.month)
        self.listed = self.listed.filter(**{f"{self.column}__gt": 0})

    def points(self, member: Member) -> int:
        """Return a member's points in the period."""
        if self.month and member.points_month != self.month:
            return 0
        points: int = getattr(member, self.column)
        return points

    def top(self) -> list[Row]:
        """List the top 25. Members with equal points share a rank, and are listed by id."""
        members = self.listed.order_by(f"-{self.column}", "pk")[:TOP_ROWS]
        rows: list[Row] = []
        for points, tied in groupby(members, key=self.points):
            rank = len(rows) + 1
            rows += [Row(rank, member, points) for member in tied]
        return rows

    def rank(self, points: int) -> int:
        """Return the rank of a number of points: 1 plus the number of listed members who have more."""
        return self.ranks({points})[points]

    def ranks(self, points: Collection[int]) -> dict[int, int]:
        """Return the rank for each number of points, counted from one checkpoint so that the ranks agree."""
        checkpoints = LeaderboardCheckpoint.objects.filter(points__gte=max(points))
        of_period = (
            checkpoints.filter(month=self.month) if self.month else checkpoints.filter(month__isnull=True)
        )
        nearest = of_period.order_by("points").first()
        above = self._where(gt=min(points), **({"lte": nearest.points} if nearest else {}))
        counts = above.aggregate(
            **{
                f"above_{each}": models.Count("pk", filter=models.Q(**{f"{self.column}__gt": each}))
                for each in points
            }
        )
        return {
            each: 1 + (nearest.members_above if nearest else 0) + counts[f"above_{each}"] for each in points
        }

    def standing(self, member: Member) -> Standing:
        points = self.points(member)
        above = self._nearest(member, "gt", "lt", order=(self.column, "-pk"))
        below = self._nearest(member, "lt", "gt", order=(f"-{self.column}", "pk"))
        ranks = self.ranks({points, *(self.points(other) for other in above + below)})

        def rows(members: list[Member]) -> list[Row]:
            return [Row(ranks[self.points(other)], other, self.points(other)) for other in members]

        return Standing(ranks[points], points, rows(above[::-1]), rows(below))

    def _where(self, **lookups: Any) -> models.QuerySet[Member]:
        return self.listed.filter(**{f"{self.column}__{name}": value for name, value in lookups.items()})

    def _nearest(self, member: Member, points: str, tie: str, *, order: tuple[str, str]) -> list[Member]:
        """Find the next members above or below, nearest first: tied members, then others. Reads no more than needed."""
        own = self.points(member)
        tied = self._where(exact=own).filter(**{f"pk__{tie}": member.pk}).order_by(order[1])[:NEIGHBOURS]
        found = list(tied)
        if len(found) < NEIGHBOURS:
            found += self._where(**{points: own}).order_by(*order)[: NEIGHBOURS - len(found)]
        return found

    def checkpoints(self) -> Iterator[LeaderboardCheckpoint]:
        """Count the listed members from the top, and yield a checkpoint after about every thousand."""
        by_points = self.listed.values_list(self.column).annotate(members=models.Count("*"))
        counted = marked = 0
        for points, members in by_points.order_by(f"-{self.column}").iterator():
            counted += members
            if counted - marked >= CHECKPOINT_MEMBERS:
                marked = counted
                yield LeaderboardCheckpoint(month=self.month, points=points - 1, members_above=counted)


def list_or_hide(member: Member, *, listed: bool) -> None:
    """List a member on leaderboards or hide them. Writes nothing if that changes nothing."""
    Member.objects.filter(pk=member.pk, leaderboard_visible=not listed).update(
        leaderboard_visible=listed, updated_at=datetime.now(UTC)
    )


def refresh() -> int:
    """Recount the checkpoints of both leaderboards, and return their number. Run it every few minutes."""
    with transaction.atomic():
        checkpoints = [point for period in Period for point in Leaderboard(period).checkpoints()]
        LeaderboardCheckpoint.objects.all().delete()
        LeaderboardCheckpoint.objects.bulk_create(checkpoints, batch_size=1_000)
    return len(checkpoints)
