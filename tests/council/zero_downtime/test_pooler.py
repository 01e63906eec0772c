"""Migrations and the application behind a real PgBouncer, in its three modes."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest

from tests.databases import ROOT, Database
from tests.pgbouncer import PROGRAM, pgbouncer

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="PgBouncer is not installed")


@contextmanager
def load(url: str, clients: int = 3) -> Iterator[None]:
    """Keep a pool busy with short queries of other clients."""
    ended = threading.Event()

    def query() -> None:
        with psycopg.connect(url, autocommit=True, prepare_threshold=None) as session:
            while not ended.is_set():
                session.execute("SELECT pg_sleep(0.001)")

    threads = [threading.Thread(target=query) for _ in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        ended.set()
        for thread in threads:
            thread.join()


def assert_refused(database: Database, url: str, **environment: str) -> str:
    result = database.manage("migrate", check=False, **{"DATABASE_URL": url, **environment})
    assert result.returncode == 1
    assert "leads to a transaction pooler (127.0.0.1, port " in result.stderr
    assert "Set DIRECT_URL to a direct or session-pooled connection" in result.stderr
    assert "Traceback" not in result.stderr
    assert database.fetch("SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace") == []
    return result.stderr


@pytest.mark.parametrize("size", [1, 2])
def test_a_pooler_that_shares_sessions_out_is_refused_before_anything_is_written(
    database: Database, size: int
) -> None:
    with pgbouncer(database, mode="transaction", size=size) as url:
        words = assert_refused(database, url)

    assert words.startswith("TransactionPooler: DATABASE_URL leads to")
    assert "server process" in words


def test_statement_pooling_is_refused_too(database: Database) -> None:
    with pgbouncer(database, mode="statement") as url:
        result = database.manage("migrate", check=False, DATABASE_URL=url)

    assert result.returncode == 1
    assert "transaction blocks not allowed in statement pooling mode" in result.stderr
    assert "Set DIRECT_URL to a direct or session-pooled connection." in result.stderr


def test_it_is_recognised_in_a_busy_pool_too(database: Database) -> None:
    with pgbouncer(database, mode="transaction", size=3) as url, load(url):
        assert_refused(database, url)


def test_the_variable_in_use_is_named(database: Database) -> None:
    with pgbouncer(database, mode="transaction") as url:
        assert "DIRECT_URL leads to" in assert_refused(database, database.url, DIRECT_URL=url)


@pytest.mark.parametrize("size", [1, 5])
def test_session_pooling_passes(database: Database, size: int) -> None:
    """With a single server process there is none for who watches; it goes by the clock then."""
    with pgbouncer(database, mode="session", size=size) as url:
        result = database.manage("migrate", DATABASE_URL=url)

    assert "Applied sessions.0001_initial" in result.stdout
    assert ("No second session to watch who blocks" in result.stdout) is (size == 1)


def test_a_direct_url_serves_migrations_beside_a_transaction_pooler(database: Database) -> None:
    with pgbouncer(database, mode="transaction") as url:
        pooled = f"{url}?pgbouncer=true&connection_limit=1"
        result = database.manage("migrate", DATABASE_URL=pooled, DIRECT_URL=database.url)

    assert "Applied sessions.0001_initial" in result.stdout


def test_what_only_looks_may_go_through_a_transaction_pooler(migrated: Database) -> None:
    with pgbouncer(migrated, mode="transaction") as url:
        assert migrated.manage("migrate", "--plan", DATABASE_URL=url).returncode == 0
        assert migrated.manage("migrate", "--check", DATABASE_URL=url).returncode == 0


APPLICATION = """
import threading, uuid
import django
django.setup()
from datetime import UTC, datetime
from django.db import connection, transaction
from council.models import Account, Member, Team
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


@pytest.mark.parametrize("zone", ["UTC", "America/New_York"])
def test_the_application_works_through_a_transaction_pooler(migrated: Database, zone: str) -> None:
    """No server-side cursor, no prepared statement and no setting is missed, also not the time zone of the session."""
    migrated.execute(f"ALTER DATABASE \"{migrated.name}\" SET timezone TO '{zone}'")
    with pgbouncer(migrated, mode="transaction", size=2) as url, load(url, clients=2):
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

    assert result.returncode == 0, result.stderr
