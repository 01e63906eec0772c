"""Small files of every kind that the library accepts, like those of real programs."""

import struct
import zipfile
from collections.abc import Mapping
from io import BytesIO
from typing import Any

from PIL import Image

OFFICE = "application/vnd.openxmlformats-officedocument"
MAIN = {
    "docx": ("word/document.xml", f"{OFFICE}.wordprocessingml.document.main+xml"),
    "xlsx": ("xl/workbook.xml", f"{OFFICE}.spreadsheetml.sheet.main+xml"),
    "pptx": ("ppt/presentation.xml", f"{OFFICE}.presentationml.presentation.main+xml"),
    "docm": ("word/document.xml", "application/vnd.ms-word.document.macroEnabled.main+xml"),
    "vsdx": ("visio/document.xml", "application/vnd.ms-visio.drawing.main+xml"),
}
RELATIONS = "http://schemas.openxmlformats.org/package/2006/relationships"
DOCUMENT = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument"


def zipped(entries: Mapping[str, bytes | str], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, content in entries.items():
            # Without the present time, because test names contain these values and must be the same in each process.
            archive.writestr(zipfile.ZipInfo(name), content, compress_type=compression)
    return file.getvalue()


def office(kind: str, **more: bytes | str) -> bytes:
    part, content_type = MAIN[kind]
    return zipped(
        {
            "[Content_Types].xml": f"""<?xml version="1.0" encoding="UTF-8" standalone="yes"?>
                <Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">
                <Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>
                <Override PartName="/{part}" ContentType="{content_type}"/></Types>""",
            "_rels/.rels": f"""<?xml version="1.0" encoding="UTF-8" standalone="yes"?>
                <Relationships xmlns="{RELATIONS}">
                <Relationship Id="rId1" Type="{DOCUMENT}" Target="{part}"/></Relationships>""",
            part: "<document/>",
            **more,
        }
    )


def pdf(content: bytes = b"") -> bytes:
    return (
        b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj <</Type /Catalog>> endobj\n" + content + b"\ntrailer\n%%EOF\n"
    )


def box(kind: bytes, content: bytes = b"") -> bytes:
    return struct.pack(">L4s", 8 + len(content), kind) + content


def mp4(brand: bytes = b"isom", *, moov: bool = True, more: bytes = b"") -> bytes:
    head = box(b"ftyp", brand + b"\0\0\2\0" + b"isomiso2avc1mp41")
    return head + (box(b"moov", b"\0" * 40) if moov else b"") + box(b"mdat", b"\0" * 64) + more


def picture(
    format: str = "JPEG", size: tuple[int, int] = (1600, 900), mode: str = "RGB", **options: Any
) -> bytes:
    file = BytesIO()
    Image.new(mode, size, "teal" if mode != "P" else 3).save(file, format, **options)
    return file.getvalue()


SAMPLES = {
    "plan.pdf": (pdf(), "application/pdf"),
    "plan.docx": (office("docx"), f"{OFFICE}.wordprocessingml.document"),
    "plan.xlsx": (office("xlsx"), f"{OFFICE}.spreadsheetml.sheet"),
    "plan.pptx": (office("pptx"), f"{OFFICE}.presentationml.presentation"),
    "plan.mp4": (mp4(), "video/mp4"),
    "plan.zip": (zipped({"plan/": "", "plan/read me.txt": "Hello"}), "application/zip"),
}
