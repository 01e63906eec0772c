"""Releases of made-up companies, with the real rules (benchmarks/disclosure.py). The attacker does not use this module.

test_attack.py checks that it gives the same figures as the database's releases.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from benchmarks import disclosure
from benchmarks.disclosure import Rules
from tests.benchmarks.attack.seen import BAND, TYPE, WHOLE, Company, Scheme, Seen

BANDS = tuple(str(band) for band in range(7))
TYPES = tuple(str(type_) for type_ in range(5))


@dataclass(frozen=True)
class Policy:
    """The rules for publishing, and their options."""

    rules: Rules = disclosure.RULES
    are_counts_exact: bool = False
    is_naive: bool = False
    are_flags_live: bool = (
        False  # and the flag is shown, so a trial answer reveals something about everybody's present answers
    )
    step: float = 0.1
    choices: int = 5

    def scheme(self) -> Scheme:
        """Return the rules as they are published."""
        rules = self.rules
        return Scheme(
            min_companies=rules.min_companies,
            tails_from=rules.min_companies_for_tails,
            is_averaged=rules.is_averaged,
            rank_shift=rules.rank_shift,
            are_extremes_spared=rules.are_extremes_spared,
            is_rounded=rules.is_rounded and not self.is_naive,
            max_move=rules.max_move,
            other_choice=rules.other_choice,
            are_counts_exact=self.are_counts_exact,
            share_step=rules.share_step,
            step=self.step,
            choices=self.choices,
            is_naive=self.is_naive,
        )


@dataclass(frozen=True)
class Draws:
    """One company's secret draws, which never change."""

    number: float
    choice: float
    band: float
    type: float


def counted(company: Company, draws: Draws, policy: Policy) -> Company:
    """Change an answer as the rules change it before anything is computed."""
    rules = policy.rules
    choices = tuple(str(choice) for choice in range(policy.choices))
    return Company(
        number=disclosure.moved(company.number, draws.number, step=policy.step, minimum=0, rules=rules),
        choice=int(disclosure.counted_as(str(company.choice), draws.choice, choices=choices, rules=rules)),
        band=int(disclosure.counted_as(str(company.band), draws.band, choices=BANDS, rules=rules)),
        type=int(disclosure.counted_as(str(company.type), draws.type, choices=TYPES, rules=rules)),
    )


Cell = tuple[str, str, tuple[int, ...]]


@dataclass
class Publisher:
    """Takes one release after another, and remembers the answers from which each figure was made."""

    policy: Policy
    draw: Callable[[int, str, tuple[int, ...], str], float]  # by month, dimension, bands and quantile
    made: dict[Cell, tuple[Seen, dict[int, Company]]] = field(default_factory=dict)
    large_cells: int = 0  # of numbers, with 12 companies or more
    large_cells_published: int = 0

    def take(self, month: int, companies: Mapping[int, Company]) -> Iterator[Seen]:
        for kind in ("number", "choice"):
            for dimension, bands, is_published in self._places(companies):
                inside = {name: one for name, one in companies.items() if self._holds(one, dimension, bands)}
                seen = self._cell(kind, month, dimension, bands, inside, is_published=is_published)
                if kind == "number" and len(inside) >= 12:
                    self.large_cells += 1
                    self.large_cells_published += seen is not None
                if seen:
                    yield seen

    def _cell(
        self,
        kind: str,
        month: int,
        dimension: str,
        bands: tuple[int, ...],
        inside: dict[int, Company],
        *,
        is_published: bool,
    ) -> Seen | None:
        rules = self.policy.rules
        old = self.made.get((kind, dimension, bands))
        if old and not self.policy.is_naive:
            changed = self._changed(kind, old[1], inside)
            if not disclosure.is_recomputed(changed, rules=rules):
                is_carried = disclosure.may_be_carried(month - old[0].made, rules=rules)
                return replace(old[0], month=month) if is_carried else None
        if not is_published or len(inside) < rules.min_companies:
            return None
        seen = self._make(kind, month, dimension, bands, inside)
        if seen:
            self.made[kind, dimension, bands] = (seen, inside)
        return seen

    def _places(self, companies: Mapping[int, Company]) -> Iterator[tuple[str, tuple[int, ...], bool]]:
        yield WHOLE, (), True
        for dimension, bands in ((BAND, BANDS), (TYPE, TYPES)):
            of = [one.band if dimension == BAND else one.type for one in companies.values()]
            counts = [(band, of.count(int(band))) for band in bands]
            published, withheld = disclosure.groups(
                counts, companies=len(companies), is_ordered=dimension == BAND, rules=self.policy.rules
            )
            for group in (*published, *withheld):
                yield dimension, tuple(int(band) for band in group.bands), group in published

    @staticmethod
    def _holds(company: Company, dimension: str, bands: tuple[int, ...]) -> bool:
        return not dimension or (company.band if dimension == BAND else company.type) in bands

    @staticmethod
    def _changed(kind: str, old: Mapping[int, Company], new: Mapping[int, Company]) -> int:
        return sum(
            name not in old or name not in new or getattr(old[name], kind) != getattr(new[name], kind)
            for name in old.keys() | new.keys()
        )

    def _make(
        self, kind: str, month: int, dimension: str, bands: tuple[int, ...], inside: Mapping[int, Company]
    ) -> Seen | None:
        rules, companies = self.policy.rules, len(inside)
        seen = Seen(
            month=month,
            dimension=dimension,
            bands=bands,
            made=month,
            at_least=companies if self.policy.are_counts_exact else disclosure.at_least(companies),
        )
        if kind == "choice":
            counts = {str(choice): 0 for choice in range(self.policy.choices)}
            for one in inside.values():
                counts[str(one.choice)] += 1
            shares = disclosure.shares(counts, choices=self.policy.choices, rules=rules)
            return (
                replace(seen, shares={int(choice): share for choice, share in shares.items()})
                if shares
                else None
            )
        numbers = sorted(one.number for one in inside.values())
        if self.policy.is_naive:
            low, middle, high = (float(value) for value in np.percentile(numbers, [25, 50, 75]))
            quartiles = {"min": numbers[0], "p25": low, "p50": middle, "p75": high, "max": numbers[-1]}
            return replace(seen, quantiles=quartiles)
        found = {}
        for name in disclosure.quantiles(companies, rules=rules):
            ranks = disclosure.ranks(name, companies, self.draw(month, dimension, bands, name), rules=rules)
            neighbours = [numbers[rank - 1] for rank in ranks]
            found[name] = disclosure.quantile(neighbours, step=self.policy.step, rules=rules)
        return replace(seen, quantiles=found)
