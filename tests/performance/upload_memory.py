"""Measure how much memory an upload of 100 MB adds to an idle gunicorn worker, with a folder and with a bucket.

Run `python -m tests.performance.upload_memory` (a minute). The worker has received a small file before, so that what it
loads only once is not counted. Its peak is the kernel's record (VmHWM), which is reset before each upload.
"""

import argparse
import http.client
import os
import re
import subprocess
import sys
import tempfile
import time
import uuid
import zipfile
from pathlib import Path

from tests.performance.measuring import MIB, PROJECT, Server, forget_peak, gunicorn, memory, private_server
from tests.resources.samples import pdf
from tests.resources.storages import S3Server

SECRET = "c" * 32
SIGN_IN = """
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.sessions.backends.db import SessionStore
from council.accounts.models import Account
account = Account.objects.create_superuser("measuring")
session = SessionStore()
session[SESSION_KEY] = str(account.pk)
session[BACKEND_SESSION_KEY] = "council.auth.StaffBackend"
session[HASH_SESSION_KEY] = account.get_session_auth_hash()
session.save()
print("session:" + session.session_key)
"""
KINDS = ("pdf", "zip")


def large(folder: Path, kind: str) -> Path:
    """Write a file of 100 MB, or slightly less."""
    path = folder / f"large.{kind}"
    if kind == "pdf":
        with path.open("wb") as file:
            file.write(b"%PDF-1.7\n")
            for _ in range(99):
                file.write(os.urandom(MIB))
            file.write(b"\n%%EOF\n")
        return path
    with zipfile.ZipFile(path, "w") as archive:
        for n in range(990):
            archive.writestr(f"videos/{n}.bin", os.urandom(MIB // 10))
    return path


def environment(server: Server, database: str, **storage: str) -> dict[str, str]:
    return {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "council.settings",
        "DATABASE_URL": server.url(database),
        "SECRET_KEY": "for measuring only",
        "DEBUG": "false",
        "STAFF_SECOND_FACTOR": "false",
        "ALLOWED_HOSTS": "127.0.0.1",
        **storage,
    }


def upload(port: int, session: str, path: Path) -> float:
    """Send the form of a new resource with a file, and check that it was accepted. Returns the seconds."""
    boundary = uuid.uuid4().hex
    fields = {
        "csrfmiddlewaretoken": SECRET,
        "title": path.name,
        "description": "For measuring",
        "category": "OPERATIONS",
        "type": "SOP",
        "status": "PUBLISHED",
    }
    head = "".join(
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in fields.items()
    )
    head += (
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{path.name}"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n"
    )
    tail = f"\r\n--{boundary}--\r\n"
    began = time.monotonic()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
    connection.putrequest("POST", "/admin/resources/resource/add/")
    for name, value in {
        "Content-Type": f"multipart/form-data; boundary={boundary}",
        "Content-Length": str(len(head) + path.stat().st_size + len(tail)),
        "Cookie": f"__Host-session={session}; __Host-csrf={SECRET}",
        "X-Forwarded-Proto": "https",
        "Origin": f"https://127.0.0.1:{port}",
    }.items():
        connection.putheader(name, value)
    connection.endheaders()
    connection.send(head.encode())
    with path.open("rb") as file:
        while piece := file.read(MIB):
            connection.send(piece)
    connection.send(tail.encode())
    answer = connection.getresponse()
    body = answer.read().decode(errors="replace")
    if answer.getheader("Location") != "/admin/resources/resource/":  # the sign-in page has another token
        raise RuntimeError(
            f"The upload was answered by {answer.status}: {re.sub('<[^>]*>', ' ', body)[:2000]}"
        )
    return time.monotonic() - began


def measure(server: Server, database: str, session: str, files: dict[str, Path], **storage: str) -> None:
    given = environment(server, database, **storage)
    with gunicorn(given, "--workers=1", "--threads=1", "--worker-class=sync", "--timeout=300") as site:
        port = site.port
        for _ in range(2):
            upload(port, session, files["small"])
        [pid] = site.processes
        for kind in KINDS:
            idle = memory(pid, "VmRSS")
            forget_peak(pid)
            seconds = upload(port, session, files[kind])
            peak = memory(pid, "VmHWM")
            print(  # noqa: T201
                f"  {kind}: {files[kind].stat().st_size / MIB:.1f} MB in {seconds:.1f} s; idle {idle / MIB:.1f} MB, "
                f"peak {(peak - idle) / MIB:+.1f} MB"
            )


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"  # django-storages reads this variable
    with tempfile.TemporaryDirectory() as name, private_server() as server:
        folder = Path(name)
        files = {"small": folder / "small.pdf", **{kind: large(folder, kind) for kind in KINDS}}
        files["small"].write_bytes(pdf())
        server.migrate("uploads")
        command = [sys.executable, "manage.py", "shell", "-v", "0", "-c", SIGN_IN]
        made = subprocess.run(
            command,
            cwd=PROJECT,
            env=environment(server, "uploads"),
            check=True,
            capture_output=True,
            text=True,
        )
        session = made.stdout.partition("session:")[2].strip()
        print("folder")  # noqa: T201
        measure(server, "uploads", session, files, LIBRARY_FOLDER=str(folder / "library"))
        print("bucket")  # noqa: T201
        s3 = S3Server(folder / "s3")
        try:
            s3.new_bucket()
            options = s3.options
            bucket = {
                "S3_ENDPOINT_URL": options["endpoint_url"],
                "S3_REGION": options["region_name"],
                "S3_BUCKET": options["bucket_name"],
                "S3_ACCESS_KEY_ID": options["access_key"],
                "S3_SECRET_ACCESS_KEY": options["secret_key"],
            }
            measure(server, "uploads", session, files, **bucket)
            stored = sum(path.stat().st_size for path in s3.files.rglob("*") if path.is_file())
            assert stored > 198 * MIB, f"the bucket has {stored:,} bytes"
        finally:
            s3.stop()


if __name__ == "__main__":
    main()
