"""The files that the library accepts and refuses, with the reasons."""

import io
import struct
import tracemalloc
import zipfile
from typing import Any

import pytest

from resources import archives, file_names, media_types, storage
from resources.refusal import Refused
from tests.resources import samples
from tests.resources.samples import SAMPLES, mp4, office, pdf, zipped

pytestmark = pytest.mark.any_server


def recognise(content: bytes, name: str = "plan.zip", declared: str = "") -> media_types.MediaType:
    return media_types.check(io.BytesIO(content), size=len(content), name=name, declared=declared)


@pytest.mark.parametrize("name", SAMPLES)
def test_each_kind_is_recognised_by_its_content(name: str) -> None:
    content, mime_type = SAMPLES[name]
    found = recognise(content, name, mime_type)
    assert (found.mime_type, found.extension) == (mime_type, name[4:])
    assert recognise(content, name.upper(), "application/octet-stream") is found


@pytest.mark.parametrize("name", SAMPLES)
@pytest.mark.parametrize("other", SAMPLES)
def test_the_name_must_match_the_content(name: str, other: str) -> None:
    if name == other:
        return
    with pytest.raises(Refused, match=rf"but it is named {other[4:]}\. Name it {name[4:]}"):
        recognise(SAMPLES[name][0], other)


@pytest.mark.parametrize(
    "declared", ["text/html", "image/svg+xml", "application/pdf", "video/mp4; codecs=avc1"]
)
def test_the_declared_type_must_match_the_content(declared: str) -> None:
    with pytest.raises(Refused, match="but it was sent as"):
        recognise(SAMPLES["plan.docx"][0], "plan.docx", declared)
    assert recognise(SAMPLES["plan.docx"][0], "plan.docx", "application/zip") is media_types.DOCX


PNG = samples.picture("PNG")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "The file is empty"),
        (b"Hello there, a text", "an unknown kind"),
        (b"MZ" + b"\0" * 300, "Windows Executable"),
        (b"\x7fELF" + b"\0" * 300, "ELF executable"),
        (b"<!doctype html><html><body>Hi</body></html>", "HTML document"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "Scalable Vector Graphics"),
        (PNG, "Portable Network Graphics"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 600, "Microsoft Office Document"),
        (b"junk%PDF-1.7\n%%EOF", "an unknown kind"),
        (pdf()[:-8], "The PDF document has no end"),
        (pdf() + SAMPLES["plan.zip"][0], "The PDF document has no end|A ZIP archive is hidden"),
        (pdf() + SAMPLES["plan.zip"][0] + b"%%EOF", "A ZIP archive is hidden in the file"),
        (mp4(b"qt  "), "not an MP4 video, but the kind qt"),
        (mp4(b"M4A "), "not an MP4 video, but the kind M4A"),
        (mp4(moov=False), "no picture and no sound"),
        (mp4()[:-10], "cut off or damaged"),
        (mp4(more=b"\0\0\0\0\0"), "cut off or damaged"),
        (mp4(more=struct.pack(">L4s", 3, b"free")), "cut off or damaged"),
        (mp4(more=samples.box(b"free", SAMPLES["plan.zip"][0])), "A ZIP archive is hidden in the file"),
        (b"GIF89a" + SAMPLES["plan.zip"][0], "not accepted: Graphics"),
        (office("docm"), "contains macros. Save it without macros"),
        (office("docx", **{"word/vbaProject.bin": b"\0"}), "contains macros"),
        (office("vsdx"), "a Microsoft Office file of a kind that is not accepted"),
        (zipped({"[Content_Types].xml": "<Types/>"}), r"has no _rels/\.rels"),
        (office("docx", **{"_rels/.rels": "<Relationships/>"}), "of a kind that is not accepted"),
    ],
)
def test_other_files_are_refused_with_the_reason(content: bytes, words: str) -> None:
    with pytest.raises(Refused, match=words):
        recognise(content)


@pytest.mark.parametrize(
    "part",
    [
        "",
        "not xml",
        "<Types>",
        "<!DOCTYPE a [<!ENTITY b 'c'>]><Types/>",
        "\ufeff<!DOCTYPE a><Types/>".encode("utf-16"),
    ],
)
def test_an_office_part_that_cannot_be_read_is_refused(part: Any) -> None:
    with pytest.raises(Refused, match=r"_rels/\.rels (is damaged|defines entities)"):
        recognise(zipped({"[Content_Types].xml": "<Types/>", "_rels/.rels": part}))


