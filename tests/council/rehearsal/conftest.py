"""Databases to copy, and places for the copy."""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.council.rehearsal.rehearsing import ROWS, V1_SQL, fill, newest_two
from tests.databases import Database, Templates, migrate


@pytest.fixture
def gateway(database: Database) -> Database:
    """The gateway's database, version 1, with some rows."""
    database.execute(V1_SQL + ROWS)
    return database


@pytest.fixture
def late(database: Database, templates: Templates, migrated_template: str) -> Database:
    """A database with rows and only one pending migration, for tests that need no more."""

    def go_back(database: Database) -> None:
        database.become(migrated_template)
        with database.as_django_connection():
            migrate("resources", newest_two()[1])
        fill(database, 300)

    database.become(templates.get("late", go_back))
    return database


@pytest.fixture
def place(django_db_blocker: Any, database_name: Callable[[str], str]) -> Iterator[Database]:
    """An empty database with a name for rehearsals."""
    database = Database(database_name("rehearsal"))
    with django_db_blocker.unblock():
        database.drop()
        database.create()
        yield database
        database.drop()


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder for temporary files that the user of a private server can reach."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        folder = Path(name).resolve()
        folder.chmod(0o755)
        yield folder
