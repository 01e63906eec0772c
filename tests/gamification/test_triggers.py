"""The ledger's triggers, with real sessions: totals are exact for all writers, and rows cannot be changed."""

import random
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from typing import Any

import psycopg
import pytest
from django.db import connection

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


@pytest.fixture
def rolled_back(db: None) -> psycopg.Connection:
    """A session in a transaction that is rolled back after the test. It is fast, for tests that need no commit."""
    connection.ensure_connection()
    session: psycopg.Connection = connection.connection
    session.execute(MEMBERS)
    return session


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


def add_on(
    session: psycopg.Connection, moments: Sequence[date | str], *, points: int = 1, action: str = "x"
) -> None:
    """Add a row of m1 at each of these times, in one statement."""
    session.execute(
        """INSERT INTO "PointTransaction" (id, "memberId", action, points, "createdAt")
           SELECT gen_random_uuid(), 'm1', %s, %s, moment FROM unnest(%s::timestamp[]) AS moment""",
        [action, points, list(moments)],
    )


def figures(session: psycopg.Connection, *columns: str) -> tuple[Any, ...]:
    """Read columns of m1."""
    names = ", ".join(f'"{column}"' for column in columns)
    row = session.execute(f"""SELECT {names} FROM "Member" WHERE id = 'm1'""".encode()).fetchone()
    assert row is not None
    return row


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


def test_on_conflict_do_nothing_adds_nothing(session: psycopg.Connection) -> None:
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


def test_a_statement_with_a_total_beyond_32_bits_is_refused(session: psycopg.Connection) -> None:
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


ZONES = ["UTC", "America/Los_Angeles", "Asia/Kathmandu", "Pacific/Kiritimati"]


@pytest.mark.parametrize("zone", ZONES)
def test_rows_are_in_utc_for_any_time_zone_of_the_session(ledger: Database, zone: str) -> None:
    with ledger.connect(options=f"-c TimeZone={zone}") as session:
        add(session, "m1", 25, id="a")
        session.execute(
            """INSERT INTO "PointTransaction" (id, "memberId", action, points)
               SELECT 'b' || n, 'm' || n, 'x', 1 FROM generate_series(2, 9) AS n"""
        )

        moments = [last_active_at(session, member) for member in ("m1", "m2", "m9")]
        moments += [row[0] for row in session.execute('SELECT "createdAt" FROM "PointTransaction"')]
        for moment in moments:
            assert moment is not None
            assert abs(moment.replace(tzinfo=UTC) - datetime.now(UTC)) < timedelta(minutes=1)


@pytest.mark.parametrize("zone", ZONES)
def test_an_explicit_time_is_kept(ledger: Database, zone: str) -> None:
    with ledger.connect(options=f"-c TimeZone={zone}") as session:
        add_on(session, [datetime(2026, 3, 1, 12, 30)])  # noqa: DTZ001
        assert session.execute('SELECT "createdAt" FROM "PointTransaction"').fetchall() == [
            (datetime(2026, 3, 1, 12, 30),)  # noqa: DTZ001
        ]


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


def test_the_month_s_figure_is_the_sum_of_the_newest_month_s_rows(session: psycopg.Connection) -> None:
    def month() -> tuple[Any, ...]:
        return figures(session, "pointsMonth", "monthPoints")

    assert month() == (None, 0)
    add_on(session, ["2026-01-31 23:59:59.999"], points=5)
    assert month() == (date(2026, 1, 1), 5)
    add_on(session, ["2026-01-01", "2026-01-15"], points=10)
    assert month() == (date(2026, 1, 1), 25)
    add_on(session, ["2026-02-01 00:00:00.000"], points=-3, action="admin_adjustment")
    assert month() == (date(2026, 2, 1), -3)
    add_on(session, ["2026-01-20"], points=100)
    assert month() == (date(2026, 2, 1), -3)
    add_on(session, ["2025-12-31", "2026-03-02", "2026-02-27", "2026-03-01"], points=7)
    assert month() == (date(2026, 3, 1), 14)
    assert figures(session, "totalPoints") == (150,)


