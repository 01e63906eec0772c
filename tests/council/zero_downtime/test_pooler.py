"""Migrations and the application with a real PgBouncer, in its three modes."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from itertools import cycle, repeat
from types import SimpleNamespace

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from council.zero_downtime import pooler
from tests.databases import ROOT, Database
from tests.pgbouncer import PROGRAM, pgbouncer

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="PgBouncer is not installed")


@contextmanager
def load(
    url: str, clients: int = 3, *, setting: str = "", statement: str = "SELECT pg_sleep(0.001)"
) -> Iterator[None]:
    """Keep a pool busy with queries of other clients."""
    ended = threading.Event()

    def query() -> None:
        with psycopg.connect(url, autocommit=True, prepare_threshold=None) as session:
            if setting:
                session.execute(setting.encode())
            while not ended.is_set():
                session.execute(statement.encode())

    threads = [threading.Thread(target=query) for _ in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        ended.set()
        for thread in threads:
            thread.join()


@contextmanager
def client(url: str) -> Iterator[psycopg.Connection]:
    """A session that has been served once. It ends at once, even during a query."""
    session = psycopg.connect(url, autocommit=True, prepare_threshold=None)
    try:
        session.execute("SELECT 1")
        yield session
    finally:
        session.close()


def check(session: psycopg.Connection, url: str) -> None:
    pooler.refuse_transaction_pooler(session, conninfo_to_dict(url), variable="DIRECT_URL")


def assert_refused(database: Database, url: str, **environment: str) -> str:
    result = database.manage("migrate", check=False, **{"DATABASE_URL": url, **environment})
    assert result.returncode == 1
    assert "connects to a transaction pooler (127.0.0.1, port " in result.stderr
    assert "Set DIRECT_URL to a direct or session-pooled connection" in result.stderr
    assert "Traceback" not in result.stderr
    assert database.fetch("SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace") == []
    return result.stderr


@pytest.mark.parametrize("size", [1, 2])
def test_a_transaction_pooler_is_refused_before_anything_is_written(database: Database, size: int) -> None:
    with pgbouncer(database, mode="transaction", size=size) as url:
        words = assert_refused(database, url)

    assert words.startswith("TransactionPooler: DATABASE_URL connects to")
    assert "server process" in words


def test_statement_pooling_is_refused_too(database: Database) -> None:
    with pgbouncer(database, mode="statement") as url:
        assert_refused(database, url)


def test_a_transaction_pooler_is_recognised_in_a_busy_pool(database: Database) -> None:
    with pgbouncer(database, mode="transaction", size=3) as url, load(url):
        assert_refused(database, url)


@pytest.mark.parametrize("settings", [{}, {"server_round_robin": 1}], ids=["last first", "round robin"])
@pytest.mark.parametrize("statement", [None, "SELECT pg_sleep(0.001)", "SELECT pg_sleep(0.1)"])
@pytest.mark.parametrize("size", [1, 2, 5])
def test_a_transaction_pooler_is_recognised_for_any_order_of_its_processes(
    database: Database, size: int, statement: str | None, settings: dict[str, int]
) -> None:
    with pgbouncer(database, mode="transaction", size=size, **settings) as url:
        with load(url, size):  # this makes several server processes
            pass
        busy = load(url, size + 2, statement=statement) if statement else nullcontext()
        with busy, client(url) as session, pytest.raises(pooler.TransactionPooler, match="server process"):
            check(session, url)


class Served:
    """A client of a simulated pooler. The next of its server processes answers each query."""

    def __init__(self, processes: Iterator[int]) -> None:
        self.processes = processes
        self.info = SimpleNamespace(backend_pid=0)  # a pooler reports its own process ids
        self.closed = False

    def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize("number", [2, 3, 5])
def test_server_processes_that_alternate_are_not_session_pooling(
    number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It must be recognised even if two clients that take turns would always get the same process."""
    turn = cycle(range(1, number + 1))
    monkeypatch.setattr(pooler, "_backend", lambda client, **_: next(client.processes))
    monkeypatch.setattr(pooler, "_connect", lambda _: Served(turn))
    with pytest.raises(pooler.TransactionPooler, match="server process"):
        pooler.refuse_transaction_pooler(Served(turn), {}, variable="DIRECT_URL")  # type: ignore[arg-type]


def test_clients_that_keep_their_server_processes_are_session_pooling(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pooler, "_backend", lambda client, **_: next(client.processes))
    monkeypatch.setattr(pooler, "_connect", lambda _: Served(repeat(2)))
    pooler.refuse_transaction_pooler(Served(repeat(1)), {}, variable="DIRECT_URL")  # type: ignore[arg-type]


def test_a_transaction_pooler_is_recognised_if_all_its_processes_are_busy(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pooler, "ANSWER_SECONDS", 0.5)
    connect = pooler._connect

    with (
        pgbouncer(database, mode="transaction", size=1) as url,
        client(url) as gateway,
        client(url) as session,
    ):

        def connect_after_the_gateway(params: dict[str, object]) -> psycopg.Connection:
            gateway.execute("BEGIN")
            return connect({**params, "connect_timeout": 2})

        monkeypatch.setattr(pooler, "_connect", connect_after_the_gateway)
        with pytest.raises(pooler.TransactionPooler, match="had to wait for another one"):
            check(session, url)


def test_a_pooler_that_refuses_a_second_client_is_refused(database: Database) -> None:
    with pgbouncer(database, mode="transaction", max_client_conn=1) as url:
        result = database.manage("migrate", check=False, DATABASE_URL=url)

    assert result.returncode == 1
    assert "DATABASE_URL connects to a pooler (127.0.0.1, port " in result.stderr
    assert "no more connections allowed" in result.stderr
    assert "Set DIRECT_URL to a direct connection" in result.stderr
    assert "Traceback" not in result.stderr
    assert database.fetch("SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace") == []


