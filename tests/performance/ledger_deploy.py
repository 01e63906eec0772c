"""What clients of the ledger wait for while its migrations run on a table that is full and in use."""

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from council.rehearsal import load
from council.rehearsal.load import Load
from council.rehearsal.place import Place
from tests.performance import deploys, ledger_data
from tests.performance.measuring import Server
from tests.performance.runs import Run

LOAD = Load(
    clients=2, per_second=200, held_seconds=0, statements=("points of a member", "points for a member")
)
BEFORE_SECONDS, AFTER_SECONDS = 4.0, 2.0
DATABASE = "deployed"
# The way to the state before the ledger's migrations, with all else that does not need them.
BEFORE = [("gamification", "0005"), ("council", "0006"), ("benchmarks",), ("resources",)]


@contextmanager
def at_work(url: str, run: Run) -> Iterator[None]:
    """Have clients read and write for a block and some seconds around it, and collect what they noted."""
    with tempfile.TemporaryDirectory() as name:
        place, folder = Place(url, "--url"), Path(name)
        with load.at_work(place, LOAD, schema="public", folder=folder) as observed:
            time.sleep(BEFORE_SECONDS)
            yield
            time.sleep(AFTER_SECONDS)
        run.samples += [(sample.due, sample.waited, sample.kind) for sample in observed.samples]


def measure(server: Server, *, members: int) -> dict[str, float | str]:
    """Migrate a ledger that is in use from gamification 0005 to the newest. Waits in ms, the deploy in s."""
    server.create(DATABASE)
    for target in BEFORE:
        server.migrate_to(DATABASE, *target)
    ledger_data.fill_before_0006(server, DATABASE, members=members)
    run = Run("ledger")
    with at_work(server.url(DATABASE), run):
        run.began = time.monotonic()
        deploys.ours(server.url(DATABASE), run)
        run.ended = time.monotonic()
    if run.status:
        raise RuntimeError(f"The deploy ended with {run.status}.")
    found: dict[str, float | str] = {
        "ledger rows": members * ledger_data.ROWS_A_MEMBER,
        "migrations": len(run.steps),
        "deploy, s": round(run.ended - run.began, 1),
    }
    for kind in ("read", "write"):
        before = [took for start, took, which in run.samples if which == kind and start + took < run.began]
        during = sorted(
            (took, start + took)
            for start, took, which in run.samples
            if which == kind and start + took >= run.began and start <= run.ended
        )
        found[f"longest {kind} before, ms"] = round(max(before) * 1000, 1)
        found[f"99 % of {kind}s during, ms"] = round(during[int(len(during) * 0.99)][0] * 1000, 1)
        took, moment = during[-1]
        found[f"longest {kind} during, ms"] = round(took * 1000, 1)
        found[f"longest {kind} during, in"] = next(
            (name for at, name in run.steps if at >= moment), "the end"
        )
    return found
