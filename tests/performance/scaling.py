"""Try two proposals of docs/scaling.md: a replica for reading, and a ledger partitioned by month.

    python -m tests.performance.scaling [replica | partitions] [--members 2000]

For a real streaming replica: which pages and forms it serves, with the first statement that fails; how far it is
behind; how a migration's lock affects its readers. For a partitioned copy of the ledger: each statement that the ledger
needs today, with PostgreSQL's own answer, and the time of a history page. COUNCIL_POSTGRES_BIN selects another version.
"""

import argparse
import logging
import os
import random
import re
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
if __name__ == "__main__":
    django.setup()

import psycopg
from django.db import connection
from django.test import Client, override_settings

from council.postgres import embedded
from tests.performance import ledger_data, pages
from tests.performance.measuring import Server, private_server, table

DATABASE = "scaling"
STATEMENT = re.compile(
    r'(SELECT .* FOR (?:NO KEY )?UPDATE|INSERT INTO "?\w+"?|UPDATE "\w+"|DELETE FROM "\w+")', re.DOTALL
)

# A replica ----------------------------------------------------------------------------------------------------------


@contextmanager
def replica(server: Server, **settings: str) -> Iterator[Server]:
    """Run a streaming replica of a server."""
    with server.connect() as session:
        [backend] = session.execute("SELECT pg_backend_pid()").fetchone() or [0]
        binaries = Path(f"/proc/{backend}/exe").resolve().parent
    owner = Path(server.address.host).stat()
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        os.chown(name, owner.st_uid, owner.st_gid)
        is_root = os.geteuid() == 0
        user: dict[str, Any] = (
            {"user": owner.st_uid, "group": owner.st_gid, "extra_groups": []} if is_root else {}
        )
        copy: list[str | Path] = [
            binaries / "pg_basebackup",
            "-h",
            server.address.host,
            "-p",
            str(server.address.port),
        ]
        copy += ["-U", "postgres", "-D", f"{name}/data", "-R", "--checkpoint=fast"]
        subprocess.run(copy, check=True, cwd=name, **user)
        given = {"unix_socket_directories": name, "listen_addresses": "", "port": "5432", **settings}
        process = subprocess.Popen(
            [
                binaries / "postgres",
                "-D",
                f"{name}/data",
                *(f"--{key}={value}" for key, value in given.items()),
            ],
            cwd=name,
            stderr=subprocess.DEVNULL,
            **user,
        )
        copied = Server(embedded.Address(name))
        try:
            wait_for(lambda: is_reached(copied), seconds=60)
            yield copied
        finally:
            process.terminate()
            process.wait()


def is_reached(server: Server) -> bool:
    with suppress(psycopg.OperationalError), server.connect() as session:
        return session.execute("SELECT pg_is_in_recovery()").fetchone() == (True,)
    return False


def wait_for(condition: Callable[[], bool], *, seconds: float) -> float:
    """Wait until a condition is true, and return after how many seconds it was."""
    began = time.perf_counter()
    while not condition():
        assert time.perf_counter() - began < seconds
        time.sleep(0.0005)
    return time.perf_counter() - began


def answer(browser: Client, method: str, address: str, **form: str) -> str:
    """Request a page, and return the response's status, or the first statement that failed."""
    failed: list[str] = []

    def watch(execute: Callable[..., object], sql: str, *given: object) -> object:
        try:
            return execute(sql, *given)
        except django.db.Error as error:
            found = STATEMENT.search(str(sql))
            what = (
                re.sub(r"(SELECT) .* (FOR)", r"\1 … \2", found[1], flags=re.DOTALL)
                if found
                else str(sql)[:60]
            )
            failed.append(f"{what}: {str(error).strip().splitlines()[0]}")
            raise

    with connection.execute_wrapper(watch):
        response = getattr(browser, method)(address, form)
    return failed[0] if failed else f"{response.status_code}"


