"""All ways past the ledger's triggers for a role without superuser rights. Each is refused or detected."""
# ruff: noqa: E501  # statements, as somebody would type them

from collections.abc import Iterator

import psycopg
import pytest
from psycopg import errors

from tests.databases import Database

MEMBERS = """
INSERT INTO "Member" (id, email, "updatedAt") VALUES ('ann', 'ann@example.com', now()), ('bob', NULL, now()), ('cy', NULL, now());
INSERT INTO "PointTransaction" (id, "memberId", action, points, "createdAt") VALUES
  ('a1', 'ann', 'intro_completed', 25, '2026-01-05 12:00'), ('a2', 'ann', 'resource_download', 5, '2026-01-06 12:00'),
  ('b1', 'bob', 'intro_completed', 25, '2026-01-07 12:00');
"""
# A role for the gateway that owns nothing, but has all rights on rows, and may create temporary tables.
WRITER = """
DROP ROLE IF EXISTS {role}; CREATE ROLE {role} LOGIN;
GRANT USAGE ON SCHEMA public TO {role};
GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE, TRIGGER ON ALL TABLES IN SCHEMA public TO {role};
"""
LEDGER = 'SELECT string_agg(id || "memberId" || points || action, \' \' ORDER BY id) FROM "PointTransaction"'
DRIFT = """
SELECT member.id
  FROM "Member" AS member
  LEFT JOIN points_by_ledger((SELECT array_agg(id) FROM "Member")) AS ledger ON ledger.member_id = member.id
 WHERE member."totalPoints" <> coalesce(ledger.total_points, 0)
    OR member."lastActiveAt" IS DISTINCT FROM ledger.last_active_at
"""
# For a trigger on the role's own table.
DISGUISE = """
CREATE TEMPORARY TABLE disguise (x int);
CREATE FUNCTION pg_temp.disguised() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN {statements}; RETURN NEW; END $$;
CREATE TRIGGER disguise BEFORE INSERT ON disguise FOR EACH ROW EXECUTE FUNCTION pg_temp.disguised();
INSERT INTO disguise VALUES (1)
"""
GONE = """WITH gone AS (DELETE FROM "Member" WHERE id = 'ann' RETURNING id)"""
MOVE = f"""{GONE} UPDATE "PointTransaction" SET "memberId" = '{{to}}' WHERE "memberId" = 'ann'"""
# For a trigger that runs while the database gives a row its key.
KEY = """
    CREATE FUNCTION pg_temp.later() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {change}; RETURN NEW; END $$;
    CREATE TRIGGER zzz BEFORE UPDATE ON "PointTransaction" FOR EACH ROW EXECUTE FUNCTION pg_temp.later();
    INSERT INTO "PointTransaction" (id, "memberId", action, points, metadata)
    VALUES ('x', 'ann', 'resource_download', 5, '{{"resourceId": "r1"}}')
"""
WAYS = {
    "a plain change": 'UPDATE "PointTransaction" SET points = 9',
    "a plain removal": """DELETE FROM "PointTransaction" WHERE id = 'a1'""",
    "moved while the member goes": MOVE.format(to="bob"),
    "moved to one without rows": MOVE.format(to="cy"),
    "removed while the member goes": f"""{GONE} DELETE FROM "PointTransaction" WHERE id = 'a1'""",
    "changed while the member goes": f"{GONE} UPDATE \"PointTransaction\" SET points = 9 WHERE id = 'a1'",
    "merge that updates": """
        MERGE INTO "PointTransaction" AS t USING (SELECT 'a1' AS id) AS s ON t.id = s.id
        WHEN MATCHED THEN UPDATE SET points = 9""",
    "merge that deletes": """
        MERGE INTO "PointTransaction" AS t USING (SELECT 'a1' AS id) AS s ON t.id = s.id WHEN MATCHED THEN DELETE""",
    "a conflict that updates": """
        INSERT INTO "PointTransaction" (id, "memberId", action, points) VALUES ('a1', 'ann', 'x', 9)
        ON CONFLICT (id) DO UPDATE SET points = 9""",
    "truncated": 'TRUNCATE "PointTransaction"',
    "truncated with the members": 'TRUNCATE "Member" CASCADE',
    "the member goes and comes back in one statement": """
        WITH gone AS (DELETE FROM "Member" WHERE id = 'ann' RETURNING *) INSERT INTO "Member" SELECT * FROM gone""",
    "another takes the id in the same statement": """
        WITH gone AS (DELETE FROM "Member" WHERE id = 'ann') UPDATE "Member" SET id = 'ann' WHERE id = 'bob'""",
    "moved by a trigger of one's own": DISGUISE.format(statements=MOVE.format(to="bob")),
    "moved by such a trigger to one without rows": DISGUISE.format(statements=MOVE.format(to="cy")),
    "half of them moved by such a trigger": DISGUISE.format(
        statements=f"""{GONE} UPDATE "PointTransaction" SET "memberId" = 'cy' WHERE id = 'a1'"""
    ),
    "replication, which switches triggers off": "SET session_replication_role = replica",
    "triggers switched off": 'ALTER TABLE "PointTransaction" DISABLE TRIGGER USER',
    "a rule in their place": 'CREATE RULE quiet AS ON INSERT TO "PointTransaction" DO INSTEAD NOTHING',
    "a child table": 'CREATE TEMPORARY TABLE child () INHERITS ("PointTransaction")',
    "a row of the future": """
        INSERT INTO "PointTransaction" (id, "memberId", action, points, "createdAt")
        VALUES ('x', 'ann', 'x', 1, (now() AT TIME ZONE 'UTC') + interval '11 minutes')""",
    "a row without end": """
        INSERT INTO "PointTransaction" (id, "memberId", action, points, "createdAt") VALUES ('x', 'ann', 'x', 1, 'infinity')""",
    "a row before all days": """
        INSERT INTO "PointTransaction" (id, "memberId", action, points, "createdAt") VALUES ('x', 'ann', 'x', 1, '-infinity')""",
    "a row before the year 1": """
        INSERT INTO "PointTransaction" (id, "memberId", action, points, "createdAt") VALUES ('x', 'ann', 'x', 1, '0044-03-15 BC')""",
    "deep metadata": """
        INSERT INTO "PointTransaction" (id, "memberId", action, points, metadata)
        VALUES ('x', 'ann', 'x', 1, (repeat('[', 18) || repeat(']', 18))::jsonb)""",
    "deeper metadata": """
        INSERT INTO "PointTransaction" (id, "memberId", action, points, metadata)
        VALUES ('x', 'ann', 'x', 1, (repeat('{"a":', 3000) || '1' || repeat('}', 3000))::jsonb)""",
    "long metadata": """
        INSERT INTO "PointTransaction" (id, "memberId", action, points, metadata)
        VALUES ('x', 'ann', 'x', 1, to_jsonb(repeat('x', 20000)))""",
    "a long action": """
        INSERT INTO "PointTransaction" (id, "memberId", action, points) VALUES ('x', 'ann', repeat('x', 1000000), 1)""",
    "a long id": """
        INSERT INTO "PointTransaction" (id, "memberId", action, points) VALUES (repeat('x', 1000), 'ann', 'x', 1)""",
    "changed on its way in": """
        CREATE FUNCTION pg_temp.later() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN NEW."createdAt" = '2999-01-01'; RETURN NEW; END $$;
        CREATE TRIGGER zzz BEFORE INSERT ON "PointTransaction" FOR EACH ROW EXECUTE FUNCTION pg_temp.later();
        INSERT INTO "PointTransaction" (id, "memberId", action, points) VALUES ('x', 'ann', 'x', 1)""",
    "marked as dated in the future": """UPDATE "PointTransaction" SET "isMisdated" = true WHERE id = 'a1'""",
    "marked from the start": """
        INSERT INTO "PointTransaction" (id, "memberId", action, points, "isMisdated") VALUES ('x', 'ann', 'x', 1, true)""",
    "marked on the way of a key": KEY.format(change='NEW."isMisdated" = true'),
    "another key on the way of a key": KEY.format(
        change="""NEW."idempotencyKey" = 'resource_download:bob:r1'"""
    ),
    "points on the way of a key": KEY.format(change="NEW.points = 9"),
    "a conflict that gives a key": """
        INSERT INTO "PointTransaction" (id, "memberId", action, points) VALUES ('a1', 'ann', 'x', 9)
        ON CONFLICT (id) DO UPDATE SET "idempotencyKey" = 'resource_download:ann:r1'""",
    "a view over it": """
        CREATE TEMPORARY VIEW own AS SELECT * FROM "PointTransaction"; UPDATE own SET points = 9""",
    "a new id and a row in one statement": """
        WITH renamed AS (UPDATE "Member" SET id = 'anne' WHERE id = 'ann')
        INSERT INTO "PointTransaction" (id, "memberId", action, points) VALUES ('x', 'anne', 'x', 1)""",
    "the member goes, and a row comes": f"""
        {GONE} INSERT INTO "PointTransaction" (id, "memberId", action, points) VALUES ('x', 'ann', 'x', 1)""",
    "the member is put back before the rows go": """
        CREATE FUNCTION pg_temp.back() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN INSERT INTO "Member" SELECT OLD.*; RETURN NULL; END $$;
        CREATE TRIGGER "AAA" AFTER DELETE ON "Member" FOR EACH ROW EXECUTE FUNCTION pg_temp.back();
        DELETE FROM "Member" WHERE id = 'ann'""",
    "changed on the way of a new id": """
        CREATE FUNCTION pg_temp.later() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN NEW.points = 9; RETURN NEW; END $$;
        CREATE TRIGGER zzz BEFORE UPDATE ON "PointTransaction" FOR EACH ROW EXECUTE FUNCTION pg_temp.later();
        UPDATE "Member" SET id = 'anne' WHERE id = 'ann'""",
}
# The role lacks a right, so the triggers do not even run.
REFUSALS = (
    errors.RestrictViolation,
    errors.CheckViolation,
    errors.InsufficientPrivilege,
    errors.UniqueViolation,
    errors.ForeignKeyViolation,
    errors.ProgramLimitExceeded,
)