def test_an_office_part_that_is_too_long_is_refused() -> None:
    long = b"<Relationships>" + b" " * 2_000_000 + b"</Relationships>"
    with pytest.raises(Refused, match="too long"):
        recognise(zipped({"[Content_Types].xml": "<Types/>", "_rels/.rels": long}))


# Names of files.


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("plan\u202efdp.exe", r"contains an invisible character \(RIGHT-TO-LEFT OVERRIDE\)"),
        ("plan\u200f.pdf", "RIGHT-TO-LEFT MARK"),
        ("plan\u2066.pdf", "LEFT-TO-RIGHT ISOLATE"),
        ("plan\n.pdf", "U\\+000A"),
        ("plan\0.pdf", "U\\+0000"),
        ("plan\x7f.pdf", "U\\+007F"),
        ("plan\u200b.pdf", "ZERO WIDTH SPACE"),
        ("plan\ud800.pdf", "U\\+D800"),
        ("../plan.pdf", "is not a file name"),
        ("a\\plan.pdf", "is not a file name"),
        ("..", "is not a file name"),
        (" ", "is not a file name"),
        ("", "is not a file name"),
        (" plan.pdf", "begins or ends with a space"),
        ("plan.pdf.", "begins or ends with a space or a full stop"),
        ("p" * 147 + ".pdf", "The name has 151 characters"),
        ("plan.exe.pdf", r"two extensions, one of them \.exe"),
        ("plan.PDF.docx", r"two extensions, one of them \.pdf"),
        ("plan.html .pdf", r"two extensions, one of them \.html"),
    ],
)
def test_a_name_that_could_deceive_is_refused(name: str, words: str) -> None:
    with pytest.raises(Refused, match=words) as refusal:
        file_names.check(name)
    assert not file_names.invisible(str(refusal.value))


@pytest.mark.parametrize(
    "name", ["plan.pdf", "Plan v1.2 (final).docx", "Предложение.pdf", "قائمة.pdf", "a.b.c.zip"]
)
def test_ordinary_names_are_accepted(name: str) -> None:
    file_names.check(name)


# Archives.


def with_name(name: str) -> bytes:
    """An archive with a file name that zipfile would not write."""
    placeholder = "x" * len(name.encode())
    return zipped({placeholder: "content"}).replace(placeholder.encode(), name.encode())


def bomb(bytes_unpacked: int) -> bytes:
    return zipped({"zeros.txt": b"\0" * bytes_unpacked})


def overlapping() -> bytes:
    """An archive with two directory entries for the same file."""
    one = zipped({"aaaa.txt": "content" * 100})
    start = one.index(b"PK\1\2")
    directory = one[start : one.index(b"PK\5\6")]
    other = directory.replace(b"aaaa.txt", b"bbbb.txt")
    tail = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 2, 2, 2 * len(directory), start, 0)
    return one[:start] + directory + other + tail


def link() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        info = zipfile.ZipInfo("link")
        info.external_attr = 0o120777 << 16
        archive.writestr(info, "/etc/passwd")
    return file.getvalue()


def encrypted() -> bytes:
    content = bytearray(zipped({"secret.txt": "content"}))
    for signature, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        content[content.index(signature) + offset] |= 1
    return bytes(content)


def damaged() -> bytes:
    content = bytearray(zipped({"a.txt": "content" * 500}, zipfile.ZIP_STORED))
    content[200] ^= 0xFF
    return bytes(content)


def nested(depth: int) -> bytes:
    content = zipped({"a.txt": "content"})
    for _ in range(depth):
        content = zipped({"inner.zip": content})
    return content


