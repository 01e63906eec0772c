"""The points ledger: awards, adjustments, reversals, and a member's history."""

import json
import re
import uuid
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple, Self

from django.db import DataError, IntegrityError, models, transaction
from django.utils.dateparse import parse_datetime

from council.accounts.models import Account
from council.models import AuditLog, Member
from council.postgres import loaders
from council.postgres.fields import cuid
from gamification.models import MAX_KEY_LENGTH, Action, PointTransaction

MIN_TOTAL, MAX_TOTAL = -(2**31), 2**31 - 1
MIN_REASON_LENGTH = 10
MAX_REASON_LENGTH = 500
PAGE_ROWS = 50
PLACE = re.compile(r"(?P<moment>[-0-9T:.]{19,26})_(?P<total>-?[0-9]{1,19})_(?P<entry_id>[^\0]{1,3000})")


class Refused(Exception):
    """The ledger refused the change, and nothing was written. The message gives the reason."""


class AlreadyAdjusted(Refused):
    """This form was sent before, and was recorded then."""


class AlreadyReversed(Refused):
    """The entry has been reversed already."""


@dataclass(frozen=True)
class Award:
    """Something that a member is paid for. The action's rule gives the points, which are multiplied by `times`.

    `subject` identifies it within the action, such as a category or a resource's id. Each subject is paid once.
    """

    member_id: str
    action: Action
    subject: str = ""
    times: int = 1
    metadata: Mapping[str, Any] | None = None

    @property
    def key(self) -> str:
        return _key(self.action, self.member_id, self.subject)


# Inserts in the order of the keys, so that two statements with the same keys wait for each other and never deadlock.
AWARD = """
    INSERT INTO "PointTransaction" (id, "memberId", action, points, metadata, "idempotencyKey")
    SELECT given.id, given.member_id, given.action, rule.points * given.times, given.metadata::jsonb, given.key
      FROM unnest(%(ids)s::text[], %(member_ids)s::text[], %(actions)s::text[], %(times)s::int[],
                  %(metadata)s::text[], %(keys)s::text[])
           WITH ORDINALITY AS given (id, member_id, action, times, metadata, key, place)
      JOIN "PointRule" AS rule ON rule.action = given.action AND rule.enabled AND rule.points > 0
     ORDER BY given.key, given.place
        ON CONFLICT ("idempotencyKey") WHERE "idempotencyKey" IS NOT NULL DO NOTHING
    RETURNING *
"""


def award(award: Award) -> PointTransaction | None:
    """Pay a member by the rule that is in force. Returns the row, or None if there is nothing to pay.

    There is nothing to pay if Django or the gateway has paid it before, or if the rule is disabled or worth 0. Waits
    for a transaction that is writing the same key. Raises Refused; the caller must then roll back its transaction.
    """
    rows = award_many([award])
    return rows[0] if rows else None


def award_many(awards: Collection[Award]) -> list[PointTransaction]:
    """Pay all awards that were not paid before, in one statement. Returns the rows in the order of their keys.

    If several awards have the same key, only the first is paid. If it raises Refused, none is paid.
    """
    for given in awards:
        _check(given)
    with _refusals_explained():
        return list(
            PointTransaction.objects.raw(
                AWARD,
                {
                    "ids": [cuid() for _ in awards],
                    "member_ids": [given.member_id for given in awards],
                    "actions": [str(given.action) for given in awards],
                    "times": [given.times for given in awards],
                    "metadata": [_json(given.metadata) for given in awards],
                    "keys": [given.key for given in awards],
                },
            )
        )


def _check(award: Award) -> None:
    if award.action not in Action:
        raise Refused(f"{award.action!r} is not an action. Use one of {', '.join(Action.values)}.")
    if award.action == Action.ADMIN_ADJUSTMENT:
        raise Refused("Adjustments are not awarded by a rule. Use ledger.adjust.")
    if not 1 <= award.times <= MAX_TOTAL:
        raise Refused(f"An award cannot be paid {award.times} times. Give a number from 1 to {MAX_TOTAL:,}.")


def _key(action: str, member_id: str, subject: object) -> str:
    key = ":".join(part for part in (str(action), member_id, str(subject)) if part)
    if len(key) > MAX_KEY_LENGTH:
        raise Refused(
            f"The key {key[:60]}… has {len(key)} characters, and at most {MAX_KEY_LENGTH} are allowed. "
            f"Shorten the award's subject."
        )
    return key


