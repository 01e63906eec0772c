"""The kinds of files that the library accepts, recognised by their content and never by their names."""

import struct
import zipfile
from dataclasses import dataclass
from io import BytesIO
from pathlib import PurePosixPath
from typing import IO
from xml.parsers import expat

import puremagic

from resources import archives, file_names
from resources.refusal import Refused
from resources.storage import MIB

HEAD_BYTES = 8192
TAIL_BYTES = 65_557  # the longest end of a ZIP archive
MAX_PART_BYTES = MIB


@dataclass(frozen=True)
class MediaType:
    """A kind of file: its description, extension and media type, and other media types that browsers declare for it."""

    description: str
    extension: str
    mime_type: str
    also_declared: frozenset[str] = frozenset()


PACKED = frozenset({"application/zip", "application/x-zip-compressed", "application/x-zip"})
OFFICE = "application/vnd.openxmlformats-officedocument"
PDF = MediaType("a PDF document", ".pdf", "application/pdf", frozenset({"application/x-pdf"}))
DOCX = MediaType("a Word document", ".docx", f"{OFFICE}.wordprocessingml.document", PACKED)
XLSX = MediaType("an Excel workbook", ".xlsx", f"{OFFICE}.spreadsheetml.sheet", PACKED)
PPTX = MediaType("a PowerPoint presentation", ".pptx", f"{OFFICE}.presentationml.presentation", PACKED)
MP4 = MediaType("an MP4 video", ".mp4", "video/mp4", frozenset({"application/mp4"}))
ZIP = MediaType("a ZIP archive", ".zip", "application/zip", PACKED)
ALL = (PDF, DOCX, XLSX, PPTX, MP4, ZIP)
TAKEN = "The library accepts PDF, DOCX, XLSX, PPTX, MP4 and ZIP."
# Browsers declare these if they do not know the type.
UNKNOWN = {"", "application/octet-stream", "binary/octet-stream"}

# The kind of an Office file, by the content type of its main part.
MAIN_PARTS = {
    f"{OFFICE}.wordprocessingml.document.main+xml": DOCX,
    f"{OFFICE}.spreadsheetml.sheet.main+xml": XLSX,
    f"{OFFICE}.presentationml.presentation.main+xml": PPTX,
}
MAIN_RELATIONS = {
    "http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument",
    "http://purl.oclc.org/ooxml/officeDocument/relationships/officeDocument",
}
MP4_BRANDS = {
    b"isom",
    b"mp41",
    b"mp42",
    b"mp71",
    b"avc1",
    b"M4V ",
    b"M4VH",
    b"M4VP",
    b"MSNV",
    b"dash",
    b"f4v ",
} | {b"iso%d" % n for n in range(2, 10)}


def check(file: IO[bytes], *, size: int, name: str, declared: str) -> MediaType:
    """Return the kind of a file. Raises Refused if it is not accepted, or if its name or declared type differs."""
    found = recognise(file, size=size)
    extension = PurePosixPath(name).suffix.lower()
    if extension != found.extension:
        named = f"is named {extension}" if extension else "has no extension"
        raise Refused(
            f"This is {found.description}, but it {named}. Name it {found.extension}, or choose another file."
        )
    declared = declared.partition(";")[0].strip().lower()
    if declared not in {found.mime_type, *found.also_declared, *UNKNOWN}:
        raise Refused(
            f"This is {found.description}, but it was sent as {file_names.printable(declared)}. "
            f"Save it again under a new name, and choose that file."
        )
    return found


def recognise(file: IO[bytes], *, size: int) -> MediaType:
    """Return the kind of a file by its content. Raises Refused."""
    file.seek(0)
    head = file.read(HEAD_BYTES)
    if not head:
        raise Refused("The file is empty. Choose another one.")
    if head.startswith(b"%PDF-"):
        _check_pdf(_tail(file, size))
        return PDF
    if head[4:8] == b"ftyp":
        _check_mp4(file, size)
        _check_no_archive(_tail(file, size))
        return MP4
    if head.startswith(b"PK\3\4"):
        with archives.open_checked(file, size=size) as archive:
            return _packed(archive)
    raise Refused(f"This kind of file is not accepted: {_what(head)}. {TAKEN}")


def _what(head: bytes) -> str:
    """Name a kind of file that is not accepted."""
    try:
        match = puremagic.magic_stream(BytesIO(head))[0]
    except (puremagic.PureError, ValueError, IndexError):
        return "an unknown kind"
    return f"{match.name} ({match.extension})" if match.extension else str(match.name)


