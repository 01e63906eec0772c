"""Resources in the admin: states, the list with its figures, the preview."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from council.accounts.models import Account
from council.models import Member
from resources import curation
from resources.models import Resource, ResourceDownload, ResourceSearchMiss, ResourceTag, Status
from resources.refusal import Refused
from tests.factories import MemberFactory, ResourceFactory
from tests.resources.curating import ADD, RESOURCES, FillIn, audited, details, names, sent

pytestmark = pytest.mark.any_server


def test_a_draft_is_scheduled_published_featured_deleted_and_restored(
    folder: Path, sams_browser: Client, fill_in: FillIn, entered: Any
) -> None:
    sams_browser.post(ADD, entered(file=sent(), status="DRAFT"))
    resource = Resource.objects.get()
    assert not Resource.objects.shown().exists()
    page = f"{RESOURCES}{resource.pk}/change/"
    form = fill_in(
        sams_browser.get(page), status="SCHEDULED", publish_at_0="2099-05-01", publish_at_1="09:30"
    )
    assert sams_browser.post(page, form).status_code == 302
    resource.refresh_from_db()
    assert (resource.status, resource.publish_at) == ("SCHEDULED", datetime(2099, 5, 1, 9, 30, tzinfo=UTC))
    assert "Visible from 1 May 2099, 09:30 UTC" in sams_browser.get(RESOURCES).content.decode()

    def act(action: str, words: str) -> None:
        given = {"action": action, "_selected_action": [resource.pk]}
        assert words in sams_browser.post(RESOURCES, given, follow=True).content.decode()
        resource.refresh_from_db()

    act("publish", "1 of 1 published.")
    assert resource.publish_at and abs(datetime.now(UTC) - resource.publish_at) < timedelta(minutes=1)
    assert Resource.objects.shown().exists()
    act("publish", "0 of 1 published.")
    act("feature", "1 of 1 featured.")
    assert resource.is_featured
    act("no_longer_feature", "1 of 1 no longer featured.")
    act("delete", "1 of 1 deleted.")
    assert resource.deleted_at
    assert not Resource.objects.shown().exists()
    act("delete", "0 of 1 deleted.")
    act("restore", "1 of 1 restored.")
    assert Resource.objects.shown().exists()
    removal = f"{RESOURCES}{resource.pk}/removal/"
    assert "you can restore it" in sams_browser.get(removal).content.decode()
    sams_browser.post(removal)
    assert not Resource.objects.shown().exists()
    sams_browser.post(removal)
    assert Resource.objects.shown().exists()
    assert len(names(folder)) == 1
    assert audited() == [
        "RESOURCE_ADDED", "RESOURCE_CHANGED", "RESOURCE_PUBLISHED", "RESOURCE_FEATURED", "RESOURCE_NO_LONGER_FEATURED",
        "RESOURCE_DELETED", "RESOURCE_RESTORED", "RESOURCE_DELETED", "RESOURCE_RESTORED",
    ]  # fmt: skip


def test_fields_that_the_form_did_not_change_are_not_written(
    folder: Path, sams_browser: Client, fill_in: FillIn, playbook: Resource
) -> None:
    page = f"{RESOURCES}{playbook.pk}/change/"
    form = fill_in(sams_browser.get(page), title="Better title")
    Resource.objects.update(is_featured=True, description="By somebody else", author=None)
    assert sams_browser.post(page, form).status_code == 302
    resource = Resource.objects.get()
    assert (resource.title, resource.is_featured, resource.description) == (
        "Better title",
        True,
        "By somebody else",
    )
    assert resource.author is None
    assert details("RESOURCE_CHANGED") == {"title": {"from": "Cold email playbook", "to": "Better title"}}


def test_a_schedule_needs_a_time_in_the_future(playbook: Resource, sam: Account) -> None:
    past = datetime.now(UTC) - timedelta(seconds=1)
    with pytest.raises(Refused, match="is in the past"):
        curation.schedule(resource_ids=[playbook.pk], at=past, by=sam)
    assert curation.schedule(resource_ids=[playbook.pk], at=past + timedelta(hours=1), by=sam) == 1
    assert audited()[-1] == "RESOURCE_SCHEDULED"


# The list.


def test_the_list_has_figures_without_a_query_for_each_row(sams_browser: Client, mia: Member) -> None:
    resources = ResourceFactory.create_batch(3)
    carl = MemberFactory.create()
    now = datetime.now(UTC)
    for days, member in ((1, mia), (2, mia), (3, carl), (8, mia), (13, carl), (30, carl)):
        ResourceDownload.objects.create(
            resource=resources[0], member=member, downloaded_at=now - timedelta(days=days)
        )

    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            page = sams_browser.get(RESOURCES)
        assert "3 (2 before)" in page.content.decode()
        assert '<td class="field-members">2</td>' in page.content.decode()
        row = next(r for r in page.context["cl"].result_list if r.pk == resources[0].pk)
        assert (row.download_count, row.figures.last_week, row.figures.week_before) == (6, 3, 2)
        return len(captured)

    few = queries()
    ResourceFactory.create_batch(20)
    assert queries() == few


def test_the_list_reads_a_limited_number_of_downloads_per_resource(
    sams_browser: Client, mia: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("resources.admin.MAX_READ", 3)
    resource = ResourceFactory.create()
    for days, member in enumerate((mia, mia, MemberFactory.create(), MemberFactory.create())):
        ResourceDownload.objects.create(
            resource=resource, member=member, downloaded_at=datetime.now(UTC) - timedelta(days=days)
        )
    page = sams_browser.get(RESOURCES)

    assert '<td class="field-members">2 or more</td>' in page.content.decode()
    assert len(page.context["cl"].result_list[0].figures.latest_members) == 3


def test_a_search_reads_figures_only_for_the_rows_on_the_page(
    sams_browser: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("resources.admin.ResourceAdmin.list_per_page", 2)
    ResourceFactory.create_batch(5, title="On pricing")
    with CaptureQueriesContext(connection) as captured:
        page = sams_browser.get(f"{RESOURCES}?q=pricing")
    assert (page.context["cl"].result_count, len(page.context["cl"].result_list)) == (5, 2)
    [of_downloads] = [query["sql"] for query in captured if '"ResourceDownload"' in query["sql"]]
    ids = [row.pk for row in Resource.objects.all() if row.pk in of_downloads]
    assert sorted(ids) == sorted(row.pk for row in page.context["cl"].result_list)


def test_the_list_is_filtered_and_searched(folder: Path, sams_browser: Client, sam: Account) -> None:
    now = datetime.now(UTC)
    given: dict[str, dict[str, Any]] = {
        "shown": {},
        "draft": {"status": Status.DRAFT},
        "scheduled": {"status": Status.SCHEDULED, "publish_at": now + timedelta(days=1)},
        "due": {"status": Status.SCHEDULED, "publish_at": now - timedelta(days=1)},
        "deleted": {"deleted_at": now},
    }
    for title, fields in given.items():
        ResourceFactory.create(title=title, **fields)
    tag = ResourceTag.objects.create(name="Pricing", slug="pricing")
    tagged = Resource.objects.get(title="shown")
    tagged.taggings.create(tag=tag)

    def found(query: str) -> set[str]:
        return {row.title for row in sams_browser.get(f"{RESOURCES}?{query}").context["cl"].result_list}

    assert found("state=shown") == {"shown", "due"}
    assert found("state=draft") == {"draft"}
    assert found("state=scheduled") == {"scheduled"}
    assert found("state=deleted") == {"deleted"}
    assert found("q=pricing") == {"shown"}
    assert found(f"tags__id__exact={tag.pk}") == {"shown"}
    assert found("state=nonsense") == set(given)
    assert "Visible since" in sams_browser.get(RESOURCES).content.decode()


def test_searches_without_results_are_listed(sams_browser: Client) -> None:
    ResourceSearchMiss.objects.create(day="2026-11-24", words="linkedin voice notes", searches=7)
    assert "linkedin voice notes" in sams_browser.get("/admin/resources/resourcesearchmiss/").content.decode()


def test_a_preview_shows_the_members_page(folder: Path, sams_browser: Client, entered: Any) -> None:
    sams_browser.post(ADD, entered(file=sent(), status="DRAFT"))
    resource = Resource.objects.get()
    html = sams_browser.get(f"{RESOURCES}{resource.pk}/preview/").content.decode()
    assert "Cold email playbook" in html
    assert "This is a preview" in html
    assert "/download/" not in html
