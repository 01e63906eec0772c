"""The process that `tests.forked` starts: it imports the project in its folder once, and is forked for each command."""

import gc
import importlib
import io
import json
import os
import runpy
import signal
import socket
import sys

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
    """Return in the process of the command. Its parent reports its number and its status."""
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
    gc.freeze()  # what is there stays; a collection would copy its pages into each process


def read_settings_again() -> None:
    for module in dict.fromkeys(["council.settings", os.environ["DJANGO_SETTINGS_MODULE"]]):
        importlib.reload(importlib.import_module(module))
    settings._wrapped = Settings(os.environ["DJANGO_SETTINGS_MODULE"])
    vars(connections).pop("settings", None)  # which it keeps
    connections.__init__()  # type: ignore[misc]


if __name__ == "__main__":
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those that report
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    import_all()
    sys.argv = next_command(socket.socket(fileno=int(sys.argv[1])))
    os.setsid()
    # As in a process that a terminal starts, also where the tests run in the background.
    for number in (signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "council.settings")
    read_settings_again()
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    runpy.run_path("manage.py", run_name="__main__")
