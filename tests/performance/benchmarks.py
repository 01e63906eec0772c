"""Measure the time to send benchmark answers and to show results, and the use of the GIN index on answers.

    python -m tests.performance.benchmarks [--submissions 100000] [--rounds 4] [--quick] [--json FILE]

Compares two databases, one with 100 submissions and one with 100,000, each with two releases of every cell. Pages are
requested through Django's whole stack, including session, account and template. For comparison, so are a page that
reads one row by its key, and one that inserts a row into a copy of BenchmarkSubmission with its indexes but without
triggers. Pages and databases take turns. Then three indexes on 200,000 answers are compared. Takes about five minutes.
"""

import argparse
import itertools
import json
import logging
import os
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
if __name__ == "__main__":
    django.setup()

from django.db import connection, transaction
from django.http import HttpResponse
from django.test import Client, override_settings
from django.urls import include, path

from council.access import MemberRequest
from council.accounts.models import Account
from council.postgres.fields import cuid
from tests.performance.measuring import PROJECT, Server, private_server, table
from tests.performance.one_row import one

log = logging.getLogger(__name__)

READ, INSERT = "a row by its key", "a bare INSERT"
FIRST, CHANGE = "answers, the first time", "answers, changed"
MAX_TIMES_READ, MAX_TIMES_INSERT, MAX_GROWTH = 5.0, 3.0, 1.25
# Members without submissions. Half of them send answers during the measurement.
SPARE_MEMBERS = 4_000

MEMBERS = """
    INSERT INTO "Member" (id, email, "firstName", "subscriptionStatus", "createdAt", "updatedAt")
    SELECT 'm' || lpad(n::text, 24, '0'), 'member' || n || '@example.com', 'First' || n, 'ACTIVE',
           now() - interval '1 year', now()
      FROM generate_series(1, %(members)s) AS n
"""
SUBMISSIONS = """
    INSERT INTO "BenchmarkSubmission" (id, "memberId", category, data, "updatedAt")
    SELECT 's' || lpad(n::text, 24, '0'), 'm' || lpad((1 + n / 4)::text, 24, '0'),
           (enum_range(NULL::"BenchmarkCategory"))[1 + n %% 4],
           CASE n %% 4
             WHEN 0 THEN jsonb_build_object('version', 1, 'gtm_engineer_us', 80000 + 1000 * (n %% 97))
             WHEN 1 THEN jsonb_build_object('version', 1, 'cost_per_domain', 5 + n %% 23, 'domain_vendor', 'porkbun')
             WHEN 2 THEN jsonb_build_object('version', 1, 'annual_revenue_band', '500k_1m',
                                            'gross_margin_percent', n %% 80)
             ELSE jsonb_build_object('version', 1, 'domains_per_client', 1 + n %% 40) END,
           now()
      FROM generate_series(0, %(submissions)s - 1) AS n
"""
RELEASES = """
    INSERT INTO "BenchmarkRelease" (id, month, "cutOff")
    VALUES ('r1', '2026-08-01', '2026-09-01'), ('r2', '2026-09-01', '2026-10-01');
    INSERT INTO "BenchmarkFigure" (id, "releaseId", category, field, dimension, bands, "asOf", "companiesAtLeast",
                                   p10, p25, p50, p75, p90)
    SELECT gen_random_uuid()::text, release, 'COMPENSATION', name, dimension, bands, '2026-10-01', 100,
           1e4, 2e4, 3e4, 4e4, 5e4
      FROM unnest(ARRAY['r1', 'r2']) AS release,
           unnest(ARRAY['gtm_engineer_us', 'gtm_engineer_offshore', 'sdr_bdr_us_salary', 'sdr_bdr_offshore_salary',
                        'account_manager', 'virtual_assistant_hourly', 'copywriter_hourly']) AS name,
           (VALUES ('', '{}'::text[]),
                   ('annual_revenue_band', '{sub_100k,100k_250k}'), ('annual_revenue_band', '{250k_500k}'),
                   ('annual_revenue_band', '{500k_1m}'), ('annual_revenue_band', '{1m_2m,2m_5m,above_5m}'),
                   ('agency_type', '{lead_gen}'), ('agency_type', '{full_service}')) AS cell (dimension, bands);
"""
COPY_WITHOUT_TRIGGERS = 'CREATE TABLE "BareSubmission" (LIKE "BenchmarkSubmission" INCLUDING ALL)'
BARE_INSERT = """
    INSERT INTO "BareSubmission" (id, "memberId", category, data, "updatedAt")
    VALUES (%s, %s, 'OPERATIONAL', '{"version": 1, "domains_per_client": 6, "average_reply_rate_percent": 3.2}', now())
"""


