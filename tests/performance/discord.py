"""Measure a sync with Discord: its time compared with only reading, its statements, and its memory.

    python -m tests.performance.discord [--players 100000] [--rounds 6] [--gained 150] [--quick] [--json FILE]

A server process on this machine answers like MEE6, with prepared pages. Every player is a member. The first sync sets
the baseline. In each round, one player in ten has gained 150 XP (or `--gained`), which are paid. Each round first only
reads the leaderboard, and then syncs it. Takes two minutes, prints medians, and writes every figure to
build/discord.json.
"""

import argparse
import json
import logging
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
if __name__ == "__main__":
    django.setup()

from django.db import connection
from django.test import override_settings
from django.test.utils import CaptureQueriesContext

from council import jobs
from council.models import JobRun
from gamification import mee6, reconciliation
from tests import mee6 as stand_in
from tests.performance.ledger import Contestant
from tests.performance.ledger_data import settle
from tests.performance.measuring import MIB, PROJECT, Server, forget_peak, memory, private_server

log = logging.getLogger(__name__)

CHANGED_ONE_IN = 10
MAX_TIMES_READING, MAX_MIB = 2.0, 64.0
MEMBERS = """
    INSERT INTO "Member" (id, email, "discordId", "subscriptionStatus", "updatedAt")
    SELECT 'm' || lpad(n::text, 24, '0'), 'member' || n || '@example.com',
           (10 ^ 17)::bigint + (n * 7919 %% %(players)s), 'ACTIVE', now()
      FROM generate_series(0, %(players)s - 1) AS n
"""


def players(count: int, *, number: int, gained: int) -> list[dict[str, Any]]:
    """Return the leaderboard after this many rounds, highest XP first."""
    entries = [
        stand_in.player(each, 5 * (count - each) + gained * number * (each % CHANGED_ONE_IN == 3))
        for each in range(count)
    ]
    return sorted(entries, key=lambda entry: -entry["xp"])


def serve(count: int, rounds: int, gained: int) -> None:
    """Serve a leaderboard for each round, under the round's number as the Discord server's id, until stdin ends."""
    pages: dict[str, str] = {}
    size = mee6.PAGE_PLAYERS
    for number in range(rounds + 2):
        entries = players(count, number=number, gained=gained)
        for page in range(count // size + 1):
            some = {"page": page, "players": entries[page * size : (page + 1) * size]}
            pages[f"/api/plugins/levels/leaderboard/{number}?page={page}&limit={size}"] = json.dumps(some)
    with stand_in.serving() as server:
        server.answer = lambda request: stand_in.send(request, 200, pages[request.path])  # type: ignore[method-assign]
        print(server.url, flush=True)  # noqa: T201
        sys.stdin.read()


@contextmanager
def served(count: int, rounds: int, gained: int) -> Iterator[str]:
    """Serve them in a separate process. Yields its address."""
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "tests.performance.discord",
            "--serve",
            f"--players={count}",
            f"--rounds={rounds}",
            f"--gained={gained}",
        ],
        cwd=PROJECT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    try:
        url = process.stdout.readline().strip()
        assert url, "the server did not start; its errors are above"
        yield url
    finally:
        process.kill()
        process.wait()


def read(url: str, number: int) -> int:
    """Only read and parse the leaderboard."""
    return sum(len(page.players) for page in mee6.leaderboard(guild_id=str(number), base_url=url))


def sync(url: str, number: int) -> JobRun:
    with override_settings(DISCORD_GUILD_ID=str(number), MEE6_URL=url):
        run = jobs.run(jobs.JOBS["sync_discord"])
    assert run is not None
    assert run.outcome == JobRun.Outcome.DONE, run.error
    return run


def measure(server: Server, url: str, *, count: int, rounds: int, pays: bool) -> dict[str, list[float]]:
    contestant = Contestant(server, count)
    server.migrate(contestant.name)
    with server.connect(contestant.name) as session:
        session.execute(MEMBERS.encode(), {"players": count})
    settle(server, contestant.name)
    figures: dict[str, list[float]] = {
        name: [] for name in ("reading alone, s", "sync, s", "times", "memory above idle, MiB")
    }
    pid = os.getpid()
    with contestant.server.in_django(contestant.name):
        began = time.perf_counter()
        first = sync(url, 0)
        figures["the first sync, s"] = [time.perf_counter() - began]
        assert first.counts["first seen"] == count, first.counts
        settle(server, contestant.name)
        for number in range(1, rounds + 1):
            began = time.perf_counter()
            assert read(url, number) == count
            alone = time.perf_counter() - began
            idle = memory(pid, "VmRSS")
            forget_peak(pid)
            began = time.perf_counter()
            run = sync(url, number)
            took = time.perf_counter() - began
            changed = count // CHANGED_ONE_IN
            assert run.counts["members changed"] == changed, run.counts
            assert run.counts["members paid"] == (changed if pays else 0), run.counts
            figures["reading alone, s"].append(alone)
            figures["sync, s"].append(took)
            figures["times"].append(took / alone)
            figures["memory above idle, MiB"].append((memory(pid, "VmHWM") - idle) / MIB)
        with CaptureQueriesContext(connection) as captured:
            sync(url, rounds + 1)
        figures["statements"] = [len(captured)]
        assert next(reconciliation.differences(), None) is None, "wrong figures"
    return figures


def bars(figures: dict[str, list[float]]) -> dict[str, bool]:
    times, most = statistics.median(figures["times"]), max(figures["memory above idle, MiB"])
    return {
        f"a sync takes {times:.2f} times reading alone, at most {MAX_TIMES_READING:.0f}": times
        <= MAX_TIMES_READING,
        f"it takes {most:.1f} MiB above idle, at most {MAX_MIB:.0f}": most <= MAX_MIB,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--players", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--gained", type=int, default=150, help="XP gained in each round; 5 earn nothing")
    parser.add_argument("--json", type=Path, default=PROJECT / "build" / "discord.json")
    parser.add_argument(
        "--quick", action="store_true", help="small sizes, to try the script; no limit is checked"
    )
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    count, rounds = (5_000, 3) if options.quick else (options.players, options.rounds)
    if options.serve:
        serve(options.players, options.rounds, options.gained)
        return
    with private_server() as server, served(count, rounds, options.gained) as url:
        record: dict[str, Any] = {**server.record(), "load": os.getloadavg()}
        figures = measure(server, url, count=count, rounds=rounds, pays=options.gained >= 100)
    judged = {} if options.quick else bars(figures)
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps({**record, "bars": judged, "figures": figures}, indent=2) + "\n")
    lines = [
        f"{name}: {statistics.median(values):,.2f} (of {len(values)})" for name, values in figures.items()
    ]
    verdicts = [f"{'met' if is_met else 'MISSED'}: {bar}" for bar, is_met in judged.items()]
    print(*lines, *verdicts, sep="\n")  # noqa: T201


if __name__ == "__main__":
    main()
