"""Run squawk, a linter for the SQL of migrations, on ours, and check which of its findings are ignored, and where.

A comment beside an operation in a migration, or in an operation's class, ignores a rule there: `# squawk: ignore
<rule>: <why>`. Rules that do not suit the whole project are in pyproject.toml. https://squawkhq.com/docs/rules explains
the rules.
"""

import ast
import inspect
import io
import json
import re
import subprocess
import sys
import tempfile
import tokenize
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from django.core.management import call_command
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.migration import Migration

from council.zero_downtime.planning import lint
from tests.databases import ROOT

SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["squawk"]
MEANT_FOR_SQUAWK = re.compile(r"#\s*squawk\b")
IGNORE = re.compile(r"# squawk: ignore ([a-z-]+): \S+")


class Finding(NamedTuple):
    script: str
    line: int  # from 1
    rule: str
    message: str
    statement: str

    def __str__(self) -> str:
        return f"{self.script}, line {self.line} of its SQL: {self.rule}: {self.message}\n  {self.statement}"


class Ignored(NamedTuple):
    """A rule that is ignored, and the place that says so."""

    rule: str
    place: str

    def __str__(self) -> str:
        return f"{self.rule}, ignored by {self.place}"


class UnclearIgnore(Exception):
    """A comment for squawk without a rule and a reason, or without an operation."""

    def __init__(self, place: str, comment: str) -> None:
        super().__init__(
            f"{place}: {comment!r} ignores nothing. Write `# squawk: ignore <rule>: <why>`, above an operation or "
            f"in it, in a migration whose operations are a plain list."
        )


def findings(scripts: Mapping[str, str]) -> list[Finding]:
    """Run squawk with all of its rules on named SQL scripts. Takes about 0.1 s for all migrations.

    Raises RuntimeError if squawk itself fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        files = {Path(folder, f"{number}.sql"): name for number, name in enumerate(scripts)}
        for file, name in files.items():
            file.write_text(scripts[name])
        command = [Path(sys.executable).parent / "squawk", "--pg-version", SETTINGS["pg_version"]]
        result = subprocess.run(
            [*command, "--config", "/dev/null", "--reporter", "json", *files],
            capture_output=True,
            text=True,
            check=False,
        )
    if not result.stdout:
        raise RuntimeError(f"squawk failed: {result.stderr.strip()}")
    found = []
    for fault in json.loads(result.stdout):
        name, line = files[Path(fault["file"])], fault["line"]
        statement = scripts[name].splitlines()[line]
        found.append(Finding(name, line + 1, fault["rule_name"], fault["message"], statement))
    return sorted(found)


def migrations_of_ours() -> dict[str, Migration]:
    """Load the migrations of the project's own apps by name, such as "council.0001_baseline"."""
    ours = lint.own_apps()
    loader = MigrationLoader(None)
    return {
        f"{label}.{name}": loader.disk_migrations[label, name]
        for label, name in sorted(loader.disk_migrations)
        if label in ours
    }


def sql(migration: Migration) -> str:
    """Return a migration's SQL, as `manage.py sqlmigrate` prints it."""
    written = io.StringIO()
    call_command("sqlmigrate", migration.app_label, migration.name, stdout=written, no_color=True)
    return written.getvalue()


class Review:
    """The findings that are not ignored, and the ignored rules without a finding."""

    def __init__(
        self, migrations: Mapping[str, Migration], *, scripts: Mapping[str, str], everywhere: Iterable[str]
    ) -> None:
        self.standing: list[Finding] = []
        needed: set[Ignored] = set()
        written = {Ignored(rule, "pyproject.toml") for rule in everywhere}
        per_operation = {
            name: list(ignored_by_operation(migration)) for name, migration in migrations.items()
        }
        for finding in findings(scripts):
            migration = migrations[finding.script]
            number = operation_at(finding.line, scripts[finding.script], migration)
            candidates = {ignored for ignored in written if ignored.rule == finding.rule}
            if number is not None:
                candidates |= {i for i in per_operation[finding.script][number] if i.rule == finding.rule}
            needed |= candidates
            if not candidates:
                self.standing.append(finding)
        for operations in per_operation.values():
            written.update(*operations)
        self.needless = sorted(written - needed)


def operation_at(line: int, script: str, migration: Migration) -> int | None:
    """Return the operation that a line of a migration's SQL comes from, using the comments of sqlmigrate.

    SQL that Django defers to the end, such as indexes of new tables, counts as the last operation's.
    """
    at = None
    lines = iter(enumerate(script.splitlines(), 1))
    for number, operation in enumerate(migration.operations):
        heading = f"-- {operation.describe()}"
        if next((n for n, text in lines if text == heading), line + 1) > line:
            break
        at = number
    return at


def ignored_by_operation(migration: Migration) -> Iterator[set[Ignored]]:
    """Return the rules that each operation of a migration ignores, in its own comments and in its class.

    Raises UnclearIgnore.
    """
    file = Path(inspect.getfile(type(migration)))
    place = str(file.relative_to(ROOT)) if file.is_relative_to(ROOT) else file.name
    source = file.read_text()
    begin, ends = _operations(source)
    comments = list(_comments(source))
    for line, text in comments:
        if not ends or not begin < line <= ends[-1] or len(ends) != len(migration.operations):
            raise UnclearIgnore(f"{place}, line {line}", text)
    for number, operation in enumerate(migration.operations):
        ignored = set()
        for line, text in comments:
            if (ends[number - 1] if number else begin) < line <= ends[number]:
                ignored.add(_parse(text, f"{place}, line {line}"))
        for kind in type(operation).__mro__:
            if kind.__module__.startswith("council."):
                for _, text in _comments(inspect.getsource(kind)):
                    ignored.add(_parse(text, f"{kind.__module__}.{kind.__qualname__}"))
        yield ignored


def _parse(comment: str, place: str) -> Ignored:
    match = IGNORE.match(comment)
    if not match:
        raise UnclearIgnore(place, comment)
    return Ignored(match[1], place)


def _comments(source: str) -> Iterator[tuple[int, str]]:
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT and MEANT_FOR_SQUAWK.match(token.string):
            yield token.start[0], token.string


def _operations(source: str) -> tuple[int, list[int]]:
    """Return the line in which a migration's list of operations begins, and the line in which each operation ends."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Assign(targets=[ast.Name(id="operations")], value=ast.List(elts=operations)):
                return node.lineno, [operation.end_lineno or 0 for operation in operations]
    return 0, []
