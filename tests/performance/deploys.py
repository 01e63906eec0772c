"""The ways to take a database from version 1 to version 2 that are held against each other."""

import importlib.util
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import psycopg

from tests.performance import measuring, stock_project, v2_sql

OURS = "ours"
# Where Django's and our own `migrate` begin and end a migration. Django writes what it does before it does it.
BEGINS_OR_ENDS = re.compile(r"Applying (?P<label>[\w.]*\w)(?:\.\.\.|\n)|(?P<end>Applied [^\n]*\n| OK\n)")
LOCK_TIMEOUT_MS = 250


@dataclass
class Mark:
    """A migration, or a statement, with time.monotonic() of its beginning and end."""

    label: str
    began: float
    ended: float = 0.0


@dataclass
class Deploy:
    began: float = field(default_factory=time.monotonic)
    ended: float = 0.0
    exit_status: int = 0
    marks: list[Mark] = field(default_factory=list)
    output: str = ""

    def begin(self, label: str) -> None:
        self.end()
        self.marks.append(Mark(label, time.monotonic()))

    def end(self) -> None:
        """End the migration that is under way, if one is."""
        if self.marks and not self.marks[-1].ended:
            self.marks[-1].ended = time.monotonic()

    def finish(self, exit_status: int) -> None:
        self.end()
        self.ended, self.exit_status = time.monotonic(), exit_status


Run = Callable[[], Deploy]


class Contestant(NamedTuple):
    # Called before the load begins, for what is no part of the deploy.
    prepare: Callable[[measuring.Server, str, Path], Run]
    needs: str | None = None  # a package that is none of the project's own

    @property
    def is_installed(self) -> bool:
        return self.needs is None or importlib.util.find_spec(self.needs) is not None

    @contextmanager
    def ready(self, server: measuring.Server, database: str) -> Iterator[Run]:
        with tempfile.TemporaryDirectory(prefix="council-deploy-") as folder:
            yield self.prepare(server, database, Path(folder))


def _ours(server: measuring.Server, database: str, folder: Path) -> Run:
    command = [sys.executable, "manage.py", "migrate"]
    return lambda: _watch(command, cwd=measuring.PROJECT, environment=server.environment(database))


def _in_one_go(server: measuring.Server, database: str, folder: Path) -> Run:
    return lambda: _execute(server, database, list(v2_sql.in_one_go()), in_one_transaction=True)


def _step_by_step(server: measuring.Server, database: str, folder: Path) -> Run:
    return lambda: _execute(server, database, list(v2_sql.step_by_step()), in_one_transaction=False)


def _django(*command: str, engine: str = "django.db.backends.postgresql") -> Contestant:
    """Have a command of Django's, or of a tool for it, migrate a stock project."""
    tools = "django_pg_migration_tools" if command[0] == "migrate_with_timeouts" else ""
    package = engine.partition(".")[0]

    def prepare(server: measuring.Server, database: str, folder: Path) -> Run:
        stock_project.write(folder, trigger=v2_sql.TRIGGER, with_tools=bool(tools))
        environment = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "stock_settings",
            "ENGINE": engine,
            "TOOLS": tools,
            "NAME": database,
            "HOST": server.address.host,
            "PORT": str(server.address.port),
            "OWNER": server.address.user,
        }
        django = [sys.executable, "-m", "django"]
        adopt = [*django, "migrate", "stock", "0001", "--fake", "--verbosity=0"]
        subprocess.run(adopt, cwd=folder, env=environment, check=True)
        return lambda: _watch([*django, *command], cwd=folder, environment=environment)

    return Contestant(prepare, needs=tools or (package if package != "django" else None))


CONTESTANTS = {
    OURS: Contestant(_ours),
    "concurrent, no timeout": Contestant(_step_by_step),
    "plain SQL": Contestant(_in_one_go),
    "stock Django": _django("migrate"),
    "django-pg-zero-downtime-migrations": _django(
        "migrate", engine="django_zero_downtime_migrations.backends.postgres"
    ),
    "django-pg-migration-tools": _django(
        "migrate_with_timeouts", f"--lock-timeout-in-ms={LOCK_TIMEOUT_MS}", "--lock-timeout-max-retries=20"
    ),
}


def _watch(command: list[str], *, cwd: Path, environment: dict[str, str]) -> Deploy:
    """Run a command and note when its output tells of a migration."""
    deploy = Deploy()
    process = subprocess.Popen(
        command,
        cwd=cwd,
        env={**environment, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert process.stdout
    unread = ""
    while chunk := os.read(process.stdout.fileno(), 65536):
        text = chunk.decode(errors="replace")
        deploy.output += text
        unread += text
        while found := BEGINS_OR_ENDS.search(unread):
            unread = unread[found.end() :]
            if found["label"]:
                deploy.begin(found["label"])
            else:
                deploy.end()
    deploy.finish(process.wait())
    return deploy


def _execute(
    server: measuring.Server, database: str, statements: list[v2_sql.Statement], *, in_one_transaction: bool
) -> Deploy:
    """Run statements; the first that fails is the last."""
    deploy = Deploy()
    status = 0
    with server.connect(database) as connection:
        try:
            with connection.transaction() if in_one_transaction else nullcontext():
                for statement in statements:
                    deploy.begin(statement.label)
                    connection.execute(statement.sql)
                deploy.begin("commit")
        except psycopg.Error as error:
            status, deploy.output = 1, str(error)
    deploy.finish(status)
    return deploy
