"""Uploads, from the first byte to a stored file.

An upload is never completely in memory. While it arrives, it is an unnamed file, which ends with the process.
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
from resources.storage import MIB

MAX_BYTES = 100 * MIB
# The largest file for each form field.
LIMITS = {"file": MAX_BYTES, "thumbnail": thumbnails.MAX_UPLOAD_BYTES}
# How much of a refused file is still read and dropped, so that the form can show the error. Then the connection closes.
MAX_THROWN_AWAY_BYTES = MAX_BYTES
UPLOADS_PER_HOUR = 60
MAY_UPLOAD = ("resources.add_resource", "resources.change_resource")
NO_ROOM = (
    "The server has no disk space to check the file. Try again in a few minutes. "
    "If it fails again, tell the people who run the server."
)

logger = logging.getLogger(__name__)


class Upload(UploadedFile):
    """A file that has arrived. If it is refused, `fault` is the message for the sender."""

    def __init__(self, *, file: IO[bytes], name: str, content_type: str, size: int, fault: str) -> None:
        super().__init__(file, name, content_type, size)
        self.fault = fault


class UploadHandler(FileUploadHandler):
    """Accept files from staff who may upload, limit their size, and close the connection of everybody else.

    It is the only upload handler (FILE_UPLOAD_HANDLERS), so that no other page accepts files.
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
                f"An account may upload at most {UPLOADS_PER_HOUR} files an hour. "
                f"Try again in {error.seconds // 60 + 1} minutes."
            )

    def receive_data_chunk(self, raw_data: bytes, start: int) -> None:
        self.received += len(raw_data)
        if not self.fault and self.received > self.limit:
            self.fault = f"The file is larger than {self.limit // MIB} MB. Make it smaller, or split it."
            self.file.truncate(0)
        if not self.fault:
            with self._room_on_disk():
                self.file.write(raw_data)
        elif self.received > self.limit + MAX_THROWN_AWAY_BYTES:
            lost = f"{self.fault} The files chosen below it did not arrive."
            setattr(self.request, "cut_off", {str(self.field_name): lost})  # noqa: B010  # not an attribute that Django defines
            raise StopUpload(connection_reset=True)

    def file_complete(self, file_size: int) -> Upload:
        with self._room_on_disk():
            self.file.seek(0)  # writes the rest of the buffer to disk
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
        """Turn a disk error, such as a full disk, into a fault of the upload."""
        try:
            yield
        except OSError as error:
            logger.error("An upload cannot be kept in the temporary folder: %s", error)
            with suppress(OSError):
                self.file.close()
            self.file, self.fault = BytesIO(), NO_ROOM


def may_upload(request: HttpRequest) -> bool:
    """Tell whether the account is staff, may change resources, and has given the second factor."""
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
    """A file that passed all checks and may be stored."""

    file: File
    name: str
    media_type: MediaType


def check(upload: UploadedFile) -> Checked:
    """Check that a file is of the kind that its name says, and harmless. Raises Refused."""
    _raise_fault(upload)
    name = upload.name or ""
    file_names.check(name)
    file: Any = upload.file
    try:
        media_type = media_types.check(
            file, size=upload.size or 0, name=name, declared=upload.content_type or ""
        )
    except OSError as error:  # a nested archive is unpacked on disk
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
    """A file that was checked and stored, with its original name."""

    stored: storage.Stored
    name: str
    mime_type: str


class Reception:
    """The files of one form, checked and stored before the transaction begins. See `reception`.

    `file` and `thumbnail_path` are the stored files. `faults` holds the reasons for refused files, by field.
    """

    def __init__(self) -> None:
        self.file: Received | None = None
        self.thumbnail_path: str | None = None
        self.faults: dict[str, str] = {}
        self.stored: list[str] = []
        self.kept: set[str] = set()
        self.is_cut_off = False

    def answer(self, response: HttpResponse) -> HttpResponse:
        """Set status 413 if the form was cut off. Chromium shows the page only with an error status."""
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
        """Mark the stored files as used by rows, so that they stay if the transaction commits."""
        self.kept |= {*self.stored}


@contextmanager
def reception() -> Iterator[Reception]:
    """Receive the files of a form. Afterwards, remove the files that were not kept, or all if the block fails.

    The block must contain the transaction that writes the rows. If the process is killed in between, the files stay
    until `manage.py clean_storage` removes them.
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
