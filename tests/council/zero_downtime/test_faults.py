"""Killed runs of migrate: a sample of `python -m tests.faults`."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.council.zero_downtime.test_deploy import Deploy, deploy, open_transaction
from tests.databases import ROOT, Database
from tests.faults import tries

__all__ = ["deploy"]

V1_SQL = (Path(__file__).resolve().parents[2] / "schema" / "v1.sql").read_text()
INDEX = """SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass('"Member_totalPoints_idx"')"""


@pytest.mark.any_server
def test_a_migrate_killed_at_any_point_is_finished_by_the_next(db: None) -> None:
    """Runs a sample. `python -m tests.faults` tries everything."""
    result = subprocess.run(
        [sys.executable, "-m", "tests.faults", "--sample", "--lanes", "1"],
        cwd=ROOT,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert result.returncode == 0, result.stdout + result.stderr
    tried = re.search(r"Tried (\d+) killed, (\d+) builds, (\d+) reversals, of (\d+) points", result.stdout)
    assert tried, result.stdout
    killed, builds, reversals, points = map(int, tried.groups())
    assert (killed, builds, reversals) == (4, 1, 1)
    assert points > 1000


def test_an_index_whose_server_process_was_terminated_is_built_again(
    database: Database, deploy: Callable[..., Deploy]
) -> None:
    database.execute(V1_SQL)
    database.manage("migrate", "council", "0005")
    with open_transaction(database, 'LOCK TABLE "Member" IN ROW EXCLUSIVE MODE'):
        first = deploy(database, "council", "0006")
        first.wait_for("waiting, ")
        ((builder,),) = database.fetch(tries.BUILDERS)
        database.execute(f"SELECT pg_terminate_backend({builder})")
        assert first.finish() == 1
        assert "The next run drops an unfinished index, and continues from there." in first.output
        assert "The server was restarted, or somebody terminated the session." in first.output
        assert "Traceback" not in first.output
    assert database.fetch(INDEX) == [(False,)]

    second = deploy(database, "council", "0006")

    assert second.finish() == 0, second.output
    assert database.fetch(INDEX) == [(True,)]
