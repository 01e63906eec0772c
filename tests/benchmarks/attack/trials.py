"""Random populations, what an attacker learns of them, and what honest readers still get."""

import random
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from benchmarks.disclosure import RULES
from tests.benchmarks.attack import attacker
from tests.benchmarks.attack.publisher import BANDS, Draws, Policy, Publisher, counted
from tests.benchmarks.attack.seen import Company, Knowledge, Scheme, Seen

MONTHS = 12

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
    """Switch off, too, what protects an answer by itself: for what the other rules do where the key is known."""
    return replace(policy, rules=replace(policy.rules, max_move=0, other_choice=0))


@dataclass
class Population:
    """Companies that come, change and leave, with answers as people give them: rounded, heaped, skewed."""

    source: random.Random
    size: int
    is_counted: bool
    digits: int | None
    median: float
    spread: float
    heaps: tuple[float, ...]
    weights: tuple[float, ...]

    @classmethod
    def make(cls, seed: int, *, size: int | None = None) -> "Population":
        source = random.Random(seed)
        shares = [source.random() ** 2 + 0.02 for _ in range(7)]
        return cls(
            source=source,
            size=size or round(5 * 60 ** source.random()),
            is_counted=source.random() < 0.25,
            digits=source.choice([None, 1, 2, 2, 3]),
            median=10 ** source.uniform(0.5, 5),
            spread=source.choice([0.05, 0.15, 0.3, 0.5, 0.8]),
            heaps=tuple(source.choice([0.75, 0.8, 1, 1, 1, 1.2, 1.25]) for _ in range(4))
            if source.random() < 0.3
            else (),
            weights=tuple(shares),
        )

    def number(self) -> float:
        if self.is_counted:
            middle = 2 * max(self.median, 1) ** 0.25  # 2 to 36 of something
            return float(min(round(middle * self.source.lognormvariate(0, min(self.spread, 0.5))), 500))
        if self.heaps and self.source.random() < 0.7:
            value = self.median * self.source.choice(self.heaps)
        else:
            value = self.median * self.source.lognormvariate(0, self.spread)
        if self.digits is None or not value:
            return round(value, 2)
        return float(f"{value:.{self.digits - 1}e}")

    def company(self) -> Company:
        pick = self.source.choices
        return Company(
            number=self.number(),
            choice=pick(range(5), self.weights[:5])[0],
            band=pick(range(7), self.weights)[0],
            type=pick(range(5), self.weights[2:])[0],
        )

    def draws(self) -> Draws:
        return Draws(*(self.source.random() for _ in range(4)))


@dataclass
class Outcome:
    """What one trial came to, for one target."""

    companies: int
    large_cells: int = 0
    large_cells_published: int = 0
    is_number_known: bool = False
    is_number_known_by_few: bool = False
    is_round_known: bool = False
    is_round_known_with_draws: bool = False
    choice_certainty: float = 0.0
    band_certainty: float = 0.0


def candidates(population: Population, value: float) -> attacker.Numbers:
    """List the answers that somebody might have given: every one that may be, close ones closely."""
    if population.is_counted:
        return np.arange(0, 501, dtype=float)
    base = value or population.median
    near_zero = np.arange(0, 0.31, 0.02)
    return np.unique(
        np.concatenate(
            [near_zero, [value], base * np.exp(np.linspace(-4, 4, 161)), base * np.linspace(0.8, 1.25, 46)]
        )
    )


def rounds(value: float, digits: int) -> list[float]:
    """List round numbers about a value: of one digit 10, 20, 30 and so on, of two 10, 11, 12."""
    if not value:
        return [0.0]
    power = np.floor(np.log10(value)) - digits + 1
    mantissa = round(value / 10.0**power)
    return [
        float(f"{(mantissa + more) * 10.0**power:.{digits - 1}e}")
        for more in range(-10, 11)
        if mantissa + more > 0
    ]


def is_known(found: attacker.Numbers, value: float) -> bool:
    return len(found) > 0 and bool(np.all(abs(found - value) <= 0.1 * abs(value) + 1e-9))


@dataclass
class Game:
    """A population whose releases were taken, and what the attacker saw and knows of them."""

    seed: int
    population: Population
    scheme: Scheme
    true: dict[int, Company]  # at the end
    mine: Company  # what the target answers, all the time
    own: Company  # the same as it is counted
    known: Knowledge
    spots: attacker.Numbers  # what the target may have answered
    counted_spots: attacker.Numbers  # as what it may have been counted
    fits: attacker.Flags  # which of those are still possible
    seen: list[Seen] = field(default_factory=list)
    owns: dict[int, Company] = field(default_factory=dict)
    large_cells: int = 0
    large_cells_published: int = 0


TARGET, COLLUDERS = 0, (1, 2, 3, 4)  # the attacker's own company, and three more


def play(seed: int, policy: Policy, *, size: int | None = None, months: int = MONTHS) -> Game:
    """Release a population month by month, with an attacker who answers to find out more in half of the games."""
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
        cells = list(publisher.take(month, now))
        game.seen += cells
        if TARGET in now:
            game.owns[month] = now[TARGET]
            game.known.true[month] = {name: one for name, one in true.items() if name != TARGET}
            game.known.others[month] = {name: one for name, one in now.items() if name != TARGET}
            possible = attacker.contributions(cells, game.known, own, counted_spots[game.fits])
            game.fits[game.fits] = possible
        churn(population, source, true, draws)
        if is_active and game.fits.any():
            probe(source, true, counted_spots[game.fits])
    game.large_cells, game.large_cells_published = publisher.large_cells, publisher.large_cells_published
    return game


def trial(seed: int, policy: Policy, *, size: int | None = None) -> Outcome:
    """Release a population month by month, and attack one of its companies."""
    game = play(seed, policy, size=size)
    outcome = Outcome(game.population.size, game.large_cells, game.large_cells_published)
    if any(cell.month in game.owns for cell in game.seen):
        conclude_number(game, outcome)
        conclude_choices(game, outcome)
    return outcome


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
    bands = attacker.possible_bands(game.seen, game.known, game.own, len(BANDS))
    assert game.own.band in bands, f"seed {game.seed}: the attacker excludes the true band"
    outcome.band_certainty = attacker.choice_certainty(bands, replace(game.scheme, choices=len(BANDS)))


def drawing(seed: int) -> Callable[[int, str, tuple[int, ...], str], float]:
    """Draw for each figure, as somebody without the key sees it."""
    source = random.Random(seed)
    return lambda *_: source.random()


def counted_numbers(spots: attacker.Numbers, policy: Policy) -> attacker.Numbers:
    """Spread the candidates to what they may be counted as."""
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
    """Let companies change their answers, come and leave; the target's stays, which is the attacker's best case."""
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
    """Bisect: put the attacker's own answers, four at most, into the middle of what is still possible."""
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
        self.known["choice"] += outcome.choice_certainty > 0.8 + 1e-9
        self.known["large cells"] += outcome.large_cells
        self.known["large cells published"] += outcome.large_cells_published
        self.known["band"] += outcome.band_certainty > 0.8 + 1e-9

    def percent(self, what: str) -> float:
        return 100 * self.known[what] / self.trials if self.trials else 0.0


def attack(policy: Policy, *, trials: int, seed: int = 1, size: Callable[[int], int] | None = None) -> Tally:
    tally = Tally()
    for number in range(trials):
        tally.add(trial(seed * 1_000_003 + number * 7, policy, size=size(number) if size else None))
    return tally


def errors(policy: Policy, *, trials: int, size: int = 30, seed: int = 5) -> list[float]:
    """Compare the published median of so many companies with the true one, as a share of the true one."""
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
