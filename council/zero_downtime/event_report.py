"""Prints the events of a migrate: as lines, and an index build as a progress bar."""

import time
from typing import Any, TextIO

from council.postgres import units
from council.zero_downtime import events
from council.zero_downtime.events import Event, IndexBuilding

LINE_SECONDS = 5.0


class Report:
    """A listener that writes to a terminal, a log, or nowhere (verbosity 0). Two threads use it."""

    def __init__(self, stream: TextIO, *, verbosity: int) -> None:
        self.verbosity = verbosity
        self.stream = stream
        self.progress: Any = None  # rich's Progress, while a bar is shown
        self.build_began = self.build_reported = 0.0
        self.building: str | None = None

    def __call__(self, event: Event) -> None:
        if self.verbosity == 0:
            return
        match event:
            case events.MigrationBegan():
                self._line(f"  {'Reversing' if event.is_reversal else 'Applying'} {event.migration}")
            case events.MigrationEnded():
                what = "Reversed" if event.is_reversal else "Applied"
                self._line(f"  {what} {event.migration} in {units.duration(event.seconds)}")
            case events.OtherMigrateAwaited():
                waited = units.duration(event.seconds)
                self._line(f"Waiting for another migrate, {waited} so far: {event.holder}")
            case events.Blocked():
                behind = f"; {event.queued} waiting behind this migrate" if event.queued else ""
                for blocker in event.blockers:
                    self._line(f"    waiting, {units.duration(event.seconds)} so far{behind}: {blocker}")
            case events.IndexBuilding():
                self._build(event)
            case events.IndexBuildEnded():
                self._end_bar()
            case events.RowLevelSecurityEnabled() if self.verbosity >= 2:
                self._line(f"  Enabled row level security on {event.table}.")
            case events.Noted():
                self._line(f"    {event.text}")

    def _line(self, text: str) -> None:
        if self.progress:
            self.progress.console.print(text)
        else:
            self.stream.write(f"{text}\n")
            self.stream.flush()

    def _build(self, build: IndexBuilding) -> None:
        now = time.monotonic()
        if build.index != self.building:
            self._end_bar()
            self.building = build.index
            self.build_began = self.build_reported = now
        percent = 100 * build.done / build.total if build.total else 0.0
        if self.stream.isatty():
            self._draw_bar(build, percent)
        elif now - self.build_reported >= LINE_SECONDS:
            self.build_reported = now
            amount = f"{build.done:,} of {build.total:,} ({percent:.0f} %)" if build.total else "not counted"
            waits = f", waits for pid {build.waits_for_pid}" if build.waits_for_pid else ""
            self._line(
                f"    {build.index}: {build.phase}, {amount}, {units.duration(now - self.build_began)}{waits}"
            )

    def _draw_bar(self, build: IndexBuilding, percent: float) -> None:
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
        self.progress.update(task, description=description, completed=percent)

    def _end_bar(self) -> None:
        self.building = None
        if self.progress:
            self.progress.stop()
            self.progress = None
