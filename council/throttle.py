"""How often sign-in may fail, for an address, an email, or the two together, across all processes.

An attempt is counted before the password is looked at, and given back when it was right: so no number of requests at
once tries more passwords than one after the other. An email that nobody has is counted like any other.

- One address and one email: a member who mistypes, or somebody who guesses at one member.
- One address: somebody who tries one password on many.
- One email, from anywhere: many addresses that guess at one member. This would lock the member out too; so a browser
  that they have signed in with before is known by a cookie, and counts for itself alone.
"""

import ipaddress
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from django.conf import settings
from django.core import signing
from django.db import connection, transaction
from django.db.models import F
from django.db.models.functions import Greatest
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.crypto import get_random_string, salted_hmac

from council.models import SignInFailures

Door = Literal["member", "staff"]

WINDOW_SECONDS = 15 * 60
MAX_FAILURES = {"address and email": 5, "known browser": 5, "email": 30, "address": 50}
KNOWN_FOR_SECONDS = 180 * 24 * 3600


class TooManyFailures(Exception):
    """No password was looked at, and none will be for so many seconds."""

    def __init__(self, seconds: int) -> None:
        super().__init__(f"Sign-in failed too often. It is open again in {seconds} seconds.")
        self.seconds = seconds


@dataclass(frozen=True)
class Attempt:
    """An attempt that is under way, and counts as failed until it is told otherwise."""

    request: HttpRequest
    door: Door
    email_key: str
    keys: dict[str, str] = field(repr=False)  # of the rows it is counted in, by what they limit

    def succeeded(self) -> None:
        """Give the attempt back, forget the failures before it, and have the browser remembered."""
        # One row at a time: who holds several takes them in order, see CLAIM.
        for limit, key in self.keys.items():
            row = SignInFailures.objects.filter(key=key)
            if limit in {"address and email", "known browser"}:
                row.delete()
            else:
                row.update(failures=Greatest(F("failures") - 1, 0))
        browser = _known_browser(self.request, self.door, self.email_key) or get_random_string(22)
        self.request.known_browser = (self.door, [self.email_key, browser])  # type: ignore[attr-defined]


def begin(request: HttpRequest, *, door: Door, email: str) -> Attempt:
    """Count an attempt to sign in. Raises TooManyFailures."""
    email_key = _key("email", door, email.casefold() if door == "staff" else email)
    address = client_network(request)
    browser = _known_browser(request, door, email_key)
    if browser:
        keys = {"known browser": _key("known browser", email_key, browser)}
    else:
        keys = {
            "address": _key("address", address),
            "address and email": _key("address and email", address, email_key),
            "email": email_key,
        }
    with transaction.atomic():
        counts = _claim(list(keys.values()))
        waits = [counts[key][1] for limit, key in keys.items() if counts[key][0] > MAX_FAILURES[limit]]
        if waits:  # and the attempt, which is none, is not counted either
            raise TooManyFailures(max(1, *waits))
    _forget()
    return Attempt(request, door, email_key, keys)


class TooMany(Exception):
    """Nothing was done, and nothing will be for so many seconds."""

    def __init__(self, seconds: int, *, what: str) -> None:
        super().__init__(f"Too many {what}. Come back in {seconds} seconds.")
        self.seconds = seconds


def count(what: str, owner: str, *, limit: int, window_seconds: int) -> None:
    """Count something that one owner may do so often in so many seconds, such as an upload. Raises TooMany."""
    key = _key(what, owner)
    with transaction.atomic():
        number, seconds = _claim([key], window_seconds)[key]
        if number > limit:
            raise TooMany(max(1, seconds), what=what)


# In the order of the keys, so that two who need the same rows wait for each other and not in a circle.
CLAIM = """
INSERT INTO council_signinfailures AS kept (key, failures, forgotten_at)
SELECT key, 1, statement_timestamp() + make_interval(secs => %(window)s)
  FROM unnest(%(keys)s::text[]) AS given (key)
 ORDER BY key
    ON CONFLICT (key) DO UPDATE
   SET failures = CASE WHEN kept.forgotten_at > statement_timestamp() THEN kept.failures + 1 ELSE 1 END,
       forgotten_at = CASE WHEN kept.forgotten_at > statement_timestamp() THEN kept.forgotten_at
                           ELSE excluded.forgotten_at END
RETURNING key, failures, ceil(extract(epoch FROM forgotten_at - statement_timestamp()))::int
"""


def _claim(keys: list[str], window_seconds: int = WINDOW_SECONDS) -> dict[str, tuple[int, int]]:
    """Add one to each row's count; the count now, and the seconds until it is forgotten, by key."""
    with connection.cursor() as cursor:
        cursor.execute(CLAIM, {"keys": keys, "window": window_seconds})
        return {key: (failures, seconds) for key, failures, seconds in cursor.fetchall()}


# Some at a time, and none that is in use: faster than they can be made, and in nobody's way.
FORGET = """
DELETE FROM council_signinfailures
 WHERE key IN (SELECT key
                 FROM council_signinfailures
                WHERE forgotten_at <= statement_timestamp()
                LIMIT 100
                  FOR UPDATE SKIP LOCKED)
"""


def _forget() -> None:
    with connection.cursor() as cursor:
        cursor.execute(FORGET)


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
        try:
            address = ipaddress.ip_address(text)
        except ValueError:
            continue
        if isinstance(address, ipaddress.IPv4Address):
            return str(address)
        if address.ipv4_mapped:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address, 64), strict=False))
    return "unknown"


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
    """Answer a sign-in that is refused for its failures with words, and remember browsers that sign in."""

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
        return response

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        if not isinstance(exception, TooManyFailures):
            return None
        minutes = math.ceil(exception.seconds / 60)
        response = render(request, "429.html", {"minutes": minutes}, status=429)
        response.headers["Retry-After"] = str(exception.seconds)
        return response
