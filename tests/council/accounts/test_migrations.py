"""Databases that were migrated while `Account` belonged to the app `council` are converted."""

import re
import signal
from collections.abc import Iterator
from functools import partial
from importlib import import_module
from pathlib import Path

import pytest
from django.apps import apps
from django.conf import settings
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group, Permission
from django.contrib.contenttypes.models import ContentType
from django.db import connection, migrations
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.state import ProjectState
from django.test import Client

from council.accounts.models import Account
from tests.databases import Database, migrate
from tests.faults import points, processes

BEFORE = Path(__file__).with_name("history_before.sql").read_text()
WHOLE = 4  # migrations that made accounts
RIGHTS = """
SELECT 'group', g.name, p.id, p.codename FROM auth_group_permissions gp
  JOIN auth_group g ON g.id = gp.group_id JOIN auth_permission p ON p.id = gp.permission_id
 UNION ALL
SELECT 'account', a.username, p.id, p.codename FROM council_account_user_permissions up
  JOIN council_account a ON a.id = up.account_id JOIN auth_permission p ON p.id = up.permission_id
 ORDER BY 1, 2, 3
"""
KEPT = """
SELECT 'account', to_jsonb(t)::text FROM council_account t
 UNION ALL SELECT 'groups', to_jsonb(t)::text FROM council_account_groups t
 UNION ALL SELECT 'log', to_jsonb(t)::text FROM django_admin_log t
 UNION ALL SELECT 'session', to_jsonb(t)::text FROM django_session t
 ORDER BY 1, 2
"""
TYPES = "SELECT id, app_label FROM django_content_type WHERE model = 'account'"
PERMISSIONS = "SELECT count(*) FROM auth_permission WHERE codename LIKE '%\\_account'"
RECORD = "SELECT app, name, count(*) FROM django_migrations GROUP BY app, name ORDER BY 1, 2"


def go_back(database: Database, *, applied: int = WHOLE) -> None:
    """Change a database's record to the old history, with this many of its migrations applied."""
    database.execute(BEFORE.replace(":applied", str(applied)))


@pytest.fixture
def before(migrated: Database) -> Iterator[Database]:
    """A database with the old history, and with accounts, permissions, a log and a session."""
    with migrated.as_default_connection():
        sam = Account.objects.create_superuser("sam", "a horse of sam's")
        nora = Account.objects.create_user("nora", "a horse of nora's", is_staff=True)
        right = Permission.objects.get(codename="change_account")
        closers = Group.objects.create(name="Closers")
        closers.permissions.add(right)
        nora.groups.add(closers)
        nora.user_permissions.add(Permission.objects.get(codename="view_account"))
        LogEntry.objects.log_actions(sam.pk, [nora], 2, "Closed", single_object=True)
        Client().force_login(nora, backend="council.auth.StaffBackend")
    go_back(migrated)
    with migrated.as_django_connection():
        yield migrated


def test_nothing_is_lost_and_nobody_signed_out(before: Database) -> None:
    kept, rights, catalog = before.fetch(KEPT), before.fetch(RIGHTS), before.catalog()
    ((content_type, label),) = before.fetch(TYPES)
    assert label == "council"

    migrate()

    assert before.fetch(KEPT) == kept
    assert before.fetch(RIGHTS) == rights
    assert before.catalog() == catalog
    assert before.fetch(TYPES) == [(content_type, "accounts")]
    assert before.fetch(PERMISSIONS) == [(4,)]
    ((session,),) = before.fetch("SELECT session_key FROM django_session")
    with before.as_default_connection():
        browser = Client()
        browser.cookies[settings.SESSION_COOKIE_NAME] = str(session)
        assert browser.get("/admin/accounts/account/").status_code == 200
        assert Account.objects.get(username="nora").has_perm("accounts.change_account")


