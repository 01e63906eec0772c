"""Verification of correct databases and of every kind of damage, without writing anything."""

import json
import os
import pty
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from django.db import DatabaseError, connection, transaction

from council import verification
from council.verification import checks, leftover_checks, manifest
from council.verification.checks import Level, Result
from council.zero_downtime import migration_lock
from gamification import verification as points
from tests.council.damages import DAMAGES, HARMLESS
from tests.databases import ROOT, Database, Templates, fill_to
from tests.pgbouncer import PROGRAM, pgbouncer

V1_SQL = (Path(__file__).resolve().parent.parent / "schema" / "v1.sql").read_text()
ROWS = """
INSERT INTO "Team" (id, name, "stripeCustomerId", "updatedAt") VALUES ('t1', 'Acme', 'cus_t1', now());
INSERT INTO "Member" (id, email, "teamId", "subscriptionStatus", "updatedAt")
SELECT 'm' || n, 'm' || n || '@example.com', 't1', 'ACTIVE', now() FROM generate_series(1, 1000) AS n;
"""
POINTS = """
INSERT INTO "PointTransaction" (id, "memberId", action, points, "createdAt")
SELECT 'p' || n, 'm' || 1 + n % 1000, 'resource_download', 5, now() - n * interval '7 hours'
  FROM generate_series(1, 3000) AS n
"""
# Checks with their own tests, because their damage needs another session or server.
NOT_IN_A_TRANSACTION = {"prepared transactions", "migrate's lock", "writes", "server", "extensions"}


def results() -> dict[str, Result]:
    """Verify Django's test database within this transaction."""
    return {result.name: result for result in checks.run(verification.Database(connection))}


def found_by(check: str) -> list[verification.Finding]:
    return faults(checks.run_check(checks.registered()[check], verification.Database(connection)))


def faults(result: Result) -> list[verification.Finding]:
    return [finding for finding in result.findings if finding.level is not Level.OK]


@pytest.fixture
def adopted(database: Database, templates: Templates) -> Database:
    """The gateway's database with rows, migrated to the newest state."""
    database.become(templates.get("verified", fill_to(sql=V1_SQL + ROWS)))
    database.execute(POINTS)
    return database


@pytest.mark.django_db
def test_the_manifest_is_what_the_migrations_make() -> None:
    """This holds on every version of PostgreSQL on which the suite runs."""
    found = manifest.describe(connection)
    assert found ^ manifest.expected() == set(), "If a migration is new, run: manage.py write_manifest"


def test_the_manifest_has_the_facts_that_the_plan_of_version_2_verifies() -> None:
    """So these facts cannot get lost when it is written again."""
    named = {(fact.kind, fact.name): fact.definition for fact in manifest.expected()}
    for table in (
        "BenchmarkSubmission",
        "Resource",
        "ResourceDownload",
        "PointTransaction",
        "DiscordActivity",
    ):
        assert named["table", table] == "table"
        assert named["row security", table] == "on"
    assert named["column", "Member.totalPoints"] == "integer NOT NULL DEFAULT 0"
    assert named["column", "Member.currentStreak"] == "integer NOT NULL DEFAULT 0"
    assert named["column", "Member.lastActiveAt"] == "timestamp(3) without time zone"
    assert "USING gin" in named["index", "BenchmarkSubmission.BenchmarkSubmission_data_idx"]
    assert "AFTER INSERT" in named["trigger", "PointTransaction.trg_update_member_points"]
    assert named["trigger state", "PointTransaction.trg_update_member_points"] == "enabled"


def test_a_migrated_empty_database_has_no_findings(migrated: Database) -> None:
    result = migrated.manage("verify_schema", "--strict")

    assert re.search(r"^\d+ checks: \d+ ok, 0 warnings, 0 failed, in ", result.stdout, re.MULTILINE)
    assert "points trigger, tried    totals and streak follow" in result.stdout
    assert "FAILED" not in result.stdout
    assert "\x1b" not in result.stdout


