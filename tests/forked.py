"""`manage.py` in a process that is forked from one that has imported everything, because importing takes a second.

The process is as real as any other: it has its own environment and reads the settings again. But modules keep what they
decided from the settings when they were imported. So this is only for environments that differ in nothing but the
database's address.
"""

import importlib
import multiprocessing
import multiprocessing.forkserver
import os
import runpy
import subprocess
import sys
from contextlib import chdir
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from django.conf import Settings, settings
from django.db import connections

ROOT = Path(__file__).resolve().parent.parent
ADDRESSES = {"DATABASE_URL", "DIRECT_URL"}
SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(["tests.preloaded"])


def forget_server() -> None:
    """Have a forked process start a fork server of its own: its parent's cannot be used, and has the parent's code."""
    multiprocessing.forkserver._forkserver.__init__()  # type: ignore[misc]
    SERVER.set_forkserver_preload(["tests.preloaded"])


@cache
def common() -> dict[str, str]:
    """The environment before any test has changed it."""
    return {**os.environ, "SECRET_KEY": "for tests only"}


def can_have(environment: dict[str, str]) -> bool:
    """Tell whether this environment differs from that of other commands only in the database's address."""
    different = {name for name, _ in environment.items() ^ common().items()}
    return all(name in ADDRESSES or name.startswith("PYTEST_") for name in different)


def manage(arguments: tuple[str, ...], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run manage.py until it ends."""
    with TemporaryDirectory() as folder, chdir(ROOT):
        output, errors = Path(folder, "output"), Path(folder, "errors")
        process = SERVER.Process(target=_manage, args=(arguments, environment, output, errors))
        process.start()
        process.join()
        status = process.exitcode
        process.close()
        assert status is not None
        return subprocess.CompletedProcess(
            ["manage.py", *arguments], status, output.read_text(), errors.read_text()
        )


def _manage(arguments: tuple[str, ...], environment: dict[str, str], output: Path, errors: Path) -> None:
    for descriptor, file in ((1, output), (2, errors)):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT), descriptor)
    os.environ.clear()
    os.environ.update(environment)
    for module in ("council.settings", os.environ["DJANGO_SETTINGS_MODULE"]):
        importlib.reload(sys.modules[module])
    settings._wrapped = Settings(os.environ["DJANGO_SETTINGS_MODULE"])
    vars(connections).pop("settings", None)  # which it keeps
    connections.__init__()  # type: ignore[misc]
    sys.argv = ["manage.py", *arguments]
    runpy.run_path("manage.py", run_name="__main__")
