"""Failed sign-ins: what is counted, and when, for whom and how long sign-in is blocked."""
# ruff: noqa: E501  # long test names

import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import connection
from django.http import HttpResponse
from django.test import Client, RequestFactory
from django.utils import timezone

from council import auth, passwords, throttle
from council import settings as council_settings
from council.accounts.models import Account
from council.models import Admin, Member, SignInFailures
from tests.databases import ROOT, Database
from tests.factories import AdminFactory, MemberFactory, hashed

pytestmark = [pytest.mark.django_db, pytest.mark.any_server]
PASSWORD = "correct horse"
OPEN = {200, 302}


@pytest.fixture
def mia(mia: Member) -> Member:
    mia.password_hash = hashed(PASSWORD)
    mia.save()
    return mia


@pytest.fixture(autouse=True)
def _nobodys_password_is_cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "_NOBODYS", hashed("nobody's"))


@pytest.fixture
def ada(db: None) -> Admin:
    return AdminFactory.create(email="ada@council.example", password_hash=hashed(PASSWORD))


def member_door(
    password: str = "wrong",
    *,
    email: str = "mia@acme.example",
    at: str = "192.0.2.1",
    browser: Client | None = None,
) -> HttpResponse:
    form = {"email": email, "password": password}
    return (browser or Client()).post("/sign-in/", form, REMOTE_ADDR=at)  # type: ignore[return-value]


def staff_door(
    password: str = "wrong",
    *,
    email: str = "ada@council.example",
    at: str = "192.0.2.1",
    browser: Client | None = None,
) -> HttpResponse:
    form = {"username": email, "password": password}
    return (browser or Client()).post("/admin/login/", form, REMOTE_ADDR=at)  # type: ignore[return-value]


doors = pytest.mark.parametrize(
    ("door", "email"), [(member_door, "mia@acme.example"), (staff_door, "ada@council.example")]
)
Door = Callable[..., HttpResponse]


@doors
def test_the_sixth_attempt_is_refused_with_any_password(
    door: Door, email: str, mia: Member, ada: Admin
) -> None:
    assert [door().status_code for _ in range(5)] == [200] * 5
    response = door(PASSWORD)
    assert response.status_code == 429
    assert 14 * 60 < int(response.headers["Retry-After"]) <= 15 * 60
    assert response.headers["Cache-Control"] == "no-store, private"
    assert "for the next 15 minutes, even with the right password." in response.content.decode()


@doors
def test_an_unknown_email_gets_the_same_answers(door: Door, email: str, mia: Member, ada: Admin) -> None:
    def answers(who: str) -> list[tuple[int, str]]:
        responses = [door(email=who, at="192.0.2.7" if who == email else "192.0.2.8") for _ in range(6)]
        words = (re.sub(r'(value|content)="[^"]*"', "", response.content.decode()) for response in responses)
        return [(response.status_code, text) for response, text in zip(responses, words, strict=True)]

    assert answers(email) == answers("nobody@example.com")


@doors
def test_the_right_password_takes_its_count_back_and_clears_earlier_failures(
    door: Door, email: str, mia: Member, ada: Admin
) -> None:
    for _ in range(3):
        assert [door().status_code for _ in range(4)] == [200] * 4
        assert door(PASSWORD).status_code == 302


@doors
def test_failures_do_not_count_after_the_window(door: Door, email: str, mia: Member, ada: Admin) -> None:
    for _ in range(6):
        door()
    SignInFailures.objects.update(forgotten_at=timezone.now())
    assert door(PASSWORD).status_code == 302


def test_a_row_is_kept_for_as_long_as_its_last_failure_counts(mia: Member) -> None:
    for _ in range(2):
        member_door()
    minutes = [
        (row.forgotten_at - row.failed_at[-1]).total_seconds() / 60 for row in SignInFailures.objects.all()
    ]
    assert minutes == [15.0] * 3


def test_refused_attempts_do_not_prolong_the_wait(mia: Member) -> None:
    for _ in range(5):
        member_door()
    before = list(SignInFailures.objects.order_by("key").values())
    for _ in range(60):
        assert member_door().status_code == 429
    assert list(SignInFailures.objects.order_by("key").values()) == before


def test_a_member_locked_out_at_one_address_signs_in_at_another(mia: Member) -> None:
    for _ in range(6):
        member_door()
    assert member_door(PASSWORD, at="192.0.2.2").status_code == 302


