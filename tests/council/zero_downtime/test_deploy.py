"""`migrate` on a database in use, with real processes and real locks."""

import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.db.migrations.loader import MigrationLoader

from tests import forked
from tests.databases import ROOT, Database, Templates, fill_to

V1_SQL = (Path(__file__).resolve().parents[2] / "schema" / "v1.sql").read_text()
MEMBERS = """
INSERT INTO "Member" (id, email, "updatedAt")
SELECT 'm' || n, 'm' || n || '@example.com', now() FROM generate_series(1, 100) AS n
"""


@pytest.fixture
def v1(database: Database) -> Database:
    database.execute(V1_SQL + MEMBERS)
    return database


@pytest.fixture
def adopted(database: Database, templates: Templates) -> Database:
    """The gateway's database after the first migration."""
    database.become(templates.get("adopted", fill_to("council", "0001", sql=V1_SQL + MEMBERS)))
    return database


@pytest.fixture
def with_points(database: Database, templates: Templates) -> Database:
    """The gateway's database with the columns for points, but without their index."""
    database.become(templates.get("with_points", fill_to("council", "0005", sql=V1_SQL + MEMBERS)))
    return database


class Deploy:
    """A `manage.py migrate` in a separate process, whose output can be read while it runs."""

    def __init__(self, database: Database, *arguments: str, **environment: str) -> None:
        self.output = ""
        self.began = time.monotonic()
        reading, writing = os.pipe()
        self.process = forked.start(
            ("migrate", *arguments), database.environment(**environment), output=writing, errors=writing
        )
        os.close(writing)
        self.reader = threading.Thread(target=self._read, args=[reading], daemon=True)
        self.reader.start()

    def _read(self, descriptor: int) -> None:
        with open(descriptor) as lines:
            for line in lines:
                self.output += line

    def wait_for(self, text: str, *, seconds: float = 90) -> None:
        deadline = time.monotonic() + seconds
        while not re.search(text, self.output):
            assert time.monotonic() < deadline, f"{text!r} did not come; there is:\n{self.output}"
            assert self.process.poll() is None or re.search(text, self.output), self.output
            time.sleep(0.02)

    def finish(self, *, seconds: float = 120) -> int:
        status = self.process.wait(seconds)
        self.reader.join()
        return status


@pytest.fixture
def deploy() -> Iterator[Callable[..., Deploy]]:
    deploys: list[Deploy] = []

    def start(database: Database, *arguments: str, **environment: str) -> Deploy:
        deploys.append(Deploy(database, *arguments, **environment))
        return deploys[-1]

    yield start
    for one in deploys:
        one.process.kill()
        one.finish()


@contextmanager
def open_transaction(database: Database, query: str, **options: str) -> Iterator[psycopg.Connection]:
    """Keep a transaction open during a block, like a report or a forgotten console."""
    with database.connect(**options) as session:
        session.execute("BEGIN")
        session.execute(query.encode())
        yield session
        if not session.closed and session.info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
            session.execute("COMMIT")


def applied(database: Database) -> list[str]:
    return [
        str(row[0]) for row in database.fetch("SELECT app || '.' || name FROM django_migrations ORDER BY 1")
    ]


READ = 'SELECT count(*) FROM "Member"'


def test_migrate_waits_for_a_reader_outside_of_the_lock_queue(
    v1: Database, deploy: Callable[..., Deploy]
) -> None:
    with open_transaction(v1, READ, application_name="nightly report"), v1.connect() as gateway:
        run = deploy(v1, "council", "0005")
        run.wait_for("waiting, .*nightly report")
        gateway.execute("SET lock_timeout = '50ms'")
        for _ in range(20):
            gateway.execute("""UPDATE "Member" SET "jobTitle" = 'x' WHERE id = 'm1'""")
            time.sleep(0.05)
        assert run.process.poll() is None

    assert run.finish() == 0, run.output
    assert "Applied council.0005_member_points" in run.output


