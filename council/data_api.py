"""Closing the tables to Supabase's data API, and opening them again as they were.

This fixes what the check "data API: tables" reports, for the gateway's nine tables at once. It also revokes the grants
on tables that row level security closes already: without them, GraphQL does not show even the tables' names. The audit
log keeps the revoked grants, so that exactly these can be restored.
"""

import random
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from django.db import DatabaseError, OperationalError, connection, transaction

from council.models import AuditLog
from council.verification import cures, manifest
from council.verification.data_api_checks import OPEN_TABLES, ROLES

CLOSED, OPENED = "DATA_API_CLOSED", "DATA_API_OPENED"
PERFORMED_BY = "close_data_api"
LOCK_TIMEOUT = "100ms"
# Another session holds a lock, or changed the same row of the system catalog at the same time.
TRY_AGAIN = {"55P03", "40P01", "40001", "XX000"}


class Refused(Exception):
    """Nothing was changed. The message gives the reason."""


@dataclass(frozen=True, order=True)
class Grant:
    """A privilege that a role has on a table or on one of its columns."""

    table: str
    column: str
    privilege: str
    grantee: str  # "" is PUBLIC
    is_grantable: bool

    @property
    def sql(self) -> str:
        column = f" ({cures.quote(self.column)})" if self.column else ""
        option = " WITH GRANT OPTION" if self.is_grantable else ""
        return (
            f"GRANT {self.privilege}{column} ON {cures.quote(self.table)} "
            f"TO {cures.quote(self.grantee) if self.grantee else 'PUBLIC'}{option};"
        )


GRANTS = """
    SELECT c.relname, coalesce(a.attname, ''), acl.privilege_type,
           CASE acl.grantee WHEN 0 THEN '' ELSE pg_get_userbyid(acl.grantee) END, acl.is_grantable
      FROM pg_class c
      JOIN pg_namespace n ON n.oid = c.relnamespace
      CROSS JOIN LATERAL (
        SELECT NULL::smallint AS attnum, e.* FROM aclexplode(c.relacl) AS e
        UNION ALL
        SELECT attnum, e.* FROM pg_attribute, aclexplode(attacl) AS e WHERE attrelid = c.oid AND NOT attisdropped
      ) AS acl
      LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = acl.attnum
     WHERE n.nspname = current_schema() AND c.relname = ANY(%(tables)s) AND acl.grantee <> c.relowner
       AND (acl.grantee = 0 OR pg_get_userbyid(acl.grantee) = ANY(%(roles)s))
     ORDER BY 1, 2, 3, 4
"""
PRIVILEGES = {"SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER", "MAINTAIN"}


CLOSED_TABLES = """
    SELECT relname
      FROM pg_class
     WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p') AND relrowsecurity
       AND NOT EXISTS (SELECT FROM pg_policy WHERE polrelid = pg_class.oid)
"""


def tables() -> list[str]:
    """List the gateway's tables, and those that row level security closes."""
    return sorted({*manifest.gateway_tables(), *(name for (name,) in _rows(CLOSED_TABLES))})


def grants() -> list[Grant]:
    """List what the data API's roles and PUBLIC were granted on these tables."""
    return [Grant(*row) for row in _rows(GRANTS, tables=tables(), roles=ROLES)]


def still_open() -> list[str]:
    """List the tables that the data API can reach, by whatever grant or role."""
    return [row[0] for row in _rows(OPEN_TABLES, tables=tables(), roles=ROLES, schema=_schema())]


def revokes(given: list[Grant]) -> list[str]:
    """Write the statements that revoke the grants."""
    grantees = sorted({grant.grantee for grant in given})
    names = ", ".join(cures.quote(name) if name else "PUBLIC" for name in grantees)
    return [f"REVOKE ALL ON {cures.quote(table)} FROM {names};" for table in sorted({g.table for g in given})]


def close(*, patience_seconds: float, say: Callable[[str], None]) -> list[Grant]:
    """Revoke the grants and record them in the audit log, in one transaction. Raises Refused."""

    def act() -> list[Grant]:
        given = grants()
        for statement in revokes(given):
            _run(statement)
        left = still_open()
        if left:
            raise Refused(
                f"{', '.join(left)} would stay open: another role made a grant, or {' or '.join(ROLES)} is a member of "
                f"a role that has rights. Nothing was changed. Ask the owner to revoke them."
            )
        if given:
            _log(CLOSED, given)
        return given

    return _patiently(act, patience_seconds=patience_seconds, say=say)


def reopen(*, patience_seconds: float, say: Callable[[str], None]) -> list[Grant]:
    """Restore the grants that the last closing revoked. Raises Refused."""

    def act() -> list[Grant]:
        given = last_closed()
        for grant in given:
            _run(grant.sql)
        _log(OPENED, given)
        return given

    return _patiently(act, patience_seconds=patience_seconds, say=say)


def last_closed() -> list[Grant]:
    """Read the grants that the last closing revoked. Raises Refused if there is nothing to restore."""
    entry = AuditLog.objects.filter(action__in=(CLOSED, OPENED)).order_by("-created_at", "-pk").first()
    if entry is None or entry.action == OPENED:
        raise Refused("There is nothing to undo: the audit log has no closing that is still in effect.")
    details: Any = entry.details
    found = [Grant(**each) for each in details["grants"]]
    if any(grant.privilege not in PRIVILEGES or grant.table not in tables() for grant in found):
        raise Refused(f"Row {entry.pk} of the audit log is not from this command. Nothing was changed.")
    return found


def _patiently(
    act: Callable[[], list[Grant]], *, patience_seconds: float, say: Callable[[str], None]
) -> list[Grant]:
    """Run `act` in a transaction. Retry while a lock is held, with a lock timeout so short that nobody waits for us."""
    deadline, pause = time.monotonic() + patience_seconds, 0.1
    while True:
        try:
            with transaction.atomic():
                _run(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")
                return act()
        except DatabaseError as error:
            state = getattr(error.__cause__, "sqlstate", None)
            if state not in TRY_AGAIN or time.monotonic() > deadline:
                if isinstance(error, OperationalError) and state in TRY_AGAIN:
                    raise Refused(
                        f"Other sessions held locks for {patience_seconds:.0f} seconds. Nothing was changed. "
                        f"Run it again."
                    ) from error
                raise
        say(f"another session holds a lock; retrying in {pause:.1f} s")
        time.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311
        pause = min(2 * pause, 5.0)


def _log(action: str, given: list[Grant]) -> None:
    AuditLog.objects.create(
        action=action,
        entity_type="Schema",
        entity_id=_schema(),
        details={"grants": [asdict(grant) for grant in given]},
        performed_by=PERFORMED_BY,
    )


def _schema() -> str:
    [(schema,)] = _rows("SELECT current_schema()")
    return str(schema)


def _rows(query: str, **params: Any) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(query, params)
        return list(cursor.fetchall())


def _run(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)
