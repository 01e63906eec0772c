"""Measure the members' pages on the production server, and how their times grow with the number of members.

    python -m tests.performance.pages [--members 100000] [--rounds 4] [--quick] [--json FILE]

Compares two communities, one with a hundredth of the other's members. Each member has ten ledger rows and five
downloads. There is one resource for each hundred members, and every eighth member has sent benchmark answers. Each
community has a gunicorn of four processes with gunicorn.conf.py. Eight members at a time request a page for some
seconds, over open connections. The pages, including one that reads one row, take turns, and so do the communities.
Prints a table, and writes every figure to build/pages.json.
"""

import argparse
import http.client
import itertools
import json
import logging
import os
import random
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
if __name__ == "__main__":
    django.setup()

from council.rehearsal import filling
from tests.performance import benchmarks, ledger_data, library
from tests.performance.measuring import PROJECT, Server, gunicorn, private_server, table

log = logging.getLogger(__name__)

PROCESSES, CLIENTS, SIGNED_IN = 4, 8, 50
MAX_GROWTH = 1.5
BASE = "a row by its key"
MEMBERS_A_RESOURCE, DOWNLOADS_A_MEMBER, MEMBERS_AN_ANSWER = 100, 5, 2

# Creates a session for each of some members, and prints the session keys on the last line.
SIGN_IN = """
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.sessions.backends.db import SessionStore
from council.accounts.models import Account
from council.models import Member
keys = []
for member in Member.objects.filter(subscription_status="ACTIVE").order_by("pk")[:{signed_in}]:
    account = Account.objects.create(username=member.pk, member=member)
    session = SessionStore()
    session[SESSION_KEY] = str(account.pk)
    session[BACKEND_SESSION_KEY] = "council.auth.MemberBackend"
    session[HASH_SESSION_KEY] = account.get_session_auth_hash()
    session.save()
    keys.append(session.session_key)
print(" ".join(keys))
"""


def environment(server: Server, database: str, **more: str) -> dict[str, str]:
    """Return production's variables for a database."""
    return {
        "DJANGO_SETTINGS_MODULE": "tests.settings_of_measured_server",
        "DATABASE_URL": server.url(database),
        "SECRET_KEY": "for measuring only",
        "DEBUG": "off",
        "ALLOWED_HOSTS": "127.0.0.1",
        "LOG_LEVEL": "ERROR",
        **more,
    }