@pytest.fixture
def writer(migrated: Database, worker_id: str) -> Iterator[psycopg.Connection]:
    role = f"writer_{worker_id}"
    migrated.execute(MEMBERS + WRITER.format(role=role))
    with migrated.connect() as operator:
        yield operator
        operator.execute("RESET ROLE")
        operator.execute(f"DROP OWNED BY {role}; DROP ROLE {role}".encode())


def as_writer(session: psycopg.Connection, worker_id: str) -> None:
    session.execute("SET ROLE TO " + f"writer_{worker_id}")


def test_no_way_past_the_triggers_changes_the_ledger(writer: psycopg.Connection, worker_id: str) -> None:
    """Each statement runs in a transaction, which is rolled back if it is refused."""
    # As for the gateway, row level security hides no rows.
    writer.execute('ALTER TABLE "PointTransaction" DISABLE ROW LEVEL SECURITY')
    before = writer.execute(LEDGER).fetchone()
    through = []
    for way, statements in WAYS.items():
        try:
            with writer.transaction():
                as_writer(writer, worker_id)
                writer.execute(statements.encode())
                writer.execute("RESET ROLE")
                drift = writer.execute(DRIFT).fetchall()
                left = writer.execute(LEDGER).fetchone()
                through.append((way, drift, left))
                raise psycopg.Rollback
        except REFUSALS:
            pass
        writer.execute("RESET ROLE")
    assert through == []
    assert writer.execute(LEDGER).fetchone() == before


