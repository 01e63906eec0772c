"""Waits over time as an SVG picture, with one panel per run and the ends of the migrations marked."""

from collections.abc import Sequence
from itertools import pairwise

from council.rehearsal import picture
from council.rehearsal.picture import Panel
from tests.performance.runs import Run

GAP = 60
STYLE = """
  text { font: 12px sans-serif; fill: currentColor } .title { font-size: 14px } .level { text-anchor: end }
  .moment, .number { text-anchor: middle } .axis { stroke: currentColor; stroke-opacity: .3 }
  .deploy, .step { fill: #3b82f6; fill-opacity: .15 } .even { fill-opacity: .25 }
  .held { fill: #f59e0b; fill-opacity: .25 } .read { fill: #059669 } .write { fill: #dc2626 }
  svg { color: #111; background: #fff }
  @media (prefers-color-scheme: dark) { svg { color: #eee; background: #111 } }
"""


def draw(runs: Sequence[Run]) -> str:
    """Draw the clients' waits on a logarithmic scale. Each point is the longest wait of its time."""
    panels = "".join(picture.draw(_panel(run, number)) for number, run in enumerate(runs))
    height = GAP + len(runs) * (picture.HEIGHT + GAP)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {picture.WIDTH} {height}" role="img" '
        f'aria-labelledby="t d"><title id="t">What clients of Member waited during a deploy</title><desc id="d">One '
        f"panel a way to deploy; green reads, red writes; blue the deploy and its steps; amber a transaction that has "
        f"read Member and stays open.</desc><style>{STYLE}</style>{panels}</svg>\n"
    )


def _panel(run: Run, number: int) -> Panel:
    moments = [(run.began, ""), *run.steps]
    return Panel(
        samples=run.samples,
        deploy=(run.began, run.ended),
        bands=[(began, ended, name) for (began, _), (ended, name) in pairwise(moments)],
        held=[run.held] if run.held else [],
        title=run.title,
        top=GAP + number * (picture.HEIGHT + GAP),
    )
