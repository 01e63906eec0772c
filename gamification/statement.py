"""A member's account of every point: the ledger's entries in words, by month, with the total after each."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from itertools import groupby
from typing import NamedTuple

from gamification import ledger
from gamification.models import Action, PointRule, PointTransaction


class Line(NamedTuple):
    """An entry, what it was for, and the total that it led to."""

    entry: PointTransaction
    label: str
    total: int


@dataclass(frozen=True)
class Month:
    """The lines of a month that are on the page."""

    first_day: date
    lines: list[Line]


def lines(history: ledger.History, *, rules: Iterable[PointRule]) -> list[Line]:
    """Put the entries in words, newest first."""
    labels = {rule.action: rule.label for rule in rules}
    total = history.total
    found = []
    for entry in history.entries:
        label = _title(entry) or labels.get(entry.action) or _without_rule(entry.action)
        found.append(Line(entry, label, total))
        total -= entry.points
    return found


def by_month(lines: list[Line]) -> list[Month]:
    """Part the lines by months, newest first."""
    return [Month(first_day, list(group)) for first_day, group in groupby(lines, key=_month)]


def _month(line: Line) -> date:
    moment: datetime = line.entry.created_at
    return moment.date().replace(day=1)


def _title(entry: PointTransaction) -> str:
    """Name the resource that was downloaded, also where the download is taken back. The gateway's rows do not."""
    paid = entry.reverses or entry
    title = paid.metadata.get("title") if isinstance(paid.metadata, dict) else None
    return title.strip() if paid.action == Action.RESOURCE_DOWNLOAD and isinstance(title, str) else ""


def _without_rule(action: str) -> str:
    """Name what no rule names: what staff did, and what the gateway may have paid for by itself."""
    return "Adjustment" if action == Action.ADMIN_ADJUSTMENT else action.replace("_", " ").capitalize()
