"""The search in the library: finding and ranking resources, marking words, counting searches without results."""

import re
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any, NamedTuple

from django.contrib.postgres.search import (
    SearchHeadline,
    SearchQuery,
    SearchVector,
)
from django.db import connection
from django.db.models.expressions import CombinedExpression
from django.db.models.functions import Left
from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe

from council.postgres.fields import cuid
from resources.models import MAX_SEARCH_LENGTH, SEARCHED, SEARCHED_TITLE, Resource, ResourceQuerySet

# Ranking reads the text of each resource again, which takes 0.1 ms. So if very many match, only this many are ranked:
# first those with the words in the title, then the most downloaded, then others in the order of the index.
MAX_RANKED = 36
BY_TITLE, BY_DOWNLOADS = 18, 10
# How many of the most downloaded resources are checked for the words.
MOST_DOWNLOADED = 25
NEGATION = re.compile(r"(^|\s)-")
RANK_STEPS = 1_000_000
# The weights D, C, B and A: matches in the description (C), the author (B) and the title (A).
WEIGHTS = [0.0, 0.2, 0.6, 1.0]
# PostgreSQL puts these around a match. The text is escaped afterwards. Nobody can type these characters.
BEGIN, END = "\x02", "\x03"
MATCH = re.compile(f"{BEGIN}([^{BEGIN}{END}]*){END}")
SHORT_CHARACTERS = 2_000
# At most this many different searches are stored per day, so that nobody can fill the table.
MAX_MISSES_A_DAY = 1_000
COUNT_MISS = """
    INSERT INTO "ResourceSearchMiss" AS miss (id, day, words)
    SELECT %(id)s, %(day)s, %(words)s
     WHERE (SELECT count(*) FROM "ResourceSearchMiss" WHERE day = %(day)s) < %(most)s
        OR EXISTS (SELECT FROM "ResourceSearchMiss" WHERE day = %(day)s AND words = %(words)s)
        ON CONFLICT (day, words) DO UPDATE SET searches = miss.searches + 1
"""


def query(words: str) -> SearchQuery:
    """Parse what a member typed. It may contain words, "a phrase", or, -without."""
    return SearchQuery(words, config="english", search_type="websearch")


@cache
def _compiled(vector: CombinedExpression | SearchVector) -> tuple[str, Sequence[Any]]:
    """Compile a search vector to SQL once, as Django takes milliseconds for it."""
    resources = Resource.objects.all().query
    compiler = resources.get_compiler(connection=connection)
    sql, parameters = compiler.compile(vector.resolve_expression(resources))
    return sql, parameters


def has_words(words: str) -> bool:
    """Tell whether a search contains words. Operators and stop words such as "the" do not count."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT querytree(websearch_to_tsquery('english', %s)) NOT IN ('', 'T')", [words])
        row = cursor.fetchone()
    return bool(row and row[0])


class Marked(NamedTuple):
    """A resource with its title and description as HTML. A long description is cut to excerpts."""

    resource: Resource
    title: SafeString
    description: SafeString


class Ranked(NamedTuple):
    """Ranks and ids, best first. If `is_cut_off`, more resources match than were ranked."""

    places: list[tuple[int, str]]
    is_cut_off: bool


# Each search needs one statement, as Django takes a millisecond or two for each.
# `found`: the first matches in the order of the index. Only if there are too many, the others are looked for.
RANKED = """
    WITH found AS MATERIALIZED (
        SELECT id FROM "Resource" WHERE {shown} AND {searched} @@ {asked} LIMIT {most} + 1
    ), is_cut_off AS MATERIALIZED (
        SELECT count(*) > {most} AS yes FROM found
    ), promising AS (
        (SELECT id, 1 AS place
           FROM "Resource"
          WHERE {shown} AND {titles_tell} AND (SELECT yes FROM is_cut_off) AND {searched_title} @@ {asked}
          LIMIT {by_title})
        UNION ALL
        (SELECT id, 2
           FROM "Resource"
          WHERE id IN (SELECT id FROM "Resource"
                        WHERE {shown} AND (SELECT yes FROM is_cut_off)
                        ORDER BY "rankedDownloads" DESC, id DESC
                        LIMIT {most_downloaded})
            AND {searched} @@ {asked}
          ORDER BY "rankedDownloads" DESC, id DESC
          LIMIT {by_downloads})
        UNION ALL
        SELECT id, 3 FROM found
    ), chosen AS (
        SELECT id FROM promising GROUP BY id ORDER BY min(place) LIMIT {most}
    )
    SELECT ts_rank({weights}, {searched}, {asked}, 1), "Resource".id, (SELECT yes FROM is_cut_off)
      FROM chosen
      JOIN "Resource" USING (id)
