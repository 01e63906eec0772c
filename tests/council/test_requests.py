"""Invalid requests, and what every response and every log line contains."""
# mypy: disable-error-code="arg-type, attr-defined"
# ruff: noqa: E501  # one request per line

import logging
import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from typing import Any

import pytest
from django.db import DataError, IntegrityError, OperationalError, connection, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.http import HttpRequest
from django.test import Client
from django.urls import get_resolver, path

from council import auth, logs, outage, throttle, urls, views
from council.accounts.models import Account
from council.models import Member, StripeEvent
from council.wsgi import application
from tests import fuzz
from tests.factories import AdminFactory, MemberFactory, hashed

pytestmark = [pytest.mark.django_db, pytest.mark.any_server]
ALWAYS = {
    "Content-Security-Policy",
    "X-Content-Type-Options",
    "X-Frame-Options",
    "Referrer-Policy",
    "Cross-Origin-Opener-Policy",
    "Permissions-Policy",
    "X-Request-ID",
    "Cache-Control",
}
SECRET = "MARKED-s3cret"
EMAIL = "mia@acme.example"


@pytest.mark.parametrize(
    ("address", "extra", "status"),
    [
        ("/sign-in/", {}, 200),
        ("/", {"HTTP_HOST": "evil.example"}, 400),
        ("/nowhere", {}, 404),
        ("/membership", {}, 301),
        ("/sign-in/", {"HTTP_HOST": "a b"}, 400),
        ("/static/council/site.css", {}, 200),
        ("/healthz", {}, 200),
    ],
)
def test_every_answer_has_the_headers(
    address: str, extra: dict[str, str], status: int, settings: Any
) -> None:
    settings.ALLOWED_HOSTS = ["testserver"]
    response = Client(raise_request_exception=False).get(address, **extra)
    if status != 200 or "static" not in address:
        assert response.status_code == status
    assert set(response.headers) >= ALWAYS


def test_the_redirect_to_tls_has_them_too(settings: Any) -> None:
    settings.SECURE_SSL_REDIRECT = True
    settings.SECURE_HSTS_SECONDS = 60
    settings.SECURE_HSTS_INCLUDE_SUBDOMAINS = True
    response = Client().get("/sign-in/")
    assert (response.status_code, set(response.headers) >= ALWAYS) == (301, True)
    assert "Strict-Transport-Security" not in response.headers
    response = Client().get("/nowhere/", secure=True)
    assert response.headers["Strict-Transport-Security"] == "max-age=60; includeSubDomains"


def test_security_txt_says_where_to_report(settings: Any) -> None:
    text = Client().get("/.well-known/security.txt").content.decode()
    assert text.startswith("Contact: mailto:security@testserver\nExpires: 20")
    settings.SECURITY_CONTACT = "https://council.example/security"
    assert (
        "Contact: https://council.example/security"
        in Client().get("/.well-known/security.txt").content.decode()
    )


@pytest.mark.parametrize("cookie", ["sessionid", "csrftoken", "messages", "known-member", "x"])
def test_a_cookie_that_is_not_text_is_ignored(cookie: str, client: Client) -> None:
    response = Client(HTTP_COOKIE=f"{cookie}=a\0b").get("/membership/")
    assert response.status_code == 302


@pytest.mark.parametrize("charset", ["rot13", "utf-16", "utf-7", "raw_unicode_escape", "nonsense", "zlib"])
@pytest.mark.parametrize(
    "content_type", ["application/x-www-form-urlencoded", "multipart/form-data; boundary=a"]
)
def test_another_encoding_is_refused(charset: str, content_type: str) -> None:
    response = Client().generic("POST", "/sign-in/", b"email=a", f"{content_type}; charset={charset}")
    assert response.status_code == 400


def test_an_unreadable_content_type_is_answered_with_400() -> None:
    answers: list[str] = []
    environ = Client()._base_environ(PATH_INFO="/sign-in/", CONTENT_TYPE="a/b; x*=nonsense''y")
    environ["wsgi.errors"] = None
    list(application(environ, lambda status, _: answers.append(status)))
    assert answers == ["400 Bad Request"]


