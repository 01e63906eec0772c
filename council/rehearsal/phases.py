"""The progress of a rehearsal: a bar for each phase, or lines if there is no terminal."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from council.postgres import units

LINE_SECONDS = 10.0


class Phases:
    """A writer of progress to a terminal, to a log, or to nowhere (verbosity 0)."""

    def __init__(self, stream: TextIO, *, verbosity: int = 1) -> None:
        self.console = Console(
            file=stream, soft_wrap=True, highlight=False, markup=False, quiet=verbosity == 0
        )

    def line(self, text: str) -> None:
        self.console.print(f"  {text}")

    @contextmanager
    def phase(self, what: str) -> Iterator[Callable[[float], None]]:
        """Show the progress of a block. Yield a function that takes it as a number from 0 to 1, from any thread."""
        began = reported = time.monotonic()
        columns = (
            TextColumn("  {task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %"),
            TimeElapsedColumn(),
        )
        with Progress(
            *columns, console=self.console, transient=True, disable=not self.console.is_terminal
        ) as bar:
            task = bar.add_task(what, total=1.0)

            def advanced(share: float) -> None:
                nonlocal reported
                bar.update(task, completed=min(share, 1.0))
                if not self.console.is_terminal and time.monotonic() - reported > LINE_SECONDS:
                    reported = time.monotonic()
                    self.line(f"{what}: {share:.0%}")

            if not self.console.is_terminal:
                self.line(what)
            yield advanced
        self.line(f"{what}: {units.duration(time.monotonic() - began)}")