# Days, in order, and the streak that they make. 2026-10-26 is a Monday.
STREAKS = {
    "a day": (["2026-10-28"], 1),
    "one Friday": (["2026-10-30"], 1),
    "one Saturday": (["2026-10-31"], 1),
    "many rows a day": (["2026-10-28 00:00", "2026-10-28 12:00", "2026-10-28 23:59:59.999"], 1),
    "a week": (["2026-10-26", "2026-10-27", "2026-10-28", "2026-10-29", "2026-10-30"], 5),
    "a missed weekday": (["2026-10-26", "2026-10-28", "2026-10-29"], 2),
    "a missed weekend": (["2026-10-29", "2026-10-30", "2026-11-02"], 3),
    "a missed Saturday": (["2026-10-30", "2026-11-01", "2026-11-02"], 3),
    "a missed Sunday": (["2026-10-30", "2026-10-31", "2026-11-02"], 3),
    "an active weekend": (["2026-10-30", "2026-10-31", "2026-11-01", "2026-11-02"], 4),
    "a missed Friday": (["2026-10-29", "2026-10-31"], 1),
    "a missed Friday and weekend": (["2026-10-29", "2026-11-02"], 1),
    "a missed Monday": (["2026-10-30", "2026-11-03"], 1),
    "a missed Monday after a Saturday": (["2026-10-31", "2026-11-03"], 1),
    "a missed Monday after a Sunday": (["2026-11-01", "2026-11-03"], 1),
    "from Sunday": (["2026-11-01", "2026-11-02", "2026-11-03"], 3),
    "weekends only": (["2026-10-24", "2026-10-25", "2026-10-31", "2026-11-01"], 2),
    "year's end": (["2020-12-31", "2021-01-01", "2021-01-04"], 3),
    "a leap day": (["2024-02-28", "2024-02-29", "2024-03-01"], 3),
    "no leap day": (["2021-02-26", "2021-03-01"], 2),
    "just before midnight and just after": (["2026-10-27 23:59:59.999", "2026-10-28 00:00:00.000"], 2),
    "two streaks": (["2026-10-05", "2026-10-06", "2026-10-07", "2026-10-26", "2026-10-27"], 2),
    "a month": ([f"2026-10-{day:02}" for day in range(1, 31) if date(2026, 10, day).isoweekday() < 6], 22),
}


@pytest.mark.parametrize("case", STREAKS)
@pytest.mark.parametrize("order", ["in order", "backwards", "shuffled", "in one statement"])
def test_a_streak_does_not_depend_on_the_order_of_its_rows(
    rolled_back: psycopg.Connection, case: str, order: str
) -> None:
    days, expected = STREAKS[case]
    if order == "in one statement":
        add_on(rolled_back, days)
    else:
        came = days[::-1] if order == "backwards" else list(days)
        if order == "shuffled":
            random.Random(case).shuffle(came)
        for day in came:
            add_on(rolled_back, [day])

    assert figures(rolled_back, "currentStreak") == (expected,)
    ledger = rolled_back.execute(
        "SELECT streak, total_points FROM points_by_ledger(ARRAY['m1', 'm2'])"
    ).fetchall()
    assert ledger == [(expected, len(days))]


def test_only_activity_counts_for_a_streak(session: psycopg.Connection) -> None:
    add_on(session, ["2026-11-23"])
    add_on(session, ["2026-11-24"], action="admin_adjustment")
    add_on(session, ["2026-11-24"], points=-1)
    add_on(session, ["2026-11-24"], points=0)
    assert figures(session, "currentStreak", "lastActiveAt") == (1, datetime(2026, 11, 23))  # noqa: DTZ001


def test_a_row_that_fills_a_gap_sees_what_others_committed_meanwhile(ledger: Database) -> None:
    """It waits for the member, and then also counts the row that was committed meanwhile."""
    with ledger.connect() as first, ledger.connect() as second, ThreadPoolExecutor(1) as pool:
        add_on(first, ["2026-10-26"])
        with first.transaction():
            add_on(first, ["2026-10-29"])
            filling = pool.submit(add_on, second, ["2026-10-27", "2026-10-28"])
            waiting = "SELECT 1 FROM pg_locks WHERE NOT granted AND pid = %s"
            while not first.execute(waiting, [second.info.backend_pid]).fetchone():
                assert not filling.done()
        filling.result(timeout=20)
        assert figures(first, "currentStreak") == (4,)


def reversal(session: psycopg.Connection, id: str, reverses: str, *, member: str = "m1", points: int) -> None:
    session.execute(
        """INSERT INTO "PointTransaction" (id, "memberId", action, points, "reversesId")
           VALUES (%s, %s, 'x', %s, %s)""",
        [id, member, points, reverses],
    )


def test_a_reversal_takes_points_back_and_is_not_activity(session: psycopg.Connection) -> None:
    add(session, "m1", 25, id="a")
    add(session, "m1", -5, id="b", action="correction")
    session.execute("""UPDATE "Member" SET "lastActiveAt" = NULL""")
    reversal(session, "c", "a", points=-25)
    reversal(session, "d", "b", points=5)

    assert figures(session, "totalPoints", "lastActiveAt") == (0, None)