def test_rows_follow_their_member_s_deletion_and_new_id(writer: psycopg.Connection) -> None:
    writer.execute("""UPDATE "Member" SET id = 'anne' WHERE id = 'ann'""")
    writer.execute("""UPDATE "Member" SET id = id || '2'""")
    assert writer.execute(LEDGER).fetchone() == (
        "a1anne225intro_completed a2anne25resource_download b1bob225intro_completed",
    )
    writer.execute("""DELETE FROM "Member" WHERE id = 'anne2'""")
    assert writer.execute(LEDGER).fetchone() == ("b1bob225intro_completed",)
    assert writer.execute(DRIFT).fetchall() == []


# Temporary types, which names without a schema would find first: points in hundreds, text of five letters.
OWN_TYPES = """
CREATE DOMAIN pg_temp.text AS varchar(5);
CREATE DOMAIN pg_temp.date AS timestamp(3);
CREATE TYPE pg_temp.record AS (
  member_id pg_catalog.text, month pg_catalog.date, points numeric(5,-2), month_points numeric(5,-2),
  first_day pg_catalog.date, last_active_at timestamp(3)
)
"""


def test_temporary_types_have_no_effect_on_triggers(writer: psycopg.Connection, worker_id: str) -> None:
    writer.execute('ALTER TABLE "PointTransaction" DISABLE ROW LEVEL SECURITY')
    with psycopg.connect(writer.info.dsn, autocommit=True) as session:
        as_writer(session, worker_id)
        session.execute(OWN_TYPES)
        session.execute(
            """INSERT INTO "PointTransaction" (id, "memberId", action, points) VALUES ('y', 'ann', 'x', 30)"""
        )
        with pytest.raises(errors.CheckViolation, match="metadata of more than 16,384 bytes"):
            session.execute(WAYS["long metadata"].encode())
    assert writer.execute(DRIFT).fetchall() == []


