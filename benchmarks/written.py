"""Parsing of numbers as people write them: $85,000, 85k, 12 %. Ambiguous ones are refused, with an example."""

import re
import unicodedata
from decimal import Decimal

from benchmarks.fields import NumberField, Unit

MAX_LENGTH = 40
SPACES = re.compile(r"(?<=[0-9])[ \u00a0\u2009\u202f](?=[0-9]{3}(?![0-9]))")
TWO_NUMBERS = re.compile(r"[0-9.,]\s+[0-9.,]")
GROUPED = re.compile(r"[0-9]{1,3}(,[0-9]{3})+")
NUMBER = re.compile(
    r"(?P<sign>[-\u2212\u2013]?)(?P<dollar>(?:us)?\$|usd)?(?P<sign_after>[-\u2212\u2013]?)"
    r"(?P<whole>[0-9][0-9,]*)?(?:\.(?P<decimals>[0-9]*))?(?P<times>k|m)?"
    r"(?P<unit>%|percent|usd|\$)?"
)
OTHER_MONEY = re.compile(r"[€£¥₹]|eur|gbp|cad|aud", re.IGNORECASE)
TIMES = {"": Decimal(1), "k": Decimal(1_000), "m": Decimal(1_000_000)}


class Unclear(ValueError):
    """The text is not a number, or could be several. The message says how to write it."""


def number(text: str, *, field: NumberField) -> Decimal:
    """Parse the text in a field's box. Raises Unclear."""
    given = text.strip()
    example = _example(field)
    if len(given) > MAX_LENGTH:
        raise Unclear(f"This has {len(given)} characters. Write one number, such as {example}.")
    if OTHER_MONEY.search(given):
        raise Unclear(f"Write the amount in US dollars, such as {example}.")
    if any(unicodedata.category(character) == "Nd" and character not in "0123456789" for character in given):
        raise Unclear(f"Write the number with the digits 0 to 9, such as {example}.")
    plain = SPACES.sub("", given).lower()
    if not TWO_NUMBERS.search(plain):
        plain = "".join(plain.split())
    match = NUMBER.fullmatch(plain)
    if not match or not (match["whole"] or match["decimals"]) or (match["sign"] and match["sign_after"]):
        raise Unclear(f"“{given}” is not a number. Write one number, such as {example}.")
    whole, decimals = match["whole"] or "0", match["decimals"] or ""
    if "," in whole and not GROUPED.fullmatch(whole):
        raise Unclear(
            f"“{given}” could be several numbers. Use commas for thousands and a point for decimals, "
            f"such as 85,000 or 12.5."
        )
    if len(decimals) == 3 and not match["times"] and whole != "0":
        raise Unclear(
            f"“{given}” could be {whole}{decimals} or {whole}.{decimals}. Use commas for thousands, and at most two "
            f"decimals after a point, such as 85,000 or 12.5."
        )
    _check_unit(match, given=given, field=field, example=example)
    is_negative = bool(match["sign"] or match["sign_after"])
    value = Decimal(f"{whole.replace(',', '')}.{decimals or '0'}") * TIMES[match["times"] or ""]
    return -value if is_negative and value else value


def _check_unit(match: re.Match[str], *, given: str, field: NumberField, example: str) -> None:
    is_money = bool(match["dollar"]) or match["unit"] in {"usd", "$"}
    is_percentage = match["unit"] in {"%", "percent"}
    if is_money and not field.unit.is_money:
        raise Unclear(f"“{given}” is an amount of money. Write a number, such as {example}.")
    if is_percentage and field.unit is not Unit.PERCENT:
        raise Unclear(f"“{given}” is a percentage. Write a number, such as {example}.")
    if match["times"] and field.unit is Unit.PERCENT:
        raise Unclear(f"“{given}” is not a percentage. Write a number, such as {example}.")
    if match["dollar"] and match["unit"]:
        raise Unclear(f"“{given}” names the dollar twice. Write a number, such as {example}.")


def _example(field: NumberField) -> str:
    if field.unit is Unit.PERCENT:
        return "12.5"
    return f"{int(float(f'{sum(field.plausible) / 3:.2g}')):,}"


def show(value: Decimal) -> str:
    """Format a number so that `number` can parse it: 85,000; 12.5; -5."""
    text = f"{value:,.2f}" if value != value.to_integral_value() else f"{value:,.0f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
