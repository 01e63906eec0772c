"""Uploads with the admin's forms: counted while they arrive, refused early, and thumbnails."""

from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any
from unittest import mock

import pytest
from django.test import Client, RequestFactory
from django.test.client import encode_multipart

from council.models import Member
from resources import archives, uploads
from resources.models import Resource
from tests.factories import AccountFactory
from tests.resources.curating import ADD, RESOURCES, TAGS, FillIn, audited, names, replace, said, sent
from tests.resources.samples import pdf, picture, zipped

pytestmark = pytest.mark.any_server


def full_disk() -> IO[bytes]:
    """A file that fails on writing like a full disk."""
    return Path("/dev/full").open("r+b")


@pytest.mark.parametrize("size", [100, 200_000])
def test_a_full_temporary_folder_is_an_error_of_the_upload(
    size: int, folder: Path, sams_browser: Client, entered: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A small upload fails only when the buffer is written."""
    monkeypatch.setattr(uploads, "tempfile", SimpleNamespace(TemporaryFile=full_disk))
    response = sams_browser.post(ADD, entered(file=sent(content=pdf(b"x" * size))))
    assert any("The server has no disk space to check the file." in fault for fault in said(response))
    assert 'value="Cold email playbook"' in response.content.decode()
    assert not Resource.objects.exists()


def test_an_archive_in_an_archive_also_needs_disk_space(
    folder: Path, sams_browser: Client, entered: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = zipped({"inner.zip": zipped({"a.txt": "x" * 10_000})})
    monkeypatch.setattr(archives, "tempfile", SimpleNamespace(TemporaryFile=full_disk))
    response = sams_browser.post(ADD, entered(file=sent("plan.zip", content, "")))
    assert any("The server has no disk space to check the file." in fault for fault in said(response))


def test_a_file_is_counted_while_it_arrives(
    folder: Path, sams_browser: Client, entered: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(uploads.LIMITS, "file", 1000)
    exact = pdf(b"x" * (1000 - len(pdf())))
    assert sams_browser.post(ADD, entered(file=sent(content=exact))).status_code == 302
    monkeypatch.setattr(uploads, "MIB", 1)
    response = sams_browser.post(ADD, entered(file=sent(content=exact + b"\n")))
    assert any("The file is larger than 1000 MB." in fault for fault in said(response))
    assert 'value="Cold email playbook"' in response.content.decode()
    assert len(names(folder)) == 1


def test_a_far_too_large_upload_is_cut_off(
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
    assert response.status_code == 413  # with 200, Chromium would show only a reset connection
    assert said(response) == [
        "The file is larger than 0 MB. Make it smaller, or split it. The files chosen below it did not arrive."
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
def test_a_part_with_a_false_length_is_counted(
    told: str, folder: Path, sams_browser: Client, entered: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(uploads.LIMITS, "file", 1000)
    form = entered(file=sent(content=b"x" * 1001))
    body = encode_multipart("BOUNDARY", form).replace(
        b"Content-Type: application/pdf", f"Content-Type: application/pdf\r\nContent-Length: {told}".encode()
    )
    assert told.encode() in body
    response = sams_browser.generic("POST", ADD, body, "multipart/form-data; boundary=BOUNDARY")
    assert any("The file is larger than" in fault for fault in said(response))
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
def test_only_staff_who_curate_can_send_files(
    path: str, mia: Member, noras_browser: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No page accepts even one byte."""
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


def test_an_account_has_a_limited_number_of_uploads_an_hour(
    folder: Path, sams_browser: Client, entered: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "UPLOADS_PER_HOUR", 2)
    for _ in range(2):
        sams_browser.post(ADD, entered(file=sent(), title=""))
    response = sams_browser.post(ADD, entered(file=sent()))
    assert any("An account may upload at most 2 files an hour." in fault for fault in said(response))
    assert sams_browser.post(ADD, entered(file_url="https://videos.example/1")).status_code == 302
    other = Client()
    other.force_login(AccountFactory.create(is_staff=True, is_superuser=True))
    assert other.post(ADD, entered(file=sent())).status_code == 302


def test_an_upload_is_refused_if_the_scanner_does_not_answer(
    folder: Path, sams_browser: Client, entered: Any, settings: Any
) -> None:
    settings.CLAMAV_ADDRESS = "/nowhere/clamd.ctl"
    form = entered(file=sent(), thumbnail=sent("a.png", picture("PNG"), "image/png"))
    faults = said(sams_browser.post(ADD, form))
    assert sum("The virus scanner does not answer" in fault for fault in faults) == 2
    assert names(folder) == []


def test_a_thumbnail_can_be_shown_changed_and_removed(
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


@pytest.mark.any_server
def test_uploading_needs_an_active_staff_account_with_the_right_and_the_second_factor(
    db: None, settings: Any
) -> None:
    settings.STAFF_SECOND_FACTOR = True

    def may_upload(*, is_verified: bool = True, **changes: bool) -> bool:
        request = RequestFactory().post(ADD)
        # A superuser has every right.
        account: Any = AccountFactory.create(**{"is_staff": True, "is_superuser": True, **changes})
        account.is_verified = lambda: is_verified
        request.user = account
        return uploads.may_upload(request)

    assert may_upload()
    assert not may_upload(is_verified=False)
    assert not may_upload(is_staff=False)
    assert not may_upload(is_active=False)
    assert not may_upload(is_superuser=False)
    assert not uploads.may_upload(RequestFactory().post(ADD))
