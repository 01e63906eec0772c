"""The attacker, who draws conclusions from releases. The attacker knows the published rules but uses none of the code.

Every conclusion is a set of possible answers: those for which some outcome of the secret draws gives the published
figures. The attacker is given more than anybody has in reality: the others' answers as they are counted, after the
draws.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tests.benchmarks.attack.seen import BAND, TYPE, WHOLE, Company, Knowledge, Scheme, Seen

Numbers = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Counts = npt.NDArray[np.int_]

STEPS = [
    1.0,
    1.1,
    1.2,
    1.3,
    1.5,
    1.6,
    1.8,
    2.0,
    2.2,
    2.4,
    2.7,
    3.0,
    3.3,
    3.6,
    3.9,
    4.3,
    4.7,
    5.1,
    5.6,
    6.2,
    6.8,
    7.5,
    8.2,
]
STEPS += [9.1]
LADDER = np.array([step * 10.0**power for power in range(-4, 10) for step in STEPS])
PLACES = {"p10": 0.1, "p25": 0.25, "p50": 0.5, "p75": 0.75, "p90": 0.9}
SLACK = 1e-6


def before_rounding(figure: float, scheme: Scheme) -> tuple[float, float]:
    """Return the bounds of a published figure before rounding."""
    if not scheme.is_rounded:
        return figure - SLACK * abs(figure) - 1e-9, figure + SLACK * abs(figure) + 1e-9
    if figure == 0:
        return -scheme.step / 2, scheme.step / 2
    place = int(np.argmin(abs(LADDER - abs(figure))))
    low, high = (LADDER[place] + LADDER[place - 1]) / 2, (LADDER[place] + LADDER[place + 1]) / 2
    low, high = low * (1 - SLACK), high * (1 + SLACK)
    return (low, high) if figure > 0 else (-high, -low)


def windows(name: str, companies: int, scheme: Scheme) -> list[range]:
    """List the groups of neighbours, by rank from 0, whose mean may be the quantile."""
    reach = 0 if not scheme.is_averaged else 1 if companies < 20 else 2
    edge = int(scheme.are_extremes_spared)
    middle = int(np.floor(PLACES[name] * (companies - 1) + 0.5))
    centres = {
        min(max(middle + shift, reach + edge), companies - 1 - reach - edge)
        for shift in ((0,) if name == "p50" else range(-scheme.rank_shift, scheme.rank_shift + 1))
    }
    return [range(centre - reach, centre + reach + 1) for centre in sorted(centres)]


def is_in(company: Company, cell: Seen) -> bool:
    if cell.dimension == WHOLE:
        return True
    return (company.band if cell.dimension == BAND else company.type) in cell.bands


def possible(cell: Seen, others: Numbers, candidates: Numbers, scheme: Scheme) -> Flags:
    """Tell which candidates, together with the others' answers, give the cell's quantiles for some draw.

    If an answer v is added to the sorted others, the answer of rank i is v, but at least others[i-1] and at most
    others[i].
    """
    companies = len(others) + 1
    bounds = np.concatenate([[-np.inf], np.sort(others), [np.inf]])
    found = np.ones(len(candidates), bool)
    for name, figure in (cell.quantiles or {}).items():
        low, high = before_rounding(figure, scheme)
        fits = np.zeros(len(candidates), bool)
        if scheme.is_naive:
            position = (
                PLACES[name] * (companies - 1) if name in PLACES else {"min": 0, "max": companies - 1}[name]
            )
            below, share = int(np.floor(position)), position % 1
            above = min(below + 1, companies - 1)
            first, second = (np.clip(candidates, bounds[rank], bounds[rank + 1]) for rank in (below, above))
            mean = first * (1 - share) + second * share
            fits |= (mean >= low) & (mean <= high)
        else:
            chosen = windows(name, companies, scheme)
            start, stop = chosen[0].start, chosen[-1].stop
            ranked = np.clip(candidates[:, None], bounds[start:stop], bounds[start + 1 : stop + 1])
            for window in chosen:
                mean = ranked[:, window.start - start : window.stop - start].mean(axis=1)
                fits |= (mean >= low) & (mean <= high)
        found &= fits
    return found


def counts_agree(cell: Seen, companies: int, scheme: Scheme) -> bool:
    """Tell whether a group of this many companies would show the cell's count."""
    if scheme.are_counts_exact:
        return companies == cell.at_least
    return cell.at_least == max((shown for shown in (10, 30, 100) if shown <= companies), default=10)


