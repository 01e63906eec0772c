"""The ledger's triggers, with real sessions: exact totals whoever writes, and rows that stay."""

import random
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from tests.databases import Database, migrate

MEMBERS = """
INSERT INTO "Member" (id, "updatedAt") SELECT 'm' || n, now() FROM generate_series(1, 50) AS n
"""
ROW_LEVEL_TRIGGER = """
CREATE OR REPLACE FUNCTION update_member_total_points() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  UPDATE "Member" SET "totalPoints" = "totalPoints" + NEW.points, "lastActiveAt" = now() WHERE id = NEW."memberId";
  RETURN NEW;
END $$;
CREATE TRIGGER trg_update_member_points AFTER INSERT ON "PointTransaction"
FOR EACH ROW EXECUTE FUNCTION update_member_total_points()
"""
DRIFT = """
SELECT m.id, m."totalPoints", coalesce(sum(p.points), 0)
  FROM "Member" m LEFT JOIN "PointTransaction" p ON p."memberId" = m.id
 GROUP BY m.id HAVING m."totalPoints" <> coalesce(sum(p.points), 0)
"""


@pytest.fixture
def ledger(migrated: Database) -> Database:
    """A migrated database with fifty members, m1 to m50."""
    migrated.execute(MEMBERS)
    return migrated


@pytest.fixture
def session(ledger: Database) -> Iterator[psycopg.Connection]:
    with ledger.connect() as session:
        yield session


def total(session: psycopg.Connection, member: str) -> int:
    row = session.execute('SELECT "totalPoints" FROM "Member" WHERE id = %s', [member]).fetchone()
    assert row is not None
    return int(row[0])


def last_active_at(session: psycopg.Connection, member: str) -> datetime | None:
    row = session.execute('SELECT "lastActiveAt" FROM "Member" WHERE id = %s', [member]).fetchone()
    assert row is not None
    moment: datetime | None = row[0]
    return moment


def add(
    session: psycopg.Connection, member: str, points: int, *, id: str, action: str = "intro_completed"
) -> None:
    session.execute(
        'INSERT INTO "PointTransaction" (id, "memberId", action, points) VALUES (%s, %s, %s, %s)',
        [id, member, action, points],
    )


def test_one_row_is_added(session: psycopg.Connection) -> None:
    add(session, "m1", 25, id="a")
    add(session, "m1", -5, id="b", action="admin_adjustment")

    assert total(session, "m1") == 20
    assert total(session, "m2") == 0


def test_many_rows_of_one_statement_are_added(session: psycopg.Connection) -> None:
    session.execute(
        """INSERT INTO "PointTransaction" (id, "memberId", action, points)
           SELECT 'p' || n, 'm' || (1 + n %% 7), 'discord_activity', n FROM generate_series(1, 1000) AS n""",
        [],
    )

    assert session.execute(DRIFT.encode()).fetchall() == []
    assert session.execute('SELECT sum("totalPoints") FROM "Member"').fetchone() == (500500,)


def test_copied_rows_are_added(session: psycopg.Connection) -> None:
    with (
        session.cursor() as cursor,
        cursor.copy('COPY "PointTransaction" (id, "memberId", action, points) FROM STDIN') as copy,
    ):
        for n in range(1000):
            copy.write_row((f"p{n}", f"m{1 + n % 50}", "discord_activity", n))

    assert session.execute(DRIFT.encode()).fetchall() == []
    assert total(session, "m1") == sum(range(0, 1000, 50))


def test_a_row_that_conflicts_and_does_nothing_adds_nothing(session: psycopg.Connection) -> None:
    insert = """INSERT INTO "PointTransaction" (id, "memberId", action, points)
                VALUES ('a', 'm1', 'x', 10), ('b', 'm2', 'x', 20) ON CONFLICT DO NOTHING"""
    session.execute(insert)
    session.execute(insert)
    session.execute("""INSERT INTO "PointTransaction" (id, "memberId", action, points)
                       VALUES ('a', 'm1', 'x', 10), ('c', 'm1', 'x', 1) ON CONFLICT (id) DO NOTHING""")

    assert (total(session, "m1"), total(session, "m2")) == (11, 20)


