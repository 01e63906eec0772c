"""A folder whose disk fails, links at the end of their hour, and what the log keeps of both."""

import time
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from django.core import signing
from django.core.exceptions import SuspiciousOperation
from django.core.files.base import ContentFile, File

from resources import storage

pytestmark = pytest.mark.any_server
PDF = "application/pdf"


def save(content: File | None = None) -> storage.Stored:
    return storage.save(
        content or ContentFile(b"content"), folder=storage.FILES, extension=".pdf", mime_type=PDF
    )


def files_in(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob("*") if path.is_file()]


def failing_with(error: Exception) -> Any:
    return mock.patch.object(storage.Folder, "exists", side_effect=error)


def test_a_file_that_was_stored_in_part_is_refused_and_removed(folder: Path) -> None:
    with (
        mock.patch.object(storage.Folder, "size", return_value=6),
        pytest.raises(storage.Unavailable, match="saved only 6 of 7 bytes"),
    ):
        save()
    assert files_in(folder) == []


def test_a_file_is_stored_from_its_beginning_wherever_it_was_read_to(folder: Path) -> None:
    content = ContentFile(b"content")
    content.read(3)
    stored = save(content)
    assert (stored.size, storage.read(stored.path)) == (7, b"content")


def test_what_cannot_be_removed_is_left_to_a_command_and_logged(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = save().path
    with mock.patch.object(storage.Folder, "delete", side_effect=OSError(30, "Read-only file system")):
        storage.discard(path)
    assert files_in(folder) == [Path(path).name]
    assert f"{path} may be left in the storage." in caplog.text


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(5, "Input/output error"), "The file storage failed (Input/output error)."),
        (OSError("no answer"), "The file storage failed (no answer)."),
        (OSError(), "The file storage failed (OSError)."),
        (SuspiciousOperation("outside"), "The stored path of this file is not valid."),
    ],
)
def test_a_fault_is_told_in_words_and_logged(
    error: Exception, words: str, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with failing_with(error), pytest.raises(storage.Unavailable) as refusal:
        storage.exists("files/a.pdf")
    assert str(refusal.value).startswith(words)
    assert "looking for files/a.pdf" in caplog.text


def test_a_missing_file_is_logged(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(storage.Missing):
        storage.read("files/gone.pdf")
    assert "The storage has no files/gone.pdf." in caplog.text


def test_whether_links_lead_here_is_told_without_a_storage_too(folder: Path, settings: Any) -> None:
    assert storage.is_served_here()
    settings.STORAGES = {name: value for name, value in settings.STORAGES.items() if name != "library"}
    assert not storage.is_served_here()


@pytest.mark.parametrize(("seconds", "is_good"), [(3600, True), (3600.5, False)])
def test_a_link_is_good_to_the_end_of_its_hour(
    seconds: float, is_good: bool, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = 1_800_000_000
    monkeypatch.setattr(time, "time", lambda: made)
    link = storage.link(save().path, file_name="a.pdf", mime_type=PDF, member_id="mia")
    token = link.removeprefix("/library/file/").removesuffix("/")
    monkeypatch.setattr(time, "time", lambda: made + seconds)
    if is_good:
        assert storage.read_link(token, member_id="mia").file_name == "a.pdf"
    else:
        with pytest.raises(storage.LinkRefused, match="has expired"):
            storage.read_link(token, member_id="mia")


@pytest.mark.parametrize("content", [5, ["files/a.pdf"], None])
def test_a_signed_link_of_another_shape_is_refused(content: Any) -> None:
    token = signing.dumps(content, salt=storage.SALT)
    with pytest.raises(storage.LinkRefused, match="not valid"):
        storage.read_link(token, member_id="mia")
