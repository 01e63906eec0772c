"""The list of mutants, and how each is put in place."""

import itertools
import os
import re
import shutil
import sys
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from inspect import unwrap
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

from django.conf import settings
from psycopg import connect

LISTS = sorted(set(Path(__file__).parent.glob("*.toml")) - {Path(__file__).parent / "modules.toml"})
PROJECT = Path(__file__).resolve().parent.parent.parent
TIMES = itertools.count(1)
# Every test begins with the first database or with a copy of the second.
DATABASES = ("test_council", "council_template_migrated")
DEFINITIONS = {
    "function": "SELECT pg_get_functiondef(oid) FROM pg_proc WHERE proname = %s",
    "trigger": "SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE tgname = %s",
}


# What a module may define beside classes, and what can be put in its place.
PROJECTS = ("council.", "gamification.", "resources.", "benchmarks.", "tests.")
VALUES = (FunctionType, str, bytes, int, float, set, frozenset, tuple, list, dict, re.Pattern, timedelta)


class Unusable(Exception):
    """The mutant cannot be judged. The message gives the reason."""


@dataclass(frozen=True)
class Mutant:
    """A guard, and how it is broken. If a tool broke it, `text` is the whole file, changed from `line` on."""

    kind: str
    before: str
    after: str
    tests: tuple[str, ...]
    file: str = ""
    function: str = ""
    trigger: str = ""
    reason: str = ""
    text: str = ""
    line: int = 0
    lines: frozenset[int] = frozenset()
    needs_import: bool = False

    def __str__(self) -> str:
        place = self.file or self.function or self.trigger
        return f"{place}{f':{self.line}' if self.line else ''}: {self.kind}: {' '.join(self.before.split())[:70]}"

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Break the guard for a block, in a file on disk or in the databases. Raises Unusable."""
        with self._in_file() if self.file else self._in_databases():
            yield

    def take_over(self) -> None:
        """Break the guard in this process, which has imported its module already."""
        module = sys.modules.get(self.file.removesuffix(".py").replace("/", "."))
        if module:
            swap(module, (PROJECT / self.file).read_text())

    def _change(self, text: str) -> str:
        if (times := text.count(self.before)) != 1:
            raise Unusable(f"The text before is there {times} times, not once.")
        return text.replace(self.before, self.after)

    @contextmanager
    def _in_file(self) -> Iterator[None]:
        path, kept = PROJECT / self.file, PROJECT / "build" / "kept"
        kept.parent.mkdir(exist_ok=True)
        shutil.copy2(path, kept)
        path.write_text(self.text or self._change(path.read_text()))
        os.utime(path, (time := next(TIMES), time))  # else old bytecode runs within a second
        try:
            yield
        finally:
            shutil.copy2(kept, path)  # and its time, by which Python finds its bytecode

    @contextmanager
    def _in_databases(self) -> Iterator[None]:
        query, name = DEFINITIONS["function" if self.function else "trigger"], self.function or self.trigger
        kept: list[tuple[str, str]] = []
        try:
            for database in DATABASES:
                [(definition,)] = execute(database, query, [name])
                definition = definition.replace("CREATE TRIGGER", "CREATE OR REPLACE TRIGGER")
                kept.append((database, definition))
                execute(database, self._change(definition))
            yield
        finally:
            for database, definition in kept:
                execute(database, definition)


def tests(only: str) -> set[str]:
    return {test for mutant in read(only) for test in mutant.tests}


def read(only: str) -> list[Mutant]:
    """Read the lists. With `only`, keep the mutants that match the pattern."""
    entries = [entry for path in LISTS for entry in tomllib.loads(path.read_text())["mutant"]]
    mutants = [Mutant(**{**entry, "tests": tuple(entry["tests"])}) for entry in entries]
    return [mutant for mutant in mutants if re.search(only, f"{mutant} {mutant.before}")]


def execute(database: str, statement: str, values: list[str] | None = None) -> list[tuple]:
    assert settings.EMBEDDED_SERVER, "The databases must be on the private server. Unset DATABASE_URL."
    at = settings.EMBEDDED_SERVER.start()
    with connect(host=at.host, port=at.port, user=at.user, dbname=database, autocommit=True) as session:
        found = session.execute(statement.encode(), values)
        return found.fetchall() if found.description else []


def swap(module: ModuleType, text: str) -> None:
    """Replace a module's code with another text, also in modules that have imported its functions."""
    fresh = dict(vars(module))
    exec(compile(text, str(module.__file__), "exec"), fresh)
    for name, new in fresh.items():
        old = vars(module).get(name)
        if isinstance(old, type) and isinstance(new, type) and new.__module__ == module.__name__:
            for part, function in vars(new).items():
                _swap_function(vars(old).get(part), function)
            continue
        is_swapped = _swap_function(old, new) and _depth(old) == _depth(new)  # else a decorator is removed
        if not is_swapped and isinstance(new, VALUES):
            for other in list(sys.modules.values()):  # those that have imported it by name, too
                is_project = isinstance(other, ModuleType) and other.__name__.startswith(PROJECTS)
                if other is module or (is_project and old is not None and vars(other).get(name) is old):
                    setattr(other, name, new)


def _function(given: Any) -> Callable[..., Any]:
    function: Callable[..., Any] = unwrap(getattr(given, "fget", None) or getattr(given, "__func__", given))
    return function


def _depth(given: Any) -> int:
    depth = 0
    while hasattr(given, "__wrapped__"):
        given, depth = given.__wrapped__, depth + 1
    return depth


def _swap_function(old: Any, new: Any) -> bool:
    if old is None or not isinstance(inner := _function(old), FunctionType):
        return False
    replacement = _function(new)
    if isinstance(replacement, FunctionType) and replacement.__module__ == inner.__module__:
        inner.__code__, inner.__defaults__ = replacement.__code__, replacement.__defaults__
        inner.__kwdefaults__ = replacement.__kwdefaults__
    return True
