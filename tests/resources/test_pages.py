"""The library in a real browser: searching, reading and downloading, also from another origin."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.files.storage import storages

from council.models import Member, SubscriptionStatus
from gamification.models import PointTransaction
from resources.models import Resource, ResourceDownload, ResourceTag, ResourceTagging
from tests.browser import Visitor, serving
from tests.databases import Database
from tests.factories import (
    MemberFactory,
    ResourceDownloadFactory,
    ResourceFactory,
    ResourceTagFactory,
    store_version,
    stored_resource,
)
from tests.resources.storages import S3Server

pytestmark = pytest.mark.any_server

NewVisitor = Callable[..., Visitor]
CONTENT = b"%PDF-1.7 the playbook of cold emails"
WORDS = (
    "How to write cold emails that people answer: the subject line, the first sentence, the offer, the follow-up. "
    "With twelve examples from agencies of every size, what each of them was for, and what came of it."
)


@pytest.fixture
def mia(live: str) -> Member:
    return MemberFactory.create(first_name="Mia")


@pytest.fixture
def playbook(mia: Member) -> Resource:
    """A library with a playbook of two versions that Mia has downloaded, and with resources in every other state."""
    Resource.objects.update(deleted_at=datetime.now(UTC))
    tags: dict[str, ResourceTag] = {
        name: ResourceTag.objects.filter(name=name).first() or ResourceTagFactory.create(name=name)
        for name in ("Cold email", "Hiring", "Pricing")
    }
    before = datetime.now(UTC) - timedelta(days=40)
    playbook = stored_resource(
        title="Cold email playbook", description=WORDS, author="Ada Council", content=CONTENT, is_featured=True,
        created_at=before,
    )  # fmt: skip
    ResourceDownloadFactory.create(member=mia, resource=playbook, downloaded_at=before + timedelta(days=1))
    store_version(
        playbook, content=CONTENT, note="Four new examples,\nand the numbers of this year",
        created_at=datetime.now(UTC) - timedelta(days=2),
    )  # fmt: skip
    course = stored_resource(
        title="Course in pricing", type="COURSE", category="AGENCY_GROWTH", created_at=before
    )
    ResourceDownloadFactory.create(member=mia, resource=course)
    video = ResourceFactory.create(
        title="Video: how a good first call sounds", type="VIDEO", file_url="https://video.example/watch?v=1"
    )
    long = ResourceFactory.create(title="W" * 200, description="<script>alert(1)</script> " + "x" * 900)
    for resource, names in (
        (playbook, ["Cold email"]), (course, ["Pricing"]), (video, ["Cold email", "Hiring"]), (long, ["Pricing"]),
    ):  # fmt: skip
        for name in names:
            ResourceTagging.objects.create(resource=resource, tag=tags[name])
    return playbook


def test_a_member_finds_and_downloads_a_resource(visitor: Visitor, mia: Member, playbook: Resource) -> None:
    visitor.sign_in(mia)
    visitor.open("/library/")
    visitor.inspect("library")
    page = visitor.page
    page.get_by_label("Search").fill("emails answered")
    page.get_by_role("button", name="Show", exact=True).click()
    page.get_by_role("heading", name="Cold email playbook").wait_for()
    assert page.locator("mark").count() >= 2
    visitor.inspect("library-search")

    page.get_by_role("link", name="Cold email playbook").click()
    page.get_by_text("Updated since you downloaded it").wait_for()
    visitor.inspect("resource")
    with page.expect_download() as downloading:
        page.get_by_role("button", name="Download").click()
    page.get_by_role("heading", name="Your download is starting").wait_for()
    assert downloading.value.suggested_filename == "Playbook.pdf"
    assert Path(downloading.value.path()).read_bytes() == CONTENT
    visitor.inspect("downloaded")
    assert PointTransaction.objects.get(member=mia).metadata == {
        "resourceId": playbook.pk,
        "title": "Cold email playbook",
    }

    page.get_by_role("link", name="Back to the resource").click()
    page.get_by_text("You have it").wait_for()
    visitor.open("/library/downloads/")
    visitor.inspect("downloads")
    visitor.open("/points/history/")
    page.get_by_text("Cold email playbook").wait_for()

    visitor.open("/library/?q=-%20OR%20%22")
    page.get_by_text("Your search has no words that we can search for.").wait_for()
    visitor.inspect("library-fault")
    visitor.expect_complaints("400 (Bad Request)")
    visitor.open("/library/?q=xylophone")
    visitor.inspect("library-nothing-found")


def test_a_member_without_good_standing_sees_what_is_missing(
    visitor: Visitor, mia: Member, playbook: Resource
) -> None:
    Member.objects.filter(pk=mia.pk).update(subscription_status=SubscriptionStatus.PAST_DUE)
    visitor.sign_in(Member.objects.get(pk=mia.pk))
    visitor.open("/library/")
    visitor.inspect("library-lapsed")
    visitor.page.get_by_role("link", name="Cold email playbook").click()
    visitor.page.get_by_text("Your last payment did not go through.").wait_for()
    assert visitor.page.get_by_role("button", name="Download").count() == 0
    visitor.inspect("resource-lapsed")


@pytest.fixture
def in_a_bucket(s3_server: S3Server, served_database: Database, live: str) -> Iterator[str]:
    """A second server whose files are in a bucket on another port, which is another origin. Yields our origin."""
    s3_server.new_bucket()
    storage: Any = storages
    former, storage._storages["library"] = storage._storages.get("library"), s3_server.backend()
    options = s3_server.options
    environment = {
        "S3_ENDPOINT_URL": options["endpoint_url"],
        "S3_REGION": options["region_name"],
        "S3_BUCKET": options["bucket_name"],
        "S3_ACCESS_KEY_ID": options["access_key"],
        "S3_SECRET_ACCESS_KEY": options["secret_key"],
    }
    try:
        with serving(served_database, **environment) as address:
            yield address
    finally:
        storage._storages.pop("library")
        if former:
            storage._storages["library"] = former


def test_a_download_from_a_bucket_on_another_origin(
    new_visitor: NewVisitor, in_a_bucket: str, mia: Member, s3_server: S3Server
) -> None:
    """`form-action 'self'` would block a redirect to it, because Chromium checks every redirect after a form.

    The test runs without JavaScript.
    """
    stored_resource(title="From elsewhere", content=CONTENT)
    visitor = new_visitor(java_script_enabled=False)
    visitor.address = in_a_bucket
    visitor.sign_in(mia)
    visitor.open("/library/")
    visitor.page.get_by_label("Search").fill("elsewhere")
    visitor.page.get_by_role("button", name="Show", exact=True).click()
    visitor.page.get_by_role("link", name="From elsewhere").click()
    with visitor.page.expect_download() as downloading:
        visitor.page.get_by_role("button", name="Download").click()

    assert downloading.value.url.startswith(s3_server.address)
    assert downloading.value.suggested_filename == "Playbook.pdf"
    assert Path(downloading.value.path()).read_bytes() == CONTENT
    assert ResourceDownload.objects.filter(member=mia).count() == 1


def test_a_link_to_another_site_opens(new_visitor: NewVisitor, mia: Member) -> None:
    video = ResourceFactory.create(title="Video", type="VIDEO", file_url="https://video.example/watch?v=1")
    visitor = new_visitor()
    visitor.context.route(
        "https://video.example/**", lambda route: route.fulfill(body="<title>The video</title>")
    )
    visitor.sign_in(mia)
    visitor.open(video.get_absolute_url())
    visitor.page.get_by_role("button", name="Open").click()
    visitor.page.wait_for_url("https://video.example/watch?v=1")

    assert ResourceDownload.objects.filter(member=mia).count() == 1
