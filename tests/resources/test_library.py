"""The library's lists and their order, and the state of a resource for a member."""

import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from django.db import connection

from council.models import Member
from resources import library, search
from resources.library import Filters, Sort, State
from resources.models import Resource, ResourceSearchMiss, ResourceTag, ResourceTagging
from tests.factories import (
    ResourceDownloadFactory,
    ResourceFactory,
    ResourceTagFactory,
    store_version,
    stored_resource,
)

NOW = datetime.now(UTC)


def titles(member: Member, **filters: object) -> list[str]:
    page = library.browse(Filters(**filters), member=member)  # type: ignore[arg-type]
    return [item.resource.title for item in page.items]


def test_the_newest_comes_first_by_the_time_when_it_was_published(mia: Member) -> None:
    ResourceFactory.create(
        title="Old, published late", created_at=NOW - timedelta(9), publish_at=NOW - timedelta(1)
    )
    ResourceFactory.create(title="New", created_at=NOW - timedelta(2))
    ResourceFactory.create(title="Older", created_at=NOW - timedelta(5))

    assert titles(mia) == ["Old, published late", "New", "Older"]


def test_most_downloaded_and_trending_use_the_last_counts(mia: Member) -> None:
    classic, fresh = ResourceFactory.create(title="Classic"), ResourceFactory.create(title="Fresh")
    for resource, days, downloads in ((classic, 30, 5), (classic, 1, 1), (fresh, 2, 3)):
        for _ in range(downloads):
            ResourceDownloadFactory.create(
                member=mia, resource=resource, downloaded_at=NOW - timedelta(days=days)
            )

    assert library.refresh() == 2
    assert titles(mia, sort=Sort.DOWNLOADS) == ["Classic", "Fresh"]
    assert titles(mia, sort=Sort.TRENDING) == ["Fresh", "Classic"]
    assert library.refresh() == 0


def test_downloads_older_than_a_week_do_not_count_as_trending(mia: Member) -> None:
    resource = ResourceFactory.create()
    download = ResourceDownloadFactory.create(member=mia, resource=resource)
    library.refresh()
    type(download).objects.update(downloaded_at=NOW - timedelta(days=8))
    library.refresh()

    resource.refresh_from_db()
    assert (resource.recent_downloads, resource.ranked_downloads) == (0, 1)


def test_a_match_in_the_title_comes_before_one_in_the_description(mia: Member) -> None:
    ResourceFactory.create(title="Other things", description="About pricing, pricing and pricing")
    ResourceFactory.create(title="Pricing for agencies", description="Numbers")
    ResourceFactory.create(title="Hiring", description="People")

    assert titles(mia, words="pricing") == ["Pricing for agencies", "Other things"]
    assert titles(mia, words="prices") == ["Pricing for agencies", "Other things"]  # stems match
    assert titles(mia, words="pricing -agencies") == ["Other things"]
    assert titles(mia, words='"for agencies"') == ["Pricing for agencies"]
    assert titles(mia, words="hiring or numbers") == ["Hiring", "Pricing for agencies"]


def test_an_author_is_found(mia: Member) -> None:
    ResourceFactory.create(title="Playbook", author="Ada Lovelace")

    assert titles(mia, words="lovelace") == ["Playbook"]


def test_for_a_word_in_every_resource_a_limited_number_is_ranked(
    mia: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "MAX_RANKED", 3)
    for _ in range(5):
        ResourceFactory.create(title="Pricing")
    page = library.browse(Filters(words="pricing"), member=mia)

    assert (len(page.items), page.is_cut_off) == (3, True)