def test_the_migration_continues_soon_after_the_blocker_has_ended(
    adopted: Database, deploy: Callable[..., Deploy]
) -> None:
    with open_transaction(adopted, READ):
        run = deploy(adopted, "council", "0005")
        run.wait_for("waiting, ")
    ended = time.monotonic()

    run.wait_for("Applied council.0005_member_points")

    assert time.monotonic() - ended < 10  # tests.performance.deploy_waits measures how soon
    assert run.finish() == 0


def test_a_blocker_is_named_with_its_locks_and_query(v1: Database, deploy: Callable[..., Deploy]) -> None:
    with open_transaction(v1, READ, application_name="nightly report") as session:
        run = deploy(v1, "council", "0005", "--patience", "2s")
        assert run.finish() == 1
        pid = session.info.backend_pid

    assert f"pid {pid} (postgres, nightly report), idle in transaction, open for " in run.output
    assert 'holds ACCESS SHARE on "Member"; query: SELECT count(*) FROM "Member"' in run.output
    assert "council.0005_member_points did not get its locks within 2.0 s. It was blocked by:" in run.output
    assert f"SELECT pg_terminate_backend({pid})" in run.output
    assert "None of it was kept." in run.output
    assert re.search(r"\d+ of \d+ migrations are done, \d+ left.", run.output)
    assert "Traceback" not in run.output
    assert "council.0005_member_points" not in applied(v1)
    assert v1.fetch("SELECT 1 FROM pg_attribute WHERE attname = 'totalPoints'") == []


def test_details_that_the_role_may_not_see_are_shown_as_hidden(
    v1: Database, deploy: Callable[..., Deploy]
) -> None:
    v1.execute(
        "DROP ROLE IF EXISTS plain; CREATE ROLE plain LOGIN; GRANT CREATE ON SCHEMA public TO plain;"
        f'GRANT CREATE ON DATABASE "{v1.name}" TO plain'
    )
    try:
        for table in v1.fetch(
            "SELECT quote_ident(relname) FROM pg_class WHERE relkind = 'r' AND relname ~ '^[A-Z]'"
        ):
            v1.execute(f"ALTER TABLE {table[0]} OWNER TO plain")
        for name in ("AdminRole", "SeatTier", "SubscriptionStatus"):
            v1.execute(f'ALTER TYPE "{name}" OWNER TO plain')
        with open_transaction(v1, READ, application_name="nightly report") as session:
            as_plain = v1.url.replace("//postgres@", "//plain@")
            run = deploy(v1, "council", "0005", "--patience", "2s", DATABASE_URL=as_plain)
            assert run.finish() == 1
            pid = session.info.backend_pid

        assert f"pid {pid} (postgres, nightly report), state: hidden, open since: hidden" in run.output
        assert 'holds ACCESS SHARE on "Member"; query: hidden' in run.output
        assert "Traceback" not in run.output
        run = deploy(v1, "council", "0005", DATABASE_URL=as_plain)
        assert run.finish() == 0, run.output
    finally:
        v1.execute("DROP OWNED BY plain CASCADE")
        v1.execute("DROP ROLE plain")


def test_a_prepared_transaction_is_named(v1: Database, deploy: Callable[..., Deploy]) -> None:
    if v1.fetch("SHOW max_prepared_transactions") == [("0",)]:
        pytest.skip("max_prepared_transactions is 0 on this server")
    with v1.connect() as session:
        session.execute("""BEGIN; UPDATE "Member" SET company = 'x'; PREPARE TRANSACTION 'forgotten'""")

    try:
        run = deploy(v1, "council", "0005", "--patience", "1s")
        assert run.finish() == 1
        assert "prepared transaction 'forgotten' of postgres, open for " in run.output
        assert "ROLLBACK PREPARED 'forgotten'" in run.output
    finally:
        v1.execute("ROLLBACK PREPARED 'forgotten'")


def test_a_reversal_waits_for_a_reader_and_then_continues(
    v1: Database, deploy: Callable[..., Deploy]
) -> None:
    assert v1.manage("migrate", "sessions").returncode == 0
    with open_transaction(v1, "SELECT * FROM django_session", application_name="cart"):
        run = deploy(v1, "sessions", "zero", "--patience", "20s")
        run.wait_for("waiting, .*cart")
        assert run.process.poll() is None
    assert run.finish() == 0, run.output
    assert v1.fetch("SELECT to_regclass('django_session')") == [(None,)]


