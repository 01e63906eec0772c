"""What is concluded from the record of a rehearsal: waits and locks of each migration, and the verdict."""

import os
import statistics
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from council.gateway.statements import READ, WRITE
from council.postgres import units
from council.rehearsal import lock_samples
from council.rehearsal.load import TimedStatement
from council.rehearsal.prediction import Predicted
from council.rehearsal.record import MigrationRun, Record


@dataclass(frozen=True)
class Waits:
    """How long statements waited from the time when they were due, in ms; None if there were none."""

    count: int
    median_ms: float | None
    p99_ms: float | None
    longest_ms: float | None


class LockComparison(NamedTuple):
    """The strongest lock on a table, in the words of PostgreSQL's manual; None: not predicted, or not observed."""

    table: str
    predicted: str | None
    observed: str | None

    def __str__(self) -> str:
        shown = f"{self.observed or self.predicted} on {self.table}"
        if self.observed is None:
            return f"{shown} (predicted, not seen)"
        return (
            f"{shown} (predicted: {self.predicted})" if self.predicted not in {None, self.observed} else shown
        )


class MigrationOutcome(NamedTuple):
    """One migration. Each statement counts for the migration during which it waited longest."""

    run: MigrationRun
    seconds: float
    predicted: Predicted
    locks: tuple[LockComparison, ...]
    samples: tuple[TimedStatement, ...]


@dataclass(frozen=True)
class Outcome:
    """The conclusions. `during` are the statements that were due or waiting while the migrations ran.

    `faults` are the reasons why the rehearsal failed; `notes` are what readers should know when they judge the figures.
    """

    record: Record
    before: tuple[TimedStatement, ...]
    during: tuple[TimedStatement, ...]
    migrations: tuple[MigrationOutcome, ...]
    faults: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def is_passed(self) -> bool:
        return not self.faults


def conclude(record: Record) -> Outcome:
    before = tuple(sample for sample in record.samples if sample.answered < record.began)
    during = tuple(
        sample for sample in record.samples if sample.answered >= record.began and sample.due <= record.ended
    )
    migrations = tuple(_migrations(record, during))
    return Outcome(
        record,
        before,
        during,
        migrations,
        faults=tuple(_faults(record, before, during, migrations)),
        notes=tuple(_notes(record, before)),
    )


def _end(record: Record, run: MigrationRun) -> float:
    return run.ended or record.ended


def _migrations(record: Record, during: Iterable[TimedStatement]) -> Iterator[MigrationOutcome]:
    moments = [held.moment for held in record.held]
    for run, samples in zip(record.runs, _by_run(record, during), strict=True):
        predicted = record.predicted.get(run.name, Predicted())
        ended = _end(record, run)
        held = record.held[bisect_left(moments, run.began) : bisect_right(moments, ended)]
        observed = lock_samples.strongest((each.table, each.mode) for each in held)
        expected = lock_samples.strongest(predicted.locks)
        # Every migration writes to django_migrations, so its lock is not interesting.
        tables = sorted({*observed, *expected} - {"django_migrations"})
        locks = tuple(LockComparison(table, expected.get(table), observed.get(table)) for table in tables)
        yield MigrationOutcome(run, ended - run.began, predicted, locks, tuple(samples))


def _by_run(record: Record, during: Iterable[TimedStatement]) -> list[list[TimedStatement]]:
    """Group statements by the migration during which each waited longest."""
    runs = record.runs
    found: list[list[TimedStatement]] = [[] for _ in runs]
    number = 0
    for sample in sorted(during, key=lambda sample: sample.due):
        while number < len(runs) - 1 and _end(record, runs[number]) < sample.due:
            number += 1
        best, share = None, 0.0
        for later in range(number, len(runs)):
            if runs[later].began > sample.answered:
                break
            overlap = min(_end(record, runs[later]), sample.answered) - max(runs[later].began, sample.due)
            if overlap > share:
                best, share = later, overlap
        if best is not None:
            found[best].append(sample)
    return found


def _faults(
    record: Record,
    before: Iterable[TimedStatement],
    during: Sequence[TimedStatement],
    migrations: Sequence[MigrationOutcome],
) -> Iterator[str]:
    if record.status:
        last = next((line.strip() for line in reversed(record.output) if line.strip()), "it printed nothing")
        yield f"migrate ended with the exit status {record.status}: {last}"
    for kind in (READ, WRITE):
        waits = [sample for sample in during if sample.kind == kind]
        longest = max(waits, key=lambda sample: sample.waited, default=None)
        if record.runs and longest is None:
            yield f"no {kind} was due while the migrations ran, so nothing was measured: raise --rate"
        if longest and longest.waited * 1000 > record.max_wait_ms:
            where = (migration.run.name for migration in migrations if longest in migration.samples)
            yield (
                f"a {kind} waited {longest.waited * 1000:,.0f} ms, but only {record.max_wait_ms:,.0f} ms are allowed"
                f" ({longest.statement}, in {next(where, 'none of the migrations')})"
            )
    # Statements that already failed before the migrations prove nothing.
    known = {sample.statement for sample in before if sample.error}
    failed = Counter(
        (sample.statement, sample.error)
        for sample in record.samples
        if sample.error and sample.answered >= record.began and sample.statement not in known
    )
    for (statement, error), count in failed.most_common(3):
        yield f"{statement!r} failed {units.count(count, 'time')}: {error}"


def _notes(record: Record, before: Iterable[TimedStatement]) -> Iterator[str]:
    longest = waits(before, kind=None).longest_ms
    if longest is not None and longest > record.max_wait_ms:
        yield f"a statement already waited {longest:,.0f} ms before the migrations: this machine is too busy to judge"
    source, ours = record.origin.source_version, int(record.origin.postgresql.split(".")[0])
    if source is not None and source != ours:
        yield f"the source is PostgreSQL {source}, the copy {ours}: times and locks may differ"
    for name in sorted({sample.statement for sample in before if sample.error}):
        yield f"{name!r} already failed before the migrations began, so it was ignored"
    for part in record.origin.left_out:
        yield f"not in the copy: {part}"


def waits(samples: Iterable[TimedStatement], *, kind: str | None) -> Waits:
    """Summarise the waits of one kind of statement, or of both if `kind` is None."""
    found = sorted(sample.waited * 1000 for sample in samples if kind in {None, sample.kind})
    if not found:
        return Waits(0, None, None, None)
    p99 = found[min(int(len(found) * 0.99), len(found) - 1)]
    return Waits(len(found), statistics.median(found), p99, found[-1])


def machine() -> dict[str, int]:
    return {
        "cores": os.cpu_count() or 1,
        "memory_bytes": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
    }
