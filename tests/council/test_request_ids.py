"""The id of a request appears in the log (a JSON object per line), in the response, and in each SQL statement."""

import json
import logging
from typing import Any

import pytest
from django.db import connection
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext

from council import logs
from council.models import Member

pytestmark = pytest.mark.any_server

MARK = "mark-7f3a"


def record(message: str, *args: object, error: BaseException | None = None) -> logging.LogRecord:
    info: Any = (type(error), error, error.__traceback__) if error else None
    return logging.LogRecord("council.jobs", logging.ERROR, __file__, 1, message, args, info)


def test_a_record_is_one_json_object_on_one_line() -> None:
    request = RequestFactory().get(f"/points/?email={MARK}@example.com")
    request.id = "0123456789ab"  # type: ignore[attr-defined]
    token = logs.REQUEST.set(request)
    try:
        raise ValueError(f"{MARK}\nsecond line")
    except ValueError as error:
        line = logs.JsonFormatter().format(
            record("failed for %s\nand more", f"{MARK}@example.com", error=error)
        )
    finally:
        logs.REQUEST.reset(token)
    assert "\n" not in line
    assert MARK not in line
    found = json.loads(line)
    assert (found["level"], found["logger"], found["request"]) == ("ERROR", "council.jobs", "0123456789ab")
    assert (found["method"], found["path"], found["account"]) == ("GET", "/points/", "-")
    assert "ValueError: (message left out)" in found["error"]
    assert found["time"].endswith("Z")


def test_a_record_without_a_request_has_no_request_fields() -> None:
    found = json.loads(logs.JsonFormatter().format(record("done")))
    assert set(found) == {"time", "level", "logger", "message"}


def test_production_writes_json_and_development_does_not() -> None:
    def formatter(*, is_json: bool) -> Any:
        configuration: Any = logs.configuration(level="WARNING", is_json=is_json)
        return configuration["formatters"]["chosen"]["()"]

    assert formatter(is_json=True) == "council.logs.JsonFormatter"
    assert formatter(is_json=False) == "council.logs.Formatter"


def test_each_sql_statement_of_a_request_contains_its_id(client: Client, db: None, mia: Member) -> None:
    with CaptureQueriesContext(connection) as queries:
        response = client.post("/sign-in/", {"email": "nobody@example.com", "password": MARK})
    comment = f"/* request {response.headers['X-Request-ID']} */ "
    asked = [query["sql"] for query in queries if not query["sql"].startswith(("SAVEPOINT", "RELEASE"))]
    assert asked
    assert all(sql.startswith(comment) for sql in asked)
    with CaptureQueriesContext(connection) as later:
        Member.objects.count()
    assert "request" not in later[0]["sql"]