def test_a_second_migrate_waits_for_the_first_and_finds_nothing_to_do(
    v1: Database, deploy: Callable[..., Deploy]
) -> None:
    with open_transaction(v1, READ):
        first = deploy(v1, "council", "0005")
        first.wait_for("waiting, ")
        second = deploy(v1, "council", "0005")
        second.wait_for(r"Waiting for another migrate, .* so far: pid \d+ \(postgres, from a local socket")
    assert first.finish() == 0, first.output
    assert second.finish() == 0, second.output
    assert "No migrations to apply." in second.output


def test_two_migrates_at_once_on_an_empty_database_both_succeed(
    database: Database, deploy: Callable[..., Deploy]
) -> None:
    runs = [deploy(database), deploy(database)]

    assert [run.finish() for run in runs] == [0, 0], runs[0].output + runs[1].output

    assert len(applied(database)) == len(set(applied(database)))
    assert "gamification.0005_points_triggers" in applied(database)


def test_a_second_migrate_gives_up_after_its_patience(v1: Database, deploy: Callable[..., Deploy]) -> None:
    with open_transaction(v1, READ):
        first = deploy(v1, "council", "0005")
        first.wait_for("waiting, ")
        second = deploy(v1, "--patience", "1s")
        assert second.finish() == 1
        assert re.search(r"Another migrate is still running after [\d.]+ s: pid \d+", second.output)
        assert "This one has changed nothing." in second.output
    assert first.finish() == 0


@pytest.mark.parametrize("arguments", [["--plan"], ["--check"], ["--fake"]], ids=" ".join)
def test_commands_that_only_read_take_no_lock_and_do_not_wait(
    adopted: Database, deploy: Callable[..., Deploy], arguments: list[str]
) -> None:
    with (
        open_transaction(adopted, 'LOCK TABLE "Member" IN ACCESS EXCLUSIVE MODE'),
        adopted.connect() as other,
    ):
        other.execute("SELECT pg_advisory_lock(%s, %s)", [0x636F756E, 0x6D696772])

        assert deploy(adopted, *arguments).finish() == (1 if arguments == ["--check"] else 0)


def test_a_plan_that_cannot_compare_the_baseline_gives_a_warning(v1: Database) -> None:
    """PostgreSQL does not describe indexes and defaults of a table that another session has locked completely."""
    with open_transaction(v1, 'LOCK TABLE "Member" IN ACCESS EXCLUSIVE MODE'):
        result = v1.manage("migrate", "--plan", check=False)

    assert result.returncode == 1
    assert (
        "not-compared: Another session holds an ACCESS EXCLUSIVE lock on a table of the baseline"
        in result.stdout
    )
    assert result.stdout.rstrip().endswith("1 warning.")


def test_the_settings_of_the_session_are_as_before_also_after_a_failure(v1: Database) -> None:
    program = """
import django, sys
django.setup()
from django.db.migrations.loader import MigrationLoader
from django.core.management import CommandError, call_command
from django.db import connection
def settings():
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('lock_timeout'), current_setting('statement_timeout'), "
                       "current_setting('deadlock_timeout'), current_setting('search_path')")
        return cursor.fetchone()
before = settings()
connection.cursor().execute("SET lock_timeout = '7s'; SET statement_timeout = '8s'")
call_command("migrate", "council", "0005", verbosity=0)
assert settings()[:2] == ("7s", "8s"), settings()
connection.cursor().execute('INSERT INTO "Team" (id, name, "stripeCustomerId", "updatedAt") '
                            "VALUES ('t', 'A', 'c', now())")
try:
    call_command("migrate", "council", "zero", verbosity=0)
except CommandError as error:
    assert "contains rows of the gateway" in str(error), error
else:
    raise AssertionError("did not fail")
assert settings() == ("7s", "8s", *before[2:]), settings()
with connection.cursor() as cursor:
    cursor.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()")
    assert cursor.fetchone() == (0,)
"""
    environment = v1.environment(DJANGO_SETTINGS_MODULE="council.settings")

    subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=environment, check=True)


