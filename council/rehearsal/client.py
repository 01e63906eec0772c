"""One client that acts as the gateway, as a separate process.

    python -m council.rehearsal.client CONNECTION SCHEMA STATEMENTS_PER_SECOND OUTPUT [STATEMENT …]

Each statement is due at a time that does not depend on how long earlier ones took. A wait counts from that time, so
it includes the time for earlier statements, as it does for a user. The client prints "ready" before it begins, and
ends on SIGTERM. It writes a line to OUTPUT for each statement, with tabs between: when it was due, when it was
answered (both by the monotonic clock, which all processes of a machine share), its name, and an error or nothing.
"""

import os
import signal
import sys
import time
from collections.abc import Collection
from pathlib import Path
from types import FrameType
from typing import TextIO

import psycopg

from council.gateway import statements
from council.gateway.statements import STATEMENTS, WRITE, Known, Statement, chance

LOOK_SECONDS = 0.5  # how often to check which tables exist
NAP_SECONDS = 0.05
UNANSWERED = "unanswered"


class Client:
    def __init__(
        self, session: psycopg.Connection, *, per_second: float, output: TextIO, names: Collection[str] = ()
    ) -> None:
        self.session = session
        self.known = [statement for statement in STATEMENTS if not names or statement.name in names]
        self.per_second = per_second
        self.output = output
        self.is_stopped = False
        self.parent = os.getppid()
        self.looked = -LOOK_SECONDS
        self.statements: list[Statement] = []

    def prepare(self) -> None:
        """Load some members in advance, so that choosing one is not part of the measured time."""
        self.members = statements.known(self.session) or [Known("nobody", None, None, None)]

    def stop(self, number: int, frame: FrameType | None) -> None:
        self.is_stopped = True

    def run(self) -> None:
        due = time.monotonic()
        while not self.is_over():
            due += chance.expovariate(self.per_second)
            self.look()
            while (early := due - time.monotonic()) > 0 and not self.is_over():
                time.sleep(min(early, NAP_SECONDS))
            if self.is_over():
                break
            if self.statements:
                self.send(chance.choices(self.statements, [each.weight for each in self.statements])[0], due)
        # Statements that are due by now but were never sent have waited, too.
        now = time.monotonic()
        while (due := due + chance.expovariate(self.per_second)) < now and self.statements:
            self.note(due, now, chance.choice(self.statements), UNANSWERED)

    def is_over(self) -> bool:
        """Return whether to stop: after SIGTERM, or if the process that started this one is gone."""
        return self.is_stopped or os.getppid() != self.parent

    def look(self) -> None:
        """Choose the statements whose tables exist. Migrations may add tables."""
        now = time.monotonic()
        if now - self.looked < LOOK_SECONDS:
            return
        self.looked = now
        rows = self.session.execute(
            "SELECT relname FROM pg_class WHERE pg_table_is_visible(oid) AND relkind = 'r'"
        )
        there = {row[0] for row in rows}
        self.statements = [statement for statement in self.known if there.issuperset(statement.tables)]

    def send(self, statement: Statement, due: float) -> None:
        # A few members are requested very often, and most hardly ever.
        member = self.members[int(len(self.members) * chance.random() ** 3)]
        error = ""
        try:
            if len(statement.queries) > 1 and statement.kind == WRITE:
                with self.session.transaction():
                    self.ask(statement, member)
            else:
                self.ask(statement, member)
        except psycopg.OperationalError as failure:
            if self.session.closed:
                raise
            error = one_line(failure)
        except psycopg.Error as failure:
            error = one_line(failure)
        self.note(due, time.monotonic(), statement, error)

    def ask(self, statement: Statement, member: Known) -> None:
        for query, arguments in statement.queries:
            cursor = self.session.execute(query.encode(), arguments(member), prepare=True)
            if cursor.description:
                cursor.fetchall()

    def note(self, due: float, answered: float, statement: Statement, error: str) -> None:
        self.output.write(f"{due}\t{answered}\t{statement.name}\t{error}\n")


def one_line(error: psycopg.Error) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def main(connection: str, schema: str, per_second: str, output: str, *names: str) -> None:
    with (
        psycopg.connect(connection, autocommit=True, fallback_application_name="gateway") as session,
        Path(output).open("w") as file,
    ):
        session.execute("SELECT set_config('search_path', %s, false)", [f'"{schema}"'])
        client = Client(session, per_second=float(per_second), output=file, names=names)
        signal.signal(signal.SIGTERM, client.stop)
        client.prepare()
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        client.run()


if __name__ == "__main__":
    main(*sys.argv[1:])
