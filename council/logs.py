"""What is written to standard error about a request: an id, the path, the account, and where in the code it failed.

Never what somebody sent or stored. So a logged error has its classes and the lines of code, and its message only
where the class's messages come from code alone: others quote values, such as a row, an email or an answer.
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
# Their messages name attributes, modules and functions.
MESSAGES_WITHOUT_VALUES = (AttributeError, NameError, ImportError, IndexError, RecursionError, MemoryError)
MAX_PATH_LENGTH = 200
SECRETS = re.compile(
    r"[^\s\"'<>]+@[^\s\"'<>]+"  # emails, and addresses with a password
    r"|\$argon2\S+|\bpbkdf2_\S+"
    r"|\b[A-Za-z0-9_-]{32,}\b"  # tokens and keys
)


class RequestIds:
    """Give every request an id: it stands in the log, on the page of a fault, and in the header X-Request-ID.

    PostgreSQL sees it in a comment before each statement, in pg_stat_activity and in the server's log. A comment
    belongs to its statement, also behind a pooler, where a setting of the session would be left to the next request.
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
    many: bool,  # noqa: FBT001  # Django calls it so
    context: Any,
) -> Any:
    return execute(comment + sql if isinstance(sql, str) else sql, params, many, context)


def request_id(request: HttpRequest | None) -> str:
    return getattr(request, "id", "")


def without_secrets(text: str) -> str:
    """Leave emails, hashes and what looks like a token out of a text, and put it on one line."""
    return SECRETS.sub("[left out]", text.encode("unicode_escape").decode())


class Formatter(logging.Formatter):
    """Write a record with its request's id, path and account; an error as `error_lines` has it."""

    def format(self, record: logging.LogRecord) -> str:
        found = self.parts(record)
        line = f"{found['time']} {found['level']} {found['logger']}: {found['message']}"
        if "request" in found:
            line += f" [{found['method']} {found['path']}, account {found['account']}, request {found['request']}]"
        return f"{line}\n{found['error']}" if "error" in found else line

    def parts(self, record: logging.LogRecord) -> dict[str, str]:
        """Name what is written of a record."""
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
            # Django's messages quote what was asked for. Its class and the status say what happened.
            status = getattr(record, "status_code", "")
            return f"{record.name.rpartition('.')[2]} {status}".strip()
        return without_secrets(record.getMessage())


class JsonFormatter(Formatter):
    """Write the same as one JSON object a line, for machines. Times are UTC."""

    converter = staticmethod(time.gmtime)
    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03dZ"

    def format(self, record: logging.LogRecord) -> str:
        return json.dumps(self.parts(record), ensure_ascii=False)


def _account(request: HttpRequest) -> str:
    """Name the account, if the request has read it already: the log asks no database."""
    account = getattr(request, "_cached_user", None)
    return str(getattr(account, "pk", None) or "-")


def error_lines(error: BaseException) -> Iterator[str]:
    """Write an error and those that led to it, with the lines of code and without their values."""
    chain: list[tuple[BaseException, str]] = []
    current: BaseException | None = error
    link = ""
    while current is not None and all(current is not seen for seen, _ in chain):
        chain.append((current, link))
        if current.__cause__ is not None:
            current, link = current.__cause__, "which led to\n"
        elif not current.__suppress_context__:
            current, link = current.__context__, "and then, while it was handled\n"
        else:
            current = None
    # `link` stands between an error and the later one, and the earliest is written first.
    for place in range(len(chain) - 1, -1, -1):
        each, words = chain[place]
        yield "Traceback (most recent call last):\n"
        yield from traceback.format_tb(each.__traceback__)
        yield f"{type(each).__module__}.{type(each).__qualname__}: {describe(each)}\n"
        yield words


def describe(error: BaseException) -> str:
    """Say of an error what holds no value."""
    if isinstance(error, MESSAGES_WITHOUT_VALUES):
        return without_secrets(str(error))
    diagnosis = getattr(error if not isinstance(error, DatabaseFault) else error.__cause__, "diag", None)
    if diagnosis is not None and diagnosis.sqlstate:
        names = (diagnosis.table_name, diagnosis.column_name, diagnosis.constraint_name)
        return " ".join(["SQLSTATE", diagnosis.sqlstate, *(name for name in names if name)])
    return "(message left out)"


def configuration(*, level: str, is_json: bool) -> dict[str, object]:
    """The setting LOGGING: everything goes to standard error."""
    formatter = "council.logs.JsonFormatter" if is_json else "council.logs.Formatter"
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"chosen": {"()": formatter}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "chosen"}},
        "root": {"handlers": ["stderr"], "level": level},
        # Django's own handlers write tracebacks with values, to a console or by mail.
        "loggers": {"django": {"handlers": [], "level": level}},
    }
