"""Writes migration files in this project's style: docstring, short names, SQL in constants, and ruff's format."""

import ast
import re
import subprocess
import sys
from importlib.util import find_spec
from typing import Any

from django.db.migrations import writer
from django.db.migrations.migration import Migration

from council.zero_downtime.derivation.stages import StageMigration

MERGED = """\
Merges branches that start from the same migration.

Locks: none. Safe with the code before it: yes. Way back: nothing to undo.
"""
BY_HAND = """\
What it does.

Locks: which, on what, for how long, and who waits.
Safe with the code before it: yes or no, and why.
Way back: what reversing it does.
"""

# Operations are imported from their package, their arguments from the modules.
OPERATION = re.compile(r"\bcouncil\.zero_downtime\.\w+\.(?=[A-Z])")
LONG_IMPORT = re.compile(r"import (council\.(zero_downtime|postgres)\.\w+|django\.db\.models\.deletion)")
GIVEN = re.compile(r"\bcouncil\.postgres\.(\w+)\.(?=[A-Z])")


class Writer(writer.MigrationWriter):
    """Django's MigrationWriter, with its result rewritten. Replaces it in `makemigrations`."""

    migration: Migration
    include_header: bool

    def as_string(self) -> str:
        has_docstring, self.include_header = self.include_header, False
        try:
            text = super().as_string()
        finally:
            self.include_header = has_docstring
        text = _with_attributes(text, self.migration)
        text = _with_short_names(text)
        text = _with_constants(text)
        if has_docstring:
            text = f'"""{self._docstring()}"""\n\n{text}'
        return _formatted(text, path=self.path)

    def _docstring(self) -> str:
        if isinstance(self.migration, StageMigration):
            return self.migration.docstring
        own = [
            name for app_label, name in self.migration.dependencies if app_label == self.migration.app_label
        ]
        return MERGED if len(own) > 1 else BY_HAND


def _with_attributes(text: str, migration: Migration) -> str:
    """Add the attributes that Django's template does not write."""
    attributes = ""
    if not migration.atomic:
        attributes += "    atomic = False\n"
    text = text.replace("    dependencies = [", f"{attributes}    dependencies = [", 1)
    text = re.sub(
        r"(    dependencies = \[)\n((?:        .*\n)*)    \]\n",
        lambda match: f"{match[1]}{' '.join(match[2].split()).removesuffix(',')}]\n",
        text,
        count=1,
    )
    # No blank lines between attributes.
    head, body = text.split("class Migration(migrations.Migration):\n", 1)
    body = re.sub(r"\n\n(?=    (?:initial|dependencies|operations|atomic|#))", "\n", body.lstrip("\n"))
    return f"{head}class Migration(migrations.Migration):\n{body}"


def _with_short_names(text: str) -> str:
    imports = set()
    if OPERATION.search(text):
        imports.add("from council import zero_downtime")
    modules = sorted(set(GIVEN.findall(text)))
    if modules:
        imports.add(f"from council.postgres import {', '.join(modules)}")
    text = OPERATION.sub("zero_downtime.", GIVEN.sub(r"\1.", text))
    text = text.replace("django.db.models.deletion.", "models.")
    kept = [line for line in text.splitlines() if not LONG_IMPORT.fullmatch(line)]
    return "\n".join([*sorted(imports), *kept]) + "\n"


def _with_constants(text: str) -> str:
    """Move each string of several lines into a constant, named after its trigger or function."""
    constants: dict[str, str] = {}
    lines = text.encode().splitlines(keepends=True)
    calls = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)]
    found = [
        (keyword.value, _constant_name(call, str(keyword.arg)))
        for call in calls
        for keyword in call.keywords
        if isinstance(keyword.value, ast.Constant) and _is_block(keyword.value.value)
    ]
    for literal, name in sorted(found, key=lambda one: (one[0].lineno, one[0].col_offset), reverse=True):
        while constants.get(name, literal.value) != literal.value:
            name += "_"  # noqa: PLW2901
        constants[name] = str(literal.value)
        assert literal.end_lineno == literal.lineno
        line = lines[literal.lineno - 1]
        lines[literal.lineno - 1] = (
            line[: literal.col_offset] + name.encode() + line[literal.end_col_offset :]
        )
    if not constants:
        return text
    written = "".join(f'{name} = """\\\n{value}"""\n\n' for name, value in reversed(list(constants.items())))
    head, body = b"".join(lines).decode().split("class Migration(", 1)
    return f"{head}{written}\nclass Migration({body}"


def _is_block(value: Any) -> bool:
    """Return whether a value is a string of several lines that triple quotes can hold without escapes."""
    return (
        isinstance(value, str)
        and "\n" in value
        and not re.search(r'\\|"""|"$', value)
        and all(line.isprintable() for line in value.split("\n"))
    )


def _constant_name(call: ast.Call, argument: str) -> str:
    """Return a constant's name: the trigger's name for its body, the function's name for its definition."""
    given: dict[str | None, Any] = {
        keyword.arg: keyword.value.value
        for keyword in call.keywords
        if isinstance(keyword.value, ast.Constant)
    }
    name = re.sub(r"\W+", "_", str(given.get("name") or argument)).upper().removeprefix("TRG_")
    return name if argument in {"body", "definition"} else f"{name}_{argument}".upper()


def _formatted(text: str, *, path: str) -> str:
    """Sort imports and format the file with ruff. If ruff is not installed, leave the file unformatted."""
    if not find_spec("ruff"):
        return text
    for arguments in (["check", "--quiet", "--select", "I", "--fix-only"], ["format", "--quiet"]):
        text = subprocess.run(  # noqa: S603
            [sys.executable, "-m", "ruff", *arguments, "--stdin-filename", path, "-"],
            input=text,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    return text
