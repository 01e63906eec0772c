"""What is sent to ClamAV, and how its answers are treated."""

import io
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from council import settings as module
from resources import scanner
from resources.refusal import Refused
from tests.resources.clamav import EICAR, ClamAV

pytestmark = pytest.mark.any_server

Start = Callable[..., ClamAV]


@pytest.fixture
def clamav(settings: Any) -> Iterator[Start]:
    servers: list[ClamAV] = []

    def start(*args: Any, **options: Any) -> ClamAV:
        servers.append(ClamAV(*args, **options))
        settings.CLAMAV_ADDRESS = servers[-1].address
        return servers[-1]

    yield start
    for server in servers:
        server.close()


CONTENT = bytes(range(256)) * 5_000


def test_without_a_configured_scanner_nothing_is_scanned() -> None:
    scanner.scan(io.BytesIO(EICAR))


@pytest.mark.parametrize("by_path", [True, False])
def test_a_clean_file_is_sent_completely_and_passes(by_path: bool, tmp_path: Path, clamav: Start) -> None:
    server = clamav(tmp_path / "clamd.ctl") if by_path else clamav()
    file = io.BytesIO(CONTENT)
    file.seek(77)
    scanner.scan(file)
    assert server.received == CONTENT


def test_a_virus_is_refused_with_its_name(clamav: Start) -> None:
    clamav()
    with pytest.raises(Refused, match="The virus scanner found Eicar-Test-Signature in the file"):
        scanner.scan(io.BytesIO(CONTENT + EICAR))


def test_a_file_beyond_the_scanners_limit_is_refused(clamav: Start) -> None:
    clamav(max_bytes=300_000)
    with pytest.raises(Refused, match="too large for the virus scanner.*StreamMaxLength"):
        scanner.scan(io.BytesIO(CONTENT * 8))


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"stream: Can't allocate memory ERROR\0", "could not scan the file"),
        (b"stream: OK FOUND\0", "found OK in the file"),
        (b"UNKNOWN COMMAND\0", "could not scan the file"),
        (b"", "does not answer"),
        (b"stream: OK", "does not answer"),
        (b"\0", "could not scan the file"),
        (b"x" * 9999, "does not answer"),
    ],
)
def test_only_a_clean_answer_passes(answer: bytes, words: str, clamav: Start) -> None:
    clamav(answer=answer)
    with pytest.raises(Refused, match=words):
        scanner.scan(io.BytesIO(b"content"))


def test_a_configured_scanner_that_is_down_refuses_files(settings: Any, tmp_path: Path) -> None:
    for address in (str(tmp_path / "nobody.ctl"), "127.0.0.1:9"):
        settings.CLAMAV_ADDRESS = address
        with pytest.raises(Refused, match="The virus scanner does not answer, so the file was not accepted"):
            scanner.scan(io.BytesIO(b"content"))


def test_a_scanner_that_hangs_is_refused(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scanner, "TIMEOUT_SECONDS", 0.2)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        settings.CLAMAV_ADDRESS = f"127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(Refused, match="does not answer"):
            scanner.scan(io.BytesIO(b"content"))


@pytest.mark.parametrize("address", ["localhost", "clamd:port", ":3310", "clamd.ctl"])
def test_an_invalid_address_of_the_scanner_stops_the_start(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLAMAV_ADDRESS", address)
    with pytest.raises(ImproperlyConfigured, match="Set it to the path of a socket"):
        module.clamav_address()
    monkeypatch.setenv("CLAMAV_ADDRESS", "[::1]:3310")
    assert module.clamav_address() == "[::1]:3310"
