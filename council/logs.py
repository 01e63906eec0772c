"""Logging to standard error: a request's id, path and account, and where in the code an error happened.

The log never holds what a user sent or stored. For an error, it holds the class and the lines of code. It leaves out
the message if messages of that class can quote values, such as a row, an email or an answer.
"""

import functools
import json
import logging
import re
import secrets
import time
import traceback
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

from django.db import Error as DatabaseFault
from django.db import connection
from django.http import HttpRequest, HttpResponse

LOGGER = logging.getLogger("council")
REQUEST: ContextVar[HttpRequest | None] = ContextVar("council.request", default=None)
# Messages of these classes name only attributes, modules and functions.
MESSAGES_WITHOUT_VALUES = (AttributeError, NameError, ImportError, IndexError, RecursionError, MemoryError)
MAX_PATH_LENGTH = 200
SECRETS = re.compile(
    r"[^\s\"'<>]+@[^\s\"'<>]+"  # emails, and addresses with a password
    r"|\$argon2\S+|\bpbkdf2_\S+"
    r"|\b[A-Za-z0-9_-]{32,}\b"  # tokens and keys
)


class RequestIds:
    """Give every request an id. It appears in the log, on error pages and in the header X-Request-ID.

    A comment before each statement shows it in pg_stat_activity and in PostgreSQL's log, too. A session setting would
    not work: behind a pooler, the next request would inherit it.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        request.id = secrets.token_hex(6)  # type: ignore[attr-defined]
        token = REQUEST.set(request)
        comment = f"/* request {request.id} */ "  # type: ignore[attr-defined]
        try:
            with connection.execute_wrapper(functools.partial(_execute_with, comment)):
                response = self.get_response(request)
        finally:
            REQUEST.reset(token)
        response.headers["X-Request-ID"] = request.id  # type: ignore[attr-defined]
        return response


def _execute_with(
    comment: str,
    execute: Callable[..., Any],
    sql: Any,
    params: Any,
    many: bool,  # noqa: FBT001  # Django passes it by position
    context: Any,
) -> Any:
    return execute(comment + sql if isinstance(sql, str) else sql, params, many, context)


def request_id(request: HttpRequest | None) -> str:
    return getattr(request, "id", "")


def without_secrets(text: str) -> str:
    """Remove emails, hashes and anything that looks like a token from a text, and put it on one line."""
    return SECRETS.sub("[left out]", text.encode("unicode_escape").decode())


class Formatter(logging.Formatter):
    """Format a record with its request's id, path and account, and its error with `error_lines`."""

    def format(self, record: logging.LogRecord) -> str:
        found = self.parts(record)
        line = f"{found['time']} {found['level']} {found['logger']}: {found['message']}"
        if "request" in found:
            line += f" [{found['method']} {found['path']}, account {found['account']}, request {found['request']}]"
        return f"{line}\n{found['error']}" if "error" in found else line

    def parts(self, record: logging.LogRecord) -> dict[str, str]:
        """Return the parts of a record that may be logged, by name."""
        found = {
            "time": self.formatTime(record),
            "level": record.levelname,
            "logger": record.name,
            "message": self._message(record),
        }
        request = REQUEST.get() or getattr(record, "request", None)
        if isinstance(request, HttpRequest):
            found |= {
                "method": request.method or "-",
                "path": without_secrets(request.path)[:MAX_PATH_LENGTH],
                "account": _account(request),
                "request": request_id(request) or "-",
            }
        is_refusal = getattr(record, "status_code", 500) < 500
        if record.exc_info and record.exc_info[1] and not is_refusal:
            found["error"] = "".join(error_lines(record.exc_info[1])).rstrip("\n")
        return found

    def _message(self, record: logging.LogRecord) -> str:
        if record.name.startswith(("django.request", "django.security", "django.server")):
            # Django's messages quote the request, so only the logger's name and the status are logged.
            status = getattr(record, "status_code", "")
            return f"{record.name.rpartition('.')[2]} {status}".strip()
        return without_secrets(record.getMessage())


class JsonFormatter(Formatter):
    """Format the same parts as one line of JSON. Times are UTC."""

    converter = staticmethod(time.gmtime)
    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03dZ"

    def format(self, record: logging.LogRecord) -> str:
        return json.dumps(self.parts(record), ensure_ascii=False)


def _account(request: HttpRequest) -> str:
    """Return the account's id, if the request has already read it. Logging must not query the database."""
    account = getattr(request, "_cached_user", None)
    return str(getattr(account, "pk", None) or "-")


def error_lines(error: BaseException) -> Iterator[str]:
    """Format an error and the errors that led to it, with lines of code but without values."""
    chain: list[tuple[BaseException, str]] = []
    current: BaseException | None = error
    link = ""
    while current is not None and all(current is not seen for seen, _ in chain):
        chain.append((current, link))
        if current.__cause__ is not None:
            current, link = current.__cause__, "which caused\n"
        elif not current.__suppress_context__:
            current, link = current.__context__, "and while it was handled\n"
        else:
            current = None
    # The earliest error is written first. Each link comes between an error and the later one.
    for place in range(len(chain) - 1, -1, -1):
        each, link = chain[place]
        yield "Traceback (most recent call last):\n"
        yield from traceback.format_tb(each.__traceback__)
        yield f"{type(each).__module__}.{type(each).__qualname__}: {describe(each)}\n"
        yield link


def describe(error: BaseException) -> str:
    """Describe an error without quoting values."""
    if isinstance(error, MESSAGES_WITHOUT_VALUES):
        return without_secrets(str(error))
    diagnosis = getattr(error if not isinstance(error, DatabaseFault) else error.__cause__, "diag", None)
    if diagnosis is not None and diagnosis.sqlstate:
        names = (diagnosis.table_name, diagnosis.column_name, diagnosis.constraint_name)
        return " ".join(["SQLSTATE", diagnosis.sqlstate, *(name for name in names if name)])
    return "(message left out)"


def configuration(*, level: str, is_json: bool) -> dict[str, object]:
    """Return the setting LOGGING, which sends all records to standard error."""
    formatter = "council.logs.JsonFormatter" if is_json else "council.logs.Formatter"
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"chosen": {"()": formatter}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "chosen"}},
        "root": {"handlers": ["stderr"], "level": level},
        # Without Django's own handlers, which write tracebacks with values to the console or by mail.
        "loggers": {"django": {"handlers": [], "level": level}},
    }
