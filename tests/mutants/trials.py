"""A pytest plugin that runs the tests once as they are, and then each mutant's tests in a fork.

The mutant is put in place in the fork. A fork already has all modules and the test database, so a trial takes only as
long as its tests.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from django.db import connections

from tests.mutants import lists, modules
from tests.mutants.lists import PROJECT, Mutant, Unusable

TIMEOUT_SECONDS = 900
# If a mutant makes its tests take this many times as long, it hangs, which counts as noticed.
PATIENCE, LEAST_SECONDS = 8, 20
PASSED, FAILED, BROKEN, NOT_INSTALLED = range(4)


class AnotherModule:
    """Stands for the test that follows: then a module ends after each test, but the session does not."""

    def __init__(self, session: pytest.Session) -> None:
        self.session = session

    def listchain(self) -> list[pytest.Collector]:
        return [self.session]


class Reports:
    """Notes how tests end."""

    outcome = PASSED

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.outcome = FAILED if report.when == "call" else BROKEN


def run(item: pytest.Item) -> int:
    reports = Reports()
    item.config.pluginmanager.register(reports)
    after: Any = AnotherModule(item.session)
    item.config.hook.pytest_runtest_protocol(item=item, nextitem=after)
    item.config.pluginmanager.unregister(reports)
    return reports.outcome


@dataclass
class Unbroken:
    """A test without any mutant: its outcome, its duration, and which lines of which files it runs."""

    outcome: int
    seconds: float
    lines: dict[str, set[int]]


@dataclass
class Tracing:
    """Notes which lines of some files run."""

    files: set[str]
    lines: dict[str, set[int]] = field(default_factory=dict)

    @contextmanager
    def on(self) -> Iterator[None]:
        if self.files:
            threading.settrace(self.called)
            sys.settrace(self.called)
        try:
            yield
        finally:
            sys.settrace(None)
            threading.settrace(None)

    def called(self, frame: FrameType, event: str, argument: object) -> Any:
        return self.went_on if frame.f_code.co_filename in self.files else None

    def went_on(self, frame: FrameType, event: str, argument: object) -> Any:
        self.lines.setdefault(frame.f_code.co_filename, set()).add(frame.f_lineno)
        return self.went_on


class Trials:
    """The tests, and what is known about them."""

    def __init__(self, items: list[pytest.Item], *, traced: set[str]) -> None:
        self.items = items
        self.traced = {str(PROJECT / file) for file in traced}
        self.known: dict[str, Unbroken] = {}
        self.faults_of_forks: dict[tuple[str, ...], str] = {}

    def of(self, mutant: Mutant) -> list[pytest.Item]:
        """The tests that should notice. For a module, those that run the changed line, the quick ones first."""
        items = self.nearest(mutant)
        for item in items:
            if item.nodeid not in self.known:
                self.known[item.nodeid] = self.unbroken(item)
        if not mutant.text:
            return items
        file = str(PROJECT / mutant.file)
        passing = [item for item in items if mutant.lines & self.known[item.nodeid].lines.get(file, set())]
        return sorted(passing or items, key=lambda item: self.known[item.nodeid].seconds)

    def nearest(self, mutant: Mutant) -> list[pytest.Item]:
        return [item for item in self.items if item.nodeid.startswith(mutant.tests)]

    def unbroken(self, item: pytest.Item) -> Unbroken:
        began, tracing = time.monotonic(), Tracing(self.traced)
        with tracing.on():
            outcome = run(item)
        return Unbroken(outcome, time.monotonic() - began, tracing.lines)

    def attempt(self, mutant: Mutant) -> str:
        """Break a guard and run its tests. Returns what is wrong, or an empty text."""
        items = self.of(mutant)
        if fault := self.fault_without(mutant, items):
            return fault
        try:
            with mutant.installed():
                outcome = self.outcome(mutant, items)
        except Unusable as error:
            return str(error)
        if outcome == BROKEN and not mutant.text:
            return f"Its tests cannot be run.\n{Path('build/log').read_text()[-3000:]}"
        if mutant.reason and outcome:
            return f"A test notices, so this reason is out of date: {mutant.reason}"
        return "" if mutant.reason or outcome else "No test notices."

    def fault_without(self, mutant: Mutant, items: list[pytest.Item]) -> str:
        """Say why the tests tell nothing about the mutant, or nothing."""
        if not items:
            return "It names no test."
        if failing := [item.nodeid for item in items if self.known[item.nodeid].outcome]:
            return f"It fails without the mutant as well: {', '.join(failing)}"
        fault = self.fault_of_fork(mutant, items)
        return "" if mutant.text else fault

    def fault_of_fork(self, mutant: Mutant, items: list[pytest.Item]) -> str:
        """Say what fails in a fork where nothing is broken. Each module and each choice of tests is tried once.

        A module may do more when it is imported than define things: then no mutant can be put in its place.
        """
        if mutant.text:
            key: tuple[str, ...] = (mutant.file,)
            as_it_is = replace(mutant, text=(PROJECT / mutant.file).read_text())
            items = self.nearest(mutant)
        else:
            key, as_it_is = mutant.tests, replace(mutant, file="")
        if key not in self.faults_of_forks:
            fault = ""
            if trial(as_it_is, items, timeout_seconds=TIMEOUT_SECONDS) != PASSED:
                fault = (
                    f"Its tests fail in a fork without the mutant:\n{Path('build/log').read_text()[-3000:]}"
                )
                if mutant.text:
                    print(f"{mutant.file} is tried in new processes. {fault}", flush=True)
            self.faults_of_forks[key] = fault
        return self.faults_of_forks[key]

    def outcome(self, mutant: Mutant, items: list[pytest.Item]) -> int:
        if not mutant.text:
            return trial(mutant, items, timeout_seconds=TIMEOUT_SECONDS)
        patience = LEAST_SECONDS + PATIENCE * sum(self.known[item.nodeid].seconds for item in items)
        outcome = NOT_INSTALLED
        if not self.faults_of_forks[(mutant.file,)]:
            outcome = trial(mutant, items, timeout_seconds=patience)
        if outcome == NOT_INSTALLED or (outcome == PASSED and mutant.needs_import):
            return in_new_process(items, timeout_seconds=TIMEOUT_SECONDS)
        return outcome


def trial(mutant: Mutant, items: list[pytest.Item], *, timeout_seconds: float) -> int:
    """Run a mutant's tests in a fork until one fails."""
    connections.close_all()
    Path("build").mkdir(exist_ok=True)
    sys.stdout.flush()
    child = os.fork()
    if not child:
        outcome = NOT_INSTALLED
        try:
            log = os.open("build/log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(log, 1)
            os.dup2(log, 2)
            mutant.take_over()
            outcome = BROKEN
            outcome = next((found for item in items if (found := run(item))), PASSED)
        finally:
            sys.stdout.flush()
            os._exit(outcome)
    deadline = time.monotonic() + timeout_seconds
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
        time.sleep(0.02)


def in_new_process(items: list[pytest.Item], *, timeout_seconds: float) -> int:
    """Run tests in a new pytest process, which imports everything again."""
    names = [item.nodeid for item in items]
    command = [sys.executable, "-m", "pytest", "-n0", "-x", "-q", "--reuse-db", "-p", "no:randomly", *names]
    with Path("build/log").open("w") as log:
        try:
            ended = subprocess.run(
                command, stdout=log, stderr=subprocess.STDOUT, check=False, timeout=timeout_seconds
            )
        except subprocess.TimeoutExpired:
            return BROKEN
    return ended.returncode


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> bool:
    of_modules = "MUTANTS_OF_MODULES" in os.environ
    first, every = map(int, os.environ["MUTANTS_PART"].split())
    mutants = (modules if of_modules else lists).read(os.environ["MUTANTS"])[first::every]
    trials = Trials(session.items, traced={mutant.file for mutant in mutants} if of_modules else set())
    began, counts = time.monotonic(), dict.fromkeys(["noticed", "stays", "LOOK"], 0)
    for mutant in mutants:
        moment = time.monotonic()
        fault = trials.attempt(mutant)
        word = "LOOK" if fault else "stays" if mutant.reason else "noticed"
        counts[word] += 1
        print(f"\n{word:7} {time.monotonic() - moment:4.0f} s  {mutant}", flush=True)
        if fault:
            print(f"        {fault}", flush=True)
            if mutant.text:
                print(f"before = {mutant.before!r}\nafter = {mutant.after!r}", flush=True)
    print(
        f"{len(mutants)} mutants in {(time.monotonic() - began) / 60:.1f} minutes: {counts['noticed']} noticed, "
        f"{counts['stays']} stay for a reason, {counts['LOOK']} to look into."
    )
    session.testsfailed = counts["LOOK"]
    return True