def test_one_address_cannot_try_many_members(mia: Member) -> None:
    MemberFactory.create(email="own@evil.example", password_hash=hashed("mine"))
    tried = 0
    for number in range(60):
        tried += member_door(email=f"victim{number}@example.com").status_code in OPEN
        member_door("mine", email="own@evil.example")  # its count is taken back, and no other
    assert tried <= 50
    assert member_door(PASSWORD).status_code == 429
    assert member_door(PASSWORD, at="192.0.2.2").status_code == 302


def test_many_addresses_cannot_guess_at_one_member_who_still_signs_in_with_a_known_browser(
    mia: Member,
) -> None:
    known = Client()
    assert member_door(PASSWORD, browser=known).status_code == 302
    known.post("/sign-out/")
    tried = [member_door(at=f"198.51.100.{number}").status_code for number in range(40)]
    assert tried == [200] * 30 + [429] * 10
    assert member_door(PASSWORD, at="192.0.2.2").status_code == 429
    assert member_door(PASSWORD, browser=known).status_code == 302


def test_a_known_browser_is_known_only_for_its_member_and_page(mia: Member, carl: Member) -> None:
    known = Client()
    member_door(PASSWORD, browser=known)
    known.post("/sign-out/")
    for number in range(30):
        member_door(email="carl@acme.example", at=f"198.51.100.{number}")
        staff_door(email="mia@acme.example", at=f"198.51.100.{number}")
    assert member_door(email="carl@acme.example", browser=known).status_code == 429
    assert staff_door(email="mia@acme.example", browser=known).status_code == 429


def test_a_known_browser_has_five_attempts_itself(mia: Member) -> None:
    known = Client()
    member_door(PASSWORD, browser=known)
    known.post("/sign-out/")
    assert [member_door(browser=known).status_code for _ in range(6)] == [200] * 5 + [429]


@pytest.mark.parametrize(("days", "answer"), [(179, 302), (181, 429)])
def test_a_browser_is_known_for_180_days(
    mia: Member, days: int, answer: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = Client()
    member_door(PASSWORD, browser=known)
    known.post("/sign-out/")
    cookie = known.cookies["known-member"].value
    for number in range(30):
        member_door(at=f"198.51.100.{number}")
    later = time.time() + days * 24 * 3600
    monkeypatch.setattr("django.core.signing.time.time", lambda: later)
    browser = Client()  # which sends its cookie, however old
    browser.cookies["known-member"] = cookie
    assert member_door(PASSWORD, browser=browser).status_code == answer


@pytest.mark.parametrize("value", ["", "x", "x:y:z", "\0", "ImEi:1tX:abc"])
def test_a_forged_cookie_does_not_make_a_browser_known(mia: Member, value: str) -> None:
    browser = Client()
    browser.cookies["known-member"] = value
    for _ in range(5):
        member_door(browser=browser)
    assert member_door(browser=browser).status_code == 429


def test_the_cookie_of_a_known_browser_is_http_only_and_names_nobody(mia: Member) -> None:
    cookie = member_door(PASSWORD).cookies["known-member"]
    assert (cookie["httponly"], cookie["samesite"]) == (True, "Lax")
    assert "mia" not in cookie.value


def test_staff_are_counted_in_upper_and_lower_case_together(ada: Admin) -> None:
    for email in ("ada@council.example", "Ada@council.example", "ADA@council.example", "aDA@x", "aDa@x"):
        staff_door(email=email)
    assert SignInFailures.objects.filter(failures=3).count() == 2


def test_an_incomplete_form_does_not_count(mia: Member) -> None:
    for _ in range(10):
        member_door("")
        member_door(email="")
        member_door("x" * 5000)
        staff_door("")
    assert not SignInFailures.objects.exists()


def test_stored_rows_name_nobody_and_are_deleted(mia: Member) -> None:
    member_door()
    assert all(re.fullmatch("[0-9a-f]{64}", row.key) for row in SignInFailures.objects.all())
    SignInFailures.objects.update(forgotten_at=timezone.now())
    member_door(email="other@example.com", at="192.0.2.2")
    assert SignInFailures.objects.count() == 3
    assert not SignInFailures.objects.filter(forgotten_at__lte=timezone.now()).exists()


def test_finding_old_rows_scans_no_table(db: None) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO council_signinfailures SELECT 'k' || n, 1, now() + interval '1 hour' "
            "FROM generate_series(1, 20000) AS n; ANALYZE council_signinfailures"
        )
        cursor.execute(f"EXPLAIN {throttle.FORGET}")
        plan = "\n".join(line for (line,) in cursor.fetchall())
    assert "council_signinfailures_forgotten_at_idx" in plan


