"""An outcome as text, for a terminal or a log."""

from collections.abc import Iterator
from typing import TextIO

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from council.gateway.statements import READ, WRITE
from council.postgres import units
from council.rehearsal import outcome as outcomes
from council.rehearsal.outcome import Outcome
from council.zero_downtime.planning import plan_report

LOG_COLUMNS = 130


def write(outcome: Outcome, stream: TextIO) -> None:
    """Write the results of each migration, and the verdict last."""
    console = Console(file=stream, highlight=False, markup=False)
    if not console.is_terminal:
        console = Console(file=stream, highlight=False, markup=False, width=LOG_COLUMNS)
    for line in _origin(outcome):
        console.print(line)
    if not outcome.record.predicted:
        console.print("No migration is pending: there is nothing to rehearse.", style="green")
        return
    console.print(_migrations(outcome))
    for line in _waits(outcome):
        console.print(line)
    for note in outcome.notes:
        console.print(f"Note: {note}.", style="yellow")
    for warning in sorted({line for known in outcome.record.predicted.values() for line in known.warnings}):
        console.print(f"Warning of the plan: {warning}", style="yellow")
    console.print(verdict(outcome), style="bold green" if outcome.is_passed else "bold red")


def verdict(outcome: Outcome) -> str:
    if outcome.is_passed:
        return f"PASSED: nobody waited longer than {units.milliseconds(outcome.record.max_wait_ms)}."
    return "FAILED: " + ";\n        ".join(outcome.faults) + "."


def _origin(outcome: Outcome) -> Iterator[str]:
    origin = outcome.record.origin
    machine = outcomes.machine()
    yield (
        f"Copy of {origin.source} on {origin.target}, made in {units.duration(origin.copy_seconds)}; "
        f"{machine['cores']} cores, {units.size(machine['memory_bytes'])} of memory."
    )


def _migrations(outcome: Outcome) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    table.add_column("migration, and its strongest lock on each table", overflow="fold")
    for heading in ("took", "predicted", "longest read", "longest write", "size"):
        table.add_column(heading, justify="right", no_wrap=True)
    for migration in outcome.migrations:
        run = migration.run
        name = Text(run.name if run.ended else f"{run.name} (not finished)")
        for lock in migration.locks:
            name.append(f"\n  {lock}", style="dim")
        table.add_row(
            name,
            units.duration(migration.seconds),
            plan_report.span(migration.predicted.seconds),
            *(
                _wait(outcomes.waits(migration.samples, kind=kind).longest_ms, outcome.record.max_wait_ms)
                for kind in (READ, WRITE)
            ),
            _growth(run.size_before_bytes, run.size_after_bytes),
        )
    return table


def _growth(before: int, after: int | None) -> str:
    change = None if after is None else after - before
    return f"{'+' if change and change > 0 else ''}{units.size(change)}"


def _wait(value: float | None, allowed_ms: float) -> Text:
    return Text(
        units.milliseconds(value), style="bold red" if value is not None and value > allowed_ms else ""
    )


def _waits(outcome: Outcome) -> Iterator[str]:
    for when, samples in (("before", outcome.before), ("during", outcome.during)):
        told = []
        for kind in (READ, WRITE):
            waits = outcomes.waits(samples, kind=kind)
            told.append(
                f"{waits.count:,} {kind}s, median {units.milliseconds(waits.median_ms)}, "
                f"99 % within {units.milliseconds(waits.p99_ms)}, longest {units.milliseconds(waits.longest_ms)}"
            )
        yield f"Waits {when}: {'; '.join(told)}."
    record = outcome.record
    held = sum(
        1 for began, ended in record.open_transactions if ended > record.began and began < record.ended
    )
    yield (
        f"The migrations took {units.duration(record.ended - record.began)}, while "
        f"{units.count(held, 'long transaction')} stayed open; the database was {units.size(record.size_before_bytes)} "
        f"before and {units.size(record.size_after_bytes)} after."
    )
