"""The chart of a band. Everything stays inside of it, wherever the member's own value is."""

from datetime import date
from decimal import Decimal

import pytest

from benchmarks import chart, definitions
from benchmarks.definitions import Category
from benchmarks.fields import NumberField
from benchmarks.results import Band

pytestmark = pytest.mark.any_server


def band(*figures: float | None) -> Band:
    p10, p25, p50, p75, p90 = figures
    assert p25 is not None
    assert p50 is not None
    assert p75 is not None
    return Band(p10, p25, p50, p75, p90, date(2026, 10, 1), 10, "fair")


PAY = definitions.field(Category.COMPENSATION, "gtm_engineer_us")
MARGIN = definitions.field(Category.BUSINESS, "gross_margin_percent")
BANDS = [
    band(None, 100_000, 120_000, 150_000, None),
    band(82_000, 100_000, 120_000, 150_000, 180_000),
    band(None, 30, 30, 30, None),
    band(None, 0, 0, 0, None),
    band(-47, -11, 0, 10, 33),
]


@pytest.mark.parametrize("shown", BANDS)
@pytest.mark.parametrize("own", [None, "-1000", "0", "30", "119999.99", "120000", "2000000"])
def test_everything_is_inside_of_the_chart_and_in_order(shown: Band, own: str | None) -> None:
    assert isinstance(PAY, NumberField)
    drawn = chart.draw(field=PAY, band=shown, own=None if own is None else Decimal(own))
    places = [float(drawn.whisker[0]), float(drawn.box[0]), float(drawn.median), float(drawn.box[1]), float(drawn.whisker[1])]  # fmt: skip  # noqa: E501
    assert places == sorted(places)
    everything = [*places, *(float(label.x) for label in drawn.labels.values()), float(drawn.own or 0)]
    assert all(0 <= place <= chart.WIDTH for place in everything)
    assert float(drawn.box_width) >= 1
    assert (drawn.own is None) == (own is None)


@pytest.mark.parametrize(("own", "beyond"), [("20000", "left"), ("120000", ""), ("900000", "right")])
def test_a_value_far_outside_is_at_the_edge_with_an_arrow(own: str, beyond: str) -> None:
    assert isinstance(PAY, NumberField)
    assert chart.draw(field=PAY, band=BANDS[0], own=Decimal(own)).beyond == beyond


def test_the_title_describes_the_chart() -> None:
    assert isinstance(MARGIN, NumberField)
    drawn = chart.draw(field=MARGIN, band=BANDS[4], own=Decimal("-5.5"))
    assert drawn.title == (
        "Gross margin: lower quartile \N{MINUS SIGN}11, median 0, upper quartile 10, you \N{MINUS SIGN}5.5"
    )