def manage(server: Server, database: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=PROJECT,
        env={**os.environ, **environment(server, database)},
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return done.stdout


def fill(server: Server, database: str, *, members: int) -> list[str]:
    """Make a community. Returns the session keys of members who are signed in."""
    resources = max(members // MEMBERS_A_RESOURCE, 10)
    given = {"members": members, "resources": resources, "submissions": members // MEMBERS_AN_ANSWER}
    server.migrate(database)
    ledger_data.fill(server, database, members=members)
    with server.connect(database) as session:
        with filling.without_indexes(session, library.TABLES):
            session.execute("SET session_replication_role = replica; SET synchronous_commit = off")
            session.execute("SELECT setseed(0.5)")
            for statement in (
                library.RESOURCES,
                library.VERSIONS,
                library.TAGS,
                library.DOWNLOADS,
                library.COUNTS,
            ):
                last = members * DOWNLOADS_A_MEMBER
                is_plain = statement in {library.VERSIONS, library.TAGS, library.COUNTS}
                session.execute(statement.encode(), None if is_plain else {**given, "first": 1, "last": last})
            session.execute("SET session_replication_role = origin")
        session.execute(benchmarks.SUBMISSIONS.encode(), given)
        session.execute(benchmarks.RELEASES.encode())
    for job in ("refresh_leaderboard", "refresh_library"):
        manage(server, database, "run_due_jobs", "--only", job, "--now")
    keys = manage(server, database, "shell", "-v", "0", "-c", SIGN_IN.format(signed_in=SIGNED_IN)).split()
    ledger_data.settle(server, database)
    log.info("%s members are there", f"{members:,}")
    return keys


def addresses(members: int) -> dict[str, Callable[[random.Random], str]]:
    resources = max(members // MEMBERS_A_RESOURCE, 10)
    return {
        BASE: lambda chance: f"/one/{ledger_data.member_id(chance.randrange(members))}/",
        "home": lambda _: "/",
        "points": lambda _: "/points/",
        "history": lambda _: "/points/history/",
        "leaderboard, this month": lambda _: "/leaderboard/",
        "leaderboard, all time": lambda _: "/leaderboard/?period=all",
        "benchmarks": lambda _: "/benchmarks/",
        "results of a benchmark": lambda _: "/benchmarks/compensation/",
        "form of a benchmark": lambda _: "/benchmarks/compensation/answers/",
        "library": lambda _: "/library/",
        "library, a search": lambda chance: f"/library/?q=word{chance.randrange(1800, 2999)}",
        "a resource": lambda chance: f"/library/r{1 + chance.randrange(resources):024}/",
        "your downloads": lambda _: "/library/downloads/",
        "membership": lambda _: "/membership/",
        "sessions": lambda _: "/sessions/",
    }


@dataclass
class Contestant:
    """A community with its server, and for each page its latencies, in ms, and how long it was requested."""

    members: int
    port: int
    keys: list[str]
    latencies: dict[str, list[float]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    def ask(self, what: str, *, seconds: float, seed: int) -> None:
        """Let members request a page, each again as soon as the answer has arrived."""
        address = addresses(self.members)[what]
        found: list[list[float]] = [[] for _ in range(CLIENTS)]
        ends_at = time.monotonic() + seconds

        def client(number: int) -> None:
            chance = random.Random(seed * CLIENTS + number)
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
            for _ in itertools.count():
                if time.monotonic() >= ends_at:
                    break
                headers = {
                    "Cookie": f"__Host-session={chance.choice(self.keys)}",
                    "X-Forwarded-Proto": "https",
                }
                began = time.perf_counter()
                connection.request("GET", address(chance), headers=headers)
                answer = connection.getresponse()
                answer.read()
                found[number].append((time.perf_counter() - began) * 1000)
                assert answer.status == 200, (what, answer.status)

        threads = [threading.Thread(target=client, args=[number]) for number in range(CLIENTS)]
        began = time.monotonic()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.seconds[what] = self.seconds.get(what, 0.0) + time.monotonic() - began
        self.latencies.setdefault(what, []).extend(itertools.chain.from_iterable(found))
        assert all(found), f"{what}: a client failed"

    def rate(self, what: str) -> float:
        return len(self.latencies[what]) / self.seconds[what]

    def p99(self, what: str) -> float:
        return statistics.quantiles(self.latencies[what], n=100)[98]


def measure(server: Server, sizes: list[int], *, rounds: int, seconds: float) -> list[Contestant]:
    with ExitStack() as servers:
        contestants = []
        for members in sizes:
            name = f"pages_{members}"
            keys = fill(server, name, members=members)
            site = servers.enter_context(gunicorn(environment(server, name, WEB_CONCURRENCY=str(PROCESSES))))
            contestants.append(Contestant(members, site.port, keys))
        for contestant in contestants:  # each process has loaded every page's templates
            for what in addresses(contestant.members):
                contestant.ask(what, seconds=seconds / 2, seed=-1)
            contestant.latencies.clear()
            contestant.seconds.clear()
        for number in range(rounds):
            for what in addresses(sizes[0]):
                for contestant in contestants:
                    contestant.ask(what, seconds=seconds, seed=number)
            log.info("round %d of %d", number + 1, rounds)
    return contestants


def growth(contestants: list[Contestant], what: str) -> float:
    return contestants[0].rate(what) / contestants[-1].rate(what)


def report(contestants: list[Contestant]) -> str:
    """Write requests per second, compared with the page that reads one row, and how they change with more members."""
    rows = [
        ["", *(f"{c.members:,}: a second" for c in contestants), "grows", "times the base's", "p99", "times"]
    ]
    large = contestants[-1]
    rows += [
        [
            what, *(f"{contestant.rate(what):,.1f}" for contestant in contestants),
            f"{growth(contestants, what):.2f}", f"{large.rate(BASE) / large.rate(what):.1f}",
            f"{large.p99(what):,.0f} ms", f"{large.p99(what) / large.p99(BASE):.1f}",
        ]
        for what in large.latencies
    ]  # fmt: skip
    return table(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--members", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--json", type=Path, default=PROJECT / "build" / "pages.json")
    parser.add_argument(
        "--quick", action="store_true", help="small sizes, to try the script; no limit is checked"
    )
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    members, seconds, rounds = (2_000, 0.5, 1) if options.quick else (options.members, 3.0, options.rounds)
    with private_server() as server:
        record: dict[str, Any] = {**server.record(), "load": os.getloadavg()}
        contestants = measure(server, [members // 100, members], rounds=rounds, seconds=seconds)
    judged = {
        f"{what}: grows {growth(contestants, what):.2f} times, at most {MAX_GROWTH}": growth(
            contestants, what
        )
        <= MAX_GROWTH
        for what in contestants[0].latencies
        if not options.quick
    }
    record |= {"bars": judged, "figures": {one.members: one.latencies for one in contestants}}
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(record, indent=2) + "\n")
    missed = [f"MISSED: {bar}" for bar, is_met in judged.items() if not is_met]
    print(report(contestants), *missed, sep="\n")  # noqa: T201


if __name__ == "__main__":
    main()
