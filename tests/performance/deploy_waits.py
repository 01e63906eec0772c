"""Measure how long the gateway's clients wait while version 2 is deployed, and compare other ways to deploy it.

    python -m tests.performance.deploy_waits [--members 1000000] [--quick] [--json FILE] [--svg FILE]

Four clients read and update Member at fixed times. Each way to deploy runs twice: (a) with nothing else going on, and
(b) with a transaction that has read Member and stays open for 20 seconds. Prints a table, and writes JSON and a
picture. Takes about eight minutes. django-pg-zero-downtime-migrations and django-pg-migration-tools are included if
they are installed.
"""

import argparse
import json
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlencode

import psycopg

from council.rehearsal.database_url import DatabaseUrl
from council.rehearsal.load import Load, at_work
from tests.performance import deploys, waits_picture
from tests.performance.measuring import PROJECT, Server, private_server, table
from tests.performance.runs import Run

CLIENTS = 4
# Both cores of the machine stay mostly idle, so that waits are for locks and not for a processor.
LOAD = Load(
    clients=CLIENTS, per_second=200, held_seconds=0, statements=("member by id", "update of a profile")
)
BEFORE_SECONDS, AFTER_SECONDS = 4.0, 2.0
V1_SQL = PROJECT / "tests" / "schema" / "v1.sql"
MEMBERS = """
INSERT INTO "Member" (id, email, "firstName", company, "updatedAt")
SELECT 'm' || n, 'm' || n || '@example.com', 'First ' || n, 'Company ' || n %% 1000, now()
  FROM generate_series(0, %s - 1) AS n
"""
BARS_MS = {"a": 25.0, "b": 150.0}
BAR_AFTER_SECONDS = 2.0


def url(server: Server, database: str) -> str:
    return f"postgresql://postgres@/{database}?{urlencode({'host': server.address.host})}"


@contextmanager
def load(where: str, run: Run) -> Iterator[None]:
    """Run the clients during a block and for some seconds before and after it. Yields what they recorded."""
    with tempfile.TemporaryDirectory() as name:
        with at_work(DatabaseUrl(where, "--url"), LOAD, schema="public", folder=Path(name)) as observed:
            time.sleep(BEFORE_SECONDS)
            yield
            time.sleep(AFTER_SECONDS)
        run.samples += [(sample.due, sample.waited, sample.kind) for sample in observed.samples]


def stay_open(where: str, seconds: float, run: Run, opened: threading.Event) -> None:
    """Read Member in a transaction that stays open."""
    with psycopg.connect(where, autocommit=True, application_name="nightly report") as session:
        session.execute("BEGIN")
        session.execute('SELECT count(*) FROM "Member"')
        began = time.monotonic()
        opened.set()
        time.sleep(seconds)
        session.execute("COMMIT")
        run.held = (began, time.monotonic())


def measure(server: Server, name: str, case: str, *, held_seconds: float) -> Run:
    run = Run(title=f"({case}) {name}")
    with server.throw_away("v1") as database:
        where = url(server, database)
        with psycopg.connect(where, autocommit=True) as session:
            session.execute('SELECT count(*) FROM "Member"')
        reader: threading.Thread | None = None
        with load(where, run):
            if case == "b":
                opened = threading.Event()
                reader = threading.Thread(target=stay_open, args=[where, held_seconds, run, opened])
                reader.start()
                opened.wait()
            run.began = time.monotonic()
            deploys.CONTESTANTS[name](where, run)
            run.ended = time.monotonic()
            if reader:
                reader.join()
    return run


def figures(run: Run) -> dict[str, float]:
    """Summarise a run: waits in ms before and during the deploy, its duration, and how long after the transaction."""
    before = [took * 1000 for began, took, _ in run.samples if began + took < run.began]
    during: dict[str, list[float]] = {"read": [], "write": []}
    for began, took, kind in run.samples:
        if began + took >= run.began and began <= run.ended:
            during[kind].append(took * 1000)
    both = during["read"] + during["write"]
    found = {
        "before_p99_ms": statistics.quantiles(before, n=100)[98],
        "before_max_ms": max(before),
        "p99_ms": statistics.quantiles(both, n=100)[98],
        "read_max_ms": max(during["read"]),
        "write_max_ms": max(during["write"]),
        "deploy_s": run.ended - run.began,
        "status": run.status,
    }
    if run.held:
        found["after_held_s"] = run.ended - run.held[1]
    return found


def report(runs: dict[tuple[str, str], Run]) -> str:
    rows = [
        [
            "",
            "longest read",
            "longest write",
            "p99",
            "before: longest, p99",
            "deploy",
            "after the transaction",
        ]
    ]
    for (name, case), run in runs.items():
        of = figures(run)
        rows.append(
            [
                f"({case}) {name}" + (f", exit status {run.status}" if run.status else ""),
                f"{of['read_max_ms']:.1f} ms",
                f"{of['write_max_ms']:.1f} ms",
                f"{of['p99_ms']:.1f} ms",
                f"{of['before_max_ms']:.1f}, {of['before_p99_ms']:.1f} ms",
                f"{of['deploy_s']:.1f} s",
                f"{of['after_held_s']:.1f} s" if "after_held_s" in of else "",
            ]
        )
    return table(rows)


def bars(runs: dict[tuple[str, str], Run]) -> list[str]:
    lines = []
    for case, bar in BARS_MS.items():
        of = figures(runs["ours", case])
        longest = max(of["read_max_ms"], of["write_max_ms"])
        lines.append(
            f"{'met' if longest <= bar else 'MISSED'}: ({case}) longest wait {longest:.1f} ms, at most {bar:.0f}"
        )
    after = figures(runs["ours", "b"])["after_held_s"]
    lines.append(
        f"{'met' if after <= BAR_AFTER_SECONDS else 'MISSED'}: (b) done {after:.1f} s after the transaction, at most 2"
    )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--members", type=int, default=1_000_000)
    parser.add_argument(
        "--quick", action="store_true", help="10,000 members and 5 seconds, to check that the script works"
    )
    parser.add_argument("--json", type=Path, default=PROJECT / "build" / "deploy_waits.json")
    parser.add_argument("--svg", type=Path, default=PROJECT / "build" / "deploy_waits.svg")
    options = parser.parse_args()
    members = 10_000 if options.quick else options.members
    runs: dict[tuple[str, str], Run] = {}
    with private_server() as server:
        with server.connect() as session:
            session.execute("CREATE DATABASE v1")
        with psycopg.connect(url(server, "v1"), autocommit=True) as session:
            session.execute(V1_SQL.read_bytes())
            session.execute(MEMBERS.encode(), [members])
            session.execute('VACUUM ANALYZE "Member"')
        for case in BARS_MS:
            for name in deploys.CONTESTANTS:
                run = measure(server, name, case, held_seconds=5 if options.quick else 20)
                runs[name, case] = run
                sys.stdout.write(f"{run.title}: {figures(run)}\n")
                sys.stdout.flush()
        record = server.record() | {"members": members, "clients": CLIENTS}
    sys.stdout.write("\n".join([report(runs), *bars(runs), ""]))
    for file, text in {
        options.json: json.dumps(record | {run.title: figures(run) for run in runs.values()}, indent=2),
        options.svg: waits_picture.draw(list(runs.values())),
    }.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


if __name__ == "__main__":
    main()
