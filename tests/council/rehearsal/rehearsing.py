"""Helpers for the tests of rehearsals: sources, targets, and the command."""

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.db.migrations.loader import MigrationLoader

from council.rehearsal import filling, tools
from tests import forked
from tests.databases import ROOT, Database

V1_SQL = (ROOT / "tests/schema/v1.sql").read_text()
ROWS = """
INSERT INTO "Team" (id, name, "stripeCustomerId", "updatedAt") VALUES ('t1', 'Acme', 'cus_t1', now());
INSERT INTO "Member" (id, email, "teamId", "subscriptionStatus", "updatedAt")
SELECT 'm' || n, 'm' || n || '@example.com', 't1', 'ACTIVE', now() FROM generate_series(1, 500) AS n;
"""
# Facts about a database beside the catalogue, which show whether somebody has written.
WRITTEN = """
SELECT (SELECT count(*) FROM "Member"), (SELECT max("updatedAt") FROM "Member"), (SELECT count(*) FROM "AuditLog"),
       (SELECT count(*) FROM "StripeEvent"), (SELECT count(*) FROM pg_class)
"""
THINGS = "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace"
# The least load that shows something.
QUICK = ("--before", "300ms", "--long-transaction", "0", "--rate", "100", "--clients", "2")
# Too long even for a slow machine.
PATIENT = ("--max-wait", "60s")


def environment(**more: str) -> dict[str, str]:
    """The environment of an operator without a database."""
    kept = {name: value for name, value in os.environ.items() if name not in {"DATABASE_URL", "DIRECT_URL"}}
    return {**kept, **more}


def rehearse(*arguments: str | Path, **more: str) -> subprocess.CompletedProcess[str]:
    result = forked.manage(("rehearse", *map(str, arguments)), environment(**more))
    assert "Traceback" not in result.stderr, result.stderr
    return result


def figures(*arguments: str | Path, status: int = 0, **more: str) -> dict[str, Any]:
    """Rehearse with a small load, and return the JSON."""
    result = rehearse(*arguments, *QUICK, "--format", "json", **more)
    assert result.returncode == status, result.stdout + result.stderr
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def newest_two() -> tuple[str, str]:
    """Return the newest migration of an app that no other app depends on, and the one before it."""
    graph = MigrationLoader(None).graph
    [(app, newest)] = graph.leaf_nodes("resources")
    [before] = [parent.key[1] for parent in graph.node_map[app, newest].parents if parent.key[0] == app]
    return newest, before


def fill(database: Database, members: int) -> list[float]:
    """Fill a database with made-up rows, and return the progress that was reported."""
    told: list[float] = []
    with database.connect() as session:
        filling.fill(session, members=members, advanced=told.append)
    return told


def dump(database: Database, file: Path, *arguments: str) -> Path:
    output = tools.run(
        tools.binaries("pg_dump") / "pg_dump", *arguments, f"--file={file}", f"--dbname={database.url}"
    )
    assert output.status == 0, output.errors
    return file


@contextmanager
def unchanged(database: Database) -> Iterator[None]:
    """Check that nobody writes to a database during a block."""
    catalog, written = database.catalog(), database.fetch(WRITTEN)
    yield
    assert (database.catalog(), database.fetch(WRITTEN)) == (catalog, written)


@contextmanager
def nothing_left(folder: Path) -> Iterator[None]:
    """Check that a block leaves nothing in a folder, and no process that uses it."""
    before = sorted(folder.iterdir())
    yield
    assert sorted(folder.iterdir()) == before
    assert processes(str(folder)) == []


def processes(words: str) -> list[str]:
    """List the command lines of this machine's processes that contain a text."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            line = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            where = (process / "cwd").readlink()
        except OSError:  # the process has ended
            continue
        if (words in line or words in str(where)) and int(process.name) != os.getpid():
            found.append(f"{process.name} {line} in {where}")
    return found
