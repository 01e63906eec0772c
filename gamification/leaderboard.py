"""Leaderboards: who of the listed members has how many points, this month or of all time.

Both are read from an index, in order. A rank far down is counted from the nearest checkpoint above it, of which
there is one to about a thousand members; `refresh` counts them anew. In between, a rank below a checkpoint is off by
as many members as have passed it since; without any checkpoint all are counted.
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
        """By all of the member's points, also on the leaderboard of a month."""
        return levels.of(self.member.total_points)


@dataclass(frozen=True)
class Standing:
    """A member's place among the listed, whether listed or not, and who stands next to them."""

    rank: int
    points: int
    above: list[Row]
    below: list[Row]


class Leaderboard:
    """The leaderboard of a period: of all time, or of the month that a day (UTC, today) is in."""

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
        """Give a member's points of the period."""
        if self.month and member.points_month != self.month:
            return 0
        points: int = getattr(member, self.column)
        return points

    def top(self) -> list[Row]:
        """List the first 25. Members with equal points share a rank, in the order of their ids."""
        members = self.listed.order_by(f"-{self.column}", "pk")[:TOP_ROWS]
        rows: list[Row] = []
        for points, tied in groupby(members, key=self.points):
            rank = len(rows) + 1
            rows += [Row(rank, member, points) for member in tied]
        return rows

    def rank(self, points: int) -> int:
        """Say which rank so many points have: 1 and as many as have more."""
        return self.ranks({points})[points]

    def ranks(self, points: Collection[int]) -> dict[int, int]:
        """Say which rank each of some points has, all counted from one checkpoint: more points, better rank."""
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
        """Find who comes next, nearest first: those with equal points before, as many as may be tied are not read."""
        own = self.points(member)
        tied = self._where(exact=own).filter(**{f"pk__{tie}": member.pk}).order_by(order[1])[:NEIGHBOURS]
        found = list(tied)
        if len(found) < NEIGHBOURS:
            found += self._where(**{points: own}).order_by(*order)[: NEIGHBOURS - len(found)]
        return found

    def checkpoints(self) -> Iterator[LeaderboardCheckpoint]:
        """Count who is listed, from the top: a checkpoint below every thousandth member or so."""
        by_points = self.listed.values_list(self.column).annotate(members=models.Count("*"))
        counted = marked = 0
        for points, members in by_points.order_by(f"-{self.column}").iterator():
            counted += members
            if counted - marked >= CHECKPOINT_MEMBERS:
                marked = counted
                yield LeaderboardCheckpoint(month=self.month, points=points - 1, members_above=counted)


def list_or_hide(member: Member, *, listed: bool) -> None:
    """Have a member on leaderboards or not, as they wish. Writes nothing else, and nothing if it is so already."""
    Member.objects.filter(pk=member.pk, leaderboard_visible=not listed).update(
        leaderboard_visible=listed, updated_at=datetime.now(UTC)
    )


def refresh() -> int:
    """Count the checkpoints of both leaderboards anew, and give their number. Run it every few minutes."""
    with transaction.atomic():
        checkpoints = [point for period in Period for point in Leaderboard(period).checkpoints()]
        LeaderboardCheckpoint.objects.all().delete()
        LeaderboardCheckpoint.objects.bulk_create(checkpoints, batch_size=1_000)
    return len(checkpoints)
