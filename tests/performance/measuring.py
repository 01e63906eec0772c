"""What the measuring scripts share: a private server, throw-away databases, a record of the machine."""

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import psycopg
from django.db import connections
from psycopg import sql

from council.postgres import embedded

MIB = 1024 * 1024
PROJECT = Path(__file__).resolve().parents[2]
# The memory settings of Supabase for two cores and 4 GiB. Otherwise PostgreSQL's defaults, which are durable, but
# without autovacuum, because it would disturb some runs and not others.
SETTINGS = {
    "shared_buffers": "1GB",
    "effective_cache_size": "3GB",
    "wal_buffers": "16MB",
    "min_wal_size": "1GB",
    "max_wal_size": "4GB",
    "random_page_cost": "1.1",
    "autovacuum": "off",
}


@dataclass(frozen=True)
class Server:
    address: embedded.Address

    def connect(self, database: str = "postgres") -> psycopg.Connection:
        """Connect as Django does, without prepared statements, and with each statement in its own transaction."""
        return psycopg.connect(
            host=self.address.host,
            port=self.address.port,
            user=self.address.user,
            dbname=database,
            autocommit=True,
            prepare_threshold=None,
        )

    @contextmanager
    def in_django(self, database: str) -> Iterator[None]:
        """Connect Django to a database for a block."""
        default, address = connections["default"], self.address
        default.close()
        default.settings_dict |= {
            "NAME": database,
            "HOST": address.host,
            "PORT": str(address.port),
            "USER": address.user,
            "EMBEDDED_SERVER": None,
        }
        try:
            yield
        finally:
            default.close()

    def url(self, database: str) -> str:
        where = urlencode({"host": self.address.host, "port": self.address.port})
        return f"postgresql://{self.address.user}@/{database}?{where}"

    def create(self, database: str) -> None:
        with self.connect() as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(database)))

    def migrate(self, database: str) -> None:
        """Create a database with the project's whole schema."""
        self.create(database)
        self.migrate_to(database)

    def migrate_to(self, database: str, *target: str) -> None:
        """Migrate an existing database, to the newest migration or to a target."""
        environment = {
            **os.environ,
            "DATABASE_URL": self.url(database),
            "DIRECT_URL": self.url(database),
            "SECRET_KEY": "for measuring only",
        }
        command = [sys.executable, "manage.py", "migrate", *target, "--verbosity=0"]
        subprocess.run(command, cwd=PROJECT, env=environment, check=True)

    def copy(self, template: str, name: str) -> None:
        """Copy a database to which nobody is connected. This includes a checkpoint, so that all runs begin alike."""
        with self.connect() as connection:
            connection.execute(
                sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy").format(
                    sql.Identifier(name), sql.Identifier(template)
                )
            )

    @contextmanager
    def throw_away(self, template: str) -> Iterator[str]:
        """Copy a database for one run, so that its dead rows do not affect other runs."""
        name = f"{template}_run"
        self.copy(template, name)
        try:
            yield name
        finally:
            with self.connect() as connection:
                connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))

    def record(self) -> dict[str, Any]:
        """Describe when, where and on which PostgreSQL figures were measured."""
        with self.connect() as connection:
            version = connection.info.parameter_status("server_version")
        return {
            "date": datetime.now(UTC).date().isoformat(),
            "postgresql": version,
            "settings": SETTINGS,
            "cores": os.cpu_count(),
            "memory_gib": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1),
        }


@contextmanager
def private_server() -> Iterator[Server]:
    """Run a server with production's durability in a temporary folder, and always remove it.

    As for the tests, `COUNCIL_POSTGRES_BIN` names the folder with the programs of another PostgreSQL.
    """
    # Otherwise `kill` or a closed terminal would end Python at once, and leave the server running.
    for end in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(end) != signal.SIG_IGN:  # as under nohup
            signal.signal(end, signal.default_int_handler)
    binaries = os.environ.get("COUNCIL_POSTGRES_BIN")
    with tempfile.TemporaryDirectory(prefix="council-measuring-") as folder:
        server = embedded.Server(
            folder=Path(folder, "postgres"),
            binaries=Path(binaries) if binaries else None,
            options=SETTINGS,
        )
        try:
            yield Server(server.start())
        finally:
            for end in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(end, signal.SIG_IGN)  # ignore a second Ctrl-C
            server.remove()


@dataclass(frozen=True)
class Gunicorn:
    """The production server. `began` is its start time by the monotonic clock."""

    port: int
    pid: int
    began: float

    @property
    def processes(self) -> list[int]:
        """The processes that answer requests."""
        return [int(pid) for pid in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()]


@contextmanager
def gunicorn(environment: Mapping[str, str], *arguments: str) -> Iterator[Gunicorn]:
    """Run the production server with gunicorn.conf.py, and wait until it listens. `arguments` override the file."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    command = [sys.executable, "-m", "gunicorn", f"--bind=127.0.0.1:{port}", "--log-level=error", *arguments]
    began = time.monotonic()
    process = subprocess.Popen(command, cwd=PROJECT, env={**os.environ, **environment})
    try:
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert process.poll() is None
            assert time.monotonic() < began + 300
            time.sleep(0.005)
        yield Gunicorn(port, process.pid, began)
    finally:
        process.terminate()
        process.wait()


def memory(pid: int, name: str) -> int:
    """Read VmRSS or VmHWM (the highest so far) of a process, in bytes."""
    status = Path(f"/proc/{pid}/status").read_text()
    match = re.search(rf"{name}:\s+(\d+) kB", status)
    assert match
    return int(match[1]) * 1024


def forget_peak(pid: int) -> None:
    """Reset VmHWM to the process's present memory."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def table(rows: Sequence[Sequence[str]]) -> str:
    """Align columns. The first row has the headings."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )
