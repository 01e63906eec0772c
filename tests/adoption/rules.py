"""The contract's rules, which a variant enforces in another way, and a session that tries to break them.

A rule that holds at the beginning must hold at any time during migrate, and in the end all rules must hold. So a second
session tries to break each rule, and rolls back. It does so before and after each statement that changes the schema
outside of a transaction, and before and after each COMMIT of such statements.
"""

import io
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import psycopg
from django.core.management import call_command
from django.db import connection
from psycopg import errors

from tests.databases import Database
from tests.faults.points import Points

CHANGES_SCHEMA = re.compile(r"\s*(ALTER|CREATE|DROP)\b", re.IGNORECASE)
# Rows that only one rule refuses.
TWICE = """
INSERT INTO "BenchmarkSubmission" (id, "memberId", category, data, "updatedAt")
VALUES ('broken', 'm1', 'BUSINESS', '{}', now())
"""
ORPHANS = {
    "BenchmarkSubmission_memberId_fkey": """
INSERT INTO "BenchmarkSubmission" (id, "memberId", category, data, "updatedAt")
VALUES ('broken', 'nobody', 'BUSINESS', '{}', now())""",
    "ResourceDownload_memberId_fkey": """
INSERT INTO "ResourceDownload" (id, "memberId", "resourceId") VALUES ('broken', 'nobody', 'r1')""",
    "ResourceDownload_resourceId_fkey": """
INSERT INTO "ResourceDownload" (id, "memberId", "resourceId") VALUES ('broken', 'm1', 'nothing')""",
    "PointTransaction_memberId_fkey": """
INSERT INTO "PointTransaction" (id, "memberId", action, points) VALUES ('broken', 'nobody', 'event_attended', 1)""",
    "DiscordActivity_memberId_fkey": """
INSERT INTO "DiscordActivity" (id, "memberId", "discordId", "activityType", "xpTotal")
VALUES ('broken', 'nobody', 'discord', 'MESSAGE', 1)""",
}
# A member whose rows are only for this rule.
GONE = 'DELETE FROM "Member" WHERE id = %s'
LEFT = """
SELECT (SELECT count(*) FROM "DiscordActivity" WHERE "memberId" = %(id)s)
     + (SELECT count(*) FROM "ResourceDownload" WHERE "memberId" = %(id)s)
     + (SELECT count(*) FROM "BenchmarkSubmission" WHERE "memberId" = %(id)s)
"""
TOTAL = 'SELECT "totalPoints" FROM "Member" WHERE id = %s FOR UPDATE'
PAID = "INSERT INTO \"PointTransaction\" (id, \"memberId\", action, points) VALUES ('broken', %s, 'event_attended', 7)"


def is_unique(session: psycopg.Connection) -> bool:
    return _is_refused(session, TWICE, errors.UniqueViolation)


def has_key(name: str) -> Callable[[psycopg.Connection], bool]:
    return lambda session: _is_refused(session, ORPHANS[name], errors.ForeignKeyViolation, constraint=name)


def takes_rows_with_it(session: psycopg.Connection) -> bool:
    session.execute(GONE.encode(), ["m45"])
    return session.execute(LEFT.encode(), {"id": "m45"}).fetchone() == (0,)


def counts(session: psycopg.Connection) -> bool:
    before = session.execute(TOTAL.encode(), ["m50"]).fetchone()
    session.execute(PAID.encode(), ["m50"])
    after = session.execute(TOTAL.encode(), ["m50"]).fetchone()
    assert before
    assert after
    return bool(after[0] == before[0] + 7)


def _is_refused(
    session: psycopg.Connection, sql: str, by: type[psycopg.Error], *, constraint: str | None = None
) -> bool:
    try:
        session.execute(sql.encode())
    except by as error:
        return constraint is None or error.diag.constraint_name == constraint
    return False


RULES: dict[str, Callable[[psycopg.Connection], bool]] = {
    "one submission a member and category": is_unique,
    **{name: has_key(name) for name in ORPHANS},
    "a member takes rows with it": takes_rows_with_it,
    "the count by the trigger": counts,
}


@dataclass
class Breaker:
    """A session that tries to break each rule, and records which rules held the last time."""

    session: psycopg.Connection
    held: set[str] = field(default_factory=set)
    tried: int = 0
    faults: list[str] = field(default_factory=list)

    def try_all(self, moment: str) -> None:
        for rule, holds in RULES.items():
            found = self._holds(holds)
            if found is None:
                continue  # a lock stops everybody, so nothing can break the rule now
            self.tried += 1
            if found:
                self.held.add(rule)
            elif rule in self.held:
                self.held.discard(rule)  # report it only once
                self.faults.append(f"{rule} no longer holds at {moment}")

    def _holds(self, holds: Callable[[psycopg.Connection], bool]) -> bool | None:
        try:
            with self.session.transaction(force_rollback=True):
                return holds(self.session)
        except (errors.LockNotAvailable, errors.UndefinedTable, errors.UndefinedColumn):
            return None


def watch(database: Database) -> tuple[str, int, list[str]]:
    """Migrate in this process, while another session tries to break the rules.

    Returns migrate's output, how often a rule was tried, and the broken rules.
    """
    output = io.StringIO()
    connection.settings_dict["NAME"] = database.name
    with ThreadPoolExecutor(1) as pool, database.connect(options="-c lock_timeout=20ms") as session:
        breaker = Breaker(session)
        is_changed = False

        def act() -> None:
            nonlocal is_changed
            is_end = points.statement == "COMMIT"
            is_changed = is_changed or bool(CHANGES_SCHEMA.match(points.statement))
            if is_changed and (is_end or not connection.in_atomic_block):
                pool.submit(breaker.try_all, f"point {points.passed}, {points.statement[:200]}").result()
                is_changed = points.passed % 2 == 1  # the statement still runs; try again after it

        points = Points(at=None, act=act)
        pool.submit(breaker.try_all, "the beginning").result()
        points.count()
        call_command("migrate", verbosity=1, interactive=False, stdout=output)
        pool.submit(breaker.try_all, "the end").result()
    missing = [f"{rule} does not hold at the end" for rule in RULES if rule not in breaker.held]
    return output.getvalue(), breaker.tried, [*breaker.faults, *missing]
