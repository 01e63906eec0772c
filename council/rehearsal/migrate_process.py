"""`manage.py migrate` on a copy, as a separate process, as in production, and timed from outside."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple, TextIO
from urllib.parse import urlencode

from council.zero_downtime.events import MigrationBegan, MigrationEnded
from council.zero_downtime.interruption import undisturbed

PROJECT = Path(__file__).resolve().parents[2]
APPLICATION = "rehearsed migrate"
END_SECONDS = 3.0
BEGAN, ENDED = MigrationBegan.__name__, MigrationEnded.__name__


class MigrationEvent(NamedTuple):
    """A migration began or ended, at a time of the monotonic clock."""

    moment: float
    kind: str
    migration: str


class Migrate:
    """A running migrate. When it ends, so does `events`, and `status` is set. `output` is what it printed."""

    def __init__(self, url: str, *arguments: str) -> None:
        self.status: int | None = None
        self.output: list[str] = []
        told, telling = os.pipe()
        self._told = os.fdopen(told)
        command = [sys.executable, "-u", "manage.py", "migrate", "--no-input", "--no-color", "--accept-risks"]
        with os.fdopen(telling, "w"):
            self.process = subprocess.Popen(  # noqa: S603
                [*command, f"--events-to={telling}", *arguments],
                cwd=PROJECT,
                env=environment(url),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=[telling],
                text=True,
                start_new_session=True,  # so Ctrl-C reaches only the rehearsal
            )
        assert self.process.stdout
        self._reader = threading.Thread(target=self._read, args=[self.process.stdout], daemon=True)
        self._reader.start()

    def _read(self, lines: TextIO) -> None:
        with suppress(ValueError), lines:
            self.output.extend(line.rstrip("\n") for line in lines)

    def events(self) -> Iterator[MigrationEvent]:
        for line in self._told:
            found = json.loads(line)
            if found["event"] in {BEGAN, ENDED}:
                yield MigrationEvent(found["at"], found["event"], found["migration"])
        self.status = self.process.wait()
        self._reader.join()

    def end(self) -> None:
        """Stop the process, by force if necessary, and wait."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            if self.process.poll() is None:
                self.process.send_signal(number)
                with suppress(subprocess.TimeoutExpired):
                    self.process.wait(END_SECONDS)
        self._told.close()
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
