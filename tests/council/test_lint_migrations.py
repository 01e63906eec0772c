"""`manage.py lint_migrations`, and the system check with the same findings."""

import io
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from council.zero_downtime.planning import lint

pytestmark = [pytest.mark.django_db, pytest.mark.any_server]

RISKY = """
from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("council", "0001_baseline")]
    {accepts}
    operations = [migrations.RunSQL('CREATE INDEX i ON "Member" (company)')]
"""


@pytest.fixture
def risky_app(tmp_path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Make an app with one risky migration, which may accept risks."""

    def make(accepts: str = "") -> None:
        folder = tmp_path / "risky" / "migrations"
        folder.mkdir(parents=True)
        for init in (folder.parent, folder):
            (init / "__init__.py").touch()
        (folder / "0001_index.py").write_text(RISKY.format(accepts=accepts))
        monkeypatch.syspath_prepend(tmp_path)
        for module in [name for name in sys.modules if name.partition(".")[0] == "risky"]:
            monkeypatch.delitem(sys.modules, module)
        settings.INSTALLED_APPS = [*settings.INSTALLED_APPS, "risky"]
        settings.BASE_DIR = tmp_path

    return make


def lint_migrations(*arguments: str) -> tuple[int, str]:
    out = io.StringIO()
    try:
        call_command("lint_migrations", *arguments, stdout=out)
    except SystemExit as ended:
        return int(str(ended.code)), out.getvalue()
    return 0, out.getvalue()


def test_the_project_s_migrations_have_no_findings() -> None:
    assert lint_migrations() == (0, "Nothing found.\n")


def test_a_risk_is_found_and_reported_with_its_cure(risky_app: Any) -> None:
    risky_app()
    status, output = lint_migrations()
    assert status == 1
    assert 'plain-index: Index "i" is built while nobody can write to "Member".' in output
    assert "Use zero_downtime.AddIndexConcurrently" in output

    status, output = lint_migrations("--format=json")
    [found] = json.loads(output)
    assert (status, found["migration"], found["rule"]) == (1, "risky.0001_index", "plain-index")


def test_a_risk_is_accepted_in_the_migration(risky_app: Any) -> None:
    risky_app('accepts = {"plain-index": "Ten rows."}')
    assert lint_migrations()[0] == 0


def test_an_accepted_risk_that_is_not_taken_is_found(risky_app: Any) -> None:
    risky_app('accepts = {"plain-index": "Ten rows.", "rewrite": "It was one, once."}')
    status, output = lint_migrations()
    assert status == 1
    assert "nothing-to-accept: It accepts rewrite, but nothing that it does has this risk." in output


def test_the_deploy_check_has_the_same_findings(risky_app: Any) -> None:
    risky_app()
    err = io.StringIO()
    call_command("check", "--deploy", databases=["default"], stderr=err)
    assert "council.W002" in err.getvalue()
    assert 'Index "i" is built while nobody can write to "Member".' in err.getvalue()


def test_another_app_is_checked_on_request() -> None:
    """The second migration of Django's contenttypes drops a column that earlier code reads."""
    status, output = lint_migrations("contenttypes")
    assert status == 1
    assert 'breaks-earlier-code: Column "name" of "django_content_type" is dropped' in output


def test_an_app_that_is_not_installed_is_refused() -> None:
    with pytest.raises(
        CommandError, match="No installed app has the label nothing. The labels are accounts, "
    ):
        lint_migrations("nothing")


def test_no_table_is_read() -> None:
    connection.force_debug_cursor = True
    try:
        lint.findings(connection, lint.own_apps())
        read = {table for query in connection.queries for table in re.findall(r'FROM "(\w+)"', query["sql"])}
        assert read <= {"django_migrations"}
    finally:
        connection.force_debug_cursor = False
