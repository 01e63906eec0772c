"""The versions that a release is made from. The database chooses them, with one statement for each category.

Temporary tables last until the transaction ends, so this works with a transaction pooler. Only releases.py and
cells.py call it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import connection

from benchmarks import definitions, disclosure, moved_answers
from benchmarks.definitions import Category
from benchmarks.fields import ChoiceField, NumberField
from benchmarks.moved_answers import quoted
from council.postgres.fields import cuid

JOINED_BEFORE_DAYS = 30

# Selects the versions whose newest review before the cut-off accepts them. The newest review has the largest id. The
# last bit of the number compared is 1 if a review accepts, so one max() finds the newest review and its state.
REVIEWED = """
CREATE TEMPORARY TABLE {reviewed} ON COMMIT DROP AS
SELECT "versionId"
  FROM "BenchmarkReview"
 WHERE "createdAt" < %(cut_off)s
 GROUP BY "versionId"
HAVING max(2 * id + (state = 'RECEIVED')::int) %% 2 = 1
"""

# Selects each member's newest accepted version unless the answers were withdrawn later. Only for companies that count.
# `place` orders the answers of a company: its owner's come first, then the latest.
# `later` has few rows, as most versions are a member's first, and few are withdrawals. Most authors are active members,
# so their companies need no further look-up.
# Members' standing has no history, so the standing at the time of taking the release is used.
CHOSEN = """
WITH later AS MATERIALIZED (
    SELECT "memberId", number
      FROM "BenchmarkVersion" AS version
     WHERE category = %(category)s::"BenchmarkCategory"
       AND (number > 1 AND "recordedAt" < %(as_of)s AND id IN (SELECT "versionId" FROM {reviewed})
            OR "isWithdrawn" AND "recordedAt" < %(cut_off)s)
)
SELECT version.id AS version, "memberId", "companyKey" AS company, data,
       (CASE WHEN "isPrimaryOwner" THEN -1e10 ELSE 0 END - extract(epoch FROM "recordedAt"))::float8 AS place
  FROM "BenchmarkVersion" AS version
  JOIN {reviewed} AS reviewed ON reviewed."versionId" = version.id
  JOIN "Member" AS member ON member.id = "memberId"
 WHERE category = %(category)s::"BenchmarkCategory" AND NOT "isWithdrawn" AND "recordedAt" < %(as_of)s
   AND NOT EXISTS (SELECT FROM later WHERE later."memberId" = version."memberId" AND later.number > version.number)
   AND ("subscriptionStatus" = 'ACTIVE' AND member."createdAt" <= %(joined_by)s
        OR "companyKey" IN (
             SELECT coalesce('team:' || "teamId", 'customer:' || "stripeCustomerId", 'member:' || id)
               FROM "Member"
              WHERE "subscriptionStatus" = 'ACTIVE' AND "createdAt" <= %(joined_by)s)
        OR "companyKey" IN (
             SELECT other."companyKey"
               FROM "BenchmarkVersion" AS other
               JOIN "Member" AS author ON author.id = other."memberId"
              WHERE other.category = %(category)s::"BenchmarkCategory"
                AND other."recordedAt" < %(as_of)s
                AND author."subscriptionStatus" = 'ACTIVE'
                AND author."createdAt" <= %(joined_by)s))
"""

BASIS = """
INSERT INTO "BenchmarkBasis" (id, "releaseId", category, "isAged", versions)
SELECT %(id)s, %(release)s, %(category)s::"BenchmarkCategory", %(is_aged)s,
       coalesce(array_agg(version ORDER BY place), '{{}}')
  FROM {name}
