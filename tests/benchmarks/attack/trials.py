"""Measure what an attacker learns about random populations, and how useful the releases are to honest readers."""

import random
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from benchmarks.disclosure import RULES
from tests.benchmarks.attack import attacker
from tests.benchmarks.attack.populations import Population, candidates, rounds
from tests.benchmarks.attack.publisher import BANDS, TYPES, Draws, Policy, Publisher, counted
from tests.benchmarks.attack.seen import BAND, TYPE, WHOLE, Company, Knowledge, Scheme, Seen

MONTHS = 12
CERTAIN = 0.8 + 1e-9

RULES_OFF: dict[str, Policy] = {
    "answers moved": Policy(replace(RULES, max_move=0)),
    "choices counted as others": Policy(replace(RULES, other_choice=0)),
    "at least 10 companies": Policy(replace(RULES, min_companies=5)),
    "tails from 30": Policy(replace(RULES, min_companies_for_tails=10)),
    "mean of neighbours": Policy(replace(RULES, is_averaged=False)),
    "rank moved": Policy(replace(RULES, rank_shift=0)),
    "extremes spared": Policy(replace(RULES, are_extremes_spared=False)),
    "E24 steps": Policy(replace(RULES, is_rounded=False)),
    "complements of 10": Policy(replace(RULES, are_complements_kept=False)),
    "five changes": Policy(replace(RULES, min_changed=0)),
    "counts as 10+": Policy(are_counts_exact=True),
    "shares to 10 %": Policy(replace(RULES, share_step=1)),
    "no share above 80 %": Policy(replace(RULES, max_share=100)),
    "flags by the last release": Policy(are_flags_live=True),
}
NAIVE = Policy(
    replace(
        RULES,
        min_companies=5,
        max_move=0,
        other_choice=0,
        share_step=1,
        max_share=100,
        are_complements_kept=False,
    ),
    are_counts_exact=True,
    is_naive=True,
)
THRESHOLDS_ONLY = Policy(
    replace(
        RULES,
        max_move=0,
        other_choice=0,
        is_averaged=False,
        rank_shift=0,
        are_extremes_spared=False,
        is_rounded=False,
        min_changed=0,
    )
)


def without_draws(policy: Policy) -> Policy:
    """Also switch off the two rules that change answers, to measure the other rules if the key is known."""
    return replace(policy, rules=replace(policy.rules, max_move=0, other_choice=0))


@dataclass
class Outcome:
    """The result of one trial for one target."""

    companies: int
    large_cells: int = 0
    large_cells_published: int = 0
    is_number_known: bool = False
    is_number_known_by_few: bool = False
    is_round_known: bool = False
    is_round_known_with_draws: bool = False
    choice_certainty: float = 0.0
    band_certainty: float = 0.0
    type_certainty: float = 0.0
    is_band_known_by_few: bool = False
    is_number_known_of_copies: bool = False
    is_number_known_by_flags: bool = False


def is_known(found: attacker.Numbers, value: float) -> bool:
    return len(found) > 0 and bool(np.all(abs(found - value) <= 0.1 * abs(value) + 1e-9))


@dataclass
class Game:
    """A population with its releases, and what the attacker saw and knows."""

    seed: int
    population: Population
    scheme: Scheme
    true: dict[int, Company]  # at the end
    mine: Company  # the target's answer, which never changes
    own: Company  # the same as it is counted
    known: Knowledge
    spots: attacker.Numbers  # what the target may have answered
    counted_spots: attacker.Numbers  # the possible counted answers
    fits: attacker.Flags  # those that are still possible
    seen: list[Seen] = field(default_factory=list)
    owns: dict[int, Company] = field(default_factory=dict)
    flags: list[tuple[Seen, attacker.Numbers]] = field(default_factory=list)  # with the others' answers
    large_cells: int = 0
    large_cells_published: int = 0


TARGET, COLLUDERS = (
    0,
    (1, 2, 3, 4),
)  # the attacker's own company and three others, or four accounts of one attacker
COPIES = 3


