"""The history of answers: every change by any writer adds a version, and versions never change."""

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from django.db import connection

from benchmarks import definitions
from benchmarks.fields import STORED_NUMBER
from tests.databases import Database, migrate

PEOPLE = """
INSERT INTO "Team" (id, name, "stripeCustomerId", "updatedAt") VALUES ('t1', 'Acme', 'cus_t1', now());
INSERT INTO "Member" (id, "teamId", "stripeCustomerId", "updatedAt")
VALUES ('m1', 't1', 'cus_m1', now()), ('m2', NULL, 'cus_m2', now()), ('m3', NULL, NULL, now())
"""
# Statements of the gateway's client: an upsert, an update, and a deletion.
UPSERT = """
INSERT INTO "BenchmarkSubmission" (id, "memberId", category, data, "updatedAt")
VALUES (gen_random_uuid(), %s, %s, %s, now())
ON CONFLICT ("memberId", category) DO UPDATE SET data = EXCLUDED.data, "updatedAt" = EXCLUDED."updatedAt"
"""
HISTORY = """
SELECT "memberId", category::text, number, data, "isWithdrawn", "companyKey"
  FROM "BenchmarkVersion" ORDER BY "memberId", category, number
"""
Row = tuple[Any, ...]


@pytest.fixture
def session(db: None) -> psycopg.Connection:
    """A session in a transaction that is rolled back after the test."""
    connection.ensure_connection()
    session: psycopg.Connection = connection.connection
    session.execute(PEOPLE)
    return session


def submit(session: psycopg.Connection, member: str, data: Any, category: str = "OPERATIONAL") -> None:
    session.execute(UPSERT, [member, category, data if isinstance(data, str) else json.dumps(data)])


def history(session: psycopg.Connection) -> list[Row]:
    """Read all versions. Django's connection returns JSON as text, others return objects."""
    rows = session.execute(HISTORY).fetchall()
    return [(*row[:3], json.loads(row[3]) if isinstance(row[3], str) else row[3], *row[4:]) for row in rows]


def test_every_change_adds_a_version_and_a_repetition_does_not(session: psycopg.Connection) -> None:
    submit(session, "m1", {"domains_per_client": 5})
    submit(session, "m1", {"domains_per_client": 6})
    submit(session, "m1", {"domains_per_client": "6", "version": 1})
    submit(session, "m1", {"domains_per_client": 6}, "INFRASTRUCTURE")
    session.execute('UPDATE "BenchmarkSubmission" SET "updatedAt" = now(), "isValid" = false')

    assert [row[1:5] for row in history(session)] == [
        ("INFRASTRUCTURE", 1, {"domains_per_client": 6}, False),
        ("OPERATIONAL", 1, {"domains_per_client": 5}, False),
        ("OPERATIONAL", 2, {"domains_per_client": 6}, False),
    ]


def test_a_withdrawal_is_a_version_without_answers_and_a_new_submission_the_next(
    session: psycopg.Connection,
) -> None:
    submit(session, "m1", {"domains_per_client": 5})
    session.execute('DELETE FROM "BenchmarkSubmission"')
    submit(session, "m1", {"domains_per_client": 5})

    assert [row[2:5] for row in history(session)] == [
        (1, {"domains_per_client": 5}, False),
        (2, {}, True),
        (3, {"domains_per_client": 5}, False),
    ]


def test_the_company_is_the_team_or_the_customer_or_the_member_and_never_changes(
    session: psycopg.Connection,
) -> None:
    for member in ("m1", "m2", "m3"):
        submit(session, member, {"domains_per_client": 5})
    session.execute('DELETE FROM "Team"')
    assert [row[5] for row in history(session)] == ["team:t1", "customer:cus_m2", "member:m3"]

    submit(session, "m1", {"domains_per_client": 6})
    assert [row[5] for row in history(session)][:2] == ["team:t1", "customer:cus_m1"]


