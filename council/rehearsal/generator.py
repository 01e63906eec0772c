"""Rows for a database of made-up members, whose schema the project's own migrations have built."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import NamedTuple

import psycopg
from psycopg import sql

from council.rehearsal.people import People

# Measured: the bytes of a member's row and related rows, with their indexes.
BYTES_A_MEMBER = 1100
EVENTS_A_MEMBER = AUDITS_A_MEMBER = 0.5
POINTS_A_MEMBER = 3
CHUNK_LINES = 500
BATCH_MEMBERS = 20_000
APPLICATION = "council rehearsal, generator"

MEMBER = (
    "id", "discordId", "discordUsername", "discordAvatar", "stripeCustomerId", "email", "firstName", "lastName",
    "company", "jobTitle", "linkedInUrl", "referralSource", "subscriptionStatus", "seatTier", "currentPeriodEnd",
    "introCompleted", "introCompletedAt", "introMessageId", "teamId", "isTeamAdmin", "createdAt", "updatedAt",
    "passwordHash", "lastGuidanceDmAt", "isPrimaryOwner", "paymentFailedAt",
)  # fmt: skip
TEAM = (
    "id", "name", "stripeCustomerId", "stripeSubscriptionId", "subscriptionStatus", "ownerSeatCount", "teamSeatCount",
    "createdAt", "updatedAt",
)  # fmt: skip


class Batch(NamedTuple):
    """Rows of one table, as lines for COPY."""

    table: str
    columns: tuple[str, ...]
    lines: Iterable[str]
    rows: int


def batches(people: People) -> Iterator[Batch]:
    """Yield the tables in an order that suits their foreign keys. `fill` skips tables that do not exist yet."""
    events = max(int(people.members * EVENTS_A_MEMBER), 1)
    audits = max(int(people.members * AUDITS_A_MEMBER), 1)
    points = people.members * POINTS_A_MEMBER
    yield Batch("Team", TEAM, people.team(), people.teams)
    yield Batch("Member", MEMBER, people.member(), people.members)
    yield Batch(
        "PendingInvite",
        ("id", "teamId", "seatTier", "token", "createdAt", "createdBy", "inviteeEmail"),
        people.pending_invite(),
        people.teams,
    )
    yield Batch(
        "StripeEvent",
        ("id", "eventId", "type", "processedAt", "payload"),
        people.stripe_event(events),
        events,
    )
    yield Batch(
        "AuditLog",
        ("id", "action", "entityType", "entityId", "details", "createdAt"),
        people.audit_log(audits),
        audits,
    )
    yield Batch(
        "PointTransaction",
        ("id", "memberId", "action", "points", "createdAt"),
        people.point_transaction(points),
        points,
    )
    yield Batch("Admin", ("id", "email", "passwordHash", "role", "updatedAt"), people.few("Admin"), 0)
    yield Batch("FeatureFlag", ("id", "key", "enabled", "updatedAt"), people.few("FeatureFlag"), 0)
    yield Batch(
        "EmailTemplate", ("id", "name", "subject", "body", "updatedAt"), people.few("EmailTemplate"), 0
    )
    yield Batch(
        "ReconciliationRun",
        ("id", "triggeredBy", "membersChecked", "teamsChecked", "startedAt"),
        people.few("ReconciliationRun"),
        0,
    )


def fill(session: psycopg.Connection, *, members: int, advanced: Callable[[float], object]) -> None:
    """Fill empty tables, and leave them like tables in use: vacuumed, analysed and written to disk.

    Disables triggers and foreign keys if the role may; the generated rows are already consistent.
    """
    people = People(members, now=datetime.now(UTC).replace(tzinfo=None))
    planned = [batch for batch in batches(people) if _is_there(session, batch.table)]
    whole = sum(batch.rows for batch in planned) * 1.5 or 1  # building the indexes takes a third of the time
    done = 0
    session.execute("SET synchronous_commit = off")
    are_triggers_off = _put_triggers_to_sleep(session)
    with without_indexes(session, [batch.table for batch in planned]):
        for batch in planned:
            for lines in _copy(session, batch):
                done += lines
                advanced(done / whole)
    if are_triggers_off and any(batch.table == "PointTransaction" for batch in planned):
        _sum_up(session)
    session.execute("RESET ALL")
    settle(session)
    advanced(1.0)


def settle(session: psycopg.Connection) -> None:
    """Vacuum, analyse, and write all pages to disk, so that all rehearsals start in the same state."""
    session.execute("VACUUM (ANALYZE)")
    with suppress(psycopg.errors.InsufficientPrivilege):
        session.execute("CHECKPOINT")


def _is_there(session: psycopg.Connection, table: str) -> bool:
    return session.execute("SELECT to_regclass(%s) IS NOT NULL", [f'"{table}"']).fetchone() == (True,)


def _put_triggers_to_sleep(session: psycopg.Connection) -> bool:
    try:
        session.execute("SET session_replication_role = replica")
    except psycopg.errors.InsufficientPrivilege:
        return False
    return True


def _copy(session: psycopg.Connection, batch: Batch) -> Iterator[int]:
    """Send rows, and yield how many lines were sent since the last yield."""
    command = sql.SQL("COPY {} ({}) FROM STDIN").format(
        sql.Identifier(batch.table), sql.SQL(", ").join(map(sql.Identifier, batch.columns))
    )
    waiting: list[str] = []
    with session.cursor().copy(command) as copy:
        for line in batch.lines:
            waiting.append(line)
            if len(waiting) == CHUNK_LINES:
                copy.write("".join(waiting))
                yield len(waiting)
                waiting.clear()
        copy.write("".join(waiting))
        yield len(waiting)


INDEXES = """
    SELECT indexname, indexdef
      FROM pg_indexes
     WHERE tablename = ANY(%s) AND schemaname = current_schema()
       AND NOT EXISTS (SELECT FROM pg_constraint
                        WHERE conindid = to_regclass(quote_ident(schemaname) || '.' || quote_ident(indexname)))
