"""Syncs with Discord in real processes: killed at any point, and two at once, also through a transaction pooler."""

import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from gamification import reconciliation
from tests import mee6 as stand_in
from tests.databases import ROOT, Database
from tests.mee6 import Mee6, player
from tests.pgbouncer import PROGRAM, pgbouncer

pytestmark = pytest.mark.any_server

MEMBERS = 20
FIRST_XP = 1_000
# A process that has loaded everything, and forks a run for each line that it reads. The line is the number of the
# statement after which the run is killed within a few milliseconds, or 0. The process prints the signal.
MACHINE = """
import os, random, signal, sys, threading
from django.db import connection
from council import jobs
from gamification import discord, mee6
mee6.PAGE_PLAYERS, discord.COMPARED_PLAYERS, discord.BATCH_MEMBERS = 7, 14, 5

def run(last):
    left = last
    def count(execute, *call):
        nonlocal left
        left -= 1
        if left == 0:
            threading.Timer(random.random() * 0.004, os.kill, [os.getpid(), signal.SIGKILL]).start()
        return execute(*call)
    with connection.execute_wrapper(count):
        run = jobs.run(jobs.JOBS["sync_discord"])
        while 0 < last and left <= 0:
            pass  # it is about to be killed
    return run

run(0)  # it leaves less to load for each fork
connection.close()
print("ready", flush=True)
for line in sys.stdin:
    pid = os.fork()
    if not pid:
        run(int(line))
        os._exit(0)
    _, status = os.waitpid(pid, 0)
    print(-os.waitstatus_to_exitcode(status), flush=True)
"""
END_LEASES = """UPDATE "JobRun" SET "leaseUntil" = '2026-01-01' WHERE "endedAt" IS NULL"""


@pytest.fixture(params=["direct", "pooler"])
def address(request: pytest.FixtureRequest, migrated: Database) -> Iterator[str]:
    migrated.execute(
        f"""INSERT INTO "Member" (id, "discordId", "updatedAt")
            SELECT 'm' || n, (10 ^ 17)::bigint + n, now() FROM generate_series(0, {MEMBERS - 1}) AS n"""
    )
    if request.param == "direct":
        yield migrated.url
    elif PROGRAM:
        with pgbouncer(migrated, mode="transaction", size=3) as url:
            yield url
    else:
        pytest.skip("PgBouncer is not installed (apt-get install pgbouncer)")


@pytest.fixture
def server() -> Iterator[Mee6]:
    with stand_in.serving() as server:
        set_xp(server, FIRST_XP)
        yield server


def set_xp(server: Mee6, xp: int) -> None:
    server.players = [player(number, xp) for number in range(MEMBERS)]


@contextmanager
def machine(database: Database, address: str, server: Mee6) -> Iterator[Callable[..., int]]:
    """Start the process. Yields a function that runs a sync and returns the signal that ended it."""
    process = subprocess.Popen(
        [sys.executable, "manage.py", "shell", "-v", "0", "-c", MACHINE],
        cwd=ROOT,
        env={**database.environment(DISCORD_GUILD_ID="42", MEE6_URL=server.url), "DATABASE_URL": address},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin
    assert process.stdout

    def run(killed_at: int = 0) -> int:
        assert process.stdin
        assert process.stdout
        process.stdin.write(f"{killed_at}\n")
        process.stdin.flush()
        return int(process.stdout.readline())

    try:
        assert process.stdout.readline() == "ready\n"
        yield run
    finally:
        process.stdin.close()
        process.wait(60)
        process.stdout.close()


def check(database: Database, server: Mee6) -> None:
    """Check that every member has a point for each 100 XP since the first sync, and that the rows add up to it."""
    gained = {f"m{number}": entry["xp"] - FIRST_XP for number, entry in enumerate(server.players)}
    points = {member: xp // 100 for member, xp in gained.items()}
    assert dict(database.fetch('SELECT id, "totalPoints" FROM "Member"')) == points  # type: ignore[arg-type]
    assert dict(database.fetch('SELECT "memberId", "settledUnits" FROM "DiscordStanding"')) == points  # type: ignore[arg-type]
    activity = 'SELECT "memberId", sum("xpDelta") FROM "DiscordActivity" GROUP BY 1'
    assert dict(database.fetch(activity)) == gained  # type: ignore[arg-type]
    with database.as_default_connection():
        assert list(reconciliation.differences()) == []


def test_runs_killed_at_any_point_give_the_same_points(
    migrated: Database, address: str, server: Mee6
) -> None:
    xp = FIRST_XP
    with machine(migrated, address, server) as run:
        killed_at = 0
        while True:
            killed_at += random.randint(2, 5)
            xp += 70
            set_xp(server, xp)
            if run(killed_at) == 0:
                break
            migrated.execute(END_LEASES)
        run()
    assert killed_at > 30, "runs have fewer statements than this test was made for"
    [(lost,)] = migrated.fetch("""SELECT count(*) FROM "JobRun" WHERE outcome = 'LOST'""")
    assert int(str(lost)) > 5
    check(migrated, server)


@pytest.mark.parametrize("address", ["pooler"], indirect=True)
def test_two_machines_at_once_pay_nothing_twice(migrated: Database, address: str, server: Mee6) -> None:
    """Their leases are ended again and again, so that both run at the same time."""
    with (
        machine(migrated, address, server) as first,
        machine(migrated, address, server) as second,
        ThreadPoolExecutor(2) as pool,
        migrated.connect() as session,
    ):
        xp = FIRST_XP
        for _ in range(6):
            xp += random.randint(1, 300)
            set_xp(server, xp)
            both = [pool.submit(first), pool.submit(second)]
            while not all(each.done() for each in both):
                session.execute(END_LEASES)
                time.sleep(0.005)
            assert [each.result() for each in both] == [0, 0]
        session.execute(END_LEASES)
        first()
    [(lost,)] = migrated.fetch("""SELECT count(*) FROM "JobRun" WHERE outcome = 'LOST'""")
    assert int(str(lost)) > 0, "no two runs were at work at once"
    check(migrated, server)
