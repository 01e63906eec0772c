"""Measure the times of the library's pages for members, and how they grow with the library.

    python -m tests.performance.library [--resources 100000] [--rounds 4] [--quick] [--json FILE]

Compares two libraries, one with a hundredth of the other's resources, downloads and members. Resources have 100
downloads on average, and a few have most of them. Each page is requested through Django's whole stack, including
session, account and template. For comparison, so is a page that reads one row by its key. Pages and libraries take
turns. It takes about ten minutes, most of them to make the rows. It prints a table, and writes every figure to
build/library.json.
"""

import argparse
import json
import logging
import os
import random
import re
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
if __name__ == "__main__":
    django.setup()

from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.test import Client, override_settings
from django.test.utils import CaptureQueriesContext
from django.urls import include, path

from council.accounts.models import Account
from council.models import Member
from council.rehearsal import filling
from resources import library
from resources.models import Resource
from tests.performance.measuring import PROJECT, Server, private_server, table

log = logging.getLogger(__name__)

DOWNLOADS_A_RESOURCE = 100
DOWNLOADS_A_MEMBER = 500
BATCH_DOWNLOADS = 1_000_000
MAX_GROWTH, MAX_TIMES_BASE = 1.5, 5.0
BASE = "a row by its key"
GROWING = ["Resource", "ResourceDownload", "ResourceTagging", "ResourceVersion", "Member", "PointTransaction"]
TABLES = ["Resource", "ResourceDownload", "ResourceTagging", "ResourceVersion"]

# The cube of a random number picks words from 3,000: a few occur everywhere, most are rare. The first is in nearly
# every text.
WORDS = """(SELECT string_agg('word' || (CASE WHEN i + n < 0 THEN 0 ELSE floor(3000 * random() ^ 3) END)::int, ' ')
              FROM generate_series(1, {count}) AS i)"""
RESOURCES = f"""
    INSERT INTO "Resource" (id, title, description, category, type, "fileUrl", "isFeatured", "createdAt", "updatedAt",
                            author, "storagePath", "fileName", "fileSize", "mimeType", sha256, "currentVersion")
    SELECT id, {WORDS.format(count=7)}, {WORDS.format(count=50)},
           (enum_range(NULL::"ResourceCategory"))[1 + n %% 5], (enum_range(NULL::"ResourceType"))[1 + n / 5 %% 5],
           '/library/' || id || '/', n %% 50 = 0, moment, moment, 'Author ' || n %% 100,
           'files/' || id, 'File.pdf', 1000000, 'application/pdf', md5(id), 1
      FROM generate_series(1, %(resources)s) AS n
     CROSS JOIN LATERAL (SELECT 'r' || lpad(n::text, 24, '0') AS id,
                                (now() - random() * interval '700 days')::timestamp(3) AS moment) AS given
"""
VERSIONS = """
    INSERT INTO "ResourceVersion" (id, "resourceId", number, "storagePath", "fileName", "fileSize", "mimeType", sha256,
                                   "createdAt")
    SELECT 'v' || id, id, 1, "storagePath", "fileName", "fileSize", "mimeType", sha256, "createdAt" FROM "Resource"
"""
TAGS = """
    INSERT INTO "ResourceTag" (id, name, slug)
    SELECT 't' || n, 'Tag ' || n, 'tag-' || n FROM generate_series(0, 39) AS n;
    INSERT INTO "ResourceTagging" (id, "resourceId", "tagId")
    SELECT DISTINCT ON (resource.id, tag) gen_random_uuid(), resource.id, 't' || tag
      FROM "Resource" AS resource
     CROSS JOIN LATERAL (SELECT floor(40 * random())::int AS tag FROM generate_series(1, 2)
                          WHERE resource.id IS NOT NULL) AS tags
"""
MEMBERS = """
    INSERT INTO "Member" (id, email, "firstName", "subscriptionStatus", "updatedAt")
    SELECT 'm' || lpad(n::text, 24, '0'), 'member' || n || '@example.com', 'First' || n, 'ACTIVE', now()
      FROM generate_series(0, %(members)s - 1) AS n
"""
# The cube makes a few resources popular, and the prime scatters these over the ids.
DOWNLOADS = """
    INSERT INTO "ResourceDownload" (id, "memberId", "resourceId", "downloadedAt")
    SELECT 'd' || lpad(n::text, 24, '0'),
           'm' || lpad((n %% %(members)s)::text, 24, '0'),
           'r' || lpad((1 + (floor(%(resources)s * random() ^ 3)::bigint * 7919) %% %(resources)s)::text, 24, '0'),
           (now() AT TIME ZONE 'UTC')::timestamp(3) - random() * interval '730 days'
      FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS n
"""
COUNTS = """
    UPDATE "Resource" SET "downloadCount" = counted.downloads, "rankedDownloads" = counted.downloads
      FROM (SELECT "resourceId" AS id, count(*) AS downloads FROM "ResourceDownload" GROUP BY "resourceId") AS counted
     WHERE "Resource".id = counted.id
"""