def contributions(seen: Sequence[Seen], known: Knowledge, own: Company, candidates: Numbers) -> Flags:
    """Tell which numbers may be the target's counted answer, if it is in the group given by `own`."""
    found = np.ones(len(candidates), bool)
    for cell in seen:
        if (
            not cell.is_new
            or cell.quantiles is None
            or cell.month not in known.others
            or not is_in(own, cell)
        ):
            continue
        others = [other.number for other in known.others[cell.month].values() if is_in(other, cell)]
        found[found] = possible(cell, np.array(others), candidates[found], known.scheme)
    return found


def without_draws(seen: Sequence[Seen], known: Knowledge, candidates: Numbers) -> Flags:
    """Tell which answers are possible if the attacker knows the others' answers, but not how they were moved.

    Each of them was moved to between two bounds, so each rank has bounds, too. It is not known which company is counted
    in which group, so only the figures of all companies are of use.
    """
    scheme, found = known.scheme, np.ones(len(candidates), bool)
    for cell in seen:
        if (
            not cell.is_new
            or cell.quantiles is None
            or cell.month not in known.others
            or cell.dimension != WHOLE
        ):
            continue
        others = np.array([other.number for other in known.true[cell.month].values()])
        lowest, highest = bounds_of(others, scheme), bounds_of(others, scheme, sign=1)
        low_own, high_own = moved(candidates, scheme, sign=-1), moved(candidates, scheme, sign=1)
        for name, figure in cell.quantiles.items():
            low, high = before_rounding(figure, scheme)
            fits = np.zeros(len(candidates), bool)
            for window in windows(name, len(others) + 1, scheme):
                least = np.mean([np.clip(low_own, lowest[rank], lowest[rank + 1]) for rank in window], axis=0)
                most = np.mean(
                    [np.clip(high_own, highest[rank], highest[rank + 1]) for rank in window], axis=0
                )
                fits |= (most >= low) & (least <= high)
            found &= fits
    return found


def moved(numbers: Numbers, scheme: Scheme, *, sign: int) -> Numbers:
    if not scheme.max_move:
        return numbers
    found: Numbers = np.maximum(numbers + sign * np.maximum(scheme.max_move * abs(numbers), scheme.step), 0)
    return found


def bounds_of(numbers: Numbers, scheme: Scheme, *, sign: int = -1) -> Numbers:
    return np.concatenate([[-np.inf], np.sort(moved(numbers, scheme, sign=sign)), [np.inf]])


def answers(counted: Numbers, candidates: Numbers, scheme: Scheme) -> Numbers:
    """List the answers that a draw may have moved to one of the possible counted numbers."""
    if not len(counted):
        return np.array([])
    move = np.maximum(scheme.max_move * abs(candidates), scheme.step) if scheme.max_move else 0 * candidates
    slack = 1e-9 * abs(candidates)
    first = np.searchsorted(counted, candidates - move - slack)
    last = np.searchsorted(counted, candidates + move + slack, side="right")
    found: Numbers = candidates[last > first]
    return found


def is_swap_possible(
    seen: Sequence[Seen],
    known: Knowledge,
    own: dict[int, Company],
    other: int,
    dimensions: Sequence[str] = (WHOLE, BAND, TYPE),
) -> bool:
    """Tell whether the releases would be the same if the target and another company had exchanged their answers.

    An attacker who does not know the other's answers cannot distinguish the two cases. With `dimension`, only the
    groups of the two companies are exchanged, so that their numbers are in each other's groups.
    """
    for cell in seen:
        if not cell.is_new or cell.quantiles is None or cell.month not in known.others:
            continue
        if cell.dimension not in dimensions:
            continue
        month = known.others[cell.month]
        mine, theirs = own[cell.month], month.get(other)
        if theirs is None:
            return False
        if is_in(mine, cell) == is_in(theirs, cell):
            continue
        rest = [company.number for name, company in month.items() if name != other and is_in(company, cell)]
        number = theirs.number if is_in(mine, cell) else mine.number
        if not possible(cell, np.array(rest), np.array([number]), known.scheme).all():
            return False
    return True


def choice_certainty(possible_reports: set[int], scheme: Scheme) -> float:
    """Return how certain the likeliest choice is, if all choices were equally likely before."""
    away = scheme.other_choice / (scheme.choices - 1)
    weights = [
        sum(1 - scheme.other_choice if report == choice else away for report in possible_reports)
        for choice in range(scheme.choices)
    ]
    return max(weights) / sum(weights) if sum(weights) else 0.0


