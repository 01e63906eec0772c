"""Leaderboards, compared with a plain count of all members."""

import random
from datetime import UTC, date, datetime
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext

from council.models import Member, SubscriptionStatus
from gamification import leaderboard
from gamification.leaderboard import Leaderboard, Period
from gamification.models import LeaderboardCheckpoint
from tests.factories import MemberFactory

MONTH = datetime.now(UTC).date().replace(day=1)
EARLIER = date(2020, 1, 1)


def member(points: int, **fields: Any) -> Member:
    """Create a member with this many points, all from this month, without ledger rows."""
    figures = {"total_points": points, "month_points": points, "points_month": MONTH}
    made = MemberFactory.create()
    Member.objects.filter(pk=made.pk).update(**{**figures, **fields})
    made.refresh_from_db()
    return made


def ranks(rows: list[leaderboard.Row]) -> list[tuple[int, int]]:
    return [(row.rank, row.points) for row in rows]


@pytest.fixture(params=Period)
def board(db: None, request: pytest.FixtureRequest) -> Leaderboard:
    return Leaderboard(request.param)


def test_equal_points_share_a_rank_in_a_stable_order(board: Leaderboard) -> None:
    members = [member(points) for points in (10, 30, 20, 30, 5, 20, 20)]
    assert ranks(board.top()) == [(1, 30), (1, 30), (3, 20), (3, 20), (3, 20), (6, 10), (7, 5)]
    tied = sorted(made.pk for made in members if made.total_points == 20)
    assert [row.member.pk for row in board.top() if row.points == 20] == tied


def test_the_first_25_members_with_points_are_listed(board: Leaderboard) -> None:
    for points in range(-2, 40):
        member(points)
    assert ranks(board.top()) == [(n + 1, 39 - n) for n in range(25)]


def test_only_visible_members_in_good_standing_are_listed(board: Leaderboard) -> None:
    listed = [member(5, subscription_status=status) for status in ("ACTIVE", "TRIALING")]
    for status in ("NONE", "PAST_DUE", "CANCELLED"):
        member(50, subscription_status=status)
    member(60, leaderboard_visible=False)
    assert {row.member.pk for row in board.top()} == {made.pk for made in listed}


def test_the_month_counts_this_month_only(db: None) -> None:
    old = member(500, points_month=EARLIER)
    new = member(20, month_points=10)
    this_month, all_time = Leaderboard(Period.MONTH), Leaderboard(Period.ALL_TIME)
    assert [row.member for row in this_month.top()] == [new]
    assert [row.member for row in all_time.top()] == [old, new]
    assert (this_month.points(old), this_month.points(new)) == (0, 10)
    assert Leaderboard(Period.MONTH, day=date(2020, 1, 31)).top()[0].member == old


@pytest.mark.parametrize(
    "fields",
    [{}, {"leaderboard_visible": False}, {"subscription_status": SubscriptionStatus.CANCELLED.value}],
    ids=["listed", "hidden", "lapsed"],
)
def test_a_member_s_own_rank_is_known_listed_or_not(board: Leaderboard, fields: dict[str, Any]) -> None:
    for points in (10, 20, 40, 50):
        member(points)
    own = member(30, **fields)
    standing = board.standing(own)
    assert (standing.rank, standing.points, ranks(standing.above)) == (3, 30, [(1, 50), (2, 40)])
    assert ranks(standing.below) == ([(3, 20), (4, 10)] if fields else [(4, 20), (5, 10)])


def test_a_member_without_points_ranks_after_all_with_points(board: Leaderboard) -> None:
    for points in (10, 20):
        member(points)
    own = member(0)
    member(-5)
    standing = board.standing(own)
    assert (standing.rank, ranks(standing.above), standing.below) == (3, [(1, 20), (2, 10)], [])


def everybody(board: Leaderboard) -> dict[str, int]:
    """Rank all members by counting, which is slow but simple."""
    listed = [
        made
        for made in Member.objects.all()
        if made.is_in_good_standing and made.leaderboard_visible and board.points(made) > 0
    ]
    return {
        made.pk: 1 + sum(board.points(other) > board.points(made) for other in listed)
        for made in Member.objects.all()
    }