"""

# For a hundred thousand companies. With the default work_mem each step would go to disk. Temporary tables have no
# statistics, so the planner might choose nested loops over them. Parallel workers would repeat the same computations.
SETTINGS = """
SET LOCAL work_mem = '64MB';
SET LOCAL enable_nestloop = off;
SET LOCAL max_parallel_workers_per_gather = 0;
SET LOCAL jit = off
"""


def prepare(*, release: str, cut_off: datetime) -> None:
    """Prepare the transaction for large steps, and find the versions that were accepted before the cut-off."""
    reviewed = REVIEWED.format(reviewed=_reviewed(release))
    with connection.cursor() as cursor:
        cursor.execute(SETTINGS)
        cursor.execute(reviewed, {"cut_off": cut_off.replace(tzinfo=None)})


def _reviewed(release: str) -> str:
    return quoted(f"reviewed {release}")


def choose(
    *,
    release: str,
    category: Category,
    is_aged: bool,
    cut_off: datetime,
    as_of: datetime,
    rules: disclosure.Rules = disclosure.RULES,
) -> None:
    """Choose the versions for a release, read them into a temporary table, and record them as the release's basis."""
    values: dict[str, Any] = {
        "id": cuid(),
        "release": release,
        "category": category.value,
        "is_aged": is_aged,
        "cut_off": cut_off.replace(tzinfo=None),
        "as_of": as_of.replace(tzinfo=None),
        "joined_by": (cut_off - timedelta(days=JOINED_BEFORE_DAYS)).replace(tzinfo=None),
    }
    name = quoted(_chosen(release, category, is_aged=is_aged))
    versions = CHOSEN.format(reviewed=_reviewed(release))
    answers = moved_answers.answers(versions, fields(category, is_aged=is_aged), rules)
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE TEMPORARY TABLE {name} ON COMMIT DROP AS {answers}", values)
        cursor.execute(BASIS.format(name=name), values)


def fields(category: Category, *, is_aged: bool) -> list[NumberField | ChoiceField]:
    """List the fields that use the answers as of the cut-off or, with `is_aged`, as of 90 days before."""
    numbers = [number for number in definitions.number_fields(category) if number.is_pay_or_fee == is_aged]
    return [*numbers, *(() if is_aged else definitions.choice_fields(category))]


@dataclass(frozen=True)
class Source:
    """The source of a table's versions: the temporary table of the release that is being taken, or a basis.

    From a basis, only `companies` are read, which are those that may have changed.
    """

    chosen: str = ""
    release: str = ""
    companies: tuple[str, ...] = ()

    def answers(
        self,
        asked: Sequence[NumberField | ChoiceField],
        category: Category,
        *,
        is_aged: bool,
        rules: disclosure.Rules,
    ) -> str:
        """Write SQL for the answers: company, place, and a column for each field."""
        if self.chosen:
            return f"SELECT * FROM {quoted(_chosen(self.chosen, category, is_aged=is_aged))}"
        versions = f"""
            SELECT chosen.version, "memberId", "companyKey" AS company, data, place::float8
              FROM "BenchmarkBasis", unnest(versions) WITH ORDINALITY AS chosen (version, place)
              JOIN "BenchmarkVersion" AS version ON version.id = chosen.version
             WHERE "releaseId" = %(release)s
               AND "BenchmarkBasis".category = '{category.value}'
               AND "isAged" = {is_aged}
               AND "companyKey" = ANY (%(companies)s::text[])"""
        return moved_answers.answers(versions, asked, rules)

    @property
    def values(self) -> dict[str, Any]:
        return {} if self.chosen else {"release": self.release, "companies": list(self.companies)}


def _chosen(release: str, category: Category, *, is_aged: bool) -> str:
    return f"chosen {category.value}{' aged' if is_aged else ''} {release}"


# Finds companies that may have changed between two releases: those with a version that only one of the two uses.
CHANGED_COMPANIES = """
WITH bases AS (
    SELECT unnest(versions) AS version, category, "isAged", "releaseId" = %(new)s AS is_new
      FROM "BenchmarkBasis"
     WHERE "releaseId" IN (%(old)s, %(new)s)
       AND category IN (%(category)s::"BenchmarkCategory", 'BUSINESS')
), changed AS (
    SELECT version FROM bases GROUP BY version, category, "isAged" HAVING bool_and(is_new) OR NOT bool_or(is_new)
)
SELECT DISTINCT "companyKey" FROM changed JOIN "BenchmarkVersion" ON id = version
"""


def changed_companies(*, old: str, new: str, category: Category) -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute(CHANGED_COMPANIES, {"old": old, "new": new, "category": category.value})
        return [row[0] for row in cursor.fetchall()]