def test_migrations_applied_under_the_old_label_are_not_run_again(
    before: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    result = before.manage("migrate")

    assert next(line for line in result.stdout.splitlines() if line.startswith("  Applied")).startswith(
        "  Applied accounts.0005_content_type in"
    )
    later = [
        name for app, name in MigrationLoader(None).disk_migrations if app == "accounts" and name > "0005"
    ]
    assert re.findall(r"^  Applied (\S+)", result.stdout, re.MULTILINE) == [
        f"accounts.{name}" for name in sorted(later)
    ]
    assert before.manage("migrate", "--check").returncode == 0
    record = before.fetch(RECORD)
    assert {count for *_, count in record} == {1}
    assert [name for app, name, _ in record if app == "accounts"] == [
        name for app, name in sorted(MigrationLoader(None).disk_migrations) if app == "accounts"
    ]


@pytest.mark.parametrize("applied", range(WHOLE))
def test_an_incomplete_old_history_can_be_continued(database: Database, applied: int) -> None:
    with database.as_django_connection():
        targets = ["0001_account", "0002_fks_not_valid", "0003_validate_fks"][:applied]
        migrate("council", "0001")
        migrate("auth")
        for target in targets:
            migrate("accounts", target)
        database.execute(BEFORE.replace(":applied", str(applied)))

        migrate("accounts")

        assert database.fetch(TYPES)[0][1] == "accounts"
        assert len(database.fetch(TYPES)) == 1
        assert (
            database.fetch(
                "SELECT conname FROM pg_constraint WHERE conname = 'council_account_member_is_no_staff'"
            )
            != []
        )


@pytest.mark.any_server
def test_a_run_killed_at_any_statement_is_finished_by_the_next(migrated: Database) -> None:
    """Most statements only read, so the run is killed at each statement that writes, and at its COMMIT."""
    go_back(migrated)
    connection.close()
    moving = partial(points.migrate, migrated, "accounts", "0005")
    statements = processes.Reporter(moving).report()
    assert statements
    expected = migrated.fetch(TYPES), migrated.fetch(RECORD)
    writing, has_written = [], False
    for n, text in enumerate(statements, 1):
        if text.startswith(("UPDATE", "INSERT", "DELETE")) or (text == "COMMIT" and has_written):
            writing.append(2 * n)
            has_written = text != "COMMIT"
    assert len(writing) > 5
    for point in writing:
        go_back(migrated)
        pid = processes.fork(partial(moving, at=point, act=processes.die))
        assert processes.status_of(pid) == -signal.SIGKILL

        status = processes.status_of(processes.fork(moving))

        assert status == 0
        assert (migrated.fetch(TYPES), migrated.fetch(RECORD)) == expected, statements[point // 2 - 1]


def test_rights_and_log_of_a_newer_content_type_move_to_the_older(before: Database) -> None:
    rights, kept = before.fetch(RIGHTS), before.fetch(KEPT)
    with before.as_default_connection():
        newer = ContentType.objects.create(app_label="accounts", model="account")
        for codename in ("change_account", "close_account"):
            right = Permission.objects.create(content_type=newer, codename=codename, name=codename)
            Group.objects.create(name=f"May {codename}").permissions.add(right)
        LogEntry.objects.update(content_type=newer)
        ContentType.objects.clear_cache()

    migrate()

    assert len(before.fetch(TYPES)) == 1
    assert before.fetch(KEPT) == kept
    after = before.fetch(RIGHTS)
    assert set(rights) < set(after)
    old = next(row[2] for row in rights if row[3] == "change_account")
    assert ("group", "May change_account", old, "change_account") in after
    assert [row[1] for row in after if row[3] == "close_account"] == ["May close_account"]


def test_reversing_restores_the_old_label(before: Database) -> None:
    ((content_type, _),) = before.fetch(TYPES)
    migrate()
    module = import_module("council.accounts.migrations.0005_content_type")

    with before.as_default_connection():
        module.move(apps, using="default", before="accounts", after="council")
        ContentType.objects.clear_cache()

    assert before.fetch(TYPES) == [(content_type, "council")]


def test_other_apps_refer_to_accounts_as_django_s_documentation_says() -> None:
    """`swappable_dependency` means the first migration of the user model's app."""
    dependency = migrations.swappable_dependency(settings.AUTH_USER_MODEL)
    assert tuple(dependency) == ("accounts", "__first__")
    loader = MigrationLoader(None)
    assert loader.check_key(dependency, "others") == ("accounts", "0001_account")

    state: ProjectState = loader.project_state(("accounts", "0001_account"))

    assert ("accounts", "account") in state.models


def test_the_baseline_runs_before_all_other_migrations() -> None:
    loader = MigrationLoader(None)
    for node in loader.graph.leaf_nodes():
        plan = loader.graph.forwards_plan(node)
        assert plan[0] == ("council", "0001_baseline") or ("council", "0001_baseline") not in plan
