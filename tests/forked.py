"""Processes of manage.py that are forked from one that has imported the project, because importing takes a second.

Each process is as real as any other: it has its own environment, output, signals and status, and reads the settings
again. But modules keep what they decided from the settings when they were imported. So the process that is forked was
started in the same environment, except for the database's address.
"""

import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections import OrderedDict
from pathlib import Path
from tempfile import TemporaryFile

ROOT = Path(__file__).resolve().parent.parent
ADDRESSES = {"DATABASE_URL", "DIRECT_URL"}
KEPT = 3
START = f"import runpy; runpy.run_path({str(ROOT / 'tests' / 'forking.py')!r}, run_name='__main__')"


class Process:
    """A running command, with the part of `subprocess.Popen` that tests use."""

    def __init__(self, answers: socket.socket) -> None:
        """Raises EOFError if there is no process to fork."""
        self.answers = answers
        if not (pid := answers.recv(100)):
            raise EOFError
        self.pid = int(pid)
        self.returncode: int | None = None

    def poll(self) -> int | None:
        if self.returncode is None and select.select([self.answers], [], [], 0)[0]:
            return self.wait()
        return self.returncode

    def wait(self, seconds: float | None = None) -> int:
        if self.returncode is None:
            if not select.select([self.answers], [], [], seconds)[0]:
                raise subprocess.TimeoutExpired(f"process {self.pid}", seconds or 0)
            self.returncode = int(self.answers.recv(100))
            self.answers.close()
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class Imported:
    """A process that has imported the project in a folder, and is forked for each command."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder = folder
        self.state = _state(folder)
        self.commands, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-c", START, str(theirs.fileno())],
                cwd=folder,
                env={"SECRET_KEY": "for tests only", **environment, "DATABASE_URL": "postgresql:///none"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
            )

    @property
    def is_as_the_files(self) -> bool:
        """Whether no imported file has changed since. New files, such as migrations, are imported by each command."""
        return self.state.items() <= _state(self.folder).items()

    def start(
        self, arguments: tuple[str, ...], environment: dict[str, str], *, output: int, errors: int
    ) -> Process:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            with theirs:
                command = json.dumps([arguments, environment]).encode()
                socket.send_fds(self.commands, [command], [theirs.fileno(), output, errors])
            return Process(ours)
        except (EOFError, OSError):
            ours.close()
            raise

    def stop(self) -> None:
        self.commands.close()
        self.process.wait()


def _state(folder: Path) -> dict[str, int]:
    return {
        str(file): file.stat().st_mtime_ns
        for app in folder.glob("*/apps.py")
        for file in app.parent.rglob("*.py")
    }


_imported: OrderedDict[object, Imported] = OrderedDict()
_one_at_a_time = threading.Lock()


def start(
    arguments: tuple[str, ...], environment: dict[str, str], *, output: int, errors: int, folder: Path = ROOT
) -> "Process | subprocess.Popen[bytes]":
    """Start manage.py. `output` and `errors` are file descriptors."""
    same = {
        name: value
        for name, value in environment.items()
        if name not in ADDRESSES and not name.startswith("PYTEST_")
    }
    key = (folder, *sorted(same.items()))
    with _one_at_a_time:
        if key in _imported and not _imported[key].is_as_the_files:
            _imported.pop(key).stop()
        if key not in _imported:
            _imported[key] = Imported(folder, same)
            if len(_imported) > KEPT:
                _imported.popitem(last=False)[1].stop()
        _imported.move_to_end(key)
        try:
            return _imported[key].start(arguments, environment, output=output, errors=errors)
        except (EOFError, OSError):  # importing failed, for example because settings are refused
            _imported.pop(key).stop()
    return subprocess.Popen(
        [sys.executable, "manage.py", *arguments],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=errors,
        start_new_session=True,
    )


def manage(
    arguments: tuple[str, ...], environment: dict[str, str], *, folder: Path = ROOT
) -> subprocess.CompletedProcess[str]:
    """Run manage.py to its end."""
    with TemporaryFile("w+") as output, TemporaryFile("w+") as errors:
        process = start(arguments, environment, output=output.fileno(), errors=errors.fileno(), folder=folder)
        status = process.wait()
        for file in (output, errors):
            file.seek(0)
        return subprocess.CompletedProcess(["manage.py", *arguments], status, output.read(), errors.read())
