"""A sample of the attack. It finds nobody's answer under the rules, and many if a rule is missing.

`python -m tests.benchmarks.attack` runs all of it.
"""

import ast
import random
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import definitions, disclosure, releases
from benchmarks.figures import Figure
from tests.benchmarks import history
from tests.benchmarks.attack import attacker, trials
from tests.benchmarks.attack.publisher import BANDS, TYPES, Policy, Publisher
from tests.benchmarks.attack.seen import BAND, TYPE, Company, Scheme, Seen

pytestmark = pytest.mark.any_server

HERE = Path(__file__).parent


@pytest.mark.parametrize("module", ["attacker.py", "seen.py"])
def test_the_attacker_imports_nothing_of_the_code_that_publishes(module: str) -> None:
    imported = set()
    for node in ast.walk(ast.parse((HERE / module).read_text())):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add(node.module or "")
    allowed = {"collections.abc", "dataclasses", "numpy", "numpy.typing", "tests.benchmarks.attack.seen"}
    assert imported <= allowed


def test_no_answer_is_found_under_the_rules() -> None:
    tally = trials.attack(Policy(), trials=50, seed=11)
    for what in (
        "number",
        "number by few",
        "choice",
        "band",
        "band by few",
        "type",
        "dissolved team",
        "flags",
    ):
        assert tally.known[what] == 0, what
    assert tally.known["large cells published"] > 0.9 * tally.known["large cells"]


@pytest.mark.parametrize(
    ("policy", "found"),
    [
        (trials.NAIVE, {"number": 70, "number by few": 20, "choice": 70, "band": 30}),
        (trials.THRESHOLDS_ONLY, {"number": 40, "number by few": 5, "choice": 50, "band": 15}),
        (trials.RULES_OFF["answers moved"], {"number": 5, "dissolved team": 5}),
        (
            trials.RULES_OFF["choices counted as others"],
            {"choice": 50, "band": 10, "type": 10, "band by few": 5},
        ),
        (trials.RULES_OFF["flags by the last release"], {"flags": 10}),
        (trials.without_draws(trials.RULES_OFF["E24 steps"]), {"number": 30}),
        (trials.without_draws(trials.RULES_OFF["counts as 10+"]), {"band": 30}),
    ],
    ids=[
        "naive",
        "thresholds",
        "not moved",
        "choices as they are",
        "flags by live answers",
        "key known, not rounded",
        "key known, counted",
    ],
)
def test_the_attack_succeeds_if_rules_are_missing(policy: Policy, found: dict[str, int]) -> None:
    tally = trials.attack(policy, trials=20, seed=12)
    for what, percent in found.items():
        assert tally.percent(what) >= percent, f"{what}: {tally.percent(what)} %"


def test_the_published_median_is_accurate() -> None:
    errors = trials.errors(Policy(), trials=300)
    assert np.percentile(errors, 50) <= 0.05
    assert np.percentile(errors, 95) <= 0.13  # 0.12 by the whole run


SCHEME = Policy(disclosure.Rules(max_move=0, other_choice=0)).scheme()


def cell(**quantiles: float) -> Seen:
    return Seen(month=0, dimension="", bands=(), made=0, at_least=10, quantiles=quantiles)


def possible(
    seen: Seen, others: list[float], candidates: list[float], scheme: Scheme = SCHEME
) -> list[float]:
    spots = np.array(candidates)
    found: list[float] = spots[attacker.possible(seen, np.array(others), spots, scheme)].tolist()
    return found


def test_the_attacker_finds_an_answer_from_a_figure() -> None:
    others = [float(number) for number in (10, 10, 10, 40, 40, 90, 90, 90, 90)]
    # The median is the mean of ranks 5 to 7 of ten: one 40, the answer if it is between the two, and one 90.
    assert possible(cell(p50=62), others, [20, 40, 60, 90, 500]) == [60]
    assert possible(cell(p50=75), others, [20, 40, 60, 90, 500]) == [90, 500]
    assert possible(cell(p50=56), others, [20, 40, 60, 90, 500]) == [20, 40]


