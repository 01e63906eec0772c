"""Handles Ctrl-C, and the other signals that end a process: SIGTERM from a deploy, SIGHUP from a lost terminal."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]


class Interruption(KeyboardInterrupt):
    """A signal that is handled like Ctrl-C."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


def exit_status(error: KeyboardInterrupt) -> int:
    """Return the exit status that a shell shows for a process ended by the signal."""
    return 128 + (error.number if isinstance(error, Interruption) else signal.SIGINT)


@contextmanager
def interruptible() -> Iterator[None]:
    """Make these signals interrupt a block as Ctrl-C does. Signals ignored before, as under nohup, stay ignored.

    Python handles signals only in the main thread; in others, this does nothing.
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
    """Ignore these signals in a block that cleans up, so that it runs to its end."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, *SIGNALS)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
