"""`manage.py migrate` compared with Django's command: refusals, announcements and signals."""

from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.core.management.commands import migrate as django_migrate
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models.signals import post_migrate, pre_migrate

from council.management.commands.migrate import Command
from council.zero_downtime.executor import Executor
from tests.databases import SCRATCH, Database

pytestmark = pytest.mark.django_db

COMMANDS = (django_migrate.Command, Command)


def run(command: Any, *arguments: str, **options: Any) -> str:
    out = StringIO()
    call_command(
        command(stdout=out, no_color=True), *arguments, database=SCRATCH, interactive=False, **options
    )
    return out.getvalue()


@pytest.mark.any_server
@pytest.mark.parametrize(
    "arguments",
    [
        ["nowhere"],
        ["messages"],
        ["council", "9999"],
        ["council", "00"],
        ["council", "--run-syncdb"],
    ],
    ids=" ".join,
)
def test_arguments_are_refused_in_django_s_words(scratch: BaseDatabaseWrapper, arguments: list[str]) -> None:
    told = []
    for command in COMMANDS:
        with pytest.raises(CommandError) as error:
            run(command, *arguments)
        told.append(str(error.value))
    assert told[0] == told[1]


@pytest.mark.any_server
@pytest.mark.parametrize(
    "arguments",
    [["sessions"], ["sessions", "0001"], ["sessions", "zero"], ["messages", "--run-syncdb"]],
    ids=" ".join,
)
def test_the_announcements_are_those_of_django(scratch: BaseDatabaseWrapper, arguments: list[str]) -> None:
    first, second = (run(command, *arguments).partition("Running migrations:")[0] for command in COMMANDS)
    assert first == second
    assert "Operations to perform:\n  " in first


@pytest.mark.any_server
def test_the_signals_get_what_django_sends(scratch: BaseDatabaseWrapper, database: Database) -> None:
    sent: list[Any] = []

    def receive(sender: Any, signal: Any, plan: Any, apps: Any, using: str, **_: Any) -> None:
        models = sorted(model._meta.label for model in apps.get_models())
        sent.append((sender.label, signal is pre_migrate, plan, models, using))

    for signal in (pre_migrate, post_migrate):
        signal.connect(receive, weak=False, dispatch_uid="test")
    try:
        told = []
        for command in COMMANDS:
            database.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
            sent.clear()
            run(command, "sessions", verbosity=0)
            told.append(list(sent))
    finally:
        for signal in (pre_migrate, post_migrate):
            signal.disconnect(dispatch_uid="test")

    assert told[0] == told[1]
    planned = [(str(migration), backwards) for migration, backwards in told[0][-1][2]]
    assert ("sessions.0001_initial", False) in planned
    assert any("sessions.Session" in models for *_, models, _ in told[0])


@pytest.mark.any_server
@pytest.mark.parametrize("label", ["messages", None])
def test_apps_without_migrations_are_left_to_django_s_command(
    scratch: BaseDatabaseWrapper, label: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced = []
    monkeypatch.setattr(Command, "sync_apps", lambda self, connection, labels: synced.append(set(labels)))
    monkeypatch.setattr(Executor, "migrate", lambda self, targets, plan, state, **_: state)

    run(Command, *filter(None, [label]), run_syncdb=True)

    [labels] = synced
    assert "messages" in labels
    assert (labels == {"messages"}) is (label is not None)
    assert not labels & {"council", "sessions"}
