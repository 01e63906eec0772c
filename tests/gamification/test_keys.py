"""Rows of the gateway get the same keys as Django's awards, so that nothing is paid twice."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from django.db import connection

from council import jobs
from council.models import Member
from gamification import ledger
from gamification.models import Action, PointTransaction
from tests.databases import Database, migrate

INSERT = """
INSERT INTO "PointTransaction" (id, "memberId", action, points, metadata) VALUES (%s, %s, %s, %s, %s::jsonb)
"""
KEYS = 'SELECT id, "idempotencyKey" FROM "PointTransaction" ORDER BY id'
MEMBERS = """INSERT INTO "Member" (id, "updatedAt") SELECT 'm' || n, '2026-01-01' FROM generate_series(1, 40) AS n"""
OLD_ROWS = """
INSERT INTO "PointTransaction" (id, "memberId", action, points, metadata, "createdAt")
SELECT 'e' || m || '-' || n, 'm' || m, 'resource_download', 5, jsonb_build_object('resourceId', 'r' || n %% 3),
       timestamp '2026-01-05' + n * interval '7 hours'
  FROM generate_series(1, 40) AS m, generate_series(1, 6) AS n
""".replace("%%", "%")
DRIFT = """
SELECT member.id FROM "Member" AS member
  JOIN points_by_ledger(ARRAY(SELECT id FROM "Member")) AS ledger ON ledger.member_id = member.id
 WHERE (member."totalPoints", member."pointsMonth", member."monthPoints", member."lastActiveAt", member."currentStreak")
       IS DISTINCT FROM
       (ledger.total_points, ledger.points_month, ledger.month_points, ledger.last_active_at, ledger.streak)
"""
TWICE = """
SELECT "memberId", metadata ->> 'resourceId', count("idempotencyKey") FROM "PointTransaction"
 WHERE action = 'resource_download' GROUP BY 1, 2 HAVING count("idempotencyKey") <> 1
