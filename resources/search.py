"""The search in the library: which resources the words are in, how well, and where. And what was not found."""

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

# A rank takes reading a resource's text again, a tenth of a millisecond each. So of a word that is everywhere only so
# many are ranked: first those that have it in the title, then the most downloaded, then what the index gives.
MAX_RANKED = 36
BY_TITLE, BY_DOWNLOADS = 18, 10
# So many of the most downloaded are read to see which of them have the words.
MOST_DOWNLOADED = 25
NEGATION = re.compile(r"(^|\s)-")
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


@cache
def _compiled(vector: CombinedExpression | SearchVector) -> RawSQL:
    """Write down once what a search asks several times, which takes Django milliseconds each time."""
    resources = Resource.objects.all().query
    sql, parameters = resources.get_compiler(connection=connection).compile(
        vector.resolve_expression(resources)
    )
    return RawSQL(sql, parameters, output_field=SearchVectorField())  # noqa: S611  # Django wrote it


def has_words(words: str) -> bool:
    """Whether there is anything to look for. Operators alone are nothing, and so are words such as "the"."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT querytree(websearch_to_tsquery('english', %s)) NOT IN ('', 'T')", [words])
        row = cursor.fetchone()
    return bool(row and row[0])


class Ranked(NamedTuple):
    """Ranks and ids, the best first. `is_cut_off` says that more resources have the words than are ranked."""

    places: list[tuple[int, str]]
    is_cut_off: bool


def ranked(resources: ResourceQuerySet, words: str) -> Ranked:
    """Rank the resources that have the words: all of them, or the MAX_RANKED that promise most."""
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
    """Choose MAX_RANKED of the many that have the words. The work is the same for any number of them."""
    asked = query(words)
    chosen: list[str] = []
    # A title does not say whether the description has a word that was ruled out.
    if not NEGATION.search(words):
        by_title = resources.annotate(searched=_compiled(SEARCHED_TITLE)).filter(searched=asked).order_by()
        chosen += by_title.values_list("pk", flat=True)[:BY_TITLE]
    head = resources.order_by("-ranked_downloads", "-pk").values("pk")[:MOST_DOWNLOADED]
    popular = Resource.objects.filter(pk__in=head).annotate(searched=_compiled(SEARCHED))
    popular = popular.filter(searched=asked).order_by("-ranked_downloads", "-pk")
    chosen += popular.values_list("pk", flat=True)[:BY_DOWNLOADS]
    return list(dict.fromkeys([*chosen, *found]))[:MAX_RANKED]


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