"""


@contextmanager
def without_indexes(session: psycopg.Connection, tables: list[str]) -> Iterator[None]:
    """Drop indexes, except those of constraints, and rebuild them afterwards, which is many times faster."""
    session.execute("SET maintenance_work_mem = '512MB'; SET work_mem = '64MB'")
    indexes = session.execute(INDEXES, [tables]).fetchall()
    for name, _ in indexes:
        session.execute(sql.SQL("DROP INDEX {}").format(sql.Identifier(name)))
    yield
    for _, definition in indexes:
        session.execute(definition.encode())


TOTALS = """
    UPDATE "Member"
       SET "totalPoints" = ledger.points, "lastActiveAt" = ledger.newest
      FROM (SELECT "memberId", sum(points) AS points, max("createdAt") AS newest
              FROM "PointTransaction"
             GROUP BY "memberId") AS ledger
     WHERE ledger."memberId" = "Member".id
"""
FIGURES = """
    UPDATE "Member"
       SET "totalPoints" = ledger.total_points, "pointsMonth" = ledger.points_month,
           "monthPoints" = coalesce(ledger.month_points, 0), "lastActiveAt" = ledger.last_active_at,
           "currentStreak" = coalesce(ledger.streak, 0)
      FROM points_by_ledger(%s) AS ledger
     WHERE ledger.member_id = "Member".id
"""
KNOWS_FIGURES = """
    SELECT to_regproc('points_by_ledger') IS NOT NULL
       AND EXISTS (SELECT FROM pg_attribute WHERE attrelid = '"Member"'::regclass AND attname = 'monthPoints')
"""
HAVE_POINTS = 'SELECT DISTINCT "memberId" FROM "PointTransaction" ORDER BY 1'


def _sum_up(session: psycopg.Connection) -> None:
    """Set the members' figures as the triggers of the database's current schema would have set them."""
    if session.execute(KNOWS_FIGURES).fetchone() != (True,):
        session.execute(TOTALS)
        return
    members = [row[0] for row in session.execute(HAVE_POINTS).fetchall()]
    for first in range(0, len(members), BATCH_MEMBERS):
        session.execute(FIGURES, [members[first : first + BATCH_MEMBERS]])
