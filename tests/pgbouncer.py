"""A real PgBouncer for the test server."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from django.db import connection

from tests.databases import Database

PROGRAM = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
CONFIGURATION = """
[databases]
* = host='{host}' port={port} user=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {listen_port}
unix_socket_dir =
auth_type = any
pool_mode = {mode}
default_pool_size = {size}
ignore_startup_parameters = extra_float_digits
logfile = {folder}/log
pidfile = {folder}/pid
{settings}
"""


@contextmanager
def pgbouncer(database: Database, *, mode: str, size: int = 2, **settings: int) -> Iterator[str]:
    """Run a PgBouncer for a block. Yields the URL of a database through it."""
    server = connection.get_connection_params()
    # PgBouncer refuses to run as root, and only the server's user may open the server's socket.
    user = pwd.getpwuid(Path(str(server["host"])).stat().st_uid) if os.geteuid() == 0 else None
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        folder = Path(name)
        values = {
            "host": str(server["host"]).replace("'", "''"),
            "port": server.get("port") or 5432,
            "mode": mode,
            "size": size,
            "folder": folder,
            "settings": "\n".join(f"{name} = {value}" for name, value in settings.items()),
        }
        process, port = start(folder, values, user)
        try:
            yield f"postgresql://postgres@127.0.0.1:{port}/{database.name}"
        finally:
            process.kill()
            process.wait()


def start(
    folder: Path, values: dict[str, object], user: pwd.struct_passwd | None
) -> tuple[subprocess.Popen[bytes], int]:
    """Start it on a free port. If another process takes the port first, try again on another one."""
    assert PROGRAM
    file = folder / "pgbouncer.ini"
    for _ in range(10):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port: int = free.getsockname()[1]
        file.write_text(CONFIGURATION.format(listen_port=port, **values))
        if user:
            for path in (folder, file):
                os.chown(path, user.pw_uid, user.pw_gid)
        process = subprocess.Popen(
            [PROGRAM, "-q", str(file)],
            user=user.pw_uid if user else None,
            group=user.pw_gid if user else None,
            extra_groups=[] if user else None,
            stderr=subprocess.DEVNULL,
        )
        if listens(process, folder / "pid", port):
            return process, port
        process.kill()
        process.wait()
    raise AssertionError(
        f"PgBouncer does not start. {folder / 'log'} says: {(folder / 'log').read_text()[-1000:]}"
    )


def listens(process: subprocess.Popen[bytes], pid_file: Path, port: int) -> bool:
    """Wait until it listens or has ended. Once it has written its process id, the port is really its own."""
    deadline = time.monotonic() + 30
    while process.poll() is None and time.monotonic() < deadline:
        if pid_file.exists():
            with suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port), timeout=5):
                return process.poll() is None
        time.sleep(0.02)
    return False
