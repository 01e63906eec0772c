"""Download from many processes, kill them during downloads, and check every figure at the end.

    python -m tests.stress_downloads [--downloads 10000] [--processes 8] [--kills 200] [--seed 1]

Most downloads are a member's. Others write like the gateway: a row and a count, in either order. Some roll back or
delete a row. The given number of downloads end with SIGKILL, before or after one of their statements or after their
COMMIT, and a new process replaces the killed one. Prints what was done, and what is wrong. The test suite runs a small
part of it.
"""

import argparse
import os
import random
import signal
import sys
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.sharedctypes import RawArray
from typing import Any

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
if __name__ == "__main__":
    django.setup()

from django.db import connection, connections

from council.models import Member
from resources import downloads
from tests.databases import Database, migrate
from tests.faults.processes import fork, status_of

MEMBERS, RESOURCES = 40, 15
STATEMENTS = 5  # of a download, without BEGIN and COMMIT
ROWS = """
INSERT INTO "Member" (id, "subscriptionStatus", "updatedAt")
SELECT 'm' || n, 'ACTIVE', now() FROM generate_series(0, %(members)s - 1) AS n;
"""
RESOURCE_ROWS = """
INSERT INTO "Resource" (id, title, description, category, type, "fileUrl", "updatedAt")
SELECT 'r' || n, 'Title ' || n, 'Words', 'OPERATIONS', 'VIDEO', 'https://video.example/' || n, now()
  FROM generate_series(0, %(resources)s - 1) AS n
"""
INSERT = 'INSERT INTO "ResourceDownload" (id, "memberId", "resourceId") VALUES (%s, %s, %s)'
INCREMENT = 'UPDATE "Resource" SET "downloadCount" = "downloadCount" + 1, "updatedAt" = now() WHERE id = %s'
TAKE_AWAY = """
DELETE FROM "ResourceDownload" WHERE id = (SELECT id FROM "ResourceDownload" WHERE id LIKE '%-%' LIMIT 1)
"""
WRONG = {
    "a count that is not the number of rows": """
        SELECT resource.id, "downloadCount", count(download.id)
          FROM "Resource" AS resource LEFT JOIN "ResourceDownload" AS download ON download."resourceId" = resource.id
         GROUP BY resource.id HAVING "downloadCount" <> count(download.id)
    """,
    "a total that is not the ledger's": """
        SELECT member.id, "totalPoints", coalesce(sum(points), 0)
          FROM "Member" AS member LEFT JOIN "PointTransaction" AS entry ON entry."memberId" = member.id
         GROUP BY member.id HAVING "totalPoints" <> coalesce(sum(points), 0)
    """,
    # A cuid begins with c. Here, the gateway's rows have other ids and pay nothing.
    "a download that was not paid once": """
        SELECT download.member, download.resource, count(entry.id)
          FROM (SELECT DISTINCT "memberId" AS member, "resourceId" AS resource FROM "ResourceDownload"
                 WHERE length(id) = 25) AS download
          LEFT JOIN "PointTransaction" AS entry
            ON entry."idempotencyKey" = 'resource_download:' || download.member || ':' || download.resource
         GROUP BY download.member, download.resource HAVING count(entry.id) <> 1
    """,
    "points without a download": """
        SELECT id FROM "PointTransaction" AS entry
         WHERE NOT EXISTS (SELECT FROM "ResourceDownload" AS download
                            WHERE download."memberId" = entry."memberId"
                              AND download."resourceId" = entry.metadata ->> 'resourceId')
    """,
}
OTHERS = """
    SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
       AND backend_type = 'client backend'
"""


def as_a_member(chance: random.Random) -> None:
    member, resource = f"m{chance.randrange(MEMBERS)}", f"r{chance.randrange(RESOURCES)}"
    downloads.download(member=Member(pk=member), resource_id=resource)


class Gateway:
    """A writer that also changes the count."""

    def __init__(self, database: Database) -> None:
        self.session = database.connect()

    def __call__(self, chance: random.Random) -> None:
        resource = f"r{chance.randrange(RESOURCES)}"
        row = [str(uuid.UUID(int=chance.getrandbits(128))), f"m{chance.randrange(MEMBERS)}", resource]
        writes: list[tuple[str, list[str]]] = [(INSERT, row), (INCREMENT, [resource])]
        chance.shuffle(writes)
        with self.session.transaction(force_rollback=chance.random() < 0.1):
            for statement, values in writes:
                self.session.execute(statement.encode(), values)
        if chance.random() < 0.1:
            self.session.execute(TAKE_AWAY.encode())


