"""Tags in the admin: unique names, merging, and no deletion while a resource has the tag."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.test import Client

from resources import curation
from resources.models import Resource, ResourceTag
from resources.refusal import Refused
from tests.databases import Database
from tests.factories import AccountFactory, ResourceFactory
from tests.resources.curating import RESOURCES, TAGS, FillIn, audited, details

pytestmark = pytest.mark.any_server


def test_tags_are_added_renamed_and_put_on_resources(
    folder: Path, sams_browser: Client, fill_in: FillIn, playbook: Resource
) -> None:
    assert sams_browser.post(f"{TAGS}add/", {"name": "  Cold   calls "}).status_code == 302
    tag = ResourceTag.objects.get()
    assert (tag.name, tag.slug) == ("Cold calls", "cold-calls")
    for name in ("cold CALLS", "Cold-calls!"):
        assert (
            "There is already a tag &#x27;Cold calls&#x27;."
            in sams_browser.post(f"{TAGS}add/", {"name": name}).content.decode()
        )
    sams_browser.post(f"{TAGS}add/", {"name": "原価"})
    assert ResourceTag.objects.get(name="原価").slug
    page = f"{RESOURCES}{playbook.pk}/change/"
    assert sams_browser.post(page, fill_in(sams_browser.get(page), tag_list=[tag.pk])).status_code == 302
    assert list(playbook.tags.all()) == [tag]
    assert details("RESOURCE_CHANGED") == {"tags": {"from": [], "to": ["Cold calls"]}}
    assert sams_browser.post(page, {**fill_in(sams_browser.get(page)), "tag_list": []}).status_code == 302
    assert not playbook.tags.exists()


def test_a_renamed_tag_frees_its_old_name(sams_browser: Client, fill_in: FillIn) -> None:
    sams_browser.post(f"{TAGS}add/", {"name": "Calls"})
    tag = ResourceTag.objects.get()
    page = f"{TAGS}{tag.pk}/change/"
    assert sams_browser.post(page, fill_in(sams_browser.get(page), name="Cold calls")).status_code == 302
    assert sams_browser.post(f"{TAGS}add/", {"name": "Calls"}).status_code == 302
    slugs = ResourceTag.objects.order_by("name").values_list("name", "slug")
    assert list(slugs) == [("Calls", "calls"), ("Cold calls", "cold-calls")]
    assert sams_browser.post(f"{TAGS}{tag.pk}/delete/", {"post": "yes"}).status_code == 302
    assert audited() == [
        "RESOURCE_TAG_ADDED", "RESOURCE_TAG_CHANGED", "RESOURCE_TAG_ADDED", "RESOURCE_TAG_DELETED",
    ]  # fmt: skip


def test_a_tag_in_use_is_not_deleted(folder: Path, sams_browser: Client, playbook: Resource) -> None:
    tag = ResourceTag.objects.create(name="Pricing", slug="pricing")
    playbook.taggings.create(tag=tag)
    page = f"{TAGS}{tag.pk}/delete/"
    assert "1 resource has the tag &#x27;Pricing&#x27;. Merge it" in sams_browser.get(page).content.decode()
    assert sams_browser.post(page, {"post": "yes"}).status_code in {200, 403}
    assert ResourceTag.objects.exists()
    with pytest.raises(Refused, match="1 resource has the tag 'Pricing'"):
        curation.delete_tag(tag=tag)
    playbook.taggings.all().delete()
    assert sams_browser.post(page, {"post": "yes"}).status_code == 302
    assert not ResourceTag.objects.exists()


def test_tags_are_merged(folder: Path, sams_browser: Client, playbook: Resource) -> None:
    tags = [ResourceTag.objects.create(name=name, slug=name) for name in ("calls", "calling", "phone")]
    others = ResourceFactory.create_batch(2)
    for resource, tag in (
        (playbook, tags[0]),
        (playbook, tags[1]),
        (others[0], tags[1]),
        (others[1], tags[2]),
    ):
        resource.taggings.create(tag=tag)
    given: dict[str, Any] = {"action": "merge", "_selected_action": [tag.pk for tag in tags]}
    assert '<td class="field-used"><a' in sams_browser.get(TAGS).content.decode()
    page = sams_browser.post(TAGS, given)
    assert page.status_code == 200
    assert ResourceTag.objects.count() == 3
    done = sams_browser.post(TAGS, {**given, "into": tags[0].pk, "merge_now": "Merge"}, follow=True)
    assert "Merged into calls, added to 2 resources." in done.content.decode()
    assert list(ResourceTag.objects.all()) == [tags[0]]
    assert {tuple(r.tags.all()) for r in Resource.objects.all()} == {(tags[0],)}
    assert details("RESOURCE_TAGS_MERGED")["merged"] == ["calling", "phone"]
    alone = sams_browser.post(TAGS, {"action": "merge", "_selected_action": [tags[0].pk]}, follow=True)
    assert "Select at least two tags." in alone.content.decode()
    gone = sams_browser.post(TAGS, {**given, "into": tags[0].pk, "merge_now": "Merge"}, follow=True)
    assert "Select at least two tags." in gone.content.decode()


def test_the_second_of_two_who_name_a_tag_at_once_gets_an_error(migrated: Database) -> None:
    with migrated.as_default_connection():
        browser = Client()
        browser.force_login(AccountFactory.create(is_staff=True, is_superuser=True))

        def name_it() -> Any:
            try:
                return browser.post(f"{TAGS}add/", {"name": "Calls"})
            finally:
                connection.close()

        with migrated.connect() as other, ThreadPoolExecutor(1) as pool:
            with other.transaction():
                other.execute(curation.ONE_AT_A_TIME.encode())
                other.execute(
                    """INSERT INTO "ResourceTag" (id, name, slug) VALUES ('t1', 'calls', 'calls')"""
                )
                answer = pool.submit(name_it)
                migrated.wait_for_waiting(1)
            page = answer.result()

        assert "There is already a tag &#x27;calls&#x27;." in page.content.decode()
        assert ResourceTag.objects.count() == 1
