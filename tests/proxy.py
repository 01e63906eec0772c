"""A proxy between a client and the test server, which can stop passing on what is sent to a session."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import parse_qs, urlsplit

from tests.databases import Database


class Proxy:
    """Passes bytes on, until it is told to silence the sessions with a certain name."""

    def __init__(self, database: Database) -> None:
        address = urlsplit(database.url)
        query = parse_qs(address.query)
        self.server = f"{query['host'][0]}/.s.PGSQL.{query.get('port', ['5432'])[0]}"
        self.listener = socket.create_server(("127.0.0.1", 0))
        port = self.listener.getsockname()[1]
        # Without encryption, a client first sends its startup packet, which contains its name.
        self.url = (
            f"postgresql://postgres@127.0.0.1:{port}/{database.name}?sslmode=disable&gssencmode=disable"
        )
        self.silent_to: bytes | None = None
        self.sockets: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        for one in (self.listener, *self.sockets):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                server = socket.socket(socket.AF_UNIX)
                server.connect(self.server)
                self.sockets += [client, server]
                startup = client.recv(10_000)
                server.sendall(startup)
                for one, other in ((client, server), (server, client)):
                    threading.Thread(target=self._pass_on, args=(one, other, startup), daemon=True).start()

    def _pass_on(self, one: socket.socket, other: socket.socket, startup: bytes) -> None:
        with suppress(OSError):
            while data := one.recv(100_000):
                if self.silent_to is None or self.silent_to not in startup:
                    other.sendall(data)
        with suppress(OSError):
            other.shutdown(socket.SHUT_RDWR)


@contextmanager
def proxy(database: Database) -> Iterator[Proxy]:
    between = Proxy(database)
    try:
        yield between
    finally:
        between.close()