@pytest.mark.parametrize(
    ("proxies", "remote", "forwarded", "network"),
    [
        (0, "192.0.2.1", "203.0.113.9", "192.0.2.1"),
        (1, "10.0.0.1", "203.0.113.9", "203.0.113.9"),
        (1, "10.0.0.1", "1.1.1.1, 203.0.113.9", "203.0.113.9"),
        (2, "10.0.0.1", "1.1.1.1, 203.0.113.9, 10.0.0.2", "203.0.113.9"),
        (2, "10.0.0.1", "203.0.113.9", "10.0.0.1"),
        (1, "10.0.0.1", "", "10.0.0.1"),
        (1, "10.0.0.1", "nonsense", "10.0.0.1"),
        (0, "", "", "unknown"),
        (0, "2001:db8:1:2:3:4:5:6", "", "2001:db8:1:2::/64"),
        (0, "2001:db8:1:2::1", "", "2001:db8:1:2::/64"),
        (0, "::ffff:192.0.2.1", "", "192.0.2.1"),
    ],
)
def test_the_address_is_the_one_that_the_first_trusted_proxy_saw(
    proxies: int, remote: str, forwarded: str, network: str, settings: Any
) -> None:
    settings.PROXY_COUNT = proxies
    request = RequestFactory().get("/", REMOTE_ADDR=remote, HTTP_X_FORWARDED_FOR=forwarded)
    assert throttle.client_network(request) == network


def test_an_invalid_proxy_count_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROXY_COUNT", "-1")
    with pytest.raises(ImproperlyConfigured, match="PROXY_COUNT is '-1'. Set it to a whole number."):
        council_settings.number("PROXY_COUNT", default=0)
    monkeypatch.setenv("PROXY_COUNT", "2")
    assert council_settings.number("PROXY_COUNT", default=0) == 2


ATTACK = """
import sys, threading, django
django.setup()
from django.db import connection
from django.test import RequestFactory
from council import auth, passwords, throttle

allowed = []

def attack(thread):
    for number in range(10):
        request = RequestFactory().post("/sign-in/", REMOTE_ADDR="192.0.2.1")
        try:
            throttle.begin(request, door="member", email=sys.argv[1].format(thread=thread, number=number))
            allowed.append(1)
        except throttle.TooManyFailures:
            pass
    connection.close()

threads = [threading.Thread(target=attack, args=[thread]) for thread in range(4)]
sys.stdin.readline()
for thread in threads: thread.start()
for thread in threads: thread.join()
print(len(allowed))
"""


