"""The tables of releases: no writer can change a release, or add one early."""

from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from django.db import connection

pytestmark = pytest.mark.any_server

RELEASE = """
INSERT INTO "BenchmarkRelease" (id, month, "cutOff") VALUES ('r1', '2026-09-01', '2026-10-01')
"""
FIGURE = """
INSERT INTO "BenchmarkFigure" (id, "releaseId", category, field, "asOf", "companiesAtLeast", p50)
VALUES ('f1', 'r1', 'BUSINESS', 'gross_margin_percent', '2026-10-01', 10, 47)
"""
BASIS = """
INSERT INTO "BenchmarkBasis" (id, "releaseId", category, "isAged", versions)
VALUES ('b1', 'r1', 'BUSINESS', false, ARRAY[gen_random_uuid()])
"""


@pytest.fixture
def session(db: None) -> psycopg.Connection:
    """A session in a transaction that is rolled back after the test."""
    connection.ensure_connection()
    session: psycopg.Connection = connection.connection
    return session


@pytest.fixture
def release(session: psycopg.Connection) -> psycopg.Connection:
    for statement in (RELEASE, FIGURE, BASIS):
        session.execute(statement)
    return session


@pytest.mark.parametrize("table", ["BenchmarkRelease", "BenchmarkFigure", "BenchmarkBasis"])
@pytest.mark.parametrize("statement", ["UPDATE {} SET id = 'x'", "DELETE FROM {}", "TRUNCATE {} CASCADE"])
def test_a_release_cannot_be_changed(table: str, statement: str, release: psycopg.Connection) -> None:
    with pytest.raises(psycopg.errors.RestrictViolation, match="Releases of benchmarks are never changed: "):
        release.execute(statement.format(f'"{table}"').encode())


@pytest.mark.parametrize("row", [FIGURE, BASIS])
def test_no_rows_can_be_added_to_an_existing_release(row: str, session: psycopg.Connection) -> None:
    session.execute(RELEASE)
    session.execute('ALTER TABLE "BenchmarkRelease" DISABLE TRIGGER trg_benchmark_release_append_only')
    session.execute("""UPDATE "BenchmarkRelease" SET "takenAt" = "takenAt" - interval '1 ms'""")
    with pytest.raises(psycopg.errors.RestrictViolation, match="Release r1 is out: nothing can be added"):
        session.execute(row.encode())


def test_a_month_that_is_not_over_gets_no_release(session: psycopg.Connection) -> None:
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).replace(tzinfo=None)
    with pytest.raises(psycopg.errors.CheckViolation, match="is not over"):
        session.execute(
            """INSERT INTO "BenchmarkRelease" (id, month, "cutOff") VALUES ('r1', '2026-09-01', %s)""",
            [tomorrow],
        )


def test_the_database_sets_the_time_of_a_release(session: psycopg.Connection) -> None:
    session.execute("SET LOCAL TIME ZONE 'Asia/Tokyo'")
    session.execute(
        """INSERT INTO "BenchmarkRelease" (id, month, "cutOff", "takenAt")
           VALUES ('r1', '2026-09-01', '2026-10-01', '2020-01-01')"""
    )
    row = session.execute(
        """SELECT "takenAt" = (now() AT TIME ZONE 'UTC')::timestamp(3) FROM "BenchmarkRelease" """
    ).fetchone()
    assert row == (True,)


def test_a_month_has_one_release(session: psycopg.Connection) -> None:
    session.execute(RELEASE)
    with pytest.raises(psycopg.errors.UniqueViolation, match="BenchmarkRelease_month_key"):
        session.execute(RELEASE.replace("'r1'", "'r2'").encode())


@pytest.mark.parametrize(
    ("columns", "values"),
    [
        ('"withheldBy", p50', "'too_few', 47"),
        ('"withheldBy", "companiesAtLeast"', "'too_few', 10"),
        ('"withheldBy", "asOf"', "'too_few', '2026-10-01'"),
        ('"companiesAtLeast", "asOf"', "11, '2026-10-01'"),
        ('"asOf"', "'2026-10-01'"),
    ],
)
def test_a_withheld_cell_has_no_number_and_a_published_one_no_exact_count(
    columns: str, values: str, session: psycopg.Connection
) -> None:
    session.execute(RELEASE)
    with pytest.raises(psycopg.errors.CheckViolation, match="BenchmarkFigure_withheld_check"):
        session.execute(
            f"""INSERT INTO "BenchmarkFigure" (id, "releaseId", category, field, {columns})
                VALUES ('f1', 'r1', 'BUSINESS', 'gross_margin_percent', {values})""".encode()
        )
