"""What staff do in the admin: files in and out, versions, states, tags; the storage and the rows always agree."""

import hashlib
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from html import unescape
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any
from unittest import mock

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test import Client
from django.test.client import encode_multipart
from django.test.utils import CaptureQueriesContext

from council import roles
from council.accounts.models import Account
from council.models import Admin, AdminRole, AuditLog, Member
from resources import archives, curation, storage, uploads
from resources.models import (
    Resource,
    ResourceDownload,
    ResourceSearchMiss,
    ResourceTag,
    ResourceVersion,
    Status,
)
from resources.refusal import Refused
from tests.factories import AccountFactory, AdminFactory, MemberFactory, ResourceFactory
from tests.resources.samples import SAMPLES, pdf, picture, zipped
from tests.resources.storages import SilentServer

FillIn = Callable[..., dict[str, Any]]
RESOURCES = "/admin/resources/resource/"
TAGS = "/admin/resources/resourcetag/"
ADD = f"{RESOURCES}add/"


def sent(
    name: str = "plan.pdf", content: bytes | None = None, declared: str | None = None
) -> SimpleUploadedFile:
    sample, mime_type = SAMPLES.get(name, (pdf(), "application/pdf"))
    return SimpleUploadedFile(
        name, sample if content is None else content, mime_type if declared is None else declared
    )


def names(folder: Path) -> list[str]:
    return sorted(found.relative_to(folder).as_posix() for found in folder.rglob("*") if found.is_file())


def said(response: Any) -> list[str]:
    """The faults that a page names."""
    lists = re.findall(r'<ul class="errorlist[^>]*>(.*?)</ul>', response.content.decode(), re.DOTALL)
    return [
        unescape(re.sub(r"<[^>]*>", "", fault)).strip()
        for text in lists
        for fault in text.split("</li>")
        if fault.strip()
    ]


def full_disk() -> IO[bytes]:
    """A file that answers what is written to it as a full disk does."""
    return Path("/dev/full").open("r+b")


def details(action: str) -> dict[str, Any]:
    found = AuditLog.objects.get(action=action).details
    assert isinstance(found, dict)
    return found


def audited() -> list[str]:
    return list(AuditLog.objects.order_by("created_at", "pk").values_list("action", flat=True))


@pytest.fixture
def entered(sams_browser: Client, fill_in: FillIn) -> Callable[..., dict[str, Any]]:
    """The form of a new resource, filled in."""

    def entered(**changes: Any) -> dict[str, Any]:
        form = fill_in(
            sams_browser.get(ADD),
            title="Cold email playbook",
            description="How to write them",
            category="COLD_EMAIL",
            type="PLAYBOOK",
            author="Rev Council",
            status="PUBLISHED",
        )
        form.pop("tag_list", None)
        return {**form, **changes}

    return entered


@pytest.fixture
def playbook(folder: Path, sams_browser: Client, entered: Callable[..., dict[str, Any]]) -> Resource:
    """A published resource with a file."""
    assert sams_browser.post(ADD, entered(file=sent())).status_code == 302
    return Resource.objects.get()


# Adding.


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
        ({"file": ("plan.pdf", b"MZ" + b"\0" * 200)}, "The file is of another kind: Windows Executable"),
        ({"file": ("plan.pdf", b"")}, "The file is empty."),
        ({"file": ("plan.docx", pdf())}, "This is a PDF document, but it is named .docx."),
        ({"file": ("plan.exe.pdf", pdf())}, "two extensions, .exe among them"),
        ({"file": ("plan.svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>")}, "Scalable Vector Graphics"),
        (
            {"file": ("plan.pdf", pdf()), "file_url": "https://videos.example/1"},
            "A resource is a file or a link.",
        ),
        ({"file": ("plan.pdf", pdf()), "title": " "}, "This field is required."),
        ({"file": ("plan.pdf", pdf()), "title": "x" * 201}, "at most 200 characters"),
        ({"file": ("plan.pdf", pdf()), "thumbnail": ("a.png", b"no picture")}, "no picture that we can read"),
        ({"file": ("plan.pdf", pdf()), "status": "SCHEDULED"}, "needs the time at which members see it"),
        (
            {
                "file": ("plan.pdf", pdf()),
                "status": "SCHEDULED",
                "publish_at_0": "2026-01-02",
                "publish_at_1": "10:00",
            },
            "2 Jan 2026, 10:00 UTC is past.",
        ),
        (
            {"file": ("plan.pdf", pdf()), "publish_at_0": "2099-01-02", "publish_at_1": "10:00"},
            "A published resource is seen at once.",
        ),
        ({"file": ("plan.pdf", pdf()), "tag_list": ["nonsense"]}, "One of the tags no longer exists."),
        ({"file": ("plan.pdf", pdf()), "author": "x" * 121}, "at most 120 characters"),
    ],
)
def test_a_fault_is_said_beside_the_field_and_nothing_is_lost_or_left(
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
        and words not in {"The file is of another kind: Windows Executable"}
        and changes["file"][1] == pdf()
        and changes["file"][0] == "plan.pdf"
    ):
        assert any("This file is in order, but the form is not." in fault for fault in said(response))


