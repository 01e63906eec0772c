"""Finds out what blocks a lock: transactions of other sessions, and prepared transactions.

A transaction is identified by its virtual transaction id, as in pg_locks, which every role may read. Its user and
query are in pg_stat_activity, which shows a role only its own sessions unless it has pg_read_all_stats: what the
role may not see is reported as "hidden".
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

import psycopg

from council.postgres import units
from council.zero_downtime.lock_modes import BY_NAME, CONFLICTS, NAMES

QUERY_CHARACTERS = 100


@dataclass(frozen=True)
class Blocker:
    """A blocking transaction. What the role may not see is None."""

    transaction: str
    pid: int | None  # None: a prepared transaction
    user: str | None
    application: str | None
    kind: str | None  # pg_stat_activity.backend_type, or "prepared transaction"
    state: str | None
    age_seconds: float | None
    query: str | None
    holds: list[str]

    def __str__(self) -> str:
        age = (
            f"open for {units.duration(self.age_seconds)}"
            if self.age_seconds is not None
            else "open since: hidden"
        )
        holds = ", ".join(self.holds[:3]) or "no lock on a table, but an older snapshot"
        more = f" and {len(self.holds) - 3} more" if len(self.holds) > 3 else ""
        if self.kind == "prepared transaction":
            return f"prepared transaction {self.application!r} of {self.user}, {age}, holds {holds}{more}"
        who = f"{self.user or 'user: hidden'}, {self.application or 'no application name'}"
        if self.user is None and self.kind:  # one of the server's own processes
            who = self.kind
        query = " ".join(self.query.split())[:QUERY_CHARACTERS] if self.query else "hidden"
        return f"pid {self.pid} ({who}), {self.state or 'state: hidden'}, {age}, holds {holds}{more}; query: {query}"


# pg_blocking_pids halts all locking on the server for an instant, so call it only once, and only while waiting.
WAITS_FOR = """
    SELECT pg_blocking_pids(pid) FROM pg_stat_get_activity(%(pid)s) WHERE wait_event_type = 'Lock'
"""
BLOCKING = """
    SELECT l.virtualtransaction
      FROM pg_locks l
     WHERE l.granted AND l.pid = ANY(%(waits_for)s)
     UNION
    SELECT held.virtualtransaction
      FROM pg_locks wanted
      JOIN pg_locks held ON held.relation = wanted.relation AND held.database = wanted.database
     WHERE wanted.pid = %(pid)s AND NOT wanted.granted
       AND held.granted AND held.pid IS NULL AND 0 = ANY(%(waits_for)s)
"""


def blocking(session: psycopg.Connection, pid: int) -> frozenset[str]:
    """List the transactions that a session waits for, including those ahead of it in the lock queue."""
    row = session.execute(WAITS_FOR, {"pid": pid}).fetchone()
    if row is None or not row[0]:
        return frozenset()
    return frozenset(found[0] for found in session.execute(BLOCKING, {"pid": pid, "waits_for": row[0]}))


# PostgreSQL cancels an autovacuum, unless it prevents wraparound, when a session has waited for deadlock_timeout.
# A role that may shorten that timeout (see session_settings.short_lock_waits) need not wait for the autovacuum to end.
HOLDING = """
    SELECT DISTINCT virtualtransaction
      FROM pg_locks l
     WHERE locktype = 'relation' AND granted AND pid IS DISTINCT FROM %(pid)s
       AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
       AND relation = to_regclass(%(table)s)
       AND mode = ANY(%(modes)s)
       AND NOT (
           has_parameter_privilege('deadlock_timeout', 'SET')
           AND EXISTS (
               SELECT FROM pg_stat_activity a
                WHERE a.pid = l.pid AND backend_type = 'autovacuum worker'
                  AND query NOT LIKE '%%(to prevent wraparound)'))
"""


def holding(session: psycopg.Connection, locks: Iterable[tuple[str, str]], *, pid: int) -> frozenset[str]:
    """List the transactions that hold locks conflicting with `locks`, pairs of (quoted table, mode)."""
    found: set[str] = set()
    for table, mode in locks:
        modes = [NAMES[held] for held in CONFLICTS[mode]]
        rows = session.execute(HOLDING, {"table": table, "modes": modes, "pid": pid})
        found.update(row[0] for row in rows)
    return frozenset(found)


def still_open(session: psycopg.Connection, transactions: Collection[str]) -> frozenset[str]:
    """Return those of the transactions that have not ended."""
    query = "SELECT DISTINCT virtualtransaction FROM pg_locks WHERE virtualtransaction = ANY(%s)"
    return frozenset(row[0] for row in session.execute(query, [list(transactions)]))


DESCRIBE = """
    SELECT l.virtualtransaction,
           l.pid,
           coalesce(a.usename, p.owner),
           coalesce(nullif(a.application_name, ''), p.gid),
           CASE WHEN l.pid IS NULL THEN 'prepared transaction' ELSE a.backend_type END,
           a.state,
           extract(epoch FROM clock_timestamp() - coalesce(a.xact_start, p.prepared))::float,
           nullif(a.query, '<insufficient privilege>'),
           coalesce(l.holds, '{}')
      FROM (SELECT virtualtransaction, pid,
                   min(transactionid::text) AS xid,
                   array_agg(DISTINCT ARRAY[mode, c.oid::regclass::text])
                     FILTER (WHERE c.relkind IN ('r', 'p', 'm') AND c.relnamespace <> 'pg_catalog'::regnamespace)
                     AS holds
              FROM pg_locks
              LEFT JOIN pg_class c ON c.oid = relation AND locktype = 'relation'
                   AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
             WHERE granted AND virtualtransaction = ANY(%s)
             GROUP BY virtualtransaction, pid) AS l
      LEFT JOIN pg_stat_activity a ON a.pid = l.pid
      LEFT JOIN pg_prepared_xacts p ON l.pid IS NULL AND p.transaction::text = l.xid
     ORDER BY 7 DESC NULLS LAST
"""


def describe(session: psycopg.Connection, transactions: Collection[str]) -> list[Blocker]:
    """Describe the transactions that are still open, oldest first."""
    rows: list[tuple[Any, ...]] = session.execute(DESCRIBE, [list(transactions)]).fetchall()
    return [
        Blocker(*(*facts, [f"{BY_NAME.get(mode, mode)} on {table}" for mode, table in holds]))
        for *facts, holds in rows
    ]


QUEUED_BEHIND = """
    SELECT count(DISTINCT pid)
      FROM pg_locks
     WHERE NOT granted AND pid <> %(pid)s AND %(pid)s = ANY(pg_blocking_pids(pid))
"""


def queued_behind(session: psycopg.Connection, pid: int) -> int:
    """Count the sessions that a session blocks."""
    row = session.execute(QUEUED_BEHIND, {"pid": pid}).fetchone()
    return int(row[0]) if row else 0
