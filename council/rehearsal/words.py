"""Formatting of figures for people."""

from council.rehearsal.outcome import Lock
from council.zero_downtime.blockers import duration
from council.zero_downtime.planning import report as plan_report

NONE = "–"  # noqa: RUF001
UNITS = ("B", "kB", "MB", "GB", "TB")


def milliseconds(value: float | None) -> str:
    if value is None:
        return NONE
    return f"{value:.1f} ms" if value < 100 else f"{value:,.0f} ms"


def predicted(value: float | None) -> str:
    return NONE if value is None else plan_report.span(value)


def seconds(value: float | None) -> str:
    return NONE if value is None else duration(value)


def size(count: float | None) -> str:
    """Format a number of bytes in the units of PostgreSQL and the plan: 1 kB is 1,024 bytes."""
    if count is None:
        return NONE
    sign, count = ("-" if count < 0 else ""), abs(count)
    for unit in UNITS[:-1]:
        if count < 1024:
            return (
                f"{sign}{count:,.0f} {unit}" if unit == "B" or count >= 100 else f"{sign}{count:.1f} {unit}"
            )
        count /= 1024
    return f"{sign}{count:,.1f} {UNITS[-1]}"


def growth(before: int, after: int | None) -> str:
    if after is None:
        return NONE
    change = after - before
    return f"+{size(change)}" if change > 0 else size(change)


def lock(lock: Lock) -> str:
    """Format a lock, with the prediction if that was different."""
    if lock.observed == lock.predicted:
        return f"{lock.observed} on {lock.table}"
    if lock.observed is None:
        return f"{lock.predicted} on {lock.table} (predicted, not seen)"
    if lock.predicted is None:
        return f"{lock.observed} on {lock.table}"
    return f"{lock.observed} on {lock.table} (predicted: {lock.predicted})"
