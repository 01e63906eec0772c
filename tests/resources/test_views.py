"""The library's pages, for members, lapsed members, staff and strangers, with good and bad input."""

import re
from collections.abc import Callable
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from council.models import Member, SubscriptionStatus
from resources import library, storage
from resources.models import (
    Resource,
    ResourceDownload,
    ResourceSearchMiss,
    ResourceTagging,
    Status,
)
from tests.factories import (
    AccountFactory,
    MemberFactory,
    ResourceDownloadFactory,
    ResourceFactory,
    ResourceTagFactory,
    store_version,
    stored_resource,
)
from tests.reading import words
from tests.resources.storages import SilentServer

pytestmark = pytest.mark.any_server

LIBRARY = "/library/"
DOWNLOADS = "/library/downloads/"


def browser_of(member: Member, **options: Any) -> Client:
    browser = Client(**options)
    browser.force_login(AccountFactory.create(member=member))
    return browser


@pytest.fixture
def mias_browser(mia: Member) -> Client:
    return browser_of(mia)


@pytest.fixture
def lars_browser(lars: Member) -> Client:
    return browser_of(lars)


@pytest.fixture
def playbook(db: None, folder: Path) -> Resource:
    return stored_resource(title="Cold email playbook", description="Subject lines that work", author="Ada")


def titles(response: Any) -> list[str]:
    found = re.findall(r"<h2><a href=[^>]*>(.*?)</a></h2>", response.content.decode())
    return [unescape(re.sub(r"<[^>]*>", "", title)) for title in found]


# Who may see what


@pytest.fixture
def addresses(playbook: Resource) -> list[str]:
    page = playbook.get_absolute_url()
    return [LIBRARY, DOWNLOADS, page, f"{page}download/"]


def test_pages_are_for_members(addresses: list[str], client: Client, sams_browser: Client) -> None:
    for address in addresses:
        assert client.get(address).headers["Location"].startswith("/sign-in/?next=/")
        assert client.post(address).headers["Location"].startswith("/sign-in/?next=/")
        assert sams_browser.get(address).status_code == 403
        assert sams_browser.post(address).status_code == 403
    assert not ResourceDownload.objects.exists()


def test_pages_accept_only_get(addresses: list[str], mias_browser: Client) -> None:
    for address in addresses[:3]:
        assert mias_browser.get(address).status_code == 200
        assert mias_browser.head(address).status_code == 200
        assert mias_browser.post(address).status_code == 405


def test_a_lapsed_member_sees_the_library_and_what_is_missing_and_downloads_nothing(
    addresses: list[str], lars_browser: Client
) -> None:
    for address in addresses[:3]:
        page = lars_browser.get(address)
        assert page.status_code == 200
        assert "Your membership has ended." in words(page)
        assert b"/download/" not in page.content
    refused = lars_browser.post(addresses[3])

    assert refused.status_code == 403
    assert "Your membership has ended." in words(refused)
    assert not ResourceDownload.objects.exists()


def test_a_download_needs_the_csrf_token(mia: Member, playbook: Resource) -> None:
    browser = browser_of(mia, enforce_csrf_checks=True)

    assert browser.post(f"{playbook.get_absolute_url()}download/").status_code == 403
    assert not ResourceDownload.objects.exists()


def test_a_member_who_lapses_before_the_click_downloads_nothing(
    mia: Member, mias_browser: Client, playbook: Resource
) -> None:
    assert "Download" in words(mias_browser.get(playbook.get_absolute_url()))
    Member.objects.filter(pk=mia.pk).update(subscription_status=SubscriptionStatus.PAST_DUE)
    refused = mias_browser.post(f"{playbook.get_absolute_url()}download/")

    assert refused.status_code == 302  # signed out
    assert not ResourceDownload.objects.exists()


# Downloading