def insert(request: MemberRequest) -> HttpResponse:
    """Insert a row in a transaction, then redirect. This takes the least time that any form of the site can take."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(BARE_INSERT, [cuid(), request.member.pk])
    return HttpResponse(status=302, headers={"Location": "/"})


urlpatterns = [path("one/<str:member_id>/", one), path("insert/", insert), path("", include("council.urls"))]


def member_id(number: int) -> str:
    return f"m{number:024}"


@dataclass
class Contestant:
    """A database with this many submissions, and the times measured on it, in ms."""

    server: Server
    submissions: int
    figures: dict[str, list[float]] = field(default_factory=dict)
    fresh: Iterator[int] = field(init=False)

    def __post_init__(self) -> None:
        self.fresh = itertools.count(self.submissions // 4 + 2)

    @property
    def name(self) -> str:
        return f"submissions_{self.submissions}"

    def fill(self) -> None:
        given = {"members": self.submissions // 4 + SPARE_MEMBERS, "submissions": self.submissions}
        self.server.migrate(self.name)
        with self.server.connect(self.name) as session:
            session.execute(MEMBERS.encode(), given)
            session.execute(SUBMISSIONS.encode(), given)
            session.execute(RELEASES.encode())
            session.execute(COPY_WITHOUT_TRIGGERS.encode())
            session.execute(
                """INSERT INTO "BenchmarkReview" ("versionId", state, "createdAt")
                   SELECT id, 'RECEIVED', "recordedAt" FROM "BenchmarkVersion" """
            )
            session.execute("VACUUM (FREEZE, ANALYZE)")
            session.execute("CHECKPOINT")

    def browser(self, number: int) -> Client:
        """Returns the browser of a member who is signed in."""
        account, _ = Account.objects.get_or_create(
            username=member_id(number), defaults={"member_id": member_id(number)}
        )
        browser = Client()
        browser.force_login(account)
        return browser

    def time(self, what: str, act: Callable[[], Any], status: int) -> None:
        began = time.perf_counter()
        response = act()
        self.figures.setdefault(what, []).append((time.perf_counter() - began) * 1000)
        assert response.status_code == status, (what, response.status_code)

    def read(self, calls: int) -> None:
        browser = self.browser(1)
        pages = {
            READ: f"/one/{member_id(1)}/",
            "results": "/benchmarks/compensation/",
            "results of a group": "/benchmarks/compensation/?group=annual_revenue_band.500k_1m",
            "categories": "/benchmarks/",
            "the form": "/benchmarks/compensation/answers/",
        }
        for address in pages.values():
            browser.get(address)
        for _ in range(calls):
            for what, address in pages.items():
                self.time(what, partial(browser.get, address), 200)

    def write(self, calls: int) -> None:
        answers = {"domains_per_client": "6", "average_reply_rate_percent": "3.2"}
        address = "/benchmarks/operational/answers/"
        for call in range(-1, calls):
            browser = self.browser(next(self.fresh))
            acts: dict[str, Callable[[], Any]] = {
                INSERT: partial(browser.post, "/insert/"),
                FIRST: partial(browser.post, address, {**answers, "shown": "0"}),
                CHANGE: partial(browser.post, address, {**answers, "domains_per_client": "7", "shown": "1"}),
            }
            for what, act in acts.items():
                self.time(what, act, 302)
            if call < 0:
                for what in acts:
                    self.figures[what].pop()


def p95(values: list[float]) -> float:
    return statistics.quantiles(values, n=20)[18]


def measure(server: Server, sizes: list[int], *, rounds: int, calls: int) -> list[Contestant]:
    contestants = [Contestant(server, submissions) for submissions in sizes]
    for contestant in contestants:
        contestant.fill()
    for number in range(rounds):
        for contestant in contestants:
            with contestant.server.in_django(contestant.name):
                contestant.read(calls)
                contestant.write(calls)
        log.info("round %d of %d", number + 1, rounds)
    return contestants


def report(contestants: list[Contestant]) -> str:
    rows = [
        ["", *(f"{c.submissions:,}: median" for c in contestants), "p95", "grows", "p95, times the base's"]
    ]
    small, large = contestants[0].figures, contestants[-1].figures
    for what in large:
        base = large[INSERT if what in {INSERT, FIRST, CHANGE} else READ]
        medians = [statistics.median(figures[what]) for figures in (small, large)]
        rows.append(
            [
                what, *(f"{value:.1f}" for value in medians), f"{p95(large[what]):.1f}",
                f"{medians[1] / medians[0]:.2f}", f"{p95(large[what]) / p95(base):.2f}",
            ]
        )  # fmt: skip
    return table(rows)


def bars(contestants: list[Contestant]) -> dict[str, bool]:
    judged = {}
    small, large = contestants[0].figures, contestants[-1].figures
    for what in ("results", "results of a group"):
        times = p95(large[what]) / p95(large[READ])
        growth = statistics.median(large[what]) / statistics.median(small[what])
        judged[f"{what}: p95 is {times:.1f} times the read's, at most {MAX_TIMES_READ:.0f}"] = (
            times <= MAX_TIMES_READ
        )
        judged[f"{what}: grows {growth:.2f} times, at most {MAX_GROWTH}"] = growth <= MAX_GROWTH
    for what in (FIRST, CHANGE):
        times = statistics.median(large[what]) / statistics.median(large[INSERT])
        judged[f"{what}: {times:.1f} times a bare INSERT, at most {MAX_TIMES_INSERT:.0f}"] = (
            times <= MAX_TIMES_INSERT
        )
    return judged


# Indexes on the answers ----------------------------------------------------------------------------------------------

INDEXES = {
    "jsonb_path_ops": "CREATE INDEX answers ON submissions USING gin (data jsonb_path_ops)",
    "jsonb_ops": "CREATE INDEX answers ON submissions USING gin (data)",
    "B-tree on one field": "CREATE INDEX answers ON submissions ((data -> 'cost_per_inbox'))",
}
ROWS = """
    CREATE UNLOGGED TABLE submissions AS
    SELECT n AS id, jsonb_build_object('version', 1, 'cost_per_domain', 5 + n % 23, 'cost_per_inbox', n % 997,
                                       'warmup_cost', n % 313, 'sending_platform_cost', 50 * (n % 41),
                                       'domain_vendor', (ARRAY['porkbun', 'namecheap', 'godaddy'])[1 + n % 3],
                                       'warmup_tool', (ARRAY['instantly', 'smartlead', 'built_in'])[1 + n % 3]) AS data
      FROM generate_series(1, {rows}) AS n;
    ANALYZE submissions