def test_a_role_s_statement_timeout_stops_neither_builds_nor_validation(
    with_points: Database, deploy: Callable[..., Deploy]
) -> None:
    """An open writer makes the concurrent build wait longer than the timeout. Nothing else takes that long."""
    with open_transaction(
        with_points, """UPDATE "Member" SET company = 'x' WHERE id = 'm1'""", application_name="writer"
    ):
        run = deploy(
            with_points,
            "council",
            "0006",
            DATABASE_URL=f"{with_points.url}&options=-c%20statement_timeout%3D2s",
        )
        run.wait_for("waiting, .*writer")
        time.sleep(2)
        assert run.process.poll() is None, run.output
    assert run.finish() == 0, run.output
    assert with_points.fetch(
        "SELECT indisvalid FROM pg_index WHERE indexrelid = '\"Member_totalPoints_idx\"'::regclass"
    ) == [(True,)]


def test_every_migration_has_a_line_at_its_beginning_and_its_end(v1: Database) -> None:
    output = v1.manage("migrate").stdout

    began = re.findall(r"^  Applying (\S+)$", output, re.MULTILINE)
    ended = re.findall(r"^  Applied (\S+) in [\d.]+ m?s$", output, re.MULTILINE)
    assert began == ended == sorted(began, key=began.index)
    former = {
        f"{app}.{name}"
        for migration in MigrationLoader(None).disk_migrations.values()
        for app, name in migration.replaces
    }
    assert set(began) == set(applied(v1)) - former


def test_verbosity_0_is_silent(v1: Database) -> None:
    result = v1.manage("migrate", "council", "0006", "--verbosity", "0")

    assert (result.stdout, result.stderr) == ("", "")


def test_the_progress_of_a_build_is_reported(with_points: Database, deploy: Callable[..., Deploy]) -> None:
    with open_transaction(with_points, """UPDATE "Member" SET company = 'x' WHERE id = 'm1'""") as writer:
        run = deploy(with_points, "council", "0006")
        run.wait_for(
            rf"Member_totalPoints_idx: waiting for writers before build, .*waits for pid {writer.info.backend_pid}",
        )
    assert run.finish() == 0


def test_an_old_snapshot_that_a_build_waits_for_is_named(
    with_points: Database, deploy: Callable[..., Deploy]
) -> None:
    query = 'SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM "Team"'
    with open_transaction(with_points, query, application_name="long report"):
        run = deploy(with_points, "council", "0006")
        run.wait_for("waiting, .*long report")
        run.wait_for(
            r"Member_totalPoints_idx: waiting for old snapshots, 0 of \d+ \(0 %\), .*waits for pid \d+"
        )
    assert run.finish() == 0


def test_durations_that_cannot_be_read_are_refused(v1: Database) -> None:
    result = v1.manage("migrate", "--lock-timeout", "soon", check=False)

    assert result.returncode == 2
    assert "'soon' is not a duration. Write it as 100ms, 2s or 10min." in result.stderr


# Databases made from one template have the same table oids, and pg_locks shows the locks of all databases.
MEMBER = """relation = '"Member"'::regclass
       AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"""

THIRD_PARTY: dict[str, Any] = {"DJANGO_SETTINGS_MODULE": "tests.third_party.settings"}
# They would be refused as soon as autovacuum has counted the members, but this test is about how they run.
ACCEPTED = "--accept-risks"


