"""A private bucket with the S3 protocol. Imported only if the settings name it: boto3 costs 0.2 s and 26 MB."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import boto3
import botocore.session
from boto3.s3.transfer import TransferConfig
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
SLOW = "the bucket takes too long to answer"


class S3(S3Storage):  # type: ignore[misc]  # django-storages has no types
    def _create_session(self) -> boto3.Session:
        session = botocore.session.get_session()
        session.register_component("data_loader", KNOWLEDGE)
        return boto3.Session(self.access_key, self.secret_key, botocore_session=session)


class Bucket(S3):
    """Files in a bucket. Links are signed with its key, and anybody with a link can use it until it expires.

    All failures are OSErrors, as with a folder. The settings have separate timeouts for connecting, for an answer, and
    for the answer after saving a file. Each request is tried at most twice.
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
        super().__init__(**options, **fixed, client_config=_client_config(connect_seconds, answer_seconds))
        # A server may take long to answer after it received a large file.
        self.patient = S3(**options, **fixed, client_config=_client_config(connect_seconds, save_seconds))

    def _save(self, name: str, content: Any) -> str:
        with self._waiting():
            return str(self.patient._save(name, content))

    def _open(self, name: str, mode: str = "rb") -> Any:
        with self._waiting():
            opened = super()._open(name, mode)
            try:
                _ = opened.file  # downloads the file
            except RetriesExceededError as error:  # it makes only one attempt
                opened.close()
                raise error.last_exception from error
            return opened

    def exists(self, name: str) -> bool:
        with self._waiting():
            return bool(super().exists(name))

    def size(self, name: str) -> int:
        with self._waiting():
            return int(super().size(name))

    @contextmanager
    def _waiting(self) -> Iterator[None]:
        """Wrap a request that a page waits for. Fail at once if another request has just timed out."""
        if time.monotonic() < self.left_alone_until:
            raise TimeoutError(SLOW)
        try:
            with _as_os_errors():
                yield
        except TimeoutError:
            self.left_alone_until = time.monotonic() + LEFT_ALONE_SECONDS
            raise

    def delete(self, name: str) -> None:
        with _as_os_errors():
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
        with _as_os_errors():
            pages = self.connection.meta.client.get_paginator("list_objects_v2")
            for page in pages.paginate(Bucket=self.bucket_name, Prefix=f"{folder}/"):
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
