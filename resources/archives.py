"""Checks of ZIP archives, including Office files, which are ZIP archives, too.

An archive is read to its end, entry by entry. The unpacked bytes are counted, because the sizes that an archive states
may be false. Nothing that is unpacked is kept.
"""

import re
import stat
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any

from resources import file_names
from resources.refusal import Refused
from resources.storage import MIB

MAX_ENTRIES = 10_000
MAX_UNPACKED_BYTES = 1024 * MIB
MAX_RATIO = 150  # of unpacked size to packed size, for files that unpack to more than 20 MB
RATIO_MATTERS_FROM_BYTES = 20 * MIB
MAX_DEPTH = 3  # allows an archive with a presentation that contains a spreadsheet
# An entry of the directory has 46 bytes and its name. zipfile reads it all at once and makes an object of each entry.
MAX_DIRECTORY_BYTES = 2 * MIB
# Between entries there may be a data descriptor of up to this length, and nothing else.
MAX_GAP_BYTES = 24
LOCAL_HEADER = struct.Struct("<4s5H3L2H")
IN_NAMES = re.compile(r"^[a-zA-Z]:|^/|(^|/)\.\.(/|$)")
PROGRAMS = {
    b"MZ": "Windows",
    b"\x7fELF": "Linux",
    b"\xcf\xfa\xed\xfe": "macOS",
    b"\xca\xfe\xba\xbe": "Java or macOS",
}
RUN_BY_OPENING = frozenset(
    ".bat .cmd .com .cpl .exe .hta .jar .jse .lnk .msi .msp .pif .ps1 .reg .scr .vbe .vbs .wsf .wsh".split()  # noqa: SIM905
)


@dataclass
class Budget:
    """How much may still be unpacked from an archive and all archives inside it."""

    entries: int = MAX_ENTRIES
    unpacked_bytes: int = MAX_UNPACKED_BYTES


