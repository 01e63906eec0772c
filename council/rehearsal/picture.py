"""Waits over time as SVG: reads and writes on a logarithmic scale, with migrations and transactions as bands.

Shapes have CSS classes and no colours, so that the page decides how they look in light and dark mode.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from html import escape

WIDTH, HEIGHT, LEFT, RIGHT = 1000, 220, 62, 14
LEAST_MS, MOST_MS = 0.1, 30_000
BUCKETS = 480
LEVELS = ((1, "1 ms"), (10, "10 ms"), (100, "100 ms"), (1000, "1 s"), (10_000, "10 s"))
NARROWEST_LABEL = 16
TICKS = (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600)


@dataclass(frozen=True)
class Panel:
    """One picture. All times are in seconds, from one clock. A sample is (due, waited, "read" or "write").

    `deploy` is when the migrations ran, `bands` when each ran and its name, and `held` when transactions were open.
    """

    samples: Sequence[tuple[float, float, str]]
    deploy: tuple[float, float]
    bands: Sequence[tuple[float, float, str]] = ()
    held: Sequence[tuple[float, float]] = ()
    budget_ms: float | None = None
    title: str = ""
    top: float = 0.0

    @cached_property
    def begin(self) -> float:
        return min((due for due, _, _ in self.samples), default=self.deploy[0])

    @cached_property
    def end(self) -> float:
        return max((due + waited for due, waited, _ in self.samples), default=self.deploy[1])

    def x(self, moment: float) -> float:
        span = max(self.end - self.begin, 0.001)
        share = min(max((moment - self.begin) / span, 0), 1)
        return round(LEFT + share * (WIDTH - LEFT - RIGHT), 1)

    def y(self, seconds: float) -> float:
        share = math.log(max(seconds * 1000, LEAST_MS) / LEAST_MS) / math.log(MOST_MS / LEAST_MS)
        return round(self.top + HEIGHT * (1 - min(share, 1)), 1)


def draw(panel: Panel) -> str:
    """Draw the content of an `svg` element: the bands at the back, then the scale, the waits in front."""
    parts = (
        [f'<text class="title" x="{LEFT}" y="{panel.top - 8}">{escape(panel.title)}</text>']
        if panel.title
        else []
    )
    parts += [*_bands(panel), *_scale(panel), *_points(panel)]
    return "".join(parts)


def _bands(panel: Panel) -> list[str]:
    parts = [_band("deploy", panel, *panel.deploy)]
    for number, (began, ended, name) in enumerate(panel.bands):
        kind = "odd" if number % 2 else "even"
        parts.append(_band(f"step {kind}", panel, began, ended, title=f"{number + 1}. {name}"))
        left, right = panel.x(began), panel.x(ended)
        if right - left >= NARROWEST_LABEL:
            parts.append(
                f'<text class="number" x="{(left + right) / 2:.1f}" y="{panel.top + 12}">{number + 1}</text>'
            )
    parts += [_band("held", panel, *span, title="A transaction stays open") for span in panel.held]
    return parts


def _band(name: str, panel: Panel, began: float, ended: float, *, title: str = "") -> str:
    left, right = panel.x(began), panel.x(ended)
    tooltip = f"<title>{escape(title)}</title>" if title else ""
    return (
        f'<rect class="{name}" x="{left}" y="{panel.top}" width="{max(right - left, 1):.1f}" '
        f'height="{HEIGHT}">{tooltip}</rect>'
    )


def _scale(panel: Panel) -> list[str]:
    parts = []
    for level_ms, label in LEVELS:
        level = panel.y(level_ms / 1000)
        parts.append(f'<line class="axis" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{level}" y2="{level}"/>')
        parts.append(f'<text class="level" x="{LEFT - 8}" y="{level + 4}">{label}</text>')
    if panel.budget_ms is not None:
        level = panel.y(panel.budget_ms / 1000)
        parts.append(f'<line class="budget" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{level}" y2="{level}"/>')
        parts.append(
            f'<text class="budget-label" x="{WIDTH - RIGHT}" y="{level - 5}">allowed: {panel.budget_ms:,.0f} ms</text>'
        )
    span = panel.end - panel.begin
    every = next((tick for tick in TICKS if span / tick <= 10), TICKS[-1])
    parts += [
        f'<text class="moment" x="{panel.x(panel.begin + second)}" y="{panel.top + HEIGHT + 18}">{second} s</text>'
        for second in range(0, int(span) + 1, every)
    ]
    return parts


def _points(panel: Panel) -> list[str]:
    """Draw only the longest wait of each kind in each short interval, so that every peak is visible."""
    width = max(panel.end - panel.begin, 0.001) / BUCKETS
    longest: dict[tuple[int, str], tuple[float, float]] = {}
    for due, waited, kind in panel.samples:
        bucket = (int((due - panel.begin) / width), kind)
        longest[bucket] = max(longest.get(bucket, (-1.0, due)), (waited, due))
    return [
        f'<circle class="{kind}" cx="{panel.x(due)}" cy="{panel.y(waited)}" r="1.8"/>'
        for (_, kind), (waited, due) in sorted(longest.items(), key=lambda item: item[1][0])
    ]
