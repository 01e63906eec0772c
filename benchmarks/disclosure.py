"""The rules of disclosure: what may be published about companies without revealing anybody's answer.

All functions are pure: the database counts and sorts (cells.py, moved_answers.py), these decide and round. `RULES` are
in force. Only tests make other rules, to show what an attacker gains if one is missing (tests/benchmarks/attack/).

Two rules protect an answer even if all others are known, over any number of releases. Before anything is computed, a
number is moved, and a choice may be counted as another one, always in the same way for one member. The other rules keep
figures from being about few companies, and do not depend on the secret key.
"""

import hashlib
import hmac
import math
from bisect import bisect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

E24 = (10, 11, 12, 13, 15, 16, 18, 20, 22, 24, 27, 30, 33, 36, 39, 43, 47, 51, 56, 62, 68, 75, 82, 91)
COUNTS_SHOWN = (10, 30, 100)
QUANTILES = {"p10": 0.1, "p25": 0.25, "p50": 0.5, "p75": 0.75, "p90": 0.9}
TAILS = ("p10", "p90")


@dataclass(frozen=True, kw_only=True)
class Rules:
    """The parameters of the rules. Tests can switch off each rule separately."""

    min_companies: int = 10
    min_companies_for_tails: int = 30
    is_averaged: bool = True  # a quantile is the mean of 3 neighbours, of 5 from 20 companies on
    rank_shift: int = 1  # for all quantiles except the median
    are_extremes_spared: bool = True
    is_rounded: bool = True
    max_move: float = 0.15  # the largest part of itself by which an answer is moved
    other_choice: float = 0.2  # the share of companies that are counted under another choice
    are_complements_kept: bool = True
    min_changed: int = 5
    max_carried: int = 4
    share_step: int = 10
    min_companies_for_share: int = 3
    max_share: int = 80


RULES = Rules()


# The key -------------------------------------------------------------------------------------------------------------


def draw(key: str, *what: str) -> float:
    """Draw a number from 0 up to 1. With the key it is always the same; without the key nobody can predict it."""
    digest = hmac.digest(key.encode(), "|".join(what).encode(), hashlib.sha256)
    return int.from_bytes(digest[:6], "big") / 2**48


# A single answer -----------------------------------------------------------------------------------------------------


def moved(value: float, drawn: float, *, step: float, minimum: float, rules: Rules = RULES) -> float:
    """Move an answer by up to 15 % of itself, or by up to `step` if that is more.

    `step` is 1 for whole numbers, since 2 and 3 are more than 15 % apart. So somebody who learns the moved answer
    still does not know the true one to within 10 %. moved_answers.py does the same in SQL.
    """
    if not rules.max_move:
        return value
    return max(value + (2 * drawn - 1) * max(rules.max_move * abs(value), step), minimum)


def counted_as(choice: str, drawn: float, *, choices: Sequence[str], rules: Rules = RULES) -> str:
    """Count one company in five under another choice. All other choices are equally likely.

    So somebody who learns under which choice a company is counted is only 80 % certain of its answer. moved_answers.py
    does the same in SQL.
    """
    if drawn >= rules.other_choice or len(choices) < 2:
        return choice
    others = [other for other in choices if other != choice]
    return others[int(drawn / rules.other_choice * len(others))]


# Quantiles -----------------------------------------------------------------------------------------------------------


def quantiles(companies: int, *, rules: Rules = RULES) -> tuple[str, ...]:
    """List the quantiles that may be published for a cell with this number of companies."""
    if companies < rules.min_companies:
        return ()
    has_tails = companies >= rules.min_companies_for_tails
    return tuple(name for name in QUANTILES if has_tails or name not in TAILS)


def ranks(quantile: str, companies: int, drawn: float, *, rules: Rules = RULES) -> range:
    """Choose the neighbours whose mean is published as a quantile, by their ranks from 1.

    There are three, or five from 20 companies on, around the quantile's rank. This rank is first shifted by -1, 0 or +1
    as drawn, except for the median. The smallest and the largest answer are never among them.
    """
    reach = 0 if not rules.is_averaged else 1 if companies < 20 else 2
    reached = (
        0 if quantile == "p50" else rules.rank_shift
    )  # for the median, a shift costs accuracy and hides nothing more
    shift = int(drawn * (2 * reached + 1)) - reached
    centre = 1 + math.floor(QUANTILES[quantile] * (companies - 1) + 0.5) + shift
    edge = 1 if rules.are_extremes_spared else 0
    centre = min(max(centre, 1 + reach + edge), companies - reach - edge)
    return range(centre - reach, centre + reach + 1)


