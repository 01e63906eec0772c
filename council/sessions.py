"""Sessions: who is signed in, where an account is signed in, and how to end that everywhere."""

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

# In the session of who was signed in by the gateway's cookie: it ends with that.
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
    """Django's, but a session whose sum is an older one that holds keeps its key.

    Django gives it a new one. Of several requests at once each would make a session, all but one of them for nobody.
    """

    def process_request(self, request: HttpRequest) -> None:
        request.user = cast(Account, SimpleLazyObject(lambda: account_of(request)))


def account_of(request: HttpRequest) -> Account | AnonymousUser:
    """Read who is signed in, once for a request."""
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
    """Whether the gateway still says that this member is signed in, where the session was begun by its cookie."""
    if not request.session.get(BY_GATEWAY):
        return True
    ticket = cookie.read(request)
    return ticket is not None and ticket.member_id == account.member_id


@receiver(user_logged_in)
def note_session(request: HttpRequest, user: Account, **kwargs: Any) -> None:
    """Write down where the account is signed in, and forget those of its sessions that have ended."""
    if not request.session.session_key:
        request.session.create()
    live = Session.objects.filter(expire_date__gt=Now()).values("session_key")
    AccountSession.objects.filter(account=user).exclude(session_key__in=live).delete()
    AccountSession.objects.update_or_create(
        session_key=request.session.session_key,
        defaults={"account": user, "browser": describe(request.META.get("HTTP_USER_AGENT", ""))},
    )


def describe(user_agent: str) -> str:
    """Name a browser and its system, and nothing else of what it says about itself."""
    browser = next((name for name in BROWSERS if re.search(rf"\b{name}[A-Za-z]*/", user_agent)), None)
    system = next((words for name, words in SYSTEMS.items() if name in user_agent), None)
    return f"{NAMES.get(browser, browser) if browser else 'A browser'} on {system or 'a device'}"


@dataclass(frozen=True)
class Place:
    """Where an account is signed in."""

    browser: str
    began_at: datetime
    is_this: bool


def places(request: HttpRequest, *, account: Account) -> list[Place]:
    """List where an account is signed in, newest first."""
    live = Session.objects.filter(expire_date__gt=Now()).values("session_key")
    rows = AccountSession.objects.filter(account=account, session_key__in=live).order_by("-began_at")
    return [Place(row.browser, row.began_at, row.session_key == request.session.session_key) for row in rows]


def end_everywhere(*, account: Account) -> None:
    """End all sessions of an account, with the next request of each, those that nobody wrote down included."""
    with transaction.atomic():
        Account.objects.filter(pk=account.pk).update(session_generation=F("session_generation") + 1)
        keys = list(AccountSession.objects.filter(account=account).values_list("session_key", flat=True))
        Session.objects.filter(session_key__in=keys).delete()
        AccountSession.objects.filter(account=account).delete()
