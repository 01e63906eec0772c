"""The download count is the number of rows, for any writers and any order, in real sessions."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from django.db import connection

from tests.databases import Database, migrate

ROWS = """
INSERT INTO "Member" (id, "subscriptionStatus", "updatedAt")
SELECT 'm' || n, 'ACTIVE', now() FROM generate_series(1, 50) AS n;
INSERT INTO "Resource" (id, title, description, category, type, "fileUrl", "updatedAt")
SELECT 'r' || n, 'Title', 'Words', 'OPERATIONS', 'SOP', 'https://files.example.com/', now()
  FROM generate_series(1, 50) AS n
"""
DOWNLOAD = """
INSERT INTO "ResourceDownload" (id, "memberId", "resourceId") VALUES (gen_random_uuid(), %s, %s) RETURNING id
"""
PAY = """
INSERT INTO "PointTransaction" (id, "memberId", action, points)
VALUES (gen_random_uuid(), %s, 'resource_download', 5)
"""
INCREMENT = 'UPDATE "Resource" SET "downloadCount" = "downloadCount" + 1 WHERE id = %s'
WRONG = """
SELECT resource.id, "downloadCount", count(download.id)
  FROM "Resource" AS resource LEFT JOIN "ResourceDownload" AS download ON download."resourceId" = resource.id
 GROUP BY resource.id HAVING "downloadCount" <> count(download.id)
