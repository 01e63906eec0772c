"""The throttle's figures and edges, without passwords: waits, places, forms, what is forgotten, who is remembered."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser
from django.core import signing
from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory
from django.utils import timezone

from council import throttle
from council.models import SignInFailures
from tests.factories import AccountFactory

pytestmark = pytest.mark.any_server


def request_of(
    method: str = "post", path: str = "/points/", *, at: str = "192.0.2.1", user: Any = None
) -> Any:
    request = getattr(RequestFactory(), method)(path, REMOTE_ADDR=at)
    request.user = user or AnonymousUser()
    request.resolver_match = SimpleNamespace(view_name="points:page", app_names=[])
    return request


@pytest.mark.parametrize(
    ("moments", "limit", "seconds"),
    [
        ([0, 10, 20, 30, 40, 50.5], 5, 10),  # 9.5, rounded up
        ([0, 10, 20, 30, 40, 50.5], 4, 20),
        ([0, 10, 20, 30, 40, 50.5], 9, 10),
        ([0, 0, 0], 1, 60),
        ([0, 60], 1, 1),
    ],
)
def test_the_wait_is_until_the_oldest_that_counts_leaves_the_window(
    moments: list[float], limit: int, seconds: int
) -> None:
    began = datetime(2026, 1, 1, tzinfo=UTC)
    counted = throttle.Count([began + timedelta(seconds=moment) for moment in moments], 60)
    assert counted.number == len(moments)
    assert counted.seconds_until_below(limit) == seconds


def test_of_several_limits_the_longest_wait_is_told(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throttle, "MAX_FAILURES", {"address and email": 1, "email": 2, "address": 2})
    throttle.begin(request_of(), door="member", email="a@x.example")
    SignInFailures.objects.update(failed_at=[timezone.now() - timedelta(minutes=10)])
    throttle.begin(request_of(at="192.0.2.2"), door="member", email="a@x.example")
    with pytest.raises(throttle.TooManyFailures, match="Too many failures. Try again in (899|900) seconds."):
        # This address and name may go on in 15 minutes, the name in 5.
        throttle.begin(request_of(at="192.0.2.2"), door="member", email="a@x.example")


def test_an_attempt_that_is_refused_counts_nowhere(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throttle, "MAX_FAILURES", {"address and email": 1, "email": 9, "address": 9})
    throttle.begin(request_of(), door="member", email="a@x.example")
    for _ in range(2):
        with pytest.raises(throttle.TooManyFailures) as refusal:
            throttle.begin(request_of(), door="member", email="a@x.example")
        assert refusal.value.seconds == 15 * 60
    assert set(SignInFailures.objects.values_list("failures", flat=True)) == {1}


# Forms.


def test_60_forms_a_minute_are_taken_of_one_account_or_address(db: None) -> None:
    anna, ben = AccountFactory.create(), AccountFactory.create()
    for user in (None, anna):
        for _ in range(60):
            throttle.count_post(request_of(user=user))
        with pytest.raises(throttle.TooMany, match="Too many forms. Try again in (59|60) seconds."):
            throttle.count_post(request_of(user=user))
    with pytest.raises(throttle.TooMany):
        throttle.count_post(request_of(user=anna, at="192.0.2.2"))
    throttle.count_post(request_of(user=ben))
    throttle.count_post(request_of(at="192.0.2.2"))
    kept = [(row.forgotten_at - row.failed_at[-1]).total_seconds() for row in SignInFailures.objects.all()]
    assert kept == [60.0] * 4


def through(request: Any, *, raising: Exception | None = None) -> HttpResponse | None:
    middleware = throttle.Throttle(lambda request: HttpResponse())
    return middleware.process_exception(request, raising) if raising else middleware.process_view(request)


@pytest.mark.parametrize(
    ("method", "view_name", "is_counted"),
    [
        ("post", "points:page", True),
        ("put", "points:page", True),
        ("get", "points:page", False),
        ("head", "points:page", False),
        ("options", "points:page", False),
        ("trace", "points:page", False),
        ("post", "council:sign-in", False),
        ("post", "admin:login", False),
    ],
)
def test_what_changes_something_is_counted_as_a_form_except_sign_ins(
    method: str, view_name: str, is_counted: bool, db: None
) -> None:
    request = request_of(method)
    request.resolver_match.view_name = view_name
    assert through(request) is None
    assert SignInFailures.objects.exists() is is_counted


def test_a_form_to_nowhere_is_counted_too(db: None) -> None:
    request = request_of()
    request.resolver_match = None
    assert through(request) is None
    assert SignInFailures.objects.exists()


@pytest.mark.parametrize(("seconds", "words"), [(60, "the next 1 minute,"), (61, "the next 2 minutes,")])
def test_too_many_are_told_when_to_come_back(seconds: int, words: str) -> None:
    answer = through(request_of(), raising=throttle.TooManyFailures(seconds))
    assert answer
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, str(seconds))
    assert words in " ".join(answer.content.decode().split())


def test_a_form_above_the_limit_gets_that_answer(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throttle, "MAX_POSTS", 0)
    answer = through(request_of())
    assert answer
    assert answer.status_code == 429


def test_other_errors_are_left_to_others() -> None:
    assert through(request_of(), raising=ValueError()) is None


# What is forgotten.


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0
        self.forgotten: list[int] = []
        self.left: Iterator[Any] = iter(())
        self.session = SimpleNamespace(in_atomic_block=False)

    def forget(self) -> int:
        found: Any = next(self.left)
        if isinstance(found, Exception):
            raise found
        self.forgotten.append(found)
        return int(found)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time, "monotonic", lambda: clock.now)
    monkeypatch.setattr(throttle, "_forgotten_at", 1000.0)
    monkeypatch.setattr(throttle, "_forget", clock.forget)
    monkeypatch.setattr(throttle, "connection", clock.session)
    return clock


def requested(after_seconds: float, clock: Clock, *left: object) -> list[int]:
    clock.now, clock.left, clock.forgotten = 1000.0 + after_seconds, iter(left), []
    throttle.Throttle(lambda request: HttpResponse())(HttpRequest())
    return clock.forgotten


def test_old_rows_are_removed_once_a_minute_until_none_is_left(clock: Clock) -> None:
    assert requested(59, clock, 3) == []
    assert requested(60, clock, 100, 3, 0, 7) == [100, 3, 0]
    assert requested(119, clock, 3) == []
    assert requested(120, clock, 0) == [0]


def test_a_fault_while_old_rows_are_removed_is_left_to_the_next_time(clock: Clock) -> None:
    assert requested(60, clock, DatabaseError()) == []
    assert requested(120, clock, 0) == [0]


def test_old_rows_are_left_to_who_removes_them_already(clock: Clock) -> None:
    with throttle._forgetting:
        assert requested(60, clock, 3) == []
    assert requested(61, clock, 0) == [0]


def test_old_rows_are_left_within_a_transaction(clock: Clock) -> None:
    clock.session.in_atomic_block = True
    assert requested(60, clock, 3) == []


def test_up_to_100_rows_are_removed_at_once(db: None) -> None:
    SignInFailures.objects.bulk_create(
        SignInFailures(key=str(number), failures=1, forgotten_at=timezone.now(), failed_at=[])
        for number in range(101)
    )
    assert [throttle._forget() for _ in range(3)] == [100, 1, 0]


# Who is remembered.


def signed_in(door: throttle.Door, cookies: dict[str, str] | None = None) -> Any:
    """The answer to a request in which somebody has signed in."""
    request = request_of()
    request.COOKIES.update(cookies or {})

    def sign_in(request: HttpRequest) -> HttpResponse:
        throttle.begin(request, door=door, email="a@x.example").succeeded()
        return HttpResponse()

    return throttle.Throttle(sign_in)(request)


@pytest.mark.parametrize("door", ["member", "staff"])
def test_a_browser_keeps_its_name_when_it_signs_in_again(
    door: throttle.Door, db: None, settings: Any
) -> None:
    settings.SESSION_COOKIE_SECURE = True
    first = signed_in(door).cookies[f"known-{door}"]
    owner, browser = signing.loads(first.value, salt="council.throttle")
    assert (first["max-age"], first["secure"], first["httponly"]) == (180 * 24 * 3600, True, True)
    assert len(browser) == 22
    again = signed_in(door, {f"known-{door}": first.value}).cookies[f"known-{door}"]
    assert signing.loads(again.value, salt="council.throttle") == [owner, browser]
    settings.SESSION_COOKIE_SECURE = False
    assert not signed_in(door).cookies[f"known-{door}"]["secure"]


@pytest.mark.parametrize("door", ["password", "second factor"])
def test_behind_other_doors_no_browser_is_remembered(door: throttle.Door, db: None) -> None:
    assert not signed_in(door).cookies
    assert set(SignInFailures.objects.values_list("failures", flat=True)) == {0}


@pytest.mark.parametrize("value", [5, [1], [1, 2, 3], "ab", None])
def test_a_signed_cookie_of_another_shape_makes_no_browser_known(value: Any, db: None) -> None:
    request = request_of()
    request.COOKIES["known-member"] = signing.dumps(value, salt="council.throttle")
    assert set(throttle.begin(request, door="member", email="a@x.example").keys) == {
        "address",
        "address and email",
        "email",
    }


def test_an_attempt_tells_no_log_its_keys(db: None) -> None:
    attempt = throttle.begin(request_of(), door="member", email="a@x.example")
    assert not [key for key in attempt.keys.values() if key in repr(attempt).replace(attempt.email_key, "")]
    assert "moments" not in repr(attempt)