"""
CONTAINS = "SELECT count(*) FROM submissions WHERE data @> '{{\"cost_per_inbox\": {number}}}'"
EQUALS = "SELECT count(*) FROM submissions WHERE data -> 'cost_per_inbox' = '{number}'"
TWO_FIELDS = """
    SELECT count(*) FROM submissions WHERE data @> '{{"cost_per_inbox": {number}, "domain_vendor": "porkbun"}}'
"""
ADD = """
    INSERT INTO submissions VALUES (
        {number}, '{{"version": 1, "cost_per_domain": 12, "cost_per_inbox": {number}, "domain_vendor": "porkbun"}}')
"""


def compare_indexes(server: Server, *, rows: int, calls: int) -> tuple[str, dict[str, Any]]:
    server.create("indexes")
    found: dict[str, Any] = {}
    with server.connect("indexes") as session:
        session.execute(ROWS.format(rows=rows).encode())
        for name, create in {"none": "", **INDEXES}.items():
            began = time.perf_counter()
            if create:
                session.execute(create.encode())
            built = time.perf_counter() - began
            session.execute("ANALYZE submissions")
            [size] = session.execute(
                "SELECT coalesce(pg_relation_size(to_regclass('answers')), 0)"
            ).fetchone() or [0]
            search = EQUALS if "B-tree" in name else CONTAINS
            took = {}
            for what, query in {"count": search, "two fields": TWO_FIELDS, "insert": ADD}.items():
                times = []
                for number in range(calls):
                    began = time.perf_counter()
                    session.execute(query.format(number=number).encode())
                    times.append((time.perf_counter() - began) * 1000)
                took[what] = statistics.median(times)
            found[name] = {"built_s": built, "mb": size / 1e6, **took}
            session.execute("DROP INDEX IF EXISTS answers")
    shown = [["", "size", "built in", "count, one field", "count, two fields", "an INSERT"]]
    shown += [
        [name, f"{one['mb']:.1f} MB", f"{one['built_s']:.1f} s",
         *(f"{one[what]:.2f} ms" for what in ("count", "two fields", "insert"))]
        for name, one in found.items()
    ]  # fmt: skip
    return table(shown), found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--submissions", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--json", type=Path, default=PROJECT / "build" / "benchmarks.json")
    parser.add_argument(
        "--quick", action="store_true", help="small sizes, to try the script; no limit is checked"
    )
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    logging.getLogger("django.request").setLevel(logging.ERROR)
    submissions, calls, rows = (400, 5, 2_000) if options.quick else (options.submissions, 25, 200_000)
    with (
        private_server() as server,
        override_settings(ROOT_URLCONF="tests.performance.benchmarks", ALLOWED_HOSTS=["testserver"]),
    ):
        record: dict[str, Any] = server.record()
        contestants = measure(server, [100, submissions], rounds=options.rounds, calls=calls)
        indexes, found = compare_indexes(server, rows=rows, calls=calls)
    judged = {} if options.quick else bars(contestants)
    record |= {
        "bars": judged,
        "figures": {one.submissions: one.figures for one in contestants},
        "indexes": found,
    }
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(record, indent=2) + "\n")
    verdicts = [f"{'met' if is_met else 'MISSED'}: {bar}" for bar, is_met in judged.items()]
    print("In ms:", report(contestants), *verdicts, f"{rows:,} rows:", indexes, sep="\n")  # noqa: T201


if __name__ == "__main__":
    main()
