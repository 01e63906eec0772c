"""Both storages behave alike: a folder, and a bucket whose server checks signatures."""

import hashlib
import re
import urllib.request
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any
from unittest import mock
from urllib.error import HTTPError
from urllib.parse import urlsplit

import pytest
from django.core import signing
from django.core.files.base import ContentFile, File
from django.test import Client

from council.models import Member
from resources import storage
from tests.factories import AccountFactory
from tests.resources.storages import ACCESS_KEY, SECRET_KEY, S3Server

pytestmark = pytest.mark.any_server

PDF = "application/pdf"
NAME = 'Preisliste "neu" - über 2 %.pdf'
CONTENT = b"".join(b"%063d\n" % n for n in range(3000))


class Answer:
    """The response to a link of either storage."""

    def __init__(self, status: int, body: bytes, headers: Any) -> None:
        self.status, self.body, self.headers = status, body, headers


class Place:
    """One of the two storages: where its files are, and how Mia or another member follows a link."""

    def __init__(self, files: Path, follow: Callable[..., Answer]) -> None:
        self.files, self.follow = files, follow

    def names(self) -> list[str]:
        return sorted(
            path.relative_to(self.files).as_posix() for path in self.files.rglob("*") if path.is_file()
        )


def browser_of(member: Member) -> Client:
    browser = Client()
    browser.force_login(AccountFactory.create(member=member))
    return browser


def visit(browser: Client, link: str, **headers: str) -> Answer:
    response: Any = browser.get(link, headers=headers)
    body = b"".join(response.streaming_content) if response.streaming else response.content
    return Answer(response.status_code, body, response.headers)


