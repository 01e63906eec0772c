"""The site's own pages, for members, lapsed members, staff and visitors."""

import os
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.core.exceptions import BadRequest
from django.http import HttpRequest, HttpResponse
from django.test import Client, override_settings
from django.urls import include, path, reverse

from council import urls
from council.access import MemberRequest, good_standing_required
from council.accounts.models import Account
from council.models import AdminRole, Member
from tests.databases import ROOT, Database
from tests.factories import AccountFactory, AdminFactory, hashed

pytestmark = pytest.mark.any_server

FillIn = Callable[..., dict[str, Any]]
PASSWORD = "correct horse"
HOME = reverse(settings.LOGIN_REDIRECT_URL)


@pytest.fixture
def mia(mia: Member) -> Member:
    mia.password_hash = hashed(PASSWORD)
    mia.save()
    return mia


@pytest.fixture
def mias_browser(mia: Member) -> Client:
    browser = Client()
    browser.force_login(AccountFactory.create(member=mia))
    return browser


@pytest.fixture
def lars_browser(lars: Member) -> Client:
    browser = Client()
    browser.force_login(AccountFactory.create(member=lars))
    return browser


@pytest.fixture
def adas_browser(db: None) -> Client:
    """A super admin of the gateway, signed in on the staff's page."""
    AdminFactory.create(
        email="ada@council.example", password_hash=hashed(PASSWORD), role=AdminRole.SUPER_ADMIN
    )
    browser = Client()
    assert (
        browser.post("/admin/login/", {"username": "ada@council.example", "password": PASSWORD}).status_code
        == 302
    )
    return browser


def sign_in(browser: Client, **more: str) -> Any:
    return browser.post("/sign-in/", {"email": "mia@acme.example", "password": PASSWORD, **more})


def test_the_start_page_redirects_everybody_to_a_page_for_them(
    client: Client, mias_browser: Client, lars_browser: Client, adas_browser: Client, sams_browser: Client
) -> None:
    assert client.get("/").headers["Location"] == "/sign-in/"
    assert mias_browser.get("/").status_code == 200
    assert lars_browser.get("/").status_code == 200
    assert adas_browser.get("/").headers["Location"] == "/admin/"
    assert sams_browser.get("/").headers["Location"] == "/admin/"


def test_a_member_signs_in_and_gets_the_requested_page(mia: Member, client: Client) -> None:
    response = client.get("/membership/?from=mail&x=1")
    assert response.headers["Location"] == "/sign-in/?next=/membership/%3Ffrom%3Dmail%26x%3D1"
    page = client.get(response.headers["Location"])
    assert 'name="next" value="/membership/?from=mail&amp;x=1"' in page.content.decode()
    response = sign_in(client, next="/membership/?from=mail&x=1")
    assert (response.status_code, response.headers["Location"]) == (302, "/membership/?from=mail&x=1")


@pytest.mark.parametrize(
    "next_page",
    [
        "https://evil.example/",
        "//evil.example/",
        "/\\evil.example",
        "javascript:alert(1)",
        "http:///evil.example",
        "\x01//evil.example",
        "https://testserver.evil.example/",
    ],
)
def test_no_sign_in_redirects_to_another_site(next_page: str, mia: Member, client: Client) -> None:
    assert "evil" not in client.get("/sign-in/", {"next": next_page}).content.decode()
    assert sign_in(client, next=next_page).headers["Location"] == HOME
    assert client.get("/sign-in/", {"next": next_page}).headers["Location"] == HOME


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ({"email": "", "password": ""}, ["Enter your email.", "Enter your password."]),
        ({"email": "mia@acme.example", "password": "wrong"}, ["The email or the password is wrong."]),
        ({"email": "nobody@acme.example", "password": PASSWORD}, ["The email or the password is wrong."]),
        ({"email": "lars@lapsed.example", "password": PASSWORD}, ["The email or the password is wrong."]),
        ({"email": "mia@acme.example", "password": f"{PASSWORD}\0"}, ["Null characters are not allowed."]),
        ({"email": "mia@acme.example\0", "password": PASSWORD}, ["Null characters are not allowed."]),
        ({"email": "x" * 321, "password": PASSWORD}, ["at most 320 characters"]),
        ({"email": "mia@acme.example", "password": "x" * 4097}, ["at most 4096 characters"]),
        ({"email": "mia@acme.example", "password": b"\xed\xa0\x80"}, ["The email or the password is wrong."]),
        ({}, ["Enter your email.", "Enter your password."]),
    ],
)
def test_a_sign_in_that_fails_says_why_and_keeps_the_email(
    form: dict[str, Any], words: list[str], mia: Member, lars: Member, client: Client
) -> None:
    response = client.post("/sign-in/", form)
    html = response.content.decode()
    assert response.status_code == 200
    assert all(text in html for text in words)
    assert "<title>Error: Sign in" in html
    assert PASSWORD not in html
    assert form.get("email", "").replace("\0", "") in html.replace("\0", "")
    assert not Account.objects.exists()


