"""Where the library's files are: a private bucket over the S3 protocol, or a folder. The same functions for both.

STORAGES["library"] says which (resources/bucket.py, or Folder below). A file is written once, under a name of our
own, and never changed: a new version is another file. What no row names, `manage.py clean_storage` removes.
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
# The folders in which our files are. A bucket may hold other people's beside them.
FILES, THUMBNAILS = "files", "thumbnails"
SALT = "resources.storage"

logger = logging.getLogger(__name__)


class Unavailable(Exception):
    """The storage did not do what it was asked for. The message may be shown to members."""


class Missing(Unavailable):
    """The storage answers, and does not have the file."""


class LinkRefused(Exception):
    """A link is altered, older than an hour, or another member's. The message may be shown to members."""


@dataclass(frozen=True)
class Stored:
    """A file as it was stored: its path, its size in bytes, and its SHA-256 in hexadecimal digits."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Listed:
    """A file that is in the storage, its size in bytes, and when it was written."""

    path: str
    size: int
    written_at: datetime


@dataclass(frozen=True)
class Ticket:
    """What a link to the folder stands for."""

    path: str
    file_name: str
    mime_type: str


class Folder(FileSystemStorage):
    """A folder of this machine. Links lead to this site (resources/files.py), for one member where one is named."""

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
    """Make up a name that nobody can guess, and that says nothing of what is in the file."""
    return f"{folder}/{secrets.token_hex(16)}{extension}"


def save(file: File, *, folder: str, extension: str, mime_type: str) -> Stored:
    """Store a file, piece by piece. Raises Unavailable, and then nothing is left of it."""
    path = new_path(folder, extension)
    try:
        with _faults_in_words(f"saving {path}"):
            size, sha256 = _measure(file)
            content = File(file.file, name=path)
            content.content_type = mime_type  # type: ignore[attr-defined]  # what a bucket is told
            storage = _storage()
            storage.save(path, content)
            kept = storage.size(path)
        if kept != size:
            raise Unavailable(f"The storage kept {kept:,} of {size:,} bytes. Upload the file again.")
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
    """Make an address under which the file is a download, by that name and of that type, for an hour.

    `member_id` makes it that member's alone where the storage can tell members apart: the folder can, a bucket cannot.
    Asks the storage for the file first, so that nobody is sent to a file that is not there. Raises Unavailable.
    """
    with _faults_in_words(f"a link to {path}"):
        storage = _existing(path)
        address: str = storage.link(path, file_name=file_name, mime_type=mime_type, member_id=member_id)
        return address


def read_link(token: str, *, member_id: str) -> Ticket:
    """Say what a link to the folder is for. Raises LinkRefused."""
    try:
        path, file_name, mime_type, owner = signing.loads(token, salt=SALT, max_age=LINK_SECONDS)
    except signing.SignatureExpired as error:
        raise LinkRefused(
            "This link has expired: it is good for an hour. Download the file from its page again."
        ) from error
    except (signing.BadSignature, ValueError, TypeError) as error:
        raise LinkRefused("This link is not one of ours. Download the file from its page.") from error
    if owner not in ("", member_id):
        raise LinkRefused("This link was made for another member. Download the file from its page.")
    return Ticket(path, file_name, mime_type)


def open_file(path: str) -> File:
    """Open a file of the folder for reading. Raises Unavailable."""
    with _faults_in_words(f"reading {path}"):
        opened: File = _existing(path).open(path)
        return opened


def read(path: str) -> bytes:
    """Read a small file whole, such as a thumbnail. Raises Unavailable."""
    with _faults_in_words(f"reading {path}"), _existing(path).open(path) as opened:
        return bytes(opened.read())


def exists(path: str) -> bool:
    """Whether the storage has the file. Raises Unavailable."""
    with _faults_in_words(f"looking for {path}"):
        return bool(_storage().exists(path))


def delete(path: str) -> None:
    """Remove a file, which may be gone already. Raises Unavailable."""
    with _faults_in_words(f"removing {path}"):
        _storage().delete(path)


def listing() -> Iterator[Listed]:
    """Go through all of our files. Raises Unavailable."""
    with _faults_in_words("the list of files"):
        storage = _storage()
        for folder in (FILES, THUMBNAILS):
            yield from storage.listing(folder)


def is_served_here() -> bool:
    """Whether links lead to this site, as those of a folder do."""
    try:
        return isinstance(_storage(), Folder)
    except InvalidStorageError:
        return False


def _storage() -> Any:
    return storages["library"]


def _existing(path: str) -> Any:
    """The storage, if it has the file."""
    storage = _storage()
    if not storage.exists(path):
        logger.error("The storage has no %s.", path)
        raise Missing("The file is missing from the storage. Tell the staff which one it is.")
    return storage


def discard(path: str) -> None:
    """Remove what nobody needs. What cannot be removed now is left to `manage.py clean_storage`."""
    try:
        delete(path)
    except Unavailable:
        logger.warning("%s may be left in the storage. `manage.py clean_storage` finds it.", path)


@contextmanager
def _faults_in_words(what: str) -> Iterator[None]:
    """Say what happened to who is waiting, and to the log what the storage said."""
    try:
        yield
    except InvalidStorageError as error:
        raise Unavailable(
            "No file storage is configured. Set LIBRARY_FOLDER, or the five variables that begin with S3_."
        ) from error
    except SuspiciousOperation as error:
        logger.error("The storage refused a path, %s: %s", what, error)
        raise Unavailable(
            "The file cannot be reached under the path that is recorded. Tell the staff."
        ) from error
    except OSError as error:
        logger.error("The storage failed: %s: %s", what, error)
        fault = error.strerror or str(error) or type(error).__name__
        raise Unavailable(
            f"The file storage failed ({fault}). Try again in a few minutes, then tell the staff."
        ) from error
