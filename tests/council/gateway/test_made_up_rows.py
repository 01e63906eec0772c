"""Made-up rows are consistent, and similar to real ones in number, shape and skew."""

import pytest

from tests.council.rehearsal.rehearsing import fill
from tests.databases import Database, Templates, migrate

pytestmark = pytest.mark.any_server

MEMBERS = 3_000


def filled(database: Database) -> None:
    with database.as_django_connection():
        migrate("council", "0001")
    fill(database, MEMBERS)


@pytest.fixture
def made_up(templates: Templates, database: Database) -> Database:
    """The gateway's tables after the first migration, with rows."""
    database.become(templates.get("made_up", filled))
    return database


def counts(database: Database, column: str) -> dict[object, int]:
    query = f'SELECT {column}, count(*)::integer FROM "Member" GROUP BY 1'
    return {row[0]: int(str(row[1])) for row in database.fetch(query)}


def test_members_have_realistic_numbers_and_differences(made_up: Database) -> None:
    by_status = counts(made_up, '"subscriptionStatus"::text')
    assert sum(by_status.values()) == MEMBERS
    assert by_status["ACTIVE"] > by_status["CANCELLED"] > by_status["NONE"] > by_status["PAST_DUE"] > 0
    in_good_standing = by_status["ACTIVE"] + by_status["TRIALING"]
    assert 0.4 < in_good_standing / MEMBERS < 0.6
    assert 0.8 < 1 - counts(made_up, '"discordId" IS NULL')[True] / MEMBERS < 0.9
    assert counts(made_up, 'length("passwordHash")').keys() == {None, 97}
    assert counts(made_up, "length(id)").keys() == {25}


def test_teams_have_all_sizes_and_a_few_members_do_most(made_up: Database) -> None:
    sizes = [
        int(str(row[0]))
        for row in made_up.fetch('SELECT count(*) FROM "Member" GROUP BY "teamId" ORDER BY 1')
    ]
    teams = sorted(sizes[:-1])  # the last group has no team
    assert teams[-1] > 5 * teams[len(teams) // 2]
    events = [
        int(str(row[0]))
        for row in made_up.fetch('SELECT count(*) FROM "AuditLog" GROUP BY "entityId" ORDER BY 1 DESC')
    ]
    assert sum(events[: len(events) // 5]) > 0.4 * sum(events)


def test_rows_satisfy_their_keys_although_these_were_disabled(made_up: Database) -> None:
    with made_up.connect() as session:
        for table, name in (("Member", "Member_teamId_fkey"), ("PendingInvite", "PendingInvite_teamId_fkey")):
            definition = session.execute(
                "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = %s", [name]
            ).fetchone()
            assert definition
            session.execute(f'ALTER TABLE "{table}" DROP CONSTRAINT "{name}"'.encode())
            session.execute(f'ALTER TABLE "{table}" ADD {definition[0]}'.encode())
