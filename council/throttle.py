"""How much work strangers and members may make: failed sign-ins, passwords looked at in one moment, forms sent.

An attempt to sign in is counted before the password is looked at, and given back when it was right: so no number of
requests at once tries more passwords than one after the other. A name that nobody has is counted like any other.

- One address and one name: a member who mistypes, or somebody who guesses at one member.
- One address: somebody who tries one password on many.
- One name, from anywhere: many addresses that guess at one member. This would lock the member out too; so a browser
  that they have signed in with before is known by a cookie, and counts for itself alone.

Each limit holds for every span of time as long as its window, whenever that begins: a row keeps the moments that count.
"""

import ipaddress
import math
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, NamedTuple

from django.conf import settings
from django.core import signing
from django.db import DatabaseError, connection, transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.crypto import get_random_string, salted_hmac

from council import outage
from council.models import SignInFailures

Door = Literal["member", "staff", "password", "second factor"]

WINDOW_SECONDS = 15 * 60
MAX_FAILURES = {"address and email": 5, "known browser": 5, "email": 30, "address": 50}
KNOWN_FOR_SECONDS = 180 * 24 * 3600
# Forms that one account, or one address without an account, sends.
POSTS_SECONDS = 60
MAX_POSTS = 60
SAFE_METHODS = {"GET", "HEAD", "OPTIONS", "TRACE"}
# Attempts to sign in have limits of their own.
DOORS = {"council:sign-in", "admin:login"}
FORGET_SECONDS = 60
WAIT_FOR_A_PLACE_SECONDS = 1.0


class TooMany(Exception):
    """Nothing was done, and nothing will be for so many seconds."""

    def __init__(self, seconds: int, *, what: str) -> None:
        super().__init__(f"Too many {what}. Come back in {seconds} seconds.")
        self.seconds = seconds
        self.what = what


class TooManyFailures(TooMany):
    """No password was looked at, and none will be for so many seconds."""

    def __init__(self, seconds: int) -> None:
        super().__init__(seconds, what="failures")


class Crowded(Exception):
    """As many passwords are looked at in this moment as may be. This one was not."""


class Places:
    """Places for those whose passwords are looked at, in this process, and for as many who wait a moment for one."""

    def __init__(self, number: int) -> None:
        self._inside = threading.BoundedSemaphore(number)
        self._waiting = threading.BoundedSemaphore(2 * number)

    @contextmanager
    def one(self) -> Iterator[None]:
        """Take a place for a block. Raises Crowded."""
        if not self._waiting.acquire(blocking=False):
            raise Crowded
        try:
            if not self._inside.acquire(timeout=WAIT_FOR_A_PLACE_SECONDS):
                raise Crowded
            try:
                yield
            finally:
                self._inside.release()
        finally:
            self._waiting.release()


_places = Places(max(1, settings.SIGN_INS_AT_ONCE))


def place() -> Any:
    """Hold a place while a password is looked at, which costs memory and time. Raises Crowded."""
    return _places.one()


@dataclass(frozen=True)
class Attempt:
    """An attempt that is under way, and counts as failed until it is told otherwise."""

    request: HttpRequest
    door: Door
    email_key: str
    keys: dict[str, str] = field(repr=False)  # of the rows it is counted in, by what they limit
    counts: "dict[str, Count]" = field(repr=False)

    def succeeded(self) -> None:
        """Give the attempt back, forget the failures before it, and have the browser remembered."""
        # One row at a time: who holds several takes them in order, see CLAIM.
        for limit, key in self.keys.items():
            if limit in {"address and email", "known browser"}:
                SignInFailures.objects.filter(key=key).delete()
            else:
                with connection.cursor() as cursor:
                    cursor.execute(GIVE_BACK, {"key": key, "moment": self.counts[key].moments[-1]})
        if self.door in REMEMBERED:
            browser = _known_browser(self.request, self.door, self.email_key) or get_random_string(22)
            self.request.known_browser = (self.door, [self.email_key, browser])  # type: ignore[attr-defined]


# At these doors, a browser that has come in once is known afterwards.
REMEMBERED = {"member", "staff"}


