"""The values that staff can enter in the library's admin pages."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from django.test import Client

from council.models import Member
from resources.models import Resource
from tests.factories import ResourceDownloadFactory, ResourceFactory

pytestmark = pytest.mark.any_server

FillIn = Callable[..., dict[str, Any]]
RESOURCES = "/admin/resources/resource/"
ENTERED = {
    "title": "Cold email that works",
    "description": "Line one\r\nline two",
    "category": "SALES_GTM",
    "type": "SOP",
    "file_url": "https://files.example.com/a.pdf",
    "is_featured": "on",
}


def test_a_resource_is_added(sams_browser: Client, fill_in: FillIn) -> None:
    form = fill_in(sams_browser.get(f"{RESOURCES}add/"), **ENTERED)
    assert sams_browser.post(f"{RESOURCES}add/", form).status_code == 302
    resource = Resource.objects.get()
    assert (resource.title, resource.description) == ("Cold email that works", "Line one\nline two")
    assert (resource.category, resource.type, resource.is_featured) == ("SALES_GTM", "SOP", True)
    assert (resource.file_url, resource.thumbnail_url) == ("https://files.example.com/a.pdf", None)
    assert resource.download_count == 0


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"title": " "}, "This field is required."),
        ({"title": "x" * 201}, "Ensure this value has at most 200 characters"),
        ({"description": ""}, "This field is required."),
        ({"description": "x" * 2001}, "Ensure this value has at most 2000 characters"),
        ({"category": "NONSENSE"}, "NONSENSE is not one of the available choices."),
        ({"type": ""}, "This field is required."),
        ({"file_url": ""}, "Choose a file, or enter the address of a link."),
        ({"file_url": "http://files.example.com/a.pdf"}, "Enter an address that begins with https://."),
        ({"file_url": "javascript:alert(1)"}, "Enter an address that begins with https://."),
        ({"title": "x\0"}, "Null characters are not allowed."),
    ],
)
def test_an_error_is_shown(
    changes: dict[str, str], words: str, sams_browser: Client, fill_in: FillIn
) -> None:
    form = fill_in(sams_browser.get(f"{RESOURCES}add/"), **{**ENTERED, **changes})
    assert words in sams_browser.post(f"{RESOURCES}add/", form).content.decode()
    assert not Resource.objects.exists()


def test_a_description_of_2000_characters_may_have_lines(sams_browser: Client, fill_in: FillIn) -> None:
    form = fill_in(sams_browser.get(f"{RESOURCES}add/"), **{**ENTERED, "description": "x\r\n" * 999 + "yy"})
    assert sams_browser.post(f"{RESOURCES}add/", form).status_code == 302


def test_downloads_during_an_edit_are_kept(sams_browser: Client, fill_in: FillIn) -> None:
    resource = ResourceFactory.create()
    form = fill_in(sams_browser.get(f"{RESOURCES}{resource.pk}/change/"), title="Better", download_count="0")
    Resource.objects.update(is_featured=True)
    ResourceDownloadFactory.create(resource=resource)
    assert sams_browser.post(f"{RESOURCES}{resource.pk}/change/", form).status_code == 302
    resource.refresh_from_db()
    assert (resource.title, resource.download_count, resource.is_featured) == ("Better", 1, True)


def test_resources_are_filtered_and_searched(sams_browser: Client) -> None:
    ResourceFactory.create()
    course = ResourceFactory.create(title="Course in pricing", type="COURSE", is_featured=True)
    for query in ("?type__exact=COURSE", "?is_featured__exact=1", "?q=pricing"):
        assert list(sams_browser.get(f"{RESOURCES}{query}").context["cl"].result_list) == [course]


def test_downloads_name_the_resource_and_the_member(sams_browser: Client, mia: Member) -> None:
    ResourceDownloadFactory.create(
        member=mia,
        resource=ResourceFactory.create(title="Price list"),
        downloaded_at=datetime(2026, 11, 4, 15, 6, tzinfo=UTC),
    )
    html = sams_browser.get("/admin/resources/resourcedownload/").content.decode()
    assert "Price list" in html
    assert "Mia Meyer" in html
    assert "4 Nov 2026, 15:06" in html
