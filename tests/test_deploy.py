"""Checks of deploy/: systemd accepts the units, they have few rights, and the example names only variables in use."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.databases import ROOT
from tests.test_docs import SETTINGS, variables_listed

pytestmark = pytest.mark.any_server

UNITS = ["council-site.service", "council-jobs.service", "council-jobs.timer"]
EXAMPLE = ROOT / "deploy/environment.example"
# Of 100. systemd calls anything below 20 "OK"; a unit without any restriction has 96.
MAX_EXPOSURE = 15

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed"
)


def analyze(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Ask systemd about the units, as if they were installed and the project were in its present folder."""
    units = shutil.copytree(ROOT / "deploy", folder / "units")
    for file in filter(Path.is_file, units.rglob("*")):
        text = file.read_text().replace("/srv/council/.venv/bin/", f"{Path(sys.executable).parent}/")
        file.write_text(text.replace("/srv/council", str(ROOT)))
    return subprocess.run(
        ["systemd-analyze", *arguments, *(str(units / name) for name in UNITS if arguments[0] == "verify")],
        check=False,
        capture_output=True,
        text=True,
        cwd=units,
        env={"PATH": "/usr/bin:/bin", "SYSTEMD_UNIT_PATH": f"{units}:"},
    )


@needs_systemd
def test_systemd_accepts_the_units(tmp_path: Path) -> None:
    result = analyze(tmp_path, "verify", "--man=no")

    assert (result.returncode, result.stderr) == (0, "")


@needs_systemd
@pytest.mark.parametrize("unit", [name for name in UNITS if name.endswith(".service")])
def test_the_services_have_few_rights(unit: str, tmp_path: Path) -> None:
    result = analyze(tmp_path, "security", "--offline=true", f"--threshold={MAX_EXPOSURE}", unit)

    assert result.returncode == 0, result.stdout


def test_the_example_names_variables_that_are_read() -> None:
    named = re.findall(r"^#?([A-Z][A-Z0-9_]+)=", EXAMPLE.read_text(), re.MULTILINE)

    assert len(named) > 10
    assert set(named) - variables_listed(SETTINGS) == set()
