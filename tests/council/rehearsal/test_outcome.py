"""Which migration caused a wait, how the verdict is reached, and how it is shown."""

import io
import json
import re
import time
from html.parser import HTMLParser
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from council.rehearsal import json_report, page, picture, table
from council.rehearsal.load import Load, TimedStatement
from council.rehearsal.lock_samples import LockSample
from council.rehearsal.outcome import LockComparison, Outcome, conclude, waits
from council.rehearsal.prediction import Predicted
from council.rehearsal.record import MigrationRun, Origin, Record
from tests.browser import Visitor

pytestmark = pytest.mark.any_server

READ, WRITE = "member by id", "update of a profile"


def sample(due: float, waited: float, statement: str = READ, error: str = "") -> TimedStatement:
    return TimedStatement(due, due + waited, statement, "read" if statement == READ else "write", error)


def outcome(
    *samples: TimedStatement, max_wait_ms: float = 350, status: int = 0, left_out: list[str] | None = None
) -> Outcome:
    """A migrate from 9 to 13.5, with two migrations from 10 to 12 and from 12 to 13."""
    predicted = {
        "council.0005_first": Predicted(
            1.5, (("Member", "ACCESS EXCLUSIVE"), ("Team", "SHARE")), ("rule: <fault>.",)
        ),
        "council.0006_second": Predicted(0.01),
    }
    record = Record(
        Origin("a database", "a server", "18.4", left_out or [], source_version=15, copy_seconds=3),
        Load(),
        max_wait_ms,
        predicted,
        samples=samples,
        open_transactions=((8.0, 11.0),),
        held=(
            LockSample(11.0, "Member", "SHARE", True),
            LockSample(11.5, "Member", "ACCESS EXCLUSIVE", True),
            LockSample(11.5, "django_migrations", "ROW EXCLUSIVE", True),
            LockSample(12.5, "Team", "SHARE UPDATE EXCLUSIVE", True),
        ),
        runs=(
            MigrationRun("council.0005_first", 10, 1000, 12, 2_500_000),
            MigrationRun("council.0006_second", 12, 2_500_000, 13, 900),
        ),
        began=9,
        ended=13.5,
        status=status,
        output=("  Applying", "CommandError: it <failed>", "") if status else (),
        size_before_bytes=1000,
        size_after_bytes=900,
    )
    return conclude(record)


SOUND = (sample(5, 0.002), sample(5, 0.003, WRITE), sample(10.5, 0.01), sample(10.6, 0.02, WRITE))


def test_a_wait_belongs_to_the_migration_in_which_it_lasted_longest() -> None:
    found = outcome(
        in_first := sample(10.1, 0.1),
        more_in_first := sample(11.5, 0.7),
        more_in_second := sample(11.9, 0.5),
        through_all := sample(9.5, 4),
        in_none := sample(9.1, 0.1),
        sample(13.2, 0.1),
        sample(2, 0.1),
        sample(14, 0.1),
    )

    assert [set(migration.samples) for migration in found.migrations] == [
        {in_first, more_in_first, through_all},
        {more_in_second},
    ]
    assert in_none in found.during
    assert len(found.during) == 6
    assert len(found.before) == 1


def test_the_strongest_lock_of_a_migration_is_compared_with_the_predicted_one() -> None:
    first, second = outcome().migrations

    assert first.locks == (
        LockComparison("Member", "ACCESS EXCLUSIVE", "ACCESS EXCLUSIVE"),
        LockComparison("Team", "SHARE", None),
    )
    assert second.locks == (LockComparison("Team", None, "SHARE UPDATE EXCLUSIVE"),)


def test_a_rehearsal_with_allowed_waits_passes() -> None:
    assert outcome(*SOUND).faults == ()
    assert outcome(*SOUND).is_passed


@pytest.mark.parametrize(
    ("samples", "fault"),
    [
        (
            [sample(11, 0.4)],
            "a read waited 400 ms, but only 350 ms are allowed (member by id, in council.0005_first)",
        ),
        (
            [sample(12.1, 0.4, WRITE)],
            "a write waited 400 ms, but only 350 ms are allowed (update of a profile, in council.0006",
        ),
        (
            [sample(9.1, 0.4)],
            "a read waited 400 ms, but only 350 ms are allowed (member by id, in none of the migrations)",
        ),
        ([sample(11, 0.1, error="no such column")] * 2, "'member by id' failed 2 times: no such column"),
        ([sample(13.8, 0.1, error="no such column")], "'member by id' failed 1 time: no such column"),
    ],
    ids=["read", "write", "start", "failures", "failure afterwards"],
)
def test_a_wait_or_a_failure_fails_the_rehearsal(samples: list[TimedStatement], fault: str) -> None:
    found = outcome(*SOUND, *samples).faults

    assert len(found) == 1
    assert found[0].startswith(fault)


