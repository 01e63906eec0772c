"""The data that a member sees in a release, and the data that an attacker has. This module has no rules."""

from dataclasses import dataclass, field

WHOLE = ""
BAND = "band"
TYPE = "type"


@dataclass(frozen=True)
class Seen:
    """A published cell, as the page shows it. `made` is the month of its date."""

    month: int
    dimension: str
    bands: tuple[int, ...]
    made: int
    at_least: int
    quantiles: dict[str, float] | None = None
    shares: dict[int, int] | None = None

    @property
    def is_new(self) -> bool:
        """Whether the figure was made for this release. One that was carried over has no new information."""
        return self.made == self.month


@dataclass(frozen=True)
class Company:
    """A company's answers in a month, as sent or as counted."""

    number: float
    choice: int
    band: int
    type: int


@dataclass(frozen=True)
class Scheme:
    """The published rules: how an answer may have been changed, and how a figure is made."""

    min_companies: int
    tails_from: int
    is_averaged: bool
    rank_shift: int
    are_extremes_spared: bool
    is_rounded: bool
    max_move: float
    other_choice: float
    are_counts_exact: bool
    share_step: int
    step: float
    choices: int
    is_naive: bool = False


@dataclass
class Knowledge:
    """What the attacker knows about each month in which the target has answered. `true` are the others' answers.

    `others` are the others' answers as counted, after the secret draws, which nobody really knows.
    """

    scheme: Scheme
    true: dict[int, dict[int, Company]] = field(default_factory=dict)
    others: dict[int, dict[int, Company]] = field(default_factory=dict)
