"""Imports the project in the current folder once, and is then forked for each command. `tests.forked` starts it."""

import gc
import io
import json
import os
import runpy
import signal
import socket
import sys
from pathlib import Path

import django
from django.conf import Settings, settings
from django.core.management import call_command
from django.db import connections
from django.db.migrations.loader import MigrationLoader


def next_command(commands: socket.socket) -> list[str]:
    """Wait for commands. Returns in a new process for each, in its environment, writing to its output."""
    while True:
        data, descriptors, *_ = socket.recv_fds(commands, 1 << 20, 3)
        if not data:
            os._exit(0)
        if os.fork() == 0:
            arguments, environment = json.loads(data)
            answers, output, errors = descriptors
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            _fork_and_report(socket.socket(fileno=answers))
            os.dup2(output, 1)
            os.dup2(errors, 2)
            os.environ.clear()
            os.environ.update(environment)
            return ["manage.py", *arguments]
        for descriptor in descriptors:
            os.close(descriptor)


def _fork_and_report(answers: socket.socket) -> None:
    """Return in the process of the command. Its parent reports its process id, and later its exit status."""
    if pid := os.fork():
        answers.send(str(pid).encode())
        _, status = os.waitpid(pid, 0)
        answers.send(str(os.waitstatus_to_exitcode(status)).encode())
        os._exit(0)
    answers.close()


def import_all() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "council.settings")
    django.setup()
    call_command("check", stdout=io.StringIO(), stderr=io.StringIO())
    MigrationLoader(None)
    gc.freeze()  # otherwise a collection in a forked process would copy the memory of all that was imported


def read_settings_again() -> None:
    for name, module in list(sys.modules.items()):
        is_ours = (getattr(module, "__file__", "") or "").startswith(str(Path.cwd()))
        if is_ours and hasattr(module, "INSTALLED_APPS"):
            del sys.modules[name]  # so that each is imported again after those that it imports
    settings._wrapped = Settings(os.environ["DJANGO_SETTINGS_MODULE"])
    vars(connections).pop("settings", None)  # a cached property: the old databases
    connections.__init__()  # type: ignore[misc]


if __name__ == "__main__":
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # processes that have reported are removed without wait()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    import_all()
    sys.argv = next_command(socket.socket(fileno=int(sys.argv[1])))
    os.setsid()
    # As in a process that was started from a terminal, in case the tests run under nohup or in the background.
    for number in (signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "council.settings")
    read_settings_again()
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    runpy.run_path("manage.py", run_name="__main__")
