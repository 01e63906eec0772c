"""Measure the sign-in pages: a member's page during 100 staff attempts, the time of a sign-in, and recovery.

    python -m tests.performance.door

Uses a private server with production's durability, and gunicorn with 2 processes of 8 threads.
"""

import argparse
import json
import os
import random
import re
import statistics
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from itertools import combinations
from typing import Any

import argon2
import psycopg

from tests.performance.measuring import Server, gunicorn, private_server
from tests.serving import OPENER, behind_pgbouncer

PASSWORD = "correct horse"
HASHED = argon2.PasswordHasher(time_cost=2, memory_cost=19456, parallelism=1).hash(PASSWORD)
PEOPLE = """
INSERT INTO "Member" (id, email, "passwordHash", "subscriptionStatus", "updatedAt")
VALUES ('m', 'mia@acme.example', %(hash)s, 'ACTIVE', now()), ('n', 'nora@acme.example', NULL, 'ACTIVE', now());
INSERT INTO "Admin" (id, email, "passwordHash", "updatedAt") VALUES ('a', 'ada@council.example', %(hash)s, now())
"""


def request(
    port: int, path: str, *, form: dict[str, str] | None = None, cookies: str = "", address: str = "192.0.2.1"
) -> tuple[int, str, str, float]:
    """Send a request as a proxy that ends TLS would. Returns status, body, cookies and seconds."""
    headers = {
        "X-Forwarded-Proto": "https",
        "X-Forwarded-For": address,
        "Host": "council.example",
        "Referer": "https://council.example/",
        "Cookie": cookies,
    }
    body = urllib.parse.urlencode(form).encode() if form is not None else None
    ask = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data=body, headers=headers)
    began = time.monotonic()
    try:
        response = OPENER.open(ask, timeout=120)
    except urllib.error.HTTPError as error:
        response = error
    with response:
        text = response.read().decode(errors="replace")
        given = "; ".join(each.partition(";")[0] for each in response.headers.get_all("Set-Cookie") or [])
        return response.status or 0, text, given, time.monotonic() - began


def door(port: int, path: str) -> tuple[str, str]:
    """Open a sign-in page. Returns the cookie and the token that its form needs."""
    _, text, cookies, _ = request(port, path)
    found = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', text)
    assert found
    return cookies, found[1]


def environment(server: Server, database: str) -> dict[str, str]:
    return {
        "DATABASE_URL": server.url(database),
        "SECRET_KEY": "for measuring only",
        "DEBUG": "off",
        "ALLOWED_HOSTS": "council.example",
        "LOG_LEVEL": "CRITICAL",
        "DJANGO_SETTINGS_MODULE": "tests.settings_of_measured_server",
        "WEB_CONCURRENCY": "2",
    }


def waits(port: int, *, attempts: int) -> dict[str, Any]:
    """Make this many staff attempts at once, each from another address, while a member reads a page."""
    cookies, token = door(port, "/sign-in/")
    form = {"email": "mia@acme.example", "password": PASSWORD, "csrfmiddlewaretoken": token}
    status, _, signed_in, _ = request(port, "/sign-in/", form=form, cookies=cookies)
    assert status == 302, status
    quiet = [request(port, "/membership/", cookies=signed_in)[3] for _ in range(20)]
    cookies, token = door(port, "/admin/login/")
    statuses: list[int] = []
    start = threading.Barrier(attempts + 1)

    def attempt(number: int) -> None:
        given = {"username": f"nobody{number}@x.example", "password": "wrong", "csrfmiddlewaretoken": token}
        start.wait()
        statuses.append(
            request(port, "/admin/login/", form=given, cookies=cookies, address=f"198.51.100.{number}")[0]
        )

    threads = [threading.Thread(target=attempt, args=[number]) for number in range(attempts)]
    for thread in threads:
        thread.start()
    start.wait()
    seen = []
    while any(thread.is_alive() for thread in threads):
        answer = request(port, "/membership/", cookies=signed_in)
        assert answer[0] == 200
        seen.append(answer[3])
    return {
        "quiet median ms": round(statistics.median(quiet) * 1000),
        "longest ms": round(max(seen) * 1000),
        "pages read meanwhile": len(seen),
        "attempts by status": {status: statuses.count(status) for status in sorted(set(statuses))},
    }


