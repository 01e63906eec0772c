"""Durations, sizes and counts as text, and durations from text.

A megabyte is 1,048,576 bytes everywhere, as in PostgreSQL and in Django's `filesizeformat`.
"""

import re
from argparse import ArgumentTypeError
from datetime import timedelta

NONE = "–"  # noqa: RUF001
SECONDS = {"us": 1e-6, "ms": 0.001, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
SIZES = ("B", "kB", "MB", "GB")


def seconds(text: str, *, default_unit: str = "s") -> float:
    """Read a duration: 100ms, 2s, 10min. A number alone is in the default unit. Raises ArgumentTypeError."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-z]*)", text.strip())
    if not match or (match[2] or default_unit) not in SECONDS:
        raise ArgumentTypeError(f"{text!r} is not a duration. Write it as 100ms, 2s or 10min.")
    return float(match[1]) * SECONDS[match[2] or default_unit]


def duration(seconds: float | None) -> str:
    """Format a duration as 12 ms, 3.4 s or 1:02:03."""
    if seconds is None:
        return NONE
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    return f"{seconds:.1f} s" if seconds < 60 else str(timedelta(seconds=int(seconds)))


def milliseconds(value: float | None) -> str:
    """Format a wait as 12.3 ms or 1,234 ms, for comparing it with a limit in milliseconds."""
    if value is None:
        return NONE
    return f"{value:.1f} ms" if value < 100 else f"{value:,.0f} ms"


def size(number: float | None) -> str:
    """Format a number of bytes as 512 B, 1.5 kB or 150 MB."""
    if number is None:
        return NONE
    sign, number = ("-" if number < 0 else ""), abs(number)
    for unit in SIZES:
        if number < 1024:
            return (
                f"{sign}{number:.0f} {unit}" if unit == "B" or number >= 100 else f"{sign}{number:.1f} {unit}"
            )
        number /= 1024
    return f"{sign}{number:,.1f} TB"


def count(number: int, noun: str) -> str:
    """Format a number with its noun: 1 row, 1,234 rows, 2 batches."""
    plural = "es" if noun.endswith("ch") else "s"
    return f"{number:,} {noun}{'' if number == 1 else plural}"