def test_a_download_shows_a_page_that_leads_to_the_file(mias_browser: Client, playbook: Resource) -> None:
    page = mias_browser.post(f"{playbook.get_absolute_url()}download/")
    address = page.headers["Refresh"].removeprefix("0; url=")

    assert page.status_code == 200
    assert "Your download is starting" in words(page)
    assert "You earned 5 points" in words(page)
    assert f'href="{address}"' in page.content.decode()
    assert b"".join(mias_browser.get(address).streaming_content) == b"%PDF-1.7 the file"  # type: ignore[attr-defined]
    assert "earned" not in words(mias_browser.post(f"{playbook.get_absolute_url()}download/"))


@pytest.mark.parametrize("headers", [{"Sec-Purpose": "prefetch"}, {"Sec-Purpose": "prefetch;prerender"}])
def test_a_prefetch_records_nothing(
    headers: dict[str, str], mias_browser: Client, playbook: Resource
) -> None:
    page = playbook.get_absolute_url()
    for answer in (
        mias_browser.post(f"{page}download/", headers=headers),
        mias_browser.get(f"{page}download/", headers=headers),
    ):
        assert (answer.status_code, answer.headers["Location"]) == (302, page)
    mias_browser.get(f"{LIBRARY}?q=xylophone", headers=headers)

    assert not ResourceDownload.objects.exists()
    assert not ResourceSearchMiss.objects.exists()


def test_a_get_after_signing_in_redirects_to_the_resource(mias_browser: Client, playbook: Resource) -> None:
    answer = mias_browser.get(f"{playbook.get_absolute_url()}download/")

    assert (answer.status_code, answer.headers["Location"]) == (302, playbook.get_absolute_url())
    assert not ResourceDownload.objects.exists()


def test_a_failing_storage_gives_a_message_and_nothing_is_recorded(
    mias_browser: Client, playbook: Resource
) -> None:
    storage.delete(playbook.storage_path or "")
    answer = mias_browser.post(f"{playbook.get_absolute_url()}download/")

    assert answer.status_code == 503
    assert "The file is missing from the storage." in words(answer)
    assert "The download was not recorded, and no points were paid." in words(answer)
    assert not ResourceDownload.objects.exists()


def test_a_storage_that_does_not_answer_gives_a_message_and_nothing_is_recorded(
    mias_browser: Client, mia: Member, playbook: Resource, silent_bucket: SilentServer
) -> None:
    Resource.objects.update(thumbnail_path=f"thumbnails/{'0' * 32}.webp")
    for address in (LIBRARY, playbook.get_absolute_url(), DOWNLOADS):
        assert mias_browser.get(address).status_code == 200
    assert silent_bucket.connections() == 0  # pages do not wait for it
    answer = mias_browser.post(f"{playbook.get_absolute_url()}download/")
    picture = mias_browser.get(Resource.objects.get().thumbnail_address)

    assert (answer.status_code, picture.status_code) == (503, 503)
    assert "the bucket takes too long to answer" in words(answer)
    assert "The download was not recorded, and no points were paid." in words(answer)
    assert not ResourceDownload.objects.exists()
    facts = (Resource.objects.get().download_count, Member.objects.get(pk=mia.pk).total_points)
    assert facts == (0, 0)


@pytest.mark.parametrize("resource_id", ["nobody", "%00", "x" * 300, "..%2F..%2Fetc%2Fpasswd"])
def test_an_unknown_resource_is_not_found(resource_id: str, mias_browser: Client) -> None:
    for answer in (
        mias_browser.get(f"/library/{resource_id}/"),
        mias_browser.post(f"/library/{resource_id}/download/"),
    ):
        assert answer.status_code == 404


