"""The search in the library: finding and ranking resources, marking words, counting searches without results."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any, NamedTuple

from django.contrib.postgres.search import (
    SearchHeadline,
    SearchQuery,
    SearchRank,
    SearchVector,
    SearchVectorField,
)
from django.db import connection
from django.db.models.expressions import CombinedExpression, RawSQL
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
def _compiled(vector: CombinedExpression | SearchVector) -> RawSQL:
    """Compile a search vector to SQL once. Django takes milliseconds for it, and a search needs it several times."""
    resources = Resource.objects.all().query
    sql, parameters = resources.get_compiler(connection=connection).compile(
        vector.resolve_expression(resources)
    )
    return RawSQL(sql, parameters, output_field=SearchVectorField())  # noqa: S611  # Django made the SQL


def has_words(words: str) -> bool:
    """Tell whether a search contains words. Operators and stop words such as "the" do not count."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT querytree(websearch_to_tsquery('english', %s)) NOT IN ('', 'T')", [words])
        row = cursor.fetchone()
    return bool(row and row[0])


class Ranked(NamedTuple):
    """Ranks and ids, best first. If `is_cut_off`, more resources match than were ranked."""

    places: list[tuple[int, str]]
    is_cut_off: bool


def ranked(resources: ResourceQuerySet, words: str) -> Ranked:
    """Rank the resources that match. If there are too many, rank only the MAX_RANKED most promising ones."""
    asked, searched = query(words), _compiled(SEARCHED)
    matches = resources.annotate(searched=searched).filter(searched=asked).order_by()
    found = list(matches.values_list("pk", flat=True)[: MAX_RANKED + 1])
    is_cut_off = len(found) > MAX_RANKED
    if is_cut_off:
        found = _promising(resources, words, found)
    rank = SearchRank(searched, asked, weights=WEIGHTS, normalization=1)
    rows = Resource.objects.filter(pk__in=found).annotate(rank=rank).values_list("rank", "pk")
    places = sorted(((round(rank * RANK_STEPS), pk) for rank, pk in rows), reverse=True)
    return Ranked(places, is_cut_off)


def _promising(resources: ResourceQuerySet, words: str, found: list[str]) -> list[str]:
    """Choose MAX_RANKED of many matching resources. The work does not depend on how many match."""
    asked = query(words)
    chosen: list[str] = []
    # Not for a search such as "-word": the title does not tell whether the description contains the word.
    if not NEGATION.search(words):
        by_title = resources.annotate(searched=_compiled(SEARCHED_TITLE)).filter(searched=asked).order_by()
        chosen += by_title.values_list("pk", flat=True)[:BY_TITLE]
    head = resources.order_by("-ranked_downloads", "-pk").values("pk")[:MOST_DOWNLOADED]
    popular = Resource.objects.filter(pk__in=head).annotate(searched=_compiled(SEARCHED))
    popular = popular.filter(searched=asked).order_by("-ranked_downloads", "-pk")
    chosen += popular.values_list("pk", flat=True)[:BY_DOWNLOADS]
    return list(dict.fromkeys([*chosen, *found]))[:MAX_RANKED]


def mark(resources: Sequence[Resource], words: str) -> dict[str, tuple[SafeString, SafeString]]:
    """Return titles and descriptions as HTML with the words marked, by id. Long descriptions are cut to excerpts."""
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
    rows = Resource.objects.filter(pk__in=[one.pk for one in resources]).values_list("pk", whole, parts)
    return {pk: (_as_html(title), _as_html(description)) for pk, title, description in rows}


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