"""
LONG = "x" * 200
ROWS = {
    "an introduction": (("intro_completed", 25, None), "intro_completed:{member}"),
    "a submission": (
        ("benchmark_submission", 50, '{"category": "COMPENSATION"}'),
        "benchmark_submission:{member}:COMPENSATION",
    ),
    "a download": (("resource_download", 5, '{"resourceId": "r1"}'), "resource_download:{member}:r1"),
    "a download of nothing": (("resource_download", 5, '{"resourceId": ""}'), None),
    "a download that does not say of what": (("resource_download", 5, "[1]"), None),
    "another action": (("discord_activity", 5, '{"resourceId": "r1"}'), None),
    "0 points": (("intro_completed", 0, None), None),
    "points taken": (("intro_completed", -25, None), None),
    "a key that is too long": (("resource_download", 5, f'{{"resourceId": "{LONG}"}}'), None),
}


@pytest.mark.parametrize(("row", "key"), ROWS.values(), ids=ROWS)
def test_a_row_of_the_gateway_gets_the_key_of_its_payment(
    row: tuple[str, int, str | None], key: str | None, mia: Member
) -> None:
    with connection.cursor() as cursor:
        action, points, metadata = row
        cursor.execute(INSERT, ["e1", mia.pk, action, points, metadata])
        cursor.execute(INSERT, ["e2", mia.pk, action, points, metadata])
        cursor.execute(KEYS)
        assert cursor.fetchall() == [("e1", key and key.format(member=mia.pk)), ("e2", None)]


def test_two_rows_of_one_statement_get_one_key(mia: Member) -> None:
    PointTransaction.objects.bulk_create(
        PointTransaction(pk=f"e{n}", member=mia, action=Action.INTRO_COMPLETED, points=25) for n in (2, 1)
    )
    keys = dict(PointTransaction.objects.values_list("pk", "idempotency_key"))
    assert keys == {"e1": f"intro_completed:{mia.pk}", "e2": None}


def test_django_does_not_pay_again_what_the_gateway_paid(mia: Member) -> None:
    PointTransaction.objects.create(
        member=mia, action=Action.RESOURCE_DOWNLOAD, points=7, metadata={"resourceId": "r1"}
    )

    assert ledger.award(ledger.Award(mia.pk, Action.RESOURCE_DOWNLOAD, "r1")) is None
    assert ledger.award(ledger.Award(mia.pk, Action.RESOURCE_DOWNLOAD, "r2")) is not None


def test_a_row_can_only_get_its_own_key(migrated: Database) -> None:
    with migrated.connect() as session:
        session.execute(MEMBERS.encode())
        session.execute('ALTER TABLE "PointTransaction" DISABLE TRIGGER trg_update_point_transaction_keys')
        session.execute(INSERT.encode(), ["e1", "m1", "intro_completed", 25, None])
        for change in (
            "\"idempotencyKey\" = 'another'",
            "\"idempotencyKey\" = 'intro_completed:m1', points = 26",
            "points = 26",
        ):
            with pytest.raises(psycopg.Error, match="append-only"):
                session.execute(f'UPDATE "PointTransaction" SET {change}'.encode())
        session.execute("""UPDATE "PointTransaction" SET "idempotencyKey" = 'intro_completed:m1'""")
        with pytest.raises(psycopg.Error, match="append-only"):
            session.execute('UPDATE "PointTransaction" SET "idempotencyKey" = NULL')


def test_both_applications_can_pay_for_the_same_thing_at_once_without_an_error(migrated: Database) -> None:
    migrated.execute(MEMBERS)
    rounds = 25

    def gateway(start: threading.Barrier) -> None:
        with migrated.connect() as session:
            for n in range(rounds):
                start.wait(30)
                session.execute(
                    INSERT.encode(), [f"g{n}", "m1", "resource_download", 5, f'{{"resourceId": "r{n}"}}']
                )

    with migrated.as_default_connection(), ThreadPoolExecutor(1) as pool:
        start = threading.Barrier(2)
        paying = pool.submit(gateway, start)
        for n in range(rounds):
            start.wait(30)
            ledger.award_many(
                [
                    ledger.Award(member, Action.RESOURCE_DOWNLOAD, f"r{n}", metadata={"resourceId": f"r{n}"})
                    for member in ("m2", "m1")
                ]
            )
        paying.result()

    assert migrated.fetch(TWICE) == []
    assert migrated.fetch(DRIFT) == []


def test_a_row_gets_its_key_later_if_the_payment_that_held_it_rolled_back(
    migrated: Database,
) -> None:
    migrated.execute(MEMBERS)
    metadata = '{"resourceId": "r1"}'
    with migrated.connect() as paying, migrated.connect() as gateway:
        paying.execute("BEGIN")
        paying.execute(
            "SET LOCAL session_replication_role TO replica"
        )  # as it is before the member is locked
        paying.execute(
            """INSERT INTO "PointTransaction" (id, "memberId", action, points, "idempotencyKey")
               VALUES ('a1', 'm1', 'resource_download', 5, 'resource_download:m1:r1')"""
        )
        for number in (1, 2):
            gateway.execute(INSERT.encode(), [f"e{number}", "m1", "resource_download", 5, metadata])
        with migrated.as_default_connection():
            meanwhile = jobs.run(jobs.JOBS["give_keys"])
            assert migrated.fetch(KEYS) == [("e1", None), ("e2", None)]
            paying.execute("ROLLBACK")
            afterwards = jobs.run(jobs.JOBS["give_keys"])
            again = jobs.run(jobs.JOBS["give_keys"])
            assert ledger.award(ledger.Award("m1", Action.RESOURCE_DOWNLOAD, "r1")) is None
    assert migrated.fetch(KEYS) == [("e1", "resource_download:m1:r1"), ("e2", None)]
    assert [run.counts for run in (meanwhile, afterwards, again) if run] == [
        {"keys given": 0, "members left for later": 1},
        {"keys given": 1, "members left for later": 0},
        {"keys given": 0, "members left for later": 0},
    ]


def test_in_one_statement_only_rows_whose_key_is_used_get_none(migrated: Database) -> None:
    migrated.execute(MEMBERS)
    with migrated.connect() as paying, migrated.connect() as gateway:
        paying.execute("BEGIN")
        paying.execute(
            "SET LOCAL session_replication_role TO replica"
        )  # as it is before the member is locked
        paying.execute(
            """INSERT INTO "PointTransaction" (id, "memberId", action, points, "idempotencyKey")
               VALUES ('a1', 'm2', 'intro_completed', 5, 'intro_completed:m2')"""
        )
        gateway.execute(
            """INSERT INTO "PointTransaction" (id, "memberId", action, points)
               SELECT 'e' || n, 'm' || n, 'intro_completed', 25 FROM generate_series(1, 3) AS n"""
        )
        paying.execute("COMMIT")
    assert migrated.fetch(KEYS) == [
        ("a1", "intro_completed:m2"),
        ("e1", "intro_completed:m1"),
        ("e2", None),
        ("e3", "intro_completed:m3"),
    ]


def test_a_members_updated_at_changes_with_their_points(migrated: Database) -> None:
    migrated.execute(MEMBERS)
    with migrated.connect(options="-c TimeZone=Asia/Tokyo") as session:
        session.execute(INSERT.encode(), ["e1", "m1", "discord_activity", 5, None])

    ((moved, other),) = migrated.fetch(
        """SELECT (SELECT abs(extract(epoch FROM "updatedAt" - now() AT TIME ZONE 'UTC')) < 60
                     FROM "Member" WHERE id = 'm1'),
                  (SELECT max("updatedAt")::text FROM "Member" WHERE id <> 'm1')"""
    )
    assert moved is True
    assert other == "2026-01-01 00:00:00"


def test_an_existing_ledger_is_filled_while_the_gateway_writes(database: Database) -> None:
    """Fills rows that no trigger counted, and rows that are added meanwhile, with totals and keys."""
    with database.as_django_connection():
        migrate("gamification", "0004")
        database.execute(MEMBERS + ";" + OLD_ROWS)
        done = threading.Event()

        def gateway() -> int:
            written = 0
            with database.connect() as session:
                while not done.is_set():
                    member, resource = f"m{written % 40 + 1}", f"s{written % 7}"
                    session.execute(
                        INSERT.encode(),
                        [f"w{written}", member, "resource_download", 5, f'{{"resourceId": "{resource}"}}'],
                    )
                    written += 1
                    time.sleep(0.002)
            return written

        with ThreadPoolExecutor(1) as pool:
            writing = pool.submit(gateway)
            try:
                migrate()
                time.sleep(0.3)
            finally:
                done.set()
            assert writing.result() > 50

    assert database.fetch(DRIFT) == []
    assert database.fetch(TWICE) == []
    assert database.fetch("""SELECT "idempotencyKey" FROM "PointTransaction" WHERE id = 'e7-1'""") == [
        ("resource_download:m7:r1",)
    ]
    assert database.fetch('SELECT min("totalPoints") >= 30 FROM "Member"') == [(True,)]
