"""Durations, sizes and counts, as text and from text."""

from argparse import ArgumentTypeError

import pytest

from council.postgres import units


@pytest.mark.parametrize(
    ("number", "written"),
    [
        (None, "–"),  # noqa: RUF001
        (0, "0 B"),
        (1023, "1023 B"),
        (1536, "1.5 kB"),
        (150 * 1024, "150 kB"),
        (2.5 * 1024**2, "2.5 MB"),
        (-3 * 1024**3, "-3.0 GB"),
        (4000 * 1024**4, "4,000.0 TB"),
    ],
)
def test_a_kilobyte_is_1024_bytes(number: float | None, written: str) -> None:
    assert units.size(number) == written


@pytest.mark.parametrize(
    ("seconds", "written"), [(0.0124, "12 ms"), (3.44, "3.4 s"), (59.9, "59.9 s"), (3723.9, "1:02:03")]
)
def test_a_duration_has_the_unit_that_suits_it(seconds: float, written: str) -> None:
    assert units.duration(seconds) == written


def test_durations_are_read_with_their_unit() -> None:
    assert [units.seconds(text) for text in ("100ms", "2.5 s", "10min", "1h", "2")] == [
        0.1,
        2.5,
        600,
        3600,
        2,
    ]
    assert units.seconds("250", default_unit="ms") == 0.25


@pytest.mark.parametrize("text", ["", "soon", "-1s", "2 weeks"])
def test_what_is_not_a_duration_is_refused(text: str) -> None:
    with pytest.raises(ArgumentTypeError, match="is not a duration. Write it as 100ms, 2s or 10min"):
        units.seconds(text)


def test_a_count_has_the_noun_in_singular_or_plural() -> None:
    counts = [(1, "row"), (0, "row"), (1234, "row"), (2, "batch")]
    assert [units.count(*each) for each in counts] == ["1 row", "0 rows", "1,234 rows", "2 batches"]
