"""Resources that staff add in the admin: files and links, errors at their fields, and no files left over."""

import hashlib
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from django.test import Client

from council.accounts.models import Account
from council.models import AuditLog
from resources.models import Resource, ResourceVersion
from tests.resources.curating import ADD, RESOURCES, audited, details, names, said, sent
from tests.resources.samples import SAMPLES, pdf, picture
from tests.resources.storages import SilentServer

pytestmark = pytest.mark.any_server


@pytest.mark.parametrize("name", SAMPLES)
def test_a_file_is_added(name: str, folder: Path, sams_browser: Client, entered: Any, sam: Account) -> None:
    content, mime_type = SAMPLES[name]
    assert sams_browser.post(ADD, entered(file=sent(name))).status_code == 302
    resource = Resource.objects.get()
    assert resource.storage_path
    assert names(folder) == [resource.storage_path]
    assert (folder / resource.storage_path).read_bytes() == content
    sha256 = hashlib.sha256(content).hexdigest()
    facts = (name, len(content), mime_type, sha256, 1, "sam")
    assert facts == (
        resource.file_name, resource.file_size, resource.mime_type, resource.sha256, resource.current_version,
        resource.uploaded_by,
    )  # fmt: skip
    version = ResourceVersion.objects.get()
    assert (version.number, version.storage_path, version.sha256) == (1, resource.storage_path, sha256)
    assert resource.file_url == f"http://testserver/library/{resource.pk}/"
    assert audited() == ["RESOURCE_ADDED"]
    entry = AuditLog.objects.get()
    assert (entry.entity_id, entry.performed_by) == (resource.pk, "sam")
    assert details("RESOURCE_ADDED")["title"] == {"from": None, "to": "Cold email playbook"}
    assert details("RESOURCE_ADDED")["sha256"]["to"] == sha256


def test_a_link_is_added_without_a_file(folder: Path, sams_browser: Client, entered: Any) -> None:
    assert sams_browser.post(ADD, entered(file_url="https://videos.example/1")).status_code == 302
    resource = Resource.objects.get()
    assert (resource.is_link, resource.file_url) == (True, "https://videos.example/1")
    assert names(folder) == []
    assert not ResourceVersion.objects.exists()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "Choose a file, or enter the address of a link."),
        ({"file": ("plan.pdf", b"MZ" + b"\0" * 200)}, "kind of file is not accepted: Windows Executable"),
        ({"file": ("plan.pdf", b"")}, "The file is empty."),
        ({"file": ("plan.docx", pdf())}, "This is a PDF document, but it is named .docx."),
        ({"file": ("plan.exe.pdf", pdf())}, "two extensions, one of them .exe"),
        ({"file": ("plan.svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>")}, "Scalable Vector Graphics"),
        (
            {"file": ("plan.pdf", pdf()), "file_url": "https://videos.example/1"},
            "A resource is either a file or a link.",
        ),
        ({"file": ("plan.pdf", pdf()), "title": " "}, "This field is required."),
        ({"file": ("plan.pdf", pdf()), "title": "x" * 201}, "at most 200 characters"),
        ({"file": ("plan.pdf", pdf()), "thumbnail": ("a.png", b"no picture")}, "picture cannot be read."),
        ({"file": ("plan.pdf", pdf()), "status": "SCHEDULED"}, "needs a time from which members see it"),
        (
            {
                "file": ("plan.pdf", pdf()),
                "status": "SCHEDULED",
                "publish_at_0": "2026-01-02",
                "publish_at_1": "10:00",
            },
            "2 Jan 2026, 10:00 UTC is in the past.",
        ),
        (
            {"file": ("plan.pdf", pdf()), "publish_at_0": "2099-01-02", "publish_at_1": "10:00"},
            "Members see a published resource at once.",
        ),
        ({"file": ("plan.pdf", pdf()), "tag_list": ["nonsense"]}, "One of the tags no longer exists."),
        ({"file": ("plan.pdf", pdf()), "author": "x" * 121}, "at most 120 characters"),
    ],
)
def test_an_error_is_shown_at_its_field_and_no_input_is_lost_and_no_file_left(
    changes: dict[str, Any], words: str, folder: Path, sams_browser: Client, entered: Any
) -> None:
    files = {
        name: sent(value[0], value[1], "") for name, value in changes.items() if isinstance(value, tuple)
    }
    form = entered(**{**changes, **files})
    response = sams_browser.post(ADD, form)
    assert response.status_code == 200
    assert any(words in fault for fault in said(response)), said(response)
    if form["title"].strip() and len(form["title"]) <= 200:
        assert 'value="Cold email playbook"' in response.content.decode()
    assert "How to write them" in response.content.decode()
    assert not Resource.objects.exists()
    assert names(folder) == []
    assert audited() == []
    if (
        "file" in files
        and words not in {"kind of file is not accepted: Windows Executable"}
        and changes["file"][1] == pdf()
        and changes["file"][0] == "plan.pdf"
    ):
        assert any("This file is fine, but the form has errors." in fault for fault in said(response))


