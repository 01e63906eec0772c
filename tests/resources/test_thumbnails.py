"""Pictures become small WebP files without metadata."""

import io
import struct
import zlib
from typing import Any

import pytest
from PIL import Image

from resources import thumbnails
from resources.refusal import Refused
from tests.resources.samples import picture, zipped

pytestmark = pytest.mark.any_server


def convert(content: bytes) -> Image.Image:
    converted = Image.open(io.BytesIO(thumbnails.convert(io.BytesIO(content))))
    assert converted.format == "WEBP"
    return converted


@pytest.mark.parametrize(
    ("content", "size", "mode"),
    [
        (picture("JPEG"), (640, 360), "RGB"),
        (picture("JPEG", mode="CMYK"), (640, 360), "RGB"),
        (picture("JPEG", (40, 30)), (40, 30), "RGB"),
        (picture("JPEG", (300, 3000), mode="L"), (64, 640), "RGB"),
        (picture("PNG", mode="P"), (640, 360), "RGB"),
        (picture("PNG", mode="1"), (640, 360), "RGB"),
        (picture("PNG", mode="RGBA"), (640, 360), "RGBA"),
        (picture("PNG", mode="I;16"), (640, 360), "RGB"),
        (picture("WEBP", mode="RGBA"), (640, 360), "RGBA"),
        (picture("PNG", (1, 5000)), (1, 640), "RGB"),
    ],
)
def test_a_picture_is_made_small(content: bytes, size: tuple[int, int], mode: str) -> None:
    converted = convert(content)
    assert converted.size == size
    assert converted.mode in {mode, "RGB"}  # WebP leaves out an alpha channel that hides nothing


def test_metadata_is_removed_and_the_picture_is_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    exif[0x010E] = "taken at home"
    exif.get_ifd(0x8825)[2] = (52.0, 31.0, 12.0)
    content = picture("JPEG", (800, 400), exif=exif, icc_profile=b"a profile" * 20, comment=b"a comment")
    assert b"taken at home" in content
    converted = convert(content)
    assert converted.size == (320, 640)
    assert set(converted.info) <= {"loop", "background", "timestamp", "duration"}
    assert not converted.getexif()
    plain = thumbnails.convert(io.BytesIO(content))
    for left in (b"EXIF", b"ICCP", b"XMP ", b"home", b"profile"):
        assert left not in plain


def bomb(width: int, height: int) -> bytes:
    """A small PNG file that claims to have this many pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">L", len(content)) + kind + content + struct.pack(">L", zlib.crc32(kind + content))
        )

    head = struct.pack(">LLBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(b"\0" * 999))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (bomb(4001, 4000), "The picture has 4,001 by 4,000 pixels"),
        (bomb(60_000, 60_000), "pixels"),
        (bomb(100, 100), "The picture is damaged"),
        (picture("JPEG")[:3000], "The picture is damaged"),
        (picture("GIF", mode="P"), "This picture cannot be read. A thumbnail is a JPEG, PNG or WebP picture"),
        (picture("TIFF"), "This picture cannot be read"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'><script/></svg>", "This picture cannot be read"),
        (zipped({"a.jpg": "x"}), "This picture cannot be read"),
        (b"", "This picture cannot be read"),
        (b"\x89PNG\r\n\x1a\n", "This picture cannot be read|damaged"),
        (b"\xff\xd8\xff\xe0" + b"\0" * 50, "This picture cannot be read|damaged"),
    ],
)
def test_other_files_are_not_accepted_as_pictures(content: bytes, words: Any) -> None:
    with pytest.raises(Refused, match=words):
        convert(content)
