"""The tables of figures, and the months that they compare."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Any, Self

from django.db import connection

Cell = str | int | float | None


class Chart(StrEnum):
    """How a table is drawn: as bars, as a column per day, as a heat map of percentages, or not at all."""

    BARS = "bars"
    DAYS = "days"
    HEAT = "heat"
    NONE = "none"


@dataclass(frozen=True)
class Column:
    """A column of a table. `unit` is its unit, such as "%", for the column's heading and the chart's labels."""

    name: str
    unit: str = ""


@dataclass(frozen=True)
class Table:
    """A table of a figure. The first column names the row; the others are numbers, or None if not known yet."""

    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    chart: Chart = Chart.BARS

    def as_json(self) -> dict[str, Any]:
        return {
            "columns": [asdict(column) for column in self.columns],
            "rows": [list(row) for row in self.rows],
            "chart": self.chart.value,
        }

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> Self:
        return cls([Column(**column) for column in kept["columns"]], kept["rows"], Chart(kept["chart"]))


@dataclass(frozen=True)
class Months:
    """This month and the month before it, at the time when figures are computed. UTC."""

    now: datetime
    this: date = field(init=False)
    before: date = field(init=False)

    def __post_init__(self) -> None:
        this = self.now.date().replace(day=1)
        object.__setattr__(self, "this", this)
        object.__setattr__(self, "before", (this - timedelta(days=1)).replace(day=1))

    @property
    def columns(self) -> list[Column]:
        return [Column(f"{self.this:%B %Y} so far"), Column(f"{self.before:%B %Y}")]

    @property
    def params(self) -> dict[str, Any]:
        """The parameters of the queries: `now`, and the first days `this_month` and `month_before`."""
        return {"now": self.now.replace(tzinfo=None), "this_month": self.this, "month_before": self.before}


def rows_of(query: str, params: Mapping[str, Any]) -> list[list[Cell]]:
    with connection.cursor() as cursor:
        cursor.execute(query, params)
        return [list(row) for row in cursor.fetchall()]
