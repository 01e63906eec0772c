"""A member's history, page by page."""

from datetime import UTC, datetime

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from council.models import Member
from gamification import ledger
from gamification.ledger import Place
from gamification.models import PointTransaction
from tests.factories import PointTransactionFactory


def at_one_moment(member: Member, count: int) -> set[str]:
    """Add rows that differ only in their ids."""
    moment = datetime(2026, 11, 24, 12, tzinfo=UTC)
    rows = [
        PointTransaction(member=member, action="x", points=n + 1, created_at=moment) for n in range(count)
    ]
    return {row.pk for row in PointTransaction.objects.bulk_create(rows)}


def test_every_entry_is_on_one_page_newest_first(
    mia: Member, carl: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger, "PAGE_ROWS", 3)
    expected = at_one_moment(mia, 7) | {PointTransactionFactory.create(member=mia).pk for _ in range(4)}
    at_one_moment(carl, 5)

    found: list[PointTransaction] = []
    place = None
    for _ in range(4):
        page = ledger.history(member=mia, after=place)
        found += page.entries
        place = page.next_place and Place.read(str(page.next_place))

    assert place is None
    assert [entry.pk for entry in found] == [
        entry.pk for entry in sorted(found, key=lambda entry: (entry.created_at, entry.pk), reverse=True)
    ]
    assert {entry.pk for entry in found} == expected
    assert len(found) == 11


def test_entries_with_dates_outside_python_s_range_are_each_on_one_page(
    mia: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each date has enough rows for several pages. The database now refuses such rows."""
    monkeypatch.setattr(ledger, "PAGE_ROWS", 3)
    expected = at_one_moment(mia, 4)
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        for number, moment in enumerate(
            ["infinity", "55840-01-01", "9999-12-25", "0900-01-01", "0044-03-15 BC", "-infinity"]
        ):
            cursor.execute(
                """INSERT INTO "PointTransaction" (id, "memberId", action, points, "createdAt")
                SELECT %(name)s || '_' || n, %(member)s, 'x', 1, %(moment)s FROM generate_series(1, 7) AS n
                RETURNING id""",
                {"name": f"c{9 - number}", "member": mia.pk, "moment": moment},
            )
            expected |= {row[0] for row in cursor.fetchall()}
        cursor.execute("SET LOCAL session_replication_role = origin")
        cursor.execute(
            """SELECT id FROM "PointTransaction" WHERE "memberId" = %s ORDER BY "createdAt" DESC, id DESC""",
            [mia.pk],
        )
        ordered = [row[0] for row in cursor.fetchall()]
    found: list[str] = []
    place, pages = None, 0
    while pages == 0 or (place and pages < 30):
        page = ledger.history(member=mia, after=place)
        found += [entry.pk for entry in page.entries]
        place = page.next_place and Place.read(str(page.next_place))
        pages += 1
    assert found == ordered
    assert (set(found), len(found)) == (expected, 4 + 6 * 7)


def test_a_page_is_one_query(mia: Member) -> None:
    at_one_moment(mia, 60)
    with CaptureQueriesContext(connection) as queries:
        page = ledger.history(member=mia)
        assert [entry.reverses for entry in page.entries] == [None] * 50
    assert len(queries) == 1


def test_the_end_of_a_history_has_no_next_place(mia: Member) -> None:
    at_one_moment(mia, 50)
    assert ledger.history(member=mia).next_place is None


def test_a_place_from_another_member_s_history_shows_the_own_history(mia: Member, carl: Member) -> None:
    at_one_moment(mia, 60)
    own = PointTransactionFactory.create(member=carl, created_at=datetime(2020, 1, 1, tzinfo=UTC))
    place = ledger.history(member=mia).next_place
    assert ledger.history(member=carl, after=place).entries == [own]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "2026-11-24",
        "2026-13-45T00:00:00_c1",
        "2026-11-24T12:00:00.0_",
        "_c1",
        "2026-11-24T12:00:00_5_c\0",
        "2026-11-24T12:00:00_c1",
        "2026-11-24T12:00:00_x_c1",
        "2026-11-24T12:00:00_99999999999999999999_c1",
    ],
)
def test_an_invalid_place_is_refused(text: str) -> None:
    with pytest.raises(ledger.Refused, match="is not a place in a history. Start with the first page."):
        Place.read(text)