"""
AT_ONCE = 50


@pytest.fixture
def library(migrated: Database) -> Database:
    """A migrated database with 50 members and 50 resources."""
    migrated.execute(ROWS)
    return migrated


@pytest.fixture
def session(db: None) -> psycopg.Connection:
    """A session in a transaction that is rolled back after the test."""
    connection.ensure_connection()
    session: psycopg.Connection = connection.connection
    session.execute(ROWS)
    return session


def count(session: psycopg.Connection, resource: str = "r1") -> int:
    row = session.execute('SELECT "downloadCount" FROM "Resource" WHERE id = %s', [resource]).fetchone()
    assert row is not None
    assert session.execute(WRONG).fetchall() == []
    return int(row[0])


def download(session: psycopg.Connection, member: str = "m1", resource: str = "r1") -> str:
    row = session.execute(DOWNLOAD, [member, resource]).fetchone()
    assert row is not None
    return str(row[0])


def test_each_row_counts(session: psycopg.Connection) -> None:
    download(session)
    download(session)
    download(session, "m2", "r2")

    assert (count(session), count(session, "r2"), count(session, "r3")) == (2, 1, 0)


def test_rows_that_are_copied_count(session: psycopg.Connection) -> None:
    with session.cursor().copy('COPY "ResourceDownload" (id, "memberId", "resourceId") FROM STDIN') as copy:
        for number in range(10):
            copy.write_row((f"d{number}", f"m{number + 1}", f"r{1 + number % 2}"))

    assert (count(session), count(session, "r2")) == (5, 5)


@pytest.mark.parametrize(
    "writes",
    [
        lambda session: (session.execute(INCREMENT, ["r1"]), download(session)),
        lambda session: (download(session), session.execute(INCREMENT, ["r1"])),
        lambda session: (
            download(session),
            session.execute("UPDATE \"Resource\" SET \"downloadCount\" = 1, title = 'New' WHERE id = 'r1'"),
        ),
        lambda session: session.execute(
            """
            WITH added AS (
                INSERT INTO "ResourceDownload" (id, "memberId", "resourceId") VALUES ('d1', 'm1', 'r1')
            )
            UPDATE "Resource" SET "downloadCount" = "downloadCount" + 1 WHERE id = 'r1'
            """
        ),
    ],
    ids=["before the row", "after the row", "with another column", "in one statement"],
)
def test_a_writer_that_also_changes_the_count_does_not_count_twice(
    writes: Callable[[psycopg.Connection], Any], session: psycopg.Connection
) -> None:
    writes(session)

    assert count(session) == 1


def test_other_columns_that_such_a_writer_changes_are_changed(session: psycopg.Connection) -> None:
    session.execute("""UPDATE "Resource" SET "downloadCount" = 7, title = 'New' WHERE id = 'r1'""")

    assert session.execute("""SELECT title FROM "Resource" WHERE id = 'r1'""").fetchone() == ("New",)


def test_a_new_resource_has_no_downloads_whatever_count_is_inserted(session: psycopg.Connection) -> None:
    session.execute(
        """
        INSERT INTO "Resource" (id, title, description, category, type, "fileUrl", "downloadCount", "updatedAt")
        VALUES ('new', 'Title', 'Words', 'OPERATIONS', 'SOP', 'https://files.example.com/', 7, now())
        """
    )

    assert count(session, "new") == 0


def test_deleted_rows_do_not_count(session: psycopg.Connection) -> None:
    for member in ("m1", "m2", "m3"):
        download(session, member)
    session.execute("""DELETE FROM "ResourceDownload" WHERE "memberId" = 'm1'""")
    session.execute("""DELETE FROM "Member" WHERE id = 'm2'""")

    assert count(session) == 1


def test_a_resource_can_be_deleted_with_its_downloads(session: psycopg.Connection) -> None:
    download(session)
    session.execute("""DELETE FROM "Resource" WHERE id = 'r1'""")

    assert session.execute('SELECT count(*) FROM "ResourceDownload"').fetchone() == (0,)


def test_a_row_moved_to_another_resource_counts_there(session: psycopg.Connection) -> None:
    moved = download(session)
    download(session)
    session.execute("""UPDATE "ResourceDownload" SET "resourceId" = 'r2' WHERE id = %s""", [moved])

    assert (count(session), count(session, "r2")) == (1, 1)


def test_the_count_stays_when_a_resource_gets_another_id(session: psycopg.Connection) -> None:
    download(session)
    download(session)
    session.execute("""UPDATE "Resource" SET id = 'renamed' WHERE id = 'r1'""")

    assert count(session, "renamed") == 2


def test_all_counts_are_0_after_truncate(session: psycopg.Connection) -> None:
    download(session)
    session.execute('TRUNCATE "ResourceDownload"')

    assert count(session) == 0


def test_setting_the_count_to_null_counts_the_rows_again(session: psycopg.Connection) -> None:
    download(session)
    session.execute("SET LOCAL session_replication_role = replica")
    session.execute("""UPDATE "Resource" SET "downloadCount" = 40""")
    session.execute("SET LOCAL session_replication_role = origin")
    session.execute('UPDATE "Resource" SET "downloadCount" = NULL')

    assert (count(session), count(session, "r2")) == (1, 0)


def test_a_new_count_does_not_count_a_concurrent_row_twice(library: Database) -> None:
    with library.connect() as counting, library.connect() as downloading, ThreadPoolExecutor(1) as pool:
        counting.execute("BEGIN")
        counting.execute("""SELECT FROM "Resource" WHERE id = 'r1' FOR NO KEY UPDATE""")
        waits = pool.submit(download, downloading)
        library.wait_for_waiting(1)
        counting.execute("""UPDATE "Resource" SET "downloadCount" = NULL WHERE id = 'r1'""")
        counting.execute("COMMIT")
        waits.result(timeout=10)

        assert count(counting) == 1


INSERTED = """
INSERT INTO "ResourceDownload" (id, "memberId", "resourceId") SELECT r, 'm1', r FROM unnest('{r3,r2,r1}'::text[]) AS r
"""
ACTS = {
    "counted": ("", INSERTED),
    "no longer counted": (INSERTED, 'DELETE FROM "ResourceDownload"'),
}


@pytest.mark.parametrize("act", ACTS)
def test_resources_are_locked_in_the_order_of_their_ids(act: str, library: Database) -> None:
    """A transaction that waits for the first resource has locked none of the others."""
    before, change = ACTS[act]
    library.execute(before)
    free = """SELECT id FROM "Resource" WHERE id IN ('r2', 'r3') ORDER BY id FOR NO KEY UPDATE NOWAIT"""
    with library.connect() as holder, ThreadPoolExecutor(1) as pool:
        with holder.transaction():
            holder.execute("""SELECT FROM "Resource" WHERE id = 'r1' FOR NO KEY UPDATE""")
            changing = pool.submit(library.execute, change)
            library.wait_for_waiting(1)
            assert holder.execute(free).fetchall() == [("r2",), ("r3",)]
        changing.result(timeout=30)


@pytest.mark.parametrize(
    ("members", "resources", "counts_itself"),
    [
        ([f"m{n}" for n in range(1, AT_ONCE + 1)], ["r1"] * AT_ONCE, False),
        (["m1"] * AT_ONCE, [f"r{n}" for n in range(1, AT_ONCE + 1)], False),
        ([f"m{n}" for n in range(1, AT_ONCE + 1)], ["r1"] * AT_ONCE, True),
    ],
    ids=["50 members, 1 resource", "1 member, 50 resources", "50 writers that count, 1 resource"],
)
def test_fifty_downloads_at_once_have_no_deadlock(
    members: list[str], resources: list[str], counts_itself: bool, library: Database
) -> None:
    """Each makes two transactions, each with a download and its points."""
    start = threading.Barrier(AT_ONCE)

    def work(member: str, resource: str) -> None:
        with library.connect() as session:
            start.wait()
            for _ in range(2):
                with session.transaction():
                    download(session, member, resource)
                    if counts_itself:
                        session.execute(INCREMENT, [resource])
                    session.execute(PAY, [member])

    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(work, members, resources))

    with library.connect() as session:
        assert count(session) == (2 * AT_ONCE if len(set(resources)) == 1 else 2)
        assert session.execute('SELECT sum("totalPoints") FROM "Member"').fetchone() == (10 * AT_ONCE,)
        assert deadlocks(session) == 0


def deadlocks(session: psycopg.Connection) -> int:
    session.execute("SELECT pg_stat_clear_snapshot()")
    row = session.execute(
        "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    ).fetchone()
    assert row is not None
    return int(row[0])


def test_deleting_members_during_downloads_does_not_deadlock(library: Database) -> None:
    start = threading.Barrier(AT_ONCE)

    def work(number: int) -> None:
        with library.connect() as session:
            download(session, f"m{number}")
            start.wait()
            with session.transaction():
                if number % 2:
                    session.execute('DELETE FROM "Member" WHERE id = %s', [f"m{number}"])
                else:
                    download(session, f"m{number}")
                    session.execute(PAY, [f"m{number}"])

    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(work, range(1, AT_ONCE + 1)))

    with library.connect() as session:
        assert count(session) == AT_ONCE


@pytest.fixture
def before_0012(database: Database) -> Iterator[Database]:
    with database.as_django_connection():
        migrate("resources", "0011")
        yield database


def test_downloads_from_before_the_triggers_are_counted(before_0012: Database) -> None:
    before_0012.execute(ROWS)
    with before_0012.connect() as session:
        for member in ("m1", "m2", "m3"):
            download(session, member)
        session.execute("""UPDATE "Resource" SET "downloadCount" = 9 WHERE id = 'r2'""")
        migrate()

        assert (count(session), count(session, "r2")) == (3, 0)