def begin(request: HttpRequest, *, door: Door, email: str) -> Attempt:
    """Count an attempt to get in. `email` is the name, as the door looks for it. Raises TooManyFailures."""
    email_key = _key("email", door, email)
    address = client_network(request)
    browser = _known_browser(request, door, email_key) if door in REMEMBERED else None
    if browser:
        keys = {"known browser": _key("known browser", email_key, browser)}
    else:
        keys = {
            "address": _key("address", address),
            "address and email": _key("address and email", address, email_key),
            "email": email_key,
        }
    with transaction.atomic():
        counts = _claim(list(keys.values()), window_seconds=WINDOW_SECONDS)
        waits = [
            counts[key].seconds_until_below(MAX_FAILURES[limit])
            for limit, key in keys.items()
            if counts[key].number > MAX_FAILURES[limit]
        ]
        if waits:  # and the attempt, which is none, is not counted either
            raise TooManyFailures(max(waits))
    _forget()
    return Attempt(request, door, email_key, keys, counts)


def count(what: str, owner: str, *, limit: int, window_seconds: int) -> None:
    """Count something that one owner may do so often in so many seconds, such as an upload. Raises TooMany."""
    key = _key(what, owner)
    with transaction.atomic():
        counted = _claim([key], window_seconds=window_seconds)[key]
        if counted.number > limit:
            raise TooMany(counted.seconds_until_below(limit), what=what)


def count_post(request: HttpRequest) -> None:
    """Count a form that was sent, for the account or else for the address. Raises TooMany."""
    account = request.user.pk if request.user.is_authenticated else None
    owner = f"account {account}" if account else client_network(request)
    count("forms", owner, limit=MAX_POSTS, window_seconds=POSTS_SECONDS)


class Count(NamedTuple):
    """The moments that count at present, oldest first, the one just added included."""

    moments: list[datetime]
    window_seconds: int

    @property
    def number(self) -> int:
        return len(self.moments)

    def seconds_until_below(self, limit: int) -> int:
        """Say in how many seconds one more would be allowed, had the last one not been added."""
        leaves_next = self.moments[max(0, self.number - 1 - limit)]
        passed = (self.moments[-1] - leaves_next).total_seconds()
        return max(1, math.ceil(self.window_seconds - passed))


# In the order of the keys, so that two who need the same rows wait for each other and not in a circle.
# What an earlier release wrote has no moments, and counts as none.
CLAIM = """
INSERT INTO council_signinfailures AS kept (key, failures, forgotten_at, failed_at)
SELECT key, 1, statement_timestamp() + make_interval(secs => %(window)s), ARRAY[statement_timestamp()]
  FROM unnest(%(keys)s::text[]) AS given (key)
 ORDER BY key
    ON CONFLICT (key) DO UPDATE
   SET (failures, failed_at) =
       (SELECT count(*) + 1, coalesce(array_agg(moment ORDER BY moment), '{}') || excluded.failed_at
          FROM unnest(kept.failed_at) AS moment
         WHERE kept.forgotten_at > statement_timestamp()
           AND moment > statement_timestamp() - make_interval(secs => %(window)s)),
       forgotten_at = excluded.forgotten_at
RETURNING key, failed_at
"""
GIVE_BACK = """
UPDATE council_signinfailures
   SET failed_at = array_remove(failed_at, %(moment)s), failures = greatest(failures - 1, 0)
 WHERE key = %(key)s
"""


def _claim(keys: list[str], *, window_seconds: int) -> dict[str, Count]:
    """Add this moment to each row, without those that no longer count; what counts now, by key."""
    with connection.cursor() as cursor:
        cursor.execute(CLAIM, {"keys": keys, "window": window_seconds})
        return {key: Count(moments, window_seconds) for key, moments in cursor.fetchall()}


# Some at a time, and none that is in use: faster than they can be made, and in nobody's way.
FORGET = """
DELETE FROM council_signinfailures
 WHERE key IN (SELECT key
                 FROM council_signinfailures
                WHERE forgotten_at <= statement_timestamp()
                LIMIT 100
                  FOR UPDATE SKIP LOCKED)
"""


_forgetting = threading.Lock()
_forgotten_at = time.monotonic()


