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
from psycopg import sql

from council.postgres import embedded

MIB = 1024 * 1024
PROJECT = Path(__file__).resolve().parents[2]
# As Supabase sets them for two cores and 4 GiB of memory; else durable, as PostgreSQL comes. Autovacuum comes when it
# likes, so to some runs and not to others.
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
        """Connect as Django does: nothing prepared; here every statement is a transaction of its own."""
        return psycopg.connect(
            host=self.address.host,
            port=self.address.port,
            user=self.address.user,
            dbname=database,
            autocommit=True,
            prepare_threshold=None,
        )

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
        """Migrate a database that is there, to the newest or to a target."""
        environment = {
            **os.environ,
            "DATABASE_URL": self.url(database),
            "DIRECT_URL": self.url(database),
            "SECRET_KEY": "for measuring only",
        }
        command = [sys.executable, "manage.py", "migrate", *target, "--verbosity=0"]
        subprocess.run(command, cwd=PROJECT, env=environment, check=True)

    def copy(self, template: str, name: str) -> None:
        """Copy a database that nobody is connected to. A checkpoint comes with it: all runs begin alike."""
        with self.connect() as connection:
            connection.execute(
                sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy").format(
                    sql.Identifier(name), sql.Identifier(template)
                )
            )

    @contextmanager
    def throw_away(self, template: str) -> Iterator[str]:
        """Copy a database for one run, which leaves its dead rows and bloat to nobody."""
        name = f"{template}_run"
        self.copy(template, name)
        try:
            yield name
        finally:
            with self.connect() as connection:
                connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))

    def record(self) -> dict[str, Any]:
        """Say when, where and on which PostgreSQL figures were taken."""
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
    """Run a server with production's durability in a temporary folder, and remove it whatever happens.

    `COUNCIL_POSTGRES_BIN` names the folder of another PostgreSQL's binaries, as for the tests.
    """
    # `kill` or a closed terminal would end Python at once, and leave the server behind.
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
                signal.signal(end, signal.SIG_IGN)  # an impatient second Ctrl-C
            server.remove()


@dataclass(frozen=True)
class Gunicorn:
    """The production server. `began` is when it was started, by the monotonic clock."""

    port: int
    pid: int
    began: float

    @property
    def processes(self) -> list[int]:
        """The processes that answer."""
        return [int(pid) for pid in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()]


@contextmanager
def gunicorn(environment: Mapping[str, str], *arguments: str) -> Iterator[Gunicorn]:
    """Run the production server as gunicorn.conf.py says, and wait until it listens. `arguments` overrule the file."""
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
    """VmRSS or VmHWM (the highest so far) of a process, in bytes."""
    status = Path(f"/proc/{pid}/status").read_text()
    match = re.search(rf"{name}:\s+(\d+) kB", status)
    assert match
    return int(match[1]) * 1024


def forget_peak(pid: int) -> None:
    """Have VmHWM begin anew, at what the process has now."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def table(rows: Sequence[Sequence[str]]) -> str:
    """Align columns; the first row holds the headings."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )
