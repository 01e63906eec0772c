"""Ctrl-C and similar signals at different times give a message and leave nothing behind."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from council.rehearsal import target
from tests import forked
from tests.council.rehearsal.rehearsing import THINGS, environment, nothing_left, processes
from tests.databases import Database

pytestmark = pytest.mark.any_server

DEADLINE_SECONDS = 120


class Rehearsal:
    """A running rehearsal, and its output so far."""

    def __init__(self, *arguments: str | Path, log: Path) -> None:
        self.log = log
        with log.open("w") as output:
            self.process = forked.start(
                ("rehearse", *map(str, arguments)),
                environment(),
                output=output.fileno(),
                errors=output.fileno(),
            )

    @property
    def said(self) -> str:
        return self.log.read_text()

    def wait_for(self, words: str) -> None:
        deadline = time.monotonic() + DEADLINE_SECONDS
        while words not in self.said:
            assert self.process.poll() is None, self.said
            assert time.monotonic() < deadline, self.said
            time.sleep(0.01)

    def interrupt(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        return self.process.wait(DEADLINE_SECONDS)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Rehearsal]]:
    running: list[Rehearsal] = []

    def start(*arguments: str | Path) -> Rehearsal:
        running.append(Rehearsal(*arguments, log=tmp_path / "log"))
        return running[-1]

    yield start
    for rehearsal in running:
        rehearsal.process.kill()
        rehearsal.process.wait()


def break_off(rehearsal: Rehearsal, words: str, number: signal.Signals) -> None:
    """Stop a rehearsal some time after it has printed a text, and check its last message."""
    rehearsal.wait_for(words)
    time.sleep(0.3)

    assert rehearsal.interrupt(number) == 128 + number

    name = "Ctrl-C" if number == signal.SIGINT else number.name
    assert f"{name}: the rehearsal was interrupted, and its copy was removed." in rehearsal.said
    assert "Traceback" not in rehearsal.said


@pytest.mark.parametrize(
    ("words", "members", "number"),
    [("Building the schema", "1000", signal.SIGINT), ("Generating ", "1000000", signal.SIGTERM)],
    ids=["schema", "rows"],
)
def test_an_interrupted_rehearsal_of_made_up_members_leaves_nothing(
    start: Callable[..., Rehearsal], folder: Path, words: str, members: str, number: signal.Signals
) -> None:
    with nothing_left(folder):
        break_off(start("--members", members, "--folder", folder), words, number)


@pytest.mark.parametrize(
    ("words", "number"),
    [("Gateway load, before the migrations", signal.SIGHUP), ("Applying ", signal.SIGINT)],
    ids=["load", "migrations"],
)
def test_an_interrupted_rehearsal_on_a_private_server_leaves_nothing(
    start: Callable[..., Rehearsal], late: Database, folder: Path, words: str, number: signal.Signals
) -> None:
    with nothing_left(folder):
        break_off(start("--from-url", late.url, "--folder", folder, "--before", "1s"), words, number)


def test_an_interruption_while_the_server_is_created_leaves_nothing(
    start: Callable[..., Rehearsal], folder: Path
) -> None:
    """The operator presses Ctrl-C three times."""
    with nothing_left(folder):
        rehearsal = start("--members", "1000", "--folder", folder)
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not list(folder.glob(f"{target.PREFIX}*/postgres/*/data*")):
            assert time.monotonic() < deadline
            time.sleep(0.005)
        for _ in range(2):
            rehearsal.process.send_signal(signal.SIGINT)
            time.sleep(0.1)

        # The signal's own status, if Python was ending already.
        assert rehearsal.interrupt(signal.SIGINT) in {130, -signal.SIGINT}

    assert "Traceback" not in rehearsal.said


def test_a_server_that_dies_is_reported_and_nothing_is_left(
    start: Callable[..., Rehearsal], late: Database, folder: Path
) -> None:
    with nothing_left(folder):
        rehearsal = start("--from-url", late.url, "--folder", folder, "--before", "600s")
        rehearsal.wait_for("Gateway load, before the migrations")
        (pid_file,) = folder.glob(f"{target.PREFIX}*/postgres/*/data/postmaster.pid")
        os.kill(int(pid_file.read_text().split()[0]), signal.SIGKILL)

        assert rehearsal.process.wait(DEADLINE_SECONDS) == 2

    assert "CannotRehearse: " in rehearsal.said
    assert "Traceback" not in rehearsal.said


def test_a_given_database_is_empty_again_without_sessions(
    start: Callable[..., Rehearsal], late: Database, place: Database, folder: Path
) -> None:
    with nothing_left(folder):
        rehearsal = start("--from-url", late.url, "--on", place.url, "--folder", folder)
        rehearsal.wait_for("Applying ")
        time.sleep(1)

        assert rehearsal.interrupt(signal.SIGTERM) == 143

    assert "SIGTERM: the rehearsal was interrupted, and its copy was removed." in rehearsal.said
    assert place.fetch(THINGS) == [(0,)]
    others = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    deadline = time.monotonic() + DEADLINE_SECONDS
    while place.fetch(others) != [(0,)]:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_the_next_rehearsal_removes_what_a_killed_one_left(
    start: Callable[..., Rehearsal], late: Database, place: Database, folder: Path
) -> None:
    with nothing_left(folder):
        rehearsal = start("--from-url", late.url, "--folder", folder, "--before", "600s")
        rehearsal.wait_for("Gateway load, before the migrations")
        assert rehearsal.interrupt(signal.SIGKILL) == -signal.SIGKILL
        assert processes(str(folder)) != []
        # The clients notice that their parent is gone.
        deadline = time.monotonic() + DEADLINE_SECONDS
        while any("council.rehearsal.client" in line for line in processes(str(folder))):
            assert time.monotonic() < deadline
            time.sleep(0.05)

        following = start("--from-url", late.url, "--on", place.url, "--folder", folder, "--before", "600s")
        following.wait_for("Restoring the copy")
        assert following.interrupt(signal.SIGINT) == 130
