"""Each rule of disclosure, tested separately."""

import itertools
import math

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks import disclosure
from benchmarks.disclosure import Group, Rules

pytestmark = pytest.mark.any_server

examples = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=60)
COUNTS = st.lists(st.integers(0, 40), min_size=1, max_size=7)


@pytest.mark.parametrize(
    ("companies", "names"),
    [
        (0, ()),
        (9, ()),
        (10, ("p25", "p50", "p75")),
        (29, ("p25", "p50", "p75")),
        (30, ("p10", "p25", "p50", "p75", "p90")),
    ],
)
def test_quantiles_need_ten_companies_and_tails_thirty(companies: int, names: tuple[str, ...]) -> None:
    assert disclosure.quantiles(companies) == names


@examples
@given(st.integers(10, 500), st.sampled_from(list(disclosure.QUANTILES)), st.floats(0, 1, exclude_max=True))
def test_a_quantile_never_uses_the_smallest_or_the_largest_answer(
    companies: int, quantile: str, drawn: float
) -> None:
    ranks = disclosure.ranks(quantile, companies, drawn)
    assert len(ranks) == (3 if companies < 20 else 5)
    assert min(ranks) > 1
    assert max(ranks) < companies


def test_a_rank_is_shifted_by_at_most_one_and_the_median_s_is_not() -> None:
    centres = {disclosure.ranks("p25", 101, drawn)[2] for drawn in (0.0, 0.4, 0.99)}
    assert centres == {25, 26, 27}
    assert {disclosure.ranks("p50", 101, drawn)[2] for drawn in (0.0, 0.4, 0.99)} == {51}


@pytest.mark.parametrize(
    ("value", "figure"),
    [
        (0, 0),
        (10, 10),
        (10.4, 10),
        (10.6, 11),
        (94, 91),
        (96, 100),
        (83_000, 82_000),
        (0.047, 0.047),
        (-52, -51),
        (1234.5, 1200),
        (math.inf, 0),
    ],
)
def test_figures_are_on_the_e24_steps(value: float, figure: float) -> None:
    assert disclosure.rounded(value) == figure


@examples
@given(st.floats(1e-6, 1e12))
def test_rounding_moves_a_figure_by_seven_percent_at_most(value: float) -> None:
    assert abs(disclosure.rounded(value) - value) <= 0.072 * value


def test_a_figure_of_moved_zeros_is_zero() -> None:
    assert disclosure.rounded(0.04, step=0.1) == 0
    assert disclosure.rounded(0.06, step=0.1) == 0.062


@examples
@given(st.floats(-1e6, 1e6), st.sampled_from([0.1, 1.0]), st.floats(0, 1, exclude_max=True))
def test_a_moved_answer_does_not_reveal_the_true_one_to_within_ten_percent(
    value: float, step: float, drawn: float
) -> None:
    moved = disclosure.moved(value, drawn, step=step, minimum=-1e9)
    assert abs(moved - value) <= max(0.15 * abs(value), step) * 1.000001
    # Of all answers that some draw moves to the same number, the smallest or the largest is far from the true one.
    reach = 0.15 * abs(value) + step
    alike = [
        other
        for other in (value + share / 200 * reach * 1.5 for share in range(-200, 201))
        if abs(moved - other) <= max(0.15 * abs(other), step)
    ]
    assert max(abs(other - value) for other in alike) > 0.1 * abs(value)


def test_an_answer_is_not_moved_below_the_field_s_minimum() -> None:
    assert disclosure.moved(0.05, 0.0, step=0.1, minimum=0) == 0


def test_one_company_in_five_is_counted_under_another_choice() -> None:
    choices = ["a", "b", "c", "d", "e"]
    counted = [disclosure.counted_as("b", (number + 0.5) / 1000, choices=choices) for number in range(1000)]
    assert {choice: counted.count(choice) for choice in choices} == {
        "a": 50,
        "b": 800,
        "c": 50,
        "d": 50,
        "e": 50,
    }


@pytest.mark.parametrize(
    ("companies", "shown"), [(10, 10), (29, 10), (30, 30), (99, 30), (100, 100), (100_000, 100)]
)
def test_counts_are_shown_in_three_steps(companies: int, shown: int) -> None:
    assert disclosure.at_least(companies) == shown


EXACT = Rules(other_choice=0)


