"""Whether a connection leads to the server itself, or to a pooler, and of which kind."""

import threading
from typing import Any

import psycopg
from django.core.management import CommandError

ROUNDS = 20
SECOND_CLIENT_SECONDS = 5


class TransactionPooler(CommandError):
    """The connection is one of a transaction pooler, where nothing that belongs to a session holds."""

    def __init__(self, evidence: str, *, host: str, port: str, variable: str) -> None:
        super().__init__(
            f"{variable} leads to a transaction pooler ({host}, port {port}): {evidence}. A migration needs one "
            f"server process from beginning to end: its locks, its lock timeout and its concurrent index builds "
            f"would be shared out among others. Nothing was changed.\n"
            f"Set DIRECT_URL to a direct or session-pooled connection (at Supabase: port 5432, not 6543)."
        )


def refuse_transaction_pooler(session: psycopg.Connection, params: dict[str, Any], *, variable: str) -> None:
    """Raise TransactionPooler where another client may be given the session's server process.

    `session` is in autocommit mode, `params` open a second one. A direct connection is told by one query: its
    backend is the process that libpq knows. Poolers hand out process ids of their own; in session mode, a client
    keeps its backend and shares it with nobody.
    """
    backend = _backend(session)
    if session.info.backend_pid == backend:
        return
    place = {"host": str(params.get("host", "")), "port": str(params.get("port", 5432)), "variable": variable}
    found: list[str] = []

    def compare() -> None:
        with psycopg.connect(**{**params, "autocommit": True}) as other:
            for _ in range(ROUNDS):
                first, second = _backend(session), _backend(other)
                if first == second:
                    found.append(f"two clients were served by one server process, {first}")
                elif first != backend:
                    found.append(f"one client was served by two server processes, {backend} and {first}")
                if found:
                    return

    # In session mode with a full pool the second client waits, perhaps for minutes.
    thread = threading.Thread(target=_quietly, args=[compare], daemon=True)
    thread.start()
    thread.join(SECOND_CLIENT_SECONDS)
    if found:
        raise TransactionPooler(found[0], **place)


def _quietly(compare: Any) -> None:
    try:
        compare()
    except psycopg.Error:
        return  # no second client to be had: nobody to share with


def _backend(session: psycopg.Connection) -> int:
    row = session.execute("SELECT pg_backend_pid()").fetchone()
    assert row is not None
    return int(row[0])
