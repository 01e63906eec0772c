"""Reading MEE6's leaderboard from a real HTTP server, including its possible faults."""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from urllib3.util import Retry

from gamification import mee6
from tests import mee6 as stand_in
from tests.mee6 import Mee6, player

pytestmark = pytest.mark.any_server


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Mee6]:
    monkeypatch.setattr(mee6, "RETRY", mee6.RETRY.new(backoff_factor=0, backoff_jitter=0))
    with stand_in.serving() as serving:
        yield serving


def read(server: Mee6) -> list[mee6.Page]:
    return list(mee6.leaderboard(guild_id="42", base_url=server.url))


def test_all_pages_are_read_in_order(server: Mee6, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mee6, "PAGE_PLAYERS", 3)
    server.players = [player(number, 100 - number) for number in range(7)]
    pages = read(server)
    assert [len(page.players) for page in pages] == [3, 3, 1]
    assert pages[0].players[0] == mee6.Player("100000000000000000", 100)
    assert server.requests[1] == "/api/plugins/levels/leaderboard/42?page=1&limit=3"


def test_a_leaderboard_without_players_has_no_pages(server: Mee6) -> None:
    assert read(server) == []


@pytest.mark.parametrize(
    ("code", "advice"),
    [(401, "Make it public"), (404, "Set DISCORD_GUILD_ID"), (302, "The next run tries again")],
)
def test_a_refusal_is_reported_with_its_cure_and_not_retried(server: Mee6, code: int, advice: str) -> None:
    server.faults = [stand_in.status(code, Location="http://127.0.0.1:1/")] * 2
    with pytest.raises(mee6.Unreadable, match=f"HTTP status {code}.*{advice}"):
        read(server)
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "fault",
    [
        stand_in.status(429, Retry_After="0"),
        stand_in.status(429),
        stand_in.status(500),
        stand_in.status(503, Retry_After="0"),
        stand_in.cut_short,
        stand_in.body('{"players": [{"id": '),
        stand_in.body("[" * 100_000),
    ],
)
def test_a_temporary_fault_is_retried(server: Mee6, fault: stand_in.Answer) -> None:
    server.players = [player(1, 500)]
    server.faults = [fault, fault]
    assert [page.players[0].xp for page in read(server)] == [500]
    assert len(server.requests) == 3


def test_retry_after_is_obeyed_but_not_for_hours(server: Mee6) -> None:
    server.faults = [stand_in.status(429, Retry_After="1")]
    assert read(server) == []
    assert mee6.RETRY.retry_after_max <= 60
    assert isinstance(mee6.RETRY, Retry)


def test_a_server_that_always_asks_to_wait_ends_the_run(server: Mee6) -> None:
    server.faults = [stand_in.status(429, Retry_After="0")] * 50
    with pytest.raises(mee6.Unreadable, match="HTTP status 429. MEE6 received too many requests"):
        read(server)
    assert len(server.requests) == 5


def test_a_slow_response_is_given_up(server: Mee6, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mee6, "PAGE_SECONDS", 0.1)
    server.faults = [stand_in.slow_body(5)]
    began = time.monotonic()
    with pytest.raises(mee6.Unreadable, match="took longer"):
        read(server)
    assert time.monotonic() - began < 4


def test_an_endless_response_is_given_up(server: Mee6, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mee6, "MAX_PAGE_BYTES", 1000)
    server.faults = [stand_in.body(" " * 2000)]
    with pytest.raises(mee6.Unreadable, match="larger than 1,000 bytes"):
        read(server)


def test_a_server_that_cannot_be_reached_is_reported(server: Mee6) -> None:
    with pytest.raises(mee6.Unreadable, match="could not be read in 3 tries"):
        list(mee6.leaderboard(guild_id="42", base_url="http://127.0.0.1:9"))


@pytest.mark.parametrize("answer", [[], {}, {"players": None}, {"players": {"1": 2}}, 7, None])
def test_an_unexpected_response_is_reported(server: Mee6, answer: Any) -> None:
    server.faults = [stand_in.body(json.dumps(answer))]
    with pytest.raises(mee6.Unreadable, match="has no list of players"):
        read(server)


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        (player(2, "500"), "The XP of 100000000000000002 is '500'"),
        (player(2, True), "is True"),
        (player(2, 1.5), "is 1.5"),
        (player(2, -1), "is -1"),
        (player(2, None), "is None"),
        (player(2, 2**31), "is 2147483648"),
        (player(2, 5, id=17), "An id is 17"),
        (player(2, 5, id="1٢"), "An id is '1٢'"),
        (player(2, 5, id="9" * 21), "An id is"),
        ({"username": "x"}, "An id is None"),
        ("x" * 500, "An entry is not an object: 'xxx"),
        (None, "not an object: None"),
    ],
)
def test_a_bad_entry_is_left_out_and_does_not_stop_others(server: Mee6, entry: Any, reason: str) -> None:
    server.players = [player(1, 10), entry, player(3, 5)]
    [page] = read(server)
    assert [each.xp for each in page.players] == [10, 5]
    assert len(page.rejected) == 1
    assert reason in page.rejected[0]
    assert len(page.rejected[0]) < 200


def test_a_page_of_only_bad_entries_is_an_error(server: Mee6) -> None:
    server.players = [player(1, "10"), player(2, "5")]
    with pytest.raises(mee6.Unreadable, match="No entry of a page could be used"):
        read(server)


def test_a_player_may_have_any_name(server: Mee6) -> None:
    server.players = [player(1, 10, username="a\0b" + "c" * 200), player(2, 5, username=7)]
    [page] = read(server)
    assert [each.xp for each in page.players] == [10, 5]
    assert page.rejected == []
