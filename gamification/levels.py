"""Levels that members reach by their total points. Names and thresholds are defined only here."""

from typing import NamedTuple

LEVELS = {
    "Member": 0,
    "Contributor": 100,
    "Council Voice": 500,
    "Trusted Voice": 1_500,
    "Pillar": 5_000,
}


class Level(NamedTuple):
    """A level, the next level, and the points needed to reach it. The highest level has no next one.

    `percent` is the progress from this level to the next.
    """

    name: str
    next_name: str = ""
    missing: int = 0
    percent: int = 100


def of(points: int) -> Level:
    """Return the level of a total. A total below 0 has the lowest level."""
    reached = [name for name, threshold in LEVELS.items() if threshold <= max(points, 0)]
    above = list(LEVELS)[len(reached) :]
    name = reached[-1]
    if not above:
        return Level(name)
    begin, end = LEVELS[name], LEVELS[above[0]]
    return Level(name, above[0], end - points, max(points - begin, 0) * 100 // (end - begin))
