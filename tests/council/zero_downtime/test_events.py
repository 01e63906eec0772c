"""The events that other processes receive from migrate."""

import json
import os
import subprocess
import sys
import time
from argparse import ArgumentTypeError
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.db.backends.base.base import BaseDatabaseWrapper

from council.zero_downtime import events
from council.zero_downtime.blockers import Blocker
from council.zero_downtime.event_report import Report
from council.zero_downtime.events import Blocked, Event, JsonWriter, Noted, RowLevelSecurityEnabled
from council.zero_downtime.observer import Observer
from tests.council.zero_downtime.test_deploy import adopted, open_transaction
from tests.databases import ROOT, Database

__all__ = ["adopted"]

pytestmark = pytest.mark.any_server

BLOCKER = Blocker("3/7", 42, "gateway", None, "client backend", "idle", 1.5, "SELECT 1", ["SHARE on Team"])


def migrate(database: Database, *arguments: str, file: Path) -> list[dict[str, Any]]:
    """Run migrate without output, and return the events that it has written to a file."""
    with file.open("w") as told:
        result = subprocess.run(
            [
                *(sys.executable, "manage.py", "migrate", *arguments),
                *("--verbosity", "0", "--events-to", str(told.fileno())),
            ],
            cwd=ROOT,
            env=database.environment(),
            pass_fds=[told.fileno()],
            check=True,
            capture_output=True,
        )
    assert result.stdout == result.stderr == b""
    written = [json.loads(line) for line in file.read_text().splitlines()]
    return [event for event in written if event["event"] != "IndexBuilding"]


def test_each_migration_has_events_for_its_begin_and_end_in_both_directions(
    adopted: Database, tmp_path: Path
) -> None:
    began = time.monotonic()
    there = migrate(adopted, "council", "0006", file=tmp_path / "there")
    back = migrate(adopted, "council", "0005", file=tmp_path / "back")

    names = ["council.0005_member_points", "council.0006_member_points_index"]
    kinds = ["MigrationBegan", "MigrationEnded"]
    assert [(event["event"], event["migration"]) for event in there] == [
        (kind, name) for name in names for kind in kinds
    ]
    assert [(event["event"], event["migration"], event["is_reversal"]) for event in back] == [
        (kind, names[1], True) for kind in kinds
    ]
    moments = [began, *(event["at"] for event in there + back), time.monotonic()]
    assert moments == sorted(moments)
    assert 0 < there[1]["seconds"] <= there[1]["at"] - there[0]["at"] + 0.01


def test_an_event_is_one_line_with_all_its_data() -> None:
    heard, told = os.pipe()
    tell = JsonWriter(str(told))

    tell(Blocked([BLOCKER], seconds=2.0, queued=None))
    tell(Noted("two\nlines"))

    os.close(told)
    with os.fdopen(heard) as lines:
        first, second = (json.loads(line) for line in lines)
    assert (first["event"], first["seconds"], first["queued"]) == ("Blocked", 2.0, None)
    assert (first["blockers"][0]["pid"], first["blockers"][0]["holds"]) == (42, ["SHARE on Team"])
    assert (second["event"], second["text"]) == ("Noted", "two\nlines")


def test_a_closed_pipe_for_events_does_not_stop_migrate() -> None:
    heard, told = os.pipe()
    tell = JsonWriter(str(told))
    os.close(heard)

    tell(Noted("nobody hears this"))

    os.close(told)


@pytest.mark.parametrize("descriptor", ["9999", "stdout", "-1"])
def test_an_invalid_file_descriptor_is_refused(descriptor: str) -> None:
    with pytest.raises(ArgumentTypeError, match="is not the number of an open file descriptor"):
        JsonWriter(descriptor)


def test_each_listener_receives_each_event() -> None:
    first: list[Event] = []
    second: list[Event] = []

    events.to_all(first.append, None, second.append)(Noted("once"))

    assert first == second == [Noted("once")]


@pytest.mark.parametrize(("verbosity", "lines"), [(0, 0), (1, 1), (2, 2)])
def test_a_higher_verbosity_reports_more(verbosity: int, lines: int) -> None:
    stream = StringIO()
    report = Report(stream, verbosity=verbosity)

    report(Noted("a remark"))
    report(RowLevelSecurityEnabled("Theirs"))

    assert len(stream.getvalue().splitlines()) == lines


def test_blockers_are_reported_at_intervals(database: Database, scratch: BaseDatabaseWrapper) -> None:
    database.execute('CREATE TABLE "Member" ()')
    heard: list[Event] = []
    with open_transaction(database, 'LOCK TABLE "Member"'), Observer(scratch, heard.append) as observer:
        waits_for = observer.holding([('"Member"', "ACCESS SHARE")])
        left = observer.wait_until_gone(waits_for, deadline=time.monotonic() + 1)

    assert left == waits_for
    (blocked,) = heard
    assert isinstance(blocked, Blocked)
    assert blocked.blockers[0].transaction in left
    assert blocked.queued is None