def test_the_attacker_does_not_exclude_answers_that_an_extreme_hides() -> None:
    others = [50.0] * 9
    assert possible(cell(p25=51, p50=51, p75=51), others, [0, 50, 1e6]) == [0, 50, 1e6]


# The publisher that is attacked is the one that publishes


def test_the_database_publishes_the_figures_that_are_attacked(
    db: None, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Takes releases of the same months from the database and from arrays, with the same draws."""
    settings.BENCHMARK_KEY = "key"
    monkeypatch.setattr(disclosure, "RULES", disclosure.Rules(max_move=0, other_choice=0))
    fields = {"number": "revenue_per_employee", "choice": "pricing_model"}
    bands, types, choices = (
        [value for value, _ in definitions.field(definitions.Category.BUSINESS, name).all_choices]  # type: ignore[attr-defined]
        for name in (*definitions.GROUPINGS, fields["choice"])
    )
    source = random.Random(7)

    def company() -> Company:
        return Company(
            float(source.randrange(20_000, 300_000, 5_000)),
            source.randrange(4),
            source.randrange(7),
            source.randrange(5),
        )

    def record(member: str, one: Company, when: str) -> None:
        data = {
            fields["number"]: one.number,
            fields["choice"]: choices[one.choice],
            definitions.GROUPINGS[0]: bands[one.band],
            definitions.GROUPINGS[1]: types[one.type],
        }
        history.answer(member, "BUSINESS", data, when)

    people: dict[str, Company] = {history.member(): company() for _ in range(45)}
    for member, one in people.items():
        record(member, one, "2026-04-10")
    policy = Policy(disclosure.RULES, choices=4)

    def draw(number: int, dimension: str, places: tuple[int, ...], quantile: str) -> float:
        grouping = {"": "", BAND: definitions.GROUPINGS[0], TYPE: definitions.GROUPINGS[1]}[dimension]
        names = [(bands if dimension == BAND else types)[place] for place in places]
        month = str(date(2026, 4 + number, 1))
        return disclosure.draw("key", month, "BUSINESS", fields["number"], grouping, *names, quantile)

    publisher = Publisher(policy, draw)
    compared = 0
    for number, month in enumerate(date(2026, month, 1) for month in range(4, 10)):
        release = releases.take(month=month)
        expected = {}
        for seen in publisher.take(number, dict(enumerate(people.values()))):
            dimension, names = {
                "": ("", []),
                BAND: (definitions.GROUPINGS[0], bands),
                TYPE: (definitions.GROUPINGS[1], types),
            }[seen.dimension]
            field = fields["number" if seen.quantiles else "choice"]
            shares = (
                {choices[choice]: share for choice, share in seen.shares.items()} if seen.shares else None
            )
            place = (field, dimension, tuple(names[place] for place in seen.bands))
            expected[place] = (seen.made, seen.at_least, seen.quantiles, shares)
        found = {}
        for figure in Figure.objects.filter(release=release, field__in=fields.values(), withheld_by=None):
            assert figure.as_of is not None
            quantiles = {name: getattr(figure, name) for name in disclosure.QUANTILES}
            quantiles = {name: value for name, value in quantiles.items() if value is not None}
            found[figure.field, figure.dimension, tuple(figure.bands)] = (
                figure.as_of.month - 5,
                figure.companies_at_least,
                quantiles or None,
                figure.shares,
            )
        assert found == expected
        compared += len(found)
        changing = source.sample(list(people), [0, 4, 6, 2, 12, 3][number])
        for member in changing:
            people[member] = company()
            record(member, people[member], f"2026-{month.month + 1:02}-10")
    assert compared > 30
    assert len(BANDS) == len(bands) and len(TYPES) == len(types)
