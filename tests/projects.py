"""A throw-away copy of the project, whose models a test may change."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

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


IN_TURN = """
import os
from django.core.management import execute_from_command_line
os.environ["DJANGO_SETTINGS_MODULE"] = "council.settings"
for arguments in {commands!r}:
    execute_from_command_line(["manage.py", *arguments])
"""


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

    def run(
        self, *arguments: str, database: Database | None = None, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run Python in the project. Without `database`, the database cannot be reached."""
        environment = {
            name: value
            for name, value in os.environ.items()
            if name not in {"DIRECT_URL", "DJANGO_SETTINGS_MODULE"} and not name.startswith("COVERAGE")
        }
        url = database.url if database else "postgresql://nobody@127.0.0.1:1/nowhere"
        result = subprocess.run(
            [sys.executable, *arguments],
            cwd=self.folder,
            env={**environment, "DATABASE_URL": url, "SECRET_KEY": "for tests only"},
            check=False,
            capture_output=True,
            text=True,
        )
        assert not check or result.returncode == 0, result.stdout + result.stderr
        return result

    def manage(
        self, *arguments: str, database: Database | None = None, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        return self.run("manage.py", *arguments, database=database, check=check)

    def manage_in_turn(self, *commands: list[str], database: Database) -> None:
        """Run commands of manage.py one after the other in one process."""
        self.run("-c", IN_TURN.format(commands=commands), database=database)

    def makemigrations(self, *arguments: str) -> dict[str, str]:
        """Run makemigrations. Returns the new files with their texts, in order."""
        before = self.migrations()
        self.manage("makemigrations", "--no-input", *arguments)
        return {ahead(name): self.text(name) for name in sorted(self.migrations() - before)}


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)