CASES = {
    "member, wrong password": ("/sign-in/", "email", "mia@acme.example"),
    "member, no password": ("/sign-in/", "email", "nora@acme.example"),
    "member, unknown": ("/sign-in/", "email", "nobody@acme.example"),
    "staff, wrong password": ("/admin/login/", "username", "ada@council.example"),
    "staff, unknown": ("/admin/login/", "username", "nobody@council.example"),
    "superuser, wrong password": ("/admin/login/", "username", "sam"),
}


def timing(port: int, server: Server, database: str, *, rounds: int) -> dict[str, Any]:
    """Time each case in turn, each from another address. Compare all pairs of a sign-in page by rank sums."""
    seconds: dict[str, list[float]] = {case: [] for case in CASES}
    doors = {path: door(port, path) for path in ("/sign-in/", "/admin/login/")}
    with server.connect(database) as session:
        for number in range(rounds):
            for case, (path, field, name) in random.sample(sorted(CASES.items()), len(CASES)):
                cookies, token = doors[path]
                form = {field: name, "password": "wrong", "csrfmiddlewaretoken": token}
                session.execute("DELETE FROM council_signinfailures")
                status, _, _, took = request(
                    port, path, form=form, cookies=cookies, address=f"203.0.113.{number % 250}"
                )
                assert status == 200, (case, status)
                seconds[case].append(took)
    found = {}
    for one, other in combinations(CASES, 2):
        if CASES[one][0] == CASES[other][0]:
            found[f"{one} / {other}"] = round(z_score(seconds[one], seconds[other]), 2)
    medians = {case: round(statistics.median(each) * 1000, 1) for case, each in seconds.items()}
    return {"n": rounds, "median ms": medians, "z of each pair": found}


def z_score(one: list[float], other: list[float]) -> float:
    """Compute Mann and Whitney's rank sum, as standard deviations from the expected value. Below 3 may be chance."""
    ranked = sorted([(value, True) for value in one] + [(value, False) for value in other])
    rank_sum = sum(place for place, (_, is_one) in enumerate(ranked, 1) if is_one)
    n, m = len(one), len(other)
    spread: float = (n * m * (n + m + 1) / 12) ** 0.5
    return (rank_sum - n * (n + m + 1) / 2) / spread


def recovery(*, times: int) -> list[float]:
    """Stop and start PostgreSQL behind PgBouncer, and measure how many seconds after the start pages work again."""
    found = []
    with behind_pgbouncer(PAGE_STATEMENT_SECONDS="5") as site:
        assert site.page().status == 302
        for _ in range(times):
            site.server.stop()
            assert site.page().status == 503
            site.server.start()
            with psycopg.connect(site.database.url):
                began = time.monotonic()
            while site.page().status != 302:
                time.sleep(0.01)
            found.append(round(time.monotonic() - began, 3))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure a member's page during attempts, and sign-ins.")
    parser.add_argument("--rounds", type=int, default=150)
    parser.add_argument("--attempts", type=int, default=100)
    given = parser.parse_args()
    with private_server() as server:
        server.migrate("door")
        with server.connect("door") as session:
            for statement in PEOPLE.split(";"):
                session.execute(statement.encode(), {"hash": HASHED})
            session.execute(
                "INSERT INTO council_account (username, password, is_staff, is_superuser, is_active, created_at)"
                " VALUES ('sam', %s, true, true, true, now())",
                [f"argon2{HASHED}"],
            )
        with gunicorn(environment(server, "door")) as site:
            port = site.port
            result: dict[str, Any] = {
                **server.record(),
                "waits": [waits(port, attempts=given.attempts) for _ in range(3)],
                "timing": timing(port, server, "door", rounds=given.rounds),
            }
    print(json.dumps(result, indent=2))  # noqa: T201


def main_recovery() -> None:
    """Run `python -m tests.performance.door recovery`, which needs Django's settings and uses the tests' server."""
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
    import django  # noqa: PLC0415

    django.setup()
    print(json.dumps({"seconds until pages work again": recovery(times=5)}))  # noqa: T201


if __name__ == "__main__":
    main_recovery() if sys.argv[1:] == ["recovery"] else main()
