"""Tables, their months and their charts."""

from datetime import UTC, date, datetime

import pytest

from council.figures import Chart, Column, Months, Table, charts

pytestmark = pytest.mark.any_server

COLUMNS = [Column("what"), Column("this"), Column("before", "%")]


@pytest.mark.parametrize(
    ("now", "this", "before"),
    [
        ("2026-11-24", date(2026, 11, 1), date(2026, 10, 1)),
        ("2026-01-01", date(2026, 1, 1), date(2025, 12, 1)),
        ("2026-03-31", date(2026, 3, 1), date(2026, 2, 1)),
    ],
)
def test_months_are_this_one_and_the_one_before(now: str, this: date, before: date) -> None:
    months = Months(datetime.fromisoformat(now).replace(tzinfo=UTC))
    assert (months.this, months.before) == (this, before)


def test_a_stored_table_can_be_read_again() -> None:
    table = Table(COLUMNS, [["a", 1, None]], Chart.HEAT)
    assert Table.from_json(table.as_json()) == table


def test_bars_are_as_long_as_their_numbers() -> None:
    drawing = charts.draw(Table(COLUMNS, [["a", 10, 5], ["b" * 40, 0, None]]))
    assert drawing is not None
    long, half, none, missing = (bar.width for bar in drawing.bars)
    assert long == 2 * half
    assert (none, missing) == (0, 0)
    assert drawing.bars[1].label == "a, before: 5%"
    assert len(drawing.labels[1].text) == 26


def test_days_are_stacked() -> None:
    drawing = charts.draw(Table(COLUMNS, [["1", 10, 5], ["2", 0, 3]], Chart.DAYS))
    assert drawing is not None
    first, second, third = drawing.bars
    assert second.y + second.height == pytest.approx(first.y, abs=0.2)
    assert third.x > first.x
    assert third.height == pytest.approx(first.height * 0.3, abs=0.2)


@pytest.mark.parametrize("chart", [Chart.BARS, Chart.DAYS])
def test_an_empty_table_has_no_chart(chart: Chart) -> None:
    assert charts.draw(Table(COLUMNS, [], chart)) is None
    assert charts.draw(Table(COLUMNS, [["a", 0, -3]], chart)) is None
    assert charts.draw(Table(COLUMNS, [["a", 1, 3]], Chart.HEAT)) is None


def test_percentages_have_shades() -> None:
    assert [charts.shade(cell) for cell in (0, 4, 50, 100, 120, None, "x")] == [0, 0, 5, 10, 10, None, None]
