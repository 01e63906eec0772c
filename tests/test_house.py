"""The checks of style, as tests: one command runs them all, and CI runs that command."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.any_server

BIN = Path(sys.executable).parent
CHECKS: dict[str, list[str | Path]] = {
    "ruff": [BIN / "ruff", "check", "--quiet"],
    "ruff format": [BIN / "ruff", "format", "--check", "--quiet"],
    "import-linter": [BIN / "lint-imports"],
    "mypy": [BIN / "mypy"],
    "manage.py check": [sys.executable, "manage.py", "check", "--fail-level", "WARNING"],
}


@pytest.mark.parametrize("check", CHECKS)
def test_the_house_is_in_order(check: str) -> None:
    result = subprocess.run(
        CHECKS[check], capture_output=True, text=True, cwd=Path(__file__).parent.parent, check=False
    )

    assert result.returncode == 0, result.stdout + result.stderr
