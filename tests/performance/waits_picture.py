"""Waits over time as an SVG picture, a panel a run, with the migrations marked."""

import math
from collections.abc import Sequence
from html import escape

from tests.performance.runs import Run

WIDTH, PANEL, MARGIN, GAP = 1000, 130, 60, 46
LEAST_MS, MOST_MS = 0.1, 30_000
BUCKET_SECONDS = 0.1
STYLE = """
  text { font: 12px sans-serif; fill: currentColor } .small { font-size: 9px }
  .axis { stroke: currentColor; stroke-opacity: .3 } .deploy { fill: #3b82f6; fill-opacity: .15 }
  .held { fill: #f59e0b; fill-opacity: .25 } .step { stroke: #3b82f6; stroke-opacity: .6 }
  .read { fill: #059669 } .write { fill: #dc2626 } svg { color: #111; background: #fff }
  @media (prefers-color-scheme: dark) { svg { color: #eee; background: #111 } }
"""


def draw(runs: Sequence[Run]) -> str:
    """Draw what the clients waited, each point the longest of a tenth of a second, on a logarithmic scale."""
    height = GAP + len(runs) * (PANEL + GAP)
    panels = "".join(_panel(run, GAP + index * (PANEL + GAP)) for index, run in enumerate(runs))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" aria-labelledby="t d">'
        f'<title id="t">What clients of Member waited during a deploy</title><desc id="d">One panel a way to deploy; '
        f"green reads, red writes; blue the deploy, its lines the ends of its steps; amber a transaction that has "
        f"read Member and stays open.</desc><style>{STYLE}</style>{panels}</svg>\n"
    )


def _panel(run: Run, top: float) -> str:
    begin = min(began for began, _, _ in run.samples)
    end = max(began + took for began, took, _ in run.samples)
    scale = (WIDTH - 2 * MARGIN) / (end - begin)

    def x(moment: float) -> float:
        return round(MARGIN + (moment - begin) * scale, 1)

    def y(seconds: float) -> float:
        share = math.log(max(seconds * 1000, LEAST_MS) / LEAST_MS) / math.log(MOST_MS / LEAST_MS)
        return round(top + PANEL * (1 - min(share, 1)), 1)

    parts = [f'<text x="{MARGIN}" y="{top - 8}">{escape(run.title)}</text>']
    parts.append(_band("deploy", x(run.began), x(run.ended), top))
    if run.held:
        parts.append(_band("held", x(run.held[0]), x(run.held[1]), top))
    parts += [
        f'<line class="step" x1="{x(moment)}" x2="{x(moment)}" y1="{top + PANEL - 8}" y2="{top + PANEL}">'
        f"<title>{escape(step)}</title></line>"
        for moment, step in run.steps
    ]
    for milliseconds in (1, 10, 100, 1000, 10_000):
        level = y(milliseconds / 1000)
        parts.append(f'<line class="axis" x1="{MARGIN}" x2="{WIDTH - MARGIN}" y1="{level}" y2="{level}"/>')
        parts.append(f'<text class="small" x="{MARGIN - 42}" y="{level + 3}">{milliseconds:,} ms</text>')
    parts += [
        f'<text class="small" x="{x(begin + second)}" y="{top + PANEL + 12}">{second} s</text>'
        for second in range(0, int(end - begin) + 1, 5)
    ]
    longest: dict[tuple[int, str], tuple[float, float]] = {}
    for began, took, kind in run.samples:
        bucket = (int((began - begin) / BUCKET_SECONDS), kind)
        longest[bucket] = max(longest.get(bucket, (0.0, began)), (took, began))
    parts += [
        f'<circle class="{kind}" cx="{x(began)}" cy="{y(took)}" r="1.3"/>'
        for (_, kind), (took, began) in longest.items()
    ]
    return "".join(parts)


def _band(name: str, left: float, right: float, top: float) -> str:
    return f'<rect class="{name}" x="{left}" y="{top}" width="{max(right - left, 1):.1f}" height="{PANEL}"/>'
