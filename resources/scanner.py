"""Virus scans with ClamAV over its socket, using INSTREAM. If it is not configured, files are not scanned.

Source: clamd(8), "COMMANDS": send zINSTREAM, then each piece after its length, then a length of 0. The answer ends with
a NUL.
"""

import logging
import socket
import struct
from typing import IO

from django.conf import settings

from resources import file_names
from resources.refusal import Refused

PIECE_BYTES = 256 * 1024
TIMEOUT_SECONDS = 60
MAX_ANSWER_BYTES = 4096

logger = logging.getLogger(__name__)


def scan(file: IO[bytes]) -> None:
    """Scan a file. Raises Refused, unless the scanner answers that the file is clean."""
    address: str = settings.CLAMAV_ADDRESS
    if not address:
        return
    try:
        answer = _ask(address, file)
    except OSError as error:
        logger.error("The virus scanner does not answer: %s", error)
        raise Refused(
            "The virus scanner does not answer, so the file was not accepted. Try again in a few minutes. If it fails "
            "again, tell the people who run the server."
        ) from error
    if answer == "stream: OK":
        return
    if answer.endswith(" FOUND"):
        found = file_names.printable(answer.removeprefix("stream: ").removesuffix(" FOUND"))
        logger.warning("The virus scanner found %s in an upload.", found)
        raise Refused(
            f"The virus scanner found {found} in the file. Do not open it, and do not upload it again."
        )
    logger.error("The virus scanner answered: %s", file_names.printable(answer, 200))
    if "size limit exceeded" in answer:
        raise Refused(
            "The file is too large for the virus scanner, so it was not accepted. Ask the people who run the server to "
            "set StreamMaxLength in clamd.conf to 100M."
        )
    raise Refused(
        "The virus scanner could not scan the file, so it was not accepted. The server's log says why."
    )


def _ask(address: str, file: IO[bytes]) -> str:
    file.seek(0)
    with _connection(address) as connection:
        try:
            connection.sendall(b"zINSTREAM\0")
            while piece := file.read(PIECE_BYTES):
                connection.sendall(struct.pack(">L", len(piece)) + piece)
            connection.sendall(struct.pack(">L", 0))
        except (BrokenPipeError, ConnectionResetError):
            pass  # the scanner stopped reading, but may have sent the reason
        answer = b""
        while b"\0" not in answer and len(answer) < MAX_ANSWER_BYTES and (more := connection.recv(1024)):
            answer += more
    if b"\0" not in answer:
        raise ConnectionError(f"it closed the connection after {answer[:60]!r}")
    return answer.partition(b"\0")[0].decode(errors="replace").strip()


def _connection(address: str) -> socket.socket:
    if address.startswith("/"):
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(TIMEOUT_SECONDS)
        try:
            connection.connect(address)
        except OSError:
            connection.close()
            raise
        return connection
    host, _, port = address.rpartition(":")
    return socket.create_connection((host.strip("[]"), int(port)), TIMEOUT_SECONDS)