def _forget() -> int:
    """Remove some rows that no longer count, and give their number."""
    with connection.cursor() as cursor:
        cursor.execute(FORGET)
        removed: int = cursor.rowcount
    return removed


def _forget_now_and_then() -> None:
    """Remove old rows once a minute, by whichever request comes then, also where nobody signs in any more."""
    global _forgotten_at  # noqa: PLW0603
    if time.monotonic() - _forgotten_at < FORGET_SECONDS or connection.in_atomic_block:
        return
    if _forgetting.acquire(blocking=False):
        try:
            _forgotten_at = time.monotonic()
            with suppress(DatabaseError):
                while _forget():
                    pass
        finally:
            _forgetting.release()


def _key(*parts: str) -> str:
    """Name a row by what nobody can read an address or an email from."""
    text = "\0".join(parts).encode(errors="backslashreplace")
    return salted_hmac("council.throttle", text, algorithm="sha256").hexdigest()


def client_network(request: HttpRequest) -> str:
    """Say where a request comes from: an IPv4 address, or the /64 of an IPv6 one, which is one client's.

    Behind PROXY_COUNT proxies it is what the first of them has seen; what stands before that in X-Forwarded-For
    is the client's own word.
    """
    seen = [part.strip() for part in request.META.get("HTTP_X_FORWARDED_FOR", "").split(",")]
    candidates = [request.META.get("REMOTE_ADDR", "")]
    if 0 < settings.PROXY_COUNT <= len(seen):
        candidates.insert(0, seen[-settings.PROXY_COUNT])
    for text in candidates:
        address = _address(text)
        if address is None:
            continue
        if isinstance(address, ipaddress.IPv4Address):
            return str(address)
        # Of who holds an IPv4 address, all IPv6 addresses that are made from it are one.
        within = address.ipv4_mapped or address.sixtofour
        if within is None and address in NAT64:
            within = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if within:
            return str(within)
        return str(ipaddress.ip_network((int(address), 64), strict=False))
    return "unknown"


NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
# As proxies write an address with its port.
WITH_PORT = re.compile(r"(?P<v4>[0-9.]+):[0-9]{1,5}|\[(?P<v6>[^\]]+)\](?::[0-9]{1,5})?")


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    match = WITH_PORT.fullmatch(text)
    if match:
        text = match["v4"] or match["v6"]
    try:
        return ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None


def _cookie(door: Door) -> str:
    return f"{settings.KNOWN_BROWSER_COOKIE_NAME}-{door}"


def _known_browser(request: HttpRequest, door: Door, email_key: str) -> str | None:
    """Name the browser, if this email has signed in with it before."""
    try:
        owner, browser = signing.loads(
            request.COOKIES.get(_cookie(door), ""), salt="council.throttle", max_age=KNOWN_FOR_SECONDS
        )
    except (signing.BadSignature, TypeError, ValueError):
        return None
    return str(browser) if owner == email_key else None


class Throttle:
    """Answer what is refused for its number with words, and remember browsers that sign in."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        remembered: tuple[Door, Any] | None = getattr(request, "known_browser", None)
        if remembered:
            door, value = remembered
            response.set_cookie(
                _cookie(door),
                signing.dumps(value, salt="council.throttle"),
                max_age=KNOWN_FOR_SECONDS,
                httponly=True,
                secure=settings.SESSION_COOKIE_SECURE,
                samesite="Lax",
            )
        _forget_now_and_then()
        return response

    def process_view(self, request: HttpRequest, *_: Any) -> HttpResponse | None:
        match = request.resolver_match
        if request.method in SAFE_METHODS or (match and match.view_name in DOORS):
            return None
        try:
            count_post(request)
        except TooMany as error:
            return _refused(request, error)
        return None

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        if isinstance(exception, Crowded):
            return outage.unavailable(request, why="sign-in")
        return _refused(request, exception) if isinstance(exception, TooMany) else None


def _refused(request: HttpRequest, error: TooMany) -> HttpResponse:
    minutes = math.ceil(error.seconds / 60)
    response = render(request, "429.html", {"minutes": minutes, "what": error.what}, status=429)
    response.headers["Retry-After"] = str(error.seconds)
    return response
