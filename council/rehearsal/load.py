"""The gateway's load on a copy: clients, and now and then a transaction that stays open for long."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import psycopg

from council.gateway import statements
from council.gateway.statements import BY_NAME
from council.rehearsal.client import UNANSWERED
from council.rehearsal.database_url import DatabaseUrl
from council.rehearsal.errors import CannotRehearse
from council.rehearsal.migrate_process import PROJECT
from council.zero_downtime.interruption import undisturbed

READY_SECONDS, END_SECONDS = 60.0, 30.0
GATEWAY, REPORT = "gateway", "nightly report"


class TimedStatement(NamedTuple):
    """One statement that was due. Times are from the monotonic clock; `error` is empty if there was none."""

    due: float
    answered: float
    statement: str
    kind: str
    error: str

    @property
    def waited(self) -> float:
        return self.answered - self.due


@dataclass(frozen=True)
class Load:
    """The amount of load: `per_second` statements a second in total, divided among the clients.

    Again and again, with `pause_seconds` between, a transaction that has read all members stays open for `held_seconds`
    (0: never). Only the named `statements` are sent (empty: all), each once its tables exist.
    """

    clients: int = 4
    per_second: float = 200.0
    held_seconds: float = 3.0
    pause_seconds: float = 12.0
    statements: tuple[str, ...] = ()


@dataclass
class Observed:
    """The clients' samples, and when long transactions were open. Complete only after the load has ended."""

    samples: list[TimedStatement] = field(default_factory=list)
    held: list[tuple[float, float]] = field(default_factory=list)
    clients: list[subprocess.Popen[str]] = field(default_factory=list)

    def refuse_stopped_clients(self) -> None:
        """Raise CannotRehearse if a client has stopped."""
        for client in self.clients:
            if client.poll() is not None:
                raise _stopped(client)


@contextmanager
def at_work(database: DatabaseUrl, load: Load, *, schema: str, folder: Path) -> Iterator[Observed]:
    """Run the load during a block. Raises CannotRehearse if a client cannot start, or stops early."""
    clients: list[subprocess.Popen[str]] = []
    observed = Observed(clients=clients)
    outputs = [folder / f"client-{number}" for number in range(load.clients)]
    ended = threading.Event()
    holder = threading.Thread(
        target=_hold_now_and_then, args=[database, load, schema, observed, ended], daemon=True
    )
    try:
        for output in outputs:  # add each at once, so that all that were started are also ended
            clients += [_start(database, load, schema, output)]
        for client in clients:
            _wait_until_ready(client)
        if load.held_seconds:
            holder.start()
        yield observed
        for client in clients:
            _end(client)
        for output in outputs:
            observed.samples.extend(_read(output))
    finally:
        ended.set()
        with undisturbed():
            for client in clients:
                client.kill()
                client.communicate()
            if holder.is_alive():
                holder.join(END_SECONDS)


def _start(database: DatabaseUrl, load: Load, schema: str, output: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "council.rehearsal.client", database.without_password, schema]
    command += [str(load.per_second / load.clients), str(output), *load.statements]
    # In a new session, so that Ctrl-C reaches only the rehearsal, which then ends the clients.
    return subprocess.Popen(  # noqa: S603
        command,
        cwd=PROJECT,
        env={**os.environ, "PYTHONPATH": str(PROJECT), **database.environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def _wait_until_ready(client: subprocess.Popen[str]) -> None:
    assert client.stdout
    if client.stdout.readline() != "ready\n":
        raise _stopped(client)


def _end(client: subprocess.Popen[str]) -> None:
    client.terminate()
    try:
        status = client.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        status = -1
    if status != 0:
        raise _stopped(client)


def _stopped(client: subprocess.Popen[str]) -> CannotRehearse:
    client.kill()
    _, errors = client.communicate()
    return CannotRehearse(
        f"A client that simulates the gateway has stopped: {(errors.strip() or 'no answer').splitlines()[-1]}",
        cure="Check that the copy's server is running and accepts --clients + 5 sessions.",
    )


def _read(output: Path) -> Iterator[TimedStatement]:
    for line in output.read_text().splitlines():
        due, answered, name, error = line.split("\t", 3)
        yield TimedStatement(
            float(due), float(answered), name, BY_NAME[name].kind, "" if error == UNANSWERED else error
        )


def _hold_now_and_then(
    database: DatabaseUrl, load: Load, schema: str, observed: Observed, ended: threading.Event
) -> None:
    """Read in a transaction and keep it open, with a snapshot like a report's, again and again."""
    with suppress(psycopg.OperationalError), database.connect(application=REPORT) as session:
        session.execute("SELECT set_config('search_path', %s, false)", [f'"{schema}"'])
        while not ended.wait(load.pause_seconds / 4):
            session.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
            session.execute(statements.REPORT)
            began = time.monotonic()
            ended.wait(load.held_seconds)
            session.execute("COMMIT")
            observed.held.append((began, time.monotonic()))
            ended.wait(load.pause_seconds * 3 / 4)
