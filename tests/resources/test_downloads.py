"""A download makes a row, a count, points and a link, or none of them, also with many at once."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from django.db import connections

from council.models import Member, SubscriptionStatus
from gamification.models import PointRule, PointTransaction
from resources import downloads, storage
from resources.models import Resource, ResourceDownload, Status
from tests.databases import Database
from tests.factories import MemberFactory, ResourceFactory, store_version, stored_resource

AT_ONCE = 50


@pytest.fixture
def playbook(folder: Path, mia: Member) -> Resource:
    return stored_resource(title="Cold email playbook")


def recorded() -> tuple[int, int, int]:
    """Return the numbers of rows, the counts of all resources, and points."""
    return (
        ResourceDownload.objects.count(),
        sum(Resource.objects.values_list("download_count", flat=True)),
        sum(Member.objects.values_list("total_points", flat=True)),
    )


def test_a_download_is_recorded_counted_and_paid_once(playbook: Resource, mia: Member) -> None:
    first = downloads.download(member=mia, resource_id=playbook.pk)
    second = downloads.download(member=mia, resource_id=playbook.pk)

    assert (first.points, second.points) == (5, 0)
    assert recorded() == (2, 2, 5)
    entry = PointTransaction.objects.get()
    assert entry.metadata == {"resourceId": playbook.pk, "title": "Cold email playbook"}
    assert entry.idempotency_key == f"resource_download:{mia.pk}:{playbook.pk}"
    token = first.address.removeprefix("/library/file/").removesuffix("/")
    ticket = storage.read_link(token, member_id=mia.pk)
    assert (ticket.path, ticket.file_name) == (playbook.storage_path, "Playbook.pdf")


def test_a_download_of_a_link_returns_its_address(mia: Member) -> None:
    video = ResourceFactory.create(file_url="https://video.example/watch?v=1&t=é")

    assert (
        downloads.download(member=mia, resource_id=video.pk).address
        == "https://video.example/watch?v=1&t=%C3%A9"
    )
    assert recorded() == (1, 1, 5)


@pytest.mark.parametrize("address", ["http://video.example/", "javascript:alert(1)", "", "/library/"])
def test_an_address_that_cannot_be_opened_is_not_a_download(address: str, mia: Member) -> None:
    video = ResourceFactory.create(file_url=address)
    with pytest.raises(downloads.Refused, match="cannot be opened"):
        downloads.download(member=mia, resource_id=video.pk)

    assert recorded() == (0, 0, 0)


def test_a_disabled_rule_pays_nothing_and_blocks_nothing(playbook: Resource, mia: Member) -> None:
    rule = PointRule.objects.filter(action="resource_download")
    rule.update(enabled=False)
    downloads.download(member=mia, resource_id=playbook.pk)
    assert recorded() == (1, 1, 0)

    rule.update(enabled=True)
    downloads.download(member=mia, resource_id=playbook.pk)
    assert recorded() == (2, 2, 5)


@pytest.mark.parametrize(
    "change",
    [
        {"deleted_at": "2026-01-01T00:00Z"},
        {"status": Status.DRAFT},
        {"status": Status.SCHEDULED, "publish_at": "2999-01-01T00:00Z"},
    ],
    ids=["deleted", "draft", "scheduled"],
)
def test_members_cannot_download_resources_that_they_cannot_see(
    change: dict[str, Any], playbook: Resource, mia: Member
) -> None:
    Resource.objects.update(**change)
    with pytest.raises(downloads.Gone, match="no longer in the library"):
        downloads.download(member=mia, resource_id=playbook.pk)

    assert recorded() == (0, 0, 0)


def test_a_member_without_good_standing_downloads_nothing(playbook: Resource, lars: Member) -> None:
    with pytest.raises(downloads.NotInGoodStanding):
        downloads.download(member=lars, resource_id=playbook.pk)

    assert recorded() == (0, 0, 0)


def test_nothing_is_recorded_when_the_file_is_missing(playbook: Resource, mia: Member) -> None:
    storage.delete(playbook.storage_path or "")
    with pytest.raises(storage.Unavailable, match="missing from the storage"):
        downloads.download(member=mia, resource_id=playbook.pk)

    assert recorded() == (0, 0, 0)


# Events between making the link and adding the row.


def meanwhile(monkeypatch: pytest.MonkeyPatch, act: Callable[[], object], *, always: bool = False) -> None:
    """Call a function after the link is made and before anything is recorded."""
    make = storage.link
    left = [act]

    def link(path: str, **facts: Any) -> str:
        address = make(path, **facts)
        if left:
            (left[0] if always else left.pop())()
        return address

    monkeypatch.setattr(storage, "link", link)


def test_a_file_replaced_meanwhile_gives_the_new_file(
    playbook: Resource, mia: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    meanwhile(
        monkeypatch, lambda: store_version(playbook, content=b"%PDF-1.7 better", file_name="Better.pdf")
    )
    done = downloads.download(member=mia, resource_id=playbook.pk)

    token = done.address.removeprefix("/library/file/").removesuffix("/")
    assert storage.read_link(token, member_id=mia.pk).file_name == "Better.pdf"
    assert recorded() == (1, 1, 5)


def test_a_file_that_is_replaced_again_and_again_is_not_downloaded(
    playbook: Resource, mia: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    meanwhile(monkeypatch, lambda: store_version(playbook, content=b"%PDF-1.7"), always=True)
    with pytest.raises(downloads.Refused, match="being changed right now"):
        downloads.download(member=mia, resource_id=playbook.pk)

    assert recorded() == (0, 0, 0)


@pytest.mark.parametrize(
    ("act", "refusal"),
    [
        (lambda: Resource.objects.all().delete(), downloads.Gone),
        (lambda: Resource.objects.update(deleted_at="2026-01-01T00:00Z"), downloads.Gone),
        (lambda: Resource.objects.update(status=Status.DRAFT), downloads.Gone),
        (
            lambda: Member.objects.update(subscription_status=SubscriptionStatus.PAST_DUE),
            downloads.NotInGoodStanding,
        ),
    ],
    ids=["removed", "deleted", "unpublished", "member lapsed"],
)
def test_a_change_that_forbids_the_download_meanwhile_records_nothing(
    act: Callable[[], object],
    refusal: type[downloads.Refused],
    playbook: Resource,
    mia: Member,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    meanwhile(monkeypatch, act)
    with pytest.raises(refusal):
        downloads.download(member=mia, resource_id=playbook.pk)

    assert recorded() == (0, 0, 0)


# Many at once, in real sessions.


@pytest.fixture
def library(migrated: Database) -> Iterator[Database]:
    """A migrated database to which Django is connected."""
    with migrated.as_default_connection():
        yield migrated


def at_once(pairs: list[tuple[Member, Resource]]) -> list[int]:
    """Download for all pairs at the same time. Returns the points paid for each."""
    start = threading.Barrier(len(pairs))

    def work(pair: tuple[Member, Resource]) -> int:
        try:
            connections["default"].ensure_connection()
            start.wait()
            return downloads.download(member=pair[0], resource_id=pair[1].pk).points
        finally:
            connections.close_all()

    with ThreadPoolExecutor(len(pairs)) as pool:
        return list(pool.map(work, pairs))


def test_fifty_requests_of_one_member_for_one_resource_are_paid_once(library: Database) -> None:
    mia, video = MemberFactory.create(), ResourceFactory.create()
    paid = at_once([(mia, video)] * AT_ONCE)

    assert sorted(paid) == [0] * (AT_ONCE - 1) + [5]
    assert recorded() == (AT_ONCE, AT_ONCE, 5)


@pytest.mark.parametrize("shape", ["50 members, 1 resource", "1 member, 50 resources"])
def test_fifty_downloads_at_once_have_no_deadlock(shape: str, library: Database) -> None:
    many_members = shape.startswith("50")
    members = [MemberFactory.create() for _ in range(AT_ONCE if many_members else 1)]
    resources = [ResourceFactory.create() for _ in range(1 if many_members else AT_ONCE)]
    paid = at_once([(member, resource) for member in members for resource in resources])

    assert paid == [5] * AT_ONCE
    assert recorded() == (AT_ONCE, AT_ONCE, 5 * AT_ONCE)
    assert library.fetch("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()") == [
        (0,)
    ]
