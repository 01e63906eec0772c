"""A member's answers, and the actions on them: submit, withdraw, and confirm that they are still right."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from django.db import transaction

from benchmarks import definitions, flags
from benchmarks.answers import BenchmarkSubmission, BenchmarkVersion
from benchmarks.definitions import Category
from benchmarks.fields import MAX_TEXT_LENGTH, OTHER, ChoiceField, Field, NumberField, TextField
from council.models import Member
from council.postgres.fields import CurrentTimestamp
from gamification import ledger
from gamification.models import Action, PointTransaction

LOOK_AGAIN_AFTER = timedelta(days=365)
# A company counts in a release if a member of it joined this long before.
COUNTS_AFTER = timedelta(days=30)

Answers = Mapping[str, Decimal | str]


class Refused(Exception):
    """The action was refused, and nothing was changed. The message gives the reason."""


class NotInGoodStanding(Refused):
    """Submitting requires an active membership."""


class ChangedMeanwhile(Refused):
    """The answers have changed since they were shown to the member."""


class Invalid(Refused):
    """Some answers cannot be stored. `faults` says why, by field; faults of the whole form are under ""."""

    def __init__(self, faults: Mapping[str, str]) -> None:
        self.faults = dict(faults)
        super().__init__(
            " ".join(f"{name}: {fault}" if name else fault for name, fault in self.faults.items())
        )


@dataclass(frozen=True)
class Submission:
    """A member's current answers in a category. `number` counts their changes."""

    category: Category
    answers: Mapping[str, Decimal | str]
    others: Mapping[str, str]
    number: int
    changed_at: datetime
    looked_at: datetime

    @property
    def is_stale(self) -> bool:
        """Tell whether the answers were neither changed nor confirmed for twelve months."""
        return datetime.now(UTC) - self.looked_at >= LOOK_AGAIN_AFTER


@dataclass(frozen=True)
class Submitted:
    """The result of submitting: the points that were paid, and whether the answers differ from those before."""

    points: int
    is_changed: bool


def of_member(member: Member) -> dict[Category, Submission]:
    """Read a member's answers by category, in the order of the categories. Those without answers are left out."""
    looked_at = {
        row.category: row.updated_at
        for row in BenchmarkSubmission.objects.filter(member=member).only("category", "updated_at")
    }
    newest = (
        BenchmarkVersion.objects.filter(member=member).order_by("category", "-number").distinct("category")
    )
    found = {
        version.category: _submission(version, looked_at[version.category])
        for version in newest
        if not version.is_withdrawn and version.category in looked_at
    }
    return {category: found[category] for category in Category if category in found}


@dataclass(frozen=True)
class Card:
    """A category as a member sees it: their answers, and staff's reason if these were not accepted."""

    category: Category
    submission: Submission | None
    rejection: str | None

    @property
    def description(self) -> str:
        return definitions.DESCRIPTIONS[self.category]

    @property
    def answered(self) -> int:
        return len(self.submission.answers) if self.submission else 0

    @property
    def questions(self) -> int:
        return len(definitions.FIELDS[self.category])


def cards(member: Member) -> list[Card]:
    """List all categories with the member's answers in each."""
    sent = of_member(member)
    rejections = flags.standing_rejections(member=member)
    return [Card(category, sent.get(category), rejections.get(category)) for category in Category]


def of_category(member: Member, category: Category) -> Submission | None:
    """Read a member's answers in a category, or None if there are none."""
    version = _newest(member, category)
    row = BenchmarkSubmission.objects.filter(member=member, category=category).only("updated_at").first()
    return _submission(version, row.updated_at) if row and version and not version.is_withdrawn else None


def _newest(member: Member, category: Category) -> BenchmarkVersion | None:
    return BenchmarkVersion.objects.filter(member=member, category=category).order_by("-number").first()


def _submission(version: BenchmarkVersion, looked_at: datetime) -> Submission:
    category = Category(version.category)
    others = {
        field.other_name: text
        for field in definitions.choice_fields(category)
        if (text := field.read_other(version.data))
    }
    return Submission(
        category=category,
        answers=definitions.read(category, version.data),
        others=others,
        number=version.number,
        changed_at=version.recorded_at,
        looked_at=looked_at,
    )


def counts_from(member: Member) -> datetime | None:
    """Return the time from which a member's answers count, or None if they count already."""
    # The gateway may have written a time so late that no later one exists.
    moment = min(member.created_at, datetime.max.replace(tzinfo=UTC) - COUNTS_AFTER) + COUNTS_AFTER
    return moment if moment > datetime.now(UTC) else None


def check(*, category: Category, answers: Mapping[str, Any]) -> dict[str, Any]:
    """Check answers and return what is stored: a JSON object of the answers and the version of the definitions.

    None and "" mean that there is no answer. Raises Invalid.
    """
    given = {name: answer for name, answer in answers.items() if answer is not None and answer != ""}
    faults: dict[str, str] = {}
    unknown = sorted(set(given) - definitions.stored_names(category))
    if unknown:
        faults[""] = (
            f"{category.label} does not ask for {', '.join(name[:60] for name in unknown[:5])}. Leave it out."
        )
    stored: dict[str, Any] = {}
    for field in definitions.FIELDS[category]:
        try:
            stored |= _check(field, given)
        except ValueError as error:
            faults[field.name] = str(error)
    if not faults and not stored:
        faults[""] = "There is no answer yet. Answer at least one question."
    if faults:
        raise Invalid(faults)
    return {definitions.VERSION_KEY: definitions.VERSION, **stored}