def test_an_adopted_database_has_no_findings(adopted: Database, capsys: pytest.CaptureFixture[str]) -> None:
    result = adopted.manage("verify_schema", "--strict", "--full")

    assert "ledger figures           of 1,000 members, all" in result.stdout
    assert "0 warnings, 0 failed" in result.stdout
    with capsys.disabled():
        sys.stderr.write(f"\n  {result.stdout.splitlines()[-1]}\n")


@pytest.mark.django_db
def test_every_damage_is_found_by_its_check_and_cured_by_its_cure(capsys: pytest.CaptureFixture[str]) -> None:
    began = time.monotonic()
    assert {name: faults(result) for name, result in results().items() if faults(result)} == {}
    missed = {}
    for name, damage in DAMAGES.items():
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(damage.sql)
            found = found_by(damage.check)
            try:
                assert any(damage.words in finding.message for finding in found)
                assert all(finding.cure for finding in found)
                for finding in found if damage.is_curable else []:
                    with transaction.atomic():
                        cursor.execute(as_one_transaction(finding.cure))
                left = found_by(damage.check) if damage.is_curable else []
                assert {finding.level for finding in left}.isdisjoint(finding.level for finding in found)
            except (AssertionError, DatabaseError) as error:
                missed[name] = (found, error)
            transaction.set_rollback(True)
    cured = sum(damage.is_curable for damage in DAMAGES.values())
    with capsys.disabled():
        sys.stderr.write(
            f"\n  {len(DAMAGES) - len(missed)} of {len(DAMAGES)} damages caught, {cured} cured, "
            f"in {time.monotonic() - began:.1f} s\n"
        )
    assert missed == {}


@pytest.mark.django_db
def test_harmless_changes_are_not_reported() -> None:
    reported = {}
    for name, sql in HARMLESS.items():
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(sql)
            reported[name] = {check: faults(result) for check, result in results().items() if faults(result)}
            transaction.set_rollback(True)
    assert {name: found for name, found in reported.items() if found} == {}


@pytest.mark.django_db
def test_a_check_cannot_write() -> None:
    def look(database: verification.Database) -> list[verification.Finding]:
        database.rows(
            """INSERT INTO "AuditLog" (id, action, "entityType", "entityId") VALUES ('', '', '', '')"""
        )
        return []

    check = checks.Check("writes", look, own_transactions=False)
    [finding] = checks.run_check(check, verification.Database(connection)).findings

    assert finding.message == "could not be checked: cannot execute INSERT in a read-only transaction"


@pytest.mark.django_db
def test_the_queries_of_checks_are_not_compiled() -> None:
    database = verification.Database(connection)
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL jit = on")
    with database.transaction():
        assert database.rows("SELECT current_setting('jit')") == [("off",)]


def as_one_transaction(cure: str) -> str:
    """Remove from a cure the parts that work only outside of the test's transaction."""
    return re.sub(r"CONCURRENTLY |BEGIN; |COMMIT;", "", cure)


def test_every_check_has_a_damage_that_it_finds() -> None:
    assert {damage.check for damage in DAMAGES.values()} == set(checks.registered()) - NOT_IN_A_TRANSACTION


@pytest.mark.django_db
def test_the_cure_of_a_missing_table_creates_it() -> None:
    """The cure includes everything that belongs to the table, except its rows, which are in a backup."""
    for table in ("DiscordActivity", "PointTransaction", "LeaderboardCheckpoint"):
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(f'DROP TABLE "{table}"')
            [finding] = faults(results()["tables"])
            assert finding.cure.startswith(
                "-- Its rows can be restored only from a backup. This creates it empty:\nCREATE TABLE "
            )
            cursor.execute(finding.cure)
            assert {name: faults(result) for name, result in results().items() if faults(result)} == {}
            transaction.set_rollback(True)