def test_two_inserts_in_one_statement_are_both_added(session: psycopg.Connection) -> None:
    session.execute(
        """WITH first AS (INSERT INTO "PointTransaction" (id, "memberId", action, points)
                          VALUES ('a', 'm1', 'x', 10), ('b', 'm2', 'x', 20) RETURNING "memberId", points),
                second AS (INSERT INTO "PointTransaction" (id, "memberId", action, points)
                           SELECT 'again ' || "memberId", "memberId", 'x', points FROM first RETURNING points)
           SELECT sum(points) FROM second"""
    )

    assert (total(session, "m1"), total(session, "m2")) == (20, 40)


def test_a_statement_that_also_changes_the_member_counts_both(session: psycopg.Connection) -> None:
    session.execute(
        """WITH renamed AS (UPDATE "Member" SET company = 'Acme' WHERE id = 'm1' RETURNING id)
           INSERT INTO "PointTransaction" (id, "memberId", action, points) SELECT 'a', id, 'x', 10 FROM renamed"""
    )

    assert total(session, "m1") == 10
    assert session.execute("""SELECT company FROM "Member" WHERE id = 'm1'""").fetchone() == ("Acme",)


def test_merged_rows_are_added(session: psycopg.Connection) -> None:
    session.execute(
        """MERGE INTO "PointTransaction" p USING (VALUES ('a', 'm1', 3), ('b', 'm1', 4)) AS v(id, member, points)
              ON p.id = v.id
            WHEN NOT MATCHED THEN INSERT (id, "memberId", action, points) VALUES (v.id, v.member, 'x', v.points)"""
    )

    assert total(session, "m1") == 7


def test_rolled_back_rows_are_not_added(session: psycopg.Connection) -> None:
    with session.transaction():
        add(session, "m1", 10, id="a")
        with session.transaction(force_rollback=True):
            add(session, "m1", 100, id="b")
    with session.transaction(force_rollback=True):
        add(session, "m1", 1000, id="c")

    assert total(session, "m1") == 10


def test_a_total_beyond_32_bits_is_refused_whole(session: psycopg.Connection) -> None:
    add(session, "m1", 2**31 - 1, id="a")

    with pytest.raises(psycopg.errors.NumericValueOutOfRange, match="integer out of range"):
        session.execute(
            """INSERT INTO "PointTransaction" (id, "memberId", action, points)
               VALUES ('b', 'm2', 'x', 5), ('c', 'm1', 'x', 1)"""
        )

    assert (total(session, "m1"), total(session, "m2")) == (2**31 - 1, 0)


def test_rows_whose_sum_alone_is_beyond_32_bits_may_cancel_out(session: psycopg.Connection) -> None:
    session.execute(
        """INSERT INTO "PointTransaction" (id, "memberId", action, points)
           VALUES ('a', 'm1', 'x', 2147483647), ('b', 'm1', 'x', 2147483647), ('c', 'm1', 'x', -2147483647)"""
    )

    assert total(session, "m1") == 2**31 - 1


@pytest.mark.parametrize("zone", ["UTC", "America/Los_Angeles", "Asia/Kathmandu", "Pacific/Kiritimati"])
def test_last_active_is_utc_whatever_the_session_s_zone(ledger: Database, zone: str) -> None:
    with ledger.connect(options=f"-c TimeZone={zone}") as session:
        add(session, "m1", 25, id="a")
        session.execute(
            """INSERT INTO "PointTransaction" (id, "memberId", action, points)
               SELECT 'b' || n, 'm' || n, 'x', 1 FROM generate_series(2, 9) AS n"""
        )

        for member in ("m1", "m2", "m9"):
            moment = last_active_at(session, member)
            assert moment is not None
            assert abs(moment.replace(tzinfo=UTC) - datetime.now(UTC)) < timedelta(minutes=1)


