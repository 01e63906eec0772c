"""Flags: the first state of a version of answers, and the reasons why staff should review it before it counts."""

import uuid
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from django.db import connection, transaction

from benchmarks import definitions, results
from benchmarks.answers import BenchmarkSubmission, BenchmarkVersion
from benchmarks.definitions import Category
from benchmarks.fields import NumberField
from benchmarks.models import BenchmarkReview, State
from benchmarks.results import Band
from council.models import Member
from council.postgres.fields import CurrentTimestamp

FAR_OUT = 3  # times the distance between the quartiles
BATCH_ROWS = 500
RESUBMITTED = "Sent again after a rejection."
MARKED_BY_GATEWAY = "The gateway marked it as not valid."


def of(*, category: Category, answers: Mapping[str, Any], bands: Mapping[str, Band]) -> dict[str, str]:
    """Find the numbers that staff should review before they count. Returns the reasons, by field.

    Compares with the last release, never with live answers.
    """
    read = definitions.read(category, answers)
    found = {}
    for field in definitions.number_fields(category):
        answer = read.get(field.name)
        if isinstance(answer, Decimal) and (fault := _fault(field, answer, bands.get(field.name))):
            found[field.name] = fault
    return found


def _fault(field: NumberField, answer: Decimal, band: Band | None) -> str:
    low, high = field.plausible
    if not low <= answer <= high:
        return f"Outside of the plausible range: {field.unit.show_short(low)} to {field.unit.show(high)}."
    if band:
        lower, upper = Decimal(str(band.p25)), Decimal(str(band.p75))
        reach = FAR_OUT * (upper - lower)
        if not lower - reach <= answer <= upper + reach:
            return "Far outside of the quartiles of the last release."
    return ""


def receive(*, version: BenchmarkVersion, is_rejection_standing: bool, is_valid: bool = True) -> None:
    """Give a version its first state, flagged or received, dated with the version's time."""
    bands = results.last_bands(Category(version.category))
    faults = of(category=Category(version.category), answers=version.data, bands=bands)
    fields = {field.name: field for field in definitions.FIELDS[Category(version.category)]}
    reasons = [f"{fields[name].label}: {fault}" for name, fault in faults.items()]
    if is_rejection_standing:
        reasons.append(RESUBMITTED)
    if not is_valid:
        reasons.append(MARKED_BY_GATEWAY)
    BenchmarkReview.objects.create(
        version=version,
        state=State.FLAGGED if reasons else State.RECEIVED,
        reason=" ".join(reasons),
        created_at=version.recorded_at,
    )


def receive_waiting() -> int:
    """Give versions from the gateway their first state, and flag those that it has since marked as not valid.

    Returns how many states were given. Any number of processes may run this at once.
    """
    given = 0
    while numbers := list(
        BenchmarkVersion.objects.filter(reviews__isnull=True, is_withdrawn=False).values_list(
            "pk", flat=True
        )[:BATCH_ROWS]
    ):
        with transaction.atomic():
            given += receive_batch(numbers)
    return given + _flag_marked()


def receive_batch(numbers: Sequence[uuid.UUID]) -> int:
    """Give these versions their first state, unless they have one. The caller must hold a transaction."""
    locked = list(BenchmarkVersion.objects.select_for_update().filter(pk__in=numbers).order_by("pk"))
    # A separate statement, because another process may have committed before the locks were granted.
    done = set(BenchmarkReview.objects.filter(version__in=numbers).values_list("version_id", flat=True))
    waiting = [version for version in locked if version.pk not in done]
    marked = {
        (row.member_id, row.category)
        for row in BenchmarkSubmission.objects.filter(
            member__in=[version.member_id for version in waiting], is_valid=False
        ).only("member_id", "category")
    }
    for version in waiting:
        receive(
            version=version,
            is_rejection_standing=is_rejection_standing(
                member=version.member, category=Category(version.category)
            ),
            is_valid=(version.member_id, version.category) not in marked,
        )
    return len(waiting)


MARKED = """
SELECT version.id
  FROM "BenchmarkSubmission" AS submission
  JOIN LATERAL (SELECT id FROM "BenchmarkVersion" AS version
                 WHERE version."memberId" = submission."memberId" AND version.category = submission.category
                 ORDER BY number DESC LIMIT 1) AS version ON true
  JOIN LATERAL (SELECT state FROM "BenchmarkReview" AS review
                 WHERE review."versionId" = version.id
                 ORDER BY id DESC LIMIT 1) AS review ON true
 WHERE NOT submission."isValid" AND review.state = 'RECEIVED'
"""


def _flag_marked() -> int:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(MARKED)
        numbers = [row[0] for row in cursor.fetchall()]
        BenchmarkReview.objects.bulk_create(
            BenchmarkReview(
                version_id=number,
                state=State.FLAGGED,
                reason=MARKED_BY_GATEWAY,
                created_at=CurrentTimestamp(),
            )
            for number in numbers
        )
    return len(numbers)


def standing_rejections(*, member: Member) -> dict[Category, str]:
    """Return staff's reasons for rejecting a member's answers, by category. Other categories are left out."""
    last = (
        BenchmarkReview.objects.filter(version__member=member, reviewed_by__isnull=False)
        .order_by("version__category", "-pk")
        .distinct("version__category")
        .values_list("version__category", "state", "reason")
    )
    return {Category(category): reason for category, state, reason in last if state == State.REJECTED}


def standing_rejection(*, member: Member, category: Category) -> str | None:
    """Return staff's reason for rejecting a member's answers in a category, or None if they are not rejected."""
    return standing_rejections(member=member).get(category)


def is_rejection_standing(*, member: Member, category: Category) -> bool:
    """Tell whether staff's last decision about a member's answers in a category was to reject them."""
    return standing_rejection(member=member, category=category) is not None
