"""`manage.py migrate` on a copy, as a process of its own: as it will be run, and timed from outside."""

import os
import queue
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlencode

from council.zero_downtime.interruption import undisturbed

PROJECT = Path(__file__).resolve().parents[2]
APPLICATION = "rehearsed migrate"
END_SECONDS = 3.0

Kind = str
BEGAN, ENDED, SAID = "began", "ended", "said"
LINES = ((r"  (?:Applying|Reversing) (\S+)", BEGAN), (r"  (?:Applied|Reversed) (\S+) in ", ENDED))


class Event(NamedTuple):
    """A line of a migrate's: a migration began or ended, by its name, or something else was said."""

    moment: float
    kind: Kind
    words: str


class Migrate:
    """A migrate that runs. `events` ends with it; `status` is set then."""

    def __init__(self, url: str, *arguments: str) -> None:
        self.status: int | None = None
        self.output: list[str] = []
        self._lines: queue.SimpleQueue[tuple[float, str] | None] = queue.SimpleQueue()
        self.process = subprocess.Popen(  # noqa: S603
            [
                sys.executable,
                "-u",
                "manage.py",
                "migrate",
                "--no-input",
                "--no-color",
                "--accept-risks",
                *arguments,
            ],
            cwd=PROJECT,
            env=environment(url),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,  # Ctrl-C is for who runs the rehearsal
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout
        with suppress(ValueError), self.process.stdout as lines:
            for line in lines:
                self._lines.put((time.monotonic(), line.rstrip("\n")))
        self._lines.put(None)

    def events(self) -> Iterator[Event]:
        while (found := self._lines.get()) is not None:
            moment, line = found
            self.output.append(line)
            yield next(
                (
                    Event(moment, kind, match[1])
                    for pattern, kind in LINES
                    if (match := re.match(pattern, line))
                ),
                Event(moment, SAID, line.strip()),
            )
        self.status = self.process.wait()

    def end(self) -> None:
        """Stop it, if need be by force, and wait."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            if self.process.poll() is None:
                self.process.send_signal(number)
                with suppress(subprocess.TimeoutExpired):
                    self.process.wait(END_SECONDS)
        self._reader.join(END_SECONDS)


@contextmanager
def migrate(url: str, *arguments: str) -> Iterator[Migrate]:
    """Run a migrate during a block, to the newest or to a target, and have it ended whatever becomes of the block."""
    running = Migrate(url, *arguments)
    try:
        yield running
    finally:
        with undisturbed():
            running.end()


def environment(url: str) -> Mapping[str, str]:
    """The environment of a process of the project's that works on the copy."""
    named = url + ("&" if "?" in url else "?") + urlencode({"application_name": APPLICATION})
    keep = {"SECRET_KEY": os.environ.get("SECRET_KEY") or "for a rehearsal only"}
    return {**os.environ, "DATABASE_URL": named, "DIRECT_URL": named, **keep}
