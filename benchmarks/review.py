"""The review of answers by staff, who publish or reject flagged ones (flags.py).

Staff see each answer under the random number of its version, without the member, the company and the time.
"""

import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from django.db import connection, transaction

from benchmarks import definitions, flags, results
from benchmarks.answers import BenchmarkSubmission, BenchmarkVersion
from benchmarks.definitions import Category
from benchmarks.fields import ChoiceField, Field
from benchmarks.models import BenchmarkReview, State
from benchmarks.results import Band
from council.accounts.models import Account
from council.models import AuditLog, Member
from council.postgres.fields import CurrentTimestamp
from gamification import ledger
from gamification.models import Action, PointTransaction

ENTITY = "BenchmarkVersion"
MIN_REASON_LENGTH, MAX_REASON_LENGTH = ledger.MIN_REASON_LENGTH, 400
MAX_AT_ONCE = 50


class Refused(Exception):
    """The decision was refused, and nothing was changed. The message gives the reason."""


# What staff see ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Entry:
    """A row of the list: a version's random number, and the week in which it arrived."""

    number: uuid.UUID
    category: Category
    week: date
    state: State


# Ordered by week and then by the random number, so that the order reveals only the week.
QUEUE = """
SELECT version.id, version.category::text, date_trunc('week', version."recordedAt")::date AS week
  FROM "BenchmarkReview" AS review
  JOIN "BenchmarkVersion" AS version ON version.id = review."versionId"
 WHERE review.state = %(state)s::"BenchmarkState"
   AND NOT EXISTS (SELECT FROM "BenchmarkReview" AS later
                    WHERE later."versionId" = review."versionId" AND later.id > review.id)
   AND NOT EXISTS (SELECT FROM "BenchmarkVersion" AS newer
                    WHERE newer."memberId" = version."memberId" AND newer.category = version.category
                      AND newer.number > version.number)
 ORDER BY week DESC, version.id
 LIMIT %(rows)s OFFSET %(skipped)s
"""


def queue(*, state: State, page: int = 1) -> tuple[list[Entry], bool]:
    """List a page of the current versions that have a state. Also returns whether there are more."""
    skipped = (max(page, 1) - 1) * MAX_AT_ONCE
    with connection.cursor() as cursor:
        cursor.execute(QUEUE, {"state": state.value, "rows": MAX_AT_ONCE + 1, "skipped": skipped})
        rows = cursor.fetchall()
    entries = [
        Entry(number, Category(category), week, state) for number, category, week in rows[:MAX_AT_ONCE]
    ]
    return entries, len(rows) > MAX_AT_ONCE


@dataclass(frozen=True)
class Decision:
    """A decision about a version, by staff or by the program. Those of the program have no name and no time."""

    state: State
    reason: str
    reviewed_by: str
    decided_at: datetime | None
    number: uuid.UUID
    category: Category


@dataclass(frozen=True)
class Line:
    """An answer of a version, with the band of the last release and the reason why it is flagged."""

    field: Field
    answer: Decimal | str
    other: str
    band: Band | None
    fault: str


@dataclass(frozen=True)
class Look:
    """A version as staff see it."""

    number: uuid.UUID
    category: Category
    week: date
    state: State
    is_current: bool
    lines: list[Line]
    decisions: list[Decision]


def look(*, numbers: Collection[uuid.UUID], viewer: Account) -> list[Look]:
    """Show versions to a member of staff, and record each look in the audit log.

    They are ordered by number, and deleted ones are left out. Raises Refused if there are too many.
    """
    if len(numbers) > MAX_AT_ONCE:
        raise Refused(f"{len(numbers)} answers are too many at once. Choose at most {MAX_AT_ONCE}.")
    with transaction.atomic():
        versions = list(BenchmarkVersion.objects.filter(pk__in=numbers, is_withdrawn=False).order_by("pk"))
        _log("BENCHMARK_SEEN", versions, by=viewer)
        return [_look(version) for version in versions]


