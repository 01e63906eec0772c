"""The benchmark questions: every category, field, unit, limit and choice is defined only here.

Forms, validation, flags, releases, the admin and the members' pages use them. To add a field, add an entry here.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from django.db import models

from benchmarks.fields import ChoiceField, Field, NumberField, TextField, Unit

# Stored with every submission under VERSION_KEY. Increase it when a field's meaning changes, not when one is added.
VERSION = 1
VERSION_KEY = "version"


class Category(models.TextChoices):
    """The values of the database's enum, in the order in which members see them."""

    COMPENSATION = "COMPENSATION", "Pay"
    INFRASTRUCTURE = "INFRASTRUCTURE", "Infrastructure"
    BUSINESS = "BUSINESS", "Business"
    OPERATIONAL = "OPERATIONAL", "Operations"


def _number(
    name: str, label: str, section: str, plausible: tuple[int, int], hint: str = "", **limits: Any
) -> NumberField:
    return NumberField(name=name, label=label, section=section, plausible=plausible, help=hint, **limits)


def _salary(name: str, label: str, section: str, plausible: tuple[int, int], hint: str = "") -> NumberField:
    return _number(
        name, label, section, plausible, hint, unit=Unit.DOLLARS_A_YEAR, maximum=2_000_000, is_pay_or_fee=True
    )


def _hourly(name: str, label: str, plausible: tuple[int, int]) -> NumberField:
    return _number(
        name, label, "Freelancers", plausible, unit=Unit.DOLLARS_AN_HOUR, maximum=2_000, is_pay_or_fee=True
    )


def _monthly_cost(name: str, label: str, hint: str, maximum: int, plausible: tuple[int, int]) -> NumberField:
    return _number(name, label, "Costs", plausible, hint, unit=Unit.DOLLARS_A_MONTH, maximum=maximum)


def _vendor(name: str, label: str, choices: tuple[tuple[str, str], ...]) -> ChoiceField:
    return ChoiceField(name=name, label=label, section="Tools", choices=choices, has_other=True)


def _rate(
    name: str, label: str, section: str, plausible: tuple[int, int], hint: str = "", minimum: int = 0
) -> NumberField:
    return _number(name, label, section, plausible, hint, unit=Unit.PERCENT, minimum=minimum, maximum=100)


def _count(
    name: str,
    label: str,
    maximum: int,
    plausible: tuple[int, int],
    *,
    unit: Unit = Unit.COUNT,
    is_required: bool = False,
) -> NumberField:
    return _number(name, label, "Sending", plausible, unit=unit, maximum=maximum, is_required=is_required)


_COMPENSATION: tuple[Field, ...] = (
    _salary("gtm_engineer_us", "GTM engineer, United States", "Engineers", (40_000, 400_000)),
    _salary("gtm_engineer_offshore", "GTM engineer, offshore", "Engineers", (5_000, 150_000)),
    _salary(
        "sdr_bdr_us_salary",
        "SDR or BDR, United States: base salary",
        "Sales development",
        (20_000, 150_000),
        "Without commission.",
    ),
    _salary(
        "sdr_bdr_offshore_salary",
        "SDR or BDR, offshore: base salary",
        "Sales development",
        (3_000, 80_000),
        "Without commission.",
    ),
    TextField(
        name="sdr_bdr_us_commission",
        label="SDR or BDR, United States: how commission works",
        section="Sales development",
        help="For example: $100 for each meeting held. Other members never see this text.",
    ),
    _salary(
        "account_manager",
        "Account manager: total pay",
        "Account management",
        (20_000, 300_000),
        "With bonuses and commission.",
    ),
    _hourly("virtual_assistant_hourly", "Virtual assistant", (2, 80)),
    _hourly("copywriter_hourly", "Copywriter", (5, 300)),
)

_INFRASTRUCTURE: tuple[Field, ...] = (
    NumberField(
        name="cost_per_domain",
        label="Cost of a domain",
        section="Costs",
        unit=Unit.DOLLARS_A_YEAR,
        maximum=10_000,
        plausible=(1, 100),
        is_required=True,
    ),
    _monthly_cost("cost_per_inbox", "Cost of an inbox", "", 1_000, (0, 50)),
    _monthly_cost("warmup_cost", "Warmup", "For all of your inboxes together.", 1_000_000, (0, 10_000)),
    _monthly_cost(
        "sending_platform_cost", "Sending platform", "For all seats together.", 1_000_000, (0, 10_000)
    ),
    _monthly_cost(
        "data_enrichment_cost", "Data and enrichment", "All sources together.", 1_000_000, (0, 50_000)
    ),
    _vendor(
        "domain_vendor",
        "Where you buy domains",
        (
            ("porkbun", "Porkbun"),
            ("namecheap", "Namecheap"),
            ("godaddy", "GoDaddy"),
            ("cloudflare", "Cloudflare"),
            ("dynadot", "Dynadot"),
            ("squarespace", "Squarespace"),
            ("route_53", "Route 53"),
        ),
    ),
    _vendor(
        "inbox_provider",
        "Who provides your inboxes",
        (
            ("google_workspace", "Google Workspace"),
            ("microsoft_365", "Microsoft 365"),
            ("azure", "Azure"),
            ("smtp", "An SMTP server of your own"),
            ("reseller", "A reseller of inboxes"),
        ),
    ),
    _vendor(
        "warmup_tool",
        "Warmup tool",
        (
            ("none", "None"),
            ("built_in", "The sending platform's own"),
            ("instantly", "Instantly"),
            ("smartlead", "Smartlead"),
            ("mailreach", "MailReach"),
            ("warmup_inbox", "Warmup Inbox"),
            ("lemwarm", "lemwarm"),
            ("mailwarm", "Mailwarm"),
        ),
    ),
    _vendor(
        "sending_platform",
        "Sending platform",
        (
            ("smartlead", "Smartlead"),
            ("instantly", "Instantly"),
            ("email_bison", "Email Bison"),
            ("lemlist", "lemlist"),
            ("apollo", "Apollo"),
            ("outreach", "Outreach"),
            ("salesloft", "Salesloft"),
            ("reply", "Reply"),
            ("woodpecker", "Woodpecker"),
        ),
    ),
)

