"""A pytest plugin: run the tests once as they are, and then those of each mutant in a fork, where it is installed.

A fork has all modules and the test database, so that a trial costs what its tests cost.
"""

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from django.db import connections

from tests.mutants.lists import Mutant, Unusable, read

TIMEOUT_SECONDS = 900
PASSED, FAILED, BROKEN = range(3)


class AnotherModule:
    """What comes after each test: the end of its module, and not of the session."""

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


def of(mutant: Mutant, items: list[pytest.Item]) -> list[pytest.Item]:
    return [item for item in items if item.nodeid.startswith(mutant.tests)]


def trial(mutant: Mutant, items: list[pytest.Item]) -> int:
    """Run a mutant's tests in a fork until one fails."""
    connections.close_all()
    sys.stdout.flush()
    child = os.fork()
    if not child:
        outcome = BROKEN
        try:
            log = os.open("build/log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(log, 1)
            os.dup2(log, 2)
            mutant.take_over()
            outcome = next((found for item in items if (found := run(item))), PASSED)
        finally:
            sys.stdout.flush()
            os._exit(outcome)
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
        time.sleep(0.02)


def attempt(mutant: Mutant, items: list[pytest.Item]) -> str:
    """Break a guard and run its tests. Says what is wrong, or nothing."""
    if not items:
        return "It names no test."
    try:
        with mutant.installed():
            outcome = trial(mutant, items)
    except Unusable as error:
        return str(error)
    if outcome == BROKEN:
        return f"Its tests cannot be run.\n{Path('build/log').read_text()[-3000:]}"
    if mutant.reason and outcome:
        return f"A test notices, so this reason is out of date: {mutant.reason}"
    return "" if mutant.reason or outcome else "No test notices."


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> bool:
    mutants = read(os.environ["MUTANTS"])
    began, faults = time.monotonic(), 0
    unbroken: dict[str, int] = {}
    for mutant in mutants:
        items = of(mutant, session.items)
        for item in items:
            if item.nodeid not in unbroken:
                unbroken[item.nodeid] = run(item)
        moment = time.monotonic()
        if failing := [item.nodeid for item in items if unbroken[item.nodeid]]:
            fault = f"It fails without the mutant as well: {', '.join(failing)}"
        else:
            fault = attempt(mutant, items)
        faults += bool(fault)
        word = "LOOK" if fault else "stays" if mutant.reason else "noticed"
        print(f"\n{word:7} {time.monotonic() - moment:4.0f} s  {mutant}", flush=True)
        if fault:
            print(f"        {fault}", flush=True)
    minutes = (time.monotonic() - began) / 60
    print(f"{len(mutants)} mutants in {minutes:.0f} minutes, {faults} to look into.")
    session.testsfailed = faults
    return True