@pytest.mark.parametrize(
    ("asked_for", "led_to"),
    [
        ("word", "/"),
        ("/nowhere/", "/"),
        ("/sign-out/", "/"),
        ("//evil.example", "/"),
        ("/" + "a" * 3000, "/"),
        ("\0", "/"),
        ("/membership/?a=1", "/membership/?a=1"),
    ],
)
def test_no_link_prevents_members_from_signing_in(asked_for: str, led_to: str, mia: Member) -> None:
    Member.objects.update(password_hash=hashed("correct horse"))
    form = {"email": "mia@acme.example", "password": "correct horse", "next": asked_for}
    browser = Client()
    assert browser.post("/sign-in/", form).headers["Location"] == led_to
    assert browser.get("/sign-in/", {"next": asked_for}).headers["Location"] == led_to


@pytest.mark.parametrize("asked_for", ["word", "//evil.example", "/admin/logout/", "\0"])
def test_no_link_prevents_staff_from_signing_in(asked_for: str) -> None:
    AdminFactory.create(email="ada@council.example", password_hash=hashed("correct horse"))
    form = {"username": "ada@council.example", "password": "correct horse"}
    browser = Client()
    assert browser.get("/admin/login/", {"next": asked_for}).status_code == 200
    assert browser.post("/admin/login/", {**form, "next": asked_for}).headers["Location"] == "/admin/"


@pytest.mark.parametrize(
    "query",
    ["email__regex=(", "email__iregex=((a*)*)*", "created_at__year=99999", "created_at__gte=10000-01-01", "last_active_at__date=x",
     "created_at__year=-1", "total_points__gt=1e400", "current_period_end__contained_by=1__2", "total_points=99999999999999999999", "q=%00", "email=%00", "o=99.-9", "p=x"],
)  # fmt: skip
def test_an_invalid_filter_is_not_a_server_error(query: str, sams_browser: Client) -> None:
    sams_browser.raise_request_exception = False
    assert sams_browser.get(f"/admin/council/member/?{query}").status_code in {200, 302, 400}


# Errors.

ERRORS: dict[str, Callable[[], object]] = {
    "a value": lambda: int(SECRET),
    "a key": lambda: dict[str, str]()[SECRET],
    "an assertion": lambda: (_ for _ in ()).throw(AssertionError(SECRET)),
    "a row that is there": lambda: _twice(),  # noqa: PLW0108  # it is below
    "an error of ours": lambda: _ours(f"{EMAIL} has {SECRET}"),
}


def _ours(words: str) -> None:
    raise RuntimeError(words)


def _twice() -> None:
    with transaction.atomic():
        MemberFactory.create(email=SECRET)
        MemberFactory.create(email=SECRET)


def _caused() -> None:
    try:
        int(SECRET)
    except ValueError as error:
        raise LookupError(SECRET) from error


ERRORS["a cause"] = _caused


def broken(request: HttpRequest, what: str) -> None:
    ERRORS[what]()


@pytest.fixture
def _broken_page(settings: Any) -> None:
    settings.ROOT_URLCONF = type(
        "Broken",
        (),
        {
            "urlpatterns": [path("broken/<str:what>/", broken), *urls.urlpatterns],
            "handler500": staticmethod(views.server_error),
        },
    )


@pytest.fixture
def log_lines() -> Iterator[list[str]]:
    """Collects everything that is logged."""
    lines: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(self.format(record))

    handler = Keep()
    handler.setFormatter(logs.Formatter())
    logging.getLogger().addHandler(handler)
    yield lines
    logging.getLogger().removeHandler(handler)


@pytest.mark.usefixtures("_broken_page")
@pytest.mark.parametrize("what", ERRORS)
def test_the_log_has_the_place_of_an_error_but_nothing_that_was_sent(
    what: str, mia: Member, log_lines: list[str]
) -> None:
    Member.objects.update(password_hash=hashed(SECRET))
    browser = Client(raise_request_exception=False)
    browser.post("/sign-in/", {"email": "mia@acme.example", "password": SECRET})
    response = browser.post(
        f"/broken/{what}/?token={SECRET}",
        {"password": SECRET, "answer": SECRET},
        HTTP_AUTHORIZATION=f"Bearer {SECRET}",
        HTTP_COOKIE=f"sessionid={browser.cookies['sessionid'].value}; x={SECRET}",
    )
    assert response.status_code == 500
    text = "\n".join(log_lines)
    assert SECRET not in text
    assert "mia@acme.example" not in text
    request_id = response.headers["X-Request-ID"]
    assert request_id in response.content.decode()
    assert (
        f"[POST /broken/{what}/, account {mia.account.pk}, request {request_id}]".replace("/, ", "/, ")
        in text
    )
    assert 'test_requests.py", line' in text