@pytest.mark.django_db
def test_pending_migrations_are_the_cure_for_what_they_create() -> None:
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM django_migrations WHERE app = 'benchmarks' AND name = '0004_indexes'")
        cursor.execute('DROP INDEX "BenchmarkSubmission_data_idx"')

    found = results()

    assert [finding.cure for finding in faults(found["indexes"])] == ["manage.py migrate"]


def test_differences_that_the_baseline_refuses_have_sql_as_cure(database: Database) -> None:
    database.execute(V1_SQL)
    database.execute("""ALTER TABLE "Member" ALTER email SET NOT NULL; DROP INDEX "Member_email_key";""")
    refused = database.manage("migrate", check=False)
    assert "2 differences" in refused.stderr
    assert "manage.py verify_schema prints the SQL" in refused.stderr

    report = json.loads(database.manage("verify_schema", "--format", "json", check=False).stdout)

    cures = {
        finding["message"].partition(" ")[0]: finding["cure"]
        for check in report["checks"]
        for finding in check["findings"]
    }
    assert cures["Member.totalPoints"] == "manage.py migrate"
    database.execute(cures["Member.email"])
    database.execute(cures["Member.Member_email_key"])
    assert database.manage("migrate", "council", "0001").returncode == 0


def test_exit_statuses_and_cures_as_a_table(migrated: Database) -> None:
    migrated.execute('CREATE INDEX by_company ON "Member" (company)')
    lenient = migrated.manage("verify_schema", check=False)
    strict = migrated.manage("verify_schema", "--strict", check=False)
    assert (lenient.returncode, strict.returncode) == (0, 1)
    assert "  warning  indexes " in lenient.stdout
    assert "1 warning, 0 failed" in lenient.stdout

    migrated.execute('DROP TRIGGER trg_update_member_points ON "PointTransaction"')
    broken = migrated.manage("verify_schema", check=False)
    assert broken.returncode == 1
    assert broken.stderr == ""
    assert "  FAILED   triggers " in broken.stdout
    assert "  FAILED   points trigger, tried " in broken.stdout
    assert (
        "\nSET lock_timeout TO '100ms'; CREATE OR REPLACE TRIGGER trg_update_member_points" in broken.stdout
    )


def test_the_output_can_be_json(migrated: Database) -> None:
    migrated.execute('ALTER TABLE "Member" DROP COLUMN "monthPoints"')

    result = migrated.manage("verify_schema", "--format", "json", check=False)

    told = json.loads(result.stdout)
    assert result.returncode == 1
    assert (told["ok"], told["warnings"]) == (False, 0)
    [columns] = [check for check in told["checks"] if check["name"] == "columns"]
    assert columns["level"] == "failed"
    assert columns["findings"][0] == {
        "level": "failed",
        "message": "Member.monthPoints is missing: expected integer NOT NULL DEFAULT 0",
        "cure": "SET lock_timeout TO '100ms'; "
        'ALTER TABLE "Member" ADD COLUMN "monthPoints" integer NOT NULL DEFAULT 0;',
    }
    assert told["failed"] == sum(check["level"] == "failed" for check in told["checks"])


def test_colours_are_used_only_on_a_terminal(migrated: Database) -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "manage.py", "verify_schema"]
    environment = {**migrated.environment(), "TERM": "xterm"}
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=theirs, stderr=theirs)
    os.close(theirs)
    shown = b""
    try:
        while block := os.read(ours, 65536):
            shown += block
    except OSError:  # on Linux, this means that the other side is closed
        pass
    assert process.wait() == 0
    assert b"\x1b[32" in shown


VERSIONS = """
SELECT md5(string_agg(line, ',' ORDER BY line)) FROM (
  SELECT c.oid || c.xmin::text AS line FROM pg_class c
  UNION ALL SELECT oid || xmin::text FROM pg_proc UNION ALL SELECT oid || xmin::text FROM pg_trigger
  UNION ALL SELECT oid || xmin::text FROM pg_constraint UNION ALL SELECT indexrelid || xmin::text FROM pg_index
  UNION ALL SELECT attrelid || attname || xmin::text FROM pg_attribute UNION ALL SELECT oid || xmin::text FROM pg_type
  UNION ALL SELECT id || xmin::text || ctid::text FROM "Member"
  UNION ALL SELECT id || xmin::text || ctid::text FROM "PointTransaction"
  UNION ALL SELECT id || xmin::text || ctid::text FROM "Team") AS versions
"""


