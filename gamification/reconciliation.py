"""Comparison of the figures in `Member` with the ledger, and their repair.

Triggers keep them equal. They differ only if somebody with a superuser's rights wrote to `Member`, or to the ledger
with triggers off. Rows that were dated in the future in this way are also found, and marked: they count in the total,
but in no month, streak or activity.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import NamedTuple

from django.db import connection, transaction

from council.models import AuditLog, Member

BATCH_MEMBERS = 1_000
PERFORMED_BY = "reconcile_points"

DIFFERENCES = """
    SELECT member.id,
           member."totalPoints", member."pointsMonth", member."monthPoints",
           member."lastActiveAt", member."currentStreak",
           coalesce(ledger.total_points, 0), ledger.points_month, coalesce(ledger.month_points, 0),
           ledger.last_active_at, coalesce(ledger.streak, 0)
      FROM "Member" AS member
      LEFT JOIN points_by_ledger(%(ids)s) AS ledger ON ledger.member_id = member.id
     WHERE member.id = ANY (%(ids)s)
       AND (member."totalPoints", member."pointsMonth", member."monthPoints",
            member."lastActiveAt", member."currentStreak")
           IS DISTINCT FROM
           (coalesce(ledger.total_points, 0), ledger.points_month, coalesce(ledger.month_points, 0),
            ledger.last_active_at, coalesce(ledger.streak, 0))
     ORDER BY member.id
"""

# One minute more than the triggers' limit, because their clock is later than the start of the transaction.
MISDATED = """
    SELECT id, "memberId", "createdAt"::text
      FROM "PointTransaction"
     WHERE "createdAt" > CURRENT_TIMESTAMP AT TIME ZONE 'UTC' + interval '11 minutes'
       AND NOT "isMisdated"
     ORDER BY "createdAt", id
     LIMIT 1000
"""
MARK = 'UPDATE "PointTransaction" SET "isMisdated" = true WHERE id = ANY (%(ids)s)'

# The planner's estimate. If the table was never analysed, an estimate from its size.
ESTIMATE = """
    SELECT CASE WHEN reltuples < 0 THEN 20 * pg_relation_size(oid) / current_setting('block_size')::bigint
                ELSE reltuples END::bigint
      FROM pg_class
     WHERE oid = '"Member"'::regclass
"""
# SYSTEM draws whole blocks in order. `draw` asks for too many and keeps some at random, so that no block is left out.
DRAW = """
    SELECT id
      FROM (SELECT id FROM "Member" TABLESAMPLE SYSTEM (%(percent)s)) AS drawn
     ORDER BY random()
     LIMIT %(members)s
"""


class Figures(NamedTuple):
    """The fields of Member that the ledger determines."""

    total_points: int
    points_month: date | None
    month_points: int
    last_active_at: datetime | None
    current_streak: int


@dataclass(frozen=True)
class Difference:
    """A member whose figures differ from the ledger."""

    member_id: str
    found: Figures
    expected: Figures

    def __str__(self) -> str:
        pairs = zip(Figures._fields, self.found, self.expected, strict=True)
        changes = [f"{name} {found} → {expected}" for name, found, expected in pairs if found != expected]
        return f"{self.member_id}: {', '.join(changes)}"


@dataclass(frozen=True)
class Misdated:
    """A ledger row that is dated in the future. The date is text, as it may be outside Python's range."""

    entry_id: str
    member_id: str
    created_at: str

    def __str__(self) -> str:
        return f"{self.member_id}: row {self.entry_id} is dated in the future, {self.created_at}"


def misdated() -> list[Misdated]:
    """Find rows that are dated in the future and not marked, at most a thousand."""
    with connection.cursor() as cursor:
        cursor.execute(MISDATED)
        return [Misdated(*row) for row in cursor.fetchall()]


def differences() -> Iterator[Difference | Misdated]:
    """Compare all members with the ledger, a thousand at a time. Locks nothing."""
    yield from misdated()
    for _, found in compared():
        yield from found


def compared() -> Iterator[tuple[list[str], list[Difference]]]:
    """Compare all members with the ledger, and yield the ids of each thousand with their differences."""
    return _in_batches(compare)


def repair() -> Iterator[Difference | Misdated]:
    """Mark rows that are dated in the future, set all members' figures to the ledger's, and yield each change.

    Locks only members whose figures differ, in batches of a thousand, and writes an audit log row POINTS_RECONCILED for
    each change.
    """
    while marked := _mark():
        yield from marked
    for _, found in _in_batches(_repair):
        yield from found


def _in_batches(
    act: Callable[[list[str]], list[Difference]],
) -> Iterator[tuple[list[str], list[Difference]]]:
    after = ""
    while ids := next_batch(after):
        yield ids, act(ids)
        after = ids[-1]


def next_batch(after: str) -> list[str]:
    """List the ids of the next thousand members."""
    return list(
        Member.objects.filter(pk__gt=after).order_by("pk").values_list("pk", flat=True)[:BATCH_MEMBERS]
    )


def estimated_members() -> int:
    with connection.cursor() as cursor:
        cursor.execute(ESTIMATE)
        members: int = cursor.fetchone()[0]
    return members


def draw(members: int) -> list[str]:
    """Draw some members at random without reading the whole table, or all members if they are few."""
    estimate = estimated_members()
    percent = 100.0 if estimate <= 5 * members else 150.0 * members / estimate
    with connection.cursor() as cursor:
        cursor.execute(DRAW, {"percent": percent, "members": members})
        return [row[0] for row in cursor.fetchall()]


def compare(ids: list[str]) -> list[Difference]:
    """Compare some members with the ledger, in one statement."""
    with connection.cursor() as cursor:
        cursor.execute(DIFFERENCES, {"ids": ids})
        return [Difference(row[0], _figures(*row[1:6]), _figures(*row[6:])) for row in cursor.fetchall()]


def _figures(
    total: int, month: date | None, in_month: int, active_at: datetime | None, streak: int
) -> Figures:
    return Figures(total, month, in_month, active_at and active_at.replace(tzinfo=UTC), streak)


def _repair(ids: list[str]) -> list[Difference]:
    suspects = [difference.member_id for difference in compare(ids)]
    if not suspects:
        return []
    with transaction.atomic():
        # With the members locked, a row that was just being added is in the ledger and in the figures.
        locked = Member.objects.select_for_update(no_key=True).filter(pk__in=suspects).order_by("pk")
        changes = compare(list(locked.values_list("pk", flat=True)))
        for change in changes:
            Member.objects.filter(pk=change.member_id).update(**change.expected._asdict())
        _log(changes)
    return changes


def _mark() -> list[Misdated]:
    """Mark rows that are dated in the future. A trigger recounts their members' figures."""
    with transaction.atomic():
        found = misdated()
        with connection.cursor() as cursor:
            cursor.execute(MARK, {"ids": [row.entry_id for row in found]})
        _log(found)
    return found


def _log(changes: Sequence[Difference | Misdated]) -> None:
    AuditLog.objects.bulk_create(
        AuditLog(
            action="POINTS_RECONCILED",
            entity_type="Member",
            entity_id=change.member_id,
            details={"change": str(change)},
            performed_by=PERFORMED_BY,
        )
        for change in changes
    )