# Queries of the middleware, and queries of pages.
LETS_IN = re.compile(r'FROM "(django_session|council_account|Member|Admin)"|council_signinfailures')
SIGN_OUT = {"council:sign-out", "council:sessions", "admin:logout", "admin:sessions"}
KEPT_FIELDS = re.compile(r"(TOTAL|INITIAL|MIN_NUM|MAX_NUM)_FORMS$|^action$|^_selected_action$")


def test_no_page_logs_anything_that_was_sent_or_stored(
    mia: Member, sam: Account, sams_browser: Client, log_lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Requests each page and sends its form with a secret, while the database fails with messages that quote it.

    Members' pages and the sign-in pages are also tried with a working database.
    """
    monkeypatch.setattr(throttle, "MAX_POSTS", 10_000)
    Member.objects.update(first_name=SECRET, company=SECRET, password_hash=hashed(SECRET))
    StripeEvent.objects.create(event_id=SECRET, type=SECRET, payload={"secret": SECRET})
    members_browser = Client()
    members_browser.force_login(auth._account(member=mia))
    stranger = Client()
    for browser in (sams_browser, members_browser, stranger):
        browser.raise_request_exception = False

    def refuse(execute: Any, sql: Any, *given: Any) -> Any:
        if LETS_IN.search(str(sql)):
            return execute(sql, *given)
        raise DataError(f"invalid input: {SECRET}") from ValueError(SECRET)

    statuses: Counter[int] = Counter()
    for address in fuzz.addresses(get_resolver()):
        path = address.format % dict.fromkeys(address.parameters, mia.pk)
        is_door = address.name in {"council:sign-in", "admin:login", "admin:second-factor"}
        browser = stranger if is_door else sams_browser if path.startswith("/admin/") else members_browser
        form = fuzz.Forms()
        if browser is not sams_browser:
            with suppress(UnicodeDecodeError, AttributeError):
                form.feed(browser.get(path).content.decode())
        filled = {key: value if KEPT_FIELDS.search(key) else SECRET for key, value in form.fields.items()}
        sent = {"email": SECRET, "password": SECRET, "code": SECRET, "reason": SECRET} | filled
        for is_refused in (True, False):
            if not is_refused and (browser is sams_browser or address.name in SIGN_OUT):
                continue
            with connection.execute_wrapper(refuse) if is_refused else nullcontext():
                for response in (
                    browser.get(path, {"q": SECRET}),
                    browser.post(f"{path}?token={SECRET}", sent, HTTP_AUTHORIZATION=SECRET),
                ):
                    statuses[response.status_code] += 1
    assert statuses[500] > 100, statuses
    assert statuses[200] > 10, statuses
    assert len(log_lines) > 100
    assert [line for line in log_lines if SECRET in line] == []


def test_a_log_record_is_one_line_for_any_path() -> None:
    record = logging.LogRecord("council", logging.WARNING, "", 1, "a\nb %s", ("mia@acme.example",), None)
    assert logs.Formatter().format(record).endswith(r"WARNING council: a\nb [left out]")


@pytest.mark.parametrize("error", [OperationalError("gone"), DataError("no date"), IntegrityError("taken")])
def test_only_certain_database_errors_are_an_outage(error: Exception) -> None:
    assert outage.is_outage(error) == isinstance(error, OperationalError)


def test_an_outage_in_the_middleware_is_answered_with_503(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: Any, **__: Any) -> None:
        raise OperationalError("the connection is lost")

    browser = Client(HTTP_COOKIE=f"sessionid={'a' * 32}", raise_request_exception=False)
    monkeypatch.setattr(BaseDatabaseWrapper, "cursor", away)
    for address in ("/membership/", "/admin/", "/"):
        response = browser.get(address)
        assert (response.status_code, response.headers.get("Retry-After")) == (503, "5"), response.content
