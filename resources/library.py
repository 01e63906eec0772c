"""The library as members see it: which resources, in which order, and which they have downloaded."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import NamedTuple, Self

from django.db import connection, models
from django.db.models.functions import Now
from django.utils.dateparse import parse_datetime
from django.utils.safestring import SafeString
from django.utils.text import Truncator

from council.models import Member
from resources import search
from resources.models import (
    SHOWN_AT,
    Resource,
    ResourceDownload,
    ResourceQuerySet,
    ResourceTag,
    ResourceTagging,
)

PAGE_ROWS = 12
EXCERPT_CHARACTERS = 240
NEW_DAYS = 14
TRENDING_DAYS = 7
BATCH_ROWS = 500
RECOMMENDED_ROWS = 4
# Recommendations use the most frequent tags of the resources that a member downloaded last.
LATEST_DOWNLOADS = 100
FAVOURITE_TAGS = 3
PLACE = re.compile(r"(?P<key>[-0-9T:.]{1,32})_(?P<resource_id>[^\0]{1,200})")
MAX_INT = 2**31 - 1
# A resource that is locked by a download is skipped until the next run, so that nobody waits for this.
REFRESH = """
    WITH free AS (
        SELECT id FROM "Resource" WHERE id = ANY(%(ids)s) ORDER BY id FOR NO KEY UPDATE SKIP LOCKED
    )
    UPDATE "Resource" AS resource
       SET "rankedDownloads" = resource."downloadCount", "recentDownloads" = given.recent
      FROM free JOIN unnest(%(ids)s::text[], %(recent)s::int[]) AS given (id, recent) USING (id)
     WHERE resource.id = free.id