@pytest.mark.parametrize(
    "wrong",
    [
        {"reverses": "a", "points": -24},
        {"reverses": "a", "points": 25},
        {"reverses": "a", "points": -25, "member": "m2"},
        {"reverses": "r", "points": 10},
    ],
    ids=["other points", "same points", "another member", "a reversal"],
)
def test_the_database_refuses_an_invalid_reversal(session: psycopg.Connection, wrong: dict[str, Any]) -> None:
    add(session, "m1", 25, id="a")
    add(session, "m1", 10, id="b")
    reversal(session, "r", "b", points=-10)

    with pytest.raises(
        psycopg.errors.RestrictViolation, match=f"Row x cannot reverse row {wrong['reverses']}"
    ):
        reversal(session, "x", **wrong)

    assert figures(session, "totalPoints") == (25,)


def test_the_database_refuses_a_second_reversal_and_one_of_no_row(session: psycopg.Connection) -> None:
    add(session, "m1", 25, id="a")
    reversal(session, "b", "a", points=-25)

    with pytest.raises(psycopg.errors.UniqueViolation):
        reversal(session, "c", "a", points=-25)
    with pytest.raises((psycopg.errors.ForeignKeyViolation, psycopg.errors.RestrictViolation)):
        reversal(session, "d", "nothing", points=-25)
    assert figures(session, "totalPoints") == (0,)


def test_a_member_can_be_deleted_with_reversals(session: psycopg.Connection) -> None:
    add(session, "m1", 25, id="a")
    reversal(session, "b", "a", points=-25)

    session.execute("""DELETE FROM "Member" WHERE id = 'm1'""")

    assert session.execute('SELECT FROM "PointTransaction"').fetchall() == []


def test_each_key_has_one_row_and_any_number_have_none(session: psycopg.Connection) -> None:
    def insert(key: str | None) -> None:
        session.execute(
            """INSERT INTO "PointTransaction" (id, "memberId", action, points, "idempotencyKey")
               VALUES (gen_random_uuid(), 'm1', 'x', 1, %s)""",
            [key],
        )

    for key in (None, None, "k" * 200):
        insert(key)
    with pytest.raises(psycopg.errors.UniqueViolation):
        insert("k" * 200)
    with pytest.raises(psycopg.errors.StringDataRightTruncation):
        insert("k" * 201)

    assert total(session, "m1") == 3


def test_months_and_streaks_of_an_existing_ledger_are_filled(database: Database) -> None:
    """The first trigger, which kept only total and last activity, wrote them. Some members are locked meanwhile."""
    with database.as_django_connection():
        migrate("gamification", "0005")
        database.execute(MEMBERS)
        database.execute(
            """INSERT INTO "PointTransaction" (id, "memberId", action, points, "createdAt")
               SELECT gen_random_uuid(), 'm' || (1 + n % 49), 'x', 1 + n % 9,
                      timestamp '2026-11-27' - (n % 40) * (n % 3) * interval '1 day'
                 FROM generate_series(1, 2000) AS n"""
        )
        migrate("gamification")
    expected = """SELECT member_id, total_points, points_month, month_points, last_active_at, streak
                    FROM points_by_ledger(ARRAY(SELECT id FROM "Member")) ORDER BY member_id"""
    kept = """SELECT id, "totalPoints", "pointsMonth", "monthPoints", "lastActiveAt", "currentStreak"
                FROM "Member" WHERE "totalPoints" <> 0 ORDER BY id"""
    rows = database.fetch(kept)
    assert rows == database.fetch(expected)
    assert len(rows) == 49
    assert database.fetch(
        """SELECT "pointsMonth", "monthPoints", "currentStreak" FROM "Member" WHERE id = 'm50'"""
    ) == [(None, 0, 0)]


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


def test_members_are_locked_in_the_order_of_their_ids(ledger: Database) -> None:
    """Like an adjustment: a transaction that waits for the first member has locked none of the others."""
    free = """SELECT id FROM "Member" WHERE id IN ('m2', 'm3') ORDER BY id FOR NO KEY UPDATE NOWAIT"""
    with ledger.connect() as holder, ledger.connect() as writer, ThreadPoolExecutor(1) as pool:
        with holder.transaction():
            holder.execute("""SELECT FROM "Member" WHERE id = 'm1' FOR NO KEY UPDATE""")
            writing = pool.submit(
                writer.execute,
                """INSERT INTO "PointTransaction" (id, "memberId", action, points)
                   SELECT member, member, 'x', 1 FROM unnest('{m3,m2,m1}'::text[]) AS member""",
            )
            ledger.wait_for_waiting(1)
            assert holder.execute(free).fetchall() == [("m2",), ("m3",)]
        writing.result(timeout=30)