def test_fake_is_refused_through_a_transaction_pooler(database: Database) -> None:
    """`--fake` creates django_migrations if it is missing."""
    with pgbouncer(database, mode="transaction") as url:
        result = database.manage("migrate", "--fake", check=False, DATABASE_URL=url)

    assert "connects to a transaction pooler" in result.stderr
    assert database.fetch("SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace") == []


@pytest.mark.parametrize("others", [0, 1, 2])
def test_session_pooling_is_recognised_despite_other_sessions(database: Database, others: int) -> None:
    with pgbouncer(database, mode="session", size=3) as url, ExitStack() as held:
        for _ in range(others):
            held.enter_context(client(url))
        with client(url) as session:
            check(session, url)
            assert session.execute("SELECT 1").fetchone() == (1,)


def test_a_direct_connection_is_recognised(database: Database) -> None:
    with client(database.url) as session:
        check(session, "host=/nowhere")  # no second session is opened


def test_the_variable_in_use_is_named(database: Database) -> None:
    with pgbouncer(database, mode="transaction") as url:
        assert "DIRECT_URL connects to" in assert_refused(database, database.url, DIRECT_URL=url)


@pytest.mark.parametrize("size", [1, 5])
def test_migrate_works_with_session_pooling(database: Database, size: int) -> None:
    """A single server process leaves none for the observer, so migrate uses fixed pauses."""
    with pgbouncer(database, mode="session", size=size) as url:
        result = database.manage("migrate", "council", DATABASE_URL=url)

    assert "Applied council.0006_member_points_index" in result.stdout
    assert ("No second session to watch for blocking ones" in result.stdout) is (size == 1)


def test_migrate_uses_a_direct_url_despite_a_transaction_pooler(database: Database) -> None:
    with pgbouncer(database, mode="transaction") as url:
        pooled = f"{url}?pgbouncer=true&connection_limit=1"
        result = database.manage("migrate", "council", DATABASE_URL=pooled, DIRECT_URL=database.url)

    assert "Applied council.0006_member_points_index" in result.stdout


def test_commands_that_only_read_work_through_a_transaction_pooler(migrated: Database) -> None:
    with pgbouncer(migrated, mode="transaction") as url:
        assert migrated.manage("migrate", "--plan", DATABASE_URL=url).returncode == 0
        assert migrated.manage("migrate", "--check", DATABASE_URL=url).returncode == 0


APPLICATION = """
import threading, uuid
import django
django.setup()
from datetime import UTC, datetime, timedelta
from django.db import connection, transaction
from council.accounts.models import Account
from council.models import Member, Team
from gamification import ledger

errors = []
sam = Account.objects.create_superuser("sam", "sam")
evening = datetime(2026, 3, 1, 23, 30, tzinfo=UTC)
Team.objects.create(name="Acme", stripe_customer_id="cus", payment_failed_at=evening)

def use(worker):
    try:
        Member.objects.bulk_create(Member(id=f"w{worker}-{n}", first_name=str(n)) for n in range(300))
        for turn in range(10):
            mine = Member.objects.filter(pk__startswith=f"w{worker}-")
            assert sum(1 for _ in mine.iterator(chunk_size=50)) == 300
            with transaction.atomic():
                one = mine.select_for_update().order_by("pk")[turn]
                try:
                    with transaction.atomic():
                        Member.objects.filter(pk=one.pk).update(company="undone")
                        raise ValueError
                except ValueError:
                    pass
                assert Member.objects.get(pk=one.pk).company is None
            ledger.adjust(members=[one], points=5, reason="Behind a pooler", performed_by=sam,
                          form_key=uuid.uuid4())
            assert Member.objects.get(pk=one.pk).total_points == 5
            assert Team.objects.filter(payment_failed_at__date="2026-03-01", payment_failed_at__hour=23).exists()
            assert Team.objects.get().payment_failed_at == evening
            assert abs(datetime.now(UTC) - Team.objects.get().created_at) < timedelta(minutes=5)
    except Exception as error:
        errors.append(error)
    finally:
        connection.close()

threads = [threading.Thread(target=use, args=[worker]) for worker in range(4)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
if errors:
    raise errors[0]
"""


@pytest.mark.parametrize(("zone", "size"), [("UTC", 2), ("America/New_York", 1)])
def test_the_application_works_through_a_transaction_pooler(migrated: Database, zone: str, size: int) -> None:
    """It needs no server-side cursor, prepared statement or session setting, not even the session's time zone."""
    others = "SET TimeZone TO 'Asia/Tokyo'"
    migrated.execute(f"ALTER DATABASE \"{migrated.name}\" SET timezone TO '{zone}'")
    with pgbouncer(migrated, mode="transaction", size=size) as url, load(url, clients=2, setting=others):
        result = subprocess.run(
            [sys.executable, "-c", APPLICATION],
            cwd=ROOT,
            env=migrated.environment(
                DATABASE_URL=f"{url}?pgbouncer=true",
                DIRECT_URL=migrated.url,
                DJANGO_SETTINGS_MODULE="council.settings",
            ),
            capture_output=True,
            text=True,
            check=False,
        )
        with client(url) as session:
            left = session.execute(
                "SELECT name FROM pg_prepared_statements UNION SELECT name FROM pg_cursors"
            )
            assert left.fetchall() == []

    assert result.returncode == 0, result.stderr
