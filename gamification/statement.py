"""A member's statement: the ledger's entries with a label and the total after each, by month."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from itertools import groupby
from typing import NamedTuple

from gamification import ledger
from gamification.models import Action, PointRule, PointTransaction


class Line(NamedTuple):
    """An entry, a label that says what it was for, and the total after it."""

    entry: PointTransaction
    label: str
    total: int


@dataclass(frozen=True)
class Month:
    """The lines on a page that are in the same month."""

    first_day: date
    lines: list[Line]


def lines(history: ledger.History, *, rules: Iterable[PointRule]) -> list[Line]:
    """Make a line of each entry, newest first."""
    labels = {rule.action: rule.label for rule in rules}
    total = history.total
    found = []
    for entry in history.entries:
        label = _title(entry) or labels.get(entry.action) or _without_rule(entry.action)
        found.append(Line(entry, label, total))
        total -= entry.points
    return found


def by_month(lines: list[Line]) -> list[Month]:
    """Group the lines by month, newest first."""
    return [Month(first_day, list(group)) for first_day, group in groupby(lines, key=_month)]


def _month(line: Line) -> date:
    moment: datetime = line.entry.created_at
    return moment.date().replace(day=1)


def _title(entry: PointTransaction) -> str:
    """Return the title of a downloaded resource, for a reversal as well. The gateway's rows have no title."""
    paid = entry.reverses or entry
    title = paid.metadata.get("title") if isinstance(paid.metadata, dict) else None
    return title.strip() if paid.action == Action.RESOURCE_DOWNLOAD and isinstance(title, str) else ""


def _without_rule(action: str) -> str:
    """Label an action without a rule: an adjustment by staff, or an action that only the gateway knows."""
    return "Adjustment" if action == Action.ADMIN_ADJUSTMENT else action.replace("_", " ").capitalize()