ORDINARY = SAMPLES["plan.zip"][0]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (with_name("../evil.txt"), r"leads out of its folder: \.\./evil\.txt"),
        (with_name("a/../../evil.txt"), "leads out of its folder"),
        (with_name("/etc/passwd"), "leads out of its folder"),
        (with_name("..\\evil.txt"), "leads out of its folder"),
        (with_name("C:\\evil.txt"), "leads out of its folder"),
        (with_name("evil\n.txt"), "has an invisible character"),
        (with_name("evil\0.txt"), "has an invisible character"),
        (zipped({"plan\u202etxt.exe": "x"}), "RIGHT-TO-LEFT OVERRIDE"),
        (zipped({"a.txt": "1", "A.TXT": "2"}), "two files with the same name"),
        (link(), "contains a link or a device"),
        (encrypted(), "is encrypted"),
        (zipped({"a.txt": "x" * 999}, zipfile.ZIP_BZIP2), "uses an uncommon compression method"),
        (zipped({"setup.exe": "x"}), r"contains a program: setup\.exe"),
        (zipped({"picture.png": b"MZ\0\0"}), "contains a program for Windows"),
        (zipped({"tool": b"\x7fELF\2"}), "contains a program for Linux"),
        (bomb(30_000_000), "more than 150 times its size, like a zip bomb"),
        (zipped({"inner.zip": bomb(30_000_000)}), "like a zip bomb"),
        (overlapping(), "Files in the archive overlap|Overlapped"),
        (nested(3), "archives nested more than"),
        (damaged(), "The archive is damaged"),
        (ORDINARY[:-30], "The archive is damaged"),
        (ORDINARY[:60], "The archive is damaged"),
        (ORDINARY + b"<html>", "damaged|hidden data after the end of the archive"),
        (ORDINARY[:-2] + struct.pack("<H", 6) + b"<html>"[:6] + b"more", "damaged|hidden data after"),
        (zipped({}), "PKZIP archive|is empty"),
    ],
)
def test_a_harmful_archive_is_refused_with_the_reason(content: bytes, words: str) -> None:
    with pytest.raises(Refused, match=words):
        recognise(content)


def test_data_before_or_between_the_files_is_found() -> None:
    first = zipped({"a.txt": "one", "b.txt": "two"}, zipfile.ZIP_STORED)
    second = first.index(b"PK\3\4", 4)
    hidden = b"<script>hidden</script>" * 4
    moved = first[:second] + hidden + first[second:]
    directory = moved.index(b"PK\1\2", moved.index(b"PK\1\2") + 4)
    moved = moved[: directory + 42] + struct.pack("<L", second + len(hidden)) + moved[directory + 46 :]
    end = moved.index(b"PK\5\6")
    start = moved.index(b"PK\1\2")
    moved = moved[: end + 16] + struct.pack("<L", start) + moved[end + 20 :]
    assert zipfile.ZipFile(io.BytesIO(moved)).read("b.txt") == b"two"
    with pytest.raises(Refused, match="hidden data before or between"):
        recognise(moved)


def test_an_archive_may_have_a_comment_and_may_be_written_to_a_pipe() -> None:
    class Pipe(io.RawIOBase):
        written = b""

        def writable(self) -> bool:
            return True

        def write(self, content: Any) -> int:
            Pipe.written += bytes(content)
            return len(content)

    with zipfile.ZipFile(Pipe(), "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.txt", "content")
        with archive.open("b.txt", "w", force_zip64=True) as entry:
            entry.write(b"more")
        archive.comment = b"made by us"
    assert recognise(Pipe.written) is media_types.ZIP


def test_office_files_may_be_packed_together() -> None:
    inside = {
        "plan.docx": office("docx", **{"word/embeddings/table.xlsx": office("xlsx")}),
        "plan.pdf": pdf(),
    }
    assert recognise(zipped(inside)) is media_types.ZIP


def test_too_many_files_are_refused_before_they_take_memory() -> None:
    """A directory of 100 MB would become two million objects in memory."""
    entry = struct.pack("<4s6H3L5H2L", b"PK\1\2", *[0] * 6, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0) + b"x"
    number = 200_000
    directory = entry * number
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, len(directory), 34, 0)
    content = io.BytesIO(struct.pack("<4s5H3L2H", b"PK\3\4", *[0] * 8, 4, 0) + b"name" + directory + end)
    size = len(content.getvalue())
    tracemalloc.start()
    with pytest.raises(Refused, match="more than 10,000 files"):
        archives.open_checked(content, size=size)
    assert tracemalloc.get_traced_memory()[1] < 2 * storage.MIB
    tracemalloc.stop()


def test_ten_thousand_and_one_files_are_refused() -> None:
    with pytest.raises(Refused, match="more than 10,000 files"):
        recognise(zipped({str(n): "" for n in range(10_001)}, zipfile.ZIP_STORED))


def test_sizes_stated_in_an_archive_are_not_trusted() -> None:
    """The archive has 30 MB of zeros that are declared as 7 bytes."""
    content = bytearray(bomb(30_000_000))
    for signature, offset in ((b"PK\3\4", 22), (b"PK\1\2", 24)):
        place = content.index(signature) + offset
        content[place : place + 4] = struct.pack("<L", 7)
    with pytest.raises(Refused, match="damaged|zip bomb"):
        recognise(bytes(content))


def test_more_than_a_gigabyte_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives.Budget.__init__, "__defaults__", (100, 5_000))
    with pytest.raises(Refused, match="unpacks to more than"):
        recognise(zipped({f"{n}.bin": bytes(range(256)) * 8 for n in range(4)}))
