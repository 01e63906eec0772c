"""Charts as shapes that a template writes as SVG. The page shows the same figures as a table below the chart."""

from collections.abc import Sequence
from dataclasses import dataclass

from council.figures.tables import Cell, Chart, Table

WIDTH = 720
LABEL_WIDTH = 190
VALUE_WIDTH = 90
BAR_HEIGHT = 14
GAP = 10
DAYS_HEIGHT = 160
SHADES = 10


@dataclass(frozen=True)
class Bar:
    """A bar of a chart. `series` is the index of the table's column, starting at 1."""

    x: float
    y: float
    width: float
    height: float
    series: int
    label: str


@dataclass(frozen=True)
class Label:
    x: float
    y: float
    text: str


@dataclass(frozen=True)
class Drawing:
    width: int
    height: float
    bars: list[Bar]
    labels: list[Label]
    values: list[Label]


def draw(table: Table) -> Drawing | None:
    """Draw a table's numbers. Returns None if all are zero, or if the table has no chart (a heat map is a table)."""
    if table.chart is Chart.BARS:
        return _bars(table)
    if table.chart is Chart.DAYS:
        return _days(table)
    return None


def _numbers(row: Sequence[Cell]) -> list[float]:
    return [max(float(cell), 0.0) if isinstance(cell, int | float) else 0.0 for cell in row[1:]]


def _bars(table: Table) -> Drawing | None:
    largest = max((number for row in table.rows for number in _numbers(row)), default=0.0)
    if not largest:
        return None
    bars, labels, values = [], [], []
    y = 0.0
    room = WIDTH - LABEL_WIDTH - VALUE_WIDTH
    for row in table.rows:
        numbers = _numbers(row)
        labels.append(Label(LABEL_WIDTH - 8, y + BAR_HEIGHT * len(numbers) / 2 + 4, _cut(str(row[0]))))
        for series, number in enumerate(numbers, start=1):
            width = round(room * number / largest, 1)
            title = f"{row[0]}, {table.columns[series].name}: {number:,.0f}{table.columns[series].unit}"
            bars.append(Bar(LABEL_WIDTH, y, width, BAR_HEIGHT - 2, series, title))
            values.append(Label(LABEL_WIDTH + width + 6, y + BAR_HEIGHT - 3, f"{number:,.0f}"))
            y += BAR_HEIGHT
        y += GAP
    return Drawing(WIDTH, y, bars, labels, values)


def _days(table: Table) -> Drawing | None:
    """Draw a stacked column for each row."""
    heights = [sum(_numbers(row)) for row in table.rows]
    if not any(heights):
        return None
    step = (WIDTH - 60) / len(table.rows)
    bars = []
    for place, row in enumerate(table.rows):
        y = float(DAYS_HEIGHT)
        for series, number in enumerate(_numbers(row), start=1):
            height = (DAYS_HEIGHT - 12) * number / max(heights)
            y -= height
            if height:
                title = f"{row[0]}, {table.columns[series].name}: {number:,.0f}"
                bars.append(
                    Bar(
                        round(60 + place * step, 1),
                        round(y, 1),
                        round(step * 0.8, 1),
                        round(height, 1),
                        series,
                        title,
                    )
                )
    ends = [
        Label(60, DAYS_HEIGHT + 16, str(table.rows[0][0])),
        Label(WIDTH - 70, DAYS_HEIGHT + 16, str(table.rows[-1][0])),
    ]
    return Drawing(WIDTH, DAYS_HEIGHT + 24, bars, [Label(52, 16, f"{max(heights):,.0f}")], ends)


def _cut(text: str) -> str:
    return text if len(text) <= 26 else f"{text[:25]}…"


def shade(cell: Cell) -> int | None:
    """Return how dark a percentage is on a heat map, from 0 to 10. None if the cell is not a number."""
    return min(max(round(cell / 100 * SHADES), 0), SHADES) if isinstance(cell, int | float) else None
