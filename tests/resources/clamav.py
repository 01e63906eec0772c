"""A stand-in for ClamAV with its protocol INSTREAM. It finds EICAR's test text, and has a size limit."""

import socket
import struct
import threading
from contextlib import suppress
from pathlib import Path

EICAR = rb"X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"


class ClamAV:
    """A server on its own socket. `received` is what the last client sent."""

    def __init__(
        self, path: Path | None = None, *, max_bytes: int = 10_000_000, answer: bytes | None = None
    ) -> None:
        self.max_bytes, self.answer = max_bytes, answer
        self.received = b""
        self.socket = socket.socket(socket.AF_UNIX if path else socket.AF_INET)
        self.socket.bind(str(path) if path else ("127.0.0.1", 0))
        self.socket.listen()
        self.address = str(path) if path else f"127.0.0.1:{self.socket.getsockname()[1]}"
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def close(self) -> None:
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        self.thread.join(10)

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            with connection, connection.makefile("rb") as stream:
                connection.sendall(self._answer(stream))

    def _answer(self, stream: object) -> bytes:
        read = stream.read  # type: ignore[attr-defined]
        assert read(10) == b"zINSTREAM\0"
        self.received = b""
        while length := struct.unpack(">L", read(4))[0]:
            self.received += read(length)
            if len(self.received) > self.max_bytes:
                return b"INSTREAM size limit exceeded. ERROR\0"
        if self.answer is not None:
            return self.answer
        return b"stream: Eicar-Test-Signature FOUND\0" if EICAR in self.received else b"stream: OK\0"
