"""Error reports, received by a server with Sentry's protocol."""

import gzip
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tests.databases import ROOT, Database

pytestmark = pytest.mark.any_server

MARK = "mark-7f3a"
CRASH = f"""
import logging
import django
django.setup()
import sentry_sdk
from django.http import HttpResponse
from django.test import Client
from django.urls import path
from django.contrib.auth.decorators import login_not_required
import council.urls
def crash(request):
    password = "{MARK}-local"
    raise ValueError("the answer is {MARK}-message")
council.urls.urlpatterns.insert(0, path("crash/", login_not_required(crash)))
headers = {{"cookie": "other={MARK}-cookie", "x-token": "{MARK}-header"}}
browser = Client(raise_request_exception=False, headers=headers)
print(browser.post("/crash/?email={MARK}@example.com", {{"password": "{MARK}-body"}}).headers["X-Request-ID"])
logging.getLogger("council.jobs").error("%s has failed for {MARK}@example.com", "sync")
sentry_sdk.flush()
"""


@contextmanager
def sentry() -> Iterator[tuple[str, list[bytes]]]:
    received: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:  # the library's name
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.append(gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *args: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    try:
        yield f"http://key@127.0.0.1:{server.server_port}/1", received
    finally:
        server.shutdown()
        server.server_close()


def test_an_error_is_reported_with_its_place_and_request_and_nothing_that_was_sent(
    migrated: Database,
) -> None:
    with sentry() as (dsn, received):
        done = subprocess.run(
            [sys.executable, "-c", CRASH],
            cwd=ROOT,
            env=migrated.environment(
                DJANGO_SETTINGS_MODULE="tests.settings",
                SENTRY_DSN=dsn,
                ALLOWED_HOSTS="testserver",
                DEBUG="true",
            ),
            capture_output=True,
            text=True,
            check=True,
        )
    text = b"\n".join(received).decode()
    assert MARK not in text
    events = [json.loads(line) for line in text.splitlines() if '"exception"' in line or '"logentry"' in line]
    errors = [
        (event, error) for event in events for error in event.get("exception", {"values": []})["values"]
    ]
    crash, error = next((event, error) for event, error in errors if error["type"] == "ValueError")
    assert error["value"] == "(message left out)"
    assert error["stacktrace"]["frames"][-1]["function"] == "crash"
    assert crash["request"] == {"method": "POST", "url": "/crash/"}
    assert crash["tags"]["request_id"] == done.stdout.strip()
    told = next(event for event in events if event.get("logger") == "council.jobs")
    assert told["logentry"]["formatted"] == "sync has failed for [left out]"