@pytest.mark.parametrize(
    ("email", "limit"), [("mia@acme.example", 5), ("m{thread}{number}@acme.example", 50)]
)
def test_concurrent_processes_share_the_limit(migrated: Database, email: str, limit: int) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", ATTACK, email],
            cwd=ROOT,
            env=migrated.environment(DJANGO_SETTINGS_MODULE="council.settings"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    for process in processes:
        assert process.stdin
        process.stdin.write("go\n")
        process.stdin.flush()
    allowed = [int(process.communicate(timeout=120)[0]) for process in processes]
    assert sum(allowed) == limit


def test_no_spelling_of_a_name_gives_more_attempts(ada: Admin) -> None:
    """Python's folding treats the dotless i as another letter than i, but PostgreSQL's upper() makes both the same."""
    names = ["ada@council.example", "ADA@COUNCIL.EXAMPLE", "ada@counc\u0131l.example", "ADA@COUNC\u0131L.EXAMPLE", "\uff41da@council.example",
             " ada@council.example ", "aDa@council.example", "ada@counci\uff4c.example"]  # fmt: skip
    found = [name for name in names if auth.StaffBackend().authenticate(None, name.strip(), PASSWORD)]
    assert len(found) >= 3
    looked_at = [
        name
        for number in range(80)
        if staff_door(email=(name := names[number % len(names)])).status_code == 200
    ]
    assert sum(name in found for name in looked_at) <= 5


def test_unknown_names_are_counted_in_the_same_way(db: None) -> None:
    names = ["nob\u0131dy@x.example", "NOBIDY@X.EXAMPLE", "nobidy@x.example", "Nob\u0131dy@x.example"]
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(DISTINCT upper(name)) FROM unnest(%s::text[]) AS name", [names])
        [(different,)] = cursor.fetchall()
    looked_at = sum(staff_door(email=names[number % 4]).status_code == 200 for number in range(40))
    assert looked_at == 5 * different


def test_the_limit_holds_across_the_edge_of_any_window(mia: Member) -> None:
    assert [member_door().status_code for _ in range(5)] == [200] * 5
    # Move them to the end of a window, so that only the first four are too old to count.
    with connection.cursor() as cursor:
        cursor.execute(
            """UPDATE council_signinfailures SET failed_at = ARRAY(
                 SELECT moment - interval '14 minutes' - CASE WHEN place < 5 THEN interval '2 minutes' ELSE '0' END
                   FROM unnest(failed_at) WITH ORDINALITY AS u (moment, place))"""
        )
    assert [member_door().status_code for _ in range(6)] == [200] * 4 + [429] * 2


@pytest.mark.parametrize(
    ("door", "url", "field"), [(member_door, "/sign-in/", "email"), (staff_door, "/admin/login/", "username")]
)
def test_an_attempt_costs_one_hash_for_any_name(
    door: Door, url: str, field: str, mia: Member, ada: Admin, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    settings.PASSWORD_HASHERS = ["council.passwords.Argon2Hasher"]
    Account.objects.create_superuser("sam", "a horse of sam's")
    hashes = 0
    verify = passwords._hasher.verify

    def counted(*given: Any) -> bool:
        nonlocal hashes
        hashes += 1
        return verify(*given)

    monkeypatch.setattr(passwords, "_hasher", type("Counted", (), {"verify": staticmethod(counted)}))
    monkeypatch.setattr("django.contrib.auth.hashers.verify_password", counted)
    for name in ("mia@acme.example", "ada@council.example", "sam", "nobody@x.example", "\0", "x" * 200):
        hashes = 0
        Client().post(url, {field: name, "password": "wrong"})
        assert hashes <= 1, name
        if name != "\0":
            assert hashes == 1, name


def test_more_than_a_few_at_once_are_told_to_come_back(mia: Member, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throttle, "_slots", throttle.Slots(1))
    monkeypatch.setattr(throttle, "WAIT_FOR_A_SLOT_SECONDS", 0.01)
    with throttle.slot():
        response = member_door(PASSWORD)
    assert (response.status_code, response.headers["Retry-After"]) == (503, "5")
    assert "Too many people are signing in at the moment" in response.content.decode()
    assert not SignInFailures.objects.exists()
    assert member_door(PASSWORD).status_code == 302


def test_a_slot_is_released_after_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throttle, "WAIT_FOR_A_SLOT_SECONDS", 0.01)
    slots = throttle.Slots(1)
    for _ in range(4):
        with pytest.raises(RuntimeError, match="in between"), slots.one():
            raise RuntimeError("in between")
    for _ in range(4):
        with slots.one(), pytest.raises(throttle.Crowded), slots.one():
            pass


def test_an_account_has_a_limited_number_of_forms_a_minute(mia: Member) -> None:
    browser = Client()
    member_door(PASSWORD, browser=browser)
    answers = [browser.post("/leaderboard/privacy/", {"listed": "yes"}).status_code for _ in range(62)]
    assert answers[60:] == [429] * 2
    assert set(answers[:60]) == {302}
    assert browser.get("/membership/").status_code == 200


def test_wrong_old_passwords_are_counted(settings: Any) -> None:
    sam = Account.objects.create_superuser("sam", "a horse of sam's")
    browser = Client()
    browser.force_login(sam)
    form = {"old_password": "wrong", "new_password1": "battery staple", "new_password2": "battery staple"}
    answers = [browser.post("/admin/password_change/", form).status_code for _ in range(7)]
    assert answers == [200] * 5 + [429] * 2


@pytest.mark.parametrize(
    ("remote", "network"),
    [
        ("203.0.113.9:4711", "203.0.113.9"),
        ("[2001:db8:1:2::1]:443", "2001:db8:1:2::/64"),
        ("[2001:db8:1:2::1]", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("2002:c000:0201::1", "192.0.2.1"),
        ("64:ff9b::192.0.2.1", "192.0.2.1"),
        ("192.0.2.1:", "unknown"),
    ],
)
def test_an_address_is_read_in_every_spelling(remote: str, network: str, settings: Any) -> None:
    settings.PROXY_COUNT = 0
    assert throttle.client_network(RequestFactory().get("/", REMOTE_ADDR=remote)) == network


def test_no_more_than_one_waits_for_each_slot(monkeypatch: pytest.MonkeyPatch) -> None:
    """One is inside and one waits. The third is refused at once."""
    monkeypatch.setattr(throttle, "WAIT_FOR_A_SLOT_SECONDS", 20)
    slots, came_in = throttle.Slots(1), threading.Event()

    def wait() -> None:
        with slots.one():
            came_in.set()

    waiting = threading.Thread(target=wait)
    with slots.one():
        waiting.start()
        while slots._waiting._value:
            assert waiting.is_alive()
        with pytest.raises(throttle.Crowded), slots.one():
            pass
        assert not came_in.is_set()
    waiting.join(20)
    assert came_in.is_set()
