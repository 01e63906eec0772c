"""Finds out whether a connection leads to the server itself or to a pooler, and of which kind."""

import selectors
import time
from typing import Any

import psycopg
from django.core.management import CommandError
from psycopg.pq import ExecStatus, TransactionStatus

ROUNDS = 20
TURN_SECONDS = 0.1
# The longest time for a trivial query, including the start of a server process.
ANSWER_SECONDS = 5.0


class TransactionPooler(CommandError):
    """The connection leads to a transaction pooler, where session settings and session locks do not work."""

    def __init__(self, evidence: str, *, host: str, port: str, variable: str) -> None:
        super().__init__(
            f"{variable} connects to a transaction pooler ({host}, port {port}): {evidence}. A migration needs the "
            "same server process from beginning to end, because its locks and its settings belong to that process. "
            "Nothing was changed.\n"
            "Set DIRECT_URL to a direct or session-pooled connection (at Supabase: port 5432, not 6543)."
        )


class PoolerOfUnknownMode(CommandError):
    """The connection leads to a pooler whose mode is unknown, because it refuses the second client for the test."""

    def __init__(self, refusal: str, *, host: str, port: str, variable: str) -> None:
        super().__init__(
            f"{variable} connects to a pooler ({host}, port {port}) that refuses a second client: {refusal.strip()}\n"
            f"Without one, migrate cannot find out whether it is a transaction pooler, through which migrations must "
            f"not run. Nothing was changed.\n"
            f"Set DIRECT_URL to a direct connection, or run migrate again when the pooler has a free connection."
        )


def refuse_transaction_pooler(session: psycopg.Connection, params: dict[str, Any], *, variable: str) -> None:
    """Raise TransactionPooler if other clients may get the session's server process.

    `session` is in autocommit mode, `params` open a second one. One query recognises a direct connection: its
    backend is the process that libpq knows, while poolers report process ids of their own. In session mode, a
    client keeps its backend and shares it with nobody. Raises PoolerOfUnknownMode if the mode cannot be found out.
    """
    backend = _backend(session)
    if backend is None or session.info.backend_pid == backend:
        return
    refusal = None
    try:
        other = _connect(params)
    except psycopg.OperationalError as error:
        other = None
        # A full pool in session mode makes new clients wait, or says so in its error, as Supabase's does.
        if (
            not isinstance(error, psycopg.errors.ConnectionTimeout)
            and "session mode" not in str(error).lower()
        ):
            refusal = str(error)
    try:
        evidence = _evidence(session, other, backend)
    finally:
        if other:
            other.close()
    place = {"host": str(params.get("host", "")), "port": str(params.get("port", 5432))}
    if evidence:
        raise TransactionPooler(evidence, **place, variable=variable)
    if refusal:
        raise PoolerOfUnknownMode(refusal, **place, variable=variable)


def second_session(params: dict[str, Any]) -> psycopg.Connection:
    """Open another session, and make sure that it answers.

    Poolers accept a client before there is a server process for it. If the pool is used up, the client's first
    query would wait until another client leaves.
    Raises psycopg.OperationalError.
    """
    session = _connect(params)
    try:
        if _backend(session, seconds=ANSWER_SECONDS) is None:
            raise psycopg.OperationalError(f"no answer within {ANSWER_SECONDS:.0f} s")
    except psycopg.OperationalError:
        session.close()
        raise
    return session


def _evidence(session: psycopg.Connection, other: psycopg.Connection | None, backend: int) -> str | None:
    """Query from two clients in turn. Return what shows that they share server processes, or None.

    If the second client gets no answer, that shows nothing: the pool may be used up. If the first one gets none, it
    has lost its backend, so the pooler is not in session mode.
    """
    for _ in range(ROUNDS):
        theirs = None
        if other and not other.closed:
            try:
                theirs = _backend(other, seconds=TURN_SECONDS)
            except psycopg.OperationalError:
                other.close()
        # Twice: if the pooler rotates server processes, two alternating clients would never share one.
        for ours in (_backend(session, seconds=ANSWER_SECONDS) for _ in range(2)):
            if ours is None:
                return f"a client lost its server process {backend} and had to wait for another one"
            if ours != backend:
                return f"one client was served by two server processes, {backend} and {ours}"
        if theirs == backend:
            return f"two clients were served by one server process, {backend}"
    return None


def _connect(params: dict[str, Any]) -> psycopg.Connection:
    return psycopg.connect(**{**params, "autocommit": True, "connect_timeout": int(ANSWER_SECONDS)})


def _backend(session: psycopg.Connection, *, seconds: float | None = None) -> int | None:
    """Ask a session for its server process. None if there is no answer in time; the next call keeps waiting for it.

    Raises psycopg.OperationalError.
    """
    deadline = None if seconds is None else time.monotonic() + seconds
    libpq = session.pgconn
    if libpq.transaction_status != TransactionStatus.ACTIVE:
        libpq.send_query(b"SELECT pg_backend_pid()")
    with selectors.DefaultSelector() as selector:
        selector.register(libpq.socket, selectors.EVENT_READ)
        while libpq.is_busy():
            if not selector.select(None if deadline is None else max(deadline - time.monotonic(), 0)):
                return None
            libpq.consume_input()
    result = libpq.get_result()
    while libpq.get_result():  # read all results, so that the session can be queried again
        pass
    if result is None or result.status != ExecStatus.TUPLES_OK:
        raise psycopg.OperationalError((result or libpq).get_error_message())
    return int(result.get_value(0, 0) or 0)
