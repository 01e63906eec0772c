"""The application on a real server, behind a real PgBouncer, before a PostgreSQL that may be stopped and started."""

import os
import pwd
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import Message
from pathlib import Path

from council.postgres import embedded
from tests.databases import ROOT, Database, server_of_its_own
from tests.pgbouncer import start

# All that the page asks for: whether there is such a session.
TABLES = """
CREATE TABLE django_session (
  session_key varchar(40) PRIMARY KEY, session_data text NOT NULL, expire_date timestamptz NOT NULL
)
"""
# PgBouncer waits for so long, 15 s by default, before it connects anew to a server that was away.
LOGIN_RETRY_SECONDS = 0.2


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Message
    text: str
    seconds: float


@dataclass(frozen=True)
class Site:
    """`page` asks for one that reads the database."""

    port: int
    server: embedded.Server
    database: Database
    process: subprocess.Popen[str]

    def page(self, *, timeout: float = 30.0) -> Answer:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/membership/", headers={"Cookie": f"session={'a' * 32}"}
        )
        began = time.monotonic()
        try:
            response = OPENER.open(request, timeout=timeout)
        except urllib.error.HTTPError as error:
            response = error
        with response:
            text = response.read().decode()
            return Answer(response.status or 0, response.headers, text, time.monotonic() - began)


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object, **__: object) -> None:
        return None


OPENER = urllib.request.build_opener(_NoRedirects)


@contextmanager
def behind_pgbouncer(**environment: str) -> Iterator[Site]:
    """Serve the application for a block."""
    with server_of_its_own() as (server, database), tempfile.TemporaryDirectory(dir="/tmp") as name:
        database.execute(TABLES)
        address = server.start()
        user = pwd.getpwuid(Path(address.host).stat().st_uid) if os.geteuid() == 0 else None
        values = {
            "host": address.host,
            "port": address.port,
            "mode": "transaction",
            "size": 4,
            "folder": Path(name),
            "settings": f"server_login_retry = {LOGIN_RETRY_SECONDS}",
        }
        bouncer, port = start(Path(name), values, user)
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.serve"],
            cwd=ROOT,
            env={
                **os.environ,
                "DATABASE_URL": f"postgresql://postgres@127.0.0.1:{port}/own",
                "SECRET_KEY": "for tests only",
                "DEBUG": "off",
                **environment,
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        try:
            assert process.stdout
            yield Site(int(process.stdout.readline()), server, database, process)
        finally:
            process.kill()
            process.communicate()
            bouncer.kill()
            bouncer.wait()
