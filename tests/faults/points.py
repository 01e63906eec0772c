"""The points at which migrate can be killed, counted where psycopg calls libpq."""

import threading
from collections.abc import Callable
from typing import Any

import psycopg
from django.core.management import call_command
from django.db import connection
from psycopg import _cursor_base, client_cursor, generators

from tests.databases import Database


class Points:
    """Counts the points of this thread's communication with its server, and calls a function at one of them or at each.

    Point 0 is before the first statement, 2n - 1 after the n-th statement was sent, and 2n after it was answered.
    BEGIN, COMMIT, ROLLBACK and SAVEPOINT count as statements. Those of other threads, such as the observer's, depend on
    the clock and do not count.
    """

    def __init__(self, *, at: int | None, act: Callable[[], object] | None) -> None:
        self.at, self.act = at, act
        self.passed = -1
        self.statement = ""
        self.statements: list[str] = []
        self.thread = threading.get_ident()

    def count(self) -> None:
        """Start counting. Two functions of psycopg send a statement's text to libpq, and one receives the answer."""
        sending: tuple[Any, ...] = (_cursor_base.BaseCursor, client_cursor.ClientCursorMixin)
        for cursor in sending:
            cursor._execute_send = self._noting(cursor._execute_send, lambda query: query.query)
        commands: Any = psycopg.Connection
        commands._exec_command = self._noting(commands._exec_command, lambda command: command)
        answering: tuple[Any, ...] = (_cursor_base, generators)
        execute = self._passing(generators.execute)
        for module in answering:
            module.execute = execute
        self._pass()

    def _pass(self) -> None:
        self.passed += 1
        if self.act and self.at in {None, self.passed}:
            self.act()

    def _noting(self, stock: Any, text: Callable[[Any], object]) -> Any:
        def note(owner: Any, query: Any, *args: Any, **kwargs: Any) -> Any:
            if threading.get_ident() == self.thread:
                found = text(query)
                self.statement = found.decode() if isinstance(found, bytes) else str(found)
            return stock(owner, query, *args, **kwargs)

        return note

    def _passing(self, stock: Any) -> Any:
        def execute(libpq: Any) -> Any:
            if threading.get_ident() != self.thread:
                return (yield from stock(libpq))
            self.statements.append(self.statement)
            self._pass()
            try:
                return (yield from stock(libpq))
            finally:
                self._pass()

        return execute


def migrate(
    database: Database, *targets: str, at: int | None = None, act: Callable[[], object] | None = None
) -> list[str]:
    """Migrate in this process like manage.py, and list the statements. At a point, call `act`, which may kill it."""
    connection.settings_dict["NAME"] = database.name
    points = Points(at=at, act=act)
    points.count()
    call_command("migrate", *targets, verbosity=0, interactive=False, skip_checks=False)
    return points.statements