def _look(version: BenchmarkVersion) -> Look:
    category = Category(version.category)
    bands = results.last_bands(category)
    faults = flags.of(category=category, answers=version.data, bands=bands)
    read = definitions.read(category, version.data)
    lines = [
        Line(
            field=field,
            answer=read[field.name],
            other=field.read_other(version.data) if isinstance(field, ChoiceField) else "",
            band=bands.get(field.name),
            fault=faults.get(field.name, ""),
        )
        for field in definitions.FIELDS[category]
        if field.name in read
    ]
    decisions = [_decision(row, category) for row in version.reviews.order_by("-pk")]
    return Look(
        number=version.pk,
        category=category,
        week=_week(version.recorded_at),
        state=decisions[0].state if decisions else State.RECEIVED,
        is_current=_is_current(version),
        lines=lines,
        decisions=decisions,
    )


def _decision(row: BenchmarkReview, category: Category) -> Decision:
    is_by_staff = row.reviewed_by is not None
    return Decision(
        state=State(row.state),
        reason=row.reason,
        reviewed_by=row.reviewed_by or "",
        decided_at=row.created_at if is_by_staff else None,
        number=row.version_id,
        category=category,
    )


def _week(moment: datetime) -> date:
    return moment.date() - timedelta(days=moment.weekday())


def _is_current(version: BenchmarkVersion) -> bool:
    return not BenchmarkVersion.objects.filter(
        member=version.member_id, category=version.category, number__gt=version.number
    ).exists()


def decisions(*, rows: int = 100) -> list[Decision]:
    """List staff's newest decisions. Those of the program are left out, as they have the times of the answers."""
    found = (
        BenchmarkReview.objects.filter(reviewed_by__isnull=False)
        .select_related("version")
        .defer("version__data")
        .order_by("-pk")[:rows]
    )
    return [_decision(row, Category(row.version.category)) for row in found]


def count(*, category: Category, field: Field, answer: Any, viewer: Account) -> int:
    """Count the submissions that have exactly this answer, to find copies. Records the count in the audit log.

    Uses the GIN index on the stored JSON. It does not find numbers that the gateway stored as texts.
    """
    AuditLog.objects.create(
        action="BENCHMARK_COUNTED",
        entity_type="BenchmarkSubmission",
        entity_id=f"{category.value}.{field.name}",
        details={"answer": answer},
        performed_by=viewer.staff_id,
    )
    found: int = exact(category=category, answers={field.name: answer}).count()
    return found


def exact(*, category: Category, answers: Mapping[str, Any]) -> Any:
    """Select the submissions that have exactly these answers."""
    return BenchmarkSubmission.objects.filter(data__contains=dict(answers), category=category)


# What staff decide ---------------------------------------------------------------------------------------------------


def publish(*, numbers: Collection[uuid.UUID], reason: str, reviewer: Account) -> int:
    """Publish versions, so that releases use them. If a member's answers were rejected, pay for them again.

    Publishes all of them or none. Returns how many were not published before. Raises Refused.
    """
    return _decide(State.RECEIVED, numbers=numbers, reason=reason.strip(), reviewer=reviewer)


def reject(*, numbers: Collection[uuid.UUID], reason: str, reviewer: Account) -> int:
    """Reject versions, so that releases do not use them, and reverse the points that were paid for the category.

    Rejects all of them or none, in one transaction with the points. The member reads the reason. Returns how many were
    not rejected before. Raises Refused.
    """
    return _decide(State.REJECTED, numbers=numbers, reason=reason.strip(), reviewer=reviewer)