def _check(field: Field, given: Mapping[str, Any]) -> dict[str, Any]:
    """Check an answer. Raises ValueError, which says what is wrong and how to correct it."""
    answer = given.get(field.name)
    if isinstance(field, ChoiceField):
        return _check_choice(field, answer, given.get(field.other_name))
    if answer is None:
        if field.is_required:
            raise ValueError("This answer is required: without it the others cannot be compared.")
        return {}
    if isinstance(field, NumberField):
        return {field.name: _check_number(field, answer)}
    assert isinstance(field, TextField)
    return {field.name: _check_text(answer)}


def _check_number(field: NumberField, answer: Any) -> int | float:
    if isinstance(answer, bool) or not isinstance(answer, int | float | Decimal):
        raise ValueError("This is not a number. Write one number.")
    number = Decimal(str(answer))
    if not number.is_finite():
        raise ValueError(f"{answer} cannot be compared. Write one number.")
    if number < field.minimum or number > field.maximum:
        low, high = field.unit.show_short(field.minimum), field.unit.show(field.maximum)
        shown = field.unit.show_short(number) if abs(number) < Decimal("1e15") else "This number"
        raise ValueError(f"{shown} is outside of the allowed range. Write a number from {low} to {high}.")
    decimals = field.unit.decimals
    if round(number, decimals) != number:
        needed = f"at most {decimals} decimals" if decimals else "a whole number"
        raise ValueError(f"{number} has too many decimals. Write {needed}.")
    return int(number) if number == number.to_integral_value() else float(number)


def _check_choice(field: ChoiceField, answer: Any, other: Any) -> dict[str, Any]:
    text = _check_text(other) if other is not None else ""
    if answer is None and not text:
        if field.is_required:
            raise ValueError("This answer is required: without it the others cannot be compared.")
        return {}
    if answer is None or (answer == OTHER and field.has_other):
        if not text:
            raise ValueError("You chose Other. Write what it is.")
        return {field.name: OTHER, field.other_name: text}
    labels = dict(field.choices)
    if not isinstance(answer, str) or answer not in labels:
        raise ValueError(f"{str(answer)[:60]!r} is not on the list. Choose an answer from the list.")
    if text:
        raise ValueError(f"You chose {labels[answer]} and wrote “{text}”. Choose Other, or delete the text.")
    return {field.name: answer}


def _check_text(answer: Any) -> str:
    if not isinstance(answer, str):
        raise ValueError("This is not a text. Write one line.")  # no form of ours sends this
    text = " ".join(answer.split())
    if len(text) > MAX_TEXT_LENGTH:
        raise ValueError(
            f"This has {len(text)} characters; at most {MAX_TEXT_LENGTH} are allowed. Shorten it."
        )
    try:
        json.dumps(text, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            "This contains a broken character, which cannot be stored. Write it again."
        ) from error
    if not text.isprintable():
        raise ValueError("This contains a character that cannot be shown. Write it again.")
    return text


def submit(
    *, member: Member, category: Category, answers: Mapping[str, Any], shown: int | None = None
) -> Submitted:
    """Store all of a member's answers in a category, and pay for the first time that they are sent.

    The result and the points do not depend on whether answers are flagged. `shown` is the number of the submission
    that the member was shown, 0 for none: if there is another one by now, nothing is stored.
    Raises NotInGoodStanding, ChangedMeanwhile, Invalid, Refused.
    """
    data = check(category=category, answers=answers)
    with transaction.atomic():
        # Lock the member first, as the ledger does, so that a member's submissions run one after the other.
        locked = _lock(member)
        if not locked.is_in_good_standing:
            raise NotInGoodStanding("Sending answers requires an active membership. Nothing was stored.")
        before = _newest(member, category)
        number = 0 if before is None or before.is_withdrawn else before.number
        if shown is not None and shown != number:
            raise ChangedMeanwhile(
                "These answers were changed elsewhere since this page was opened, and nothing was stored. "
                "Check what you wrote here. If it is right, send it again."
            )
        is_barred = flags.is_rejection_standing(member=member, category=category) if before else False
        BenchmarkSubmission.objects.bulk_create(
            [BenchmarkSubmission(member=member, category=category, data=data, is_valid=not is_barred)],
            update_conflicts=True,
            unique_fields=["member", "category"],
            update_fields=["data", "updated_at"],
        )
        version = _newest(member, category)
        assert version is not None
        is_changed = before is None or version.number != before.number
        if is_changed:
            flags.receive(version=version, is_rejection_standing=is_barred)
        points = 0 if is_barred else _pay(member, category)
    return Submitted(points=points, is_changed=is_changed)


def _lock(member: Member) -> Member:
    locked = Member.objects.select_for_update(no_key=True).filter(pk=member.pk).first()
    if locked is None:
        raise Refused("Your membership no longer exists. Nothing was stored.")
    return locked


def _pay(member: Member, category: Category) -> int:
    """Pay for the first submission of a category, unless it was paid before."""
    row: PointTransaction | None = ledger.award(
        ledger.Award(
            member_id=member.pk,
            action=Action.BENCHMARK_SUBMISSION,
            subject=category.value,
            metadata={"category": category.value},
        )
    )
    return row.points if row else 0


def withdraw(*, member: Member, category: Category) -> bool:
    """Delete a member's answers in a category. Their row is deleted at once; figures change in the next releases.

    The member keeps the points. Returns whether there were any answers.
    """
    with transaction.atomic():
        _lock(member)
        removed, _ = BenchmarkSubmission.objects.filter(member=member, category=category).delete()
    return bool(removed)


def confirm(*, member: Member, category: Category) -> bool:
    """Record that a member's answers are still right, so that the pages do not ask again for a year.

    Returns whether there are any answers.
    """
    rows = BenchmarkSubmission.objects.filter(member=member, category=category)
    return bool(rows.update(updated_at=CurrentTimestamp()))
