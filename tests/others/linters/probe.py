"""What an operation does to tables that existed before it, as PostgreSQL reports it."""

from dataclasses import dataclass, field
from typing import Any

from django.db import transaction

from council.zero_downtime.lock_modes import BY_NAME, Lock
from tests.others.linters.rows import ROWS

RELATIONS = """
    SELECT c.oid, c.relname, c.relkind::text, pg_relation_filenode(c.oid), i.indrelid
      FROM pg_class c
      LEFT JOIN pg_index i ON i.indexrelid = c.oid
     WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'i')
"""
LOCKS = """
    SELECT relation, mode FROM pg_locks
     WHERE pid = pg_backend_pid() AND locktype = 'relation' AND granted
       AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""
COUNTS = "SELECT relid, seq_tup_read, n_tup_upd + n_tup_del FROM pg_stat_xact_user_tables"


class Relations:
    """Stores the tables that exist at the beginning, by their oids."""

    def __init__(self, connection: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute(RELATIONS)
            self.tables = {oid: name for oid, name, kind, _, _ in cursor.fetchall() if kind == "r"}


@dataclass
class Look:
    """What the session has locked and done so far, for the tables that existed at the beginning."""

    locks: dict[str, list[str]] = field(default_factory=dict)  # the modes for which reads or writes wait
    heaps: dict[str, int] = field(default_factory=dict)
    indexes: set[tuple[str, int]] = field(default_factory=set)  # tables and file nodes
    read: dict[str, int] = field(default_factory=dict)
    changed: dict[str, int] = field(default_factory=dict)

    def since(self, before: "Look") -> dict[str, Any]:
        """Return what was done since an earlier look, and the locks that are held now."""

        def more(now: dict[str, int], then: dict[str, int]) -> list[str]:
            return sorted(name for name, count in now.items() if count - then.get(name, 0) >= ROWS)

        return {
            "locks": self.locks,
            "rewritten": sorted(
                name for name, node in self.heaps.items() if before.heaps.get(name, node) != node
            ),
            "indexed": sorted({table for table, _ in self.indexes - before.indexes}),
            "read": more(self.read, before.read),
            "changed": more(self.changed, before.changed),
        }


def look(connection: Any, there: Relations) -> Look:
    found = Look()
    with connection.cursor() as cursor:
        cursor.execute(LOCKS)
        for oid, mode in cursor.fetchall():
            if oid in there.tables and Lock("", BY_NAME[mode]).is_felt:
                found.locks.setdefault(there.tables[oid], []).append(BY_NAME[mode])
        cursor.execute(RELATIONS)
        for oid, _, kind, node, table in cursor.fetchall():
            if kind == "r" and oid in there.tables:
                found.heaps[there.tables[oid]] = node
            elif kind == "i" and table in there.tables:
                found.indexes.add((there.tables[table], node))
        cursor.execute(COUNTS)
        for oid, read, changed in cursor.fetchall():
            if oid in there.tables:
                found.read[there.tables[oid]] = read
                found.changed[there.tables[oid]] = changed
    return found


def is_harmful(done: dict[str, Any]) -> bool:
    """Tell whether reads or writes wait while all rows of a table are read, changed or rewritten."""
    return bool(done["changed"] or (done["locks"] and (done["rewritten"] or done["indexed"] or done["read"])))


class Statements:
    """Looks at each statement of an operation that is not a transaction. A concurrent build or drop blocks nobody."""

    def __init__(self, connection: Any, there: Relations) -> None:
        self.connection = connection
        self.there = there
        self.done = [Look().since(Look())]
        self.is_looking = False

    def __call__(self, execute: Any, text: Any, params: Any, many: Any, context: Any) -> Any:
        if self.is_looking or "CONCURRENTLY" in str(text) or str(text).lstrip().startswith("SELECT"):
            return execute(text, params, many, context)
        self.is_looking = True
        try:
            with transaction.atomic():
                before = look(self.connection, self.there)
                result = execute(text, params, many, context)
                self.done.append(look(self.connection, self.there).since(before))
        finally:
            self.is_looking = False
        return result

    def worst(self) -> dict[str, Any]:
        return max(self.done, key=lambda done: (is_harmful(done), bool(done["locks"])))
