"""The definitions are consistent, and read stored answers as far as these make sense."""

import json
from decimal import Decimal
from typing import Any

import pytest

from benchmarks import definitions
from benchmarks.definitions import Category
from benchmarks.fields import ChoiceField, NumberField, TextField, Unit

pytestmark = pytest.mark.any_server

ALL = [(category, field) for category in Category for field in definitions.FIELDS[category]]
# Every field that the product needs, by name, and those that are required.
NAMES = {
    Category.COMPENSATION: "gtm_engineer_us gtm_engineer_offshore sdr_bdr_us_salary sdr_bdr_offshore_salary "
    "account_manager virtual_assistant_hourly copywriter_hourly sdr_bdr_us_commission",
    Category.INFRASTRUCTURE: "cost_per_domain cost_per_inbox warmup_cost sending_platform_cost "
    "data_enrichment_cost domain_vendor inbox_provider warmup_tool sending_platform",
    Category.BUSINESS: "annual_revenue_band agency_type pricing_model average_monthly_retainer "
    "revenue_per_employee gross_margin_percent monthly_client_churn_percent",
    Category.OPERATIONAL: "domains_per_client inboxes_per_domain daily_sends_per_inbox warmup_period_days "
    "average_reply_rate_percent average_positive_reply_rate_percent average_meeting_rate_percent",
}
REQUIRED = {"cost_per_domain", "annual_revenue_band", "domains_per_client"}
PAY_AND_FEES = {
    *[
        "gtm_engineer_us",
        "gtm_engineer_offshore",
        "sdr_bdr_us_salary",
        "sdr_bdr_offshore_salary",
        "account_manager",
    ],
    *["virtual_assistant_hourly", "copywriter_hourly", "average_monthly_retainer"],
}


@pytest.mark.parametrize("category", Category)
def test_a_category_has_the_fields_that_the_product_names(category: Category) -> None:
    assert sorted(field.name for field in definitions.FIELDS[category]) == sorted(NAMES[category].split())


def test_the_required_fields_and_the_aged_fields_are_those_of_the_product() -> None:
    assert {field.name for _, field in ALL if field.is_required} == REQUIRED
    assert {field.name for _, field in ALL if isinstance(field, NumberField) and field.is_pay_or_fee} == (
        PAY_AND_FEES
    )


def test_no_name_is_used_twice() -> None:
    names = [name for category in Category for name in definitions.stored_names(category)]
    assert len(names) == len(set(names))
    assert definitions.VERSION_KEY not in names


def test_fields_of_a_section_are_together() -> None:
    for category in Category:
        sections = [field.section for field in definitions.FIELDS[category]]
        runs = [section for n, section in enumerate(sections) if n == 0 or sections[n - 1] != section]
        assert len(runs) == len(set(runs)), f"{category} comes back to a section: {runs}"


@pytest.mark.parametrize(("category", "field"), ALL, ids=lambda value: getattr(value, "name", ""))
def test_limits_and_choices_make_sense(category: Category, field: Any) -> None:
    assert definitions.field(category, field.name) is field
    assert field.label
    if isinstance(field, NumberField):
        low, high = field.plausible
        assert field.minimum <= low < high <= field.maximum
        assert (field.minimum < 0) == (field.name == "gross_margin_percent")
        assert field.unit is not Unit.PERCENT or field.maximum == 100
    if isinstance(field, ChoiceField):
        spellings = [text.casefold() for pair in field.all_choices for text in set(pair)]
        assert len({value for value, _ in field.all_choices}) == len(field.all_choices)
        assert len({label.casefold() for _, label in field.all_choices}) == len(field.all_choices)
        assert spellings


