"""Ctrl-C, and what else asks a process to end: SIGTERM from whoever runs the deploy, SIGHUP from a lost terminal."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]


class Interruption(KeyboardInterrupt):
    """Another signal that asks as Ctrl-C does."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


def exit_status(error: KeyboardInterrupt) -> int:
    """Give the exit status that a shell would, had the signal ended the process."""
    return 128 + (error.number if isinstance(error, Interruption) else signal.SIGINT)


@contextmanager
def interruptible() -> Iterator[None]:
    """Have those signals interrupt a block as Ctrl-C does. One that is ignored, as under nohup, stays so.

    Python knows signals in the main thread only; elsewhere nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}
    ours = [number for number, handler in before.items() if handler is signal.SIG_DFL]
    for number in ours:
        signal.signal(number, _interrupt)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, before[number])


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise Interruption(number)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Have a block that clears up run to its end, however often it is interrupted."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, *SIGNALS)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
