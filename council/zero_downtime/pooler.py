"""Whether a connection leads to the server itself, or to a pooler, and of which kind."""

import selectors
import time
from typing import Any

import psycopg
from django.core.management import CommandError
from psycopg.pq import ExecStatus, TransactionStatus

ROUNDS = 20
TURN_SECONDS = 0.1
# What a server process needs at most for a question that it can answer at once, made first where need be.
ANSWER_SECONDS = 5.0


class TransactionPooler(CommandError):
    """The connection is one of a transaction pooler, where nothing that belongs to a session holds."""

    def __init__(self, evidence: str, *, host: str, port: str, variable: str) -> None:
        super().__init__(
            f"{variable} leads to a transaction pooler ({host}, port {port}): {evidence}. A migration needs one "
            f"server process from beginning to end: its locks, its lock timeout and its concurrent index builds "
            f"would be shared out among others. Nothing was changed.\n"
            f"Set DIRECT_URL to a direct or session-pooled connection (at Supabase: port 5432, not 6543)."
        )


class PoolerOfUnknownMode(CommandError):
    """The connection is a pooler's, and it takes a second client to see whether it shares sessions out."""

    def __init__(self, refusal: str, *, host: str, port: str, variable: str) -> None:
        super().__init__(
            f"{variable} leads to a pooler ({host}, port {port}) that refuses a second client: {refusal.strip()}\n"
            f"Without one it cannot be seen whether it is a transaction pooler, where migrations must not run. Nothing "
            f"was changed.\n"
            f"Set DIRECT_URL to a direct connection, or run migrate again when the pooler has a client less."
        )


def refuse_transaction_pooler(session: psycopg.Connection, params: dict[str, Any], *, variable: str) -> None:
    """Raise TransactionPooler where another client may be given the session's server process, or PoolerOfUnknownMode.

    `session` is in autocommit mode, `params` open a second one. A direct connection is told by one query: its
    backend is the process that libpq knows. Poolers hand out process ids of their own; in session mode, a client
    keeps its backend and shares it with nobody.
    """
    backend = _backend(session)
    if backend is None or session.info.backend_pid == backend:
        return
    refusal = None
    try:
        other = _connect(params)
    except psycopg.OperationalError as error:
        other = None
        # A full pool in session mode keeps who comes waiting, or says what it is, as Supabase's does.
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
    """Open another session that answers.

    Poolers let a client in before there is a server process for it: where the pool is used up, its first query
    would wait until another client leaves.
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
    """Have two clients take turns, and say what shows that they are given the same server processes.

    A second client that gets no answer tells nothing: the pool may be used up. The first one does. In session
    mode it goes on with its backend; else it stands in line, behind the second.
    """
    for _ in range(ROUNDS):
        theirs = None
        if other and not other.closed:
            try:
                theirs = _backend(other, seconds=TURN_SECONDS)
            except psycopg.OperationalError:
                other.close()
        # Twice: where server processes take turns, two clients that take turns as well never meet.
        for ours in (_backend(session, seconds=ANSWER_SECONDS) for _ in range(2)):
            if ours is None:
                return f"a client that had server process {backend} was kept waiting for one"
            if ours != backend:
                return f"one client was served by two server processes, {backend} and {ours}"
        if theirs == backend:
            return f"two clients were served by one server process, {backend}"
    return None


def _connect(params: dict[str, Any]) -> psycopg.Connection:
    return psycopg.connect(**{**params, "autocommit": True, "connect_timeout": int(ANSWER_SECONDS)})


def _backend(session: psycopg.Connection, *, seconds: float | None = None) -> int | None:
    """Ask a session for its server process. None: it has not answered in time; the next call goes on waiting.

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
    while libpq.get_result():  # to the end, so that the session can be asked again
        pass
    if result is None or result.status != ExecStatus.TUPLES_OK:
        raise psycopg.OperationalError((result or libpq).get_error_message())
    return int(result.get_value(0, 0) or 0)
