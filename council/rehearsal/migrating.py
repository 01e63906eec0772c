"""`manage.py migrate` on a copy, as a separate process, as in production, and timed from outside."""

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
    """A line of migrate's output. `words` is the name of the migration that began or ended, or any other text."""

    moment: float
    kind: Kind
    words: str


class Migrate:
    """A running migrate. When it ends, so does `events`, and `status` is set."""

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
            start_new_session=True,  # so Ctrl-C reaches only the rehearsal
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
        """Stop the process, by force if necessary, and wait."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            if self.process.poll() is None:
                self.process.send_signal(number)
                with suppress(subprocess.TimeoutExpired):
                    self.process.wait(END_SECONDS)
        self._reader.join(END_SECONDS)


@contextmanager
def migrate(url: str, *arguments: str) -> Iterator[Migrate]:
    """Run a migrate during a block, to the newest migration or to a target, and stop it when the block ends."""
    running = Migrate(url, *arguments)
    try:
        yield running
    finally:
        with undisturbed():
            running.end()


def environment(url: str) -> Mapping[str, str]:
    """Return the environment for a process of the project that works on the copy."""
    named = url + ("&" if "?" in url else "?") + urlencode({"application_name": APPLICATION})
    keep = {"SECRET_KEY": os.environ.get("SECRET_KEY") or "for a rehearsal only"}
    return {**os.environ, "DATABASE_URL": named, "DIRECT_URL": named, **keep}