def test_what_is_wrong_with_a_file_stands_in_its_row_of_the_form(
    folder: Path, sams_browser: Client, entered: Any
) -> None:
    form = entered(
        file=sent(content=b"MZ" + b"\0" * 200), thumbnail=sent("a.png", b"no picture", "image/png")
    )
    html = sams_browser.post(ADD, form).content.decode()
    for field, words in (("file", "Windows Executable"), ("thumbnail", "no picture that we can read")):
        row = html[html.index(f'class="form-row errors field-{field}"') :]
        assert row.index(words) < row.index(f'id="id_{field}"') < row.index("</fieldset>")


def test_invisible_characters_in_a_name_are_never_stored(
    folder: Path, sams_browser: Client, entered: Any
) -> None:
    """Django takes them out of the name; what is left has to be a name that we take."""
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


def test_a_storage_that_never_answers_leaves_no_row(
    silent_bucket: SilentServer, sams_browser: Client, entered: Any
) -> None:
    form = entered(file=sent(), thumbnail=sent("a.png", picture("PNG"), "image/png"))
    response = sams_browser.post(ADD, form)
    assert sum("the bucket takes too long to answer" in fault for fault in said(response)) == 2
    assert 'value="Cold email playbook"' in response.content.decode()
    assert not Resource.objects.exists()
    assert audited() == []


def test_a_bucket_keeps_files_as_a_folder_does(bucket: Any, sams_browser: Client, entered: Any) -> None:
    form = entered(file=sent(), thumbnail=sent("a.png", picture("PNG"), "image/png"))
    assert sams_browser.post(ADD, form).status_code == 302
    resource = Resource.objects.get()
    assert names(bucket.files) == sorted([str(resource.storage_path), str(resource.thumbnail_path)])
    response: Any = sams_browser.get(f"{RESOURCES}{resource.pk}/versions/1/file/")
    assert response.url.startswith(f"{bucket.address}/{bucket.bucket}/files/")
    sams_browser.post(ADD, entered(file=sent(), title=""))
    assert len(names(bucket.files)) == 2


# Uploads.