class Guarded:
    """A file wrapper that refuses an overlong directory of entries before zipfile reads it into memory."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file

    def read(self, size: int = -1) -> bytes:
        if size > MAX_DIRECTORY_BYTES:
            raise Refused(f"The archive has more than {MAX_ENTRIES:,} files in it. Pack fewer.")
        return self.file.read(size)

    def seek(self, *where: int) -> int:
        return self.file.seek(*where)

    def tell(self) -> int:
        return self.file.tell()

    def seekable(self) -> bool:
        return True


def open_checked(file: IO[bytes], *, size: int) -> zipfile.ZipFile:
    """Check an archive of `size` bytes by reading all of it, and return it opened. Raises Refused."""
    with _as_refusals():
        return _check(file, size, Budget(), depth=1)


def _check(file: IO[bytes], size: int, budget: Budget, *, depth: int) -> zipfile.ZipFile:
    if depth > MAX_DEPTH:
        raise Refused(
            f"The archive contains archives nested more than {MAX_DEPTH} deep. Pack the files themselves."
        )
    archive = zipfile.ZipFile(Guarded(file))
    entries = archive.infolist()
    budget.entries -= len(entries)
    if budget.entries < 0:
        raise Refused(f"The archive has more than {MAX_ENTRIES:,} files in it. Pack fewer.")
    if not entries:
        raise Refused("The archive is empty.")
    _check_names(entries)
    _check_layout(archive, file, entries, size)
    before = budget.unpacked_bytes
    for entry in entries:
        if not entry.is_dir():
            _unpack(archive, entry, budget, depth)
    unpacked = before - budget.unpacked_bytes
    if unpacked > RATIO_MATTERS_FROM_BYTES and unpacked > MAX_RATIO * size:
        raise Refused(f"The archive unpacks to more than {MAX_RATIO} times its size, like a zip bomb.")
    return archive


def _check_names(entries: list[zipfile.ZipInfo]) -> None:
    seen: set[str] = set()
    for entry in entries:
        name = entry.orig_filename.replace("\\", "/")
        shown = file_names.printable(name)
        if hidden := file_names.invisible(name):
            raise Refused(
                f"A file name in the archive has an invisible character: {shown} ({hidden}). Rename that file."
            )
        if IN_NAMES.search(name):
            raise Refused(
                f"A path in the archive leads out of its folder: {shown}. Pack it with relative paths."
            )
        if name.casefold() in seen:
            raise Refused(f"The archive has two files with the same name: {shown}. Pack it again.")
        seen.add(name.casefold())
        if entry.flag_bits & 0x1:
            raise Refused(
                f"The archive is encrypted ({shown}), so it cannot be checked. Pack it without a password."
            )
        if entry.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
            raise Refused(
                f"The archive uses an uncommon compression method ({shown}). Pack it as an ordinary ZIP."
            )
        kind = stat.S_IFMT(entry.external_attr >> 16)
        if kind and not (stat.S_ISREG(kind) or stat.S_ISDIR(kind)):
            raise Refused(f"The archive contains a link or a device: {shown}. Pack only files and folders.")
        if any(name.lower().endswith(suffix) for suffix in RUN_BY_OPENING):
            raise Refused(f"The archive contains a program: {shown}. Remove it.")


def _check_layout(
    archive: zipfile.ZipFile, file: IO[bytes], entries: list[zipfile.ZipInfo], size: int
) -> None:
    """Check that entries follow each other without gaps, from the first byte to the directory at the end of the file.

    Overlapping entries mean a zip bomb. Bytes between or around the entries may be another, hidden file.
    """
    place = 0
    for entry in sorted(entries, key=lambda entry: entry.header_offset):
        if entry.header_offset < place:
            raise Refused("Files in the archive overlap, as in a zip bomb. Pack it again.")
        if entry.header_offset > place + (MAX_GAP_BYTES if place else 0):
            raise Refused("The archive has hidden data before or between its files. Pack it again.")
        file.seek(entry.header_offset)
        header = file.read(LOCAL_HEADER.size)
        if len(header) < LOCAL_HEADER.size or header[:4] != b"PK\3\4":
            raise Refused("The archive is damaged. Pack it again.")
        *_, name_length, extra_length = LOCAL_HEADER.unpack(header)
        place = entry.header_offset + LOCAL_HEADER.size + name_length + extra_length + entry.compress_size
    if not place <= archive.start_dir <= place + MAX_GAP_BYTES:
        raise Refused("The archive has hidden data after its files. Pack it again.")
    file.seek(archive.start_dir)
    directory_length = sum(_directory_entry_length(file, entry) for entry in entries)
    # The directory is followed by an end record of 22 bytes with a comment. ZIP64 archives have 76 more bytes.
    rest = size - archive.start_dir - directory_length - 22 - len(archive.comment)
    if rest not in {0, 76}:
        raise Refused("There is hidden data after the end of the archive. Pack it again.")


def _directory_entry_length(file: IO[bytes], entry: zipfile.ZipInfo) -> int:
    header = file.read(46)
    if len(header) < 46 or header[:4] != b"PK\1\2":
        raise Refused("The archive is damaged. Pack it again.")
    variable = sum(struct.unpack("<3H", header[28:34]))
    file.seek(variable, 1)
    return 46 + int(variable)


def _unpack(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, budget: Budget, depth: int) -> None:
    shown = file_names.printable(entry.filename)
    with archive.open(entry) as unpacked, tempfile.TemporaryFile() as nested:
        start = unpacked.read(4)
        budget.unpacked_bytes -= len(start)
        for magic, system in PROGRAMS.items():
            if start.startswith(magic):
                raise Refused(f"The archive contains a program for {system}: {shown}. Remove it.")
        is_archive = start == b"PK\3\4"
        size = len(start)
        if is_archive:
            nested.write(start)
        while piece := unpacked.read(64 * 1024):
            size += len(piece)
            budget.unpacked_bytes -= len(piece)
            if budget.unpacked_bytes < 0:
                raise Refused(
                    f"The archive unpacks to more than {MAX_UNPACKED_BYTES // MIB:,} MB. Pack fewer files."
                )
            if size > RATIO_MATTERS_FROM_BYTES and size > MAX_RATIO * max(1, entry.compress_size):
                raise Refused(
                    f"{shown} unpacks to more than {MAX_RATIO} times its size, like a zip bomb. Remove it."
                )
            if is_archive:
                nested.write(piece)
        if is_archive:
            nested.seek(0)
            _check(nested, size, budget, depth=depth + 1)


@contextmanager
def _as_refusals() -> Iterator[None]:
    """Turn errors of zipfile into the refusal that the archive is damaged."""
    try:
        yield
    except Refused:
        raise
    except (zipfile.BadZipFile, zipfile.LargeZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise Refused(f"The archive is damaged ({_first(error)}). Pack it again.") from error
    except (RuntimeError, ValueError, IndexError, struct.error, OverflowError, UnicodeError) as error:
        raise Refused("The archive is damaged. Pack it again.") from error


def _first(error: Exception) -> Any:
    return file_names.printable(str(error), 80) or type(error).__name__
