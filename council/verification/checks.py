"""Checks, their findings, and how they are run."""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from django.db import DatabaseError
from django.utils.module_loading import autodiscover_modules

from council.registry import Registry
from council.verification.database import Database
from council.zero_downtime import failures


class Level(StrEnum):
    OK = "ok"
    WARNING = "warning"
    FAILED = "FAILED"


class Finding(NamedTuple):
    """What was found and what was expected. `cure` is a command, or complete SQL, that can be pasted."""

    level: Level
    message: str
    cure: str = ""


def note(message: str) -> Finding:
    """Report what a check has looked at, or a fact that is not a fault."""
    return Finding(Level.OK, message)


def warning(message: str, cure: str) -> Finding:
    """Report something that may be intentional."""
    return Finding(Level.WARNING, message, cure)


def failed(message: str, cure: str) -> Finding:
    """Report something that is broken or will break."""
    return Finding(Level.FAILED, message, cure)


Look = Callable[[Database], Iterable[Finding]]


class Check(NamedTuple):
    """A registered check. With `own_transactions` it opens its own transactions, because it needs several."""

    name: str
    look: Look
    own_transactions: bool


@dataclass(frozen=True)
class Result:
    name: str
    findings: list[Finding] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def level(self) -> Level:
        levels = {finding.level for finding in self.findings}
        return next((level for level in (Level.FAILED, Level.WARNING) if level in levels), Level.OK)


_CHECKS: Registry[Check] = Registry()


def registered() -> Registry[Check]:
    """Return the checks of all apps. Imports their modules `verification`, which pages do not need."""
    autodiscover_modules("verification")
    return _CHECKS


def register(name: str, *, own_transactions: bool = False) -> Callable[[Look], Look]:
    """Register a function as a check of `verify_schema`. Checks run in the order of registration."""

    def decorate(look: Look) -> Look:
        _CHECKS.add(name, Check(name, look, own_transactions))
        return look

    return decorate


def run(database: Database) -> Iterator[Result]:
    """Run all checks. Raises DatabaseError if the connection is lost."""
    for check in registered().values():
        yield run_check(check, database)


def run_check(check: Check, database: Database) -> Result:
    """Run a check, read-only unless it opens its own transactions. A database error is reported as a failed finding."""
    began = time.monotonic()
    try:
        with nullcontext() if check.own_transactions else database.transaction():
            findings = list(check.look(database))
    except DatabaseError as error:
        if failures.is_lost_connection(error):
            raise
        findings = [failed(f"could not be checked: {first_line(error)}", failures.cure(error))]
    return Result(check.name, findings, time.monotonic() - began)


def first_line(error: DatabaseError) -> str:
    return str(error).strip().splitlines()[0]