def test_nothing_is_changed(adopted: Database) -> None:
    """No row of the catalogue or the ledger gets a new version."""
    adopted.execute("VACUUM ANALYZE")
    before = adopted.fetch(VERSIONS)

    adopted.manage("verify_schema", "--full")

    assert adopted.fetch(VERSIONS) == before


def test_a_read_only_server_can_be_verified(migrated: Database) -> None:
    """All checks except the trial work without writes."""
    migrated.execute(f'ALTER DATABASE "{migrated.name}" SET default_transaction_read_only TO on')

    result = migrated.manage("verify_schema", check=False)

    assert result.returncode == 1
    assert (
        "FAILED   writes                   default_transaction_read_only is on, expected off" in result.stdout
    )
    assert f'\nALTER DATABASE "{migrated.name}" RESET default_transaction_read_only' in result.stdout
    assert "warning  points trigger, tried    not tried, as the server takes no writes" in result.stdout
    assert "1 warning, 1 failed" in result.stdout


def test_a_locked_table_is_not_waited_for(migrated: Database) -> None:
    with migrated.connect() as session, session.transaction():
        session.execute('LOCK TABLE "Member" IN ACCESS EXCLUSIVE MODE')

        result = migrated.manage("verify_schema", check=False)

    assert result.returncode == 1
    assert (
        "ledger figures           could not be checked: canceling statement due to lock timeout"
        in result.stdout
    )
    assert "\nA lock is held by another session (see pg_locks)." in result.stdout


@pytest.mark.skipif(not PROGRAM, reason="pgbouncer is not installed")
def test_verify_schema_works_through_a_transaction_pooler(migrated: Database) -> None:
    with pgbouncer(migrated, mode="transaction") as url:
        result = migrated.manage("verify_schema", "--strict", DATABASE_URL=url)

    assert "0 warnings, 0 failed" in result.stdout


def test_an_unreachable_server_is_reported(migrated: Database) -> None:
    url = "postgresql://sam:hunter2@127.0.0.1:1/council"

    result = migrated.manage("verify_schema", check=False, DATABASE_URL=url)

    assert result.returncode == 1
    assert "The database (127.0.0.1, port 1, database council) cannot be used: " in result.stderr
    assert "Check host and port, and whether the server is up." in result.stderr
    assert "Then run `manage.py verify_schema` again." in result.stderr
    assert "Traceback" not in result.stderr
    assert "hunter2" not in result.stderr + result.stdout


def test_a_search_path_without_an_existing_schema_is_reported(migrated: Database) -> None:
    migrated.execute(f'ALTER DATABASE "{migrated.name}" SET search_path TO nowhere')

    result = migrated.manage("verify_schema", check=False)

    assert result.returncode == 1
    assert "None of the schemas in search_path (nowhere) exists." in result.stderr
    assert "Traceback" not in result.stderr


def test_missing_rights_of_the_role_are_reported(migrated: Database) -> None:
    role = f"{migrated.name}_stranger"
    migrated.execute(f'DROP ROLE IF EXISTS "{role}"; CREATE ROLE "{role}" LOGIN')
    try:
        url = migrated.url.replace("//postgres@", f"//{role}@")
        result = migrated.manage("verify_schema", check=False, DATABASE_URL=url)
    finally:
        migrated.execute(f'DROP ROLE "{role}"')

    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    assert f"{role} has no right to SELECT, INSERT, UPDATE, DELETE on Member" in result.stdout
    assert f'\nGRANT SELECT, INSERT, UPDATE, DELETE ON "Member" TO "{role}";' in result.stdout
    assert "no row could be added: permission denied for table Member" in result.stdout