def play(
    seed: int, policy: Policy, *, size: int | None = None, months: int = MONTHS, copies: int = 1
) -> Game:
    """Release a population month by month. In half of the games, the attacker also answers, to find out more.

    In half of those, the attacker's accounts also come and go, because two releases, with and without them, reveal more
    than one. With `copies`, the target was a team that dissolved, and this many of its people sent its answers again.
    """
    population = Population.make(seed, size=size)
    source = random.Random(seed + 1)
    policy = replace(policy, step=1.0 if population.is_counted else 0.1)
    publisher, scheme = Publisher(policy, drawing(seed + 2)), policy.scheme()
    true = {name: population.company() for name in range(population.size)}
    draws = {name: population.draws() for name in true}
    is_active, arrives = source.random() < 0.5, 0 if source.random() < 0.7 else source.randrange(1, 4)
    mine, own = true[TARGET], counted(true[TARGET], draws[TARGET], policy)
    spots = candidates(population, mine.number)
    counted_spots = np.unique(np.append(counted_numbers(spots, policy), own.number))
    game = Game(
        seed,
        population,
        scheme,
        true,
        mine,
        own,
        Knowledge(scheme),
        spots,
        counted_spots,
        fits=np.ones(len(counted_spots), bool),
    )
    again = {-number: population.draws() for number in range(1, copies)}
    away: dict[int, Company] = {}
    last: dict[int, tuple[Company, Company]] = {}
    for month in range(months):
        now = {
            name: last[name][1]
            if name in last and last[name][0] is one
            else counted(one, draws[name], policy)
            for name, one in true.items()
        }
        last = {name: (one, now[name]) for name, one in true.items()}
        if month < arrives:
            del now[TARGET]
        elif again:
            now |= {name: counted(mine, drawn, policy) for name, drawn in again.items()}
        cells = list(publisher.take(month, now))
        game.seen += cells
        if TARGET in now:
            game.owns[month] = now[TARGET]
            game.known.true[month] = {name: one for name, one in true.items() if name != TARGET}
            game.known.others[month] = {
                name: one for name, one in now.items() if name != TARGET and name not in again
            }
            if policy.are_flags_live:
                game.flags.append(flagged(month, true))
            if not again:
                possible = attacker.contributions(cells, game.known, own, counted_spots[game.fits])
                game.fits[game.fits] = possible
        true |= away
        away.clear()
        churn(population, source, true, draws)
        if is_active and game.fits.any():
            probe(source, true, counted_spots[game.fits])
            if seed % 2 and month % 2:
                away = {name: true.pop(name) for name in COLLUDERS if name in true}
    game.large_cells, game.large_cells_published = publisher.large_cells, publisher.large_cells_published
    return game


def trial(seed: int, policy: Policy, *, size: int | None = None) -> Outcome:
    """Release a population month by month, and attack one of its companies."""
    game = play(seed, policy, size=size)
    outcome = Outcome(game.population.size, game.large_cells, game.large_cells_published)
    if any(cell.month in game.owns for cell in game.seen):
        conclude_number(game, outcome)
        conclude_choices(game, outcome)
        conclude_groups(game, outcome)
        if game.flags:
            fits = np.logical_and.reduce(
                [attacker.of_flags(live, others, game.spots) for live, others in game.flags]
            )
            outcome.is_number_known_by_flags = is_known(game.spots[fits], game.mine.number)
    if not policy.is_naive:
        outcome.is_number_known_of_copies = is_known_of_copies(seed, policy, size=size)
    return outcome


def is_known_of_copies(seed: int, policy: Policy, *, size: int | None = None) -> bool:
    """Attack a team that dissolved, and whose people have all sent its answers again."""
    game = play(seed, policy, size=size, copies=COPIES)
    found = game.spots[attacker.of_copies(game.seen, game.known, game.spots, COPIES)]
    assert game.mine.number in found, f"seed {seed}: the attacker of copies excludes the truth"
    return is_known(found, game.mine.number)


def conclude_number(game: Game, outcome: Outcome) -> None:
    number, scheme = game.mine.number, game.scheme
    counted_as = game.counted_spots[game.fits]
    assert game.own.number in counted_as, f"seed {game.seed}: the attacker excludes the truth"
    outcome.is_number_known = is_known(attacker.answers(counted_as, game.spots, scheme), number)
    if outcome.is_number_known:
        outcome.is_number_known_by_few = not any(
            abs(one.number - number) > 0.1 * number
            and attacker.is_swap_possible(game.seen, game.known, game.owns, name)
            for name, one in game.true.items()
            if name not in {TARGET, *COLLUDERS}
        )
    round_ones, digits = game.spots, game.population.digits
    if digits and not game.population.is_counted:
        kept = [one for one in game.spots if one == float(f"{one:.{digits - 1}e}")]
        round_ones = np.unique(np.array([*kept, *rounds(number, digits)]))
    with_draws = attacker.answers(counted_as, round_ones, scheme)
    outcome.is_round_known_with_draws = is_known(with_draws, number)
    by_answers = with_draws
    if scheme.max_move:
        by_answers = round_ones[attacker.without_draws(game.seen, game.known, round_ones)]
        assert number in by_answers, f"seed {game.seed}: the attacker without the draws excludes the truth"
    outcome.is_round_known = is_known(by_answers, number)


def conclude_choices(game: Game, outcome: Outcome) -> None:
    reports = attacker.possible_choices(game.seen, game.known, game.own)
    assert game.own.choice in reports, f"seed {game.seed}: the attacker excludes the true choice"
    outcome.choice_certainty = attacker.choice_certainty(reports, game.scheme)