def fill(server: Server, database: str, *, resources: int, downloads: int | None = None) -> None:
    """Fill a migrated database with triggers and indexes off."""
    downloads = downloads or resources * DOWNLOADS_A_RESOURCE
    given = {"resources": resources, "members": members_of(resources)}
    with server.connect(database) as session:
        with filling.without_indexes(session, TABLES):
            session.execute("SET session_replication_role = replica; SET synchronous_commit = off")
            session.execute("SELECT setseed(0.5)")
            session.execute(MEMBERS.encode(), given)
            session.execute(RESOURCES.encode(), given)
            session.execute(VERSIONS.encode())
            session.execute(TAGS.encode())
            for first in range(1, downloads + 1, BATCH_DOWNLOADS):
                last = min(first + BATCH_DOWNLOADS - 1, downloads)
                session.execute(DOWNLOADS.encode(), {**given, "first": first, "last": last})
                log.info("%s: %s downloads are there", database, f"{last:,}")
            session.execute(COUNTS.encode())
        session.execute("VACUUM (FREEZE, ANALYZE)")
        session.execute("CHECKPOINT")


def members_of(resources: int) -> int:
    return resources * DOWNLOADS_A_RESOURCE // DOWNLOADS_A_MEMBER


def one(request: HttpRequest, resource_id: str) -> HttpResponse:
    """Read a row by its key. This takes the least time that any page of the site can take."""
    return HttpResponse(Resource.objects.get(pk=resource_id).title)


urlpatterns = [path("one/<str:resource_id>/", one), path("", include("council.urls"))]


