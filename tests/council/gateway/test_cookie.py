"""Members with the gateway's cookie are signed in here, too."""

import base64
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from django.contrib.sessions.models import Session
from django.http import HttpRequest
from django.test import Client
from django.test.utils import override_settings

from council.accounts.models import Account, AccountSession
from council.gateway import cookie
from council.models import Admin, Member, SubscriptionStatus
from tests.factories import AccountFactory, AdminFactory, hashed

SECRET = "the gateway's secret, known to both of them"
PAGE = "/membership/"
PASSWORD = "correct horse"

pytestmark = pytest.mark.any_server


@pytest.fixture(autouse=True)
def secret(settings: Any) -> None:
    settings.GATEWAY_JWT_SECRET = SECRET


def claims(member: Member, **changes: Any) -> dict[str, Any]:
    now = int(time.time())
    whole = {"sub": member.pk, "type": "refresh", "iat": now - 60, "exp": now + 3600} | changes
    return {name: value for name, value in whole.items() if value is not None}


def token(member: Member, *, key: str = SECRET, algorithm: str = "HS256", **changes: Any) -> str:
    return jwt.encode(claims(member, **changes), key, algorithm=algorithm)


def carrying(value: str) -> Client:
    browser = Client()
    browser.cookies[cookie.NAME] = value
    return browser


def is_signed_in(browser: Client) -> bool:
    response = browser.get(PAGE)
    assert response.status_code in {200, 302}
    return response.status_code == 200


def test_a_member_signed_in_at_the_gateway_is_signed_in_here(mia: Member) -> None:
    browser = carrying(token(mia))
    assert "mia@acme.example" in browser.get(PAGE).content.decode()
    assert Session.objects.count() == AccountSession.objects.count() == 1
    assert is_signed_in(browser)  # the session is used, and no second one begins
    assert Session.objects.count() == 1
    response = browser.get(PAGE)
    assert cookie.NAME not in response.cookies  # the cookie is never written
    assert Client().get(PAGE).status_code == 302


def test_the_sign_in_page_redirects_such_a_member(mia: Member) -> None:
    assert carrying(token(mia)).get("/sign-in/?next=/points/").headers["Location"] == "/points/"


@pytest.mark.parametrize("status", SubscriptionStatus)
def test_a_member_may_sign_in_in_any_standing(status: SubscriptionStatus, mia: Member) -> None:
    Member.objects.update(subscription_status=status)
    assert is_signed_in(carrying(token(mia)))


def unsigned(member: Member) -> str:
    parts = [{"alg": "none", "typ": "JWT"}, claims(member)]
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts]
    return ".".join([*encoded, ""])


def forged(member: Member) -> str:
    """Put another member's id between the header and the signature of a valid cookie."""
    head, _, signature = token(member, sub="somebody else").split(".")
    body = base64.urlsafe_b64encode(json.dumps(claims(member)).encode()).decode().rstrip("=")
    return f"{head}.{body}.{signature}"


BAD: dict[str, Callable[[Member], str]] = {
    "expired": lambda mia: token(mia, exp=int(time.time()) - 1),
    "without an end": lambda mia: token(mia, exp=None),
    "without a beginning": lambda mia: token(mia, iat=None),
    "issued in the future": lambda mia: token(mia, iat=int(time.time()) + 300),
    "issued before time": lambda mia: token(mia, iat=-(10**18)),
    "issued before the year 1": lambda mia: token(mia, iat=-(10**12)),
    "issued at no moment": lambda mia: token(mia, iat=-(10**30)),
    "of another secret": lambda mia: token(mia, key="a secret that the gateway does not know"),
    "of another algorithm": lambda mia: token(mia, algorithm="HS512", key=SECRET * 2),
    "unsigned": unsigned,
    "forged": forged,
    "of another type": lambda mia: token(mia, type="access"),
    "without a type": lambda mia: token(mia, type=None),
    "without a member": lambda mia: token(mia, sub=None),
    "of nobody": lambda mia: token(mia, sub="x"),
    "of what cannot be stored": lambda mia: token(mia, sub="a\0b"),
    "no token": lambda mia: "no.token.at-all",
    "too long": lambda mia: token(mia, more="x" * cookie.MAX_LENGTH),
    "empty": lambda mia: "",
}


@pytest.mark.parametrize("what", BAD)
def test_an_invalid_cookie_signs_nobody_in(what: str, mia: Member) -> None:
    assert not is_signed_in(carrying(BAD[what](mia)))
    assert not Account.objects.exists()


def read(value: str, **options: int) -> cookie.Ticket | None:
    request = HttpRequest()
    request.COOKIES[cookie.NAME] = value
    return cookie.read(request, **options)


def test_a_cookie_of_4_096_characters_is_read_and_a_longer_one_is_not() -> None:
    whole = {"sub": "m", "type": "refresh", "iat": 1_000_000_000, "exp": 10_000_000_000}
    values = [jwt.encode(whole | {"more": "x" * length}, SECRET) for length in range(2_900, 3_000)]
    by_length = {len(value): value for value in values}
    assert read(by_length[4_096])
    assert not read(by_length[4_097])


