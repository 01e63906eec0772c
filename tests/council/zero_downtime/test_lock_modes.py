"""The table of lock modes, compared with PostgreSQL for each pair."""

import psycopg
import pytest
from psycopg import errors

from council.zero_downtime import blockers
from council.zero_downtime.lock_modes import (
    ACCESS_SHARE,
    BY_NAME,
    CONFLICTS,
    MODES,
    ROW_EXCLUSIVE,
    ROW_SHARE,
    Lock,
)
from tests.databases import Database

pytestmark = pytest.mark.django_db

HELD = """SELECT mode FROM pg_locks WHERE pid = pg_backend_pid() AND relation = '"T"'::regclass"""
STATEMENTS = {
    ACCESS_SHARE: 'SELECT FROM "T"',
    ROW_SHARE: 'SELECT FROM "T" FOR UPDATE',
    ROW_EXCLUSIVE: 'INSERT INTO "T" VALUES (1)',
}


def is_refused(session: psycopg.Connection, mode: str) -> bool:
    try:
        session.execute(f'BEGIN; LOCK TABLE "T" IN {mode} MODE NOWAIT')
    except errors.LockNotAvailable:
        return True
    finally:
        session.execute("ROLLBACK")
    return False


def test_each_pair_of_modes_conflicts_like_in_postgresql(database: Database) -> None:
    database.execute('CREATE TABLE "T" (n int)')
    conflicts, in_the_way = {}, {}
    with database.connect() as holder, database.connect() as other:
        pid = other.info.backend_pid
        for mode in MODES:
            holder.execute(f'BEGIN; LOCK TABLE "T" IN {mode} MODE')
            [(name,)] = holder.execute(HELD).fetchall()
            assert BY_NAME[name] == mode
            conflicts[mode] = [wanted for wanted in MODES if is_refused(other, wanted)]
            in_the_way[mode] = [
                wanted for wanted in MODES if blockers.holding(other, [('"T"', wanted)], pid=pid)
            ]
            holder.execute("ROLLBACK")
    assert conflicts == {mode: list(found) for mode, found in CONFLICTS.items()}
    assert in_the_way == conflicts


def test_reads_and_writes_take_these_modes(database: Database) -> None:
    database.execute('CREATE TABLE "T" (n int)')
    with database.connect() as session:
        for mode, statement in STATEMENTS.items():
            session.execute("BEGIN")
            session.execute(statement.encode())
            assert [BY_NAME[name] for (name,) in session.execute(HELD).fetchall()] == [mode]
            session.execute("ROLLBACK")


def test_each_mode_names_what_waits_for_it() -> None:
    waits = [Lock("T", mode).blocks for mode in MODES]
    assert waits == [
        *["DDL that needs the whole table"] * 3,
        "other DDL",
        *["writes and DDL"] * 3,
        "reads, writes and DDL",
    ]
    assert [Lock("T", mode).is_felt for mode in MODES] == [False] * 4 + [True] * 4
