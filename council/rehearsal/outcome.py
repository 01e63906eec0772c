"""The results of a rehearsal: waits, locks, sizes and the verdict."""

import os
import statistics
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property

from council.rehearsal import observation
from council.rehearsal.load import Load, Sample
from council.rehearsal.observation import Held
from council.rehearsal.prediction import Predicted
from council.rehearsal.statements import READ, WRITE


@dataclass(frozen=True)
class Waits:
    """How long statements waited from the time when they were due, in ms; None if there were none."""

    count: int
    median_ms: float | None
    p99_ms: float | None
    longest_ms: float | None


@dataclass(frozen=True)
class Lock:
    """The strongest lock on a table, in the words of PostgreSQL's manual; None: not predicted, or not observed."""

    table: str
    predicted: str | None
    observed: str | None


@dataclass
class Step:
    """The run of one migration. Times are from the monotonic clock."""

    name: str
    began: float
    size_before_bytes: int
    ended: float | None = None
    size_after_bytes: int | None = None


@dataclass(frozen=True)
class Origin:
    """What was copied, where to, and what was left out."""

    source: str
    target: str
    postgresql: str
    left_out: list[str]
    source_version: int | None = None
    copy_seconds: float = 0.0


@dataclass
class Outcome:
    """Everything that was recorded. Times are from the monotonic clock."""

    origin: Origin
    load: Load
    max_wait_ms: float
    predicted: dict[str, Predicted]
    samples: list[Sample] = field(default_factory=list)
    open_transactions: list[tuple[float, float]] = field(default_factory=list)
    held: list[Held] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    began: float = 0.0  # of the migrate command, including its startup
    ended: float = 0.0
    status: int = 0
    output: list[str] = field(default_factory=list)
    size_before_bytes: int = 0
    size_after_bytes: int = 0

    @cached_property
    def before(self) -> list[Sample]:
        return [sample for sample in self.samples if sample.answered < self.began]

    @cached_property
    def during(self) -> list[Sample]:
        """The statements that were due or waiting while the migrations ran."""
        return [
            sample for sample in self.samples if sample.answered >= self.began and sample.due <= self.ended
        ]

    @cached_property
    def by_step(self) -> dict[int, list[Sample]]:
        """Group the same statements by migration: each counts for the one during which it waited longest."""
        found: dict[int, list[Sample]] = {number: [] for number in range(len(self.steps))}
        number = 0
        for sample in sorted(self.during, key=lambda sample: sample.due):
            while number < len(self.steps) - 1 and self._end(number) < sample.due:
                number += 1
            best, share = None, 0.0
            for later in range(number, len(self.steps)):
                if self.steps[later].began > sample.answered:
                    break
                overlap = min(self._end(later), sample.answered) - max(self.steps[later].began, sample.due)
                if overlap > share:
                    best, share = later, overlap
            if best is not None:
                found[best].append(sample)
        return found

    def _end(self, number: int) -> float:
        return self.steps[number].ended or self.ended

    def seconds(self, number: int) -> float:
        return self._end(number) - self.steps[number].began

    @cached_property
    def _moments(self) -> list[float]:
        return [held.moment for held in self.held]

    def locks(self, number: int) -> list[Lock]:
        """List the predicted and the observed lock of a migration on each table."""
        step = self.steps[number]
        first = bisect_left(self._moments, step.began)
        last = bisect_right(self._moments, self._end(number))
        seen = observation.strongest((held.table, held.mode) for held in self.held[first:last])
        known = self.predicted.get(step.name)
        predicted = observation.strongest(known.locks if known else [])
        # Every migration writes to django_migrations, so its lock is not interesting.
        tables = sorted({*seen, *predicted} - {"django_migrations"})
        return [Lock(table, predicted.get(table), seen.get(table)) for table in tables]

    @cached_property
    def failed_statements(self) -> Counter[tuple[str, str]]:
        """Count new failures since the migrations began, by statement and error. Skips those that failed before."""
        known = {sample.statement for sample in self.before if sample.error}
        return Counter(
            (sample.statement, sample.error)
            for sample in self.samples
            if sample.error and sample.answered >= self.began and sample.statement not in known
        )

    @cached_property
    def faults(self) -> list[str]:
        """List the reasons why the rehearsal failed; empty if it passed."""
        found = []
        if self.status:
            last = next(
                (line.strip() for line in reversed(self.output) if line.strip()), "it printed nothing"
            )
            found.append(f"migrate ended with the exit status {self.status}: {last}")
        for kind in (READ, WRITE):
            waits = [sample for sample in self.during if sample.kind == kind]
            longest = max(waits, key=lambda sample: sample.waited, default=None)
            if self.steps and longest is None:
                found.append(
                    f"no {kind} was due while the migrations ran, so nothing is proven: raise --rate"
                )
            if longest and longest.waited * 1000 > self.max_wait_ms:
                found.append(
                    f"a {kind} waited {longest.waited * 1000:,.0f} ms, {self.max_wait_ms:,.0f} ms are allowed"
                    f" ({longest.statement}, in {self._where(longest)})"
                )
        for (statement, error), count in self.failed_statements.most_common(3):
            found.append(f"{statement!r} failed {count:,} time{'' if count == 1 else 's'}: {error}")
        return found

    def _where(self, sample: Sample) -> str:
        found = (number for number, samples in self.by_step.items() if sample in samples)
        number = next(found, None)
        return self.steps[number].name if number is not None else "none of the migrations"

    @property
    def is_passed(self) -> bool:
        return not self.faults

    @cached_property
    def notes(self) -> list[str]:
        """List what readers should know when they judge the figures."""
        found = []
        longest = waits(self.before, kind=None).longest_ms
        if longest is not None and longest > self.max_wait_ms:
            found.append(
                f"before the migrations a statement waited {longest:,.0f} ms already: this machine is too busy to judge"
            )
        source, ours = self.origin.source_version, int(self.origin.postgresql.split(".")[0])
        if source is not None and source != ours:
            found.append(f"the source is PostgreSQL {source}, the copy {ours}: times and locks may differ")
        failing = {sample.statement for sample in self.before if sample.error}
        found += [
            f"{name!r} failed before the migrations began, and was not judged" for name in sorted(failing)
        ]
        found += [f"not in the copy: {words}" for words in self.origin.left_out]
        return found


def waits(samples: Iterable[Sample], *, kind: str | None) -> Waits:
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