def _tail(file: IO[bytes], size: int) -> bytes:
    file.seek(max(0, size - TAIL_BYTES))
    return file.read(TAIL_BYTES)


def _check_pdf(tail: bytes) -> None:
    if b"%%EOF" not in tail[-1024:]:
        raise Refused("The PDF document has no end. It is cut off or damaged. Save it again.")
    _check_no_archive(tail)


def _check_no_archive(tail: bytes) -> None:
    """Refuse a file that is a ZIP archive, too: it contains the end record of one, and that reaches the file's end."""
    place = tail.rfind(b"PK\5\6")
    if place >= 0 and len(tail) - place >= 22:
        (comment_length,) = struct.unpack("<H", tail[place + 20 : place + 22])
        if place + 22 + comment_length >= len(tail) - 1024:
            raise Refused("A ZIP archive is hidden in the file. Save it again.")


def _check_mp4(file: IO[bytes], size: int) -> None:
    """Check the boxes of an MP4 file. They must fill the file, and one must describe a video."""
    place, boxes = 0, []
    while place < size:
        file.seek(place)
        header = file.read(16)
        if len(header) < 8:
            raise Refused("The MP4 video is cut off or damaged. Export it again.")
        length, kind = struct.unpack(">L4s", header[:8])
        if length == 1 and len(header) == 16:
            (length,) = struct.unpack(">Q", header[8:])
        elif length == 0:
            length = size - place
        if kind == b"ftyp":
            brand = header[8:12]
            if brand not in MP4_BRANDS:
                shown = file_names.printable(brand.decode("latin-1").strip())
                raise Refused(f"This is not an MP4 video, but the kind {shown}. Export it as MP4.")
        boxes.append(kind)
        if length < 8 or place + length > size or len(boxes) > 100_000:
            raise Refused("The MP4 video is cut off or damaged. Export it again.")
        place += length
    if b"moov" not in boxes:
        raise Refused("The MP4 video contains no picture and no sound. Export it again.")


def _packed(archive: zipfile.ZipFile) -> MediaType:
    """Return the kind of an archive by its parts: an Office file or a plain ZIP. Raises Refused."""
    names = {entry.filename for entry in archive.infolist()}
    if "[Content_Types].xml" not in names:
        return ZIP
    main = next(
        (
            given.get("Target", "").lstrip("/")
            for given in _elements(archive, "_rels/.rels", "Relationship")
            if given.get("Type") in MAIN_RELATIONS
        ),
        "",
    )
    types = _elements(archive, "[Content_Types].xml", "Override")
    content_type = next(
        (given.get("ContentType", "") for given in types if given.get("PartName", "").lstrip("/") == main), ""
    )
    if "macroenabled" in content_type.lower() or any(
        name.lower().endswith("vbaproject.bin") for name in names
    ):
        raise Refused("The document contains macros. Save it without macros, as DOCX, XLSX or PPTX.")
    if main not in names or content_type not in MAIN_PARTS:
        raise Refused(f"This is a Microsoft Office file of a kind that is not accepted. {TAKEN}")
    return MAIN_PARTS[content_type]


def _elements(archive: zipfile.ZipFile, part: str, element: str) -> list[dict[str, str]]:
    """Read the attributes of all elements of one name in a part. Raises Refused, also for a part with a DOCTYPE."""
    if part not in archive.namelist():
        raise Refused(f"The Office document has no {part}. It is damaged. Save it again.")
    with archive.open(part) as opened:
        text = opened.read(MAX_PART_BYTES + 1)
    if len(text) > MAX_PART_BYTES:
        raise Refused(f"In the Office document, {part} is too long. Save it again.")
    found: list[dict[str, str]] = []

    def begin(name: str, attributes: dict[str, str]) -> None:
        if name.rpartition(" ")[2] == element:
            found.append(attributes)

    def refuse(*given: object) -> None:
        raise Refused(f"In the Office document, {part} defines entities. Save it again.")

    parser = expat.ParserCreate(namespace_separator=" ")
    parser.StartElementHandler = begin
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(text, True)  # noqa: FBT003  # it accepts no keyword arguments
    except expat.ExpatError as error:
        raise Refused(f"In the Office document, {part} is damaged. Save it again.") from error
    return found