def test_a_scheduled_resource_is_not_found_before_its_time(mias_browser: Client, playbook: Resource) -> None:
    for change, status in (
        ({"status": Status.SCHEDULED, "publish_at": "2999-01-01T00:00Z"}, 404),
        ({"publish_at": "2026-01-01T00:00Z"}, 200),
        ({"status": Status.DRAFT}, 404),
        ({"status": Status.PUBLISHED, "deleted_at": "2026-01-01T00:00Z"}, 404),
    ):
        Resource.objects.update(**change)
        assert mias_browser.get(playbook.get_absolute_url()).status_code == status
        assert len(titles(mias_browser.get(LIBRARY))) == (status == 200)
        assert len(titles(mias_browser.get(f"{LIBRARY}?q=playbook"))) == (status == 200)
        answer = mias_browser.post(f"{playbook.get_absolute_url()}download/")
        assert answer.status_code == status


# Finding


def test_filters_keep_matching_resources(mias_browser: Client, playbook: Resource) -> None:
    video = ResourceFactory.create(title="Video", category="OPERATIONS", type="VIDEO", is_featured=True)
    ResourceTagging.objects.create(resource=video, tag=ResourceTagFactory.create(name="Hiring"))
    ResourceTagFactory.create(name="Unused")

    for query in ("category=OPERATIONS", "type=VIDEO", "tag=hiring", "featured=on", "tag=hiring&type=VIDEO"):
        assert titles(mias_browser.get(f"{LIBRARY}?{query}")) == ["Video"]
    assert titles(mias_browser.get(f"{LIBRARY}?tag=hiring&type=SOP")) == []
    assert "Unused" not in words(mias_browser.get(LIBRARY))


@pytest.mark.parametrize(
    ("query", "fault"),
    [
        ("q=" + "x" * 10_000, "Your search has 10000 characters. Shorten it to at most 200."),
        ("q=%00", "Null characters are not allowed."),
        ("q=-%20OR%20%22%22%20%26%20%7C%20!%20%3A*", "Your search has no words that we can search for."),
        ("q=the", "Your search has no words that we can search for."),
        ("q=-pricing", "Your search has no words that we can search for."),
        ("category=NONSENSE", "Select a valid choice. NONSENSE is not one of the available choices."),
        ("type=%00", "Select a valid choice."),
        ("tag=nobody", "Select a valid choice. nobody is not one of the available choices."),
        ("sort=price", "Select a valid choice. price is not one of the available choices."),
        ("after=", "is not a place in this list."),
        ("after=%00_%00", "is not a place in this list."),
        ("after=2026-99-99T00:00_x", "is not a place in this list."),
        ("after=7_x", "is not a place in this list."),
        ("sort=downloads&after=2026-01-01T00:00:00_x", "is not a place in this list."),
        ("sort=downloads&after=99999999999_x", "is not a place in this list."),
        ("sort=downloads&after=²_x", "is not a place in this list."),
        ("sort=downloads&after=-1_x", "is not a place in this list."),
        ("q=playbook&after=0.5_x", "is not a place in this list."),
    ],
)
def test_an_invalid_search_shows_an_error(
    query: str, fault: str, mias_browser: Client, playbook: Resource
) -> None:
    answer = mias_browser.get(f"{LIBRARY}?{query}")

    assert answer.status_code == 400
    assert fault in words(answer)
    assert titles(answer) == []
    assert not ResourceSearchMiss.objects.exists()


@pytest.mark.parametrize("after", ["", "x", "7_x", "2026-99-01_x", "%00"])
def test_an_invalid_place_in_the_downloads_shows_an_error(after: str, mias_browser: Client) -> None:
    answer = mias_browser.get(f"{DOWNLOADS}?after={after}")

    assert answer.status_code == 400
    assert "is not a place in this list." in words(answer)


@pytest.mark.parametrize(
    "query",
    [
        "'; DROP TABLE x",
        "playbook' OR '1'='1",
        "a & b | !c",
        "<b>bold</b>",
        "\\",
        "%25%25",
        "cold:*",
        "🙂 mail",
        "((((",
    ],
)
def test_no_search_is_an_error(query: str, mias_browser: Client, playbook: Resource) -> None:
    assert mias_browser.get(LIBRARY, {"q": query}).status_code in (200, 400)


