"""The application on the production server, with a PostgreSQL that tests may stop and start."""

import os
import pwd
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from email.message import Message
from pathlib import Path

from council.postgres import embedded
from tests.databases import ROOT, Database, server_of_its_own
from tests.pgbouncer import start

# The only query of the page looks up this session.
TABLES = """
CREATE TABLE django_session (
  session_key varchar(40) PRIMARY KEY, session_data text NOT NULL, expire_date timestamptz NOT NULL
)
"""
# How long PgBouncer waits before it connects again to a server that was down. The default is 15 s.
LOGIN_RETRY_SECONDS = 0.2


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Message
    text: str
    seconds: float


@dataclass(frozen=True)
class Site:
    """`page` requests a page that reads the database. One process with one thread uses one connection."""

    port: int
    server: embedded.Server
    database: Database
    log: Path  # of the application
    bouncer_log: Path | None = None

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

    @property
    def processes_so_far(self) -> int:
        return self.log.read_text().count("Booting worker")

    @property
    def connections_so_far(self) -> int:
        """Count how often the site connected to PgBouncer."""
        assert self.bouncer_log
        return self.bouncer_log.read_text().count("login attempt")


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object, **__: object) -> None:
        return None


OPENER = urllib.request.build_opener(_NoRedirects)


@contextmanager
def gunicorn(url: str, **environment: str) -> Iterator[tuple[int, Path]]:
    """Serve the application for a block with gunicorn.conf.py. Yields the port and the output."""
    with tempfile.NamedTemporaryFile("w", suffix=".log") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", "--bind=127.0.0.1:0", "--workers=1", "--threads=1"],
            cwd=ROOT,
            env={
                **os.environ,
                "DJANGO_SETTINGS_MODULE": "tests.settings_of_server",
                "DATABASE_URL": url,
                "SECRET_KEY": "for tests only",
                "DEBUG": "off",
                **environment,
            },
            stderr=log,
        )
        try:
            yield listening_port(process, Path(log.name)), Path(log.name)
        finally:
            process.send_signal(signal.SIGINT)  # kill it and its worker at once
            process.wait()


def listening_port(process: subprocess.Popen[bytes], log: Path) -> int:
    deadline = time.monotonic() + 30
    while not (said := re.search(r"Listening at: http://127\.0\.0\.1:(\d+)", log.read_text())):
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return int(said[1])


@contextmanager
def behind_pgbouncer(**environment: str) -> Iterator[Site]:
    """Serve the application for a block, through a PgBouncer in transaction mode."""
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
        try:
            with gunicorn(f"postgresql://postgres@127.0.0.1:{port}/own", **environment) as (site_port, log):
                yield Site(site_port, server, database, log, Path(name) / "log")
        finally:
            bouncer.kill()
            bouncer.wait()


@contextmanager
def without_pooler(site: Site) -> Iterator[Site]:
    """Serve the application a second time for a block, connected directly to the server."""
    with gunicorn(site.database.url) as (port, log):
        yield replace(site, port=port, log=log, bouncer_log=None)
