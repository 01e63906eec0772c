"""Compare the time of a release of one category with queries that use percentile_cont, and measure its growth.

    python -m tests.performance.releases [--companies 100000] [--rounds 3]

Companies have answers in OPERATIONAL (seven numbers) and BUSINESS (their groups), almost all of them different. A
release is measured from its basis to its figures, and rolled back: the first one, and one a month later with one
company in fifty changed. The naive way reads the current submissions, without history, rules or draws, with casts from
JSON: (a) one query per field for all companies, (b) the same cells as a release with GROUPING SETS, (c) with a query
for each way of grouping. What is compared takes turns. Seconds are processor time of the server. Takes some minutes.
"""

import argparse
import math
import os
import statistics
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
if __name__ == "__main__":
    django.setup()

from django.conf import settings
from django.db import connection, connections, transaction

from benchmarks import basis, cells, definitions, disclosure, moved_answers, releases
from benchmarks.definitions import Category
from benchmarks.figures import Figure, Release
from tests.performance.measuring import private_server, table

BAR = 0.5
MEMBERS = """
INSERT INTO "Member" (id, "subscriptionStatus", "createdAt", "updatedAt")
SELECT 'cm' || lpad(n::text, 23, '0'), 'ACTIVE', '2026-01-01', now() FROM generate_series(1, %(companies)s) AS n
"""
SUBMISSIONS = """
INSERT INTO "BenchmarkSubmission" (id, "memberId", category, data, "updatedAt")
SELECT left(category::text, 1) || id, id, category,
       CASE category WHEN 'BUSINESS' THEN
         jsonb_build_object('version', 1,
           'annual_revenue_band', (%(bands)s::text[])[1 + floor(random() * 7)],
           'agency_type', (%(types)s::text[])[1 + floor(random() * 5)])
       ELSE
         jsonb_build_object('version', 1, {numbers})
       END,
       now()
  FROM "Member", unnest(ARRAY['OPERATIONAL', 'BUSINESS']::"BenchmarkCategory"[]) AS category
"""
HISTORY = """
INSERT INTO "BenchmarkVersion" ("memberId", category, number, data, "companyKey", "recordedAt")
SELECT "memberId", category, 1, data, 'member:' || "memberId", '2026-05-01' FROM "BenchmarkSubmission"
"""
REVIEWS = """
INSERT INTO "BenchmarkReview" ("versionId", state, "createdAt")
SELECT id, 'RECEIVED', "recordedAt" FROM "BenchmarkVersion" WHERE number = %(number)s
"""
CHANGED = """
INSERT INTO "BenchmarkVersion" ("memberId", category, number, data, "companyKey", "recordedAt")
SELECT "memberId", category, 2, data || '{"domains_per_client": 17}', "companyKey", '2026-06-10'
  FROM "BenchmarkVersion" WHERE category = 'OPERATIONAL' AND right("memberId", 2) IN ('07', '57')
"""
ALL = """
SELECT percentile_cont(ARRAY[0.1, 0.25, 0.5, 0.75, 0.9])
       WITHIN GROUP (ORDER BY (submission.data ->> '{field}')::numeric::float8), count(*)
  FROM "BenchmarkSubmission" AS submission
  JOIN "Member" AS member ON member.id = submission."memberId" AND member."subscriptionStatus" = 'ACTIVE'
 WHERE submission.category = 'OPERATIONAL' AND submission.data ? '{field}'
"""
GROUPS = """
SELECT percentile_cont(ARRAY[0.1, 0.25, 0.5, 0.75, 0.9])
       WITHIN GROUP (ORDER BY (submission.data ->> '{field}')::numeric::float8), count(*)
  FROM "BenchmarkSubmission" AS submission
  JOIN "Member" AS member ON member.id = submission."memberId" AND member."subscriptionStatus" = 'ACTIVE'
  LEFT JOIN "BenchmarkSubmission" AS business
    ON business."memberId" = member.id AND business.category = 'BUSINESS'
 WHERE submission.category = 'OPERATIONAL' AND submission.data ? '{field}'
 GROUP BY GROUPING_SETS
"""


def execute(statement: str, values: dict[str, Any] | None = None) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        if cursor.description:
            cursor.fetchall()


def fill(companies: int) -> None:
    numbers = ", ".join(
        f"'{field.name}', round(least(exp(3 + random() + random()), {field.maximum})::numeric, 2)"
        for field in definitions.number_fields(Category.OPERATIONAL)
    )
    dimensions = [definitions.field(Category.BUSINESS, name) for name in definitions.GROUPINGS]
    bands, types = ([value for value, _ in field.all_choices] for field in dimensions)  # type: ignore[attr-defined]
    execute(MEMBERS, {"companies": companies})
    execute("""ALTER TABLE "BenchmarkSubmission" DISABLE TRIGGER USER""")
    execute(SUBMISSIONS.format(numbers=numbers), {"bands": bands, "types": types})
    execute("""ALTER TABLE "BenchmarkSubmission" ENABLE TRIGGER USER""")
    execute(HISTORY)
    execute(REVIEWS, {"number": 1})
    execute("VACUUM ANALYZE")