_BUSINESS: tuple[Field, ...] = (
    ChoiceField(
        name="annual_revenue_band",
        label="Annual revenue",
        section="Your company",
        is_required=True,
        choices=(
            ("sub_100k", "Under $100,000"),
            ("100k_250k", "$100,000 to $250,000"),
            ("250k_500k", "$250,000 to $500,000"),
            ("500k_1m", "$500,000 to $1 million"),
            ("1m_2m", "$1 million to $2 million"),
            ("2m_5m", "$2 million to $5 million"),
            ("above_5m", "Over $5 million"),
        ),
    ),
    ChoiceField(
        name="agency_type",
        label="Kind of agency",
        section="Your company",
        choices=(
            ("lead_gen", "Lead generation"),
            ("appointment_setting", "Appointment setting"),
            ("full_service", "Full service"),
            ("consulting", "Consulting"),
            ("hybrid", "A mixture"),
        ),
    ),
    ChoiceField(
        name="pricing_model",
        label="How you charge",
        section="Prices",
        choices=(
            ("retainer", "Retainer"),
            ("per_meeting", "Per meeting"),
            ("performance", "By performance"),
            ("hybrid", "A mixture"),
        ),
    ),
    NumberField(
        name="average_monthly_retainer",
        label="Average retainer",
        section="Prices",
        unit=Unit.DOLLARS_A_MONTH,
        maximum=1_000_000,
        plausible=(200, 50_000),
        is_pay_or_fee=True,
    ),
    NumberField(
        name="revenue_per_employee",
        label="Revenue per employee",
        section="Results",
        help="For the last twelve months, divided by the number of people who work for you full time.",
        unit=Unit.DOLLARS_A_YEAR,
        maximum=50_000_000,
        plausible=(5_000, 1_000_000),
    ),
    _rate(
        "gross_margin_percent",
        "Gross margin",
        "Results",
        (-20, 95),
        "Negative if you make a loss, such as \N{MINUS SIGN}5.",
        minimum=-1_000,
    ),
    _rate("monthly_client_churn_percent", "Clients lost a month", "Results", (0, 30)),
)

_OPERATIONAL: tuple[Field, ...] = (
    _count("domains_per_client", "Domains for each client", 10_000, (1, 300), is_required=True),
    _count("inboxes_per_domain", "Inboxes on each domain", 1_000, (1, 100)),
    _count("daily_sends_per_inbox", "Emails a day from each inbox", 10_000, (1, 200)),
    _count("warmup_period_days", "Warmup before the first campaign", 1_000, (3, 120), unit=Unit.DAYS),
    _rate("average_reply_rate_percent", "Replies", "Results", (0, 30), "Of all emails sent."),
    _rate("average_positive_reply_rate_percent", "Positive replies", "Results", (0, 60), "Of all replies."),
    _rate("average_meeting_rate_percent", "Meetings", "Results", (0, 60), "Of all positive replies."),
)

FIELDS: Mapping[Category, tuple[Field, ...]] = {
    Category.COMPENSATION: _COMPENSATION,
    Category.INFRASTRUCTURE: _INFRASTRUCTURE,
    Category.BUSINESS: _BUSINESS,
    Category.OPERATIONAL: _OPERATIONAL,
}

DESCRIPTIONS: Mapping[Category, str] = {
    Category.COMPENSATION: "What you pay the people who work for you.",
    Category.INFRASTRUCTURE: "What sending emails costs you, and which tools you use.",
    Category.BUSINESS: "How large your company is, how you charge, and how well it does.",
    Category.OPERATIONAL: "How you send emails, and how many replies you get.",
}

# The fields by which results can be filtered. Both are choices in BUSINESS.
GROUPINGS = ("annual_revenue_band", "agency_type")


def number_fields(category: Category) -> tuple[NumberField, ...]:
    return tuple(field for field in FIELDS[category] if isinstance(field, NumberField))


def choice_fields(category: Category) -> tuple[ChoiceField, ...]:
    return tuple(field for field in FIELDS[category] if isinstance(field, ChoiceField))


def field(category: Category, name: str) -> Field:
    """Find a field. Raises KeyError."""
    return {field.name: field for field in FIELDS[category]}[name]


def stored_names(category: Category) -> frozenset[str]:
    """Return the keys that a submission may have, except VERSION_KEY."""
    others = {field.other_name for field in choice_fields(category) if field.has_other}
    return frozenset({field.name for field in FIELDS[category]} | others)


def read(category: Category, answers: Any) -> dict[str, Decimal | str]:
    """Read the stored answers that make sense, by field, whether Django or the gateway wrote them.

    Ignores unknown keys, empty values, numbers outside of the limits, and anything that is not an object.
    """
    if not isinstance(answers, Mapping):
        return {}
    found = ((field.name, field.read(answers)) for field in FIELDS[category])
    return {name: value for name, value in found if value is not None}