def populate(count: int) -> None:
    chance = random.Random(7)
    MemberFactory.create_batch(count)
    for made in Member.objects.all():
        made.total_points = int(chance.paretovariate(0.6)) - 1
        made.month_points = chance.randrange(0, 6)
        made.points_month = chance.choice([MONTH, MONTH, EARLIER, None])
        made.leaderboard_visible = chance.random() < 0.9
        made.subscription_status = chance.choice(["ACTIVE", "ACTIVE", "TRIALING", "CANCELLED"])
        made.save()


@pytest.mark.parametrize("checkpoint_members", [1, 3, 10, 1000])
def test_a_rank_counted_from_a_checkpoint_equals_the_one_from_the_top(
    board: Leaderboard, checkpoint_members: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leaderboard, "CHECKPOINT_MEMBERS", checkpoint_members)
    populate(120)
    expected = everybody(board)
    assert {made.pk: board.rank(board.points(made)) for made in Member.objects.all()} == expected

    count = leaderboard.refresh()

    assert count == LeaderboardCheckpoint.objects.count()
    assert (count > 4) is (checkpoint_members < 1000)
    assert {made.pk: board.rank(board.points(made)) for made in Member.objects.all()} == expected


def test_neighbours_are_the_next_in_the_list(board: Leaderboard) -> None:
    populate(80)
    expected = everybody(board)
    order = list(board.listed.order_by(f"-{board.column}", "pk"))
    assert len(order) > 10
    for place, own in enumerate(order):
        standing = board.standing(own)
        assert [row.member for row in standing.above] == order[max(place - 2, 0) : place]
        assert [row.member for row in standing.below] == order[place + 1 : place + 3]
        assert all(row.rank == expected[row.member.pk] for row in standing.above + standing.below)


def test_members_who_passed_a_checkpoint_count_after_the_next_refresh(
    db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leaderboard, "CHECKPOINT_MEMBERS", 3)
    board = Leaderboard(Period.ALL_TIME)
    first, *_ = [member(points) for points in (1, 2, 3, 40, 50, 60)]
    leaderboard.refresh()
    Member.objects.filter(pk=first.pk).update(total_points=70)
    assert (board.rank(70), board.rank(50), board.rank(3)) == (1, 3, 4)
    leaderboard.refresh()
    assert board.rank(3) == 5


def test_more_points_never_give_a_worse_rank_even_with_old_checkpoints(
    board: Leaderboard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leaderboard, "CHECKPOINT_MEMBERS", 4)
    members = [member(points) for points in range(1, 41)]
    leaderboard.refresh()
    for made in members[:10]:  # they pass some checkpoints, and stop before others
        Member.objects.filter(pk=made.pk).update(**{board.column: 30 + made.total_points % 3})
    for own in Member.objects.all():
        standing = board.standing(own)
        rows = [*standing.above, leaderboard.Row(standing.rank, own, standing.points), *standing.below]
        assert [row.points for row in rows] == sorted((row.points for row in rows), reverse=True)
        assert [row.rank for row in rows] == sorted(row.rank for row in rows)


def test_checkpoints_of_an_old_month_are_deleted(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaderboard, "CHECKPOINT_MEMBERS", 1)
    LeaderboardCheckpoint.objects.create(month=EARLIER, points=5, members_above=3)
    member(5)
    call_command("refresh_leaderboard")
    assert {*LeaderboardCheckpoint.objects.values_list("month", "points", "members_above")} == {
        (MONTH, 4, 1),
        (None, 4, 1),
    }


def test_the_queries_are_few_and_read_indexes(board: Leaderboard) -> None:
    populate(40)
    own = board.top()[5].member
    with CaptureQueriesContext(connection) as queries:
        board.top()
    assert len(queries) == 1
    with CaptureQueriesContext(connection) as queries:
        board.standing(own)
    assert len(queries) <= 6
    index = "Member_monthLeaderboard_idx" if board.month else "Member_leaderboard_idx"
    with connection.cursor() as cursor:
        cursor.execute(
            'ANALYZE "Member"; '  # not whatever autovacuum found last
            "SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off; SET LOCAL enable_sort = off"
        )
        for query in queries:
            if '"Member"' in query["sql"] or "Checkpoint" not in query["sql"]:
                cursor.execute(f"EXPLAIN {query['sql']}")
                plan = [line for (line,) in cursor.fetchall()]
                assert any(index in line for line in plan), [query["sql"], *plan]
