"""Levels depend on the total."""

import pytest

from gamification import levels
from gamification.levels import Level


@pytest.mark.parametrize(
    ("points", "level"),
    [
        (-40, Level("Member", "Contributor", 140, 0)),
        (0, Level("Member", "Contributor", 100, 0)),
        (99, Level("Member", "Contributor", 1, 99)),
        (100, Level("Contributor", "Council Voice", 400, 0)),
        (499, Level("Contributor", "Council Voice", 1, 99)),
        (500, Level("Council Voice", "Trusted Voice", 1_000, 0)),
        (1_500, Level("Trusted Voice", "Pillar", 3_500, 0)),
        (4_999, Level("Trusted Voice", "Pillar", 1, 99)),
        (5_000, Level("Pillar")),
        (2**31 - 1, Level("Pillar")),
    ],
)
def test_a_total_has_a_level_and_points_to_the_next(points: int, level: Level) -> None:
    assert levels.of(points) == level
