"""Sessions: which account is signed in, where else it is signed in, and signing out everywhere."""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

from django.conf import settings
from django.contrib.auth import (
    BACKEND_SESSION_KEY,
    HASH_SESSION_KEY,
    SESSION_KEY,
    load_backend,
    user_logged_in,
)
from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.auth.models import AnonymousUser
from django.contrib.sessions.models import Session
from django.db import transaction
from django.db.models import F
from django.db.models.functions import Now
from django.dispatch import receiver
from django.http import HttpRequest
from django.utils.crypto import constant_time_compare
from django.utils.functional import SimpleLazyObject

from council.accounts.models import Account, AccountSession
from council.gateway import cookie

# A session that the gateway's cookie began has this key, and ends when the cookie does.
BY_GATEWAY = "by_gateway"

BROWSERS = ("Edg", "OPR", "Firefox", "Chrome", "Safari")
NAMES = {"Edg": "Edge", "OPR": "Opera"}
SYSTEMS = {
    "Android": "Android",
    "iPhone": "an iPhone",
    "iPad": "an iPad",
    "Windows": "Windows",
    "Macintosh": "a Mac",
    "Linux": "Linux",
}


class Authentication(AuthenticationMiddleware):
    """Django's middleware, except that a session with an older but valid hash keeps its key.

    Django would give it a new key. Concurrent requests would each create a session, and all but one would be orphaned.
    """

    def process_request(self, request: HttpRequest) -> None:
        request.user = cast(Account, SimpleLazyObject(lambda: account_of(request)))


def account_of(request: HttpRequest) -> Account | AnonymousUser:
    """Return the account that is signed in. It is read once per request."""
    if not hasattr(request, "_cached_user"):
        request._cached_user = _read(request) or AnonymousUser()  # type: ignore[attr-defined]
    return request._cached_user  # type: ignore[attr-defined, no-any-return]


def _read(request: HttpRequest) -> Account | None:
    session = request.session
    try:
        pk = Account._meta.pk.to_python(session[SESSION_KEY])
        backend_path = session[BACKEND_SESSION_KEY]
    except KeyError:
        return None
    if backend_path not in settings.AUTHENTICATION_BACKENDS:
        return None
    account = load_backend(backend_path).get_user(pk)
    if account is None:
        return None
    given, current = session.get(HASH_SESSION_KEY) or "", account.get_session_auth_hash()
    if _has_what_began_it(request, account):
        if constant_time_compare(given, current):
            return account
        if given and any(
            constant_time_compare(given, older) for older in account.get_session_auth_fallback_hash()
        ):
            session[HASH_SESSION_KEY] = current
            return account
    session.flush()
    return None


def _has_what_began_it(request: HttpRequest, account: Account) -> bool:
    """Tell whether the gateway's cookie still names this member. True for sessions that it did not begin."""
    if not request.session.get(BY_GATEWAY):
        return True
    ticket = cookie.read(request)
    return ticket is not None and ticket.member_id == account.member_id


@receiver(user_logged_in)
def note_session(request: HttpRequest, user: Account, **kwargs: Any) -> None:
    """Record the new session for the list of sessions, and delete the records of sessions that have ended."""
    if not request.session.session_key:
        request.session.create()
    live = Session.objects.filter(expire_date__gt=Now()).values("session_key")
    AccountSession.objects.filter(account=user).exclude(session_key__in=live).delete()
    AccountSession.objects.update_or_create(
        session_key=request.session.session_key,
        defaults={"account": user, "browser": describe(request.META.get("HTTP_USER_AGENT", ""))},
    )


def describe(user_agent: str) -> str:
    """Name the browser and its system, and leave out everything else in the user agent."""
    browser = next((name for name in BROWSERS if re.search(rf"\b{name}[A-Za-z]*/", user_agent)), None)
    system = next((title for name, title in SYSTEMS.items() if name in user_agent), None)
    return f"{NAMES.get(browser, browser) if browser else 'A browser'} on {system or 'a device'}"


@dataclass(frozen=True)
class Place:
    """A place where an account is signed in."""

    browser: str
    began_at: datetime
    is_this: bool


def places(request: HttpRequest, *, account: Account) -> list[Place]:
    """List the places where an account is signed in, newest first."""
    live = Session.objects.filter(expire_date__gt=Now()).values("session_key")
    rows = AccountSession.objects.filter(account=account, session_key__in=live).order_by("-began_at")
    return [Place(row.browser, row.began_at, row.session_key == request.session.session_key) for row in rows]


def end_everywhere(*, account: Account) -> None:
    """End all sessions of an account. A session without a record ends with its next request."""
    with transaction.atomic():
        Account.objects.filter(pk=account.pk).update(session_generation=F("session_generation") + 1)
        keys = list(AccountSession.objects.filter(account=account).values_list("session_key", flat=True))
        Session.objects.filter(session_key__in=keys).delete()
        AccountSession.objects.filter(account=account).delete()