@pytest.mark.parametrize(
    ("stored", "read"),
    [
        (12, Decimal(12)),
        (12.5, Decimal("12.5")),
        ("12.50", Decimal("12.50")),
        (" 12 ", Decimal(12)),
        (0, Decimal(0)),
        (10_000, Decimal(10_000)),
        (10_000.01, None),
        (-1, None),
        (True, None),
        (None, None),
        ("", None),
        ("$12", None),
        ("1e3", None),
        ("NaN", None),
        (float("nan"), None),
        (float("inf"), None),
        ("١٢", None),
        ([12], None),
        ({"amount": 12}, None),
        ("9" * 100, None),
    ],
)
def test_a_stored_value_is_read_only_if_it_is_a_number(stored: Any, read: Decimal | None) -> None:
    answers = definitions.read(Category.INFRASTRUCTURE, {"cost_per_domain": stored})
    assert answers.get("cost_per_domain") == read


@pytest.mark.parametrize(
    ("stored", "choice", "other"),
    [
        ("porkbun", "porkbun", ""),
        ("Porkbun", "porkbun", ""),
        (" PORKBUN\n", "porkbun", ""),
        ("Joe's Domains", "other", "Joe's Domains"),
        ("other", "other", ""),
        (7, "other", "7"),
        ("x" * 500, "other", "x" * 120),
        ("", None, ""),
        (["porkbun"], None, ""),
        (None, None, ""),
    ],
)
def test_a_stored_text_of_a_field_with_choices_is_read_as_a_choice(
    stored: Any, choice: str | None, other: str
) -> None:
    stored_answers = {"domain_vendor": stored}
    assert definitions.read(Category.INFRASTRUCTURE, stored_answers).get("domain_vendor") == choice
    field = definitions.field(Category.INFRASTRUCTURE, "domain_vendor")
    assert isinstance(field, ChoiceField)
    assert field.read_other(stored_answers) == other


def test_the_text_for_other_is_read() -> None:
    field = definitions.field(Category.INFRASTRUCTURE, "domain_vendor")
    assert isinstance(field, ChoiceField)
    assert field.read_other({"domain_vendor": "other", "domain_vendor_other": "Joe's"}) == "Joe's"
    assert field.read_other({"domain_vendor": "porkbun", "domain_vendor_other": "Joe's"}) == ""


def test_a_field_without_other_accepts_only_listed_choices() -> None:
    assert definitions.read(Category.BUSINESS, {"agency_type": "Circus"}) == {}
    assert definitions.read(Category.BUSINESS, {"agency_type": "Full service"}) == {
        "agency_type": "full_service"
    }


@pytest.mark.parametrize("stored", [None, [], "text", 7, {}, {"unknown": 1}, {"": ""}])
def test_a_stored_value_without_sense_is_no_answer(stored: Any) -> None:
    for category in Category:
        assert definitions.read(category, stored) == {}


def test_a_text_is_read_as_one_line_of_limited_length() -> None:
    text = definitions.field(Category.COMPENSATION, "sdr_bdr_us_commission")
    assert isinstance(text, TextField)
    assert (
        text.read({text.name: "10 %\n of\tthe\0 deal" + "x" * 200}) == ("10 % of the deal" + "x" * 200)[:120]
    )


@pytest.mark.parametrize(
    ("unit", "value", "shown"),
    [
        (Unit.DOLLARS_A_YEAR, Decimal(85000), "$85,000 a year"),
        (Unit.DOLLARS_AN_HOUR, 12.5, "$12.50 an hour"),
        (Unit.PERCENT, Decimal("-5.50"), "\N{MINUS SIGN}5.5 %"),
        (Unit.DAYS, 14, "14 days"),
        (Unit.COUNT, 1200, "1,200"),
        (Unit.DOLLARS_A_MONTH, Decimal("-0.5"), "\N{MINUS SIGN}$0.50 a month"),
    ],
)
def test_values_are_shown_with_their_unit(unit: Unit, value: Any, shown: str) -> None:
    assert unit.show(value) == shown


def test_answers_that_are_read_can_be_stored_as_json() -> None:
    answers = definitions.read(Category.INFRASTRUCTURE, json.loads('{"cost_per_domain": 12.35}'))
    assert answers == {"cost_per_domain": Decimal("12.35")}
