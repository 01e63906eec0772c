"""The gateway's SQL, in the form that Prisma writes: every column by name, one statement per query.

This module does not import Django, because each client that sends the SQL is a process that must start quickly.
"""

import random
import string
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

import psycopg

READ, WRITE = "read", "write"
chance = random.Random()  # noqa: S311  # not used for secrets

MEMBER = (
    "id", "discordId", "discordUsername", "discordAvatar", "stripeCustomerId", "email", "firstName", "lastName",
    "company", "jobTitle", "linkedInUrl", "referralSource", "subscriptionStatus", "seatTier", "currentPeriodEnd",
    "introCompleted", "introCompletedAt", "introMessageId", "teamId", "isTeamAdmin", "createdAt", "updatedAt",
    "passwordHash", "lastGuidanceDmAt", "isPrimaryOwner", "debtorStateEndsAt", "gracePeriodEndsAt",
    "isInDebtorState", "paymentFailedAt", "previousRole", "sentBillingNotifications",
)  # fmt: skip
ENUMS = {
    "subscriptionStatus": "SubscriptionStatus",
    "seatTier": "SeatTier",
    "activityType": "DiscordActivityType",
}


class Known(NamedTuple):
    """A member who is in the database."""

    id: str
    email: str | None
    discord_id: str | None
    team_id: str | None


# Samples whole blocks, about twice as many rows as are kept.
KNOWN = """SELECT id, email, "discordId", "teamId" FROM "Member" TABLESAMPLE SYSTEM (%s) LIMIT %s"""
ESTIMATE = """SELECT greatest(reltuples, 1)::float FROM pg_class WHERE oid = to_regclass('"Member"')"""
MOST_KNOWN = 20_000


def known(session: psycopg.Connection) -> list[Known]:
    """Draw some of the members who are in the database; none if there is no table of members."""
    found = session.execute(ESTIMATE).fetchone()
    if not found:
        return []
    percent = min(100.0, 100 * 2 * MOST_KNOWN / found[0])
    rows = session.execute(KNOWN, [percent, MOST_KNOWN]).fetchall()
    chance.shuffle(rows)
    return [Known(*row) for row in rows]


Query = tuple[str, Callable[[Known], list[Any]]]


@dataclass(frozen=True)
class Statement:
    """One request of the gateway. If it writes with several queries, they are one transaction.

    `weight` is how often it is sent, relative to the others.
    """

    name: str
    kind: str
    tables: tuple[str, ...]
    weight: int
    queries: tuple[Query, ...]


def cuid() -> str:
    """Make up a random id that looks like Prisma's."""
    return "c" + "".join(chance.choices(string.ascii_lowercase + string.digits, k=24))


def now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)


def _select(table: str, columns: tuple[str, ...], where: str, rest: str = "LIMIT 1 OFFSET 0") -> str:
    listed = ", ".join(f'"{table}"."{name}"' + ("::text" if name in ENUMS else "") for name in columns)
    return f'SELECT {listed} FROM "{table}" WHERE ({where} AND 1=1) {rest}'  # noqa: S608


def _member(where: str, rest: str = "LIMIT 1 OFFSET 0") -> str:
    return _select("Member", MEMBER, f'"Member"."{where}" = %s', rest)


def _update(values: str) -> str:
    return f'UPDATE "Member" SET {values}, "updatedAt" = %s WHERE ("Member"."id" = %s AND 1=1)'  # noqa: S608


def _insert(table: str, *columns: str) -> str:
    names = ", ".join(f'"{name}"' for name in columns)
    values = ", ".join(f'CAST(%s::text AS "{ENUMS[name]}")' if name in ENUMS else "%s" for name in columns)
    return f'INSERT INTO "{table}" ({names}) VALUES ({values}) RETURNING "{table}"."id"'  # noqa: S608


TEAM = ("id", "name", "subscriptionStatus", "ownerSeatCount", "teamSeatCount")
AUDIT_LOG = ("id", "action", "entityType", "entityId", "details", "performedBy", "createdAt")
POINTS = ("id", "action", "points", "createdAt")
NEWEST = 'ORDER BY "createdAt" DESC LIMIT 20 OFFSET 0'

