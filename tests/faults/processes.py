"""Processes that may be killed. They are forked, because importing Django takes longer than a migrate."""

import json
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

# A migrate takes a second. On a very busy machine, it has taken a minute.
HUNG_SECONDS = 600


def fork(act: Callable[[], object], *, seconds: int = HUNG_SECONDS) -> int:
    """Start a process that calls a function, and return its id. SIGALRM ends it if it hangs."""
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            signal.alarm(seconds)
            act()
            status = 0
        except BaseException as error:  # the child must not continue in the parent's code
            print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        finally:
            os._exit(status)
    return pid


def status_of(pid: int) -> int:
    """Wait for a process and return its exit status, which is negative if a signal ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def end(pid: int) -> None:
    """Kill a process, which may have ended already."""
    with suppress(ProcessLookupError, ChildProcessError):
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def stop() -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


class Reporter:
    """A process that calls a function and reports its result."""

    def __init__(self, act: Callable[[], object], *, seconds: int = HUNG_SECONDS) -> None:
        self.reading, writing = os.pipe()

        def report() -> None:
            with os.fdopen(writing, "w") as pipe:
                json.dump(act(), pipe)

        self.pid = fork(report, seconds=seconds)
        os.close(writing)

    def report(self) -> Any:
        """Wait for the end, and return the result, or None if the function failed or was killed."""
        with os.fdopen(self.reading) as pipe:
            text = pipe.read()
        return json.loads(text) if status_of(self.pid) == 0 else None