def fetch(link: str, **headers: str) -> Answer:
    request = urllib.request.Request(link, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return Answer(response.status, response.read(), response.headers)
    except HTTPError as error:
        with error:
            return Answer(error.code, error.read(), error.headers)


@pytest.fixture(params=["folder", "bucket"])
def place(request: pytest.FixtureRequest) -> Place:
    if request.param == "bucket":
        server: S3Server = request.getfixturevalue("bucket")
        return Place(server.files, fetch)
    browser = browser_of(request.getfixturevalue("mia"))
    return Place(
        request.getfixturevalue("folder"), lambda *given, **headers: visit(browser, *given, **headers)
    )


def save(content: bytes = CONTENT) -> storage.Stored:
    return storage.save(ContentFile(content), folder=storage.FILES, extension=".pdf", mime_type=PDF)


def test_a_file_is_stored_completely_under_a_random_name(place: Place) -> None:
    stored = save()
    assert re.fullmatch(r"files/[0-9a-f]{32}\.pdf", stored.path)
    assert (stored.size, stored.sha256) == (len(CONTENT), hashlib.sha256(CONTENT).hexdigest())
    assert place.names() == [stored.path]
    assert (place.files / stored.path).read_bytes() == CONTENT
    assert storage.read(stored.path) == CONTENT


def test_the_same_file_twice_is_two_files(place: Place) -> None:
    assert save().path != save().path
    assert len(place.names()) == 2


def test_a_link_downloads_the_file_with_its_name_and_type(place: Place) -> None:
    answer = place.follow(storage.link(save().path, file_name=NAME, mime_type=PDF))
    assert (answer.status, answer.body) == (200, CONTENT)
    assert answer.headers["Content-Type"] == PDF
    assert answer.headers["Content-Disposition"] == (
        "attachment; filename*=utf-8''Preisliste%20%22neu%22%20-%20%C3%BCber%202%20%25.pdf"
    )


@pytest.mark.parametrize(
    ("asked", "expected"),
    [("bytes=100-199", CONTENT[100:200]), ("bytes=191000-", CONTENT[191000:]), ("bytes=-7", CONTENT[-7:])],
)
def test_an_interrupted_download_can_be_continued(asked: str, expected: bytes, place: Place) -> None:
    answer = place.follow(storage.link(save().path, file_name=NAME, mime_type=PDF), Range=asked)
    assert answer.body == expected
    assert answer.status in {206, 200}  # rclone says 200, with the range
    assert answer.headers["Content-Range"].endswith(f"/{len(CONTENT)}")
    assert answer.headers["Content-Length"] == str(len(expected))


def test_a_range_beyond_the_end_is_refused(place: Place) -> None:
    answer = place.follow(storage.link(save().path, file_name=NAME, mime_type=PDF), Range="bytes=999999-")
    assert answer.status == 416


def test_an_altered_link_is_refused(place: Place) -> None:
    link = storage.link(save().path, file_name=NAME, mime_type=PDF)
    other = save(b"somebody else's").path
    places = range(14, len(link) - 1) if link.startswith("/") else range(len(link) - 64, len(link))
    for position in list(places)[::5]:
        altered = link[:position] + ("b" if link[position] != "b" else "c") + link[position + 1 :]
        answer = place.follow(altered)
        assert answer.status in {400, 403, 404}, altered
        assert CONTENT not in answer.body
    if not link.startswith("/"):
        path, _, query = link.partition("?")
        for altered in (
            path,
            f"{path[: -len(other)]}{other}?{query}",
            link.replace("X-Amz-Expires=3600", "X-Amz-Expires=86400"),
            link.replace("attachment", "inline"),
            link.replace("application%2Fpdf", "text%2Fhtml"),
        ):
            assert altered != link
            assert place.follow(altered).status in {400, 403}, altered


def test_a_link_signed_with_another_key_is_refused(place: Place, settings: Any) -> None:
    path = save().path
    library = settings.STORAGES["library"]
    if "access_key" in library["OPTIONS"]:
        forged = {**library, "OPTIONS": {**library["OPTIONS"], "secret_key": "guessed"}}
        with mock.patch.object(storage, "_existing", return_value=backend(forged)):
            link = storage.link(path, file_name=NAME, mime_type=PDF)
    else:
        link = f"/library/file/{signing.dumps([path, NAME, PDF, ''], key='guessed', salt=storage.SALT)}/"
    assert place.follow(link).status == 403


def backend(setting: dict[str, Any]) -> Any:
    from resources.bucket import Bucket  # noqa: PLC0415  # boto3 is slow to load

    return Bucket(**setting["OPTIONS"])


@pytest.mark.parametrize(("minutes", "statuses"), [(59, {200}), (61, {400, 403})])
def test_a_link_lasts_an_hour(minutes: int, statuses: set[int], place: Place, settings: Any) -> None:
    path = save().path
    past = datetime.now(UTC) - timedelta(minutes=minutes)
    with (
        mock.patch("django.core.signing.time.time", past.timestamp),
        mock.patch("botocore.auth.get_current_datetime", return_value=past),
        mock.patch.object(storage, "_existing", return_value=storage._storage()),
    ):
        link = storage.link(path, file_name=NAME, mime_type=PDF)
    assert place.follow(link).status in statuses


def test_a_missing_file_gets_no_link(place: Place) -> None:
    path = save().path
    assert storage.exists(path)
    storage.delete(path)
    storage.delete(path)
    assert not storage.exists(path)
    assert place.names() == []
    with pytest.raises(storage.Missing, match="missing from the storage"):
        storage.link(path, file_name=NAME, mime_type=PDF)
    with pytest.raises(storage.Unavailable, match="missing from the storage"):
        storage.read(path)


@pytest.mark.parametrize("path", ["../secret", "/etc/passwd", "files/../../secret"])
def test_a_path_outside_of_the_storage_is_refused(path: str, place: Place) -> None:
    (place.files.parent / "secret").write_text("not for members")
    with pytest.raises(storage.Unavailable):
        storage.link(path, file_name=NAME, mime_type=PDF)
    with pytest.raises(storage.Unavailable):
        storage.read(path)


def test_the_files_are_listed_with_size_and_time(place: Place) -> None:
    paths = {save(CONTENT[:size]).path: size for size in (1, 20, 300)}
    thumbnail = storage.save(
        ContentFile(b"RIFF"), folder=storage.THUMBNAILS, extension=".webp", mime_type="image/webp"
    )
    (place.files / "others").mkdir()
    (place.files / "others" / "gateway.txt").write_text("not ours")
    listed = {found.path: found for found in storage.listing()}
    assert {path: found.size for path, found in listed.items()} == {**paths, thumbnail.path: 4}
    for found in listed.values():
        assert abs(datetime.now(UTC) - found.written_at) < timedelta(minutes=1)


@pytest.mark.parametrize("good_reads", [1, 4])
def test_a_file_that_cannot_be_read_to_its_end_leaves_nothing(good_reads: int, place: Place) -> None:
    class Breaks(BytesIO):
        reads = 0

        def read(self, *args: Any) -> bytes:
            Breaks.reads += 1
            if Breaks.reads > good_reads:
                raise OSError(5, "Input/output error")
            return super().read(*args)

    with pytest.raises(storage.Unavailable, match="Input/output error|does not answer"):
        storage.save(File(Breaks(CONTENT)), folder=storage.FILES, extension=".pdf", mime_type=PDF)
    assert place.names() == []


# Behaviour of only one of them.


def test_a_link_to_a_folder_works_for_one_member(
    folder: Path, mia: Member, carl: Member, lars: Member, nora: Any
) -> None:
    path = save().path
    link = storage.link(path, file_name=NAME, mime_type=PDF, member_id=mia.pk)
    assert visit(browser_of(mia), link).body == CONTENT
    others = visit(browser_of(carl), link)
    assert others.status == 403
    assert b"made for another member" in others.body
    lapsed = visit(browser_of(lars), storage.link(path, file_name=NAME, mime_type=PDF, member_id=lars.pk))
    assert lapsed.status == 403
    assert CONTENT not in lapsed.body
    assert visit(Client(), link).status == 302
    staff = Client()
    staff.force_login(nora)
    assert visit(staff, link).status == 403


def test_a_link_to_a_bucket_works_for_anybody(bucket: S3Server) -> None:
    """A bucket cannot distinguish members (docs/operating.md). Only the hour of the link protects the file."""
    link = storage.link(save().path, file_name=NAME, mime_type=PDF, member_id="mia")
    assert fetch(link).body == CONTENT


def test_a_folder_explains_what_is_wrong_with_a_link(folder: Path, mia: Member) -> None:
    browser = browser_of(mia)
    path = save().path
    link = storage.link(path, file_name=NAME, mime_type=PDF)
    assert "nosniff" in visit(browser, link).headers["X-Content-Type-Options"]
    storage.delete(path)
    gone = visit(browser, link)
    assert (gone.status, b"missing from the storage" in gone.body) == (404, True)
    with mock.patch("django.core.signing.time.time", (datetime.now(UTC) - timedelta(minutes=61)).timestamp):
        old = signing.dumps([path, NAME, PDF, mia.pk], salt=storage.SALT, compress=True)
    expired = visit(browser, f"/library/file/{old}/")
    assert (expired.status, b"This link has expired. It works for an hour." in expired.body) == (403, True)
    nonsense = visit(browser, "/library/file/nonsense/")
    assert (nonsense.status, b"This link is not valid" in nonsense.body) == (403, True)


def test_an_empty_file_is_sent(folder: Path, mia: Member) -> None:
    link = storage.link(save(b"").path, file_name=NAME, mime_type=PDF)
    assert visit(browser_of(mia), link, Range="bytes=0-5").status in {200, 416}


def test_only_its_owner_can_read_a_folder(folder: Path) -> None:
    stored = folder / save().path
    assert stored.stat().st_mode & 0o777 == 0o600
    assert stored.parent.stat().st_mode & 0o777 == 0o700


@pytest.mark.django_db
def test_links_to_a_folder_end_when_a_bucket_takes_its_place(
    folder: Path, mia: Member, request: pytest.FixtureRequest
) -> None:
    link = storage.link(save().path, file_name=NAME, mime_type=PDF)
    request.getfixturevalue("bucket")
    assert visit(browser_of(mia), link).status in {403, 404}


def test_a_full_disk_gives_a_message(folder: Path) -> None:
    full = OSError(28, "No space left on device")
    with (
        mock.patch("django.core.files.storage.filesystem.FileSystemStorage._save", side_effect=full),
        pytest.raises(storage.Unavailable, match="No space left on device"),
    ):
        save()


def test_a_missing_storage_gives_a_message(settings: Any) -> None:
    settings.STORAGES = {name: value for name, value in settings.STORAGES.items() if name != "library"}
    with pytest.raises(storage.Unavailable, match="No file storage is configured. Set LIBRARY_FOLDER"):
        storage.exists("files/a.pdf")


def test_a_bucket_that_is_down_gives_a_message(bucket: S3Server, settings: Any) -> None:
    path = save().path
    down = {**bucket.options, "endpoint_url": "http://127.0.0.1:9"}
    settings.STORAGES = {**settings.STORAGES, "library": {**bucket.setting(), "OPTIONS": down}}
    for act in (
        save,
        lambda: storage.link(path, file_name=NAME, mime_type=PDF),
        lambda: list(storage.listing()),
    ):
        with pytest.raises(storage.Unavailable, match="does not answer: EndpointConnectionError"):
            act()


def test_a_refusal_by_a_bucket_gives_a_message_without_secrets(
    bucket: S3Server, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    wrong = {**bucket.options, "secret_key": "not-the-secret"}
    settings.STORAGES = {**settings.STORAGES, "library": {**bucket.setting(), "OPTIONS": wrong}}
    with pytest.raises(storage.Unavailable, match="the bucket refused the request") as refusal:
        save()
    for secret in ("not-the-secret", ACCESS_KEY, SECRET_KEY):
        assert secret not in caplog.text + str(refusal.value)


def test_requests_to_a_bucket_use_paths_and_signature_version_4(bucket: S3Server) -> None:
    stored = save()
    address = urlsplit(storage.link(stored.path, file_name=NAME, mime_type=PDF))
    assert f"{address.scheme}://{address.netloc}" == bucket.address
    assert address.path == f"/{bucket.bucket}/{stored.path}"
    for part in (
        "X-Amz-Algorithm=AWS4-HMAC-SHA256",
        "X-Amz-Expires=3600",
        "response-content-disposition=attachment",
    ):
        assert part in address.query


def test_a_bucket_stores_a_large_file_in_one_request(bucket: S3Server) -> None:
    with mock.patch("botocore.client.BaseClient._make_api_call", autospec=True) as call:
        call.side_effect = AssertionError
        with pytest.raises(AssertionError):
            save(b"0" * (20 * storage.MIB))
    assert [given.args[1] for given in call.call_args_list][:1] == ["PutObject"]
