"""The product's rules for points, again in plain Python with lists, for comparison with the database."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from typing import NamedTuple

INT_MIN, INT_MAX = -(2**31), 2**31 - 1
SATURDAY = 5  # as in date.weekday()


@dataclass(frozen=True)
class Entry:
    """A row of the ledger. `created_at` is UTC, without a zone, in whole milliseconds."""

    id: str
    member: str
    action: str
    points: int
    created_at: datetime
    key: str | None = None
    reverses: str | None = None

    @property
    def once(self) -> set[str]:
        """List what only one row may have: its key, and the row that it reverses."""
        return ({self.key} if self.key else set()) | (
            {f"reverses {self.reverses}"} if self.reverses else set()
        )

    @property
    def own_key(self) -> str | None:
        """Return the key of what a row of the gateway pays for. Without metadata, only introductions have one."""
        is_payment = self.points > 0 and self.reverses is None
        return f"{self.action}:{self.member}" if is_payment and self.action == "intro_completed" else None

    @property
    def is_activity(self) -> bool:
        return self.points > 0 and self.action != "admin_adjustment" and self.reverses is None


class Figures(NamedTuple):
    """A member's figures, in the order of Model.figures and of the tests' queries."""

    total: int = 0
    month: date | None = None
    month_points: int = 0
    last_active_at: datetime | None = None
    streak: int = 0

    @property
    def are_storable(self) -> bool:
        return INT_MIN <= self.total <= INT_MAX and INT_MIN <= self.month_points <= INT_MAX


def streak(days: set[date]) -> int:
    """Count back from the newest day, one day at a time, until a weekday is missing."""
    if not days:
        return 0
    day, count = max(days), 1
    while True:
        day -= timedelta(days=1)
        if day in days:
            count += 1
        elif day.weekday() < SATURDAY:
            return count


def figures(entries: Iterable[Entry]) -> Figures:
    entries = list(entries)
    if not entries:
        return Figures()
    active = [entry.created_at for entry in entries if entry.is_activity]
    month = max(entry.created_at for entry in entries).date().replace(day=1)
    return Figures(
        total=sum(entry.points for entry in entries),
        month=month,
        month_points=sum(
            entry.points for entry in entries if entry.created_at.date().replace(day=1) == month
        ),
        last_active_at=max(active, default=None),
        streak=streak({moment.date() for moment in active}),
    )


@dataclass
class Model:
    """Members with their entries by id, and the rules by action, each with points and whether it is enabled."""

    members: dict[str, dict[str, Entry]] = field(default_factory=dict)
    rules: dict[str, tuple[int, bool]] = field(default_factory=dict)

    @property
    def entries(self) -> dict[str, Entry]:
        return {id: entry for entries in self.members.values() for id, entry in entries.items()}

    @property
    def once(self) -> set[str]:
        return set().union(*(entry.once for entry in self.entries.values()))

    def figures(self, member: str, more: Iterable[Entry] = ()) -> Figures:
        own = [entry for entry in more if entry.member == member]
        return figures([*self.members[member].values(), *own])

    def refuses(self, entries: list[Entry]) -> bool:
        """Tell whether a statement that adds all of these must fail."""
        there, once = self.entries, self.once
        for entry in entries:
            if entry.member not in self.members or entry.id in there or entry.once & once:
                return True
            if entry.reverses and not self._may_reverse(entry, there.get(entry.reverses)):
                return True
            once |= entry.once
        return not all(self.figures(member, entries).are_storable for member in {e.member for e in entries})

    def _may_reverse(self, entry: Entry, target: Entry | None) -> bool:
        return (
            target is not None
            and target.member == entry.member
            and target.points + entry.points == 0
            and target.reverses is None
        )

    def without_conflicts(self, entries: list[Entry]) -> list[Entry]:
        """Leave out the rows that ON CONFLICT DO NOTHING would leave out."""
        once, kept = self.once, []
        for entry in entries:
            if not entry.once & once:
                once |= entry.once
                kept.append(entry)
        return kept

    def add(self, entries: Iterable[Entry]) -> None:
        for entry in entries:
            self.members[entry.member][entry.id] = entry

    def rename(self, member: str, new: str) -> None:
        self.members[new] = {id: replace(entry, member=new) for id, entry in self.members.pop(member).items()}