def test_the_sign_in_page_redirects_a_member_who_is_signed_in(mias_browser: Client) -> None:
    assert mias_browser.get("/sign-in/?next=/membership/%3Fa").headers["Location"] == "/membership/?a"
    assert mias_browser.get("/sign-in/?next=/sign-in/").headers["Location"] == "/sign-in/"


def test_staff_who_are_members_too_can_sign_in_as_members(adas_browser: Client, mia: Member) -> None:
    assert adas_browser.get("/sign-in/").status_code == 200
    sign_in(adas_browser)
    assert adas_browser.get("/membership/").status_code == 200
    assert adas_browser.get("/admin/").status_code == 302


def test_signing_out_needs_a_post(mias_browser: Client, client: Client, db: None) -> None:
    assert mias_browser.get("/sign-out/").status_code == 405
    assert mias_browser.get("/membership/").status_code == 200
    response = mias_browser.post("/sign-out/", follow=True)
    assert "You are signed out." in response.content.decode()
    assert mias_browser.get("/membership/").status_code == 302
    assert client.post("/sign-out/").headers["Location"] == "/sign-in/"


def test_forms_from_other_sites_are_not_accepted(mia: Member) -> None:
    for address in ("/sign-in/", "/sign-out/", "/admin/login/"):
        response = Client(enforce_csrf_checks=True).post(
            address, {"email": "mia@acme.example", "password": PASSWORD}
        )
        assert response.status_code == 403
        assert "The form was not accepted" in response.content.decode()


def test_a_member_sees_the_membership(mias_browser: Client) -> None:
    html = mias_browser.get("/membership/").content.decode()
    assert '<span class="badge good">Active</span>' in html
    assert "Until your membership is active" not in html
    assert '<a href="/membership/" aria-current="page">Membership</a>' in html


@pytest.mark.parametrize(
    ("status", "words"),
    [
        ("CANCELLED", "Your membership has ended."),
        ("PAST_DUE", "Your last payment did not go through."),
        ("NONE", "You have no membership yet."),
    ],
)
def test_a_member_without_good_standing_sees_what_is_missing(status: str, words: str, lars: Member) -> None:
    Member.objects.update(subscription_status=status)
    browser = Client()
    browser.force_login(AccountFactory.create(member=lars))
    html = browser.get("/membership/").content.decode()
    assert words in html
    assert "not download resources" in html


def test_staff_without_a_membership_see_that_the_page_is_for_members(
    adas_browser: Client, sams_browser: Client, noras_browser: Client
) -> None:
    for browser in (adas_browser, sams_browser, noras_browser):
        response = browser.get("/membership/")
        assert response.status_code == 403
        assert "This page is for members." in response.content.decode()


# Pages like those of other apps, and one without any marks.


def unmarked(request: MemberRequest) -> HttpResponse:
    return HttpResponse(request.member.email)


@good_standing_required
def for_good_standing(request: MemberRequest, name: str) -> HttpResponse:
    return HttpResponse(f"{name} of {request.member.email}")


@login_not_required
def broken(request: HttpRequest) -> HttpResponse:
    raise ZeroDivisionError


@login_not_required
def nonsense(request: HttpRequest) -> HttpResponse:
    raise BadRequest("no such thing")


urlpatterns = [
    path("", include(urls)),
    path("unmarked/", unmarked),
    path("good/<name>/", for_good_standing),
    path("broken/", broken),
    path("nonsense/", nonsense),
]
with_more_pages = override_settings(ROOT_URLCONF=__name__)


@with_more_pages
def test_a_page_is_for_members_unless_it_says_otherwise(
    client: Client, mias_browser: Client, lars_browser: Client, sams_browser: Client
) -> None:
    assert mias_browser.get("/unmarked/").content == b"mia@acme.example"
    assert lars_browser.get("/unmarked/").content == b"lars@lapsed.example"
    assert sams_browser.get("/unmarked/").status_code == 403
    assert client.get("/unmarked/").headers["Location"] == "/sign-in/?next=/unmarked/"
    assert client.post("/unmarked/").headers["Location"] == "/sign-in/?next=/unmarked/"


@with_more_pages
def test_a_page_for_good_standing_shows_others_what_is_missing(
    client: Client, mias_browser: Client, lars_browser: Client, sams_browser: Client
) -> None:
    assert mias_browser.get("/good/tea/").content == b"tea of mia@acme.example"
    response = lars_browser.get("/good/tea/")
    assert response.status_code == 403
    assert "Your membership has ended." in response.content.decode()
    assert sams_browser.get("/good/tea/").status_code == 403
    assert client.get("/good/tea/").status_code == 302


