"""Made-up members with a history of answers, for tests of releases."""

import itertools
import json
from datetime import UTC, date, datetime
from typing import Any

from django.db import connection

JOINED = datetime(2026, 1, 1, tzinfo=UTC)
_members = itertools.count(1)
MEMBER = """
INSERT INTO "Member" (id, "subscriptionStatus", "createdAt", "updatedAt", "teamId", "isPrimaryOwner")
VALUES (%s, %s::"SubscriptionStatus", %s, now(), %s, %s)
"""
TEAM = """
INSERT INTO "Team" (id, name, "stripeCustomerId", "updatedAt") VALUES (%s, %s, %s, now()) ON CONFLICT DO NOTHING
"""
VERSION = """
INSERT INTO "BenchmarkVersion" ("memberId", category, number, data, "isWithdrawn", "companyKey", "recordedAt")
SELECT id, %(category)s::"BenchmarkCategory",
       1 + coalesce((SELECT max(number) FROM "BenchmarkVersion"
                      WHERE "memberId" = member.id AND category = %(category)s::"BenchmarkCategory"), 0),
       benchmark_answers(%(data)s::jsonb), %(is_withdrawn)s,
       coalesce('team:' || "teamId", 'member:' || id), %(at)s
  FROM "Member" AS member WHERE id = %(member)s
RETURNING id
"""
REVIEW = """
INSERT INTO "BenchmarkReview" ("versionId", state, "createdAt") VALUES (%s, %s::"BenchmarkState", %s)
"""


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


def month(text: str) -> date:
    return date.fromisoformat(f"{text}-01")


def execute(statement: str, values: Any = None) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return cursor.fetchall() if cursor.description else []


def member(
    *, joined: datetime = JOINED, team: str | None = None, status: str = "ACTIVE", is_owner: bool = False
) -> str:
    """Add a member, and the team if it is new."""
    id_ = f"m{next(_members)}"
    if team:
        execute(TEAM, [team, team, f"cus_{team}"])
    execute(MEMBER, [id_, status, joined.replace(tzinfo=None), team, is_owner])
    return id_


def answer(
    member: str,
    category: str,
    data: Any,
    when: str = "2026-05-01",
    *,
    state: str | None = "RECEIVED",
    is_withdrawn: bool = False,
) -> str:
    """Record a version as the trigger would have done at that time, and its review."""
    values = {
        "member": member,
        "category": category,
        "data": json.dumps(data),
        "is_withdrawn": is_withdrawn,
        "at": when,
    }
    version: str = execute(VERSION, values)[0][0]
    if state and not is_withdrawn:
        review(version, state, when)
    return version


def review(version: str, state: str, when: str) -> None:
    execute(REVIEW, [version, state, when])
