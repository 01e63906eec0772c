"""The backup and restore commands of docs/operating.md, run on a database with rows."""

import os
import re
import subprocess
from io import StringIO
from pathlib import Path

from django.core.management import call_command

from council.rehearsal import tools
from tests.databases import ROOT, Database

# The triggers compute figures from these rows, which a restore must neither lose nor add again.
ROWS = """
INSERT INTO "Team" (id, name, "stripeCustomerId", "updatedAt") VALUES ('t', 'Acme', 'cus_t', now());
INSERT INTO "Member" (id, email, "teamId", "subscriptionStatus", "introCompleted", "createdAt", "updatedAt")
SELECT 'm' || n, 'm' || n || '@example.com', 't', 'ACTIVE', n % 2 = 0, now() - interval '1 year', now()
  FROM generate_series(1, 50) AS n;
INSERT INTO "PointTransaction" (id, "memberId", action, points, "createdAt")
SELECT 'p' || n, 'm' || 1 + n % 50, 'discord_activity', 1 + n % 7, now() - n * interval '7 hours'
  FROM generate_series(1, 500) AS n;
INSERT INTO "PointTransaction" (id, "memberId", action, points, "reversesId")
VALUES ('reversal', 'm3', 'admin_adjustment', -3, 'p2');
INSERT INTO "Resource" (id, title, description, category, type, "fileUrl", "updatedAt")
VALUES ('r', 'Guide', 'Words', 'OPERATIONS', 'SOP', '/library/r/', now());
INSERT INTO "ResourceDownload" (id, "memberId", "resourceId")
SELECT 'd' || n, 'm' || n, 'r' FROM generate_series(1, 9) AS n;
INSERT INTO "BenchmarkSubmission" (id, "memberId", category, data, "updatedAt")
VALUES ('s', 'm1', 'OPERATIONAL', '{"version": 1, "domains_per_client": 6}', now());
UPDATE "BenchmarkSubmission" SET data = '{"version": 1, "domains_per_client": 7}', "updatedAt" = now();
INSERT INTO "BenchmarkRelease" (id, month, "cutOff")
SELECT 'b', month - interval '1 month', month FROM date_trunc('month', now() AT TIME ZONE 'UTC') AS month;
"""
TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1"


def commands() -> list[str]:
    section = (ROOT / "docs/operating.md").read_text().partition("\n## Backup and restore\n")[2]
    return re.findall(r"```sh\n(.*?)```", section.partition("\n## ")[0], re.DOTALL)[:2]


def rows(database: Database) -> dict[str, object]:
    """Return one hash for each table's rows, in any order."""
    tables = [str(table) for (table,) in database.fetch(TABLES)]
    query = 'SELECT count(*), sum(hashtextextended(each::text, 0)::numeric) FROM "{}" AS each'
    return {table: database.fetch(query.format(table)) for table in tables}


def test_a_backup_is_restored_completely_and_nothing_is_counted_twice(
    migrated: Database, database: Database, tmp_path: Path
) -> None:
    migrated.execute(ROWS)
    assert migrated.fetch("""SELECT "totalPoints" > 25 FROM "Member" WHERE id = 'm2'""") == [(True,)]
    programs = tools.binaries("pg_dump", "pg_restore", "psql")

    for script in commands():
        subprocess.run(
            ["/bin/bash", "-euc", script],
            cwd=tmp_path,
            env={
                **os.environ,
                "PATH": f"{programs}:{os.environ['PATH']}",
                "DIRECT_URL": migrated.url,
                "NEW_URL": database.url,
            },
            check=True,
            capture_output=True,
        )

    assert rows(database) == rows(migrated)
    said = StringIO()
    with database.as_default_connection():
        call_command("verify_schema", "--full", stdout=said)  # the process fails if a check does
        call_command("reconcile_points", stdout=said)
    assert "Every member's figures match the ledger." in said.getvalue()
