"""`/healthz` and `/readyz`, requested like a load balancer: without a host name, TLS or an account."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import DatabaseError, connection
from django.test import Client

from council import health
from council.jobs.lease import database_clock
from council.models import JobRun, Member
from tests.databases import Database
from tests.factories import MemberFactory


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget results of other tests, and allow for a busy machine."""
    monkeypatch.setattr(health, "STATEMENT_TIMEOUT", "60s")
    monkeypatch.setattr(health, "LOOK_SECONDS", -1.0)
    monkeypatch.setattr(health, "_is_migrated", False)
    for probe in health.PROBES.values():
        monkeypatch.setattr(probe, "kept_seconds", -1.0)


@pytest.fixture
def production(settings: Any) -> Client:
    settings.DEBUG = False
    settings.ALLOWED_HOSTS = ["council.example"]
    settings.SECURE_SSL_REDIRECT = True
    return Client(headers={"host": "10.0.0.7"})


def test_healthz_does_not_ask_the_database(production: Client) -> None:
    response = production.get("/healthz")
    assert (response.status_code, response.content) == (200, b"ok\n")
    assert response["Cache-Control"] == "no-store"


def test_other_addresses_are_still_checked(production: Client) -> None:
    assert production.get("/healthz/").status_code != 200
    assert production.get("/sign-in/").status_code in {301, 400}


def test_a_site_that_can_serve_is_ready(production: Client, db: None) -> None:
    MemberFactory.create()
    response = production.get("/readyz")
    assert response.status_code == 200
    assert response.json() == {
        "status": "ok",
        "database": "ok",
        "migrations": "ok",
        "jobs": "ok",
        "ledger": "ok",
    }


def test_an_overdue_job_makes_the_site_degraded_but_ready(production: Client, db: None) -> None:
    long_ago = database_clock() - timedelta(days=3)
    JobRun.objects.create(
        job="housekeeping",
        started_at=long_ago,
        lease_until=long_ago,
        ended_at=long_ago,
        outcome="DONE",
        counts={},
        notes=[],
        host="web1",
    )
    response = production.get("/readyz")
    assert (response.status_code, response.json()["status"], response.json()["jobs"]) == (
        200,
        "degraded",
        "overdue",
    )
    assert "housekeeping" not in response.content.decode()


def test_figures_that_differ_from_the_ledger_make_the_site_degraded(production: Client, db: None) -> None:
    member = MemberFactory.create()
    Member.objects.filter(pk=member.pk).update(total_points=7)
    with connection.cursor() as cursor:
        cursor.execute('ANALYZE "Member"')  # the sample depends on this estimate
    response = production.get("/readyz")
    assert (response.status_code, response.json()["ledger"]) == (200, "differs")
    assert member.pk not in response.content.decode()


def test_without_a_database_the_site_is_not_ready_and_no_details_are_shown(
    production: Client, monkeypatch: pytest.MonkeyPatch, db: None
) -> None:
    def away(*args: Any) -> None:
        raise DatabaseError("connection to 10.1.2.3 failed: secret")

    monkeypatch.setattr(health.PROBES["database"], "look", away)
    response = production.get("/readyz")
    assert response.status_code == 503
    assert response.json() == {"status": "unavailable", "database": "unavailable"}


def test_with_a_slow_database_the_site_is_not_ready(
    production: Client, monkeypatch: pytest.MonkeyPatch, db: None
) -> None:
    def slow() -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_sleep(60)")

    monkeypatch.setattr(health, "STATEMENT_TIMEOUT", "20ms")
    monkeypatch.setattr(health, "PROBES", {"database": health.Probe(slow, True, -1.0)})
    response = production.get("/readyz")
    assert (response.status_code, response.json()["database"]) == (503, "unavailable")


def test_with_pending_migrations_the_site_is_not_ready(database: Database) -> None:
    with database.as_default_connection():
        words, status = health.look()
    assert (status, words) == (503, {"status": "unavailable", "database": "ok", "migrations": "pending"})


def test_results_are_cached_so_that_frequent_requests_cost_little(
    production: Client, monkeypatch: pytest.MonkeyPatch, db: None, django_assert_num_queries: Any
) -> None:
    monkeypatch.setattr(health, "LOOK_SECONDS", 60.0)
    production.get("/readyz")
    with django_assert_num_queries(0):
        production.get("/readyz")


def test_only_the_two_addresses_are_answered(production: Client) -> None:
    assert production.post("/readyz").status_code == 405
    assert production.head("/healthz").status_code == 200
