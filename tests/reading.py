"""Reading a response as a person would."""

import re
from html import unescape
from typing import Any


def words(response: Any) -> str:
    """Return the text of a page's main part without tags, with single spaces."""
    main = response.content.decode().partition("<main")[2].partition("</main>")[0]
    return plain(f"<main{main}")


def plain(html: str) -> str:
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", html)).split())
