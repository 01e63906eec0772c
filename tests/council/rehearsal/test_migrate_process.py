"""A rehearsal follows migrate by its events, whatever it prints."""

import pytest

from council.rehearsal import migrate_process
from tests.databases import Database

pytestmark = pytest.mark.any_server


def test_a_migrate_that_prints_nothing_is_followed(gateway: Database) -> None:
    with migrate_process.migrate(gateway.url, "council", "0001", "--verbosity", "0") as running:
        began, ended = running.events()

    assert (began.kind, ended.kind) == (migrate_process.BEGAN, migrate_process.ENDED)
    assert began.migration == ended.migration == "council.0001_baseline"
    assert began.moment < ended.moment
    assert (running.status, running.output) == (0, [])


def test_the_output_and_the_status_of_migrate_are_kept(database: Database) -> None:
    with migrate_process.migrate(database.url, "council", "9999") as running:
        assert list(running.events()) == []

    assert running.status == 1
    assert "CommandError: Cannot find a migration matching '9999' from app 'council'." in running.output
