"""A throw-away copy of the project, whose models a test may change."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests import forked
from tests.databases import ROOT, Database

APPS = ("council", "gamification", "resources", "benchmarks")

# The newest committed migration of each app. Tests number new migrations from it, so that a new one breaks no test.
NEWEST = {app: max(file.stem for file in (ROOT / app / "migrations").glob("0*.py")) for app in APPS}


def ahead(name: str) -> str:
    """Write a migration's number relative to the newest committed one: if that is 0010_x, 0012_y becomes +2_y."""
    app, separator, number_of_it, own = re.fullmatch(r"(\w+)([./])(\d+)(_.*)", name).groups()  # type: ignore[union-attr]
    distance = int(number_of_it) - int(NEWEST.get(app, "9999")[:4])
    return f"{app}{separator}+{distance}{own}" if distance > 0 else name


def number(app: str, ahead: int) -> str:
    """Return the number of a migration that is this many ahead of the newest."""
    return f"{int(NEWEST[app][:4]) + ahead:04}"


class Project:
    """A copy of the project's code. Its commands run in separate processes, like a developer's."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for app in APPS:
            shutil.copytree(ROOT / app, folder / app)  # including the bytecode, for a faster start
        for file in ("manage.py", "pyproject.toml"):
            shutil.copy(ROOT / file, folder / file)

    def edit(self, file: str, old: str, new: str) -> None:
        """Replace a text that occurs once in a file."""
        path = self.folder / file
        text = path.read_text()
        assert text.count(old) == 1, f"{old!r} is {text.count(old)} times in {file}"
        path.write_text(text.replace(old, new))

    def migrations(self) -> set[str]:
        """List the existing migrations, such as `council/0001_baseline`."""
        return {
            f"{app}/{file.stem}" for app in APPS for file in (self.folder / app / "migrations").glob("0*.py")
        }

    def text(self, migration: str) -> str:
        app, name = migration.split("/")
        return (self.folder / app / "migrations" / f"{name}.py").read_text()

    def manage(
        self, *arguments: str, database: Database | None = None, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run manage.py. Without a database, it gets one that cannot be reached."""
        environment = {
            name: value
            for name, value in os.environ.items()
            if name not in {"DIRECT_URL", "DJANGO_SETTINGS_MODULE"} and not name.startswith("COVERAGE")
        }
        url = database.url if database else "postgresql://nobody@127.0.0.1:1/nowhere"
        environment |= {"DATABASE_URL": url, "SECRET_KEY": "for tests only"}
        result = forked.manage(arguments, environment, folder=self.folder)
        assert not check or result.returncode == 0, result.stdout + result.stderr
        return result

    def makemigrations(self, *arguments: str) -> dict[str, str]:
        """Run makemigrations. Returns the new files with their texts, in order."""
        before = self.migrations()
        self.manage("makemigrations", "--no-input", *arguments)
        return {ahead(name): self.text(name) for name in sorted(self.migrations() - before)}


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)
