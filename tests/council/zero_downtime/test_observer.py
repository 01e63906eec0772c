"""The observer's session, if it does not answer or was terminated."""

import os
import socket
import sys
from collections.abc import Callable

import pytest
from django.db import connections

from council.zero_downtime import blockers
from tests.council.zero_downtime.test_deploy import (
    READ,
    Deploy,
    adopted,
    deploy,
    open_transaction,
    v1,
    with_points,
)
from tests.databases import SCRATCH, Database
from tests.proxy import proxy

__all__ = ["adopted", "deploy", "v1", "with_points"]

OBSERVER = "council migrate observer"


def test_an_observer_that_does_not_answer_does_not_delay_a_migration(
    adopted: Database, deploy: Callable[..., Deploy]
) -> None:
    with proxy(adopted) as network:
        with open_transaction(adopted, READ):
            run = deploy(adopted, "council", "0005", DATABASE_URL=network.url)
            run.wait_for("waiting, ")
            network.silent_to = OBSERVER.encode()
        assert run.finish(seconds=60) == 0, run.output

    assert "The session that watches for blocking ones does not answer" in run.output
    assert "Applied council.0005_member_points" in run.output


def test_an_observer_that_does_not_answer_does_not_delay_the_end(
    with_points: Database, deploy: Callable[..., Deploy]
) -> None:
    """While an index is built, only the observer's thread sends queries."""
    with proxy(with_points) as network:
        with open_transaction(with_points, """UPDATE "Member" SET company = 'x' WHERE id = 'm1'"""):
            run = deploy(with_points, "council", "0006", DATABASE_URL=network.url)
            run.wait_for("waiting, ")
            network.silent_to = OBSERVER.encode()
        assert run.finish(seconds=60) == 0, run.output

    assert "Applied council.0006_member_points_index" in run.output


def test_a_terminated_observer_does_not_stop_migrate(
    adopted: Database, deploy: Callable[..., Deploy]
) -> None:
    with open_transaction(adopted, READ):
        run = deploy(adopted, "council", "0005")
        run.wait_for("waiting, ")
        adopted.execute(
            f"""SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity
                 WHERE datname = current_database() AND application_name = '{OBSERVER}'"""
        )
    assert run.finish() == 0, run.output


def test_a_session_that_does_not_wait_has_no_blockers(v1: Database) -> None:
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
