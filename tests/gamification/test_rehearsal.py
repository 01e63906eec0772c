"""Made-up members have the figures that triggers would have set."""

import pytest
from django.db.backends.base.base import BaseDatabaseWrapper

from council.gateway import made_up_rows
from tests.council.rehearsal.rehearsing import fill
from tests.databases import Database, migrate

pytestmark = pytest.mark.any_server


WRONG = """
    SELECT id FROM "Member" LEFT JOIN
           (SELECT "memberId", sum(points) AS points FROM "PointTransaction" GROUP BY 1) AS l ON "memberId" = id
     WHERE "totalPoints" <> coalesce(points, 0)
"""


def assert_filled_with_sums(database: Database) -> None:
    fill(database, 300)

    assert database.fetch('SELECT count(*) FROM "PointTransaction"') == [
        (300 * made_up_rows.POINTS_A_MEMBER,)
    ]
    assert database.fetch(WRONG) == []


@pytest.mark.parametrize("state", ["0005", "0012"])
def test_figures_in_an_earlier_schema_match_its_ledger(
    scratch: BaseDatabaseWrapper, database: Database, state: str
) -> None:
    migrate("gamification", state)

    assert_filled_with_sums(database)


def test_figures_match_the_ledger(migrated: Database) -> None:
    assert_filled_with_sums(migrated)

    assert "0 failed" in migrated.manage("verify_schema", "--full").stdout
