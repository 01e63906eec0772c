"""The home page's parts about points: the member's standing, and the entries since the last visit."""

from datetime import UTC, datetime

from django.db import models
from django.urls import reverse

from council import home
from council.models import Member
from council.templatetags.figures import signed
from gamification import ledger, levels, statement, streaks
from gamification.leaderboard import Leaderboard, Period
from gamification.models import PointRule, PointTransaction


def standing(member: Member) -> home.Content:
    """Collect what `_figures.html` shows: points and ranks, the streak, the level."""
    boards = [Leaderboard(period) for period in (Period.ALL_TIME, Period.MONTH)]
    return {
        "standings": [(board, points := board.points(member), board.rank(points)) for board in boards],
        "streak": streaks.current(member=member),
        "active_by": streaks.active_by(member=member),
        "today": datetime.now(UTC).date(),
        "level": levels.of(member.total_points),
    }


@home.part("standing", template="gamification/_home.html", place=1, is_wide=True)
def _standing(visit: home.Visit) -> home.Content:
    return standing(visit.member)


@home.news("Points")
def _points(visit: home.Visit) -> home.News:
    """List the newest entries. If there are more, also give the sum of all of them."""
    entries = PointTransaction.objects.filter(member=visit.member, created_at__gt=visit.since)
    found = entries.aggregate(rows=models.Count("pk"), points=models.Sum("points"))
    if not found["rows"]:
        return home.News([])
    address = reverse("gamification:history")
    page = ledger.history(member=visit.member, rows=min(found["rows"], home.NEWS_ROWS))
    items = [
        home.Item(
            f"{signed(entry.points)} {'Taken back: ' if entry.reverses else ''}{label}",
            address,
            f"{entry.created_at:%-d %B %Y}",
        )
        for entry, label, _ in statement.lines(page, rules=PointRule.objects.all())
    ]
    left_out = found["rows"] - len(items)
    more = f"{signed(found['points'])} points in {found['rows']:,} entries" if left_out > 0 else ""
    return home.News(items, more, address)