"""


def ranked(resources: ResourceQuerySet, words: str) -> Ranked:
    """Rank the resources that match. If there are too many, rank only the MAX_RANKED most promising ones.

    Then the work does not depend on how many match.
    """
    compiler = resources.query.get_compiler(connection=connection)
    sql, parameters = _filled_in(
        RANKED,
        shown=compiler.compile(resources.query.where),
        searched=_compiled(SEARCHED),
        searched_title=_compiled(SEARCHED_TITLE),
        asked=("websearch_to_tsquery('english', %s)", [words]),
        # A search such as "-word" also excludes matches in the description, so titles alone are not enough.
        titles_tell=("%s", [not NEGATION.search(words)]),
        weights=("%s::float4[]", [WEIGHTS]),
        most=("%s", [MAX_RANKED]),
        by_title=("%s", [BY_TITLE]),
        by_downloads=("%s", [BY_DOWNLOADS]),
        most_downloaded=("%s", [MOST_DOWNLOADED]),
    )
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        rows = cursor.fetchall()
    places = sorted(((round(rank * RANK_STEPS), pk) for rank, pk, _ in rows), reverse=True)
    return Ranked(places, is_cut_off=any(is_cut_off for *_, is_cut_off in rows))


def _filled_in(sql: str, **parts: tuple[str, Sequence[Any]]) -> tuple[str, list[Any]]:
    """Fill in parts of SQL, each with its parameters, and list the parameters in the order of their places."""
    parameters: list[Any] = []

    def part(place: re.Match[str]) -> str:
        text, given = parts[place[1]]
        parameters.extend(given)
        return text

    return re.sub(r"{(\w+)}", part, sql), parameters


def marked(ids: Collection[str], words: str) -> dict[str, "Marked"]:
    """Read resources by id, with the words marked in title and description."""
    asked = query(words)
    whole = SearchHeadline(
        "title", asked, config="english", start_sel=BEGIN, stop_sel=END, highlight_all=True
    )
    parts = SearchHeadline(
        Left("description", SHORT_CHARACTERS),
        asked,
        config="english",
        start_sel=BEGIN,
        stop_sel=END,
        max_words=30,
        min_words=15,
        max_fragments=2,
        fragment_delimiter=" … ",
    )
    rows: Any = Resource.objects.filter(pk__in=ids).annotate(marked_title=whole, marked_description=parts)
    return {row.pk: Marked(row, _as_html(row.marked_title), _as_html(row.marked_description)) for row in rows}


def _as_html(text: str) -> SafeString:
    marked = MATCH.sub(r"<mark>\1</mark>", str(escape(text)))
    return mark_safe(marked.replace(BEGIN, "").replace(END, ""))  # noqa: S308  # escaped before it was marked


def count_miss(words: str) -> None:
    """Count a search that found nothing, for staff. Stores the words and the day (UTC), but not the member."""
    normal = " ".join(words.casefold().split())[:MAX_SEARCH_LENGTH]
    given: dict[str, Any] = {
        "id": cuid(),
        "day": datetime.now(UTC).date(),
        "words": normal,
        "most": MAX_MISSES_A_DAY,
    }
    with connection.cursor() as cursor:
        cursor.execute(COUNT_MISS, given)
