"""The layout of a small SVG chart of a band. The template benchmarks/_chart.html draws it."""

from dataclasses import dataclass
from decimal import Decimal

from benchmarks.fields import NumberField
from benchmarks.results import Band

WIDTH, MARGIN = 320.0, 12.0
LABEL_WIDTH, GAP = 60.0, 3.0


@dataclass(frozen=True)
class Label:
    """A text with its position, anchored so that it stays inside the chart."""

    x: str
    anchor: str
    text: str


@dataclass(frozen=True)
class Chart:
    """The horizontal positions of the parts, as SVG attributes. `own` is None if the member has no answer.

    `beyond` is the side on which the member's value is outside of the chart: "left", "right" or "".
    """

    title: str
    whisker: tuple[str, str]
    box: tuple[str, str]
    box_width: str
    median: str
    own: str | None
    beyond: str
    labels: dict[str, Label]


def draw(*, field: NumberField, band: Band, own: Decimal | None = None, whose: str = "You") -> Chart:
    """Lay out a band and the member's own value. A value far outside is placed at the edge."""
    low, high = band.p10 if band.p10 is not None else band.p25, band.p90 if band.p90 is not None else band.p75
    reach = max(high - low, abs(high) / 100, 0.01)
    left, right = low - reach / 4, high + reach / 4
    if own is not None:
        left, right = min(left, max(float(own), low - reach)), max(right, min(float(own), high + reach))

    def x(value: float) -> float:
        place = (value - left) / (right - left)
        return MARGIN + min(max(place, 0.0), 1.0) * (WIDTH - 2 * MARGIN)

    beyond = ""
    if own is not None and not left <= own <= right:
        beyond = "left" if own < left else "right"
    show = field.unit.show_short
    labels = {
        "median": _label(x(band.p50), f"Median {show(band.p50)}"),
        "p25": _label(x(band.p25) - GAP, show(band.p25), anchor="end"),
        "p75": _label(x(band.p75) + GAP, show(band.p75), anchor="start"),
    }
    if own is not None:
        labels["own"] = _label(x(float(own)), f"{whose} {show(own)}")
    return Chart(
        title=_title(field, band, own, whose),
        whisker=(_place(x(low)), _place(x(high))),
        box=(_place(x(band.p25)), _place(x(band.p75))),
        box_width=_place(max(x(band.p75) - x(band.p25), 1.0)),
        median=_place(x(band.p50)),
        own=None if own is None else _place(x(float(own))),
        beyond=beyond,
        labels=labels,
    )


def _place(x: float) -> str:
    return f"{x:.1f}"


def _label(x: float, text: str, anchor: str = "middle") -> Label:
    if x < LABEL_WIDTH and anchor != "start":
        return (
            Label(_place(MARGIN / 2), "start", text)
            if anchor == "middle"
            else Label(_place(x), "start", text)
        )
    if x > WIDTH - LABEL_WIDTH and anchor != "end":
        return Label(_place(WIDTH - MARGIN / 2), "end", text)
    return Label(_place(x), anchor, text)


def _title(field: NumberField, band: Band, own: Decimal | None, whose: str) -> str:
    show = field.unit.show_short
    parts = [
        f"lower quartile {show(band.p25)}",
        f"median {show(band.p50)}",
        f"upper quartile {show(band.p75)}",
    ]
    if own is not None:
        parts.append(f"{whose.lower()} {show(own)}")
    return f"{field.label}: {', '.join(parts)}"
