"""ClamAV, asked over its socket by INSTREAM whether a file has a virus. Where none is configured, nobody is asked.

Source: clamd(8), "COMMANDS": zINSTREAM, then pieces with their length before them, then a length of 0; the answer
ends with a NUL.
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
    """Have a file scanned. Raises Refused, unless the scanner says that the file is clean."""
    address: str = settings.CLAMAV_ADDRESS
    if not address:
        return
    try:
        answer = _ask(address, file)
    except OSError as error:
        logger.error("The virus scanner does not answer: %s", error)
        raise Refused(
            "The virus scanner does not answer, so the file was not taken. Try again in a few minutes, then tell who "
            "looks after the server."
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
            "The file is larger than the virus scanner takes, so it was not taken. StreamMaxLength in clamd.conf says "
            "how large files may be: set it to 100M."
        )
    raise Refused(
        "The virus scanner could not scan the file, so it was not taken. The server's log says why."
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
            pass  # it has heard enough, and may have said why
        answer = b""
        while b"\0" not in answer and len(answer) < MAX_ANSWER_BYTES and (more := connection.recv(1024)):
            answer += more
    if b"\0" not in answer:
        raise ConnectionError(f"it hung up after {answer[:60]!r}")
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