def test_a_member_is_deleted_with_their_history_and_its_reviews(session: psycopg.Connection) -> None:
    submit(session, "m1", {"domains_per_client": 5})
    submit(session, "m2", {"domains_per_client": 5})
    session.execute(
        """INSERT INTO "BenchmarkReview" ("versionId", state, "createdAt")
           SELECT id, 'RECEIVED', now() FROM "BenchmarkVersion" """
    )
    session.execute("""DELETE FROM "Member" WHERE id = 'm1'""")

    assert [row[0] for row in history(session)] == ["m2"]
    assert session.execute('SELECT count(*) FROM "BenchmarkReview"').fetchone() == (1,)


def test_a_new_member_id_changes_the_history_without_a_new_version(session: psycopg.Connection) -> None:
    for member in ("m1", "m3"):
        submit(session, member, {"domains_per_client": 5})
    session.execute("""UPDATE "Member" SET id = 'n' || id WHERE id IN ('m1', 'm3')""")

    assert [(row[0], row[2], row[5]) for row in history(session)] == [
        ("nm1", 1, "team:t1"),
        ("nm3", 1, "member:nm3"),
    ]


def test_a_submission_moved_to_another_member_is_withdrawn_in_the_first_history(
    session: psycopg.Connection,
) -> None:
    submit(session, "m1", {"domains_per_client": 5})
    session.execute("""UPDATE "BenchmarkSubmission" SET "memberId" = 'm2'""")
    session.execute("""UPDATE "BenchmarkSubmission" SET category = 'BUSINESS'""")

    assert [(row[0], row[1], row[2], row[4]) for row in history(session)] == [
        ("m1", "OPERATIONAL", 1, False),
        ("m1", "OPERATIONAL", 2, True),
        ("m2", "BUSINESS", 1, False),
        ("m2", "OPERATIONAL", 1, False),
        ("m2", "OPERATIONAL", 2, True),
    ]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE \"BenchmarkVersion\" SET data = '{}'",
        'UPDATE "BenchmarkVersion" SET "companyKey" = \'team:t2\'',
        'UPDATE "BenchmarkVersion" SET "memberId" = \'m3\'',
        'DELETE FROM "BenchmarkVersion"',
        'TRUNCATE "BenchmarkVersion" CASCADE',
        'TRUNCATE "BenchmarkSubmission"',
        "UPDATE \"BenchmarkReview\" SET state = 'REJECTED'",
        'DELETE FROM "BenchmarkReview"',
        'TRUNCATE "BenchmarkReview"',
    ],
)
def test_the_history_cannot_be_changed(session: psycopg.Connection, statement: str) -> None:
    submit(session, "m1", {"domains_per_client": 5})
    session.execute(
        """INSERT INTO "BenchmarkReview" ("versionId", state, "createdAt")
           SELECT id, 'RECEIVED', now() FROM "BenchmarkVersion" """
    )
    with pytest.raises(psycopg.errors.IntegrityError, match="refused"):
        session.execute(statement.encode())


def test_the_moment_is_utc_and_the_id_random_in_any_session(session: psycopg.Connection) -> None:
    session.execute("SET LOCAL TIME ZONE 'Pacific/Kiritimati'")
    submit(session, "m1", {"domains_per_client": 5})
    submit(session, "m1", {"domains_per_client": 6})

    rows = session.execute('SELECT id, "recordedAt" FROM "BenchmarkVersion"').fetchall()
    now = datetime.now(UTC).replace(tzinfo=None)
    assert all(abs(moment - now) < timedelta(minutes=5) for _, moment in rows)
    assert {identity.version for identity, _ in rows} == {4}


READABLE = [
    ("{}", {}),
    ("[]", {}),
    ("null", {}),
    ('"text"', {}),
    ("[1, 2]", {}),
    ('{"a": 1, "a": 2}', {"a": 2}),
    ('{"a": "12.50", "b": " 7 ", "c": "-3"}', {"a": 12.5, "b": 7, "c": -3}),
    ('{"a": "12,5", "b": "1e5", "c": "NaN", "d": "٣"}', {"a": "12,5", "b": "1e5", "c": "NaN", "d": "٣"}),
    ('{"a": 1e400, "b": -1e16, "c": 1e5, "d": 0.30000000000000004}', {"c": 100000, "d": 0.3}),
    ('{"a": null, "b": true, "c": [1], "d": {"e": 1}, "f": "", "g": "  "}', {}),
    ('{"A": 1, "_a": 1, "": 1, "a b": 1, "0": 1, "ü": 1}', {}),
    (json.dumps({"a": "x" * 10_000_000}), {"a": "x" * 500}),
    (json.dumps({f"k{n}": n for n in range(300)}), None),
    ('{"a": ' + "[" * 1000 + "]" * 1000 + ', "b": 1}', {"b": 1}),
    ('{"a": "9999999999999999"}', {"a": "9999999999999999"}),
]


