"""A client for MEE6's leaderboard of a Discord server.

The interface is not official and may change, so every field is checked. `GET
/api/plugins/levels/leaderboard/<guild>?page&limit` returns players with their `id` and `xp`, the highest XP first.
"""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import urllib3
from urllib3.exceptions import HTTPError
from urllib3.util import Retry, Timeout

PAGE_PLAYERS = 1_000
MAX_PAGES = 1_000
MAX_PAGE_BYTES = 8 * 2**20
PAGE_SECONDS = 60.0
PAGE_TRIES = 3
CHUNK_BYTES = 2**16
MAX_XP = 2**31 - 1
MAX_ID_DIGITS = 20
# urllib3 obeys Retry-After, and waits with jitter otherwise. All tries of a page end well before the job's lease does.
RETRY = Retry(
    total=4,
    redirect=False,
    status_forcelist=[429, 500, 502, 503, 504],
    allowed_methods=["GET"],
    raise_on_status=False,
    backoff_factor=0.5,
    backoff_jitter=0.5,
    backoff_max=30,
    retry_after_max=60,
)
ADVICE = {
    401: "The leaderboard is not public. Make it public in MEE6's dashboard.",
    403: "The leaderboard is not public. Make it public in MEE6's dashboard.",
    404: "MEE6 does not know this server. Set DISCORD_GUILD_ID to the server's id.",
    429: "MEE6 received too many requests. The next run tries again.",
}


class Unreadable(Exception):
    """The leaderboard could not be read. The message says why and what to do."""


@dataclass(frozen=True)
class Player:
    discord_id: str
    xp: int


@dataclass(frozen=True)
class Page:
    """A page of the leaderboard. `rejected` has a sentence for each entry that could not be used."""

    players: list[Player]
    rejected: list[str]


def leaderboard(*, guild_id: str, base_url: str) -> Iterator[Page]:
    """Yield the pages of the leaderboard, the highest XP first.

    A player may appear twice, because ranks change while the pages are read. Raises Unreadable.
    """
    address = f"{base_url.rstrip('/')}/api/plugins/levels/leaderboard/{guild_id}"
    http = urllib3.PoolManager(
        headers={"User-Agent": "revenue-council", "Accept": "application/json"},
        retries=RETRY,
        timeout=Timeout(connect=5, read=20),
    )
    with http:
        for number in range(MAX_PAGES):
            entries = _entries(http, address, number)
            if entries:
                yield _page(entries)
            if len(entries) < PAGE_PLAYERS:
                return
    raise Unreadable(
        f"The leaderboard did not end after {MAX_PAGES * PAGE_PLAYERS:,} players. MEE6's answer has changed: "
        f"check whether it still supports `page` and `limit`."
    )


def _entries(http: urllib3.PoolManager, address: str, number: int) -> list[Any]:
    for tries_left in reversed(range(PAGE_TRIES)):
        try:
            answer = json.loads(_body(http, address, number))
            break
        except (HTTPError, ValueError, RecursionError) as error:
            if not tries_left:
                raise Unreadable(
                    f"Page {number} could not be read in {PAGE_TRIES} tries: {type(error).__name__}: {error}. "
                    f"The next run tries again."
                ) from error
    entries = answer.get("players") if isinstance(answer, dict) else None
    if not isinstance(entries, list):
        raise Unreadable(f"Page {number} has no list of players. MEE6's answer has changed.")
    return entries


def _body(http: urllib3.PoolManager, address: str, number: int) -> bytes:
    """Read a whole response, of at most 8 MB and within a minute."""
    deadline = time.monotonic() + PAGE_SECONDS
    response = http.request(
        "GET", address, fields={"page": str(number), "limit": str(PAGE_PLAYERS)}, preload_content=False
    )
    try:
        if response.status != 200:
            advice = ADVICE.get(response.status, "The next run tries again.")
            raise Unreadable(f"Page {number} was answered with HTTP status {response.status}. {advice}")
        body = bytearray()
        # Not `stream`, which waits until a chunk is full, however slowly the server sends.
        while chunk := response.read1(CHUNK_BYTES):
            body += chunk
            if len(body) > MAX_PAGE_BYTES:
                raise Unreadable(
                    f"Page {number} is larger than {MAX_PAGE_BYTES:,} bytes. MEE6's answer has changed."
                )
            if time.monotonic() > deadline:
                raise Unreadable(
                    f"Page {number} took longer than {PAGE_SECONDS:.0f} s. The next run tries again."
                )
        return bytes(body)
    finally:
        response.close()


def _page(entries: list[Any]) -> Page:
    players, rejected = [], []
    for entry in entries:
        try:
            players.append(_player(entry))
        except ValueError as error:
            rejected.append(str(error))
    if not players:
        raise Unreadable(
            f"No entry of a page could be used. MEE6's answer has changed. The first one: {rejected[0]}"
        )
    return Page(players, rejected)


def _player(entry: Any) -> Player:
    """Check an entry and return its player. Raises ValueError."""
    if not isinstance(entry, dict):
        raise ValueError(f"An entry is not an object: {_short(entry)}.")
    discord_id, xp = entry.get("id"), entry.get("xp")
    if not isinstance(discord_id, str) or not (
        discord_id.isascii() and discord_id.isdecimal() and len(discord_id) <= MAX_ID_DIGITS
    ):
        raise ValueError(f"An id is {_short(discord_id)}, not a string of digits.")
    if not isinstance(xp, int) or isinstance(xp, bool) or not 0 <= xp <= MAX_XP:
        raise ValueError(f"The XP of {discord_id} is {_short(xp)}, not a whole number from 0 to {MAX_XP:,}.")
    return Player(discord_id, xp)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}…"
