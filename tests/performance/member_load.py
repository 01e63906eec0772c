"""One client of the gateway's: reads and updates members at random, and notes how long each statement took.

    python -m tests.performance.member_load URL MEMBERS STOP_FILE OUTPUT

Runs until STOP_FILE is there, then writes one line a statement: moment (monotonic clock, shared by all processes of
the machine), seconds, "read" or "write".
"""

import random
import sys
import time
from pathlib import Path

import psycopg

# Four clients at this pace leave both cores of the machine mostly idle: waits are for locks, not for a processor.
PAUSE_SECONDS = 0.005

READ = 'SELECT id, email, "subscriptionStatus" FROM "Member" WHERE id = %s'
WRITE = 'UPDATE "Member" SET "jobTitle" = %s, "updatedAt" = now() WHERE id = %s'


def main(url: str, members: int, stop: Path, output: Path) -> None:
    samples: list[tuple[float, float, str]] = []
    with psycopg.connect(url, autocommit=True, prepare_threshold=None, application_name="gateway") as session:
        while not stop.exists():
            for kind in ("read", "write"):
                member = f"m{random.randrange(members)}"
                began = time.monotonic()
                if kind == "read":
                    session.execute(READ, [member]).fetchone()
                else:
                    session.execute(WRITE, [str(began), member])
                samples.append((began, time.monotonic() - began, kind))
                time.sleep(PAUSE_SECONDS)
    output.write_text("".join(f"{began} {took} {kind}\n" for began, took, kind in samples))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]), Path(sys.argv[4]))