def test_words_are_marked_and_nothing_else_is_html(mias_browser: Client) -> None:
    ResourceFactory.create(
        title="<img src=x> Pricing \x02odd\x03 </mark>", description='Ours & theirs, "prices" of pricing'
    )
    html = mias_browser.get(f"{LIBRARY}?q=pricing").content.decode()

    assert "&lt;img src=x&gt; <mark>Pricing</mark>" in html
    assert "Ours &amp; theirs, &quot;<mark>prices</mark>&quot; of <mark>pricing</mark>" in html
    assert html.count("<mark>") == html.count("</mark>")
    assert "<img src=x" not in html


def test_a_search_without_results_is_counted_without_the_member(mias_browser: Client) -> None:
    for query in ("Cold  CALLS", "cold calls", "cold calls&type=SOP", "cold calls&after=7_x"):
        answer = mias_browser.get(f"{LIBRARY}?q={query}")
        assert answer.status_code == 200
    mias_browser.head(f"{LIBRARY}?q=cold calls")

    assert "No resource contains all of the words “ Cold CALLS ”" in words(
        mias_browser.get(f"{LIBRARY}?q=Cold  CALLS")
    )
    assert list(ResourceSearchMiss.objects.values_list("words", "searches")) == [("cold calls", 3)]


def test_a_search_for_a_tag_links_to_its_resources(mias_browser: Client, playbook: Resource) -> None:
    ResourceTagging.objects.create(resource=playbook, tag=ResourceTagFactory.create(name="Hiring people"))
    page = mias_browser.get(f"{LIBRARY}?q=hiring")

    assert "Tags with this name: Hiring people" in words(page)
    assert 'href="?tag=hiring-people"' in page.content.decode()
    assert "Tags with this name" not in words(mias_browser.get(LIBRARY))


def test_a_search_for_a_category_links_to_it(mias_browser: Client) -> None:
    page = mias_browser.get(f"{LIBRARY}?q=cold  EMAIL")

    assert "Categories with this name: Cold Email" in words(page)
    assert 'href="?category=COLD_EMAIL"' in page.content.decode()
    assert "No resource contains all of the words" in words(page)
    assert "Categories with this name" not in words(mias_browser.get(LIBRARY))
    assert "Categories with this name" not in words(mias_browser.get(f"{LIBRARY}?q=cold+calls"))


def test_recommendations_are_on_the_first_page_of_both_lists(
    mias_browser: Client, mia: Member, playbook: Resource
) -> None:
    tag = ResourceTagFactory.create(name="Hiring")
    for resource in (playbook, ResourceFactory.create(title="Hiring an SDR")):
        ResourceTagging.objects.create(resource=resource, tag=tag)
    for address in (LIBRARY, DOWNLOADS):
        assert "Recommended for you" not in words(mias_browser.get(address))
    ResourceDownloadFactory.create(member=mia, resource=playbook)

    for address in (LIBRARY, DOWNLOADS):
        page = words(mias_browser.get(address))
        assert "Hiring an SDR" in page[page.index("Recommended for you") :]
    assert "Recommended for you" not in words(mias_browser.get(f"{LIBRARY}?q=hiring"))


def test_empty_lists_say_so(mias_browser: Client, mia: Member) -> None:
    assert "The library is empty." in words(mias_browser.get(LIBRARY))
    assert "No resource matches these filters yet." in words(mias_browser.get(f"{LIBRARY}?type=SOP"))
    assert "Nothing yet. Resources that you download are listed here" in words(mias_browser.get(DOWNLOADS))
    assert "There is nothing more in this list." in words(
        mias_browser.get(f"{LIBRARY}?after=2020-01-01T00:00:00_x")
    )
    assert "There are no older downloads." in words(
        mias_browser.get(f"{DOWNLOADS}?after=2020-01-01T00:00:00_x")
    )