def rounded(value: float, *, step: float = 0, rules: Rules = RULES) -> float:
    """Round a figure to the nearest E24 step: two digits, about 10 % apart. A negative one is rounded by magnitude.

    A figure below half of `step` becomes 0, because it comes from zeros that were moved.
    """
    if not rules.is_rounded:
        return value
    magnitude = abs(value)
    if magnitude < step / 2 or magnitude == 0 or not math.isfinite(magnitude):
        return 0.0
    power = math.floor(math.log10(magnitude)) - 1
    mantissa = magnitude / 10.0**power
    steps = (9.1, *E24, 100)
    above = bisect(steps, mantissa)
    below, above = max(above - 1, 0), min(above, len(steps) - 1)
    nearest = steps[below] if mantissa - steps[below] < steps[above] - mantissa else steps[above]
    return math.copysign(float(f"{nearest}e{power}"), value)


def quantile(neighbours: Sequence[float], *, step: float = 0, rules: Rules = RULES) -> float:
    """Return the rounded mean of the neighbours that `ranks` chose."""
    return rounded(math.fsum(neighbours) / len(neighbours), step=step, rules=rules)


# Counts and choices --------------------------------------------------------------------------------------------------


def at_least(companies: int) -> int:
    """Round a number of companies down to one that may be shown: 10, 30 or 100."""
    return max((count for count in COUNTS_SHOWN if count <= companies), default=COUNTS_SHOWN[0])


def shares(counts: Mapping[str, int], *, choices: int, rules: Rules = RULES) -> dict[str, int] | None:
    """Return the choices' shares in percent, to the nearest 10, or None if one has more than 80 %.

    `counts` are the companies counted under each choice, and `choices` is the number of choices. The expected effect of
    counting companies under other choices is removed. A choice of fewer than 3 companies or below 5 % is left out.
    """
    companies = sum(counts.values())
    away = rules.other_choice / (choices - 1) if choices > 1 else 0.0
    found = {}
    for choice, count in counts.items():
        share = (count / companies - away) / (1 - rules.other_choice - away)
        if 100 * share > rules.max_share + 1e-9:
            return None
        percent = rules.share_step * math.floor(100 * share / rules.share_step + 0.5)
        if count >= rules.min_companies_for_share and percent > 0:
            found[choice] = min(percent, 100)
    return found


# Groups --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Group:
    bands: tuple[str, ...]
    companies: int


def groups(
    counts: Sequence[tuple[str, int]], *, companies: int, is_ordered: bool, rules: Rules = RULES
) -> tuple[list[Group], list[Group]]:
    """Divide the companies of a cell by one dimension, into groups that may be published and groups that may not.

    `counts` are the companies in each band, in the bands' order; `companies` includes those in no band. If the bands
    are ordered, neighbours are joined until each group has 10 companies, and empty bands are joined to neighbours. The
    companies outside of one published group, or outside of all of them, are 0 or at least 10.
    """
    least = rules.min_companies
    made = (
        _joined(counts, least) if is_ordered else [Group((band,), count) for band, count in counts if count]
    )
    published = [group for group in made if group.companies >= least]
    withheld = [group for group in made if group.companies < least]
    if not rules.are_complements_kept:
        return published, withheld
    for group in [group for group in published if 0 < companies - group.companies < least]:
        published.remove(group)
        withheld.append(group)
    while published and 0 < companies - sum(group.companies for group in published) < least:
        smallest = min(published, key=lambda group: group.companies)
        published.remove(smallest)
        withheld.append(smallest)
    return published, withheld


def _joined(counts: Sequence[tuple[str, int]], least: int) -> list[Group]:
    made: list[Group] = []
    bands: tuple[str, ...] = ()
    companies = 0
    for band, count in counts:
        bands, companies = (*bands, band), companies + count
        if companies >= least:
            made.append(Group(bands, companies))
            bands, companies = (), 0
    if bands and made:
        last = made.pop()
        return [*made, Group((*last.bands, *bands), last.companies + companies)]
    return [*made, Group(bands, companies)] if companies else made


# Carrying over -------------------------------------------------------------------------------------------------------


def is_recomputed(changed: int, *, rules: Rules = RULES) -> bool:
    """Tell whether enough companies of the cell changed, joined or left since its figure was made."""
    return changed >= rules.min_changed


def may_be_carried(releases: int, *, rules: Rules = RULES) -> bool:
    """Tell whether a figure that was made this number of releases ago may be carried over."""
    return releases <= rules.max_carried


# How sure ------------------------------------------------------------------------------------------------------------


def how_sure(*, companies_at_least: int, lower: float, median: float, upper: float) -> str:
    """Rate how sure a median is (sure, fair or rough), from published numbers only.

    The median is off by about 1.57 times the distance of the quartiles, divided by the root of the number of companies:
    the notch of a box plot. Source: McGill, Tukey and Larsen, Variations of Box Plots, 1978.
    """
    if not median:
        return "rough"
    notch = 1.57 * abs(upper - lower) / math.sqrt(companies_at_least) / abs(median)
    return "sure" if notch <= 0.15 else "fair" if notch <= 0.35 else "rough"
