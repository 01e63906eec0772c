"""The search in the library: which resources the words are in, how well, and where. And what was not found."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from django.contrib.postgres.search import SearchHeadline, SearchQuery, SearchRank
from django.db import connection
from django.db.models.functions import Left
from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe

from council.postgres.fields import cuid
from resources.models import MAX_SEARCH_LENGTH, SEARCHED, Resource, ResourceQuerySet

# A rank takes reading a resource's text again, so that of a word which is everywhere only so many are ranked.
MAX_RANKED = 200
RANK_STEPS = 1_000_000
# Which matches count more: in the description, by the author, in the title (weights D, C, B, A).
WEIGHTS = [0.0, 0.2, 0.6, 1.0]
# PostgreSQL puts these around a match; what surrounds them is escaped afterwards. No keyboard has them.
BEGIN, END = "\x02", "\x03"
MATCH = re.compile(f"{BEGIN}([^{BEGIN}{END}]*){END}")
SHORT_CHARACTERS = 2_000
# A day keeps no more different searches than this, so that nobody fills the table.
MAX_MISSES_A_DAY = 1_000
COUNT_MISS = """
    INSERT INTO "ResourceSearchMiss" AS miss (id, day, words)
    SELECT %(id)s, %(day)s, %(words)s
     WHERE (SELECT count(*) FROM "ResourceSearchMiss" WHERE day = %(day)s) < %(most)s
        OR EXISTS (SELECT FROM "ResourceSearchMiss" WHERE day = %(day)s AND words = %(words)s)
        ON CONFLICT (day, words) DO UPDATE SET searches = miss.searches + 1
"""


def query(words: str) -> SearchQuery:
    """Read what a member typed: words, "a phrase", or, -without."""
    return SearchQuery(words, config="english", search_type="websearch")


def has_words(words: str) -> bool:
    """Whether there is anything to look for. Operators alone are nothing, and so are words such as "the"."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT querytree(websearch_to_tsquery('english', %s)) NOT IN ('', 'T')", [words])
        row = cursor.fetchone()
    return bool(row and row[0])


def ranked(resources: ResourceQuerySet, words: str) -> list[tuple[int, str]]:
    """Rank the resources that have the words, MAX_RANKED at most. Returns ranks and ids, the best first."""
    asked = query(words)
    found = resources.annotate(searched=SEARCHED).filter(searched=asked).order_by().values("pk")[:MAX_RANKED]
    rank = SearchRank(SEARCHED, asked, weights=WEIGHTS, normalization=1)
    rows = Resource.objects.filter(pk__in=found).annotate(rank=rank).values_list("rank", "pk")
    return sorted(((round(rank * RANK_STEPS), pk) for rank, pk in rows), reverse=True)


def mark(resources: Sequence[Resource], words: str) -> dict[str, tuple[SafeString, SafeString]]:
    """Give title and description of each as HTML, by id, with the words marked; of long ones what is around them."""
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
    """Count a search that found nothing, for staff: its words and the day (UTC), not the member."""
    normal = " ".join(words.casefold().split())[:MAX_SEARCH_LENGTH]
    given: dict[str, Any] = {
        "id": cuid(),
        "day": datetime.now(UTC).date(),
        "words": normal,
        "most": MAX_MISSES_A_DAY,
    }
    with connection.cursor() as cursor:
        cursor.execute(COUNT_MISS, given)
