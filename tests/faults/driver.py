"""The database that every try begins with, and the state that it must end with."""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial

from tests.databases import Database
from tests.faults import facts, points, processes
from tests.faults.writer import Written, writing


class Fault(Exception):
    """A try found a fault."""


def require(holds: object, otherwise: str) -> None:
    if not holds:
        raise Fault(otherwise)


def wait_for(look: Callable[[], list[tuple[object, ...]]], what: str) -> list[tuple[object, ...]]:
    deadline = time.monotonic() + 120
    while not (found := look()):
        require(time.monotonic() < deadline, f"{what} did not come")
        time.sleep(0.02)
    return found


@dataclass(frozen=True)
class Try:
    part: str
    name: str
    act: Callable[["Driver", Database], None]
    has_writer: bool = False

    def __str__(self) -> str:
        return f"{self.part}, {self.name}{', beside a writer' if self.has_writer else ''}"


class Driver:
    """Holds a v1 database to copy, and the result of an undisturbed migrate."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.longest_seconds = 0.0  # the longest wait of a writer
        self.unreached = 0
        self.template = Database(f"{name}_v1")
        self.template.drop()
        self.template.create()
        self.template.execute(facts.V1 + facts.ROWS)
        self.v1 = self.template.catalog()
        self.gateways = facts.columns(self.template)
        with self.fresh("undisturbed") as database:
            statements = processes.Reporter(partial(points.migrate, database)).report()
            require(statements, "an undisturbed migrate failed")
            self.statements: list[str] = statements
            self.expected = facts.facts(database, self.gateways)

    def close(self) -> None:
        self.template.drop()

    @contextmanager
    def fresh(self, purpose: str) -> Iterator[Database]:
        database = Database(f"{self.name}_{purpose}")
        database.create(template=self.template.name)
        try:
            yield database
        finally:
            database.drop()

    def carry_out(self, attempt: Try, *, lane: int) -> str | None:
        """Run a try. Returns what went wrong, if anything."""
        unreached = self.unreached
        try:
            with self.fresh(f"lane{lane}") as database:
                with writing(database) if attempt.has_writer else nullcontext(Written()) as written:
                    attempt.act(self, database)
                require(not written.fault, str(written.fault))
                require(
                    attempt.has_writer or self.unreached == unreached, "it ended before it came to the point"
                )
                self.longest_seconds = max(self.longest_seconds, written.longest_seconds)
                found = facts.facts(database, self.gateways)
        except Exception as error:
            return str(error) if isinstance(error, Fault) else f"{type(error).__name__}: {error}"
        lines = [f"- {line}" for line in self.expected - found] + [
            f"+ {line}" for line in found - self.expected
        ]
        return "\n    ".join(["differs from an undisturbed run:", *lines[:8]]) if lines else None

    def run(self, database: Database, *targets: str) -> None:
        status = processes.status_of(processes.fork(lambda: points.migrate(database, *targets)))
        require(status == 0, f"migrate {' '.join(targets)} ended with {status}")

    def kill(self, database: Database, *, at: int) -> None:
        """Start a migrate that is killed at a point. It may end earlier, because with a writer the points vary."""
        pid = processes.fork(lambda: points.migrate(database, at=at, act=processes.die))
        status = processes.status_of(pid)
        require(status in {-signal.SIGKILL, 0}, f"was not killed, but ended with {status}")
        self.unreached += status == 0
