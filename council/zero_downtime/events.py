"""What happens while migrations run, as events. The report prints them; `migrate --events-to` writes them as JSON."""

import json
import os
import threading
import time
from argparse import ArgumentTypeError
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass

from council.zero_downtime.blockers import Blocker


@dataclass(frozen=True)
class Event:
    """Something that happened. Its class says what."""


Listener = Callable[[Event], object]


@dataclass(frozen=True)
class MigrationBegan(Event):
    migration: str
    is_reversal: bool


@dataclass(frozen=True)
class MigrationEnded(Event):
    migration: str
    is_reversal: bool
    seconds: float


@dataclass(frozen=True)
class OtherMigrateAwaited(Event):
    """Another migrate is running. `holder` describes its session."""

    holder: str
    seconds: float


@dataclass(frozen=True)
class Blocked(Event):
    """Transactions block this migrate. `queued` sessions wait behind it; None: it is not in the lock queue."""

    blockers: list[Blocker]
    seconds: float
    queued: int | None


@dataclass(frozen=True)
class IndexBuilding(Event):
    """The progress of an index build, from pg_stat_progress_create_index."""

    index: str
    phase: str
    done: int
    total: int  # blocks, tuples or transactions, depending on the phase; 0: no count
    waits_for_pid: int | None


@dataclass(frozen=True)
class IndexBuildEnded(Event):
    """The index build that was reported last has ended, or was abandoned."""


@dataclass(frozen=True)
class RowLevelSecurityEnabled(Event):
    table: str


@dataclass(frozen=True)
class Noted(Event):
    """A message for the operator."""

    text: str


def to_all(*listeners: Listener | None) -> Listener:
    """Return a listener that passes each event on to several. None: no listener."""
    present = [listener for listener in listeners if listener]

    def tell(event: Event) -> None:
        for listener in present:
            listener(event)

    return tell


class JsonWriter:
    """A listener that writes each event as a line of JSON to an open file descriptor, until nobody reads it any more.

    `at` is in seconds by the monotonic clock, which all processes of a machine share. The reader must keep reading: as
    with standard output, migrate waits while a pipe is full. Two threads may write.
    """

    def __init__(self, descriptor: str) -> None:
        try:
            self.descriptor = int(descriptor)
            os.fstat(self.descriptor)
        except (ValueError, OSError):
            raise ArgumentTypeError(f"{descriptor!r} is not the number of an open file descriptor.") from None
        self._writing = threading.Lock()

    def __call__(self, event: Event) -> None:
        line = json.dumps({"event": type(event).__name__, "at": time.monotonic(), **asdict(event)})
        with self._writing, suppress(BrokenPipeError):
            os.write(self.descriptor, f"{line}\n".encode())
