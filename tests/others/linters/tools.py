"""The findings of squawk and django-migration-linter for the same operations."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence

from tests import squawk
from tests.others import packages

# Rules of squawk about style or the choice of types, and not about a database in use.
STYLE = {
    *("prefer-bigint-over-int", "prefer-bigint-over-smallint", "prefer-identity", "prefer-robust-stmts"),
    *("prefer-text-field", "prefer-timestamp-tz", "ban-char-field", "identifier-too-long", "syntax-error"),
}
TIMEOUTS = "SET lock_timeout TO '1s'; SET statement_timeout TO '1s';"
LINTER = "django-migration-linter==6.0.0"
# Runs in a separate process with the project's Django. Reads lists of statements, and writes lists of codes.
ANALYSE = """
import json, sys
from django_migration_linter.sql_analyser import PostgresqlAnalyser
from django_migration_linter.sql_analyser.analyser import analyse_sql_statements
told = []
for texts in json.load(sys.stdin):
    errors, _, warnings = analyse_sql_statements(PostgresqlAnalyser, texts)
    told.append(sorted({issue.code for issue in [*errors, *warnings]}))
print(json.dumps(told))
"""
Scripts = Mapping[str, Sequence[Sequence[str]]]


def by_squawk(scripts: Scripts) -> dict[tuple[str, int], set[str]]:
    """Return squawk's rules by migration and operation. `scripts` has the SQL of each migration's operations."""
    texts, places = {}, {}
    for name, operations in scripts.items():
        lines = [TIMEOUTS, "BEGIN;"]
        for number, own in enumerate(operations):
            for text in own:
                for line in text.splitlines():
                    lines.append(line)
                    places[name, len(lines)] = number
        texts[name] = "\n".join([*lines, "COMMIT;"]) + "\n"
    found: dict[tuple[str, int], set[str]] = {}
    for finding in squawk.findings(texts):
        place = (finding.script, finding.line)
        if place in places and finding.rule not in STYLE:
            found.setdefault((finding.script, places[place]), set()).add(finding.rule)
    return found


def by_django_migration_linter(scripts: Scripts) -> dict[tuple[str, int], set[str]]:
    """Return its codes by migration and operation, if it also reports them for the whole migration's SQL."""
    folder = packages.installed("django-migration-linter", [LINTER])
    keys = [(name, number) for name, operations in scripts.items() for number in range(len(operations))]
    wholes = list(scripts)
    lists = [["BEGIN;", *scripts[name][number]] for name, number in keys]
    lists += [["BEGIN;", *(text for own in scripts[name] for text in own)] for name in wholes]
    done = subprocess.run(
        [sys.executable, "-c", ANALYSE],
        input=json.dumps([[" ".join(text.split()) for text in texts] for texts in lists]),
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=True,
    )
    told = json.loads(done.stdout)
    of_whole = dict(zip(wholes, told[len(keys) :], strict=True))
    return {key: set(codes) & set(of_whole[key[0]]) for key, codes in zip(keys, told, strict=False)}
