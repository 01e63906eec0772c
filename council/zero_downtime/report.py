"""Progress output while migrations run: lines, and a progress bar for an index build."""

import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TextIO

from council.zero_downtime.blockers import Blocker, duration

LINE_SECONDS = 5.0


@dataclass(frozen=True)
class Build:
    """The progress of an index build, from pg_stat_progress_create_index."""

    index: str
    phase: str
    done: int
    total: int  # blocks, tuples or transactions, depending on the phase; 0: no count
    waits_for_pid: int | None

    @property
    def percent(self) -> float:
        return 100 * self.done / self.total if self.total else 0.0


class Report:
    """Writes to a terminal, a log, or nowhere (verbosity 0). The main thread and the observer's thread use it."""

    def __init__(self, stream: TextIO, *, verbosity: int) -> None:
        self.is_silent = verbosity == 0
        self.stream = stream
        self.progress: Any = None  # rich's, while a bar is drawn
        self.build_began = self.build_reported = 0.0
        self.building: str | None = None
        self.waiting_reported = 0.0

    def line(self, text: str) -> None:
        if self.is_silent:
            return
        if self.progress:
            self.progress.console.print(text)
        else:
            self.stream.write(f"{text}\n")
            self.stream.flush()

    def waiting(self, blockers: Iterable[Blocker], *, seconds: float, queued: int | None = None) -> None:
        """Report the blocking transactions, at intervals."""
        now = time.monotonic()
        if now - self.waiting_reported < LINE_SECONDS:
            return
        self.waiting_reported = now
        behind = f"; {queued} waiting behind this migrate" if queued else ""
        for blocker in blockers:
            self.line(f"    waiting, {duration(seconds)} so far{behind}: {blocker}")

    def build(self, build: Build | None) -> None:
        """Show the progress of an index build. None: no build is running."""
        if self.is_silent:
            return
        now = time.monotonic()
        if build is None or build.index != self.building:
            self._end_bar()
            self.building = build.index if build else None
            self.build_began = self.build_reported = now
        if build is None:
            return
        if self.stream.isatty():
            self._draw_bar(build)
        elif now - self.build_reported >= LINE_SECONDS:
            self.build_reported = now
            amount = (
                f"{build.done:,} of {build.total:,} ({build.percent:.0f} %)" if build.total else "no count"
            )
            waits = f", waits for pid {build.waits_for_pid}" if build.waits_for_pid else ""
            self.line(
                f"    {build.index}: {build.phase}, {amount}, {duration(now - self.build_began)}{waits}"
            )

    def _draw_bar(self, build: Build) -> None:
        from rich.console import Console  # noqa: PLC0415  # rich is large, and most runs draw no bar
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn  # noqa: PLC0415

        waits = f" (waits for pid {build.waits_for_pid})" if build.waits_for_pid else ""
        description = f"    {build.index}: {build.phase}{waits}"
        if self.progress is None:
            columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"))
            console = Console(file=self.stream, soft_wrap=True, highlight=False, markup=False)
            self.progress = Progress(*columns, TimeElapsedColumn(), console=console, transient=True)
            self.progress.add_task(description, total=100)
            self.progress.start()
        task = self.progress.task_ids[0]
        self.progress.update(task, description=description, completed=build.percent)

    def _end_bar(self) -> None:
        if self.progress:
            self.progress.stop()
            self.progress = None


def silent() -> Report:
    return Report(sys.stdout, verbosity=0)
