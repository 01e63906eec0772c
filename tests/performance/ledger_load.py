"""One client of the gateway's: reads members' entries and adds to the ledger, and notes how long each statement took.

    python -m tests.performance.ledger_load URL MEMBERS STOP_FILE OUTPUT

Runs until STOP_FILE is there, then writes one line a statement, as member_load does.
"""

import random
import sys
import time
import uuid
from pathlib import Path

import psycopg

from tests.performance.member_load import PAUSE_SECONDS

READ = (
    'SELECT action, points FROM "PointTransaction" WHERE "memberId" = %s ORDER BY "createdAt" DESC LIMIT 20'
)
WRITE = 'INSERT INTO "PointTransaction" (id, "memberId", action, points) VALUES (%s, %s, %s, 5)'


def main(url: str, members: int, stop: Path, output: Path) -> None:
    samples: list[tuple[float, float, str]] = []
    with psycopg.connect(url, autocommit=True, prepare_threshold=None, application_name="gateway") as session:
        while not stop.exists():
            for kind in ("read", "write"):
                member = f"m{random.randrange(members):024}"
                began = time.monotonic()
                if kind == "read":
                    session.execute(READ, [member]).fetchall()
                else:
                    session.execute(WRITE, [str(uuid.uuid4()), member, "resource_download"])
                samples.append((began, time.monotonic() - began, kind))
                time.sleep(PAUSE_SECONDS)
    output.write_text("".join(f"{began} {took} {kind}\n" for began, took, kind in samples))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]), Path(sys.argv[4]))
