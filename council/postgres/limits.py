"""Limits on how long the database may take: a page gets an answer or an error, and never hangs.

The client keeps the time itself. So the limits hold through a transaction pooler, which knows no session settings, and
with a server that is frozen or out of reach, which keeps none. In a transaction the server is told as well: it then
ends the wait for a lock sooner, and ends the work when the client is gone.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, TypeVar

import psycopg
from psycopg import errors, pq

T = TypeVar("T")

CANCEL_SECONDS = 1.0
GIVE_UP_CANCELLING_SECONDS = 60.0


@dataclass(frozen=True)
class Limits:
    statement_seconds: float
    lock_seconds: float

    @property
    def as_milliseconds(self) -> tuple[str, str]:
        """The statement's and the lock's limit, as PostgreSQL's settings have them."""
        return str(round(self.statement_seconds * 1000)), str(round(self.lock_seconds * 1000))


IN_FORCE: ContextVar[Limits | None] = ContextVar("council.limits", default=None)


@contextmanager
def at_most(limits: Limits) -> Iterator[None]:
    """Hold every wait for the database, in a block, to these limits."""
    token = IN_FORCE.set(limits)
    try:
        yield
    finally:
        IN_FORCE.reset(token)


class Connection(psycopg.Connection[Any]):
    """A connection that gives up a statement which takes longer than the limits in force."""

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        limits = IN_FORCE.get()
        if limits is None or timeout is not None:
            return super().wait(gen, interval, timeout)
        try:
            return super().wait(gen, interval, limits.statement_seconds)
        except errors._WaitTimeout:
            # The server may go on with the statement, or never have got it: nothing more can be sent.
            if self.pgconn.transaction_status == pq.TransactionStatus.ACTIVE:
                # A frozen server does not answer this either. PgBouncer 1.18 ends itself when somebody hangs up on it
                # in the middle of a cancellation: so that goes on by itself, and the page does not wait for it.
                cancelling = threading.Thread(target=self._cancel, daemon=True)
                cancelling.start()
                cancelling.join(CANCEL_SECONDS)
            self.pgconn.finish()
            raise errors.QueryCanceled(
                f"The database gave no answer in {limits.statement_seconds:g} seconds. The connection was closed."
            ) from None

    def _cancel(self) -> None:
        with suppress(psycopg.Error):
            self.cancel_safe(timeout=GIVE_UP_CANCELLING_SECONDS)


class Psycopg:
    """psycopg as Django's backend uses it, with connections that keep limits."""

    connect = Connection.connect

    def __getattr__(self, name: str) -> Any:
        return getattr(psycopg, name)
