"""Checks of file names."""

import unicodedata
from pathlib import PurePosixPath

from resources.refusal import Refused

MAX_LENGTH = 150
# Opening one of these files runs a program, or shows a web page.
ACTIVE = """
.app .bat .cmd .com .cpl .dll .dmg .docm .dotm .exe .hta .htm .html .iso .jar .js .jse .lnk .mjs .msi .msp
.php .pif .pptm .ps1 .reg .scr .sh .shtml .svg .swf .url .vbe .vbs .wsf .wsh .xhtml .xlsm .xml
""".split()  # noqa: SIM905  # a list would take a page
DOCUMENTS = ".doc .docx .mov .mp4 .pdf .ppt .pptx .rar .xls .xlsx .zip .7z".split()  # noqa: SIM905  # as above


def check(name: str) -> None:
    """Check that a name cannot pass for another kind of file. Raises Refused."""
    shown = printable(name)
    if hidden := invisible(name):
        raise Refused(f"The name {shown} contains an invisible character ({hidden}). Rename the file.")
    if not name.strip() or name in {".", ".."} or "/" in name or "\\" in name:
        raise Refused(f"{shown!r} is not a file name. Rename the file.")
    if len(name) > MAX_LENGTH:
        raise Refused(f"The name has {len(name)} characters. Shorten it to at most {MAX_LENGTH}.")
    if name != name.strip() or name.endswith("."):
        raise Refused(f"The name {shown!r} begins or ends with a space or a full stop. Rename the file.")
    *inner, _ = [suffix.lower().strip() for suffix in PurePosixPath(name).suffixes] or [""]
    if double := next((suffix for suffix in inner if suffix in {*ACTIVE, *DOCUMENTS}), None):
        raise Refused(f"The name {shown} has two extensions, one of them {double}. Use only one.")


def invisible(name: str) -> str:
    """Return the name of the first character that is invisible or changes the direction of text, or else ""."""
    for character in name:
        # Cc: control; Cf: format, such as right-to-left marks; Zl, Zp: line ends; Cs, Co, Cn: not real characters.
        if unicodedata.category(character) in {"Cc", "Cf", "Zl", "Zp", "Cs", "Co", "Cn"}:
            return unicodedata.name(character, f"U+{ord(character):04X}")
    return ""


def printable(name: str, length: int = 60) -> str:
    """Make a name safe for use in a message."""
    safe = "".join("\N{REPLACEMENT CHARACTER}" if invisible(character) else character for character in name)
    return safe if len(safe) <= length else f"{safe[:length]}…"
