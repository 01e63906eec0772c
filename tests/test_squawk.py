"""squawk reads the SQL of every migration. No finding is missed, and no rule is ignored without need."""

import importlib.util
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from django.apps import apps
from django.db import connection
from django.db.migrations.state import ProjectState

from tests import squawk

pytestmark = pytest.mark.any_server

Reviewed = Callable[..., squawk.Review]


@pytest.fixture(scope="module")
def review(django_db_setup: None, django_db_blocker: pytest.FixtureRequest) -> squawk.Review:
    migrations = squawk.migrations_of_ours()
    with django_db_blocker.unblock():  # type: ignore[attr-defined]
        scripts = {name: squawk.sql(migration) for name, migration in migrations.items()}
    return squawk.Review(migrations, scripts=scripts, everywhere=squawk.SETTINGS["ignored"])


def test_squawk_finds_nothing_that_a_migration_does_not_ignore(review: squawk.Review) -> None:
    assert not review.standing, "\n".join(map(str, review.standing))


def test_every_ignored_rule_is_needed(review: squawk.Review) -> None:
    assert not review.needless, "\n".join(map(str, review.needless))


@pytest.fixture
def reviewed(tmp_path: Path) -> Reviewed:
    """Review a migration with the given lines of operations, and rules that the whole project ignores."""

    def reviewed(*operations: str, atomic: bool = True, everywhere: Sequence[str] = ()) -> squawk.Review:
        file = tmp_path / "written.py"
        body = "".join(f"        {line}\n" for line in operations)
        file.write_text(WRITTEN.format(atomic=atomic, body=body))
        spec = importlib.util.spec_from_file_location("written", file)
        assert spec
        assert spec.loader
        module = importlib.util.module_from_spec(spec)
        sys.modules["written"] = module
        spec.loader.exec_module(module)
        migration = module.Migration("0001_written", "council")
        editor = connection.schema_editor(collect_sql=True, atomic=False)
        with editor:
            migration.apply(ProjectState.from_apps(apps), editor, collect_sql=True)
        lines = ["BEGIN;", *editor.collected_sql, "COMMIT;"] if atomic else editor.collected_sql
        script = "\n".join([TIMEOUTS, *lines])
        return squawk.Review({"written": migration}, scripts={"written": script}, everywhere=everywhere)

    return reviewed


WRITTEN = """
from django.db import migrations
from council import zero_downtime
from council.postgres import indexes

class Migration(migrations.Migration):
    atomic = {atomic}
    operations = [
{body}    ]
"""
TIMEOUTS = "SET lock_timeout TO '1s'; SET statement_timeout TO '1s';"
NOTHING = "migrations.RunSQL('SELECT 1'),"
DROP = "migrations.RunSQL('DROP TABLE old'),"
IGNORED = "# squawk: ignore ban-drop-table: nobody reads it since 1.9"
BUILD = "zero_downtime.AddIndexConcurrently('member', index=indexes.Index(fields=['email'], name='i')),"


def rules(review: squawk.Review) -> list[str]:
    return [finding.rule for finding in review.standing]


def test_a_finding_names_its_rule_and_statement(reviewed: Reviewed) -> None:
    review = reviewed(NOTHING, DROP)

    assert rules(review) == ["ban-drop-table"]
    assert str(review.standing[0]).startswith(
        "written, line 10 of its SQL: ban-drop-table: Dropping a table may"
    )
    assert "DROP TABLE old" in str(review.standing[0])


@pytest.mark.parametrize(
    "lines",
    [
        (NOTHING, IGNORED, DROP),
        (NOTHING, IGNORED, "# nobody writes to it any more", DROP),
        (NOTHING, f"{DROP}  {IGNORED}", NOTHING),
        ("migrations.RunSQL(", f"    {IGNORED}", "    'DROP TABLE old'", "),"),
    ],
    ids=["above", "above another comment", "behind", "inside"],
)
def test_an_ignore_comment_at_its_operation_is_accepted(reviewed: Reviewed, lines: tuple[str]) -> None:
    review = reviewed(*lines)

    assert rules(review) == []
    assert review.needless == []


def test_an_ignore_comment_covers_one_operation_and_one_rule(reviewed: Reviewed) -> None:
    review = reviewed(IGNORED, DROP, DROP, IGNORED, "migrations.RunSQL('DROP SCHEMA old'),")

    assert rules(review) == ["ban-drop-table", "ban-drop-schema"]
    assert [str(ignored) for ignored in review.needless] == ["ban-drop-table, ignored by written.py, line 12"]


def test_an_unneeded_ignore_comment_is_reported(reviewed: Reviewed) -> None:
    assert [ignored.place for ignored in reviewed(IGNORED, NOTHING).needless] == ["written.py, line 9"]


def test_an_unneeded_rule_ignored_in_the_whole_project_is_reported(reviewed: Reviewed) -> None:
    review = reviewed(DROP, everywhere=["ban-drop-table", "ban-drop-schema"])

    assert rules(review) == []
    assert [str(ignored) for ignored in review.needless] == ["ban-drop-schema, ignored by pyproject.toml"]


def test_ignore_comments_of_a_class_apply_only_to_its_operations(reviewed: Reviewed) -> None:
    build = "migrations.RunSQL('CREATE INDEX CONCURRENTLY j ON t (a)'),"

    assert rules(reviewed(BUILD, atomic=False)) == []
    assert rules(reviewed(BUILD, build, atomic=False)) == ["prefer-robust-stmts"]


@pytest.mark.parametrize(
    "lines",
    [
        ("# squawk: ignore ban-drop-table", DROP),
        ("# squawk: ignore ban-drop-table:", DROP),
        ("# squawk-ignore ban-drop-table: nobody reads it", DROP),
        (DROP, IGNORED),
    ],
    ids=["no reason", "an empty reason", "squawk's own words", "beside no operation"],
)
def test_an_unclear_ignore_comment_is_refused(reviewed: Reviewed, lines: tuple[str]) -> None:
    with pytest.raises(squawk.UnclearIgnore, match=r"written\.py, line \d+.*ignores nothing"):
        reviewed(*lines)


def test_sql_that_squawk_cannot_read_is_a_finding(reviewed: Reviewed) -> None:
    assert set(rules(reviewed("migrations.RunSQL('DROP TABEL old'),"))) == {"syntax-error"}


def test_a_failure_of_squawk_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(squawk.SETTINGS, "pg_version", "fifteen")

    with pytest.raises(RuntimeError, match="squawk failed: .*fifteen"):
        squawk.findings({"written": "SELECT 1"})
