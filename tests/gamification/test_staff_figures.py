"""Figures about points, activity and risk."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from council.figures import FIGURES, Months
from council.models import Member, SubscriptionStatus
from gamification import staff_figures
from tests.factories import MemberFactory, PointTransactionFactory

pytestmark = pytest.mark.any_server

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


def rows(name: str, now: datetime = NOW) -> list[list[Any]]:
    return [list(row) for row in FIGURES[name].compute(Months(now)).rows]


def earn(member: Member, when: str, points: int = 5, action: str = "resource_download") -> None:
    PointTransactionFactory.create(
        member=member,
        action=action,
        points=points,
        created_at=datetime.fromisoformat(when).replace(tzinfo=UTC),
    )


@pytest.fixture
def member(db: None) -> Member:
    return joined("2026-09-10")


def joined(day: str, **fields: Any) -> Member:
    member: Member = MemberFactory.create(**fields)
    Member.objects.filter(pk=member.pk).update(created_at=datetime.fromisoformat(day).replace(tzinfo=UTC))
    return member


def test_points_are_summed_by_action_for_both_months(member: Member) -> None:
    earn(member, "2026-11-01 00:00", 10)
    earn(member, "2026-10-31 23:59", 7)
    earn(member, "2026-09-30 23:59", 1_000)
    earn(member, "2026-11-20", -3, "admin_adjustment")
    earn(member, "2026-11-20", 4, "something_of_the_gateway")
    assert rows("points") == [
        ["Resource Download", 10, 7],
        ["Something of the gateway", 4, 0],
        ["Admin Adjustment", -3, 0],
    ]


def test_points_by_day_cover_thirty_days_with_the_empty_ones(member: Member) -> None:
    earn(member, "2026-11-24 11:00", 10)
    earn(member, "2026-10-26 00:00", 7)
    earn(member, "2026-10-25 23:59", 9)
    found = rows("points_by_day")
    assert len(found) == 30
    assert (found[0], found[1], found[-1]) == (["2026-10-26", 7], ["2026-10-27", 0], ["2026-11-24", 10])


def test_active_members_are_those_who_earned_points(member: Member) -> None:
    earn(member, "2026-11-02")
    earn(member, "2026-11-03")
    earn(MemberFactory.create(), "2026-11-03", 9, "admin_adjustment")
    earn(MemberFactory.create(), "2026-10-03")
    assert rows("active_members") == [["active", 1, 1]]


def test_cohorts_show_the_share_of_members_active_in_each_month_after_joining(member: Member) -> None:
    other = joined("2026-09-30")
    earn(member, "2026-09-11")
    earn(member, "2026-11-11")
    earn(other, "2026-11-12")
    found = {row[0]: row[1:5] for row in rows("cohorts")}
    assert len(found) == 12
    assert found["2026-09"] == [2, 50, 0, 100]
    assert found["2026-11"] == [0, None, None, None]
    assert next(iter(found)) == "2025-12"


@pytest.mark.parametrize(
    ("fields", "entries", "risk", "reasons"),
    [
        ({}, ["2026-11-23"], None, ""),
        ({"subscription_status": "PAST_DUE"}, ["2026-11-23"], 30, "past due (+30)"),
        ({}, ["2026-10-20"], 40, "idle (+40)"),
        (
            {"payment_failed_at": NOW - timedelta(days=29)},
            ["2026-11-05"],
            65,
            "idle (+20), less active than before (+30), a payment failed (+15)",
        ),
        ({"payment_failed_at": NOW - timedelta(days=31)}, ["2026-11-23"], None, ""),
        ({}, ["2026-11-01"] * 3 + ["2026-11-12"], 40, "idle (+10), less active than before (+30)"),
        ({}, ["2026-11-01"] * 10 + ["2026-11-23"] * 7, None, ""),
        ({"subscription_status": "CANCELLED"}, ["2026-08-20"], None, ""),
    ],
)
def test_risk_is_the_sum_of_its_reasons(
    db: None, fields: dict[str, Any], entries: list[str], risk: int | None, reasons: str
) -> None:
    member = joined("2026-08-01", first_name="Ada", last_name="L", **fields)
    for when in entries:
        earn(member, when)
    found = rows("risk")
    assert found == (
        [["Ada L", SubscriptionStatus(member.subscription_status).label, risk, reasons]] if risk else []
    )


def test_a_member_who_was_never_active_is_idle_since_joining(db: None) -> None:
    joined("2026-10-01", first_name="New", last_name=None)
    joined("2026-11-20")
    assert rows("risk") == [["New", "Active", 40, "idle (+40)"]]


def test_reasons_are_counted(db: None) -> None:
    joined("2026-10-01", subscription_status="PAST_DUE")
    joined("2026-10-01")
    assert rows("risk_reasons") == [
        ["high: 60 or more", 1],
        ["listed: 30 or more", 2],
        ["idle", 2],
        ["less active than before", 0],
        ["past due", 1],
        ["a payment failed", 0],
    ]


def test_the_page_shows_the_highest_and_no_more(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(staff_figures, "SHOWN_AT_RISK", 2)
    for status in ("ACTIVE", "PAST_DUE", "PAST_DUE"):
        joined("2026-10-01", subscription_status=status)
    assert [row[2] for row in rows("risk")] == [70, 70]