"""


class Refused(Exception):
    """The address asks for something that does not exist. The message gives the reason."""


class Sort(models.TextChoices):
    NEWEST = "newest"
    DOWNLOADS = "downloads", "Most downloaded"
    TRENDING = "trending"


class State(StrEnum):
    """The state of a resource for a member."""

    NEW = "New"
    UPDATED = "Updated since you downloaded it"
    DOWNLOADED = "You have it"
    OTHER = ""


@dataclass(frozen=True)
class Filters:
    """The search and filters of a member. With words, the best match comes first, and `sort` is ignored."""

    words: str = ""
    category: str = ""
    type: str = ""
    tag: str = ""
    is_featured: bool = False
    sort: Sort = Sort.NEWEST

    @property
    def narrows(self) -> bool:
        """Whether a filter other than the words is set."""
        return bool(self.category or self.type or self.tag or self.is_featured)

    @property
    def key(self) -> str:
        """The name of the value that orders the list, before the id."""
        if self.words:
            return "rank"
        return {
            Sort.NEWEST: "shown_at",
            Sort.DOWNLOADS: "ranked_downloads",
            Sort.TRENDING: "recent_downloads",
        }[self.sort]

    def apply(self, resources: ResourceQuerySet) -> ResourceQuerySet:
        if self.category:
            resources = resources.filter(category=self.category)
        if self.type:
            resources = resources.filter(type=self.type)
        if self.tag:
            tagged = ResourceTagging.objects.filter(tag__slug=self.tag, resource=models.OuterRef("pk"))
            resources = resources.filter(models.Exists(tagged))
        if self.is_featured:
            resources = resources.filter(is_featured=True)
        return resources


class Place(NamedTuple):
    """A place in a list of resources, after one of them. The address of the next page contains it."""

    key: datetime | int
    resource_id: str

    def __str__(self) -> str:
        key = self.key if isinstance(self.key, int) else f"{self.key:%Y-%m-%dT%H:%M:%S.%f}"
        return f"{key}_{self.resource_id}"

    @classmethod
    def read(cls, text: str, filters: Filters) -> Self:
        """Parse a place. Raises Refused if it cannot be a place in the list with these filters."""
        match = PLACE.fullmatch(text)
        if match and filters.key == "shown_at":
            try:
                shown_at = parse_datetime(match["key"])
            except ValueError:
                shown_at = None
            if shown_at:
                return cls(shown_at.replace(tzinfo=UTC), match["resource_id"])
        elif match and match["key"].isdecimal() and int(match["key"]) <= MAX_INT:
            return cls(int(match["key"]), match["resource_id"])
        raise Refused(f"{text[:60]!r} is not a place in this list. Start with the first page.")


@dataclass(frozen=True)
class Item:
    """A resource as a member sees it in a list. In title and description, the searched words may be marked."""

    resource: Resource
    state: State
    tags: list[ResourceTag]
    title: SafeString | str
    description: SafeString | str
    downloaded_at: datetime | None = None


@dataclass(frozen=True)
class Page:
    items: list[Item] = field(default_factory=list)
    next_place: Place | None = None
    is_cut_off: bool = False  # more resources match the search than are ranked


def browse(filters: Filters, *, member: Member, after: Place | None = None, rows: int = PAGE_ROWS) -> Page:
    """Read one page of the resources that members can see now. The next page begins after `next_place`."""
    resources = filters.apply(Resource.objects.shown())
    if filters.words:
        return _search(resources, filters.words, member=member, after=after, rows=rows)
    key = filters.key
    if key == "shown_at":
        resources = resources.annotate(shown_at=SHOWN_AT)
    if after:
        resources = resources.filter(
            models.Q(**{f"{key}__lt": after.key}) | models.Q(pk__lt=after.resource_id),
            **{f"{key}__lte": after.key},
        )
    found = list(resources.order_by(f"-{key}", "-pk")[: rows + 1])
    shown = found[:rows]
    place = Place(getattr(shown[-1], key), shown[-1].pk) if len(found) > len(shown) else None
    return Page(items(shown, member=member), place)


def _search(
    resources: ResourceQuerySet, words: str, *, member: Member, after: Place | None, rows: int
) -> Page:
    ranked = search.ranked(resources, words)
    rest = [one for one in ranked.places if one < after] if after else ranked.places
    ids = [pk for _, pk in rest[:rows]]
    marked = search.marked(ids, words) if ids else {}
    shown = [marked[pk].resource for pk in ids if pk in marked]  # one may just have been deleted
    return Page(
        items(shown, member=member, marked=marked),
        Place(*rest[rows - 1]) if len(rest) > rows else None,
        is_cut_off=ranked.is_cut_off,
    )


def items(
    resources: Sequence[Resource], *, member: Member, marked: Mapping[str, search.Marked] | None = None
) -> list[Item]:
    """Collect what the member sees of each resource. The number of queries does not depend on the number of rows."""
    ids = [resource.pk for resource in resources]
    tags, downloads = _tags(ids), _downloads(ids, member=member)
    found = []
    for resource in resources:
        downloaded_at, version_at = downloads.get(resource.pk, (None, None))
        title, description = marked[resource.pk][1:] if marked else _shortened(resource)
        state = _state(resource, downloaded_at=downloaded_at, version_at=version_at)
        found.append(Item(resource, state, tags.get(resource.pk, []), title, description, downloaded_at))
    return found


def _shortened(resource: Resource) -> tuple[str, str]:
    return resource.title, Truncator(resource.description).chars(EXCERPT_CHARACTERS)


def _state(resource: Resource, *, downloaded_at: datetime | None, version_at: datetime | None) -> State:
    if downloaded_at:
        return State.UPDATED if version_at and version_at > downloaded_at else State.DOWNLOADED
    shown_at: datetime = resource.publish_at or resource.created_at
    return State.NEW if shown_at > datetime.now(UTC) - timedelta(days=NEW_DAYS) else State.OTHER


def _tags(ids: Collection[str]) -> dict[str, list[ResourceTag]]:
    taggings = ResourceTagging.objects.filter(resource__in=ids).select_related("tag").order_by("tag__name")
    found: dict[str, list[ResourceTag]] = {}
    for tagging in taggings:
        found.setdefault(tagging.resource_id, []).append(tagging.tag)
    return found


def _downloads(ids: Collection[str], *, member: Member) -> dict[str, tuple[datetime, datetime | None]]:
    """Return when a member last downloaded resources, and since when each has its current file. Links have none."""
    is_current = models.Q(resource__versions__number=models.F("resource__current_version"))
    downloads = (
        ResourceDownload.objects.filter(member=member, resource__in=ids)
        .values("resource")
        .annotate(
            latest=models.Max("downloaded_at"),
            version_at=models.Max("resource__versions__created_at", filter=is_current),
        )
    )
    return {row["resource"]: (row["latest"], row["version_at"]) for row in downloads}


class Downloaded(NamedTuple):
    """A resource in the list of a member's downloads."""

    item: Item
    times: int
    is_shown: bool


