"""Payments for Discord activity, over several syncs with a server that answers like MEE6."""

import logging
from collections.abc import Callable, Iterator

import pytest
from django.core.management import call_command
from django.db import IntegrityError, transaction

from council import jobs
from council.accounts.models import Account
from council.models import JobRun, Member
from gamification import discord, ledger, mee6
from gamification.models import DiscordActivity, DiscordStanding, PointRule, PointTransaction
from tests import mee6 as stand_in
from tests.factories import MemberFactory, PointTransactionFactory
from tests.mee6 import Mee6, player

pytestmark = pytest.mark.any_server

Sync = Callable[..., JobRun]


@pytest.fixture
def server() -> Iterator[Mee6]:
    with stand_in.serving() as serving:
        yield serving


@pytest.fixture
def sync(server: Mee6, settings: object, db: None) -> Sync:
    """Run the job with these players' XP, by number."""
    settings.DISCORD_GUILD_ID, settings.MEE6_URL = "42", server.url  # type: ignore[attr-defined]

    def act(xp: dict[int, int]) -> JobRun:
        server.players = [player(number, each) for number, each in xp.items()]
        run = jobs.run(jobs.JOBS["sync_discord"])
        assert run is not None
        assert run.outcome == JobRun.Outcome.DONE, run.error
        return run

    return act


def linked(number: int) -> Member:
    return MemberFactory.create(discord_id=player(number, 0)["id"])


def points(member: Member) -> int:
    member.refresh_from_db()
    return member.total_points


def test_the_first_sync_sets_the_baseline_and_pays_nothing(sync: Sync) -> None:
    member = linked(1)
    run = sync({1: 5_000})
    assert points(member) == 0
    assert run.counts["first seen"] == 1
    assert not DiscordActivity.objects.exists()


def test_each_hundred_xp_above_the_highest_is_paid_and_remainders_are_kept(sync: Sync) -> None:
    member = linked(1)
    paid = []
    for xp in (50, 149, 150, 249, 250, 649):
        sync({1: xp})
        paid.append(points(member))
    assert paid == [0, 0, 1, 1, 2, 5]


def test_a_row_of_activity_is_added_only_if_the_xp_changed(sync: Sync) -> None:
    linked(1)
    for xp in (100, 130, 130, 90):
        sync({1: xp})
    activities = DiscordActivity.objects.order_by("synced_at", "pk").values_list("xp_delta", "xp_total")
    assert sorted(activities) == [(-40, 90), (30, 130)]


def test_a_repeated_sync_pays_nothing_twice(sync: Sync) -> None:
    member = linked(1)
    for xp in (0, 1_000, 1_000, 1_000):
        sync({1: xp})
    assert points(member) == 10
    assert PointTransaction.objects.count() == 1


def test_xp_that_fell_earns_nothing_until_it_exceeds_its_highest_value(sync: Sync) -> None:
    member = linked(1)
    paid = []
    for xp in (0, 1_000, 200, 900, 1_000, 1_100):
        sync({1: xp})
        paid.append(points(member))
    assert paid == [0, 10, 10, 10, 10, 11]


def test_a_player_who_was_missing_from_a_sync_keeps_their_baseline(sync: Sync) -> None:
    member = linked(1)
    for xp in ({1: 0}, {1: 500}, {}, {2: 5}, {1: 700}):
        sync(xp)
    assert points(member) == 7


def test_a_disabled_rule_pays_nothing_then_or_later(sync: Sync) -> None:
    member = linked(1)
    sync({1: 0})
    PointRule.objects.filter(action="discord_activity").update(enabled=False)
    sync({1: 1_000})
    PointRule.objects.filter(action="discord_activity").update(enabled=True, points=3)
    sync({1: 1_000})
    assert points(member) == 0
    sync({1: 1_100})
    assert points(member) == 3