def test_a_forgotten_prepared_transaction_is_reported(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    with database.as_django_connection() as scratch, database.connect() as session:
        session.execute("BEGIN; CREATE TABLE t (); PREPARE TRANSACTION 'the gateway''s'")
        try:
            found = list(leftover_checks.prepared_transactions(verification.Database(scratch)))
            assert found == [verification.note("1 under way")]
            monkeypatch.setattr(leftover_checks, "OLD_SECONDS", 0.0)
            [old, _] = leftover_checks.prepared_transactions(verification.Database(scratch))
            assert old.level is Level.FAILED
            assert "was prepared" in old.message
            assert old.cure == "ROLLBACK PREPARED 'the gateway''s';"
        finally:
            session.execute("ROLLBACK PREPARED 'the gateway''s'")
        assert list(leftover_checks.prepared_transactions(verification.Database(scratch))) == [
            verification.note("none")
        ]


def test_the_lock_of_a_running_migrate_is_reported(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    with database.as_django_connection() as scratch, database.connect() as session:
        session.execute("SELECT pg_advisory_lock(%s, %s)", [migration_lock.CLASS, migration_lock.OBJECT])
        [running] = leftover_checks.advisory_lock(verification.Database(scratch))
        assert running.level is Level.WARNING
        assert "a migrate is running" in running.message
        monkeypatch.setattr(leftover_checks, "ORPHANED_SECONDS", 0.0)
        [orphaned] = leftover_checks.advisory_lock(verification.Database(scratch))
        assert orphaned.level is Level.FAILED
        assert orphaned.cure == f"SELECT pg_terminate_backend({session.info.backend_pid});"
        session.execute("SELECT pg_advisory_unlock_all()")
        assert list(leftover_checks.advisory_lock(verification.Database(scratch))) == [
            verification.note("not held")
        ]


def test_a_server_of_an_unsupported_version_is_reported(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    with database.as_django_connection() as scratch:
        for version, level in {
            (14, 9): Level.FAILED,
            (15, 0): Level.OK,
            (18, 4): Level.OK,
            (19, 0): Level.WARNING,
        }.items():
            monkeypatch.setattr(scratch, "get_database_version", lambda version=version: version)
            [finding] = checks.registered()["server"].look(verification.Database(scratch))
            assert finding.level is level, version


def test_for_an_empty_database_the_cure_is_to_migrate(database: Database) -> None:
    result = database.manage("verify_schema", check=False)

    assert result.returncode == 1
    assert "none of the " in result.stdout
    assert "\nmanage.py migrate\n" in result.stdout
    assert "Traceback" not in result.stderr


def test_a_sample_is_compared_without_full(migrated: Database) -> None:
    migrated.execute(
        """INSERT INTO "Member" (id, "updatedAt") SELECT 'm' || n, now() FROM generate_series(1, 12000) AS n;
        ANALYZE "Member" """
    )
    told = json.loads(migrated.manage("verify_schema", "--format", "json").stdout)
    [figures] = [check for check in told["checks"] if check["name"] == "ledger figures"]
    words = figures["findings"][-1]["message"]
    match = re.fullmatch(r"of ([\d,]+) members, a sample; --full compares all", words)
    assert match
    assert points.BATCH_MEMBERS <= int(match[1].replace(",", "")) <= points.SAMPLE_MEMBERS
    assert "of 12,000 members, all" in migrated.manage("verify_schema", "--full").stdout


def test_write_manifest_writes_the_manifest(database: Database, tmp_path: Path) -> None:
    """It is made from a temporary database. The connected database is not changed."""
    file = tmp_path / "schema.catalog"

    result = database.manage("write_manifest", "--file", str(file))

    assert f"facts to {file}." in result.stdout
    assert file.read_text() == manifest.FILE.read_text()
    assert database.fetch("SELECT count(*) FROM pg_class WHERE relname = 'Member'") == [(0,)]
    assert database.fetch(f"SELECT datname FROM pg_database WHERE datname = '{database.name}_manifest'") == []
