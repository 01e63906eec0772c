"""The made-up community of `manage.py seed_demo`, as a database to copy.

A pytest plugin (see conftest.py).
"""

from collections.abc import Callable, Iterator
from io import StringIO

import pytest
from django.conf import settings
from django.core.management import call_command

from tests.databases import Database


@pytest.fixture(scope="session")
def seeded_template(
    django_db_blocker: pytest.FixtureRequest, database_name: Callable[[str], str], migrated_template: str
) -> Iterator[tuple[str, str]]:
    """A database with the community, and the command's output. Each worker makes it only once."""
    if settings.EMBEDDED_SERVER is None:
        pytest.skip("the command works only on the embedded server")
    database, said = Database(database_name("seeded")), StringIO()
    with django_db_blocker.unblock():  # type: ignore[attr-defined]
        database.drop()
        database.create(template=migrated_template)
        with database.as_default_connection():
            call_command("seed_demo", stdout=said)
        yield database.name, said.getvalue()
        database.drop()
