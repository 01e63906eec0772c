"""Uploads, from the first byte to a file that may be stored.

Nothing is ever whole in memory, and what is on disk while it arrives has no name, so that it goes with the process.
"""

import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import BytesIO
from typing import IO, Any

from django.core.files.base import ContentFile, File
from django.core.files.uploadedfile import UploadedFile
from django.core.files.uploadhandler import FileUploadHandler, StopUpload
from django.http import HttpRequest, HttpResponse

from council import second_factor, throttle
from council.accounts.models import Account
from resources import file_names, media_types, scanner, storage, thumbnails
from resources.media_types import MediaType
from resources.refusal import Refused

MIB = 1024 * 1024
MAX_BYTES = 100 * MIB
# By the field of the form.
LIMITS = {"file": MAX_BYTES, "thumbnail": thumbnails.MAX_UPLOAD_BYTES}
# How much of a file that is refused already is read and thrown away, so that the form can come back. Then we hang up.
MAX_THROWN_AWAY_BYTES = MAX_BYTES
UPLOADS_PER_HOUR = 60
MAY_UPLOAD = ("resources.add_resource", "resources.change_resource")
NO_ROOM = (
    "The server has no room to look at the file. Try again in a few minutes. "
    "If it fails again, tell the people who run the server."
)

logger = logging.getLogger(__name__)


class Upload(UploadedFile):
    """A file that has arrived, or what is wrong with it; `fault` is what is said to who sent it."""

    def __init__(self, *, file: IO[bytes], name: str, content_type: str, size: int, fault: str) -> None:
        super().__init__(file, name, content_type, size)
        self.fault = fault


class UploadHandler(FileUploadHandler):
    """Take files of staff who may upload, count them while they arrive, and hang up on everybody else.

    The only upload handler (FILE_UPLOAD_HANDLERS), so that no page takes a file that was not meant to.
    """

    file: IO[bytes]
    received = 0
    limit = 0
    fault = ""

    def new_file(self, *args: Any, **kwargs: Any) -> None:
        super().new_file(*args, **kwargs)
        self.limit = LIMITS.get(str(self.field_name), 0)
        if not self.limit or self.request is None or not may_upload(self.request):
            raise StopUpload(connection_reset=True)
        self.received, self.fault = 0, ""
        self.file = BytesIO()
        with self._room_on_disk():
            self.file = tempfile.TemporaryFile()  # noqa: SIM115  # it is closed with the request
        try:
            throttle.count("uploads", str(self.request.user.pk), limit=UPLOADS_PER_HOUR, window_seconds=3600)
        except throttle.TooMany as error:
            self.fault = (
                f"{UPLOADS_PER_HOUR} files an hour are as many as an account may upload. "
                f"Try again in {error.seconds // 60 + 1} minutes."
            )

    def receive_data_chunk(self, raw_data: bytes, start: int) -> None:
        self.received += len(raw_data)
        if not self.fault and self.received > self.limit:
            self.fault = f"The file has more than {self.limit // MIB} MB. Make it smaller, or split it."
            self.file.truncate(0)
        if not self.fault:
            with self._room_on_disk():
                self.file.write(raw_data)
        elif self.received > self.limit + MAX_THROWN_AWAY_BYTES:
            lost = f"{self.fault} What was chosen below it did not arrive."
            setattr(self.request, "cut_off", {str(self.field_name): lost})  # noqa: B010  # no attribute of Django's
            raise StopUpload(connection_reset=True)

    def file_complete(self, file_size: int) -> Upload:
        with self._room_on_disk():
            self.file.seek(0)  # writes what is left in the buffer
        return Upload(
            file=self.file,
            name=str(self.file_name),
            content_type=str(self.content_type or ""),
            size=0 if self.fault else self.received,
            fault=self.fault,
        )

    def upload_interrupted(self) -> None:
        if self.limit:
            self.file.close()

    @contextmanager
    def _room_on_disk(self) -> Iterator[None]:
        """Have a full disk be a fault of the upload."""
        try:
            yield
        except OSError as error:
            logger.error("An upload cannot be kept in the temporary folder: %s", error)
            with suppress(OSError):
                self.file.close()
            self.file, self.fault = BytesIO(), NO_ROOM


