"""What a member may see of a release, and what an attacker knows besides. No rule is in here."""

from dataclasses import dataclass, field

WHOLE = ""
BAND = "band"
TYPE = "type"


@dataclass(frozen=True)
class Seen:
    """A published cell, as the page and the table beside it show it. `made` is the month of its date."""

    month: int
    dimension: str
    bands: tuple[int, ...]
    made: int
    at_least: int
    quantiles: dict[str, float] | None = None
    shares: dict[int, int] | None = None

    @property
    def is_new(self) -> bool:
        """Whether the figure was made for this release: one that was carried over says nothing more."""
        return self.made == self.month


@dataclass(frozen=True)
class Company:
    """What one company answers in a month, as it is or as it is counted."""

    number: float
    choice: int
    band: int
    type: int


@dataclass(frozen=True)
class Scheme:
    """The rules, which everybody may read: what may have happened to an answer, and how a figure is made."""

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
    """What the attacker knows of each month in which the target has answered: what all others said (`true`).

    `others` are the others as they are counted, after the secret draws: more than anybody knows.
    """

    scheme: Scheme
    true: dict[int, dict[int, Company]] = field(default_factory=dict)
    others: dict[int, dict[int, Company]] = field(default_factory=dict)
