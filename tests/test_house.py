"""The checks of style and types, as tests, so that one command runs everything."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.any_server

ROOT = Path(__file__).parent.parent
BIN = Path(sys.executable).parent
CHECKS: dict[str, list[str | Path]] = {
    "ruff": [BIN / "ruff", "check", "--quiet"],
    "ruff format": [BIN / "ruff", "format", "--check", "--quiet"],
    "import-linter": [BIN / "lint-imports"],
    "mypy": [BIN / "mypy"],
    "manage.py check": [sys.executable, "manage.py", "check", "--fail-level", "WARNING"],
}


@pytest.mark.parametrize("check", CHECKS)
def test_every_check_passes(check: str) -> None:
    result = subprocess.run(CHECKS[check], capture_output=True, text=True, cwd=ROOT, check=False)

    assert result.returncode == 0, result.stdout + result.stderr


def test_the_rehearsal_package_names_no_table() -> None:
    """Tables belong in `council.gateway`, which has the gateway's statements and rows."""
    contract = (ROOT / "tests/schema/v2.catalog").read_text()
    tables = re.findall(r"^TABLE\|(\w+)", contract, re.MULTILINE)
    assert "PointTransaction" in tables
    named = re.compile(rf"\b({'|'.join(tables)})\b")

    found = {file.name: named.findall(file.read_text()) for file in (ROOT / "council/rehearsal").glob("*.*")}

    assert {name: tables for name, tables in found.items() if tables} == {}