def _decide(state: State, *, numbers: Collection[uuid.UUID], reason: str, reviewer: Account) -> int:
    if not 0 < len(set(numbers)) <= MAX_AT_ONCE:
        raise Refused(f"Choose 1 to {MAX_AT_ONCE} answers, not {len(set(numbers))}.")
    is_optional = state == State.RECEIVED and not reason
    if not is_optional and not MIN_REASON_LENGTH <= len(reason) <= MAX_REASON_LENGTH:
        raise Refused(
            f"The reason has {len(reason)} characters. "
            f"Give a reason of {MIN_REASON_LENGTH} to {MAX_REASON_LENGTH} characters."
        )
    with transaction.atomic():
        members = BenchmarkVersion.objects.filter(pk__in=numbers).values("member")
        # Lock members before versions, as submissions.submit does, and in the order of the ledger's trigger.
        list(Member.objects.select_for_update(no_key=True).filter(pk__in=members).order_by("pk").values("pk"))
        versions = list(
            BenchmarkVersion.objects.select_for_update(of=("self",))
            .filter(pk__in=numbers)
            .select_related("member")
            .order_by("pk")
        )
        # Otherwise the gateway could write new answers between the check that these are current and the decision.
        list(
            BenchmarkSubmission.objects.select_for_update()
            .filter(member__in=members)
            .order_by("pk")
            .values("pk")
        )
        if len(versions) < len(set(numbers)):
            raise Refused("Some of these answers no longer exist: their member was deleted. Choose again.")
        decided = [version for version in versions if _decide_one(state, version, reason, reviewer)]
        _log(
            f"BENCHMARK_{'PUBLISHED' if state == State.RECEIVED else 'REJECTED'}",
            decided,
            by=reviewer,
            reason=reason,
        )
    return len(decided)


def _decide_one(state: State, version: BenchmarkVersion, reason: str, reviewer: Account) -> bool:
    """Decide about a version. Returns whether the decision is new. Raises Refused."""
    if version.is_withdrawn or not _is_current(version):
        raise Refused(
            f"Answer {version.pk} was changed or withdrawn since you looked at it. Nothing was decided. "
            f"Choose again from the list."
        )
    last = version.reviews.order_by("-pk").first()
    if last is None:  # the gateway has just written it, and the job has not run since
        flags.receive_batch([version.pk])
    elif last.reviewed_by and last.state == state:
        return False
    category = Category(version.category)
    was_standing = flags.is_rejection_standing(member=version.member, category=category)
    BenchmarkReview.objects.create(
        version=version,
        state=state,
        reason=reason,
        reviewed_by=reviewer.staff_id,
        created_at=CurrentTimestamp(),
    )
    BenchmarkSubmission.objects.filter(member=version.member_id, category=category).update(
        is_valid=state == State.RECEIVED
    )
    if state == State.REJECTED:
        _take_points_back(version.member, category, reason)
    elif was_standing:
        _pay_again(version.member, category)
    return True


def _paid(member: Member, category: Category) -> Any:
    return PointTransaction.objects.filter(
        member=member,
        action=Action.BENCHMARK_SUBMISSION,
        metadata__category=category.value,
        reverses__isnull=True,
    )


def _take_points_back(member: Member, category: Category, reason: str) -> None:
    for entry in _paid(member, category).filter(reversals__isnull=True):
        ledger.reverse(
            entry_id=entry.pk,
            reason=f"Your answers about {category.label.lower()} were not accepted: {reason}",
            performed_by=None,
        )


def _pay_again(member: Member, category: Category) -> None:
    """Pay again the points that a rejection reversed. If it reversed none, there is nothing to pay."""
    entries = _paid(member, category)
    last = entries.order_by("-created_at", "-pk").first()
    if last is None or entries.filter(reversals__isnull=True).exists():
        return
    ledger.award(
        ledger.Award(
            member_id=member.pk,
            action=Action.BENCHMARK_SUBMISSION,
            subject=f"{category.value}:{last.pk}",
            metadata={"category": category.value},
        )
    )


def _log(action: str, versions: Sequence[BenchmarkVersion], *, by: Account, reason: str = "") -> None:
    AuditLog.objects.bulk_create(
        AuditLog(
            action=action,
            entity_type=ENTITY,
            entity_id=str(version.pk),
            details={"reason": reason} if reason else None,
            performed_by=by.staff_id,
        )
        for version in versions
    )
