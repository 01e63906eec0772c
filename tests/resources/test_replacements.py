"""Replacing a resource's file, its versions, and purging them."""

from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from resources import curation, storage, uploads
from resources.models import Resource, ResourceDownload, ResourceVersion
from resources.refusal import Refused
from tests.factories import AccountFactory, ResourceFactory
from tests.resources.curating import RESOURCES, FillIn, audited, details, names, replace, said, sent
from tests.resources.samples import pdf

pytestmark = pytest.mark.any_server


def test_a_file_is_replaced_and_the_old_one_kept(
    folder: Path, sams_browser: Client, fill_in: FillIn, playbook: Resource
) -> None:
    new = pdf(b"new numbers")
    assert replace(sams_browser, fill_in, playbook, file=sent("plan-2.pdf", new)).status_code == 302
    resource = Resource.objects.get()
    assert (resource.current_version, resource.file_name, resource.file_size) == (2, "plan-2.pdf", len(new))
    assert resource.file_url == playbook.file_url
    assert [(v.number, v.note) for v in resource.versions.order_by("number")] == [
        (1, ""),
        (2, "Better numbers"),
    ]
    assert len(names(folder)) == 2
    for number, content in ((1, pdf()), (2, new)):
        answer: Any = sams_browser.get(f"{RESOURCES}{resource.pk}/versions/{number}/file/")
        assert b"".join(answer.streaming_content) == content
    history = sams_browser.get(f"{RESOURCES}{resource.pk}/versions/").content.decode()
    assert "Better numbers" in history
    assert "Members get this one" in history
    assert audited()[-1] == "RESOURCE_REPLACED"
    assert details("RESOURCE_REPLACED")["current_version"] == {"from": 1, "to": 2}
    assert details("RESOURCE_REPLACED")["note"] == "Better numbers"
    assert not ResourceDownload.objects.exists()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "Choose the new file."),
        ({"file": ("plan.pdf", pdf())}, "The resource already has this file"),
        ({"file": ("plan.pdf", b"text")}, "an unknown kind"),
        ({"file": ("plan.pdf", pdf(b"new")), "note": " "}, "Enter what is new."),
        ({"file": ("plan.pdf", pdf(b"new")), "note": "x" * 501}, "at most 500 characters"),
        ({"file": ("plan.pdf", pdf(b"new")), "seen": "x"}, "This file is fine"),
    ],
)
def test_an_invalid_replacement_changes_nothing(
    changes: dict[str, Any],
    words: str,
    folder: Path,
    sams_browser: Client,
    fill_in: FillIn,
    playbook: Resource,
) -> None:
    files = {
        name: sent(value[0], value[1], "") for name, value in changes.items() if isinstance(value, tuple)
    }
    response = replace(sams_browser, fill_in, playbook, **{"note": "What I typed", **changes, **files})
    assert response.status_code == 200
    assert any(words in fault for fault in said(response)), said(response)
    if "note" not in changes:
        assert "What I typed" in response.content.decode()
    assert Resource.objects.get().current_version == 1
    assert names(folder) == [str(playbook.storage_path)]


def test_the_second_of_two_concurrent_replacements_gets_an_error(
    folder: Path, sams_browser: Client, fill_in: FillIn, playbook: Resource
) -> None:
    page = f"{RESOURCES}{playbook.pk}/replace/"
    forms = [
        fill_in(sams_browser.get(page), note=f"Mine {n}", file=sent(content=pdf(b"%d" % n))) for n in range(2)
    ]
    assert sams_browser.post(page, forms[0]).status_code == 302
    late = sams_browser.post(page, forms[1])
    assert any("You saw version 1, and now version 2 is current." in fault for fault in said(late))
    assert "Mine 1" in late.content.decode()
    assert Resource.objects.get().current_version == 2
    assert len(names(folder)) == 2
    again = fill_in(late, file=sent(content=pdf(b"1")))
    assert sams_browser.post(page, again).status_code == 302
    assert [v.note for v in ResourceVersion.objects.order_by("number")] == ["", "Mine 0", "Mine 1"]


def test_a_link_cannot_be_replaced_by_a_file(folder: Path, sams_browser: Client) -> None:
    link = ResourceFactory.create()
    response = sams_browser.get(f"{RESOURCES}{link.pk}/replace/", follow=True)
    assert "A link has no file." in response.content.decode()
    received = uploads.Received(storage.Stored("files/x.pdf", 1, "0"), "x.pdf", "application/pdf")
    with pytest.raises(Refused, match="This resource is a link"):
        curation.replace(
            resource_id=link.pk, file=received, note="x", expected_version=1, by=AccountFactory.create()
        )


def test_an_old_version_can_be_purged_but_not_the_current_one(
    folder: Path,
    sams_browser: Client,
    fill_in: FillIn,
    playbook: Resource,
    django_capture_on_commit_callbacks: Any,
) -> None:
    replace(sams_browser, fill_in, playbook, file=sent(content=pdf(b"new")))
    page = f"{RESOURCES}{playbook.pk}/versions"
    assert (
        "This permanently deletes the file of version 1."
        in sams_browser.get(f"{page}/1/purge/").content.decode()
    )
    assert len(names(folder)) == 2
    with django_capture_on_commit_callbacks(execute=True):
        response = sams_browser.post(f"{page}/1/purge/", follow=True)
    assert "The file of version 1 is permanently deleted." in response.content.decode()
    assert names(folder) == [str(Resource.objects.get().storage_path)]
    assert sams_browser.get(f"{page}/1/file/", follow=True).status_code in {200, 404}
    for number, words in (
        (1, "is already purged"),
        (2, "Members get version 2 now"),
        (7, "There is no version 7"),
    ):
        response = sams_browser.post(f"{page}/{number}/purge/", follow=True)
        assert words in response.content.decode()
    assert audited().count("RESOURCE_VERSION_PURGED") == 1
    assert ResourceVersion.objects.get(number=1).purged_at