def test_an_error_of_a_file_is_shown_at_its_field(folder: Path, sams_browser: Client, entered: Any) -> None:
    form = entered(
        file=sent(content=b"MZ" + b"\0" * 200), thumbnail=sent("a.png", b"no picture", "image/png")
    )
    html = sams_browser.post(ADD, form).content.decode()
    for field, words in (("file", "Windows Executable"), ("thumbnail", "picture cannot be read.")):
        row = html[html.index(f'class="form-row errors field-{field}"') :]
        assert row.index(words) < row.index(f'id="id_{field}"') < row.index("</fieldset>")


def test_invisible_characters_in_a_name_are_never_stored(
    folder: Path, sams_browser: Client, entered: Any
) -> None:
    """Django removes them from the name, and we must accept the rest."""
    sams_browser.post(ADD, entered(file=sent("plan\u202efdp.pdf", pdf(), "")))
    assert Resource.objects.get().file_name == "planfdp.pdf"
    response = sams_browser.post(ADD, entered(file=sent("plan\u202efdp.exe", pdf(), "")))
    assert any("it is named .exe" in fault for fault in said(response))
    assert len(names(folder)) == 1


def test_a_failed_database_step_leaves_no_file(folder: Path, sams_browser: Client, entered: Any) -> None:
    form = entered(file=sent(), thumbnail=sent("a.png", picture("PNG"), "image/png"))
    failure = mock.patch.object(AuditLog.objects, "create", side_effect=RuntimeError("the database failed"))
    with failure, pytest.raises(RuntimeError):
        sams_browser.post(ADD, form)
    assert not Resource.objects.exists()
    assert names(folder) == []


def test_a_failed_storage_leaves_no_row(folder: Path, sams_browser: Client, entered: Any) -> None:
    full = OSError(28, "No space left on device")
    with mock.patch("django.core.files.storage.filesystem.FileSystemStorage._save", side_effect=full):
        response = sams_browser.post(ADD, entered(file=sent()))
    assert any("No space left on device" in fault for fault in said(response))
    assert not Resource.objects.exists()


def test_a_storage_that_does_not_answer_leaves_no_row(
    silent_bucket: SilentServer, sams_browser: Client, entered: Any
) -> None:
    form = entered(file=sent(), thumbnail=sent("a.png", picture("PNG"), "image/png"))
    response = sams_browser.post(ADD, form)
    assert sum("the bucket takes too long to answer" in fault for fault in said(response)) == 2
    assert 'value="Cold email playbook"' in response.content.decode()
    assert not Resource.objects.exists()
    assert audited() == []


def test_a_bucket_keeps_files_like_a_folder(bucket: Any, sams_browser: Client, entered: Any) -> None:
    form = entered(file=sent(), thumbnail=sent("a.png", picture("PNG"), "image/png"))
    assert sams_browser.post(ADD, form).status_code == 302
    resource = Resource.objects.get()
    assert names(bucket.files) == sorted([str(resource.storage_path), str(resource.thumbnail_path)])
    response: Any = sams_browser.get(f"{RESOURCES}{resource.pk}/versions/1/file/")
    assert response.url.startswith(f"{bucket.address}/{bucket.bucket}/files/")
    sams_browser.post(ADD, entered(file=sent(), title=""))
    assert len(names(bucket.files)) == 2
