"""A private bucket with the S3 protocol. Imported only if the settings name it: boto3 costs 0.2 s and 26 MB."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import boto3
import botocore.session
from boto3.s3.transfer import TransferConfig
from botocore import awsrequest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, ConnectTimeoutError, ReadTimeoutError
from django.utils.http import content_disposition_header
from s3transfer.exceptions import RetriesExceededError
from storages.backends.s3 import S3Storage

from resources.storage import LINK_SECONDS, MIB, Listed

# botocore's description of S3 is several megabytes of JSON. The clients of all threads share this one loader.
KNOWLEDGE = botocore.session.get_session().get_component("data_loader")
# After a timeout, requests to the bucket fail at once for this long. Otherwise, a library page with a dozen pictures
# would keep all of the server's threads waiting.
LEFT_ALONE_SECONDS = 10
# A file may take longer to save, by its size: 4 s for each MB.
SLOWEST_BYTES_A_SECOND = 256 * 1024
SLOW = "the bucket takes too long to answer"


class Limit:
    """A limit on the time that one thread's requests may take in all.

    The timeouts of botocore are for each piece that the bucket sends, so a bucket that sends a byte now and then would
    keep a page waiting forever. When the time is over, this shuts down the connection that the thread is using.
    """

    in_this_thread = threading.local()

    def __init__(self) -> None:
        self.is_over = False
        self.connection: Any = None
        self.lock = threading.Lock()

    def use(self, connection: Any) -> None:
        with self.lock:
            if self.is_over:
                raise TimeoutError(SLOW)
            connection.limit = self
            self.connection = connection

    def end(self) -> None:
        with self.lock:
            self.is_over = True
            # Another thread may use the connection by now. Then it has another limit.
            if self.connection and self.connection.limit is self and self.connection.sock:
                with suppress(OSError):
                    socket.socket.shutdown(self.connection.sock, socket.SHUT_RDWR)


class _Limited:
    """Makes a connection known to the limit of the thread that uses it."""

    def connect(self) -> None:
        self._use()
        super().connect()  # type: ignore[misc]

    def request(self, *args: Any, **kwargs: Any) -> None:
        self._use()
        super().request(*args, **kwargs)  # type: ignore[misc]

    def _use(self) -> None:
        limit = getattr(Limit.in_this_thread, "limit", None)
        if limit:
            limit.use(self)


class _Connection(_Limited, awsrequest.AWSHTTPConnection):  # type: ignore[misc]
    pass


class _TlsConnection(_Limited, awsrequest.AWSHTTPSConnection):  # type: ignore[misc]
    pass


# urllib3 makes a pool's connections from this attribute. botocore has no other way to choose their class.
awsrequest.AWSHTTPConnectionPool.ConnectionCls = _Connection
awsrequest.AWSHTTPSConnectionPool.ConnectionCls = _TlsConnection


class S3(S3Storage):  # type: ignore[misc]  # django-storages has no types
    def _create_session(self) -> boto3.Session:
        session = botocore.session.get_session()
        session.register_component("data_loader", KNOWLEDGE)
        return boto3.Session(self.access_key, self.secret_key, botocore_session=session)


class Bucket(S3):
    """Files in a bucket. Links are signed with its key, and anybody with a link can use it until it expires.

    All failures are OSErrors, as with a folder. The settings have separate timeouts for connecting, for an answer, and
    for the answer after saving a file. Each request is tried at most twice, and all of it ends within twice the
    timeouts, even if the bucket keeps sending something.
    """

    left_alone_until = 0.0

    def __init__(
        self,
        *,
        connect_seconds: float = 3,
        answer_seconds: float = 5,
        save_seconds: float = 60,
        **options: Any,
    ) -> None:
        fixed: dict[str, Any] = {
            "default_acl": None,
            "file_overwrite": True,  # names are unique, so there is no need to search for a free one
            "querystring_auth": True,
            "querystring_expire": LINK_SECONDS,
            "location": "",
            # Send each file in one request, from disk: this needs no memory, and a killed process leaves no parts.
            "transfer_config": TransferConfig(
                multipart_threshold=1024 * MIB, use_threads=False, num_download_attempts=1
            ),
        }
        self.seconds = 2 * (connect_seconds + answer_seconds)
        self.save_seconds = 2 * (connect_seconds + save_seconds)
        super().__init__(**options, **fixed, client_config=_client_config(connect_seconds, answer_seconds))
        # A server may take long to answer after it received a large file.
        self.patient = S3(**options, **fixed, client_config=_client_config(connect_seconds, save_seconds))

    def _save(self, name: str, content: Any) -> str:
        _ = self.patient.connection
        with self._waiting(self.save_seconds + content.size / SLOWEST_BYTES_A_SECOND):
            return str(self.patient._save(name, content))

    def _open(self, name: str, mode: str = "rb") -> Any:
        with self._waiting(self.seconds):
            opened = super()._open(name, mode)
            try:
                _ = opened.file  # downloads the file
            except RetriesExceededError as error:  # it makes only one attempt
                opened.close()
                raise error.last_exception from error
            return opened

    def exists(self, name: str) -> bool:
        with self._waiting(self.seconds):
            return bool(super().exists(name))

    def size(self, name: str) -> int:
        with self._waiting(self.seconds):
            return int(super().size(name))

    @contextmanager
    def _waiting(self, seconds: float) -> Iterator[None]:
        """Wrap a request that a page waits for. Fail at once if another request has just timed out."""
        if time.monotonic() < self.left_alone_until:
            raise TimeoutError(SLOW)
        try:
            with self._within(seconds):
                yield
        except TimeoutError:
            self.left_alone_until = time.monotonic() + LEFT_ALONE_SECONDS
            raise

    @contextmanager
    def _within(self, seconds: float) -> Iterator[None]:
        """Limit the time of all requests in the block, and turn their errors into OSErrors."""
        _ = self.connection  # made at the first use in a thread, which may take longer than the bucket
        limit = Limit()
        timer = threading.Timer(seconds, limit.end)
        timer.daemon = True
        Limit.in_this_thread.limit = limit
        timer.start()
        try:
            with _as_os_errors():
                yield
        except Exception as error:
            if limit.is_over:
                raise TimeoutError(SLOW) from error
            raise
        finally:
            timer.cancel()
            Limit.in_this_thread.limit = None
        # If the connection breaks within the headers, the incomplete response may look complete.
        if limit.is_over:
            raise TimeoutError(SLOW)

    def delete(self, name: str) -> None:
        with self._within(self.seconds):
            super().delete(name)

    def link(self, path: str, *, file_name: str, mime_type: str, member_id: str | None) -> str:
        """Sign an address that contains the file's name and type. It works for anybody, not only for the member."""
        disposition = content_disposition_header(as_attachment=True, filename=file_name)
        with _as_os_errors():
            return str(
                self.url(
                    path,
                    parameters={"ResponseContentDisposition": disposition, "ResponseContentType": mime_type},
                )
            )

    def listing(self, folder: str) -> Iterator[Listed]:
        paginator = self.connection.meta.client.get_paginator("list_objects_v2")
        pages = iter(paginator.paginate(Bucket=self.bucket_name, Prefix=f"{folder}/"))
        while True:
            with self._within(self.seconds):
                page = next(pages, None)
            if page is None:
                return
            for found in page.get("Contents", ()):
                yield Listed(found["Key"], found["Size"], found["LastModified"])


def _client_config(connect_seconds: float, answer_seconds: float) -> Config:
    return Config(
        signature_version="s3v4",
        # The signature contains the SHA-256 of the content, which the server verifies.
        s3={"addressing_style": "path", "payload_signing_enabled": True},
        # Not every S3 server supports the checksums that botocore adds by default.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        connect_timeout=connect_seconds,
        read_timeout=answer_seconds,
        retries={"mode": "standard", "total_max_attempts": 2},
    )


@contextmanager
def _as_os_errors() -> Iterator[None]:
    """Turn errors of botocore into OSErrors that do not contain the address, the key or the signature."""
    try:
        yield
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "no reason given")
        raise OSError(f"the bucket refused the request: {code}") from error
    except (ConnectTimeoutError, ReadTimeoutError) as error:
        raise TimeoutError(SLOW) from error
    except BotoCoreError as error:
        raise OSError(f"the bucket does not answer: {type(error).__name__}") from error