def test_a_reversed_payment_is_not_paid_again(sync: Sync, sam: Account) -> None:
    member = linked(1)
    for xp in (0, 500):
        sync({1: xp})
    ledger.reverse(
        entry_id=PointTransaction.objects.get().pk, reason="Counted by a bot, not a person", performed_by=sam
    )
    sync({1: 500})
    sync({1: 600})
    assert points(member) == 1


def test_a_newly_linked_account_gets_a_new_baseline(sync: Sync) -> None:
    member = linked(1)
    for xp in ({1: 0, 2: 900}, {1: 300, 2: 900}):
        sync(xp)
    first, second = player(1, 0)["id"], player(2, 0)["id"]
    paid = [points(member)]
    for discord_id, xp in ((second, {2: 950}), (second, {2: 1_050}), (first, {1: 999}), (first, {1: 1_399})):
        Member.objects.filter(pk=member.pk).update(discord_id=discord_id)
        sync(xp)
        paid.append(points(member))
    assert paid == [3, 3, 4, 4, 8]


def test_an_account_that_moves_to_another_member_is_paid_to_neither_twice(sync: Sync) -> None:
    one, other = linked(1), MemberFactory.create()
    for xp in (0, 500):
        sync({1: xp})
    Member.objects.filter(pk=one.pk).update(discord_id=None)
    Member.objects.filter(pk=other.pk).update(discord_id=player(1, 0)["id"])
    sync({1: 600})
    sync({1: 800})
    assert (points(one), points(other)) == (5, 2)


def test_a_player_on_two_pages_is_paid_once(
    sync: Sync, server: Mee6, monkeypatch: pytest.MonkeyPatch
) -> None:
    member = linked(1)
    sync({1: 0})
    monkeypatch.setattr(mee6, "PAGE_PLAYERS", 2)
    server.players = [player(2, 900), player(1, 500), player(1, 500), player(3, 4)]
    jobs.run(jobs.JOBS["sync_discord"])
    assert points(member) == 5


def test_a_member_at_the_limit_of_points_is_left_out_with_the_reason(sync: Sync) -> None:
    members = [linked(number) for number in range(8)]
    sync(dict.fromkeys(range(8), 0))
    PointTransactionFactory.create(member=members[3], points=ledger.MAX_TOTAL - 1)
    run = sync(dict.fromkeys(range(8), 1_000))
    assert [points(member) for member in members if member != members[3]] == [10] * 7
    assert points(members[3]) == ledger.MAX_TOTAL - 1
    assert run.counts["set aside"] == 1
    assert members[3].pk in run.notes[0]
    assert "would leave the range" in run.notes[0]
    Member.objects.filter(pk=members[3].pk).delete()
    assert sync(dict.fromkeys(range(8), 1_000)).counts.get("set aside", 0) == 0


