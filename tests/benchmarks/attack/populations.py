"""Random populations of companies with realistic answers, and lists of all answers that somebody could have given."""

import random
from dataclasses import dataclass

import numpy as np

from tests.benchmarks.attack import attacker
from tests.benchmarks.attack.publisher import Draws
from tests.benchmarks.attack.seen import Company


@dataclass
class Population:
    """Companies that join, change and leave, with realistic answers: rounded, clustered, skewed."""

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
            middle = 2 * max(self.median, 1) ** 0.25  # counts from 2 to 36
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


def candidates(population: Population, value: float) -> attacker.Numbers:
    """List the possible answers in small steps."""
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
    """List round numbers near a value: with one digit 10, 20, 30 and so on, with two 10, 11, 12."""
    if not value:
        return [0.0]
    power = np.floor(np.log10(value)) - digits + 1
    mantissa = round(value / 10.0**power)
    return [
        float(f"{(mantissa + more) * 10.0**power:.{digits - 1}e}")
        for more in range(-10, 11)
        if mantissa + more > 0
    ]
