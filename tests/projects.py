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

# The newest migration of each app that is committed. Tests count from there: the next migration breaks none of them.
NEWEST = {app: max(file.stem for file in (ROOT / app / "migrations").glob("0*.py")) for app in APPS}


def ahead(name: str) -> str:
    """Count a new migration from the newest that is committed: where that is 0010_x, 0012_y is +2_y."""
    app, separator, number_of_it, own = re.fullmatch(r"(\w+)([./])(\d+)(_.*)", name).groups()  # type: ignore[union-attr]
    distance = int(number_of_it) - int(NEWEST.get(app, "9999")[:4])
    return f"{app}{separator}+{distance}{own}" if distance > 0 else name


def number(app: str, ahead: int) -> str:
    """Give the number of a migration that is so many ahead of the newest."""
    return f"{int(NEWEST[app][:4]) + ahead:04}"


class Project:
    """The project's code in a folder of its own. Its commands run in processes, as a developer's would."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for app in APPS:
            shutil.copytree(ROOT / app, folder / app)  # with its bytecode, so that it starts sooner
        for file in ("manage.py", "pyproject.toml"):
            shutil.copy(ROOT / file, folder / file)

    def edit(self, file: str, old: str, new: str) -> None:
        """Change what is there once in a file."""
        path = self.folder / file
        text = path.read_text()
        assert text.count(old) == 1, f"{old!r} is {text.count(old)} times in {file}"
        path.write_text(text.replace(old, new))

    def migrations(self) -> set[str]:
        """Name the migrations that are there, as `council/0001_baseline`."""
        return {
            f"{app}/{file.stem}" for app in APPS for file in (self.folder / app / "migrations").glob("0*.py")
        }

    def text(self, migration: str) -> str:
        app, name = migration.split("/")
        return (self.folder / app / "migrations" / f"{name}.py").read_text()

    def manage(
        self, *arguments: str, database: Database | None = None, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run manage.py; without a database, with one that cannot be reached."""
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
        """Run makemigrations, and give the new files with their texts, in order."""
        before = self.migrations()
        self.manage("makemigrations", "--no-input", *arguments)
        return {ahead(name): self.text(name) for name in sorted(self.migrations() - before)}


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)
