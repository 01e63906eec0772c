"""Made-up members: enough alike to real ones in number, shape and skew, and all of a piece."""

import pytest
from django.db.backends.base.base import BaseDatabaseWrapper

from council.rehearsal import generator
from tests.databases import Database, migrate

pytestmark = pytest.mark.any_server

MEMBERS = 3_000


def fill(database: Database, members: int = MEMBERS) -> list[float]:
    heard: list[float] = []
    with database.connect() as session:
        generator.fill(session, members=members, advanced=heard.append)
    return heard


@pytest.fixture
def made_up(database: Database) -> Database:
    with database.as_django_connection():
        migrate("council", "0001")
    schema = database.catalog()
    heard = fill(database)
    assert database.catalog() == schema, "all indexes are there again"
    assert heard == sorted(heard)
    assert heard[-1] == 1.0
    return database


def counts(database: Database, column: str) -> dict[object, int]:
    query = f'SELECT {column}, count(*)::integer FROM "Member" GROUP BY 1'
    return {row[0]: int(str(row[1])) for row in database.fetch(query)}


def test_members_are_as_many_and_as_different_as_real_ones(made_up: Database) -> None:
    by_status = counts(made_up, '"subscriptionStatus"::text')
    assert sum(by_status.values()) == MEMBERS
    assert by_status["ACTIVE"] > by_status["CANCELLED"] > by_status["NONE"] > by_status["PAST_DUE"] > 0
    in_good_standing = by_status["ACTIVE"] + by_status["TRIALING"]
    assert 0.4 < in_good_standing / MEMBERS < 0.6
    assert 0.8 < 1 - counts(made_up, '"discordId" IS NULL')[True] / MEMBERS < 0.9
    assert counts(made_up, 'length("passwordHash")').keys() == {None, 97}
    assert counts(made_up, "length(id)").keys() == {25}


def test_teams_are_of_all_sizes_and_few_members_do_most(made_up: Database) -> None:
    sizes = [
        int(str(row[0]))
        for row in made_up.fetch('SELECT count(*) FROM "Member" GROUP BY "teamId" ORDER BY 1')
    ]
    teams = sorted(sizes[:-1])  # the last one is of those without
    assert teams[-1] > 5 * teams[len(teams) // 2]
    events = [
        int(str(row[0]))
        for row in made_up.fetch('SELECT count(*) FROM "AuditLog" GROUP BY "entityId" ORDER BY 1 DESC')
    ]
    assert sum(events[: len(events) // 5]) > 0.4 * sum(events)


def test_rows_fit_their_keys_though_these_slept(made_up: Database) -> None:
    with made_up.connect() as session:
        for table, name in (("Member", "Member_teamId_fkey"), ("PendingInvite", "PendingInvite_teamId_fkey")):
            definition = session.execute(
                "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = %s", [name]
            ).fetchone()
            assert definition
            session.execute(f'ALTER TABLE "{table}" DROP CONSTRAINT "{name}"'.encode())
            session.execute(f'ALTER TABLE "{table}" ADD {definition[0]}'.encode())


@pytest.mark.parametrize("state", [("gamification", "0005"), ("gamification", "0012"), ()], ids=" ".join)
def test_the_ledger_s_figures_are_those_of_the_state(
    scratch: BaseDatabaseWrapper, database: Database, state: tuple[str, ...]
) -> None:
    migrate(*state)

    fill(database, 300)

    assert database.fetch('SELECT count(*) FROM "PointTransaction"') == [(300 * generator.POINTS_A_MEMBER,)]
    wrong = """
        SELECT id FROM "Member" LEFT JOIN
               (SELECT "memberId", sum(points) AS points FROM "PointTransaction" GROUP BY 1) AS l ON "memberId" = id
         WHERE "totalPoints" <> coalesce(points, 0)
    """
    assert database.fetch(wrong) == []
    if not state:
        result = database.manage("verify_schema", "--full")
        assert "0 failed" in result.stdout


OWN_ALL = """
DO $$
DECLARE name text;
BEGIN
  FOR name IN SELECT quote_ident(relname) FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
  LOOP
    EXECUTE format('ALTER TABLE %s OWNER TO "{role}"', name);
  END LOOP;
END $$;
"""


def test_a_role_that_may_not_put_triggers_to_sleep_fills_all_the_same(database: Database) -> None:
    role = f"{database.name}_owner"
    with database.as_django_connection():
        migrate("gamification", "0005")
    database.execute(
        f'CREATE ROLE "{role}" LOGIN; GRANT ALL ON SCHEMA public TO "{role}";' + OWN_ALL.format(role=role)
    )
    try:
        with database.connect(user=role) as session:
            generator.fill(session, members=200, advanced=lambda share: None)
        assert database.fetch('SELECT sum("totalPoints") FROM "Member"') == database.fetch(
            'SELECT sum(points) FROM "PointTransaction"'
        )
    finally:
        database.execute(f'DROP OWNED BY "{role}" CASCADE; DROP ROLE "{role}"')
