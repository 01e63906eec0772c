"""A real PgBouncer in front of the test server."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
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
    """Run a PgBouncer for a block, and give the URL that leads through it to a database."""
    assert PROGRAM
    server = connection.get_connection_params()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        listen_port = free.getsockname()[1]
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        folder = Path(name)
        file = folder / "pgbouncer.ini"
        file.write_text(
            CONFIGURATION.format(
                host=str(server["host"]).replace("'", "''"),
                port=server.get("port") or 5432,
                mode=mode,
                size=size,
                folder=folder,
                listen_port=listen_port,
                settings="\n".join(f"{name} = {value}" for name, value in settings.items()),
            )
        )
        # It refuses to run as root, and the server's socket is open to the server's user only.
        user = pwd.getpwuid(Path(str(server["host"])).stat().st_uid) if os.geteuid() == 0 else None
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
        try:
            wait_for_port(listen_port)
            yield f"postgresql://postgres@127.0.0.1:{listen_port}/{database.name}"
        finally:
            process.kill()
            process.wait()


def wait_for_port(port: int) -> None:
    deadline = time.monotonic() + 10
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except ConnectionRefusedError:
            assert time.monotonic() < deadline, "PgBouncer does not listen"
            time.sleep(0.02)
        else:
            return