def test_a_wait_or_a_failure_before_the_migrations_is_reported_but_does_not_count() -> None:
    found = outcome(*SOUND, sample(6, 0.4), sample(7, 0.1, error="broken"), sample(11, 0.1, error="broken"))

    assert found.faults == ()
    assert found.notes[0].startswith("a statement already waited 400 ms before the migrations")
    assert "'member by id' already failed before the migrations began, so it was ignored" in found.notes
    assert any("the source is PostgreSQL 15, the copy 18" in note for note in found.notes)


def test_a_rehearsal_without_statements_proves_nothing() -> None:
    assert outcome(SOUND[0], SOUND[2]).faults == (
        "no write was due while the migrations ran, so nothing was measured: raise --rate",
    )


def test_a_failed_migrate_fails_the_rehearsal_with_its_message() -> None:
    assert outcome(*SOUND, status=1).faults == (
        "migrate ended with the exit status 1: CommandError: it <failed>",
    )


def test_waits_are_summed_up() -> None:
    found = waits([sample(n, n / 1000) for n in range(1, 101)], kind="read")

    assert (found.count, found.median_ms, found.p99_ms, found.longest_ms) == pytest.approx(
        (100, 50.5, 100, 100)
    )
    assert waits([], kind=None).longest_ms is None


def test_figures_are_written_in_the_unit_of_their_key() -> None:
    found = json.loads(json.dumps(json_report.as_json(outcome(*SOUND))))

    assert found["passed"] is True
    assert (found["longest_read_ms"], found["longest_write_ms"]) == (10, 20)
    assert (found["duration_ms"], found["copy_ms"]) == (4500, 3000)
    first = found["migrations"][0]
    assert (first["duration_ms"], first["predicted_ms"], first["read"]["longest_ms"]) == (2000, 1500, 10)
    assert (first["size_before_bytes"], first["size_after_bytes"]) == (1000, 2_500_000)
    assert first["locks"][0] == {
        "table": "Member",
        "predicted": "ACCESS EXCLUSIVE",
        "observed": "ACCESS EXCLUSIVE",
    }
    assert found["before"]["write"] == {"count": 1, "median_ms": 3, "p99_ms": 3, "longest_ms": 3}


def test_the_table_can_be_written_to_a_log() -> None:
    stream = io.StringIO()
    table.write(outcome(*SOUND, sample(11, 0.4), left_out=["extension vault: not there"]), stream)

    written = stream.getvalue()
    assert re.search(r"council\.0005_first +2\.0 s +about 1\.5 s +400 ms +20\.0 ms +\+2\.4 MB", written)
    assert "\n   ACCESS EXCLUSIVE on Member" in written
    assert "\n   SHARE on Team (predicted, not seen)" in written
    assert "Note: not in the copy: extension vault: not there." in written
    assert "Warning of the plan: rule: <fault>." in written
    assert written.splitlines()[-1].startswith("FAILED: a read waited 400 ms, but only 350 ms are allowed")
    assert max(map(len, written.splitlines())) <= 131


class Page(HTMLParser):
    """Collects the addresses that a page loads, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.words = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag != "script"
        self.loaded += [value or "" for name, value in attrs if name in {"src", "href", "srcset", "data"}]

    def handle_data(self, data: str) -> None:
        self.words += data


def test_the_page_loads_nothing_else_and_escapes_all_values() -> None:
    text = page.render(outcome(*SOUND, status=1, left_out=["<b>bold</b>"]))
    found = Page(text)

    assert found.loaded == ["data:,"]
    assert "@import" not in text
    assert "url(" not in text
    assert "<failed>" in found.words
    assert "<b>bold</b>" in found.words


def test_the_waits_of_an_hour_are_drawn_quickly() -> None:
    """Otherwise it would take hours instead of a second."""
    many = [sample(n / 200, 0.001 + (n % 97) / 10_000, READ if n % 2 else WRITE) for n in range(700_000)]
    began = time.monotonic()

    panel = picture.Panel([(one.due, one.waited, one.kind) for one in many], deploy=(9, 13))

    assert picture.draw(panel).count("<circle") <= 2 * (picture.BUCKETS + 1)
    assert time.monotonic() - began < 120


def test_the_page_is_accessible(chromium: Browser, tmp_path: Path) -> None:
    """The page is checked on a phone and a desktop, in light and dark mode, for a passed and a failed rehearsal."""
    load = [sample(5 + n / 50, 0.002 + (n % 7) / 1000, READ if n % 3 else WRITE) for n in range(500)]
    for name, found in {
        "rehearsal-passed": outcome(*SOUND, *load),
        "rehearsal-failed": outcome(
            *SOUND, *load, sample(11, 1.2), status=1, left_out=["extension vault: none"]
        ),
    }.items():
        file = tmp_path / f"{name}.html"
        file.write_text(page.render(found))
        context = chromium.new_context(reduced_motion="reduce")
        visitor = Visitor(context, "file://")
        visitor.page.goto(f"file://{file}")
        visitor.inspect(name)
        assert visitor.complaints == []
        context.close()
