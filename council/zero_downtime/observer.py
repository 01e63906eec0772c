"""A second session that watches the migrating one: who blocks it, and the progress of its index build."""

import os
import socket
import threading
import time
from collections.abc import Callable, Collection
from types import TracebackType
from typing import Any, Self, TypeVar

import psycopg
from django.db.backends.base.base import BaseDatabaseWrapper

from council.zero_downtime import blockers, pooler
from council.zero_downtime.blockers import Blocker
from council.zero_downtime.events import Blocked, IndexBuildEnded, IndexBuilding, Listener, Noted

# Sample several times within the shortest lock timeout that makes sense.
SAMPLE_SECONDS = 0.02
BUILD_SECONDS = 0.25
WATCH_SECONDS = 0.1
TELL_SECONDS = 5.0  # how often to report what blocks the migration
# The time limit for a query to the server; normally these take some milliseconds.
ANSWER_SECONDS = 5.0

Answer = TypeVar("Answer")
NOBODY: frozenset[str] = frozenset()

BUILD = """
    SELECT coalesce(c.relname, 'an index'), p.phase,
           CASE WHEN p.phase LIKE 'waiting%%' THEN p.lockers_done
                WHEN p.tuples_total > 0 THEN p.tuples_done ELSE p.blocks_done END,
           CASE WHEN p.phase LIKE 'waiting%%' THEN p.lockers_total
                WHEN p.tuples_total > 0 THEN p.tuples_total ELSE p.blocks_total END,
           nullif(p.current_locker_pid, 0)
      FROM pg_stat_progress_create_index p
      LEFT JOIN pg_class c ON c.oid = p.index_relid
     WHERE p.pid = %s
"""


class Observer:
    """A context manager that watches the migrating session from a thread.

    If no second session can be opened, it sees nothing, and the migration continues without it.
    """

    def __init__(self, connection: BaseDatabaseWrapper, tell: Listener) -> None:
        self.tell = tell
        self.params: dict[str, Any] = connection.get_connection_params()
        self.params["fallback_application_name"] = "council migrate observer"
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            self.pid: int = cursor.fetchone()[0]
        self.session: psycopg.Connection | None = None
        self._seen = NOBODY
        self._told_blocked = 0.0
        self._is_building = False
        self._asking = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="council-migrate-observer", daemon=True)

    def __enter__(self) -> Self:
        try:
            self.session = pooler.second_session(self.params)
            self.session.execute(f"SET statement_timeout = '{ANSWER_SECONDS:.0f}s'".encode())
        except psycopg.Error as error:
            self.tell(
                Noted(f"No second session to watch for blocking ones ({error}): retries use fixed times.")
            )
        else:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join(ANSWER_SECONDS)
            if self._thread.is_alive():
                self._hang_up()
                self._thread.join()
        if self.session:
            self.session.close()
        self._tell_build(None)

    def forget(self) -> None:
        """Forget who blocked the last attempt, before a new one begins."""
        self._seen = NOBODY

    @property
    def blocked_by(self) -> frozenset[str]:
        """The transactions that blocked the migrating session when it last waited."""
        return self._seen

    def describe(self, transactions: Collection[str]) -> list[Blocker]:
        return self._ask(lambda session: blockers.describe(session, transactions), otherwise=[])

    def holding(self, locks: Collection[tuple[str, str]]) -> frozenset[str]:
        """List the transactions that hold locks conflicting with `locks`, pairs of (quoted table, mode)."""
        return self._ask(lambda session: blockers.holding(session, locks, pid=self.pid), otherwise=NOBODY)

    def still_open(self, transactions: Collection[str]) -> frozenset[str]:
        return self._ask(lambda session: blockers.still_open(session, transactions), otherwise=NOBODY)

    def wait_until_gone(self, transactions: Collection[str], *, deadline: float) -> frozenset[str]:
        """Wait, outside every lock queue, for transactions to end. Returns those still open at the deadline."""
        began = time.monotonic()
        left = frozenset(transactions)
        while left and (left := self.still_open(left)):
            now = time.monotonic()
            if now > deadline:
                break
            if now - began > WATCH_SECONDS:
                self._tell_blocked(left, seconds=now - began)
            time.sleep(WATCH_SECONDS)
        return left

    def _ask(self, question: Callable[[psycopg.Connection], Answer], *, otherwise: Answer) -> Answer:
        """Query the second session. If there is no answer, return `otherwise`.

        Two threads use the session. If one gets no answer, as when a network drops packets, the other one closes it.
        """
        if self.session is None or self.session.closed:
            return otherwise
        if not self._asking.acquire(timeout=ANSWER_SECONDS):
            self._hang_up()
            return otherwise
        try:
            return question(self.session)
        except psycopg.Error:
            return otherwise
        finally:
            self._asking.release()

    def _hang_up(self) -> None:
        """Shut down the socket from our side, so that a thread waiting for an answer gets an error at once."""
        if self.session and not self.session.closed:
            self.tell(
                Noted("The session that watches for blocking ones does not answer: retries use fixed times.")
            )
            with socket.socket(fileno=os.dup(self.session.fileno())) as line:
                line.shutdown(socket.SHUT_RDWR)

    def _run(self) -> None:
        waiting_since: float | None = None
        build_looked = 0.0
        while not self._ended.wait(SAMPLE_SECONDS):
            now = time.monotonic()
            seen = self._ask(lambda session: blockers.blocking(session, self.pid), otherwise=NOBODY)
            if seen:
                self._seen = seen
                waiting_since = waiting_since or now
                if now - waiting_since > 1:
                    self._tell_blocked(seen, seconds=now - waiting_since, is_in_queue=True)
            else:
                waiting_since = None
            if now - build_looked > BUILD_SECONDS:
                build_looked = now
                row = self._ask(lambda session: session.execute(BUILD, [self.pid]).fetchone(), otherwise=None)
                self._tell_build(row)

    def _tell_blocked(
        self, transactions: Collection[str], *, seconds: float, is_in_queue: bool = False
    ) -> None:
        """Report what blocks the migration, at intervals."""
        now = time.monotonic()
        if now - self._told_blocked < TELL_SECONDS:
            return
        self._told_blocked = now
        queued = None
        if is_in_queue:
            queued = self._ask(lambda session: blockers.queued_behind(session, self.pid), otherwise=0)
        self.tell(Blocked(self.describe(transactions), seconds, queued))

    def _tell_build(self, row: tuple[Any, ...] | None) -> None:
        if row:
            self.tell(IndexBuilding(*row))
        elif self._is_building:
            self.tell(IndexBuildEnded())
        self._is_building = row is not None
