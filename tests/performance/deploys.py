"""The ways to migrate a v1 database to v2 that are compared."""

import time
from collections.abc import Callable

import psycopg

from council.rehearsal import migrate_process
from tests.performance import stock_project
from tests.performance.runs import Run


def ours(url: str, run: Run) -> None:
    """`manage.py migrate`."""
    with migrate_process.migrate(url) as running:
        run.steps += [
            (event.moment, event.migration)
            for event in running.events()
            if event.kind == migrate_process.ENDED
        ]
    run.status = running.status or 0


TABLES = {
    "PointTransaction": 'action text NOT NULL, points integer NOT NULL, metadata jsonb, "createdAt" timestamp(3)',
    "DiscordActivity": '"discordId" text NOT NULL, "xpDelta" integer, "syncedAt" timestamp(3)',
    "ResourceDownload": '"resourceId" text NOT NULL, "downloadedAt" timestamp(3)',
    "BenchmarkSubmission": "category text NOT NULL, data jsonb NOT NULL",
}
INDEXES = [
    ("Member", '"totalPoints" DESC'),
    ("PointTransaction", "action"),
    ("PointTransaction", '"createdAt"'),
    ("PointTransaction", '"memberId"'),
    ("DiscordActivity", '"memberId"'),
    ("ResourceDownload", '"memberId"'),
    ("BenchmarkSubmission", '"memberId"'),
]
COLUMNS = """ALTER TABLE "Member" ADD "currentStreak" integer NOT NULL DEFAULT 0, ADD "lastActiveAt" timestamp(3),
             ADD "totalPoints" integer NOT NULL DEFAULT 0"""
KEY = 'FOREIGN KEY ("memberId") REFERENCES "Member" (id) ON DELETE CASCADE ON UPDATE CASCADE'


def _execute(url: str, run: Run, statements: list[str]) -> None:
    with psycopg.connect(url, autocommit=True) as session:
        for statement in statements:
            session.execute(statement.encode())
            run.steps.append((time.monotonic(), " ".join(statement.split())[:60]))


def plain(url: str, run: Run) -> None:
    """Add inline keys and plain indexes, in one transaction."""
    tables = [
        f'CREATE TABLE "{name}" (id text PRIMARY KEY, "memberId" text NOT NULL, {columns}, {KEY})'
        for name, columns in TABLES.items()
    ]
    indexes = [f'CREATE INDEX ON "{table}" ({columns})' for table, columns in INDEXES]
    _execute(url, run, ["BEGIN", COLUMNS, *tables, *indexes, "COMMIT"])


def without_timeout(url: str, run: Run) -> None:
    """Add NOT VALID keys and concurrent indexes, each statement in its own transaction, without a lock timeout."""
    tables = [
        f'CREATE TABLE "{name}" (id text PRIMARY KEY, "memberId" text NOT NULL, {columns})'
        for name, columns in TABLES.items()
    ]
    keys = [f'ALTER TABLE "{name}" ADD CONSTRAINT "{name}_member" {KEY} NOT VALID' for name in TABLES]
    validations = [f'ALTER TABLE "{name}" VALIDATE CONSTRAINT "{name}_member"' for name in TABLES]
    indexes = [f'CREATE INDEX CONCURRENTLY ON "{table}" ({columns})' for table, columns in INDEXES]
    _execute(url, run, [COLUMNS, *tables, *keys, *validations, *indexes])


CONTESTANTS: dict[str, Callable[[str, Run], None]] = {
    "ours": ours,
    "plain SQL": plain,
    "concurrent, no timeout": without_timeout,
    "stock Django": stock_project.stock_django,
}
# Measured only if they are installed, because the project does not require them.
PEERS = {
    "django_zero_downtime_migrations": (
        "pg-zero-downtime-migrations",
        stock_project.zero_downtime_migrations,
    ),
    "django_pg_migration_tools": ("pg-migration-tools", stock_project.migration_tools),
}
CONTESTANTS |= dict(peer for package, peer in PEERS.items() if stock_project.is_installed(package))