def test_a_cookie_ends_in_its_second_and_the_clocks_may_differ_if_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Clock(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return datetime.fromtimestamp(1_000_000_000, tz)

    monkeypatch.setattr("jwt.api_jwt.datetime", Clock)
    of = {"sub": "m", "type": "refresh", "iat": 999_999_999}
    ended, last = (jwt.encode(of | {"exp": end}, SECRET) for end in (1_000_000_000, 1_000_000_001))
    assert read(last)
    assert not read(ended)
    assert read(ended, leeway_seconds=1)


def test_another_algorithm_is_refused_also_under_the_right_secret(mia: Member) -> None:
    key = SECRET * 2
    with override_settings(GATEWAY_JWT_SECRET=key):
        assert not is_signed_in(carrying(token(mia, algorithm="HS512", key=key)))
        assert is_signed_in(carrying(token(mia, key=key)))


def test_without_the_secret_nobody_is_signed_in(mia: Member) -> None:
    value = token(mia)
    with override_settings(GATEWAY_JWT_SECRET=""):
        assert not is_signed_in(carrying(value))


def test_a_deleted_member_is_not_signed_in(mia: Member) -> None:
    value = token(mia)
    mia.delete()
    assert not is_signed_in(carrying(value))


def test_an_account_that_was_closed_is_not_signed_in(mia: Member) -> None:
    AccountFactory.create(member=mia, is_active=False)
    assert not is_signed_in(carrying(token(mia)))


def test_a_sign_out_lasts_until_a_newer_cookie(mia: Member) -> None:
    browser = carrying(token(mia))
    assert is_signed_in(browser)
    browser.post("/sign-out/")
    assert not is_signed_in(browser)
    assert not is_signed_in(carrying(token(mia)))  # also in another browser
    Account.objects.update(signed_out_at=datetime.now(UTC) - timedelta(minutes=5))
    assert is_signed_in(carrying(token(mia)))  # issued later


def test_a_sign_out_everywhere_lasts_too(mia: Member) -> None:
    browser = carrying(token(mia))
    assert is_signed_in(browser)
    browser.post("/sessions/")
    assert not is_signed_in(browser)


def test_a_sign_out_lasts_if_the_gateway_s_clock_is_ahead(mia: Member) -> None:
    mia.password_hash = hashed(PASSWORD)
    mia.save()
    browser = Client()
    browser.post("/sign-in/", {"email": mia.email, "password": PASSWORD})
    # Issued by a clock that is a little ahead, so the cookie becomes valid only in a moment.
    ahead = int(time.time()) + 2
    value = token(mia, iat=ahead)
    browser.cookies[cookie.NAME] = value
    browser.post("/sign-out/")
    time.sleep(ahead + 0.1 - time.time())
    assert not is_signed_in(carrying(value))


def test_a_session_ends_with_the_cookie_that_began_it(mia: Member, carl: Member) -> None:
    browser = carrying(token(mia))
    assert is_signed_in(browser)
    browser.cookies[cookie.NAME] = token(mia, iat=int(time.time()) - 1)  # renewed
    assert is_signed_in(browser)
    browser.cookies[cookie.NAME] = token(carl)
    assert "carl@acme.example" in browser.get(PAGE).content.decode()
    del browser.cookies[cookie.NAME]
    assert not is_signed_in(browser)


def test_a_session_by_password_needs_no_cookie_and_is_not_changed_by_one(mia: Member, carl: Member) -> None:
    mia.password_hash = hashed(PASSWORD)
    mia.save()
    browser = Client()
    browser.post("/sign-in/", {"email": mia.email, "password": PASSWORD})
    browser.cookies[cookie.NAME] = token(carl)
    assert "mia@acme.example" in browser.get(PAGE).content.decode()
    del browser.cookies[cookie.NAME]
    assert is_signed_in(browser)


def test_it_is_never_trusted_for_staff(mia: Member, sams_browser: Client) -> None:
    admin: Admin = AdminFactory.create()
    assert not is_signed_in(carrying(token(mia, sub=admin.pk)))
    assert carrying(token(mia)).get("/admin/").status_code == 302
    assert not Account.objects.filter(member=mia).exists()
    # It also does not change who is signed in as staff.
    sams_browser.cookies[cookie.NAME] = token(mia)
    assert sams_browser.get("/admin/").status_code == 200
    assert sams_browser.get(PAGE).status_code == 403


def test_a_form_without_a_session_must_be_loaded_again(mia: Member) -> None:
    browser = carrying(token(mia))
    response = browser.post("/leaderboard/privacy/", {"listed": "no"})
    assert response.headers["Location"].startswith("/sign-in/?next=")
    assert not Account.objects.exists()
    mia.refresh_from_db()
    assert mia.leaderboard_visible