def test_the_row_level_trigger_deadlocks_and_ours_does_not(ledger: Database) -> None:
    """This is the reason for our trigger: two statements write to the same members in opposite order.

    Another session locks a member in the middle until both wait.
    """

    def deadlocks() -> int:
        members = [f"m{n}" for n in range(1, 51)]

        def write(name: str, members: list[str]) -> int:
            with ledger.connect(options="-c deadlock_timeout=10ms") as session:
                try:
                    session.execute(
                        """INSERT INTO "PointTransaction" (id, "memberId", action, points)
                           SELECT %s || r.member, r.member, 'x', 1 FROM unnest(%s::text[]) AS r(member)""",
                        [f"{name}-{threading.get_ident()}-", members],
                    )
                except psycopg.errors.DeadlockDetected:
                    return 1
            return 0

        with ThreadPoolExecutor(2) as pool, ledger.connect() as holder:
            with holder.transaction():
                holder.execute("""SELECT FROM "Member" WHERE id = 'm25' FOR NO KEY UPDATE""")
                lost = [pool.submit(write, "up", members), pool.submit(write, "down", members[::-1])]
                ledger.wait_for_waiting(2)
            return sum(one.result() for one in lost)

    assert deadlocks() == 0
    ledger.execute('DROP TRIGGER trg_update_member_points ON "PointTransaction"; DELETE FROM "Member"')
    ledger.execute(f"{ROW_LEVEL_TRIGGER}; {MEMBERS}")
    assert deadlocks() == 1


def test_our_trigger_replaces_the_gateway_s_in_place(database: Database) -> None:
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


def test_a_row_written_during_the_upgrade_is_counted_once(database: Database) -> None:
    """The migration waits until a transaction that wrote with the old trigger has committed."""
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

    with pytest.raises(psycopg.errors.RestrictViolation, match="append-only: .*refused|TRUNCATE refused"):
        session.execute(REFUSED[change].encode())

    assert session.execute('SELECT id, "memberId", points FROM "PointTransaction"').fetchall() == [
        ("a", "m1", 10)
    ]
    assert total(session, "m1") == 10


def test_deleting_a_member_deletes_only_their_rows(session: psycopg.Connection) -> None:
    add(session, "m1", 10, id="a")
    add(session, "m2", 20, id="b")

    session.execute("""DELETE FROM "Member" WHERE id = 'm1'""")

    assert session.execute('SELECT id FROM "PointTransaction"').fetchall() == [("b",)]


def test_a_transaction_must_delete_the_member_before_their_rows(
    session: psycopg.Connection,
) -> None:
    add(session, "m1", 10, id="a")

    with pytest.raises(psycopg.errors.RestrictViolation), session.transaction():
        session.execute("""DELETE FROM "PointTransaction" WHERE "memberId" = 'm1'""")
        session.execute("""DELETE FROM "Member" WHERE id = 'm1'""")

    assert total(session, "m1") == 10


def test_a_member_with_a_new_id_keeps_rows_and_total(session: psycopg.Connection) -> None:
    add(session, "m1", 10, id="a")

    session.execute("""UPDATE "Member" SET id = 'new' WHERE id = 'm1'""")

    assert session.execute('SELECT "memberId", points FROM "PointTransaction"').fetchall() == [("new", 10)]
    assert total(session, "new") == 10


def test_a_plan_made_for_many_rows_is_right_for_one(ledger: Database) -> None:
    with ledger.connect() as session:
        try:
            session.execute("LOAD 'auto_explain'")
        except psycopg.errors.UndefinedFile:
            pytest.skip("needs auto_explain, which the wheel's PostgreSQL comes without")
        session.execute("SET jit_above_cost = 0")  # if the server has auto_explain
        session.execute(
            """INSERT INTO "PointTransaction" (id, "memberId", action, points)
               SELECT 'p' || n, 'm' || (1 + n % 50), 'x', 1 FROM generate_series(1, 10000) AS n"""
        )
        plans: list[str] = []
        session.add_notice_handler(lambda notice: plans.append(notice.message_primary or ""))
        session.execute(
            """SET auto_explain.log_min_duration = 0; SET auto_explain.log_nested_statements = on;
               SET client_min_messages = log"""
        )
        add(session, "m1", 25, id="a")

    [plan] = [plan for plan in plans if "FROM new_rows) AS entries" in plan]  # of the totals
    assert "rows=10000" in plan, "not the plan of the many rows"
    assert plan.count("Sort  (") == 1
    assert "Hash" not in plan
    assert "JIT" not in plan


def test_a_search_path_set_by_the_caller_has_no_effect(session: psycopg.Connection) -> None:
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
