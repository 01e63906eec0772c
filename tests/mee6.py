"""A server that answers like MEE6, and fails in the ways that a test asks for."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

Answer = Callable[[BaseHTTPRequestHandler], None]


def player(number: int, xp: Any, **fields: Any) -> dict[str, Any]:
    """An entry of the leaderboard, including the fields that MEE6 sends and we ignore."""
    return {
        "id": str(10**17 + number),
        "username": f"player{number}",
        "xp": xp,
        "level": 3,
        "message_count": 7,
        "avatar": "",
        "discriminator": "0",
        "guild_id": "1",
        **fields,
    }


class Mee6:
    """Serves `players`. Answers the first requests with `faults`, one for each request."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.players: list[Any] = []
        self.faults: list[Answer] = []
        self.requests: list[str] = []
        self.before_page: Callable[[int], None] = lambda page: None

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        self.requests.append(request.path)
        if self.faults:
            self.faults.pop(0)(request)
            return
        query = parse_qs(urlsplit(request.path).query)
        page, limit = int(query["page"][0]), int(query["limit"][0])
        self.before_page(page)
        send(
            request,
            200,
            json.dumps({"page": page, "players": self.players[page * limit : (page + 1) * limit]}),
        )


def send(request: BaseHTTPRequestHandler, status: int, body: str, **headers: str) -> None:
    request.send_response(status)
    request.send_header("Content-Type", "application/json")
    request.send_header("Content-Length", str(len(body.encode())))
    for name, value in headers.items():
        request.send_header(name.replace("_", "-"), value)
    request.end_headers()
    request.wfile.write(body.encode())


def status(code: int, **headers: str) -> Answer:
    return lambda request: send(request, code, "{}", **headers)


def body(text: str) -> Answer:
    return lambda request: send(request, 200, text)


def cut_short(request: BaseHTTPRequestHandler) -> None:
    """Announce a longer body than is sent."""
    request.send_response(200)
    request.send_header("Content-Length", "1000")
    request.end_headers()
    request.wfile.write(b'{"players": [')
    request.close_connection = True


def slow_body(seconds: float) -> Answer:
    def drip(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.end_headers()
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            request.wfile.write(b" ")
            request.wfile.flush()
            time.sleep(0.02)

    return drip


@contextmanager
def serving() -> Iterator[Mee6]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # the library's name
            mee6.answer(self)

        def log_message(self, *args: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    mee6 = Mee6(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield mee6
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
