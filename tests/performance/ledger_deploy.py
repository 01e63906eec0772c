"""What clients of the ledger wait for while its migrations run on a table that is full and in use."""

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.performance import ledger_data
from tests.performance.measuring import PROJECT, Server

CLIENTS = 2
BEFORE_SECONDS, AFTER_SECONDS = 4.0, 2.0
DATABASE = "deployed"
# The way to the state before the ledger's migrations, with all else that does not need them.
BEFORE = [("gamification", "0005"), ("council", "0006"), ("benchmarks",), ("resources",)]
Samples = list[tuple[float, float, str]]  # moment and length, in s of the monotonic clock, and kind


@contextmanager
def at_work(url: str, members: int, samples: Samples) -> Iterator[None]:
    """Have clients read and write for a block and some seconds around it, and collect what they noted."""
    with tempfile.TemporaryDirectory() as name:
        stop = Path(name, "stop")
        outputs = [Path(name, str(number)) for number in range(CLIENTS)]
        command = [sys.executable, "-m", "tests.performance.ledger_load", url, str(members), str(stop)]
        clients = [subprocess.Popen([*command, str(output)], cwd=PROJECT) for output in outputs]
        time.sleep(BEFORE_SECONDS)
        yield
        time.sleep(AFTER_SECONDS)
        stop.touch()
        for client, output in zip(clients, outputs, strict=True):
            if client.wait() != 0:
                raise RuntimeError(f"A client ended with {client.returncode}.")
            for line in output.read_text().splitlines():
                began, took, kind = line.split()
                samples.append((float(began), float(took), kind))


def measure(server: Server, *, members: int) -> dict[str, float]:
    """Migrate a ledger that is in use from gamification 0005 to the newest. Waits in ms, the deploy in s."""
    server.create(DATABASE)
    for target in BEFORE:
        server.migrate_to(DATABASE, *target)
    ledger_data.fill_before_0006(server, DATABASE, members=members)
    samples: Samples = []
    with at_work(server.url(DATABASE), members, samples):
        began = time.monotonic()
        server.migrate_to(DATABASE)
        ended = time.monotonic()
    found = {"ledger rows": float(members * ledger_data.ROWS_A_MEMBER), "deploy, s": ended - began}
    for kind in ("read", "write"):
        before = [took * 1000 for start, took, which in samples if which == kind and start + took < began]
        during = [
            took * 1000
            for start, took, which in samples
            if which == kind and start + took >= began and start <= ended
        ]
        found[f"longest {kind} before, ms"] = max(before)
        found[f"longest {kind} during, ms"] = max(during)
        found[f"99 % of {kind}s during, ms"] = statistics.quantiles(during, n=100)[98]
    return found