@dataclass
class Stress:
    database: Database
    downloads: int
    processes: int
    kills: int
    seed: int = 1
    faults: list[str] = field(default_factory=list)
    done: int = 0
    killed: int = 0
    killed_after_commit: int = 0
    deadlocks: int = 0

    def run(self) -> None:
        """The database must be migrated, and Django connected to it."""
        with self.database.connect() as session:
            session.execute(ROWS.replace("%(members)s", str(MEMBERS)).encode())
            session.execute(RESOURCE_ROWS.replace("%(resources)s", str(RESOURCES)).encode())
        # In shared memory, so that the counts of killed processes are kept.
        begun = [RawArray("Q", 1) for _ in range(self.processes)]
        ended = [RawArray("Q", 1) for _ in range(self.processes)]
        fatal = self._fatal()
        generation = 0
        pids: dict[int, int] = {}
        while pids or any(begun[slot][0] < self._share(slot) for slot in range(self.processes)):
            for slot in range(self.processes):
                if slot not in pids.values() and begun[slot][0] < self._share(slot):
                    generation += 1
                    work = self._work(
                        begun[slot],
                        ended[slot],
                        share=self._share(slot),
                        fatal=fatal[slot],
                        seed=f"{self.seed} {generation}",
                    )
                    pids[fork(work)] = slot
            pid = next(
                (pid for pid in pids if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)), None
            )
            if pid is None:
                time.sleep(0.005)
                continue
            del pids[pid]
            status = status_of(pid)
            self.killed += status == -signal.SIGKILL
            if status not in {0, -signal.SIGKILL}:
                self.faults.append(f"a process ended with {status}")
        self.done = sum(counter[0] for counter in begun)
        self.killed_after_commit = sum(counter[0] for counter in ended)
        if self.killed != self.kills:
            self.faults.append(f"{self.killed} were killed instead of {self.kills}")
        self._compare()

    def _share(self, slot: int) -> int:
        """The number of downloads that a process and its replacements begin."""
        return self.downloads * (slot + 1) // self.processes - self.downloads * slot // self.processes

    def _fatal(self) -> list[set[int]]:
        """Draw which downloads of each process end with SIGKILL."""
        every = [
            (slot, number) for slot in range(self.processes) for number in range(1, self._share(slot) + 1)
        ]
        drawn = random.Random(self.seed).sample(every, self.kills)
        return [{number for at, number in drawn if at == slot} for slot in range(self.processes)]

    def _work(self, begun: Any, ended: Any, *, share: int, fatal: set[int], seed: str) -> Callable[[], None]:
        def work() -> None:
            connections.close_all()
            chance = random.Random(seed)
            writer = Gateway(self.database)
            while begun[0] < share:
                begun[0] += 1
                if begun[0] in fatal:
                    killer = Killer(chance.randrange(STATEMENTS), chance.random() < 0.5)
                    with connection.execute_wrapper(killer):
                        as_a_member(chance)
                    # It had fewer statements. Its COMMIT is done, but nobody has received the answer.
                    ended[0] += 1
                    os.kill(os.getpid(), signal.SIGKILL)
                elif chance.random() < 0.3:
                    writer(chance)
                else:
                    as_a_member(chance)

        return work

    def _compare(self) -> None:
        with self.database.connect() as session:
            for _ in range(600):  # the server may still be busy with sessions of killed processes
                if session.execute(OTHERS.encode()).fetchone() == (0,):
                    break
                time.sleep(0.05)
            for fault, query in WRONG.items():
                self.faults += [f"{fault}: {row}" for row in session.execute(query.encode())]
            row = session.execute(
                "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
            ).fetchone()
            assert row
            self.deadlocks = int(row[0])


class Killer:
    """Kills the process before or after a statement."""

    def __init__(self, statement: int, is_after: bool) -> None:
        self.left, self.is_after = statement, is_after

    def __call__(self, execute: Callable[..., Any], *arguments: Any) -> Any:
        result = execute(*arguments) if self.is_after else None
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        self.left -= 1
        return result if self.is_after else execute(*arguments)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--downloads", type=int, default=10_000)
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    database = Database("council_stress_downloads")
    database.drop()
    database.create()
    try:
        with database.as_django_connection():
            migrate()
        with database.as_default_connection():
            began = time.monotonic()
            stress = Stress(database, **vars(options))
            stress.run()
        print(
            f"{stress.done:,} downloads by {stress.processes} processes in {time.monotonic() - began:.0f} s, "
            f"{stress.killed} of them killed ({stress.killed_after_commit} after their COMMIT); "
            f"{stress.deadlocks} deadlocks; {len(stress.faults)} faults"
        )
        print(*stress.faults, sep="\n")
    finally:
        database.drop()
    sys.exit(bool(stress.faults))


if __name__ == "__main__":
    main()