@pytest.mark.parametrize("size", [100, 200_000])
def test_a_full_temporary_folder_is_a_fault_of_the_upload(
    size: int, folder: Path, sams_browser: Client, entered: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is small fails only when the buffer is written."""
    monkeypatch.setattr(uploads, "tempfile", SimpleNamespace(TemporaryFile=full_disk))
    response = sams_browser.post(ADD, entered(file=sent(content=pdf(b"x" * size))))
    assert any("The server has no room to look at the file." in fault for fault in said(response))
    assert 'value="Cold email playbook"' in response.content.decode()
    assert not Resource.objects.exists()


def test_an_archive_in_an_archive_needs_room_too(
    folder: Path, sams_browser: Client, entered: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = zipped({"inner.zip": zipped({"a.txt": "x" * 10_000})})
    monkeypatch.setattr(archives, "tempfile", SimpleNamespace(TemporaryFile=full_disk))
    response = sams_browser.post(ADD, entered(file=sent("plan.zip", content, "")))
    assert any("The server has no room to look at the file." in fault for fault in said(response))


def test_a_file_is_counted_while_it_arrives(
    folder: Path, sams_browser: Client, entered: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(uploads.LIMITS, "file", 1000)
    exact = pdf(b"x" * (1000 - len(pdf())))
    assert sams_browser.post(ADD, entered(file=sent(content=exact))).status_code == 302
    monkeypatch.setattr(uploads, "MIB", 1)
    response = sams_browser.post(ADD, entered(file=sent(content=exact + b"\n")))
    assert any("The file has more than 1000 MB." in fault for fault in said(response))
    assert 'value="Cold email playbook"' in response.content.decode()
    assert len(names(folder)) == 1


def test_what_is_far_too_large_is_not_even_thrown_away(
    folder: Path, sams_browser: Client, entered: Any, fill_in: FillIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(uploads.LIMITS, "file", 100_000)
    monkeypatch.setattr(uploads, "MAX_THROWN_AWAY_BYTES", 200_000)
    received: list[int] = []
    handler = uploads.UploadHandler.receive_data_chunk

    def count(self: Any, raw_data: bytes, start: int) -> None:
        received.append(len(raw_data))
        handler(self, raw_data, start)

    monkeypatch.setattr(uploads.UploadHandler, "receive_data_chunk", count)
    form = entered(file=sent(content=b"x" * 5_000_000), status="DRAFT")
    response = sams_browser.post(ADD, form)
    assert 300_000 < sum(received) < 500_000
    assert response.status_code == 413  # at 200 Chromium would show nothing but a connection that was reset
    assert said(response) == [
        "The file has more than 0 MB. Make it smaller, or split it. What was chosen below it did not arrive."
    ]
    back = fill_in(response)
    for name in {*form} - {"file", "csrfmiddlewaretoken"}:
        assert back[name] == (form[name] if isinstance(form[name], list) else [form[name]])
    assert names(folder) == []


def test_a_replacement_that_is_far_too_large_keeps_what_was_typed(
    folder: Path, sams_browser: Client, fill_in: FillIn, playbook: Resource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(uploads.LIMITS, "file", 1000)
    monkeypatch.setattr(uploads, "MAX_THROWN_AWAY_BYTES", 1000)
    response = replace(
        sams_browser, fill_in, playbook, file=sent(content=b"x" * 500_000), note="What I typed"
    )
    assert response.status_code == 413
    assert len(said(response)) == 1
    assert "What I typed" in response.content.decode()
    assert len(names(folder)) == 1


@pytest.mark.parametrize("told", ["5", "99999999999", "-1", "many"])
def test_a_part_that_lies_about_its_length_is_counted_all_the_same(
    told: str, folder: Path, sams_browser: Client, entered: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(uploads.LIMITS, "file", 1000)
    form = entered(file=sent(content=b"x" * 1001))
    body = encode_multipart("BOUNDARY", form).replace(
        b"Content-Type: application/pdf", f"Content-Type: application/pdf\r\nContent-Length: {told}".encode()
    )
    assert told.encode() in body
    response = sams_browser.generic("POST", ADD, body, "multipart/form-data; boundary=BOUNDARY")
    assert any("The file has more than" in fault for fault in said(response))
    assert names(folder) == []


@pytest.mark.parametrize("missing", [40, 2_000])
def test_a_body_that_ends_too_early_leaves_nothing(
    missing: int, folder: Path, sams_browser: Client, entered: Any
) -> None:
    form = {name: value for name, value in entered().items() if name != "file"}
    body = encode_multipart("BOUNDARY", {**form, "file": sent(content=pdf(b"x" * 3000))})
    kind = "multipart/form-data; boundary=BOUNDARY"
    length = str(len(body) - missing)
    response = sams_browser.generic("POST", ADD, body, kind, CONTENT_LENGTH=length)
    assert any("cut off or damaged" in fault or "Choose a file" in fault for fault in said(response))
    assert not Resource.objects.exists()
    assert names(folder) == []


@pytest.mark.parametrize("path", ["/sign-in/", ADD, f"{TAGS}add/", "/admin/login/"])
def test_nobody_else_can_send_files(
    path: str, mia: Member, noras_browser: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even one byte of them is taken, whatever the page."""
    monkeypatch.setattr(uploads.UploadHandler, "receive_data_chunk", mock.Mock(side_effect=AssertionError))
    member = Client()
    member.force_login(AccountFactory.create(member=mia))
    for browser in (Client(), member, noras_browser):
        response = browser.post(path, {"title": "x", "file": sent()})
        assert response.status_code in {200, 302, 403}
    assert not Resource.objects.exists()


def test_staff_without_the_second_factor_can_send_no_files(
    sams_browser: Client, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    monkeypatch.setattr(uploads.UploadHandler, "receive_data_chunk", mock.Mock(side_effect=AssertionError))
    settings.STAFF_SECOND_FACTOR = True
    assert sams_browser.post(ADD, {"title": "x", "file": sent()}).status_code == 302


def test_staff_who_curate_can_send_no_other_field(
    sams_browser: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads.UploadHandler, "receive_data_chunk", mock.Mock(side_effect=AssertionError))
    sams_browser.post(f"{TAGS}add/", {"name": "x", "other": sent()})


def test_an_account_uploads_so_often_an_hour(
    folder: Path, sams_browser: Client, entered: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "UPLOADS_PER_HOUR", 2)
    for _ in range(2):
        sams_browser.post(ADD, entered(file=sent(), title=""))
    response = sams_browser.post(ADD, entered(file=sent()))
    assert any("2 files an hour are as many as an account may upload." in fault for fault in said(response))
    assert sams_browser.post(ADD, entered(file_url="https://videos.example/1")).status_code == 302
    other = Client()
    other.force_login(AccountFactory.create(is_staff=True, is_superuser=True))
    assert other.post(ADD, entered(file=sent())).status_code == 302


def test_a_scanner_that_is_not_there_refuses(
    folder: Path, sams_browser: Client, entered: Any, settings: Any
) -> None:
    settings.CLAMAV_ADDRESS = "/nowhere/clamd.ctl"
    form = entered(file=sent(), thumbnail=sent("a.png", picture("PNG"), "image/png"))
    faults = said(sams_browser.post(ADD, form))
    assert sum("The virus scanner does not answer" in fault for fault in faults) == 2
    assert names(folder) == []


# Thumbnails.


def test_a_thumbnail_is_shown_changed_and_taken_away(
    folder: Path,
    sams_browser: Client,
    fill_in: FillIn,
    playbook: Resource,
    django_capture_on_commit_callbacks: Any,
) -> None:
    page = f"{RESOURCES}{playbook.pk}/change/"

    def save(**changes: Any) -> Resource:
        with django_capture_on_commit_callbacks(execute=True):
            response = sams_browser.post(page, fill_in(sams_browser.get(page), **changes))
        assert response.status_code == 302, said(response)
        return Resource.objects.get()

    first = save(thumbnail=sent("a.png", picture("PNG"), "image/png")).thumbnail_path
    second = save(thumbnail=sent("b.jpg", picture("JPEG", (300, 300)), "image/jpeg"))
    assert second.thumbnail_path != first
    assert names(folder) == sorted([str(second.storage_path), str(second.thumbnail_path)])
    name = str(second.thumbnail_path).removeprefix("thumbnails/")
    assert second.thumbnail_url == f"http://testserver/library/thumbnail/{name}"
    shown = Client().get(f"/library/thumbnail/{name}")
    assert (shown.status_code, shown.headers["Content-Type"]) == (200, "image/webp")
    assert "immutable" in shown.headers["Cache-Control"]
    assert Client().get(f"/library/thumbnail/{'0' * 32}.webp").status_code == 404
    third = save(remove_thumbnail="on")
    assert (third.thumbnail_path, third.thumbnail_url) == (None, None)
    assert names(folder) == [str(third.storage_path)]
    assert audited()[1:] == ["RESOURCE_CHANGED"] * 3


# Replacing.


def replace(browser: Client, fill_in: FillIn, resource: Resource, **changes: Any) -> Any:
    page = f"{RESOURCES}{resource.pk}/replace/"
    return browser.post(page, fill_in(browser.get(page), **{"note": "Better numbers", **changes}))


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
        ({"file": ("plan.pdf", pdf())}, "the file that the resource has already"),
        ({"file": ("plan.pdf", b"text")}, "none that we know"),
        ({"file": ("plan.pdf", pdf(b"new")), "note": " "}, "Say what is new."),
        ({"file": ("plan.pdf", pdf(b"new")), "note": "x" * 501}, "at most 500 characters"),
        ({"file": ("plan.pdf", pdf(b"new")), "seen": "x"}, "This file is in order"),
    ],
)
def test_a_fault_in_a_replacement_leaves_all_as_it_was(
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


def test_of_two_who_replace_at_once_the_second_is_told(
    folder: Path, sams_browser: Client, fill_in: FillIn, playbook: Resource
) -> None:
    page = f"{RESOURCES}{playbook.pk}/replace/"
    forms = [
        fill_in(sams_browser.get(page), note=f"Mine {n}", file=sent(content=pdf(b"%d" % n))) for n in range(2)
    ]
    assert sams_browser.post(page, forms[0]).status_code == 302
    late = sams_browser.post(page, forms[1])
    assert any(
        "Somebody replaced the file in the meantime: version 2 is there" in fault for fault in said(late)
    )
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


def test_an_old_version_is_purged_and_the_current_one_is_not(
    folder: Path,
    sams_browser: Client,
    fill_in: FillIn,
    playbook: Resource,
    django_capture_on_commit_callbacks: Any,
) -> None:
    replace(sams_browser, fill_in, playbook, file=sent(content=pdf(b"new")))
    page = f"{RESOURCES}{playbook.pk}/versions"
    assert (
        "This removes the file of version 1 for good."
        in sams_browser.get(f"{page}/1/purge/").content.decode()
    )
    assert len(names(folder)) == 2
    with django_capture_on_commit_callbacks(execute=True):
        response = sams_browser.post(f"{page}/1/purge/", follow=True)
    assert "The file of version 1 is gone for good." in response.content.decode()
    assert names(folder) == [str(Resource.objects.get().storage_path)]
    assert sams_browser.get(f"{page}/1/file/", follow=True).status_code in {200, 404}
    for number, words in (
        (1, "has been purged already"),
        (2, "the one that members get"),
        (7, "There is no version 7"),
    ):
        response = sams_browser.post(f"{page}/{number}/purge/", follow=True)
        assert words in response.content.decode()
    assert audited().count("RESOURCE_VERSION_PURGED") == 1
    assert ResourceVersion.objects.get(number=1).purged_at


# States.


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
    assert "From 1 May 2099, 09:30 UTC" in sams_browser.get(RESOURCES).content.decode()

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
    assert "it can be restored" in sams_browser.get(removal).content.decode()
    sams_browser.post(removal)
    assert not Resource.objects.shown().exists()
    sams_browser.post(removal)
    assert Resource.objects.shown().exists()
    assert len(names(folder)) == 1
    assert audited() == [
        "RESOURCE_ADDED", "RESOURCE_CHANGED", "RESOURCE_PUBLISHED", "RESOURCE_FEATURED", "RESOURCE_NO_LONGER_FEATURED",
        "RESOURCE_DELETED", "RESOURCE_RESTORED", "RESOURCE_DELETED", "RESOURCE_RESTORED",
    ]  # fmt: skip


def test_what_the_form_did_not_change_is_not_written(
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


def test_a_schedule_by_code_needs_a_time_to_come(playbook: Resource, sam: Account) -> None:
    past = datetime.now(UTC) - timedelta(seconds=1)
    with pytest.raises(Refused, match="is past"):
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


def test_the_list_reads_only_so_many_downloads_of_a_resource(
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


def test_the_figures_of_what_a_search_finds_are_read_for_the_page_alone(
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
    assert "Seen since" in sams_browser.get(RESOURCES).content.decode()


# Tags.


def test_tags_are_added_renamed_and_put_on_resources(
    folder: Path, sams_browser: Client, fill_in: FillIn, playbook: Resource
) -> None:
    assert sams_browser.post(f"{TAGS}add/", {"name": "  Cold   calls "}).status_code == 302
    tag = ResourceTag.objects.get()
    assert (tag.name, tag.slug) == ("Cold calls", "cold-calls")
    for name in ("cold CALLS", "Cold-calls!"):
        assert (
            "There is a tag &#x27;Cold calls&#x27; already."
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


def test_a_tag_that_is_renamed_leaves_its_old_name_to_others(sams_browser: Client, fill_in: FillIn) -> None:
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
    assert "Merged into calls: 2 resources got it." in done.content.decode()
    assert list(ResourceTag.objects.all()) == [tags[0]]
    assert {tuple(r.tags.all()) for r in Resource.objects.all()} == {(tags[0],)}
    assert details("RESOURCE_TAGS_MERGED")["merged"] == ["calling", "phone"]
    alone = sams_browser.post(TAGS, {"action": "merge", "_selected_action": [tags[0].pk]}, follow=True)
    assert "Select at least two tags." in alone.content.decode()
    gone = sams_browser.post(TAGS, {**given, "into": tags[0].pk, "merge_now": "Merge"}, follow=True)
    assert "Select at least two tags." in gone.content.decode()


def test_what_was_not_found_is_listed(sams_browser: Client) -> None:
    ResourceSearchMiss.objects.create(day="2026-11-24", words="linkedin voice notes", searches=7)
    assert "linkedin voice notes" in sams_browser.get("/admin/resources/resourcesearchmiss/").content.decode()


# Who may do what.

PAGES = [
    "",
    "{}/change/",
    "{}/versions/",
    "{}/preview/",
    "{}/versions/1/file/",
    "{}/replace/",
    "{}/removal/",
    "add/",
]


@pytest.fixture
def ada(db: None) -> Client:
    """The gateway's staff with the role ADMIN, and nothing more."""
    account = AccountFactory.create(admin=AdminFactory.create())
    roles.assign(account, AdminRole.ADMIN)
    browser = Client()
    browser.force_login(Account.objects.get(pk=account.pk), backend="council.auth.StaffBackend")
    return browser


def test_admins_curate_and_other_staff_do_not(
    folder: Path, ada: Client, noras_browser: Client, mia: Member, playbook: Resource, fill_in: FillIn
) -> None:
    member = Client()
    member.force_login(AccountFactory.create(member=mia))
    for path in PAGES:
        address = RESOURCES + path.format(playbook.pk)
        shown: Any = ada.get(address)
        assert shown.status_code == 200, address
        if shown.streaming:
            assert b"".join(shown.streaming_content) == pdf()
        assert noras_browser.get(address).status_code == 403, address
        assert member.get(address).status_code == 302, address
        assert Client().get(address).status_code == 302, address
    for page in (
        TAGS,
        f"{TAGS}add/",
        "/admin/resources/resourcesearchmiss/",
        "/admin/resources/resourcedownload/",
    ):
        assert ada.get(page).status_code == 200
        assert noras_browser.get(page).status_code == 403
    assert replace(ada, fill_in, playbook, file=sent(content=pdf(b"by ada"))).status_code == 302
    admin = Admin.objects.get()
    assert Resource.objects.get().uploaded_by == admin.pk
    for page, tag in (("change/", 'div class="readonly"'), ("versions/", "td")):
        assert f"<{tag}>{admin.email}</" in ada.get(f"{RESOURCES}{playbook.pk}/{page}").content.decode()
    history = ada.get(f"{RESOURCES}{playbook.pk}/history/", follow=True).content.decode()
    assert "RESOURCE_REPLACED" in history
    assert "RESOURCE_ADDED" in history
    for path in ("removal/", "versions/1/purge/", "replace/"):
        assert noras_browser.post(f"{RESOURCES}{playbook.pk}/{path}").status_code == 403


def test_who_may_only_look_can_change_nothing(folder: Path, playbook: Resource) -> None:
    reader = Client()
    reader.force_login(AccountFactory.create(is_staff=True, permissions=["resources.view_resource"]))
    page = reader.get(f"{RESOURCES}{playbook.pk}/change/")
    assert page.status_code == 200
    assert "Replace the file" not in page.content.decode()
    assert reader.post(f"{RESOURCES}{playbook.pk}/change/", {"title": "x"}).status_code == 403
    for path in ("replace/", "removal/", "versions/1/purge/"):
        assert reader.get(f"{RESOURCES}{playbook.pk}/{path}").status_code == 403
    for action in ("publish", "delete"):
        reader.post(RESOURCES, {"action": action, "_selected_action": [playbook.pk]})
    assert Resource.objects.get().deleted_at is None


@pytest.mark.parametrize(
    "path", ["{}/replace/", "{}/versions/", "{}/preview/", "{}/removal/", "{}/versions/9/file/"]
)
def test_pages_of_nothing_are_not_found(path: str, sams_browser: Client) -> None:
    assert sams_browser.get(RESOURCES + path.format("nothing")).status_code == 404


def test_a_preview_is_what_a_member_sees(folder: Path, sams_browser: Client, entered: Any) -> None:
    sams_browser.post(ADD, entered(file=sent(), status="DRAFT"))
    resource = Resource.objects.get()
    html = sams_browser.get(f"{RESOURCES}{resource.pk}/preview/").content.decode()
    assert "Cold email playbook" in html
    assert "This is a preview" in html
    assert "/download/" not in html