def downloaded(*, member: Member, after: Place | None = None) -> tuple[list[Downloaded], Place | None]:
    """List each resource that a member has downloaded, latest first, including those no longer in the library."""
    downloads = (
        ResourceDownload.objects.filter(member=member)
        .values("resource")
        .annotate(latest=models.Max("downloaded_at"), times=models.Count("*"))
    )
    if after:
        downloads = downloads.filter(
            models.Q(latest__lt=after.key) | models.Q(resource__lt=after.resource_id), latest__lte=after.key
        )
    rows = list(downloads.order_by("-latest", "-resource")[: PAGE_ROWS + 1])
    page = rows[:PAGE_ROWS]
    ids = [row["resource"] for row in page]
    resources = Resource.objects.in_bulk(ids)
    shown = set(Resource.objects.shown().filter(pk__in=ids).values_list("pk", flat=True))
    by_id = {item.resource.pk: item for item in items([resources[pk] for pk in ids], member=member)}
    found = [
        Downloaded(by_id[row["resource"]], row["times"], is_shown=row["resource"] in shown) for row in page
    ]
    last = page[-1] if len(rows) > len(page) else None
    return found, Place(last["latest"], last["resource"]) if last else None


def recommended(*, member: Member) -> list[Resource]:
    """Choose resources that the member does not have, and that share tags with their latest downloads."""
    downloads = ResourceDownload.objects.filter(member=member)
    latest = downloads.order_by("-downloaded_at").values("resource")[:LATEST_DOWNLOADS]
    tags = (
        ResourceTagging.objects.filter(resource__in=latest)
        .values_list("tag", flat=True)
        .annotate(uses=models.Count("*"))
        .order_by("-uses", "tag")[:FAVOURITE_TAGS]
    )
    favourites = list(tags)
    if not favourites:
        return []
    tagged = ResourceTagging.objects.filter(tag__in=favourites, resource=models.OuterRef("pk"))
    downloaded = downloads.filter(resource=models.OuterRef("pk"))
    resources = Resource.objects.shown().filter(models.Exists(tagged), ~models.Exists(downloaded))
    return list(resources.order_by("-ranked_downloads", "-pk")[:RECOMMENDED_ROWS])


def shown_since(since: datetime, *, rows: int) -> list[Resource]:
    """List resources that members can see only since this time, newest first."""
    resources = Resource.objects.shown().annotate(shown_at=SHOWN_AT).filter(shown_at__gt=since)
    return list(resources.order_by("-shown_at", "-pk")[:rows])


def tags_in_use() -> list[ResourceTag]:
    """List the tags that resources have, in the order of their names."""
    used = ResourceTagging.objects.filter(tag=models.OuterRef("pk"))
    return list(ResourceTag.objects.filter(models.Exists(used)).order_by("name"))


def refresh() -> int:
    """Update the counts by which "most downloaded" and "trending" are ordered. Returns how many resources changed.

    These are separate, indexed columns. If `download_count` itself were indexed, every download would write to all
    indexes of the resource, including the one for the text search.
    """
    since = Now() - timedelta(days=TRENDING_DAYS)
    recent = dict(
        ResourceDownload.objects.filter(downloaded_at__gte=since)
        .values_list("resource")
        .annotate(downloads=models.Count("*"))
    )
    known = dict(Resource.objects.exclude(recent_downloads=0).values_list("pk", "recent_downloads"))
    changed = {pk for pk in known.keys() | recent.keys() if known.get(pk, 0) != recent.get(pk, 0)}
    behind = Resource.objects.exclude(ranked_downloads=models.F("download_count"))
    changed |= set(behind.values_list("pk", flat=True))
    ids = sorted(changed)
    refreshed = 0
    for first in range(0, len(ids), BATCH_ROWS):
        batch = ids[first : first + BATCH_ROWS]
        with connection.cursor() as cursor:
            cursor.execute(REFRESH, {"ids": batch, "recent": [recent.get(pk, 0) for pk in batch]})
            refreshed += cursor.rowcount
    return refreshed
