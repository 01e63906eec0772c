"""The storage of the library's files: a private bucket with the S3 protocol, or a folder, with the same functions.

STORAGES["library"] chooses one (resources/bucket.py, or Folder below). A file gets a random name, is written once and
never changed. A new version is another file. `manage.py clean_storage` removes files that no row refers to.
"""

import hashlib
import logging
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from django.core import signing
from django.core.exceptions import SuspiciousOperation
from django.core.files.base import File
from django.core.files.storage import FileSystemStorage, InvalidStorageError, storages
from django.urls import reverse

LINK_SECONDS = 3600
MIB = 1024 * 1024
# Our files are only in these folders. A bucket may contain other files, too.
FILES, THUMBNAILS = "files", "thumbnails"
SALT = "resources.storage"

logger = logging.getLogger(__name__)


class Unavailable(Exception):
    """The storage failed. Members may see the message."""


class Missing(Unavailable):
    """The storage answers, but does not have the file."""


class LinkRefused(Exception):
    """The link is forged, older than an hour, or another member's. Members may see the message."""


@dataclass(frozen=True)
class Stored:
    """A file that was stored: its path, its size in bytes, and its SHA-256 in hexadecimal digits."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Listed:
    """A file in the storage: its path, its size in bytes, and when it was written."""

    path: str
    size: int
    written_at: datetime


@dataclass(frozen=True)
class Ticket:
    """The contents of a link to a file in the folder."""

    path: str
    file_name: str
    mime_type: str


class Folder(FileSystemStorage):
    """A folder on this machine. Links lead to this site (resources/files.py). A link may be for one member only."""

    def __init__(self, location: Path) -> None:
        super().__init__(location=location, file_permissions_mode=0o600, directory_permissions_mode=0o700)

    def link(self, path: str, *, file_name: str, mime_type: str, member_id: str | None) -> str:
        token = signing.dumps([path, file_name, mime_type, member_id or ""], salt=SALT, compress=True)
        return reverse("resources:file", args=[token])

    def listing(self, folder: str) -> Iterator[Listed]:
        root = Path(self.location)
        for found in sorted((root / folder).glob("**/*")):
            if found.is_file():
                facts = found.stat()
                yield Listed(
                    found.relative_to(root).as_posix(),
                    facts.st_size,
                    datetime.fromtimestamp(facts.st_mtime, UTC),
                )


def new_path(folder: str, extension: str) -> str:
    """Make a random name that nobody can guess, and that reveals nothing about the file."""
    return f"{folder}/{secrets.token_hex(16)}{extension}"


def save(file: File, *, folder: str, extension: str, mime_type: str) -> Stored:
    """Store a file piece by piece. Raises Unavailable, and then removes what was stored."""
    path = new_path(folder, extension)
    try:
        with _as_unavailable(f"saving {path}"):
            size, sha256 = _measure(file)
            content = File(file.file, name=path)
            content.content_type = mime_type  # type: ignore[attr-defined]  # a bucket stores it
            storage = _storage()
            storage.save(path, content)
            kept = storage.size(path)
        if kept != size:
            raise Unavailable(f"The storage saved only {kept:,} of {size:,} bytes. Upload the file again.")
    except BaseException:
        discard(path)
        raise
    return Stored(path, size, sha256)


def _measure(file: File) -> tuple[int, str]:
    digest, size = hashlib.sha256(), 0
    file.seek(0)
    while piece := file.read(MIB):
        digest.update(piece)
        size += len(piece)
    file.seek(0)
    return size, digest.hexdigest()


def link(path: str, *, file_name: str, mime_type: str, member_id: str | None = None) -> str:
    """Make an address that downloads the file with this name and type, and works for an hour.

    With `member_id`, only that member can use a link to the folder. Anybody can use a link to a bucket.
    Checks first that the file exists, so that nobody is sent to a missing file. Raises Unavailable.
    """
    with _as_unavailable(f"a link to {path}"):
        storage = _existing(path)
        address: str = storage.link(path, file_name=file_name, mime_type=mime_type, member_id=member_id)
        return address


def read_link(token: str, *, member_id: str) -> Ticket:
    """Check and read a link to the folder. Raises LinkRefused."""
    try:
        path, file_name, mime_type, owner = signing.loads(token, salt=SALT, max_age=LINK_SECONDS)
    except signing.SignatureExpired as error:
        raise LinkRefused(
            "This link has expired. It works for an hour. Download the file from its page again."
        ) from error
    except (signing.BadSignature, ValueError, TypeError) as error:
        raise LinkRefused("This link is not valid. Download the file from its page.") from error
    if owner not in ("", member_id):
        raise LinkRefused("This link was made for another member. Download the file from its page.")
    return Ticket(path, file_name, mime_type)


def open_file(path: str) -> File:
    """Open a file for reading. Raises Unavailable."""
    with _as_unavailable(f"reading {path}"):
        opened: File = _existing(path).open(path)
        return opened


def read(path: str) -> bytes:
    """Read all of a small file, such as a thumbnail. Raises Unavailable."""
    with _as_unavailable(f"reading {path}"), _existing(path).open(path) as opened:
        return bytes(opened.read())


def exists(path: str) -> bool:
    """Tell whether the storage has the file. Raises Unavailable."""
    with _as_unavailable(f"looking for {path}"):
        return bool(_storage().exists(path))


def delete(path: str) -> None:
    """Remove a file. It may already be gone. Raises Unavailable."""
    with _as_unavailable(f"removing {path}"):
        _storage().delete(path)


def listing() -> Iterator[Listed]:
    """List all of the library's files. Raises Unavailable."""
    with _as_unavailable("the list of files"):
        storage = _storage()
        for folder in (FILES, THUMBNAILS):
            yield from storage.listing(folder)


def is_served_here() -> bool:
    """Tell whether links lead to this site, which is so for a folder."""
    try:
        return isinstance(_storage(), Folder)
    except InvalidStorageError:
        return False


def _storage() -> Any:
    return storages["library"]


def _existing(path: str) -> Any:
    """Return the storage, if it has the file. Raises Missing."""
    storage = _storage()
    if not storage.exists(path):
        logger.error("The storage has no %s.", path)
        raise Missing("The file is missing from the storage. Tell the staff which resource it belongs to.")
    return storage


def discard(path: str) -> None:
    """Remove a file that is no longer needed. If that fails, leave it to `manage.py clean_storage`."""
    try:
        delete(path)
    except Unavailable:
        logger.warning("%s may be left in the storage. `manage.py clean_storage` finds it.", path)


@contextmanager
def _as_unavailable(what: str) -> Iterator[None]:
    """Turn errors of the storage into messages for the reader, and log their details."""
    try:
        yield
    except InvalidStorageError as error:
        raise Unavailable(
            "No file storage is configured. Set LIBRARY_FOLDER, or the five variables that begin with S3_."
        ) from error
    except SuspiciousOperation as error:
        logger.error("The storage refused a path, %s: %s", what, error)
        raise Unavailable(
            "The stored path of this file is not valid. Tell the staff which resource it belongs to."
        ) from error
    except OSError as error:
        logger.error("The storage failed: %s: %s", what, error)
        fault = error.strerror or str(error) or type(error).__name__
        raise Unavailable(
            f"The file storage failed ({fault}). Try again in a few minutes. If it fails again, tell the staff."
        ) from error
