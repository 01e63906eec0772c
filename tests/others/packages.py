"""Packages from PyPI that the project does not require. Each set is downloaded once into a folder in build/."""

import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import django

FOLDER = Path(__file__).resolve().parents[2] / "build" / "others"


class Unreachable(Exception):
    """A package could not be downloaded from PyPI."""


def installed(name: str, packages: Sequence[str]) -> Path:
    """Return a folder with packages that work with the project's own Django. Raises Unreachable."""

    def install(folder: Path) -> None:
        _pip("install", "--quiet", "--target", str(folder), f"django=={django.__version__}", *packages)

    return _made(f"{name}-{django.__version__}", install)


def sources_of_django() -> Path:
    """Return a folder with the source distribution of the installed Django. Raises Unreachable."""
    name = f"django-{django.__version__}"

    def fetch(folder: Path) -> None:
        with tempfile.TemporaryDirectory() as downloads:
            _pip("download", "--no-deps", "--no-binary=:all:", "--dest", downloads, name.replace("-", "=="))
            (archive,) = Path(downloads).iterdir()
            with tarfile.open(archive) as opened:
                opened.extractall(folder, filter="data")

    return _made(f"sources-of-{name}", fetch) / name


def _made(name: str, make: Callable[[Path], None]) -> Path:
    """Create a folder in one step, so that an incomplete one is never used."""
    folder = FOLDER / name
    if not folder.exists():
        FOLDER.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=FOLDER) as aside:
            made = Path(aside, "made")
            made.mkdir()
            make(made)
            if not folder.exists():  # another process may have been first
                made.rename(folder)
    return folder


def _pip(*arguments: str) -> None:
    command = [sys.executable, "-m", "pip", "--retries=1", "--timeout=10", "--disable-pip-version-check"]
    run = subprocess.run([*command, *arguments], capture_output=True, text=True, check=False)
    if run.returncode:
        lines = [line for line in run.stderr.splitlines() if line.startswith("ERROR")]
        raise Unreachable(f"PyPI could not be reached: {(lines or ['pip failed'])[-1]}")
