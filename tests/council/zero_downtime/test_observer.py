"""The second session: what it costs when it does not answer, or is gone."""

import os
import socket
import sys
from collections.abc import Callable

import pytest
from django.db import connections

from council.zero_downtime import blockers
from tests.council.zero_downtime.test_deploy import READ, Deploy, deploy, open_transaction, v1
from tests.databases import SCRATCH, Database
from tests.proxy import proxy

__all__ = ["deploy", "v1"]

OBSERVER = "council migrate observer"


def test_an_observer_without_an_answer_holds_up_no_migration(
    v1: Database, deploy: Callable[..., Deploy]
) -> None:
    assert v1.manage("migrate", "council", "0001").returncode == 0
    with proxy(v1) as network:
        with open_transaction(v1, READ):
            run = deploy(v1, "council", "0005", DATABASE_URL=network.url)
            run.wait_for("waiting, ")
            network.silent_to = OBSERVER.encode()
        assert run.finish(seconds=60) == 0, run.output

    assert "The second session, which watches who blocks, does not answer" in run.output
    assert "Applied council.0005_member_points" in run.output


def test_an_observer_without_an_answer_holds_up_no_end(v1: Database, deploy: Callable[..., Deploy]) -> None:
    """While an index is built, the observer's thread alone asks."""
    assert v1.manage("migrate", "council", "0005").returncode == 0
    with proxy(v1) as network:
        with open_transaction(v1, """UPDATE "Member" SET company = 'x' WHERE id = 'm1'"""):
            run = deploy(v1, "council", "0006", DATABASE_URL=network.url)
            run.wait_for("waiting, ")
            network.silent_to = OBSERVER.encode()
        assert run.finish(seconds=60) == 0, run.output

    assert "Applied council.0006_member_points_index" in run.output


def test_an_observer_that_was_terminated_stops_nothing(v1: Database, deploy: Callable[..., Deploy]) -> None:
    assert v1.manage("migrate", "council", "0001").returncode == 0
    with open_transaction(v1, READ):
        run = deploy(v1, "council", "0005")
        run.wait_for("waiting, ")
        v1.execute(
            f"""SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity
                 WHERE datname = current_database() AND application_name = '{OBSERVER}'"""
        )
    assert run.finish() == 0, run.output


def test_who_is_not_waiting_is_blocked_by_nobody(v1: Database) -> None:
    with v1.connect() as session, v1.connect() as observer, open_transaction(v1, READ):
        session.execute("SELECT 1")

        assert blockers.blocking(observer, session.info.backend_pid) == frozenset()


@pytest.mark.skipif(sys.platform != "linux", reason="the option has another name elsewhere")
def test_a_connection_is_kept_alive_through_long_silence(v1: Database) -> None:
    with proxy(v1) as network, v1.as_django_connection():
        host, _, port = network.url.partition("@")[2].partition("/")[0].partition(":")
        connections.databases[SCRATCH] |= {
            "HOST": host,
            "PORT": port,
            "EMBEDDED_SERVER": None,
            "USER": "postgres",
        }
        connections[SCRATCH].ensure_connection()
        with socket.socket(fileno=os.dup(connections[SCRATCH].connection.fileno())) as line:
            assert line.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            assert line.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 30
