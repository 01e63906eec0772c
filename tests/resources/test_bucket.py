"""A bucket that hangs, is slow, breaks off, is full, or keeps half a file causes a quick error and no leftovers."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import storages

from resources import bucket, storage
from tests.resources.storages import SilentServer, stand_in

pytestmark = pytest.mark.any_server

PATH = "files/a.pdf"
SLOW = r"The file storage failed \(the bucket takes too long to answer\). Try again in a few minutes"


def save() -> storage.Stored:
    return storage.save(
        ContentFile(b"content"), folder=storage.FILES, extension=".pdf", mime_type="application/pdf"
    )


def link() -> str:
    return storage.link(PATH, file_name="a.pdf", mime_type="application/pdf")


def read() -> bytes:
    return storage.read(PATH)


@pytest.mark.parametrize(
    "act",
    [save, link, read, lambda: storage.delete(PATH), lambda: list(storage.listing())],
    ids=["save", "link", "read", "delete", "list"],
)
def test_a_bucket_that_does_not_answer_is_given_up(
    act: Callable[[], object], silent_bucket: SilentServer
) -> None:
    with pytest.raises(storage.Unavailable, match=SLOW):
        act()

    assert silent_bucket.connections() >= 2  # it was tried twice


def test_after_a_timeout_other_requests_fail_at_once(silent_bucket: SilentServer) -> None:
    def ask(act: Callable[[], object]) -> int:
        with pytest.raises(storage.Unavailable, match=SLOW):
            act()
        return silent_bucket.connections()

    assert ask(link) == 2
    assert ask(link) == 0
    assert ask(read) == 0
    bucket: Any = storages["library"]
    bucket.left_alone_until = 0
    assert ask(link) == 2


class Answers(BaseHTTPRequestHandler):
    """A server with one file of 7 bytes."""

    protocol_version = "HTTP/1.1"
    asked: list[str]
    stop: threading.Event
    put_status = 200
    size, content = 7, b"content"
    drips = False

    def do_HEAD(self) -> None:
        self._answer(200, self.size)

    def do_GET(self) -> None:
        self._answer(200, self.size, self.content)
        if len(self.content) < self.size:
            self.stop.wait(60)

    def do_PUT(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        words = b"<Error><Code>XMinioStorageFull</Code></Error>" if self.put_status >= 400 else b""
        self._answer(self.put_status, len(words), words)

    def do_DELETE(self) -> None:
        self._answer(204, 0)

    def _answer(self, status: int, size: int, content: bytes = b"") -> None:
        self.asked.append(self.command)
        if self.drips and self.command != "HEAD":
            self._drip(b"HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\n", whole=self.command == "GET")
            return
        self.send_response(status)
        self.send_header("Content-Length", str(size))
        self.end_headers()
        self.wfile.write(content)

    def _drip(self, head: bytes, *, whole: bool) -> None:
        """Send a byte now and then, within the headers or after them, until the client leaves."""
        with suppress(OSError):
            self.wfile.write(head if whole else head[:-2])
            while not self.stop.wait(0.05):
                self.wfile.write(b"x")
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def answering(settings: Any) -> Callable[..., Any]:
    """Use a server with these attributes of `Answers` as the library's bucket. Yields its requests."""

    @contextmanager
    def answering(**attributes: Any) -> Iterator[list[str]]:
        asked: list[str] = []
        stop = threading.Event()
        handler = type("Handler", (Answers,), {"asked": asked, "stop": stop, **attributes})
        with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
            threading.Thread(target=server.serve_forever, args=(0.05,)).start()
            settings.STORAGES = {
                **settings.STORAGES, "library": stand_in(f"http://127.0.0.1:{server.server_port}")
            }  # fmt: skip
            try:
                yield asked
            finally:
                stop.set()
                server.shutdown()

    return answering


def test_an_incomplete_picture_is_requested_only_once(answering: Callable[..., Any]) -> None:
    with answering() as asked:
        assert read() == b"content"
    assert asked.count("GET") == 1

    with answering(content=b"con") as asked, pytest.raises(storage.Unavailable, match=SLOW):
        read()
    assert asked.count("GET") == 1


@pytest.mark.parametrize(
    ("act", "asked_for"),
    [
        (save, {"PUT", "DELETE"}),
        (read, {"HEAD", "GET"}),
        (lambda: storage.delete(PATH), {"DELETE"}),
        (lambda: list(storage.listing()), {"GET"}),
    ],
    ids=["save", "read", "delete", "list"],
)
def test_a_slow_bucket_is_given_up(
    act: Callable[[], object], asked_for: set[str], answering: Callable[..., Any]
) -> None:
    began = time.monotonic()
    with answering(drips=True) as asked, pytest.raises(storage.Unavailable, match=SLOW):
        act()
    assert time.monotonic() < began + 10
    assert set(asked) == asked_for


def test_a_connection_that_another_thread_uses_is_not_closed() -> None:
    first, second = bucket.Limit(), bucket.Limit()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        connection = SimpleNamespace(sock=ours)
        first.use(connection)
        second.use(connection)
        first.end()
        ours.sendall(b"a")
        assert theirs.recv(1) == b"a"
        second.end()
        assert theirs.recv(1) == b""
    with pytest.raises(TimeoutError, match="takes too long"):
        second.use(connection)


def test_a_full_bucket_gives_a_message_and_the_file_is_removed(
    answering: Callable[..., Any],
) -> None:
    refused = pytest.raises(storage.Unavailable, match="the bucket refused the request: XMinioStorageFull")
    with answering(put_status=507) as asked, refused:
        save()
    assert asked == ["PUT", "DELETE"]


def test_a_bucket_that_keeps_half_a_file_is_noticed(
    answering: Callable[..., Any],
) -> None:
    with answering() as asked:
        assert save().size == 7
    assert "DELETE" not in asked

    half = pytest.raises(storage.Unavailable, match="saved only 3 of 7 bytes. Upload the file again.")
    with answering(size=3) as asked, half:
        save()
    assert asked[-1] == "DELETE"
