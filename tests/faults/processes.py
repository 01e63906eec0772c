"""Processes that may be killed. Forked, since importing Django takes longer than a migrate."""

import json
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

# A migrate takes a second; on a machine that is busy with others, it has taken a minute.
HUNG_SECONDS = 600


def fork(act: Callable[[], object], *, seconds: int = HUNG_SECONDS) -> int:
    """Start a process that does an act, and give its id. SIGALRM ends one that hangs."""
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            signal.alarm(seconds)
            act()
            status = 0
        except BaseException as error:  # nothing of the child may run on in the parent's frames
            print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        finally:
            os._exit(status)
    return pid


def status_of(pid: int) -> int:
    """Wait for a process and give its exit status, negative for the signal that ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def end(pid: int) -> None:
    """Kill a process that may have ended."""
    with suppress(ProcessLookupError, ChildProcessError):
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def stop() -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


class Reporter:
    """A process that does an act and reports what that returns."""

    def __init__(self, act: Callable[[], object], *, seconds: int = HUNG_SECONDS) -> None:
        self.reading, writing = os.pipe()

        def report() -> None:
            with os.fdopen(writing, "w") as pipe:
                json.dump(act(), pipe)

        self.pid = fork(report, seconds=seconds)
        os.close(writing)

    def report(self) -> Any:
        """Wait for the end, and give what was returned; None if the act failed or was killed."""
        with os.fdopen(self.reading) as pipe:
            text = pipe.read()
        return json.loads(text) if status_of(self.pid) == 0 else None
