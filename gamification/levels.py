"""Levels: what a member has become by their total points. Their names and thresholds are here and nowhere else."""

from typing import NamedTuple

LEVELS = {
    "Member": 0,
    "Contributor": 100,
    "Council Voice": 500,
    "Trusted Voice": 1_500,
    "Pillar": 5_000,
}


class Level(NamedTuple):
    """A level, and the one above it with the points that are missing; at the highest there is none above.

    `percent` is how much of the way from this level to the next is done.
    """

    name: str
    next_name: str = ""
    missing: int = 0
    percent: int = 100


def of(points: int) -> Level:
    """Say which level a total has. A total below 0 has the first."""
    reached = [name for name, threshold in LEVELS.items() if threshold <= max(points, 0)]
    above = list(LEVELS)[len(reached) :]
    name = reached[-1]
    if not above:
        return Level(name)
    begin, end = LEVELS[name], LEVELS[above[0]]
    return Level(name, above[0], end - points, max(points - begin, 0) * 100 // (end - begin))
