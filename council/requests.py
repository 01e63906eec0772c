"""Refusal of requests that no browser sends: cookies that are not text, other encodings, values out of range."""

from collections.abc import Callable

from django.core.exceptions import BadRequest
from django.db import DataError
from django.http import HttpRequest, HttpResponse

from council import logs

# In any other encoding, a proxy that inspects a form and this application could read different values.
CHARSETS = {"utf-8", "utf8", "us-ascii", "ascii"}
# wsgi.py replaces a Content-Type that cannot be read with this one.
UNREADABLE = "application/x-unreadable"


class Unreadable(BadRequest):
    """A part of the request is not valid text."""


class OnlyText:
    """Answer 400, instead of 500, to a value that PostgreSQL cannot store or compare.

    PostgreSQL cannot store NUL, and a lone surrogate (half a character) cannot be sent to it. A cookie with one is
    ignored, so that a browser which received such a cookie is not locked out while it keeps it.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        charset = (request.content_params or {}).get("charset", "utf-8")
        if charset.strip().lower() not in CHARSETS or request.content_type == UNREADABLE:
            raise Unreadable("The form is not encoded in UTF-8. Send it in UTF-8.")
        for name, value in [*request.COOKIES.items()]:
            if not (is_text(name) and is_text(value)):
                del request.COOKIES[name]
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, exception: Exception) -> None:
        """Answer 400 to a value that the database rejects, or that cannot be sent to it."""
        if isinstance(exception, DataError | UnicodeEncodeError):
            logs.LOGGER.warning("The database cannot accept a value.", exc_info=exception)
            raise Unreadable("A value in the address or the form cannot be stored.") from exception


def is_text(text: str) -> bool:
    """Tell whether PostgreSQL can store the text."""
    if "\0" in text:
        return False
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def is_prefetch(request: HttpRequest) -> bool:
    """Tell whether a browser prefetches the page, so that perhaps nobody will see it."""
    return "prefetch" in request.headers.get("Sec-Purpose", request.headers.get("Purpose", ""))