def conclude_groups(game: Game, outcome: Outcome) -> None:
    certainty = {}
    for dimension, groups, own in ((BAND, len(BANDS), game.own.band), (TYPE, len(TYPES), game.own.type)):
        found = attacker.possible_groups(game.seen, game.known, game.own, groups, dimension)
        assert own in found, f"seed {game.seed}: the attacker excludes the true {dimension}"
        certainty[dimension] = attacker.choice_certainty(found, replace(game.scheme, choices=groups))
    outcome.band_certainty, outcome.type_certainty = certainty[BAND], certainty[TYPE]
    if outcome.band_certainty > CERTAIN:
        outcome.is_band_known_by_few = not any(
            one.band != game.mine.band
            and attacker.is_swap_possible(game.seen, game.known, game.owns, name, [BAND])
            for name, one in game.true.items()
            if name not in {TARGET, *COLLUDERS}
        )


def flagged(month: int, true: dict[int, Company]) -> tuple[Seen, attacker.Numbers]:
    """Return what flags based on live answers would reveal: the quartiles of everybody's present answers."""
    numbers = [one.number for one in true.values()]
    low, high = (float(value) for value in np.percentile(numbers, [25, 75]))
    others = np.array([one.number for name, one in true.items() if name != TARGET])
    return Seen(month, WHOLE, (), month, 10, quantiles={"p25": low, "p75": high}), others


def drawing(seed: int) -> Callable[[int, str, tuple[int, ...], str], float]:
    """Draw separately for each figure, because without the key all draws look random."""
    source = random.Random(seed)
    return lambda *_: source.random()


def counted_numbers(spots: attacker.Numbers, policy: Policy) -> attacker.Numbers:
    """Return the counted answers that the candidates may have been moved to."""
    if not policy.rules.max_move:
        return spots
    move = np.maximum(policy.rules.max_move * abs(spots), policy.step)
    spread = np.concatenate([spots + share * move for share in (-1, -0.5, 0, 0.5, 1)])
    found: attacker.Numbers = np.maximum(spread, 0)
    return found


def churn(
    population: Population,
    source: random.Random,
    true: dict[int, Company],
    draws: dict[int, Draws],
) -> None:
    """Let companies change their answers, join and leave. The target's stays, which is best for the attacker."""
    share = source.choice([0.0, 0.05, 0.15, 0.3])
    for name in list(true):
        if name == TARGET or source.random() >= share:
            continue
        if name not in COLLUDERS and source.random() < 0.2:
            del true[name], draws[name]
            name = max(true) + 1  # noqa: PLW2901
            draws[name] = population.draws()
        true[name] = population.company()


def probe(source: random.Random, true: dict[int, Company], possible: attacker.Numbers) -> None:
    """Bisect: set the attacker's own answers, at most four, to the middle of what is still possible."""
    for name in COLLUDERS:
        if name in true:
            low, high = float(possible[0]), float(possible[-1])
            middle = low + (high - low) * source.uniform(0.3, 0.7)
            true[name] = replace(true[name], number=round(middle * source.uniform(0.97, 1.03), 2))


@dataclass
class Tally:
    """Shares of trials, in percent."""

    trials: int = 0
    known: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def add(self, outcome: Outcome) -> None:
        self.trials += 1
        self.known["number"] += outcome.is_number_known
        self.known["number by few"] += outcome.is_number_known_by_few
        self.known["round number"] += outcome.is_round_known
        self.known["round number, draws known"] += outcome.is_round_known_with_draws
        self.known["choice"] += outcome.choice_certainty > CERTAIN
        self.known["large cells"] += outcome.large_cells
        self.known["large cells published"] += outcome.large_cells_published
        self.known["band"] += outcome.band_certainty > CERTAIN
        self.known["band by few"] += outcome.is_band_known_by_few
        self.known["type"] += outcome.type_certainty > CERTAIN
        self.known["dissolved team"] += outcome.is_number_known_of_copies
        self.known["flags"] += outcome.is_number_known_by_flags

    def percent(self, what: str) -> float:
        return 100 * self.known[what] / self.trials if self.trials else 0.0


def attack(policy: Policy, *, trials: int, seed: int = 1, size: Callable[[int], int] | None = None) -> Tally:
    tally = Tally()
    for number in range(trials):
        tally.add(trial(seed * 1_000_003 + number * 7, policy, size=size(number) if size else None))
    return tally


def errors(policy: Policy, *, trials: int, size: int = 30, seed: int = 5) -> list[float]:
    """Return the error of the published median of this many companies, relative to the true one."""
    found = []
    for number in range(trials):
        population = Population.make(seed * 1_000_003 + number, size=size)
        here = replace(policy, step=1.0 if population.is_counted else 0.1)
        true = [population.company() for _ in range(size)]
        now = {name: counted(one, population.draws(), here) for name, one in enumerate(true)}
        median = float(np.median([one.number for one in true]))
        whole = next(cell for cell in Publisher(here, drawing(number)).take(0, now) if cell.quantiles)
        assert whole.quantiles is not None
        if median:
            found.append(abs(whole.quantiles["p50"] - median) / median)
    return found
