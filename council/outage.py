"""An error page with status 503, instead of a page that hangs, if the database is slow or does not answer."""

from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string

from council import logs
from council.postgres import limits

RETRY_AFTER_SECONDS = 5


class Outage:
    """Middleware that limits how long a page waits for the database, and answers 503 after that."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        with limits.at_most(limits.Limits(settings.PAGE_STATEMENT_SECONDS, settings.PAGE_LOCK_SECONDS)):
            return self.get_response(request)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        if not is_outage(exception):
            return None
        logs.LOGGER.error("The database did not answer, or not in time.", exc_info=exception)
        return unavailable(request)


def is_outage(error: BaseException | None) -> bool:
    """Tell whether an error means that the database is down, too slow or overloaded, and not that a query is wrong."""
    return isinstance(error, OperationalError | InterfaceError)


def unavailable(request: HttpRequest, *, why: str = "database") -> HttpResponse:
    """Answer 503 without reading the account from the database."""
    return fault(request, status=503, context={"why": why}, retry_after_seconds=RETRY_AFTER_SECONDS)


def fault(
    request: HttpRequest, *, status: int, context: dict[str, Any] | None = None, retry_after_seconds: int = 0
) -> HttpResponse:
    """Render an error page that needs nothing from the database, only the request's id."""
    page = render_to_string(f"{status}.html", {"request_id": logs.request_id(request), **(context or {})})
    response = HttpResponse(page, status=status)
    if retry_after_seconds:
        response.headers["Retry-After"] = str(retry_after_seconds)
    return response
