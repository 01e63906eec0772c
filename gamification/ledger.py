"""The points ledger: what rows are added to it, and by which rule."""

import hashlib
import uuid
from collections.abc import Collection

from django.db import models, transaction

from council.models import Account, AuditLog, Member
from council.postgres.fields import base36
from gamification.models import PointTransaction

MAX_TOTAL = 2**31 - 1
MIN_REASON_LENGTH = 10
MAX_REASON_LENGTH = 500


class Action(models.TextChoices):
    INTRO_COMPLETED = "intro_completed"
    BENCHMARK_SUBMISSION = "benchmark_submission"
    RESOURCE_DOWNLOAD = "resource_download"
    DISCORD_ACTIVITY = "discord_activity", "Discord activity"
    ADMIN_ADJUSTMENT = "admin_adjustment"


class AdjustmentRefused(Exception):
    """Nothing was written, for the reason that the message gives."""


class AlreadyAdjusted(Exception):
    """This form was sent before, and counted then."""


def check_totals(*, members: Collection[Member], points: int) -> None:
    """Make sure that every total stays between 0 and 2,147,483,647. Raises AdjustmentRefused."""
    faults = [
        f"{member} has {member.total_points:,} points and would have {total:,}."
        for member in members
        if not 0 <= (total := member.total_points + points) <= MAX_TOTAL
    ]
    if faults:
        raise AdjustmentRefused(" ".join([*faults, f"Totals stay between 0 and {MAX_TOTAL:,}."]))


def adjust(
    *, members: Collection[Member], points: int, reason: str, performed_by: Account, form_key: uuid.UUID
) -> list[PointTransaction]:
    """Give every member the points, or take them, on a member of staff's word; for all of them or for none.

    Writes a ledger row and a POINTS_ADJUSTED row of the audit log for each member, in one transaction, and
    returns the ledger rows. `form_key` stands for the form as it was shown: it counts once for a member.
    Raises AlreadyAdjusted, AdjustmentRefused.
    """
    reason = reason.strip()
    if points == 0:
        raise AdjustmentRefused("0 points change nothing. Give or take at least 1.")
    if not MIN_REASON_LENGTH <= len(reason) <= MAX_REASON_LENGTH:
        raise AdjustmentRefused(
            f"The reason has {len(reason)} characters. "
            f"Give one of {MIN_REASON_LENGTH} to {MAX_REASON_LENGTH} characters."
        )
    row_ids = {member.pk: _row_id(form_key, member.pk) for member in members}
    staff_id = performed_by.staff_id
    with transaction.atomic():
        # In the order of the ledger's trigger. Past the locks, an earlier sending of the form has committed.
        locked = list(Member.objects.select_for_update(no_key=True).filter(pk__in=row_ids).order_by("pk"))
        if PointTransaction.objects.filter(pk__in=row_ids.values()).exists():
            raise AlreadyAdjusted("Already recorded: this form was sent before.")
        if gone := len(row_ids) - len(locked):
            raise AdjustmentRefused(
                f"{gone} of the {len(row_ids)} members no longer exist. Select them again."
            )
        check_totals(members=locked, points=points)
        rows = PointTransaction.objects.bulk_create(
            PointTransaction(
                id=row_ids[member.pk],
                member=member,
                action=Action.ADMIN_ADJUSTMENT,
                points=points,
                metadata={"reason": reason, "adminId": staff_id},
            )
            for member in locked
        )
        AuditLog.objects.bulk_create(
            AuditLog(
                action="POINTS_ADJUSTED",
                entity_type="Member",
                entity_id=member.pk,
                details={
                    "points": points,
                    "reason": reason,
                    "previousTotal": member.total_points,
                    "newTotal": member.total_points + points,
                },
                performed_by=staff_id,
            )
            for member in locked
        )
    return rows


def _row_id(form_key: uuid.UUID, member_id: str) -> str:
    """Make the id that a form's row for a member has, so that the primary key refuses a second one."""
    digest = hashlib.sha256(f"{form_key}:{member_id}".encode()).digest()
    return "c" + base36(int.from_bytes(digest), width=24)