def test_last_active_is_the_newest_positive_row_that_is_no_adjustment(session: psycopg.Connection) -> None:
    def add_at(id: str, moment: datetime, points: int, action: str) -> None:
        session.execute(
            """INSERT INTO "PointTransaction" (id, "memberId", action, points, "createdAt")
               VALUES (%s, 'm1', %s, %s, %s)""",
            [id, action, points, moment],
        )

    march, april, may = (datetime(2026, month, 1, 12, 0) for month in (3, 4, 5))  # noqa: DTZ001
    add_at("a", april, 5, "resource_download")
    assert last_active_at(session, "m1") == april
    add_at("b", may, 500, "admin_adjustment")
    add_at("c", may, -5, "resource_download")
    add_at("d", march, 5, "resource_download")
    assert last_active_at(session, "m1") == april
    add_at("e", may, 5, "resource_download")
    assert last_active_at(session, "m1") == may


@pytest.mark.parametrize("writers", [4])
def test_concurrent_bulk_writers_neither_deadlock_nor_lose_a_point(ledger: Database, writers: int) -> None:
    errors: list[Exception] = []
    start = threading.Barrier(writers)

    def write(writer: int) -> None:
        try:
            with ledger.connect() as session:
                start.wait()
                for batch in range(25):
                    members = [f"m{n}" for n in range(1, 51)]
                    random.Random(writer * 1000 + batch).shuffle(members)
                    rows = [(f"{writer}-{batch}-{n}", member, n) for n, member in enumerate(members)]
                    session.execute(
                        """INSERT INTO "PointTransaction" (id, "memberId", action, points)
                           SELECT r.id, r.member, 'x', r.points
                             FROM unnest(%s::text[], %s::text[], %s::int[]) AS r(id, member, points)""",
                        [[row[index] for row in rows] for index in range(3)],
                    )
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=write, args=[writer]) for writer in range(writers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert errors == []
    assert ledger.fetch(DRIFT) == []
    assert ledger.fetch('SELECT count(*) FROM "PointTransaction"') == [(writers * 25 * 50,)]


def test_the_row_level_trigger_deadlocks_where_ours_does_not(ledger: Database) -> None:
    """What the trigger is for: two transactions that write to two members in opposite order."""

    def deadlocks() -> int:
        first, second = (ledger.connect(options="-c deadlock_timeout=10ms") for _ in range(2))
        count = 0
        reached = threading.Barrier(2)

        def write(session: psycopg.Connection, name: str, members: list[str]) -> None:
            nonlocal count
            for round_ in range(40):
                reached.wait()
                rows = [f"{name}-{round_}-{member}" for member in members]
                try:
                    session.execute(
                        """INSERT INTO "PointTransaction" (id, "memberId", action, points)
                           SELECT r.id, r.member, 'x', 1 FROM unnest(%s::text[], %s::text[]) AS r(id, member)""",
                        [rows, members],
                    )
                except psycopg.errors.DeadlockDetected:
                    count += 1

        members = [f"m{n}" for n in range(1, 51)]
        threads = [
            threading.Thread(target=write, args=[first, f"up{id(first)}", members]),
            threading.Thread(target=write, args=[second, f"down{id(second)}", members[::-1]]),
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        first.close()
        second.close()
        return count

    assert deadlocks() == 0
    ledger.execute('DROP TRIGGER trg_update_member_points ON "PointTransaction"')
    ledger.execute(ROW_LEVEL_TRIGGER)
    assert deadlocks() > 0


def test_the_gateway_s_row_level_trigger_becomes_ours_in_place(database: Database) -> None:
    with database.as_django_connection():
        migrate("gamification", "0004")
        database.execute(ROW_LEVEL_TRIGGER + ";" + MEMBERS)
        database.execute("""INSERT INTO "PointTransaction" (id, "memberId", action, points)
                            VALUES ('a', 'm1', 'x', 10)""")

        migrate("gamification")

    with database.connect() as session:
        add(session, "m1", 5, id="b")
        assert total(session, "m1") == 15
    triggers = database.fetch(
        """SELECT tgname, pg_get_triggerdef(oid) LIKE '%FOR EACH STATEMENT%' FROM pg_trigger
            WHERE tgrelid = '"PointTransaction"'::regclass AND NOT tgisinternal AND tgname LIKE '%points'"""
    )
    assert triggers == [("trg_update_member_points", True)]


def test_a_writer_in_the_middle_of_the_upgrade_is_counted_once(database: Database) -> None:
    """A transaction that wrote under the old trigger holds the migration up until it commits."""
    with database.as_django_connection():
        migrate("gamification", "0004")
        database.execute(ROW_LEVEL_TRIGGER + ";" + MEMBERS)
        with database.connect() as gateway, gateway.transaction():
            add(gateway, "m1", 10, id="a")
            upgrade = threading.Thread(target=lambda: database.manage("migrate", "gamification"))
            upgrade.start()
            upgrade.join(timeout=1.5)
            assert upgrade.is_alive()
            add(gateway, "m1", 5, id="b")
        upgrade.join()

    with database.connect() as session:
        add(session, "m1", 1, id="c")
        assert total(session, "m1") == 16


REFUSED = {
    "UPDATE of points": """UPDATE "PointTransaction" SET points = 1""",
    "UPDATE of the member to another one": """UPDATE "PointTransaction" SET "memberId" = 'm2'""",
    "UPDATE that changes nothing": """UPDATE "PointTransaction" SET points = points""",
    "DELETE": """DELETE FROM "PointTransaction" """,
    "TRUNCATE": """TRUNCATE "PointTransaction" """,
    "TRUNCATE of the members": """TRUNCATE "Member" CASCADE""",
    "upsert": """INSERT INTO "PointTransaction" (id, "memberId", action, points) VALUES ('a', 'm1', 'x', 1)
                 ON CONFLICT (id) DO UPDATE SET points = 99""",
    "MERGE": """MERGE INTO "PointTransaction" p USING (VALUES ('a')) AS v(id) ON p.id = v.id
                WHEN MATCHED THEN DELETE""",
}


@pytest.mark.parametrize("change", REFUSED)
def test_a_change_of_the_ledger_is_refused(session: psycopg.Connection, change: str) -> None:
    add(session, "m1", 10, id="a")

    with pytest.raises(psycopg.errors.RestrictViolation, match="The points ledger is append-only: .*refused"):
        session.execute(REFUSED[change].encode())

    assert session.execute('SELECT id, "memberId", points FROM "PointTransaction"').fetchall() == [
        ("a", "m1", 10)
    ]
    assert total(session, "m1") == 10


def test_deleting_a_member_takes_its_rows_along_and_no_others(session: psycopg.Connection) -> None:
    add(session, "m1", 10, id="a")
    add(session, "m2", 20, id="b")

    session.execute("""DELETE FROM "Member" WHERE id = 'm1'""")

    assert session.execute('SELECT id FROM "PointTransaction"').fetchall() == [("b",)]


def test_deleting_a_member_and_their_rows_in_one_transaction_needs_the_member_first(
    session: psycopg.Connection,
) -> None:
    add(session, "m1", 10, id="a")

    with pytest.raises(psycopg.errors.RestrictViolation), session.transaction():
        session.execute("""DELETE FROM "PointTransaction" WHERE "memberId" = 'm1'""")
        session.execute("""DELETE FROM "Member" WHERE id = 'm1'""")

    assert total(session, "m1") == 10


def test_a_member_who_gets_another_id_keeps_rows_and_total(session: psycopg.Connection) -> None:
    add(session, "m1", 10, id="a")

    session.execute("""UPDATE "Member" SET id = 'new' WHERE id = 'm1'""")

    assert session.execute('SELECT "memberId", points FROM "PointTransaction"').fetchall() == [("new", 10)]
    assert total(session, "new") == 10


def test_a_search_path_set_by_the_caller_leads_nobody_astray(session: psycopg.Connection) -> None:
    session.execute(
        """CREATE TEMPORARY TABLE "Member" (id text, "totalPoints" int, "lastActiveAt" timestamp)"""
    )

    session.execute(
        """INSERT INTO public."PointTransaction" (id, "memberId", action, points) VALUES ('a', 'm1', 'x', 10)"""
    )

    assert session.execute("""SELECT "totalPoints" FROM public."Member" WHERE id = 'm1'""").fetchone() == (
        10,
    )
    session.execute("""INSERT INTO "Member" SELECT id FROM public."Member" WHERE false""")
    with pytest.raises(psycopg.errors.RestrictViolation):
        session.execute("""DELETE FROM public."PointTransaction" """)