BY_ID: Query = (_member("id"), lambda member: [member.id])
BY_EMAIL: Query = (_member("email"), lambda member: [member.email or ""])
BY_DISCORD_ID: Query = (_member("discordId"), lambda member: [member.discord_id or ""])
ONE_TEAM: Query = (_select("Team", TEAM, '"Team"."id" = %s'), lambda member: [member.team_id or ""])
TEAM_MEMBERS: Query = (_member("teamId", NEWEST), lambda member: [member.team_id or ""])
AUDITS: Query = (_select("AuditLog", AUDIT_LOG, "1=1", NEWEST), lambda _: [])
POINTS_OF_ONE: Query = (
    _select("PointTransaction", POINTS, '"PointTransaction"."memberId" = %s', NEWEST),
    lambda member: [member.id],
)

PROFILE: Query = (_update('"jobTitle" = %s'), lambda member: [f"Head of {cuid()[:6]}", now(), member.id])
INTRODUCED: Query = (
    _update('"introCompleted" = true, "introCompletedAt" = %s, "introMessageId" = %s'),
    lambda member: [now(), str(chance.getrandbits(60)), now(), member.id],
)
AUDIT: Query = (
    _insert("AuditLog", "id", "action", "entityType", "entityId", "createdAt"),
    lambda member: [cuid(), "INTRO_COMPLETED", "Member", member.id, now()],
)
EVENT: Query = (
    _insert("StripeEvent", "id", "eventId", "type", "processedAt"),
    lambda _: [cuid(), f"evt_{cuid()}", "customer.subscription.updated", now()],
)
SUBSCRIPTION: Query = (
    _update('"subscriptionStatus" = CAST(%s::text AS "SubscriptionStatus"), "currentPeriodEnd" = %s'),
    lambda member: [chance.choice(("ACTIVE", "ACTIVE", "PAST_DUE")), now(), now(), member.id],
)
SIGNED_UP: Query = (
    _insert("Member", "id", "email", "firstName", "subscriptionStatus", "createdAt", "updatedAt"),
    lambda _: [cuid(), f"{cuid()}@new.example", "New", "NONE", now(), now()],
)
AWARD: Query = (
    _insert("PointTransaction", "id", "memberId", "action", "points", "createdAt"),
    lambda member: [cuid(), member.id, "resource_download", 5, now()],
)
ACTIVITY: Query = (
    _insert("DiscordActivity", "id", "memberId", "discordId", "activityType", "xpDelta", "syncedAt"),
    lambda member: [cuid(), member.id, member.discord_id or "0", "MESSAGE", 20, now()],
)

# What the gateway's report reads in a transaction that stays open.
REPORT = 'SELECT count(*) FROM "Member"'
STATEMENTS = (
    Statement("member by id", READ, ("Member",), 30, (BY_ID,)),
    Statement("member by email", READ, ("Member",), 20, (BY_EMAIL,)),
    Statement("member by Discord id", READ, ("Member",), 15, (BY_DISCORD_ID,)),
    Statement("team with its members", READ, ("Team", "Member"), 10, (ONE_TEAM, TEAM_MEMBERS)),
    Statement("newest of the audit log", READ, ("AuditLog",), 5, (AUDITS,)),
    Statement("points of a member", READ, ("PointTransaction",), 10, (POINTS_OF_ONE,)),
    Statement("update of a profile", WRITE, ("Member",), 25, (PROFILE,)),
    Statement("introduction", WRITE, ("Member", "AuditLog"), 5, (INTRODUCED, AUDIT)),
    Statement("Stripe event", WRITE, ("StripeEvent", "Member"), 10, (EVENT, SUBSCRIPTION)),
    Statement("new member", WRITE, ("Member",), 4, (SIGNED_UP,)),
    Statement("points for a member", WRITE, ("PointTransaction",), 10, (AWARD,)),
    Statement("Discord activity", WRITE, ("DiscordActivity",), 4, (ACTIVITY,)),
)
BY_NAME = {statement.name: statement for statement in STATEMENTS}
