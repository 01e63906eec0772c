"""Time limits for the database: a page gets an answer or an error, and never hangs.

The client measures the time itself. So the limits also work through a transaction pooler, which does not keep session
settings, and with a server that is frozen or unreachable. In a transaction they are set on the server as well: it then
gives up waiting for a lock sooner, and ends a statement even if the client is gone.
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
        """The values for statement_timeout and lock_timeout."""
        return str(round(self.statement_seconds * 1000)), str(round(self.lock_seconds * 1000))


IN_FORCE: ContextVar[Limits | None] = ContextVar("council.limits", default=None)


@contextmanager
def at_most(limits: Limits) -> Iterator[None]:
    """Apply these limits to every wait for the database in a block."""
    token = IN_FORCE.set(limits)
    try:
        yield
    finally:
        IN_FORCE.reset(token)


class Connection(psycopg.Connection[Any]):
    """A connection that abandons a statement which takes longer than the limits in force."""

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        limits = IN_FORCE.get()
        if limits is None or timeout is not None:
            return super().wait(gen, interval, timeout)
        try:
            return super().wait(gen, interval, limits.statement_seconds)
        except errors._WaitTimeout:
            # The server may still be running the statement, or may never have received it: the connection is unusable.
            if self.pgconn.transaction_status == pq.TransactionStatus.ACTIVE:
                # A frozen server does not answer a cancellation either, and PgBouncer 1.18 crashes if the client
                # disconnects during one. So the thread continues, and the page waits for it only briefly.
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
    """The psycopg module as Django's backend uses it, with connections that enforce the limits."""

    connect = Connection.connect

    def __getattr__(self, name: str) -> Any:
        return getattr(psycopg, name)
