"""Sessions that read and change members all the time, and note how long every statement took."""

import gc
import multiprocessing
import random
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier, Event
from typing import NamedTuple

from tests.performance import measuring

WRITERS = 4
# A pace that leaves both cores room: a statement is to wait for locks, not for a processor.
STATEMENTS_A_SECOND = 150
START_SECONDS = 60
# A fork would share the parent's connections, and threads would wait for each other's Python.
PROCESSES = multiprocessing.get_context("spawn")

READ = """
    SELECT id, email, "firstName", "lastName", "subscriptionStatus"
      FROM "Member"
     WHERE id = %(id)s
"""
WRITE = """
    UPDATE "Member"
       SET "jobTitle" = %(title)s, "updatedAt" = now() AT TIME ZONE 'UTC'
     WHERE id = %(id)s
"""


class Wait(NamedTuple):
    began: float  # time.monotonic(), which is one for all processes of a machine
    seconds: float
    is_write: bool

    @property
    def ended(self) -> float:
        return self.began + self.seconds


@contextmanager
def running(server: measuring.Server, database: str, *, members: int) -> Iterator[list[Wait]]:
    """Have the writers at work for a block. The list is filled when it ends."""
    stop, ready = PROCESSES.Event(), PROCESSES.Barrier(WRITERS + 1)
    waits: list[Wait] = []
    writers = []
    for number in range(WRITERS):
        ours, theirs = PROCESSES.Pipe(duplex=False)
        arguments = (server, database, number, members, ready, stop, theirs)
        process = PROCESSES.Process(target=_write, args=arguments, daemon=True)
        process.start()
        theirs.close()  # so that the end of the process is the end of the pipe
        writers.append((process, ours))
    try:
        ready.wait(START_SECONDS)
        yield waits
    finally:
        stop.set()
        for process, pipe in writers:
            waits += pipe.recv()
            process.join()


def _write(
    server: measuring.Server,
    database: str,
    number: int,
    members: int,
    ready: Barrier,
    stop: Event,
    pipe: Connection,
) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent's to handle
    gc.disable()  # its pauses would pass for waits
    chance = random.Random(number)
    interval = 1 / STATEMENTS_A_SECOND
    waits: list[Wait] = []
    with server.connect(database) as connection:
        ready.wait(START_SECONDS)
        due = time.monotonic() + number * interval / WRITERS
        is_write = False
        while not stop.is_set():
            time.sleep(max(due - time.monotonic(), 0))
            member = f"m{chance.randrange(members):024}"
            began = time.monotonic()
            if is_write:
                connection.execute(WRITE, {"id": member, "title": f"Title {began}"})
            else:
                connection.execute(READ, {"id": member}).fetchall()
            ended = time.monotonic()
            waits.append(Wait(began, ended - began, is_write))
            is_write = not is_write
            due = max(due + interval, ended)  # late is late: no burst to make up for it
    pipe.send(waits)
