"""The lease of a run: how long a run may be silent, and what then ends its process."""

import os
import threading
from collections.abc import Callable

import pytest

from council import jobs

pytestmark = pytest.mark.any_server


class Timer:
    """A timer that runs no time down, and notes what is done with it."""

    made: "list[Timer]"
    daemon = False

    def __init__(self, seconds: float, function: Callable[[], None]) -> None:
        self.seconds = seconds
        self.function = function
        self.state = "made"
        self.made.append(self)

    def start(self) -> None:
        self.state = "counts a daemon" if self.daemon else "counts"

    def cancel(self) -> None:
        self.state = "cancelled"


@pytest.fixture
def timers(monkeypatch: pytest.MonkeyPatch) -> list[Timer]:
    monkeypatch.setattr(Timer, "made", [], raising=False)
    monkeypatch.setattr(threading, "Timer", Timer)
    return Timer.made


def made(act: Callable[[jobs.Run], jobs.Counts]) -> jobs.Job:
    return jobs.Job("made", jobs.Every(minutes=60), act, lambda: True)


def test_a_run_that_ends_its_process_has_ten_minutes_from_each_report(
    db: None, timers: list[Timer], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    ended: list[int] = []
    monkeypatch.setattr(os, "_exit", ended.append)

    def reporting(run: jobs.Run) -> jobs.Counts:
        assert [timer.state for timer in timers] == ["counts a daemon"]
        run.report()
        assert [timer.state for timer in timers] == ["cancelled", "counts a daemon"]
        return {}

    run = jobs.run(made(reporting), ends_process=True)
    assert run is not None
    assert run.outcome == "DONE", run.error
    assert [timer.state for timer in timers] == ["cancelled", "cancelled"]
    assert [timer.seconds for timer in timers] == [600, 600]
    timers[-1].function()
    assert ended == [70]
    assert "made has not reported for 10 minutes" in caplog.text


@pytest.mark.parametrize("run", [jobs.run, jobs.run_if_due])
def test_a_run_beside_others_ends_no_process(
    run: Callable[[jobs.Job], object], db: None, timers: list[Timer]
) -> None:
    assert run(made(lambda run: {}))
    assert not timers


def test_a_run_that_is_due_may_end_its_process_too(db: None, timers: list[Timer]) -> None:
    assert jobs.run_if_due(made(lambda run: {}), ends_process=True)
    assert [timer.state for timer in timers] == ["cancelled"]


def test_a_run_is_recorded_with_its_notes(db: None) -> None:
    def noting(run: jobs.Run) -> jobs.Counts:
        run.note(["One was left out."])
        run.note(["So was another."])
        return {}

    run = jobs.run(made(noting))
    assert run is not None
    assert run.notes == ["One was left out.", "So was another."]