def try_pages(server: Server, copied: Server, key: str) -> None:
    """Request every page from the replica, and send the members' forms."""
    rows = [["asked of the replica", "answer"]]
    with override_settings(SECRET_KEY="for measuring only", ALLOWED_HOSTS=["testserver"]):
        with copied.in_django(DATABASE):
            browser = Client(raise_request_exception=False)
            browser.cookies["sessionid"] = key
            member = ledger_data.member_id(1)
            for what, address in pages.addresses(100).items():
                if what != pages.BASE:
                    path = address(random.Random(1))
                    rows.append(
                        [
                            f"GET {path}" + (" (a new visit)" if path == "/" else ""),
                            answer(browser, "get", path),
                        ]
                    )
        with server.connect(DATABASE) as session:
            session.execute("UPDATE council_account SET visited_at = now()")
        with copied.in_django(DATABASE):
            wait_for(lambda: seen(copied), seconds=10)
            rows.append(["GET / (in the same half hour)", answer(browser, "get", "/")])
            form = {"email": f"{member}@example.com", "password": "wrong"}
            resource = "/library/r000000000000000000000001/download/"
            for what, reply in {
                "GET /readyz": answer(browser, "get", "/readyz"),
                "GET /sign-in/": answer(Client(raise_request_exception=False), "get", "/sign-in/"),
                "POST /sign-in/": answer(Client(raise_request_exception=False), "post", "/sign-in/", **form),
                "POST /library/…/download/": answer(browser, "post", resource),
                "POST /leaderboard/privacy/": answer(browser, "post", "/leaderboard/privacy/", listed="on"),
                "POST /benchmarks/…/answers/": answer(
                    browser, "post", "/benchmarks/operational/answers/", domains_per_client="6", shown="0"
                ),
                "POST /sign-out/": answer(browser, "post", "/sign-out/"),
            }.items():
                rows.append([what, reply])
    print(table(rows))


def seen(copied: Server) -> bool:
    with copied.connect(DATABASE) as session:
        return session.execute("SELECT bool_and(visited_at IS NOT NULL) FROM council_account").fetchone() == (
            True,
        )


def measure_lag(server: Server, copied: Server) -> None:
    """Write rows, one by one and many at once, and measure when the replica shows them."""
    add = """
        INSERT INTO "PointTransaction" (id, "memberId", action, points)
        SELECT %(id)s || n, 'm' || lpad((n %% 1000)::text, 24, '0'), 'discord_activity', 1
          FROM generate_series(1, %(rows)s) AS n
    """
    is_there = 'SELECT 1 FROM "PointTransaction" WHERE id = %s'
    with server.connect(DATABASE) as writer, copied.connect(DATABASE) as reader:

        def lag(name: str, rows: int) -> float:
            writer.execute(add.encode(), {"id": name, "rows": rows})
            return wait_for(
                lambda: reader.execute(is_there, [f"{name}{rows}"]).fetchone() is not None, seconds=60
            )

        single = [lag(f"single{number}-", 1) * 1000 for number in range(200)]
        many = lag("many", 100_000)
    print(
        f"behind by {statistics.median(single):.1f} ms (median of 200 single rows), {max(single):.1f} ms at most;"
    )
    print(f"by {many * 1000:.0f} ms after 100,000 rows in one statement")


def try_lock(server: Server, copied: Server) -> None:
    """Add a column while somebody reads on the replica, and measure how long a second reader waits there."""
    waited: list[float] = []

    def second_reader() -> None:
        began = time.perf_counter()
        with copied.connect(DATABASE) as session:
            session.execute('SELECT 1 FROM "Member" LIMIT 1')
        waited.append(time.perf_counter() - began)

    with copied.connect(DATABASE) as first, server.connect(DATABASE) as migrating:
        first.execute("BEGIN")
        first.execute('SELECT count(*) FROM "Member"')
        began = time.perf_counter()
        migrating.execute("""SET lock_timeout = '100ms'; ALTER TABLE "Member" ADD COLUMN tried integer""")
        altered = time.perf_counter() - began
        time.sleep(0.3)
        thread = threading.Thread(target=second_reader)
        thread.start()
        thread.join()
        try:
            first.execute('SELECT count(*) FROM "Member"')
            fate = "went on"
        except psycopg.Error as error:
            fate = str(error).strip().replace("\n", "; ")
    print(
        f"ALTER TABLE on the primary: {altered * 1000:.0f} ms; a new reader on the replica waited {waited[0]:.1f} s"
    )
    print(f"the reader that was first: {fate}")


def try_replica(server: Server, key: str) -> None:
    with replica(server, max_standby_streaming_delay="5s") as copied:
        try_pages(server, copied, key)
        measure_lag(server, copied)
        try_lock(server, copied)


# Partitions ---------------------------------------------------------------------------------------------------------

