"""Limits on failed sign-ins, on passwords checked at once, and on forms sent.

A sign-in attempt is counted before its password is checked, and the count is taken back if the password was right. So
concurrent requests cannot try more passwords than sequential ones. Unknown names count like known ones.

- One address and one name: a member who mistypes, or somebody who guesses one member's password.
- One address: somebody who tries one password with many names.
- One name, from any address: many addresses that guess one member's password. This would lock out the member, too. So
  a browser in which they have signed in before is recognised by a cookie, and has only its own limit.

The windows slide: a row stores the time of every attempt that counts, so a limit holds for any span as long as the
window, whenever it begins.
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
# The limit on forms per account, or per address for requests without an account.
POSTS_SECONDS = 60
MAX_POSTS = 60
SAFE_METHODS = {"GET", "HEAD", "OPTIONS", "TRACE"}
# Sign-in attempts have their own limits.
DOORS = {"council:sign-in", "admin:login"}
FORGET_SECONDS = 60
WAIT_FOR_A_SLOT_SECONDS = 1.0


class TooMany(Exception):
    """A limit is reached, and nothing was done. The next try is allowed in `seconds`."""

    def __init__(self, seconds: int, *, what: str) -> None:
        super().__init__(f"Too many {what}. Try again in {seconds} seconds.")
        self.seconds = seconds
        self.what = what


class TooManyFailures(TooMany):
    """The limit on failed sign-ins is reached, and no password was checked."""

    def __init__(self, seconds: int) -> None:
        super().__init__(seconds, what="failures")


class Crowded(Exception):
    """This process already checks as many passwords at once as it may. This one was not checked."""


class Slots:
    """A limit on how many passwords this process checks at once. As many more may wait briefly for a slot."""

    def __init__(self, number: int) -> None:
        self._inside = threading.BoundedSemaphore(number)
        self._waiting = threading.BoundedSemaphore(2 * number)

    @contextmanager
    def one(self) -> Iterator[None]:
        """Hold a slot during a block. Raises Crowded."""
        if not self._waiting.acquire(blocking=False):
            raise Crowded
        try:
            if not self._inside.acquire(timeout=WAIT_FOR_A_SLOT_SECONDS):
                raise Crowded
            try:
                yield
            finally:
                self._inside.release()
        finally:
            self._waiting.release()


_slots = Slots(max(1, settings.SIGN_INS_AT_ONCE))


def slot() -> Any:
    """Hold a slot while a password is checked, which costs memory and time. Raises Crowded."""
    return _slots.one()


@dataclass(frozen=True)
class Attempt:
    """A sign-in attempt. It counts as failed until `succeeded` is called."""

    request: HttpRequest
    door: Door
    email_key: str
    keys: dict[str, str] = field(repr=False)  # row keys by the name of their limit
    counts: "dict[str, Count]" = field(repr=False)

    def succeeded(self) -> None:
        """Take the count back, forget earlier failures, and remember the browser."""
        # Each statement commits alone, so no two rows are locked at once. See the order in CLAIM.
        for limit, key in self.keys.items():
            if limit in {"address and email", "known browser"}:
                SignInFailures.objects.filter(key=key).delete()
            else:
                with connection.cursor() as cursor:
                    cursor.execute(GIVE_BACK, {"key": key, "moment": self.counts[key].moments[-1]})
        if self.door in REMEMBERED:
            browser = _known_browser(self.request, self.door, self.email_key) or get_random_string(22)
            self.request.known_browser = (self.door, [self.email_key, browser])  # type: ignore[attr-defined]


# After a successful sign-in at one of these doors, the browser is known.
REMEMBERED = {"member", "staff"}


def begin(request: HttpRequest, *, door: Door, email: str) -> Attempt:
    """Count a sign-in attempt. `email` is the name, spelled as the look-up spells it. Raises TooManyFailures."""
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
        if waits:
            raise TooManyFailures(max(waits))  # this rolls back, so blocked attempts are not counted
    _forget()
    return Attempt(request, door, email_key, keys, counts)


def count(what: str, owner: str, *, limit: int, window_seconds: int) -> None:
    """Count an act of one owner, such as an upload, against a limit per window. Raises TooMany."""
    key = _key(what, owner)
    with transaction.atomic():
        counted = _claim([key], window_seconds=window_seconds)[key]
        if counted.number > limit:
            raise TooMany(counted.seconds_until_below(limit), what=what)


def count_post(request: HttpRequest) -> None:
    """Count a form that was sent, by account, or by address if nobody is signed in. Raises TooMany."""
    account = request.user.pk if request.user.is_authenticated else None
    owner = f"account {account}" if account else client_network(request)
    count("forms", owner, limit=MAX_POSTS, window_seconds=POSTS_SECONDS)


class Count(NamedTuple):
    """The times that count at present, oldest first, including the one just added."""

    moments: list[datetime]
    window_seconds: int

    @property
    def number(self) -> int:
        return len(self.moments)

    def seconds_until_below(self, limit: int) -> int:
        """Return in how many seconds one more would be allowed, if the last one is not counted."""
        leaves_next = self.moments[max(0, self.number - 1 - limit)]
        passed = (self.moments[-1] - leaves_next).total_seconds()
        return max(1, math.ceil(self.window_seconds - passed))


# Rows are locked in the order of their keys, so that two requests for the same rows cannot deadlock.
# A row that an earlier release wrote has no times, so it counts nothing.
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
    """Add the present time to each row, and drop times that no longer count. Returns the counts by key."""
    with connection.cursor() as cursor:
        cursor.execute(CLAIM, {"keys": keys, "window": window_seconds})
        return {key: Count(moments, window_seconds) for key, moments in cursor.fetchall()}


# Deletes faster than attempts can add rows, and skips locked rows, so nobody has to wait for it.
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
    """Delete up to 100 rows that no longer count, and return how many."""
    with connection.cursor() as cursor:
        cursor.execute(FORGET)
        removed: int = cursor.rowcount
    return removed


def _forget_now_and_then() -> None:
    """Delete old rows once a minute, in any request, so that they also go if nobody signs in any more."""
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
    """Make a row's key: a keyed hash, from which nobody can read an address or an email."""
    text = "\0".join(parts).encode(errors="backslashreplace")
    return salted_hmac("council.throttle", text, algorithm="sha256").hexdigest()


def client_network(request: HttpRequest) -> str:
    """Return where a request comes from: an IPv4 address, or the /64 network of an IPv6 address, which is one client's.

    Behind PROXY_COUNT proxies, this is the address that the first proxy saw. The client may have forged anything before
    that in X-Forwarded-For.
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
        # An IPv6 address that contains an IPv4 address counts as that IPv4 address.
        within = address.ipv4_mapped or address.sixtofour
        if within is None and address in NAT64:
            within = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if within:
            return str(within)
        return str(ipaddress.ip_network((int(address), 64), strict=False))
    return "unknown"


NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
# Some proxies add the port to the address.
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
    """Return the browser's id from its cookie, if this email has signed in with it before."""
    try:
        owner, browser = signing.loads(
            request.COOKIES.get(_cookie(door), ""), salt="council.throttle", max_age=KNOWN_FOR_SECONDS
        )
    except (signing.BadSignature, TypeError, ValueError):
        return None
    return str(browser) if owner == email_key else None


class Throttle:
    """Middleware that counts forms, answers 429 or 503 above the limits, and remembers browsers that sign in."""

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