class QueueWatch:
    """Counts how often a session began to wait for a lock on Member, and its longest wait."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.times = 0
        self.longest_seconds = 0.0
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._watch)

    def __enter__(self) -> "QueueWatch":
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        self.thread.join()

    def _watch(self) -> None:
        query = f"SELECT 1 FROM pg_locks WHERE NOT granted AND {MEMBER}"
        since: float | None = None
        with self.database.connect() as session:
            while not self.ended.wait(0.005):
                if session.execute(query.encode()).fetchone():
                    if since is None:
                        since, self.times = time.monotonic(), self.times + 1
                    self.longest_seconds = max(self.longest_seconds, time.monotonic() - since)
                else:
                    since = None


def test_an_unpredicted_lock_is_queued_for_once_and_then_waited_for_outside(
    v1: Database, deploy: Callable[..., Deploy]
) -> None:
    """Python code takes the lock. The plan reads only SQL."""
    assert v1.manage("migrate", "third_party", "0002", ACCEPTED, **THIRD_PARTY).returncode == 0
    with QueueWatch(v1) as queue, open_transaction(v1, READ, application_name="nightly report"):
        # Long enough for a busy machine to notice the blocker. The observer may miss it completely.
        run = deploy(v1, "third_party", "0003", ACCEPTED, "--lock-timeout", "500ms", **THIRD_PARTY)
        run.wait_for("waiting, .*nightly report")
        time.sleep(4)
        assert run.process.poll() is None
    assert run.finish() == 0, run.output

    assert run.output.count("attempt with") == 2
    assert queue.times <= 1
    assert queue.longest_seconds < 3


def test_a_predicted_lock_is_never_queued_for(adopted: Database, deploy: Callable[..., Deploy]) -> None:
    with QueueWatch(adopted) as queue:
        with open_transaction(adopted, READ):
            run = deploy(adopted, "council", "0005")
            run.wait_for("waiting, ")
            time.sleep(1)
        assert run.finish() == 0, run.output

    assert queue.times == 0


def test_in_a_deadlock_with_the_gateway_the_migration_is_repeated(
    v1: Database, deploy: Callable[..., Deploy]
) -> None:
    assert v1.manage("migrate", "third_party", "0001", ACCEPTED, **THIRD_PARTY).returncode == 0
    v1.execute(
        """INSERT INTO "Team" (id, name, "stripeCustomerId", "updatedAt") VALUES ('t', 'A', 'c', now())"""
    )
    held = f"SELECT 1 FROM pg_locks WHERE granted AND mode = 'AccessExclusiveLock' AND {MEMBER}"
    with v1.connect() as watch, v1.connect() as gateway, gateway.transaction():
        # On a busy machine, the migration may need a second to reach its second lock.
        gateway.execute("SET deadlock_timeout = '30s'")
        gateway.execute("""UPDATE "Team" SET name = 'B'""")
        run = deploy(v1, "third_party", "0002", ACCEPTED, **THIRD_PARTY)
        deadline = time.monotonic() + 60
        while not watch.execute(held.encode()).fetchone():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        gateway.execute("""UPDATE "Member" SET company = 'B' WHERE id = 'm1'""")

    assert run.finish() == 0, run.output
    assert v1.fetch("""SELECT name FROM "Team" """) == [("B",)]
    assert v1.fetch("""SELECT company FROM "Member" WHERE id = 'm1'""") == [("B",)]


def test_the_lock_timeout_also_applies_to_the_second_attempt(
    v1: Database, deploy: Callable[..., Deploy]
) -> None:
    assert v1.manage("migrate", "third_party", "0002", ACCEPTED, **THIRD_PARTY).returncode == 0
    with open_transaction(v1, READ):
        run = deploy(v1, "third_party", ACCEPTED, "--lock-timeout", "123ms", **THIRD_PARTY)
        run.wait_for("waiting, ")
    run.wait_for("Applied third_party.0003")

    assert re.findall("attempt with (.*)", run.output) == ["123ms", "123ms"]
    assert run.finish() == 0, run.output


def test_the_finished_steps_of_a_migration_that_is_not_atomic_are_not_repeated(
    v1: Database, deploy: Callable[..., Deploy]
) -> None:
    assert v1.manage("migrate", "third_party", "0003", ACCEPTED, **THIRD_PARTY).returncode == 0
    with open_transaction(v1, READ):
        run = deploy(v1, "third_party", "0004", ACCEPTED, **THIRD_PARTY)
        run.wait_for("waiting, ")
        assert v1.fetch("SELECT count(*) FROM pg_attribute WHERE attname = 'once'") == [(1,)]
    assert run.finish() == 0, run.output
    assert v1.fetch("SELECT count(*) FROM pg_attribute WHERE attname = 'once'") == [(2,)]