# Each statement runs separately, in order. One that fails is reported and changes nothing.
STATEMENTS = {
    "a copy with everything": """
        CREATE TABLE ledger (LIKE "PointTransaction" INCLUDING ALL) PARTITION BY RANGE ("createdAt")
    """,
    "a copy of the columns": """
        CREATE TABLE ledger (LIKE "PointTransaction" INCLUDING DEFAULTS) PARTITION BY RANGE ("createdAt")
    """,
    "the months": """
        DO $$ BEGIN
          FOR month IN 0..26 LOOP
            EXECUTE format('CREATE TABLE ledger_%s PARTITION OF ledger FOR VALUES FROM (%L) TO (%L)', month,
                           date_trunc('month', now()) + (month - 25) * interval '1 month',
                           date_trunc('month', now()) + (month - 24) * interval '1 month');
          END LOOP;
        END $$
    """,
    "its rows": 'INSERT INTO ledger SELECT * FROM "PointTransaction"',
    "the primary key": "ALTER TABLE ledger ADD PRIMARY KEY (id)",
    "… with the month": 'ALTER TABLE ledger ADD PRIMARY KEY (id, "createdAt")',
    "once to a key": 'CREATE UNIQUE INDEX ON ledger ("idempotencyKey") WHERE "idempotencyKey" IS NOT NULL',
    "… with the month, as it would have to be": """
        CREATE UNIQUE INDEX ON ledger ("idempotencyKey", "createdAt") WHERE "idempotencyKey" IS NOT NULL
    """,
    "an award": """
        INSERT INTO ledger (id, "memberId", action, points, "idempotencyKey")
        SELECT 'twice', id, 'tried', 5, 'tried' FROM "Member" LIMIT 1
            ON CONFLICT ("idempotencyKey") WHERE "idempotencyKey" IS NOT NULL DO NOTHING
    """,
    "the same key twice, in two months": """
        INSERT INTO ledger (id, "memberId", action, points, "idempotencyKey", "createdAt")
        SELECT 'twice' || n, member.id, 'tried', 5, 'tried', now() - n * interval '40 days'
          FROM (SELECT id FROM "Member" LIMIT 1) AS member, generate_series(0, 1) AS n
    """,
    "a reversal's key": 'ALTER TABLE ledger ADD FOREIGN KEY ("reversesId") REFERENCES ledger (id)',
    "the member's key, NOT VALID": """
        ALTER TABLE ledger ADD CONSTRAINT member
          FOREIGN KEY ("memberId") REFERENCES "Member" ON DELETE CASCADE NOT VALID
    """,
    "… and validated": "ALTER TABLE ledger VALIDATE CONSTRAINT member",
    "… at once, under a lock": """
        ALTER TABLE ledger ADD CONSTRAINT member2 FOREIGN KEY ("memberId") REFERENCES "Member" ON DELETE CASCADE
    """,
    "an index, concurrently": 'CREATE INDEX CONCURRENTLY ON ledger ("memberId", "createdAt" DESC, id DESC)',
    "… part by part": """
        CREATE INDEX by_member ON ONLY ledger ("memberId", "createdAt" DESC, id DESC);
        DO $$ BEGIN
          FOR month IN 0..26 LOOP
            EXECUTE format('CREATE INDEX by_member_%s ON ledger_%s ("memberId", "createdAt" DESC, id DESC)',
                           month, month);
            EXECUTE format('ALTER INDEX by_member ATTACH PARTITION by_member_%s', month);
          END LOOP;
        END $$
    """,
    "the points trigger": """
        CREATE TRIGGER trg_update_member_points AFTER INSERT ON ledger REFERENCING NEW TABLE AS new_rows
          FOR EACH STATEMENT EXECUTE FUNCTION update_member_total_points()
    """,
    "… as a row trigger": """
        CREATE TRIGGER by_row AFTER INSERT ON ledger REFERENCING NEW TABLE AS new_rows
          FOR EACH ROW EXECUTE FUNCTION update_member_total_points()
    """,
    "the trigger that keeps createdAt in UTC": """
        CREATE FUNCTION put_back() RETURNS trigger LANGUAGE plpgsql
          AS $$ BEGIN NEW."createdAt" = NEW."createdAt" - interval '40 days'; RETURN NEW; END $$;
        CREATE TRIGGER put_back BEFORE INSERT ON ledger
          FOR EACH ROW WHEN (NEW.action = 'moved') EXECUTE FUNCTION put_back()
    """,
    "… a row that it moves to another month": """
        INSERT INTO ledger (id, "memberId", action, points) SELECT 'moved', id, 'moved', 5 FROM "Member" LIMIT 1
    """,
    "no TRUNCATE": """
        CREATE TRIGGER no_truncate BEFORE TRUNCATE ON ledger EXECUTE FUNCTION refuse_point_transaction_truncate()
    """,
    "… of the ledger": "TRUNCATE ledger",
    "… of a month, by its own name": "TRUNCATE ledger_1",
    "row level security, and rights for another role": """
        ALTER TABLE ledger ENABLE ROW LEVEL SECURITY;
        GRANT SELECT ON ALL TABLES IN SCHEMA public TO pg_monitor
    """,
    "an old table as a partition, checked beforehand": """
        CREATE TABLE old (LIKE ledger INCLUDING ALL);
        ALTER TABLE old ADD CHECK ("createdAt" >= '2020-01-01' AND "createdAt" < '2020-02-01');
        ALTER TABLE ledger ATTACH PARTITION old FOR VALUES FROM ('2020-01-01') TO ('2020-02-01')
    """,
    "… let go, concurrently": "ALTER TABLE ledger DETACH PARTITION old CONCURRENTLY",
}
HISTORY = 'SELECT * FROM {} WHERE "memberId" = %s ORDER BY "createdAt" DESC, id DESC LIMIT 50'
TOTAL = 'SELECT "totalPoints" FROM "Member" WHERE id = (SELECT min(id) FROM "Member")'
ROW_BYTES = """SELECT pg_total_relation_size('"PointTransaction"') / count(*) FROM "PointTransaction" """
ADD = """
    INSERT INTO {} (id, "memberId", action, points)
    SELECT gen_random_uuid(), min(id), 'discord_activity', 5 FROM "Member"
"""