def test_deleting_a_team_deletes_no_entry(writer: psycopg.Connection) -> None:
    writer.execute(
        """INSERT INTO "Team" (id, name, "stripeCustomerId", "updatedAt") VALUES ('t', 'Team', 'cus', now());
        UPDATE "Member" SET "teamId" = 't'; UPDATE "Team" SET id = 'u'; DELETE FROM "Team" """
    )
    assert writer.execute('SELECT count(*) FROM "PointTransaction"').fetchone() == (3,)
    assert writer.execute(DRIFT).fetchall() == []


def test_points_that_cannot_be_added_up_are_refused(writer: psycopg.Connection, worker_id: str) -> None:
    """Otherwise a role that cannot see the member, because of row level security, would add a row without points."""
    writer.execute('ALTER TABLE "PointTransaction" DISABLE ROW LEVEL SECURITY')
    writer.execute('ALTER TABLE "Member" ENABLE ROW LEVEL SECURITY')
    writer.execute("""CREATE POLICY half ON "Member" FOR SELECT USING (true)""")
    with (
        pytest.raises(errors.InsufficientPrivilege, match="The points of member ann cannot be added up"),
        writer.transaction(),
    ):
        as_writer(writer, worker_id)
        writer.execute(
            """INSERT INTO "PointTransaction" (id, "memberId", action, points) VALUES ('x', 'ann', 'x', 1)"""
        )


@pytest.mark.parametrize(
    "metadata",
    [
        "NULL",
        """'{"category": "COMPENSATION"}'""",
        "(repeat('[', 16) || repeat(']', 16))::jsonb",
        "to_jsonb(repeat('x', 16000))",
    ],
)
def test_rows_at_the_limits_are_accepted(writer: psycopg.Connection, metadata: str) -> None:
    writer.execute(
        f"""INSERT INTO "PointTransaction" (id, "memberId", action, points, metadata, "createdAt")
        VALUES ('x', 'ann', 'x', 1, {metadata}, (now() AT TIME ZONE 'UTC') + interval '9 minutes')""".encode()
    )
    assert writer.execute(DRIFT).fetchall() == []