def pages(patterns: list[Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """List the site's pages and their views, without Django's admin."""
    for pattern in patterns:
        address = prefix + str(pattern.pattern)
        if not hasattr(pattern, "url_patterns"):
            yield address, pattern.callback
        elif pattern.app_name != "admin":
            yield from pages(pattern.url_patterns, address)


def test_every_page_is_for_members_or_in_the_list_of_open_pages() -> None:
    found = dict(pages(urls.urlpatterns))
    assert {"points/", "leaderboard/", "membership/"} <= set(found)
    open_pages = {address for address, view in found.items() if not getattr(view, "login_required", True)}
    assert open_pages == {
        "",
        ".well-known/security.txt",
        r"^library/thumbnail/(?P<name>[0-9a-f]{32}\.webp)$",
        "sign-in/",
        "sign-out/",
    }


@with_more_pages
@pytest.mark.parametrize(
    ("address", "status", "words"),
    [
        ("/nowhere/", 404, "There is no such page"),
        ("/admin/nowhere/", 302, ""),
        ("/nonsense/", 400, "The request was not understood"),
        ("/broken/", 500, "Something went wrong on our side"),
    ],
)
def test_error_pages_have_a_text(address: str, status: int, words: str, db: None) -> None:
    response = Client(raise_request_exception=False).get(address)
    assert response.status_code == status
    assert words in response.content.decode()
    assert "Traceback" not in response.content.decode()


def test_every_response_has_the_security_headers(
    client: Client, mias_browser: Client, lars_browser: Client, adas_browser: Client
) -> None:
    for browser, address in (
        (client, "/sign-in/"),
        (client, "/nowhere/"),
        (client, "/membership/"),
        (client, "/admin/login/"),
        (mias_browser, "/membership/"),
        (lars_browser, "/nowhere/"),
        (adas_browser, "/admin/"),
        (adas_browser, "/admin/council/member/"),
        (adas_browser, "/admin/nowhere/"),
        (adas_browser, "/membership/"),
    ):
        headers = browser.get(address).headers
        policy = set(headers["Content-Security-Policy"].split("; "))
        assert policy - {"script-src 'self'", "connect-src 'self'"} == {
            "default-src 'none'",
            "style-src 'self'",
            "img-src 'self'",
            "font-src 'self'",
            "form-action 'self'",
            "base-uri 'none'",
            "frame-ancestors 'none'",
        }
        assert ("script-src 'self'" in policy) == address.startswith("/admin/")
        assert headers["Referrer-Policy"] == "same-origin"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["X-Frame-Options"] == "DENY"
        assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
        assert "camera=()" in headers["Permissions-Policy"]
        assert "no-store" in headers["Cache-Control"]
        assert "private" in headers["Cache-Control"]


def test_staff_sessions_last_a_working_day_and_members_a_week(adas_browser: Client, mia: Member) -> None:
    assert adas_browser.cookies["sessionid"]["max-age"] == 12 * 3600
    browser = Client()
    sign_in(browser)
    cookie = browser.cookies["sessionid"]
    assert (cookie["max-age"], cookie["httponly"], cookie["samesite"]) == (7 * 24 * 3600, True, "Lax")


def production(*arguments: str, database: Database) -> subprocess.CompletedProcess[str]:
    """Run Python with the environment of deploy/environment.example, with its secrets filled in."""
    lines = (ROOT / "deploy/environment.example").read_text().splitlines()
    environment = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    environment |= {name: secrets.token_urlsafe(50) for name in ("SECRET_KEY", "BENCHMARK_KEY")}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "council.settings",
            **environment,
            "DATABASE_URL": database.url,
        },
        check=False,
        capture_output=True,
        text=True,
    )


def test_production_passes_django_s_deployment_checks(database: Database) -> None:
    result = production("manage.py", "check", "--deploy", "--fail-level", "INFO", database=database)
    assert result.returncode == 0, result.stderr


def test_production_s_cookies_are_only_for_tls_and_this_host(database: Database) -> None:
    code = (
        "import django; django.setup(); from django.conf import settings as s; "
        "print(s.SESSION_COOKIE_NAME, s.CSRF_COOKIE_NAME, s.KNOWN_BROWSER_COOKIE_NAME, s.SESSION_COOKIE_SECURE, "
        "s.CSRF_COOKIE_SECURE, s.SECURE_SSL_REDIRECT, s.PROXY_COUNT)"
    )
    result = production("-c", code, database=database)
    assert result.stdout.split() == [
        "__Host-session",
        "__Host-csrf",
        "__Host-known",
        "True",
        "True",
        "True",
        "1",
    ]