def _json(metadata: Mapping[str, Any] | None) -> str | None:
    try:
        return None if metadata is None else json.dumps(metadata, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise Refused(f"The metadata is not JSON: {error}. Remove what JSON does not support.") from error


GONE = {"PointTransaction_memberId_fkey": "A member", "PointTransaction_reversesId_fkey": "The entry"}


@contextmanager
def _refusals_explained() -> Iterator[None]:
    """Turn the database's refusals into Refused, with a message that says why."""
    try:
        yield
    except IntegrityError as error:
        diagnosis = getattr(error.__cause__, "diag", None)
        if diagnosis and (gone := GONE.get(diagnosis.constraint_name)):
            raise Refused(
                f"{gone} no longer exists: {diagnosis.message_detail} Nothing was written."
            ) from error
        if diagnosis and diagnosis.sqlstate == "23514":  # from triggers.LIMITS
            raise Refused(
                f"{diagnosis.message_primary} {diagnosis.message_hint or ''} Nothing was written."
            ) from error
        raise
    except DataError as error:
        if getattr(error.__cause__, "sqlstate", None) == "22003":
            raise Refused(
                f"A total would leave the range from {MIN_TOTAL:,} to {MAX_TOTAL:,}. Nothing was written."
            ) from error
        fault = str(error).partition("\n")[0]
        raise Refused(f"The database cannot store this: {fault}. Nothing was written.") from error
    except UnicodeEncodeError as error:
        raise Refused(f"A broken character cannot be stored: {error}. Nothing was written.") from error


def check_totals(*, members: Collection[Member], points: int) -> None:
    """Check that every total stays between 0 and 2,147,483,647. Raises Refused."""
    faults = [
        f"{member} has {member.total_points:,} points and would have {total:,}."
        for member in members
        if not 0 <= (total := member.total_points + points) <= MAX_TOTAL
    ]
    if faults:
        raise Refused(" ".join([*faults, f"Totals must stay between 0 and {MAX_TOTAL:,}."]))


def adjust(
    *, members: Collection[Member], points: int, reason: str, performed_by: Account, form_key: uuid.UUID
) -> list[PointTransaction]:
    """Give points to the members, or take them away, as staff decide. Changes all of the members or none.

    Writes a ledger row and an audit log row POINTS_ADJUSTED for each member, in one transaction, and returns the
    ledger rows. `form_key` identifies the form that was shown: it counts once for each member.
    Raises AlreadyAdjusted, Refused.
    """
    reason = _checked(reason)
    if points == 0:
        raise Refused("0 points change nothing. Give or take at least 1.")
    keys = {member.pk: _key(Action.ADMIN_ADJUSTMENT, member.pk, form_key) for member in members}
    with transaction.atomic(), _refusals_explained():
        # Lock in the trigger's order. After that, the rows of an earlier request with the same form are visible.
        locked = list(Member.objects.select_for_update(no_key=True).filter(pk__in=keys).order_by("pk"))
        if PointTransaction.objects.filter(idempotency_key__in=keys.values()).exists():
            raise AlreadyAdjusted("Already recorded: this form was sent before.")
        if gone := len(keys) - len(locked):
            raise Refused(f"{gone} of the {len(keys)} members no longer exist. Select the members again.")
        check_totals(members=locked, points=points)
        rows = PointTransaction.objects.bulk_create(
            PointTransaction(
                member=member,
                action=Action.ADMIN_ADJUSTMENT,
                points=points,
                metadata={"reason": reason, "adminId": performed_by.staff_id},
                idempotency_key=keys[member.pk],
            )
            for member in locked
        )
        _log(
            "POINTS_ADJUSTED", rows, performed_by=performed_by, totals={m.pk: m.total_points for m in locked}
        )
    return rows


def reverse(*, entry_id: str, reason: str, performed_by: Account | None) -> PointTransaction:
    """Reverse an entry, once, with a row that refers to it and has the opposite points.

    Writes an audit log row POINTS_REVERSED in the same transaction. Without `performed_by` it writes none, and the
    ledger row names nobody: the caller keeps a record that does not reveal the member. The total may fall below 0, as
    the points may have been taken away by an adjustment before. Raises AlreadyReversed, Refused.
    """
    reason = _checked(reason)
    with transaction.atomic(), _refusals_explained():
        entry = PointTransaction.objects.filter(pk=entry_id).first()
        if entry is None:
            raise Refused(f"There is no entry {entry_id!r}. It was deleted with its member.")
        member = Member.objects.select_for_update(no_key=True).filter(pk=entry.member_id).first()
        if member is None:
            raise Refused("The member was deleted, and the entry with them.")
        if entry.reverses_id:
            raise Refused("This entry is a reversal and cannot be reversed. Adjust the points instead.")
        if entry.reversals.exists():
            raise AlreadyReversed("Already reversed: an entry can be reversed only once.")
        row = PointTransaction.objects.create(
            member=member,
            action=entry.action,
            points=-entry.points,
            metadata={"reason": reason, **({"adminId": performed_by.staff_id} if performed_by else {})},
            idempotency_key=_key("reversal", entry.pk, ""),
            reverses=entry,
        )
        if performed_by:
            _log("POINTS_REVERSED", [row], performed_by=performed_by, totals={member.pk: member.total_points})
    return row


def _checked(reason: str) -> str:
    reason = reason.strip()
    if not MIN_REASON_LENGTH <= len(reason) <= MAX_REASON_LENGTH:
        raise Refused(
            f"The reason has {len(reason)} characters. "
            f"Give a reason of {MIN_REASON_LENGTH} to {MAX_REASON_LENGTH} characters."
        )
    return reason


def _log(
    action: str, rows: Sequence[PointTransaction], *, performed_by: Account, totals: Mapping[str, int]
) -> None:
    """Write an audit log row for each row that staff added. `totals` are the members' totals before."""
    AuditLog.objects.bulk_create(
        AuditLog(
            action=action,
            entity_type="Member",
            entity_id=row.member_id,
            details={
                "points": row.points,
                "reason": row.reason,
                "previousTotal": totals[row.member_id],
                "newTotal": totals[row.member_id] + row.points,
                **({"reverses": row.reverses_id} if row.reverses_id else {}),
            },
            performed_by=performed_by.staff_id,
        )
        for row in rows
    )


class Place(NamedTuple):
    """A place in a member's history: after an entry, with the total there. It is part of the next page's URL.

    It carries the total, so that a page need not add up the pages before it. A forged one misleads only its author.
    """

    created_at: datetime
    total: int
    entry_id: str

    def __str__(self) -> str:
        moment = self.created_at.replace(tzinfo=None).isoformat(timespec="microseconds")
        return f"{moment}_{self.total}_{self.entry_id}"

    @classmethod
    def read(cls, text: str) -> Self:
        """Parse a place from a URL. Raises Refused."""
        match = PLACE.fullmatch(text)
        try:
            created_at = match and parse_datetime(match["moment"])
        except ValueError:
            created_at = None
        if not match or created_at is None:
            raise Refused(f"{text[:60]!r} is not a place in a history. Start with the first page.")
        return cls(created_at.replace(tzinfo=UTC), int(match["total"]), match["entry_id"])


@dataclass(frozen=True)
class History:
    """A page of a member's entries, newest first, and the member's total after the newest of them."""

    entries: list[PointTransaction]
    next_place: Place | None
    total: int = 0


def history(*, member: Member, after: Place | None = None, rows: int | None = None) -> History:
    """Read a page of a member's entries, newest first. To read the next page, pass `next_place` as `after`.

    Each entry comes with the entry that it reverses, and with `reversed_at`, the time of its own reversal.
    """
    rows = rows or PAGE_ROWS
    entries = PointTransaction.objects.filter(member=member)
    if after:
        moment: Any = after.created_at
        if not loaders.EARLIEST < moment < loaders.LATEST:  # may stand for a time outside Python's range
            moment = models.Subquery(entries.filter(pk=after.entry_id).values("created_at"))
        entries = entries.filter(
            models.Q(created_at__lt=moment) | models.Q(pk__lt=after.entry_id), created_at__lte=moment
        )
    reversal = PointTransaction.objects.filter(reverses=models.OuterRef("pk"))
    # Read the total in the same statement, so that an entry added meanwhile is in both or in neither.
    found: list[Any] = list(
        entries.order_by("-created_at", "-pk")
        .select_related("reverses")
        .annotate(
            total_now=models.F("member__total_points"),
            reversed_at=models.Subquery(reversal.values("created_at")),
        )[: rows + 1]
    )
    page = found[:rows]
    if not page:
        return History([], next_place=None)
    total = after.total if after else page[0].total_now
    last, is_last = page[-1], len(found) == len(page)
    below = total - sum(entry.points for entry in page)
    return History(page, None if is_last else Place(last.created_at, below, last.pk), total)
