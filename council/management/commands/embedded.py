import contextlib
import shlex
import shutil
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from council.postgres import units
from council.postgres.embedded import EmbeddedServerError, Server


class Command(BaseCommand):
    help = "Show, start, stop or remove the embedded PostgreSQL server, which is used if DATABASE_URL is not set."
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("act", choices=["status", "start", "stop", "remove"], help="What to do with it.")
        parser.add_argument(
            "--no-input", action="store_false", dest="interactive", help="Remove without asking first."
        )

    def handle(self, *args: Any, act: str, interactive: bool, **options: Any) -> None:
        server: Server | None = settings.EMBEDDED_SERVER
        if server is None:
            raise CommandError("DATABASE_URL is set, so no embedded PostgreSQL is used. Unset it to use one.")
        try:
            if act == "start":
                server.start()
            elif act == "stop":
                server.stop()
            elif act == "remove":
                self._remove(server, interactive=interactive)
            self._show(server)
        except EmbeddedServerError as error:
            raise CommandError(str(error)) from error

    def _remove(self, server: Server, *, interactive: bool) -> None:
        question = f"Delete {server.home} with all of its databases? Type 'yes' to continue: "
        try:
            is_wanted = not interactive or input(question) == "yes"
        except EOFError as error:
            raise CommandError(
                "Nothing was removed, because there is no terminal for the question. "
                "`manage.py embedded remove --no-input` removes without asking."
            ) from error
        if not is_wanted:
            raise CommandError("Nothing was removed.")
        server.remove()

    def _show(self, server: Server) -> None:
        home, pid, address = server.home, server.pid, server.address
        state = f"running, pid {pid}" if pid else "stopped" if home.exists() else "not created"
        rows = {"state": state, "version": server.version, "folder": home}
        if home.exists():
            rows |= {"size": units.size(size_bytes(home)), "log": home / "server.log"}
        if pid:
            psql = "psql" if shutil.which("psql") else str(server.found_binaries / "psql")
            database = settings.DATABASES["default"]["NAME"]
            rows["socket"] = f"{address.host}/.s.PGSQL.{address.port}"
            rows["connect"] = shlex.join([psql, "-h", address.host, "-U", address.user, database])
        for name, value in rows.items():
            self.stdout.write(f"{name:8} {value}")


def size_bytes(folder: Path) -> int:
    size = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):  # a running server may delete files meanwhile
            size += path.lstat().st_size
    return size