def test_a_member_deleted_during_a_sync_does_not_stop_it(
    sync: Sync, server: Mee6, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone, stays = linked(1), linked(2)
    sync({1: 0, 2: 0})
    changed = discord._changed

    def delete_after(*args: object) -> object:
        found = changed(*args)  # type: ignore[arg-type]
        Member.objects.filter(pk=gone.pk).delete()
        return found

    monkeypatch.setattr(discord, "_changed", delete_after)
    sync({1: 500, 2: 500})
    assert points(stays) == 5
    assert not DiscordStanding.objects.filter(discord_id=gone.discord_id).exists()


def test_payments_before_an_error_stay_and_the_next_sync_continues(
    sync: Sync, server: Mee6, monkeypatch: pytest.MonkeyPatch
) -> None:
    members = [linked(number) for number in range(4)]
    sync(dict.fromkeys(range(4), 0))
    monkeypatch.setattr(mee6, "PAGE_PLAYERS", 2)

    def fail_on_the_second_page(page: int) -> None:
        server.faults = [stand_in.status(401)] if page == 0 else []

    server.before_page = fail_on_the_second_page
    server.players = [player(number, 300) for number in range(4)]
    run = jobs.run(jobs.JOBS["sync_discord"])
    assert run is not None
    assert run.outcome == JobRun.Outcome.FAILED
    assert "not public" in str(run.error)
    assert [points(member) for member in members] == [3, 3, 0, 0]
    server.before_page = lambda page: None
    jobs.run(jobs.JOBS["sync_discord"])
    assert [points(member) for member in members] == [3, 3, 3, 3]


def test_the_number_of_statements_depends_on_pages_not_on_players(
    sync: Sync, django_assert_max_num_queries: Callable[..., object]
) -> None:
    for number in range(60):
        linked(number)
    sync(dict.fromkeys(range(60), 0))
    with django_assert_max_num_queries(40):  # type: ignore[attr-defined]
        sync(dict.fromkeys(range(60), 500))


def test_the_command_runs_the_job_now(sync: Sync, server: Mee6, capsys: pytest.CaptureFixture[str]) -> None:
    member = linked(1)
    sync({1: 0})
    server.players = [player(1, 250)]
    call_command("sync_discord")
    assert points(member) == 2
    said = capsys.readouterr().out
    assert said.startswith("sync_discord: ")
    assert "1 members paid" in said


def test_members_who_swap_their_accounts_get_new_baselines(sync: Sync) -> None:
    """The unique key does not allow two members with the same account at any time."""
    one, other = linked(1), linked(2)
    for xp in ({1: 0, 2: 0}, {1: 1_000, 2: 200}):
        sync(xp)
    with pytest.raises(IntegrityError, match="Member_discordId_key"), transaction.atomic():
        Member.objects.filter(pk=one.pk).update(discord_id=other.discord_id)
    Member.objects.filter(pk=one.pk).update(discord_id=None)
    Member.objects.filter(pk=other.pk).update(discord_id=one.discord_id)
    Member.objects.filter(pk=one.pk).update(discord_id=other.discord_id)
    sync({1: 1_000, 2: 200})
    assert (points(one), points(other)) == (10, 2)
    sync({1: 1_100, 2: 500})
    assert (points(one), points(other)) == (13, 3)


def test_the_largest_possible_xp_can_be_paid_and_lost(sync: Sync) -> None:
    member = linked(1)
    for xp in (0, mee6.MAX_XP, 0):
        sync({1: xp})
    assert points(member) == mee6.MAX_XP // 100
    assert DiscordStanding.objects.get().xp == 0


def test_players_with_xp_or_points_beyond_32_bits_are_left_out(sync: Sync) -> None:
    one, other = linked(1), linked(2)
    sync({1: 0, 2: 0})
    PointRule.objects.filter(action="discord_activity").update(points=1_000)
    run = sync({1: 2**31, 2: mee6.MAX_XP})
    assert run.counts["set aside"] == 2
    assert "is 2147483648, not a whole number" in run.notes[0]
    assert f"Member {other.pk}: " in run.notes[1]
    assert (points(one), points(other)) == (0, 0)


def test_three_failed_syncs_in_a_row_are_logged_as_an_error(
    sync: Sync, server: Mee6, caplog: pytest.LogCaptureFixture
) -> None:
    sync({1: 0})
    server.faults = [stand_in.status(401)] * 3
    for _ in range(3):
        assert not [record for record in caplog.records if record.levelno == logging.ERROR]
        jobs.run(jobs.JOBS["sync_discord"])
    [record] = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert record.getMessage().startswith(
        "sync_discord has failed 3 times in a row. The last error: Unreadable: "
    )


def test_large_syncs_are_compared_and_paid_in_batches(sync: Sync, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mee6, "PAGE_PLAYERS", 3)
    monkeypatch.setattr(discord, "COMPARED_PLAYERS", 6)
    monkeypatch.setattr(discord, "BATCH_MEMBERS", 2)
    monkeypatch.setattr(discord, "PAGES_AHEAD", 2)
    monkeypatch.setattr(discord, "REPORT_SECONDS", -1)
    members = [linked(number) for number in range(20)]
    for xp in (0, 130):
        run = sync(dict.fromkeys(range(20), xp))
    assert (run.counts["players"], run.counts["members paid"]) == (20, 20)
    assert [points(member) for member in members] == [1] * 20