def take(month: date) -> Release:
    """Take a release of only OPERATIONAL, with the steps of releases.take."""
    release = Release(month=month, cut_off=releases.cut_off_of(month))
    assert releases._claim(release)
    basis.prepare(release=release.pk, cut_off=release.cut_off)
    moved_answers.set_key(settings.BENCHMARK_KEY)
    for category in (Category.BUSINESS, Category.OPERATIONAL):
        releases._choose(release, category, disclosure.RULES)
    groups = f"groups {month}"
    cells.make_groups(name=groups, source=basis.Source(chosen=release.pk))
    taking = releases._Taking(release, Category.OPERATIONAL, settings.BENCHMARK_KEY, groups, disclosure.RULES)
    Figure.objects.bulk_create(taking.figures())
    return release


class _RollBack(Exception):
    pass


def first() -> None:
    try:
        with transaction.atomic():
            take(date(2026, 5, 1))
            raise _RollBack
    except _RollBack:
        pass


WAYS = {
    "naive (a)": [ALL],
    "naive (b)": [GROUPS.replace("GROUPING_SETS", "GROUPING SETS ((), ({band}), ({type}))")],
    "naive (c)": [ALL, GROUPS.replace("GROUPING_SETS", "{band}"), GROUPS.replace("GROUPING_SETS", "{type}")],
}
BAND, TYPE = (f"business.data ->> '{name}'" for name in definitions.GROUPINGS)


def naive(queries: Sequence[str]) -> Callable[[], None]:
    def run() -> None:
        for field in definitions.number_fields(Category.OPERATIONAL):
            for query in queries:
                execute(query.format(field=field.name, band=BAND, type=TYPE))

    return run


def cpu_seconds() -> float:
    """Read the processor time of this session's server process, which can be compared even on a busy machine."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        row = cursor.fetchone()
    assert row is not None
    fields = Path(f"/proc/{row[0]}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def timed(act: Callable[[], None]) -> float:
    began = cpu_seconds()
    act()
    return cpu_seconds() - began


def second() -> None:
    """Take a release after an earlier one, so that figures are compared with the answers that they were made from."""
    try:
        with transaction.atomic():
            take(date(2026, 6, 1))
            raise _RollBack
    except _RollBack:
        pass


def compare(acts: dict[str, Callable[[], None]], *, rounds: int) -> dict[str, float]:
    """Time each in turn, several times. Returns the median of each."""
    found: dict[str, list[float]] = {name: [] for name in acts}
    for _ in range(rounds):
        for name, act in acts.items():
            found[name].append(timed(act))
    return {name: statistics.median(times) for name, times in found.items()}


def measure(companies: int, rounds: int) -> dict[str, float]:
    settings.BENCHMARK_KEY = "for measuring only"
    fill(companies)
    acts = {"first release": first} | {name: naive(queries) for name, queries in WAYS.items()}
    found = compare(acts, rounds=rounds)
    with transaction.atomic():
        take(date(2026, 5, 1))
    execute(CHANGED)
    execute(REVIEWS, {"number": 2})
    execute("VACUUM ANALYZE")
    return found | compare({"later release": second}, rounds=rounds)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--companies", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    sizes = [options.companies // 100, options.companies // 10, options.companies]
    heads = ["first release", "later release", *WAYS]
    rows = [["companies", *heads, "first to (b)", "first to (c)"]]
    by_size = {}
    with private_server() as server:
        print(server.record())
        for size in sizes:
            name = f"companies_{size}"
            server.migrate(name)
            with server.in_django(name):
                found = by_size[size] = measure(size, options.rounds)
            ratios = [found["first release"] / found[way] for way in ("naive (b)", "naive (c)")]
            rows.append(
                [
                    f"{size:,}",
                    *(f"{found[what]:.2f} s" for what in heads),
                    *(f"{ratio:.2f}" for ratio in ratios),
                ]
            )
            connections["default"].close()
    print(table(rows))
    small, large = sizes[0], sizes[-1]
    grown = by_size[large]["first release"] / by_size[small]["first release"]
    allowed = large * math.log(large) / (small * math.log(small))
    ratio = by_size[large]["first release"] / by_size[large]["naive (c)"]
    print(f"Growth from {small:,} to {large:,}: {grown:.0f} times; n log n would be {allowed:.0f}.")
    print(f"Ratio {ratio:.2f}, bar {BAR}: {'met' if ratio <= BAR else 'missed'}.")


if __name__ == "__main__":
    main()