@pytest.mark.parametrize(
    ("counts", "shares"),
    [
        ({"a": 8, "b": 12}, {"a": 40, "b": 60}),
        ({"a": 2, "b": 10, "c": 8}, {"b": 50, "c": 40}),
        ({"a": 16, "b": 4}, {"a": 80, "b": 20}),
        ({"a": 17, "b": 3}, None),
        ({"a": 20}, None),
        ({"a": 3, "b": 50, "c": 47}, {"b": 50, "c": 50}),
    ],
)
def test_shares_are_rounded_and_rare_or_overwhelming_choices_are_left_out(
    counts: dict[str, int], shares: dict[str, int] | None
) -> None:
    assert disclosure.shares(counts, choices=5, rules=EXACT) == shares


def test_shares_correct_for_companies_counted_under_other_choices() -> None:
    # Of 1,000 companies, 600 chose a and 400 chose b. A fifth are counted under the four other choices.
    counts = {"a": 480 + 20, "b": 320 + 30, "c": 50, "d": 50, "e": 50}
    assert disclosure.shares(counts, choices=5) == {"a": 60, "b": 40}


BANDS = "abcdefg"


def divided(counts: list[int], without: int, *, is_ordered: bool) -> tuple[list[Group], list[Group], int]:
    companies = sum(counts) + without
    published, withheld = disclosure.groups(
        list(zip(BANDS, counts, strict=False)), companies=companies, is_ordered=is_ordered
    )
    return published, withheld, companies


@examples
@given(COUNTS, st.integers(0, 30), st.booleans())
def test_no_published_groups_leave_one_to_nine_companies(
    counts: list[int], without: int, is_ordered: bool
) -> None:
    published, _, companies = divided(counts, without, is_ordered=is_ordered)
    for some in itertools.chain.from_iterable(
        itertools.combinations(published, size) for size in range(1, len(published) + 1)
    ):
        together = sum(group.companies for group in some)
        assert together >= 10
        assert not 0 < companies - together < 10


@examples
@given(COUNTS, st.integers(0, 30), st.booleans())
def test_every_company_with_a_band_is_in_one_group(counts: list[int], without: int, is_ordered: bool) -> None:
    published, withheld, _ = divided(counts, without, is_ordered=is_ordered)
    bands = [band for group in published + withheld for band in group.bands]
    assert len(bands) == len(set(bands))
    assert sum(group.companies for group in published + withheld) == sum(counts)


def test_neighbouring_bands_are_joined() -> None:
    published, withheld, _ = divided([4, 7, 12, 3, 0, 5, 1], 0, is_ordered=True)
    assert [group.bands for group in published] == [("a", "b"), ("c", "d", "e", "f", "g")]
    assert withheld == []


def test_types_are_not_joined() -> None:
    published, withheld, _ = divided([4, 7, 12, 30], 0, is_ordered=False)
    assert [group.bands for group in published] == [("c",), ("d",)]
    assert [group.bands for group in withheld] == [("a",), ("b",)]


def test_five_changes_renew_a_figure_which_is_carried_over_at_most_four_releases() -> None:
    assert [disclosure.is_recomputed(changed) for changed in (0, 4, 5)] == [False, False, True]
    assert [disclosure.may_be_carried(releases) for releases in (1, 4, 5)] == [True, True, False]


def test_draws_need_the_key_and_are_always_the_same() -> None:
    one = disclosure.draw("key", "2026-10-01", "field")
    assert one == disclosure.draw("key", "2026-10-01", "field")
    assert (
        len(
            {
                one,
                disclosure.draw("other", "2026-10-01", "field"),
                disclosure.draw("key", "2026-11-01", "field"),
            }
        )
        == 3
    )
    assert all(0 <= disclosure.draw("key", str(number)) < 1 for number in range(200))


@pytest.mark.parametrize(
    ("companies", "quartiles", "word"),
    [
        (100, (90, 100, 110), "sure"),
        (30, (40, 50, 60), "sure"),
        (30, (30, 50, 80), "fair"),
        (10, (30, 50, 80), "rough"),
        (10, (-5, 0, 5), "rough"),
    ],
)
def test_the_rating_of_a_median(companies: int, quartiles: tuple[float, float, float], word: str) -> None:
    lower, median, upper = quartiles
    found = disclosure.how_sure(companies_at_least=companies, lower=lower, median=median, upper=upper)
    assert found == word
