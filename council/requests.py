"""What no browser sends and no database takes: cookies that are no text, other encodings, values out of range."""

from collections.abc import Callable

from django.core.exceptions import BadRequest
from django.db import DataError
from django.http import HttpRequest, HttpResponse

from council import logs

# In another encoding a form would say something else to us than to whatever looked at it on its way.
CHARSETS = {"utf-8", "utf8", "us-ascii", "ascii"}
# What wsgi.py puts in the place of a Content-Type that says nothing.
UNREADABLE = "application/x-unreadable"


class Unreadable(BadRequest):
    """A part of the request cannot be text that somebody wrote."""


class OnlyText:
    """Answer 400 where a request would otherwise end in an error, for a value that PostgreSQL cannot store or compare.

    PostgreSQL stores no NUL, and half a character (a lone surrogate) cannot be sent to it. A cookie that holds one is
    passed over, so that no browser which was given it is shut out for as long as it keeps it.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        charset = (request.content_params or {}).get("charset", "utf-8")
        if charset.strip().lower() not in CHARSETS or request.content_type == UNREADABLE:
            raise Unreadable("The form is in another encoding than UTF-8. Send it in UTF-8.")
        for name, value in [*request.COOKIES.items()]:
            if not (is_text(name) and is_text(value)):
                del request.COOKIES[name]
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, exception: Exception) -> None:
        """Blame the request for a value that the database says is none, or that cannot be sent to it."""
        if isinstance(exception, DataError | UnicodeEncodeError):
            logs.LOGGER.warning("The database cannot take a value.", exc_info=exception)
            raise Unreadable("A value in the address or the form cannot be stored.") from exception


def is_text(text: str) -> bool:
    """Tell whether PostgreSQL stores it."""
    if "\0" in text:
        return False
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def is_prefetch(request: HttpRequest) -> bool:
    """Whether a browser asks ahead, and nobody may ever see the answer."""
    return "prefetch" in request.headers.get("Sec-Purpose", request.headers.get("Purpose", ""))