@pytest.mark.parametrize(
    "query", ["", "sort=downloads", "sort=trending", "q=resource", "type=SOP&sort=newest"]
)
def test_pages_neither_skip_nor_repeat_rows(query: str, mias_browser: Client) -> None:
    rows = 2 * library.PAGE_ROWS + 5
    for n in range(rows):
        ResourceFactory.create(type="SOP", ranked_downloads=n // 10, recent_downloads=n // 20)
    seen: list[str] = []
    address = f"{LIBRARY}?{query}"
    for _ in range(3):
        page = mias_browser.get(address)
        seen += titles(page)
        found = re.search(r'href="(\?[^"]*)" rel="next"', page.content.decode())
        address = f"{LIBRARY}{unescape(found[1])}" if found else ""

    assert address == ""
    assert len(seen) == len(set(seen)) == rows


def test_the_page_of_a_resource_shows_all_about_it(mias_browser: Client, playbook: Resource) -> None:
    store_version(playbook, content=b"%PDF-1.7 " + b"x" * 5_000, note="Numbers of this year")
    page = words(mias_browser.get(playbook.get_absolute_url()))

    for fact in (
        "Cold email playbook",
        "Ada",
        "Playbook.pdf",
        "4.9 KB",
        "Numbers of this year",
        "Subject lines",
    ):
        assert fact in page
    assert page.index("Numbers of this year") < page.index("The first version")


def test_downloads_of_removed_resources_are_listed_too(
    mias_browser: Client, mia: Member, playbook: Resource
) -> None:
    gone = ResourceFactory.create(title="Taken out")
    ResourceDownloadFactory.create(member=mia, resource=gone)
    ResourceDownloadFactory.create(member=mia, resource=playbook)
    ResourceDownloadFactory.create(member=mia, resource=playbook)
    ResourceDownloadFactory.create(
        member=MemberFactory.create(), resource=ResourceFactory.create(title="Not hers")
    )
    Resource.objects.filter(pk=gone.pk).update(deleted_at="2026-01-01T00:00Z")
    page = mias_browser.get(DOWNLOADS)

    assert "Cold email playbook" in words(page)
    assert "Taken out No longer in the library" in words(page)
    assert gone.get_absolute_url() not in page.content.decode()
    assert "Not hers" not in words(page)


def test_the_history_of_points_names_the_resource(mias_browser: Client, playbook: Resource) -> None:
    mias_browser.post(f"{playbook.get_absolute_url()}download/")

    assert "Cold email playbook" in words(mias_browser.get("/points/history/"))


def test_the_number_of_queries_does_not_depend_on_the_rows(
    mias_browser: Client, mia: Member, django_assert_num_queries: Callable[..., Any], folder: Path
) -> None:
    """Every page needs as many queries for a full page as for one row."""
    tag = ResourceTagFactory.create()

    def fill(rows: int) -> None:
        for _ in range(rows):
            resource = stored_resource(title="Resource")
            ResourceTagging.objects.create(resource=resource, tag=tag)
            if rows > 1:
                ResourceDownloadFactory.create(member=mia, resource=resource)
            another = ResourceFactory.create(title="Resource")
            ResourceTagging.objects.create(resource=another, tag=tag)

    def queries() -> list[int]:
        counts = []
        for address in (
            LIBRARY,
            f"{LIBRARY}?q=resource",
            f"{LIBRARY}?tag={tag.slug}&sort=downloads",
            DOWNLOADS,
        ):
            with CaptureQueriesContext(connection) as captured:
                assert mias_browser.get(address).status_code == 200
            counts.append(len(captured))
        return counts

    fill(1)
    ResourceDownloadFactory.create(member=mia, resource=Resource.objects.exclude(storage_path=None).get())
    few = queries()
    fill(15)

    assert queries() == few
    assert max(few) <= 16
