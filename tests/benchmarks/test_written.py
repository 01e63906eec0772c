"""Numbers as people write them. Unambiguous ones are read; for others, the message says how to write them."""

from decimal import Decimal

import pytest

from benchmarks import definitions, written
from benchmarks.definitions import Category
from benchmarks.fields import NumberField, Unit

pytestmark = pytest.mark.any_server

PAY, COUNT, PERCENT = "gtm_engineer_us", "domains_per_client", "gross_margin_percent"


def field(name: str) -> NumberField:
    [found] = [
        field for category in Category for field in definitions.number_fields(category) if field.name == name
    ]
    return found


@pytest.mark.parametrize(
    ("text", "name", "number"),
    [
        ("85000", PAY, "85000"),
        ("85,000", PAY, "85000"),
        ("$85,000", PAY, "85000"),
        ("$ 85,000.50", PAY, "85000.50"),
        ("US$85000", PAY, "85000"),
        ("85000 USD", PAY, "85000"),
        ("usd 85000", PAY, "85000"),
        ("85000$", PAY, "85000"),
        ("85k", PAY, "85000"),
        ("$85 K", PAY, "85000"),
        ("0.085m", PAY, "85000"),
        ("1,234,567", PAY, "1234567"),
        ("85 000", PAY, "85000"),
        ("1 234 567.89", PAY, "1234567.89"),
        ("85\u00a0000", PAY, "85000"),
        ("85\u202f000", PAY, "85000"),
        ("  85000\t", PAY, "85000"),
        (".5", PAY, "0.5"),
        ("5.", PAY, "5"),
        ("007", COUNT, "7"),
        ("1k", COUNT, "1000"),
        ("12 %", PERCENT, "12"),
        ("12%", PERCENT, "12"),
        ("12.5 percent", PERCENT, "12.5"),
        ("-5", PERCENT, "-5"),
        ("\u22125 %", PERCENT, "-5"),
        ("\u20135", PERCENT, "-5"),
        ("-0", PERCENT, "0"),
        ("-$500", PAY, "-500"),
        ("$-500", PAY, "-500"),
        ("0", COUNT, "0"),
    ],
)
def test_an_unambiguous_number_is_read(text: str, name: str, number: str) -> None:
    assert written.number(text, field=field(name)) == Decimal(number)


@pytest.mark.parametrize(
    ("text", "name", "message"),
    [
        ("85,5", PAY, "could be several numbers. Use commas for thousands and a point for decimals"),
        ("8,50,000", PAY, "could be several numbers"),
        ("1,2345", PAY, "could be several numbers"),
        (",", PAY, "is not a number"),
        ("85.000", PAY, "could be 85000 or 85.000"),
        ("1.234.567", PAY, "is not a number"),
        ("12 15", PAY, "is not a number"),
        ("85 0000", PAY, "is not a number"),
        ("80-90k", PAY, "is not a number"),
        ("~85000", PAY, "is not a number"),
        ("85000+", PAY, "is not a number"),
        ("eighty", PAY, "is not a number"),
        ("NaN", PAY, "is not a number"),
        ("Infinity", PAY, "is not a number"),
        ("1e5", PAY, "is not a number"),
        ("1e400", PAY, "is not a number"),
        ("0x10", COUNT, "is not a number"),
        ("1_000", COUNT, "is not a number"),
        ("--5", PERCENT, "is not a number"),
        ("-$-5", PAY, "is not a number"),
        ("$", PAY, "is not a number"),
        ("%", PERCENT, "is not a number"),
        (".", PAY, "is not a number"),
        ("€85000", PAY, "Write the amount in US dollars"),
        ("85000 EUR", PAY, "Write the amount in US dollars"),
        ("٨٥٠٠٠", PAY, "Write the number with the digits 0 to 9"),
        ("\uff18\uff15\uff10\uff10\uff10", PAY, "Write the number with the digits 0 to 9"),
        ("²", PAY, "is not a number"),
        ("½", PAY, "is not a number"),
        ("$12", COUNT, "is an amount of money"),
        ("$12", PERCENT, "is an amount of money"),
        ("12 %", PAY, "is a percentage"),
        ("12 %", COUNT, "is a percentage"),
        ("12k", PERCENT, "is not a percentage"),
        ("$12 usd", PAY, "names the dollar twice"),
        ("1" * 41, PAY, "This has 41 characters"),
        ("1\x002", PAY, "is not a number"),
        ("12<b>", PAY, "is not a number"),
    ],
)
def test_an_unclear_number_is_refused_with_an_example(text: str, name: str, message: str) -> None:
    with pytest.raises(written.Unclear) as raised:
        written.number(text, field=field(name))
    assert message in str(raised.value)


@pytest.mark.parametrize("name", [PAY, COUNT, PERCENT, "virtual_assistant_hourly", "cost_per_inbox"])
def test_the_example_of_a_message_is_itself_read(name: str) -> None:
    with pytest.raises(written.Unclear) as raised:
        written.number("?", field=field(name))
    example = str(raised.value).rsplit("such as ", 1)[1].rstrip(".")
    asked = field(name)
    assert asked.minimum <= written.number(example, field=asked) <= asked.maximum


@pytest.mark.parametrize("value", ["85000", "12.5", "-5", "0", "0.25", "1234567.89", "100"])
def test_a_number_shown_in_a_box_can_be_read_again(value: str) -> None:
    margin = field(PERCENT)
    assert margin.unit is Unit.PERCENT
    assert written.number(written.show(Decimal(value)), field=margin) == Decimal(value)