def may_upload(request: HttpRequest) -> bool:
    """Tell whether somebody is staff who may change resources, and has given the second factor."""
    account = getattr(request, "user", None)
    return (
        isinstance(account, Account)
        and account.is_active
        and account.is_staff
        and not second_factor.is_missing(request)
        and any(account.has_perm(name) for name in MAY_UPLOAD)
    )


@dataclass(frozen=True)
class Checked:
    """A file that may be stored."""

    file: File
    name: str
    media_type: MediaType


def check(upload: UploadedFile) -> Checked:
    """Make sure that a file is what it says it is, and harmless. Raises Refused."""
    _raise_fault(upload)
    name = upload.name or ""
    file_names.check(name)
    file: Any = upload.file
    try:
        media_type = media_types.check(
            file, size=upload.size or 0, name=name, declared=upload.content_type or ""
        )
    except OSError as error:  # an archive in an archive is unpacked on disk
        logger.error("An upload cannot be unpacked in the temporary folder: %s", error)
        raise Refused(NO_ROOM) from error
    scanner.scan(file)
    return Checked(File(file), name, media_type)


def check_thumbnail(upload: UploadedFile) -> File:
    """Make a thumbnail of an uploaded picture. Raises Refused."""
    _raise_fault(upload)
    file: Any = upload.file
    scanner.scan(file)
    return ContentFile(thumbnails.convert(file))


def _raise_fault(upload: UploadedFile) -> None:
    if fault := getattr(upload, "fault", ""):
        raise Refused(fault)


@dataclass(frozen=True)
class Received:
    """A file that was checked and stored, and its real name."""

    stored: storage.Stored
    name: str
    mime_type: str


class Reception:
    """The files of one form: checked and stored before the database is asked for anything, see `reception`.

    `file` and `thumbnail_path` are what was stored, `faults` what was refused and why, by field.
    """

    def __init__(self) -> None:
        self.file: Received | None = None
        self.thumbnail_path: str | None = None
        self.faults: dict[str, str] = {}
        self.stored: list[str] = []
        self.kept: set[str] = set()
        self.is_cut_off = False

    def answer(self, response: HttpResponse) -> HttpResponse:
        """Have a browser that could not send all of the form show the answer: Chromium does at a status of refusal."""
        if self.is_cut_off:
            response.status_code = 413
        return response

    def receive(self, request: HttpRequest) -> None:
        """Check and store the files of a form."""
        files = request.FILES
        cut_off = getattr(request, "cut_off", {})
        self.is_cut_off = bool(cut_off)
        self.faults |= cut_off
        for field, take in (("file", self._take_file), ("thumbnail", self._take_thumbnail)):
            if (upload := files.get(field)) is not None:
                try:
                    take(upload)
                except (Refused, storage.Unavailable) as error:
                    self.faults[field] = str(error)

    def _take_file(self, upload: UploadedFile) -> None:
        checked = check(upload)
        kind = checked.media_type
        stored = storage.save(
            checked.file, folder=storage.FILES, extension=kind.extension, mime_type=kind.mime_type
        )
        self.stored.append(stored.path)
        self.file = Received(stored, checked.name, kind.mime_type)

    def _take_thumbnail(self, upload: UploadedFile) -> None:
        picture = check_thumbnail(upload)
        stored = storage.save(picture, folder=storage.THUMBNAILS, extension=".webp", mime_type="image/webp")
        self.stored.append(stored.path)
        self.thumbnail_path = stored.path

    def keep(self) -> None:
        """Leave in the storage what was stored so far: rows have it, once their transaction is committed."""
        self.kept |= {*self.stored}


@contextmanager
def reception() -> Iterator[Reception]:
    """Receive the files of a form, and remove afterwards what was not kept; all of them where the block fails.

    The block ends with the transaction that writes the rows. A process that is killed in between leaves files to
    `manage.py clean_storage`.
    """
    received = Reception()
    try:
        yield received
    except BaseException:
        received.kept.clear()
        raise
    finally:
        for path in received.stored:
            if path not in received.kept:
                storage.discard(path)