def outcome(session: psycopg.Connection, statement: str) -> str:
    try:
        session.execute(statement.encode())
    except psycopg.Error as error:
        lines = str(error).strip().splitlines()
        details = [line.removeprefix("DETAIL:  ") for line in lines if line.startswith("DETAIL:")]
        return " · ".join([lines[0], *details])
    return "done"


def try_partitions(server: Server, *, members: int) -> None:
    rows = [["", "PostgreSQL says"]]
    with server.connect(DATABASE) as session:
        rows += [[what, outcome(session, statement)] for what, statement in STATEMENTS.items()]
        for place in ("ledger", "ledger_25"):
            [before] = session.execute(TOTAL).fetchone() or [0]
            session.execute(ADD.format(place).encode())
            [after] = session.execute(TOTAL).fetchone() or [0]
            rows.append([f"5 points written to {place}", f"the member's total moves by {after - before}"])
        for place in ("ledger", "ledger_25"):
            with session.transaction(force_rollback=True):
                session.execute("SET LOCAL ROLE pg_monitor")
                [seen] = session.execute(f"SELECT count(*) FROM {place}".encode()).fetchone() or [0]
            rows.append([f"rows of {place} that another role reads", str(seen)])
        session.execute("VACUUM ANALYZE")
        [row_bytes] = session.execute(ROW_BYTES).fetchone() or [0]
        print(table(rows))
        print(f"a row of the ledger takes {row_bytes} bytes with its entries in seven indexes")
        print(compare_histories(session, members=members))


def compare_histories(session: psycopg.Connection, *, members: int) -> str:
    """Read the first page of histories from the table and from its partitioned copy, in turn."""
    took: dict[str, list[float]] = {'"PointTransaction"': [], "ledger": []}
    for number in range(0, members, max(members // 300, 1)):
        for place, each in took.items():
            began = time.perf_counter()
            session.execute(HISTORY.format(place).encode(), [ledger_data.member_id(number)]).fetchall()
            each.append((time.perf_counter() - began) * 1000)
    whole, parts = (statistics.median(each) for each in took.values())
    times = f"{parts / whole:.1f} times"
    return f"a page of a history: {whole:.2f} ms of one table, {parts:.2f} ms of 27 partitions ({times})"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("what", nargs="?", choices=["replica", "partitions"])
    parser.add_argument("--members", type=int, default=2_000)
    options = parser.parse_args()
    logging.getLogger("django.request").setLevel(
        logging.CRITICAL
    )  # Django logs each page that the replica refuses
    with private_server() as server:
        print(f"PostgreSQL {server.record()['postgresql']}")
        [key, *_] = pages.fill(server, DATABASE, members=options.members)
        if options.what != "partitions":
            try_replica(server, key)
        if options.what != "replica":
            try_partitions(server, members=options.members)


if __name__ == "__main__":
    main()