def test_of_many_matches_those_in_the_title_and_the_most_downloaded_are_ranked(
    mia: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, number in {"MAX_RANKED": 4, "BY_TITLE": 2, "BY_DOWNLOADS": 1, "MOST_DOWNLOADED": 2}.items():
        monkeypatch.setattr(search, name, number)
    ResourceFactory.create_batch(40, description="On pricing")
    ResourceFactory.create(title="Downloaded most", description="Without the word", ranked_downloads=9)
    ResourceFactory.create(title="Downloaded much", description="On pricing", ranked_downloads=8)
    ResourceFactory.create(title="Pricing", description="A secret")
    ResourceFactory.create(title="Pricing and hiring", category="OPERATIONS")
    ResourceFactory.create_batch(30, description="On pricing")
    ResourceFactory.create_batch(10, description="On pricing", category="OPERATIONS")

    first, second, *others = titles(mia, words="pricing")
    assert (first, second) == ("Pricing", "Pricing and hiring")
    assert len(others) == 2
    assert "Downloaded much" in others
    without = titles(mia, words="pricing -secret")
    assert len(without) == 4
    assert "Pricing" not in without
    first, *others = titles(mia, words="pricing", category="OPERATIONS")
    assert first == "Pricing and hiring"
    assert "Pricing" not in others


@pytest.mark.parametrize("filters", [{"sort": sort} for sort in Sort] + [{"words": "alike"}], ids=str)
def test_equal_resources_are_ordered_by_id(filters: dict[str, str], mia: Member) -> None:
    """A page ends in the middle of them. Without a fixed order, the next one could repeat or skip some."""
    ids = [f"r{number:03}" for number in range(2 * library.PAGE_ROWS + 5)]
    for pk in random.Random(1).sample(ids, len(ids)):
        ResourceFactory.create(pk=pk, title="Alike", created_at=NOW)
    with connection.cursor() as cursor:  # an index would return them in its own order
        cursor.execute("SET LOCAL enable_indexscan = off; SET LOCAL enable_bitmapscan = off")
    seen: list[str] = []
    place = None
    for _ in range(3):
        page = library.browse(Filters(**filters), member=mia, after=place)  # type: ignore[arg-type]
        seen += [item.resource.pk for item in page.items]
        place = page.next_place

    assert place is None
    assert seen == ids[::-1]


def test_downloads_at_the_same_time_are_ordered_by_resource_id(mia: Member) -> None:
    ids = [f"r{number:03}" for number in range(2 * library.PAGE_ROWS + 5)]
    for pk in random.Random(1).sample(ids, len(ids)):
        ResourceDownloadFactory.create(member=mia, resource=ResourceFactory.create(pk=pk), downloaded_at=NOW)
    seen: list[str] = []
    place = None
    for _ in range(3):
        rows, place = library.downloaded(member=mia, after=place)
        seen += [row.item.resource.pk for row in rows]

    assert place is None
    assert seen == ids[::-1]


def test_the_state_of_a_resource_for_a_member(mia: Member, carl: Member, folder: Path) -> None:
    before = NOW - timedelta(days=40)
    new = ResourceFactory.create()
    old = ResourceFactory.create(created_at=before)
    link = ResourceFactory.create(created_at=before)
    kept = stored_resource(created_at=before)
    updated = stored_resource(created_at=before)
    for resource in (link, kept, updated):
        ResourceDownloadFactory.create(member=mia, resource=resource, downloaded_at=NOW - timedelta(days=3))
    type(kept).objects.get(pk=kept.pk).versions.update(created_at=before)
    store_version(updated, content=b"%PDF-1.7 new", created_at=NOW - timedelta(days=1))

    resources = [new, old, link, kept, updated]
    states = [item.state for item in library.items(resources, member=mia)]
    assert states == [State.NEW, State.OTHER, State.DOWNLOADED, State.DOWNLOADED, State.UPDATED]
    assert [item.state for item in library.items(resources, member=carl)] == [State.NEW] + [State.OTHER] * 4
    ResourceDownloadFactory.create(member=mia, resource=updated)
    assert library.items([updated], member=mia)[0].state == State.DOWNLOADED


def test_recommendations_use_the_tags_of_a_member_s_downloads(mia: Member) -> None:
    hiring, pricing = ResourceTagFactory.create(name="Hiring"), ResourceTagFactory.create(name="Pricing")

    def tagged(title: str, tag: ResourceTag, **fields: object) -> Resource:
        resource: Resource = ResourceFactory.create(title=title, **fields)
        ResourceTagging.objects.create(resource=resource, tag=tag)
        return resource

    had = tagged("Had", hiring)
    tagged("Next", hiring, ranked_downloads=1)
    tagged("Better", hiring, ranked_downloads=2)
    tagged("Hidden", hiring, ranked_downloads=9, deleted_at=NOW)
    tagged("Of another tag", pricing, ranked_downloads=9)
    assert library.recommended(member=mia) == []

    ResourceDownloadFactory.create(member=mia, resource=had)
    assert [resource.title for resource in library.recommended(member=mia)] == ["Better", "Next"]


def test_a_day_stores_a_limited_number_of_different_searches(
    mia: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "MAX_MISSES_A_DAY", 2)
    for words in ("one", "two", "three", "Two"):
        search.count_miss(words)

    assert dict(ResourceSearchMiss.objects.values_list("words", "searches")) == {"one": 1, "two": 2}