def possible_choices(seen: Sequence[Seen], known: Knowledge, own: Company) -> set[int]:
    """List the choices as which the target may have been counted."""
    found = set(range(known.scheme.choices))
    for cell in seen:
        if not cell.is_new or cell.shares is None or cell.month not in known.others or not is_in(own, cell):
            continue
        others = [other.choice for other in known.others[cell.month].values() if is_in(other, cell)]
        counts = np.bincount(others, minlength=known.scheme.choices)
        found = {
            choice for choice in found if shares_agree(cell.shares, with_one(counts, choice), known.scheme)
        }
    return found


def with_one(counts: Counts, choice: int) -> Counts:
    more = counts.copy()
    more[choice] += 1
    return more


def shares_agree(shown: dict[int, int], counts: Counts, scheme: Scheme) -> bool:
    """Tell whether these numbers of companies for each choice would be shown as these shares."""
    away = scheme.other_choice / (scheme.choices - 1)
    steps = 100 * (counts / counts.sum() - away) / (1 - scheme.other_choice - away) / scheme.share_step + 0.5
    for choice, count in enumerate(counts):
        as_shown = {
            min(int(np.floor(steps[choice] + slack)) * scheme.share_step, 100) if count >= 3 else 0
            for slack in (-SLACK, SLACK)
        }
        if shown.get(choice, 0) not in {max(share, 0) for share in as_shown}:
            return False
    return True


def possible_groups(
    seen: Sequence[Seen], known: Knowledge, own: Company, groups: int, dimension: str = BAND
) -> set[int]:
    """List the bands or types in which the target may have been counted, using the groups' counts and figures."""
    found = set(range(groups))
    for cell in seen:
        if not cell.is_new or cell.dimension != dimension or cell.month not in known.others:
            continue
        inside = [other.number for other in known.others[cell.month].values() if is_in(other, cell)]
        fits = {}
        for is_inside in (True, False):
            numbers = np.array([*inside, own.number] if is_inside else inside)
            fits[is_inside] = (
                len(numbers) >= max(known.scheme.min_companies, 2)
                and counts_agree(cell, len(numbers), known.scheme)
                and (
                    cell.quantiles is None
                    or bool(possible(cell, numbers[:-1], numbers[-1:], known.scheme).all())
                )
            )
        found = {group for group in found if fits[group in cell.bands]}
    return found


def of_copies(seen: Sequence[Seen], known: Knowledge, candidates: Numbers, copies: int) -> Flags:
    """Tell which answers are possible for a target that is counted several times, each time moved separately.

    This happens if a team dissolves and all of its people send its answers again. The attacker knows all others'
    answers, but nobody's draws. For any draws, the answer of a rank is between its values with all answers moved down
    and with all moved up.
    """
    scheme, found = known.scheme, np.ones(len(candidates), bool)
    low_own, high_own = moved(candidates, scheme, sign=-1), moved(candidates, scheme, sign=1)
    for cell in seen:
        if (
            not cell.is_new
            or cell.quantiles is None
            or cell.month not in known.others
            or cell.dimension != WHOLE
        ):
            continue
        others = np.sort([other.number for other in known.true[cell.month].values()])
        edges = np.full(copies, np.inf)
        bounds = [np.concatenate([-edges, moved(others, scheme, sign=sign), edges]) for sign in (-1, 1)]
        for name, figure in cell.quantiles.items():
            low, high = before_rounding(figure, scheme)
            fits = np.zeros(len(candidates), bool)
            for window in windows(name, len(others) + copies, scheme):
                least, most = (
                    np.mean([np.clip(own, edge[rank], edge[rank + copies]) for rank in window], axis=0)
                    for own, edge in zip((low_own, high_own), bounds, strict=True)
                )
                fits |= (most >= low) & (least <= high)
            found &= fits
    return found


def of_flags(live: Seen, others: Numbers, candidates: Numbers) -> Flags:
    """Tell which answers are possible if a flag tells whether a trial answer is far outside of the live quartiles.

    Two bisections, with as many trial answers as needed, give the exact quartiles.
    """
    bounds = np.concatenate([[-np.inf], np.sort(others), [np.inf]])
    found = np.ones(len(candidates), bool)
    for name, figure in (live.quantiles or {}).items():
        position = PLACES[name] * len(others)
        below, share = int(np.floor(position)), position % 1
        above = min(below + 1, len(others))
        first, second = (np.clip(candidates, bounds[rank], bounds[rank + 1]) for rank in (below, above))
        found &= abs(first * (1 - share) + second * share - figure) <= SLACK * abs(figure) + 1e-9
    return found
