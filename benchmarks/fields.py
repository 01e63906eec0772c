"""The kinds of benchmark fields: numbers with a unit, choices and texts, and how stored answers are read."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from typing import Any, ClassVar

MAX_TEXT_LENGTH = 120
OTHER = "other"
# Texts that are read as numbers, because the gateway stored some numbers as texts. The SQL function
# benchmark_answers (benchmarks/functions.py) uses the same pattern.
STORED_NUMBER = re.compile(r"-?[0-9]{1,15}([.][0-9]{1,10})?")


class Unit(Enum):
    """The unit of a number: the texts before and after its box, and the number of decimals allowed."""

    DOLLARS_A_YEAR = ("$", "a year", 2)
    DOLLARS_A_MONTH = ("$", "a month", 2)
    DOLLARS_AN_HOUR = ("$", "an hour", 2)
    PERCENT = ("", "%", 2)
    DAYS = ("", "days", 0)
    COUNT = ("", "", 0)

    def __init__(self, prefix: str, suffix: str, decimals: int) -> None:
        self.prefix = prefix
        self.suffix = suffix
        self.decimals = decimals

    @property
    def is_money(self) -> bool:
        return self.prefix == "$"

    def show(self, value: Decimal | float) -> str:
        """Format a value with its unit: $85,000 a year; 12.5 %; 14 days."""
        return f"{self.show_short(value)} {self.suffix}".rstrip()

    def show_short(self, value: Decimal | float) -> str:
        """Format a value without its unit, except for the dollar sign: $85,000; 12.5; 14."""
        number = Decimal(str(value))
        whole = number == number.to_integral_value()
        sign = "\N{MINUS SIGN}" if number < 0 else ""
        digits = f"{abs(number):,.0f}" if whole else f"{abs(number):,.2f}"
        if not whole and not self.is_money:
            digits = digits.rstrip("0").rstrip(".")
        return f"{sign}{self.prefix}{digits}"


@dataclass(frozen=True, kw_only=True)
class Field:
    """A question. `name` is its key in the stored JSON, `section` the heading under which it is shown."""

    name: str
    label: str
    section: str
    help: str = ""
    is_required: bool = False
    kind: ClassVar[str]

    def read(self, answers: Mapping[str, Any]) -> Decimal | str | None:
        """Read a stored answer. Returns None if there is none, or if it makes no sense."""
        raise NotImplementedError

    def show(self, answer: Any) -> str:
        """Format an answer that `read` returned."""
        return str(answer)


@dataclass(frozen=True, kw_only=True)
class NumberField(Field):
    """A number from `minimum` to `maximum`. Staff review answers outside of `plausible` before they count.

    With `is_pay_or_fee`, answers count once they are 90 days old (the setting BENCHMARK_PAY_AGE_DAYS).
    """

    unit: Unit
    maximum: int
    plausible: tuple[int, int]
    minimum: int = 0
    is_pay_or_fee: bool = False
    kind: ClassVar[str] = "number"

    def read(self, answers: Mapping[str, Any]) -> Decimal | None:
        value = answers.get(self.name)
        if isinstance(value, bool) or not isinstance(value, int | float | Decimal | str):
            return None
        if isinstance(value, str) and not STORED_NUMBER.fullmatch(value.strip()):
            return None
        number = Decimal(str(value).strip())
        return number if number.is_finite() and self.minimum <= number <= self.maximum else None

    def show(self, answer: Any) -> str:
        return self.unit.show(answer)


@dataclass(frozen=True, kw_only=True)
class ChoiceField(Field):
    """One of `choices`, which are pairs of a stored value and its label.

    With `has_other` the choice may be "other", and the member's own text is stored under `other_name`. The gateway
    stored texts in these fields. A text that equals a value or a label is read as that choice, any other as "other".
    """

    choices: tuple[tuple[str, str], ...]
    has_other: bool = False
    kind: ClassVar[str] = "choice"

    @property
    def other_name(self) -> str:
        return f"{self.name}_{OTHER}"

    @property
    def all_choices(self) -> tuple[tuple[str, str], ...]:
        """Return the choices, followed by "other" if the field has it."""
        return (*self.choices, (OTHER, "Other")) if self.has_other else self.choices

    def read(self, answers: Mapping[str, Any]) -> str | None:
        text = _text(answers.get(self.name))
        if text is None:
            return None
        plain = text.casefold()
        for value, label in self.all_choices:
            if plain in {value.casefold(), label.casefold()}:
                return value
        return OTHER if self.has_other else None

    def read_other(self, answers: Mapping[str, Any]) -> str:
        """Read the member's text for "other", or a text from the gateway that is not a choice."""
        if self.read(answers) != OTHER:
            return ""
        text = _text(answers.get(self.name)) or ""
        return _text(answers.get(self.other_name)) or ("" if text.casefold() == OTHER else text)

    def show(self, answer: Any) -> str:
        return dict(self.all_choices).get(str(answer), str(answer))


@dataclass(frozen=True, kw_only=True)
class TextField(Field):
    """A text of up to 120 characters. It is never shown to other members."""

    kind: ClassVar[str] = "text"

    def read(self, answers: Mapping[str, Any]) -> str | None:
        return _text(answers.get(self.name))


def _text(value: Any) -> str | None:
    """Read a stored scalar as one line of text."""
    if isinstance(value, bool) or not isinstance(value, str | int | float | Decimal):
        return None
    text = " ".join(str(value).replace("\0", " ").split())
    return text[:MAX_TEXT_LENGTH] or None