@dataclass
class Contestant:
    """A library, and the times measured on it, in ms."""

    server: Server
    resources: int
    figures: dict[str, list[float]] = field(default_factory=dict)
    queries: dict[str, int] = field(default_factory=dict)
    scans: dict[str, list[str]] = field(default_factory=dict)
    addresses: dict[str, Callable[[random.Random], str]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"resources_{self.resources}"

    @contextmanager
    def in_django(self) -> Iterator[Client]:
        """Connect Django to it. Yields the browser of a member."""
        with self.server.in_django(self.name):
            member = Member.objects.get(pk=f"m{1:024}")
            account, _ = Account.objects.get_or_create(username="mia", defaults={"member": member})
            browser = Client()
            browser.force_login(account)
            yield browser

    def prepare(self) -> None:
        """List the addresses to request. For pages half way down a list, the rows must be read first."""
        half = self.resources // 2
        middle = Resource.objects.shown().order_by("-created_at", "-pk")[half]
        ranked = Resource.objects.shown().order_by("-ranked_downloads", "-pk")[half]

        def any_resource(chance: random.Random) -> str:
            return f"r{1 + chance.randrange(self.resources):024}"

        def word(chance: random.Random, first: int, last: int) -> str:
            return f"word{chance.randrange(first, last)}"

        self.addresses = {
            BASE: lambda chance: f"/one/{any_resource(chance)}/",
            "library, newest": lambda _: "/library/",
            "library, most downloaded": lambda _: "/library/?sort=downloads",
            "library, trending": lambda _: "/library/?sort=trending",
            "… newest, half way down": lambda _: (
                f"/library/?after={middle.created_at:%Y-%m-%dT%H:%M:%S.%f}_{middle.pk}"
            ),
            "… most downloaded, half way down": lambda _: (
                f"/library/?sort=downloads&after={ranked.ranked_downloads}_{ranked.pk}"
            ),
            "… of a category": lambda _: "/library/?category=OPERATIONS",
            "… of a category and a type": lambda _: "/library/?category=OPERATIONS&type=SOP",
            "… of a tag": lambda chance: f"/library/?tag=tag-{chance.randrange(40)}",
            "… of a tag, most downloaded": lambda chance: (
                f"/library/?sort=downloads&tag=tag-{chance.randrange(40)}"
            ),
            "… featured": lambda _: "/library/?featured=on",
            "search, a word of nearly every one": lambda _: "/library/?q=word0",
            "search, a word of every hundredth": lambda chance: f"/library/?q={word(chance, 1800, 2999)}",
            "search, two words": lambda chance: f"/library/?q={word(chance, 0, 30)}+{word(chance, 0, 300)}",
            "search, a word in a category": lambda chance: (
                f"/library/?category=OPERATIONS&q={word(chance, 0, 300)}"
            ),
            "search, nothing found": lambda chance: f"/library/?q=nothing{chance.randrange(100)}",
            "a resource": lambda chance: f"/library/{any_resource(chance)}/",
            "your downloads": lambda _: "/library/downloads/",
        }

    def ask(self, browser: Client, chance: random.Random, *, calls: int) -> None:
        for what, address in self.addresses.items():
            warm = browser.get(address(chance))
            assert warm.status_code == 200, (what, warm.status_code)
            took = self.figures.setdefault(what, [])
            for _ in range(calls):
                asked = address(chance)
                began = time.perf_counter()
                browser.get(asked)
                took.append((time.perf_counter() - began) * 1000)


def look(browser: Client, address: str) -> tuple[int, list[str]]:
    """Count the queries of a page, and list their sequential scans of tables that grow."""
    with CaptureQueriesContext(connection) as captured:
        assert browser.get(address).status_code == 200, address
    scans = []
    with connection.cursor() as cursor:
        for query in captured.captured_queries:
            if "SELECT" in query["sql"]:
                cursor.execute(f"EXPLAIN {query['sql']}")
                lines = [line.strip() for (line,) in cursor.fetchall()]
                scans += [
                    line for line in lines if re.search(rf'Seq Scan on "?({"|".join(GROWING)})"?\b', line)
                ]
    return len(captured), scans


def p95(values: list[float]) -> float:
    return statistics.quantiles(values, n=20)[18]


def measure(server: Server, sizes: list[int], *, rounds: int, calls: int) -> list[Contestant]:
    contestants = [Contestant(server, resources) for resources in sizes]
    for contestant in contestants:
        server.migrate(contestant.name)
        fill(server, contestant.name, resources=contestant.resources)
        with contestant.in_django():
            began = time.perf_counter()
            library.refresh()
            contestant.figures["refresh_library"] = [(time.perf_counter() - began) * 1000]
            with connection.cursor() as cursor:
                cursor.execute('VACUUM ANALYZE "Resource"')
            contestant.prepare()
    for number in range(rounds):
        for contestant in contestants:
            with contestant.in_django() as browser:
                contestant.ask(browser, random.Random(number), calls=calls)
        log.info("round %d of %d", number + 1, rounds)
    for contestant in contestants:
        with contestant.in_django() as browser:
            for what, address in contestant.addresses.items():
                contestant.queries[what], contestant.scans[what] = look(browser, address(random.Random(1)))
    return contestants


def report(contestants: list[Contestant]) -> str:
    """Write medians, how they grow, and the slowest 5 % of the large library compared with a read by key."""
    rows: list[list[str]] = [
        ["", *(f"{c.resources:,} resources" for c in contestants), "grows", "p95", "times the read's"]
    ]
    largest = contestants[-1].figures
    for what in largest:
        medians = [statistics.median(contestant.figures[what]) for contestant in contestants]
        slow = p95(largest[what]) if len(largest[what]) > 1 else largest[what][0]
        rows.append(
            [
                what, *(f"{value:,.2f}" for value in medians), f"{medians[-1] / medians[0]:.2f}",
                f"{slow:,.1f}", f"{slow / p95(largest[BASE]):.1f}",
            ]
        )  # fmt: skip
    return table(rows)


def bars(contestants: list[Contestant]) -> dict[str, bool]:
    """Compare the times of lists and searches with their limits."""
    judged = {}
    for what, scans in contestants[-1].scans.items():
        judged[f"{what}: no sequential scan of a table that grows {scans or ''}"] = not scans
        few, many = (contestant.queries[what] for contestant in (contestants[0], contestants[-1]))
        judged[f"{what}: {many} queries, in the small library {few}"] = many <= few
    small, large = contestants[0].figures, contestants[-1].figures
    for what in contestants[0].addresses:
        if what == BASE:
            continue
        growth = statistics.median(large[what]) / statistics.median(small[what])
        times = p95(large[what]) / p95(large[BASE])
        judged[f"{what}: grows {growth:.2f} times, at most {MAX_GROWTH}"] = growth <= MAX_GROWTH
        judged[f"{what}: p95 is {times:.1f} times the read's, at most {MAX_TIMES_BASE:.0f}"] = (
            times <= MAX_TIMES_BASE
        )
    return judged


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--resources", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=16)
    parser.add_argument("--json", type=Path, default=PROJECT / "build" / "library.json")
    parser.add_argument(
        "--quick", action="store_true", help="small sizes, to try the script; no limit is checked"
    )
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    logging.getLogger("django.request").setLevel(logging.ERROR)
    resources, calls = (2_000, 5) if options.quick else (options.resources, 6)
    with (
        private_server() as server,
        override_settings(ROOT_URLCONF="tests.performance.library", ALLOWED_HOSTS=["testserver"]),
    ):
        record: dict[str, Any] = server.record()
        contestants = measure(server, [resources // 100, resources], rounds=options.rounds, calls=calls)
    judged = {} if options.quick else bars(contestants)
    record |= {"bars": judged, "figures": {one.resources: one.figures for one in contestants}}
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(record, indent=2) + "\n")
    missed = [f"MISSED: {bar}" for bar, is_met in judged.items() if not is_met]
    print("In ms:", report(contestants), *missed, sep="\n")  # noqa: T201


if __name__ == "__main__":
    main()