@pytest.mark.parametrize(("stored", "readable"), READABLE, ids=range(len(READABLE)))
def test_a_version_has_only_answers_that_make_sense(
    session: psycopg.Connection, stored: str, readable: Any
) -> None:
    submit(session, "m1", stored)

    [(*_, data, _, _)] = history(session)
    if readable is None:
        assert len(data) == 200
    else:
        assert data == readable
    for category in definitions.Category:
        definitions.read(category, data)


def test_the_database_and_python_agree_on_which_texts_are_numbers(session: psycopg.Connection) -> None:
    texts = [
        "0",
        "-0",
        "12",
        "12.5",
        "12.",
        ".5",
        "+1",
        "1e3",
        "1_000",
        "1,000",
        "0x1",
        "٣",
        "1" * 15,
        "1" * 16,
    ]
    submit(session, "m1", {f"k{n}": text for n, text in enumerate(texts)})

    [(*_, data, _, _)] = history(session)
    for n, text in enumerate(texts):
        is_number = isinstance(data[f"k{n}"], int | float)
        assert is_number == bool(STORED_NUMBER.fullmatch(text)), text


@pytest.fixture
def two_sessions(migrated: Database) -> Database:
    migrated.execute(PEOPLE)
    return migrated


def test_writers_at_once_number_their_versions_one_after_the_other(two_sessions: Database) -> None:
    def write(writer: int) -> None:
        with two_sessions.connect() as session:
            for n in range(25):
                submit(session, "m1", {"domains_per_client": 1000 * writer + n})
                if n % 5 == 4:
                    session.execute('DELETE FROM "BenchmarkSubmission"')

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(1, 5)))
    with two_sessions.connect() as session:
        numbers = [row[2] for row in history(session)]
        [(newest_is_withdrawn,)] = session.execute(
            'SELECT "isWithdrawn" FROM "BenchmarkVersion" ORDER BY number DESC LIMIT 1'
        ).fetchall()
        left = session.execute('SELECT count(*) FROM "BenchmarkSubmission"').fetchone()
    assert numbers == list(range(1, len(numbers) + 1))
    assert len(numbers) >= 100
    assert newest_is_withdrawn == (left == (0,))


def test_existing_submissions_get_their_first_version(database: Database) -> None:
    with database.as_django_connection():
        migrate("benchmarks", "0010")
        database.execute(PEOPLE)
        with database.connect() as session:
            for member in ("m1", "m2"):
                submit(session, member, {"domains_per_client": "5"})
            session.execute(
                """UPDATE "BenchmarkSubmission" SET "updatedAt" = CASE "memberId" WHEN 'm1'
                   THEN timestamp '2026-01-02 03:04' ELSE now() + interval '1 day' END"""
            )
        migrate("benchmarks", "0011")
        with database.connect() as session:
            submit(session, "m2", {"domains_per_client": 6})
        migrate("benchmarks")
        migrate("benchmarks", "0011")
        migrate("benchmarks")

    assert [row[:4] for row in database.fetch(HISTORY)] == [
        ("m1", "OPERATIONAL", 1, {"domains_per_client": 5}),
        ("m2", "OPERATIONAL", 1, {"domains_per_client": 6}),
    ]
    [(first,)] = database.fetch("""SELECT "recordedAt" FROM "BenchmarkVersion" WHERE "memberId" = 'm1'""")
    assert first == datetime(2026, 1, 2, 3, 4)  # noqa: DTZ001
