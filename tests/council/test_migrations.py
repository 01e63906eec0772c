"""Both ways to version 2: from an empty database, and from the gateway's."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.apps import apps
from django.core.management import call_command
from django.db import connection

from council.postgres import definitions
from council.postgres.indexes import Index, UniqueIndex
from council.zero_downtime.baseline import BaselineMismatch
from tests.databases import Database, Templates, fill_to, migrate

SCHEMA = Path(__file__).resolve().parent.parent / "schema"
V1_SQL = (SCHEMA / "v1.sql").read_text()
ROWS = """
INSERT INTO "Team" (id, name, "stripeCustomerId", "updatedAt") VALUES ('t1', 'Acme', 'cus_t1', now());
INSERT INTO "Member" (id, email, "teamId", "subscriptionStatus", "updatedAt")
SELECT 'm' || n, 'm' || n || '@example.com', CASE WHEN n % 2 = 0 THEN 't1' END, 'ACTIVE', now()
  FROM generate_series(1, 1000) AS n;
INSERT INTO "Admin" (id, email, "passwordHash", "updatedAt") VALUES ('a1', 'sam@example.com', '$argon2id$', now());
INSERT INTO "PendingInvite" (id, "teamId", "seatTier", token, "createdBy")
VALUES ('p1', 't1', 'TEAM_MEMBER', 'secret', 'm2');
"""

MORE_MEMBERS = """
INSERT INTO "Member" (id, email, "updatedAt")
SELECT 'n' || n, 'n' || n || '@example.com', now() FROM generate_series(1, 99000) AS n;
"""


def contract(name: str) -> set[str]:
    """Read a catalogue of the contract, without the order of columns, which need not match."""
    lines = (SCHEMA / name).read_text().splitlines()
    return {line for line in lines if not line.startswith("ORDINAL|")}


def without_leeway(lines: set[str]) -> set[str]:
    """Leave out what the contract allows us to change: triggers, row level security and comments."""
    return {
        re.sub(r"\|rls=\w+|\|comment=.*", "", line) for line in lines if not line.startswith("TRIGGER|")
    }  # fmt: skip


# What our migrations add to the contract's tables.
ADDED_KINDS = {
    *("CHECK", "COLUMN", "ENUM", "FKACTION", "FOREIGNKEY", "FUNCTION", "FUNCTIONBODY", "FUNCTIONMD5"),
    *("INDEX", "INDEXCOLUMN", "INDEXSTATE", "UNIQUEINDEX"),
}


def assert_is_v2(database: Database) -> None:
    found = set(database.catalog())
    assert without_leeway(contract("v2.catalog")) - without_leeway(found) == set()
    added = without_leeway(found) - without_leeway(contract("v2.catalog"))
    assert {line.split("|")[0] for line in added} <= ADDED_KINDS
    columns = [line for line in added if line.startswith("COLUMN|")]
    assert [
        line for line in columns if "|NOT NULL|default=-" in line
    ] == []  # the gateway inserts rows without these columns
    assert [line for line in found if "trg_update_member_points" in line] == [
        "TRIGGER|PointTransaction|trg_update_member_points|CREATE TRIGGER trg_update_member_points AFTER INSERT "
        'ON public."PointTransaction" REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT '
        "EXECUTE FUNCTION public.update_member_total_points()|enabled=O"
    ]


@pytest.fixture
def v1(database: Database) -> Iterator[Database]:
    """The gateway's database with rows, not made by Django."""
    database.execute(V1_SQL + ROWS)
    with database.as_django_connection():
        yield database


@pytest.fixture
def adopted(database: Database, templates: Templates) -> Iterator[Database]:
    """The gateway's database with 100,000 members, fully migrated."""
    database.become(templates.get("gateway", fill_to(sql=V1_SQL + ROWS + MORE_MEMBERS)))
    with database.as_django_connection():
        yield database


@pytest.fixture
def empty(database: Database) -> Iterator[Database]:
    with database.as_django_connection():
        yield database


def test_the_sql_in_these_tests_creates_the_contract_s_v1(v1: Database) -> None:
    assert set(v1.catalog()) == contract("v1.catalog")


@pytest.mark.skipif(not shutil.which("psql"), reason="psql is not installed")
def test_the_contract_s_query_gives_the_same_result_in_psql(v1: Database) -> None:
    result = subprocess.run(
        ["psql", "-XAt", "-v", "ordinals=off", "-f", str(SCHEMA / "catalog.sql"), v1.url],
        check=True,
        capture_output=True,
        text=True,
    )

    printed = [line for line in result.stdout.splitlines() if not line.startswith("CONSTRAINT-n|")]
    assert printed == v1.catalog()


def test_the_baseline_builds_exactly_v1_in_an_empty_database(empty: Database) -> None:
    migrate("council", "0001")

    assert set(empty.catalog()) == contract("v1.catalog")


def test_an_empty_database_becomes_v2(empty: Database) -> None:
    migrate()

    assert_is_v2(empty)


def test_a_gateway_s_database_becomes_v2_and_keeps_its_rows(adopted: Database) -> None:
    assert_is_v2(adopted)
    assert adopted.fetch('SELECT count(*), count("teamId"), sum("totalPoints") FROM "Member"') == [
        (100_000, 500, 0)
    ]
    assert adopted.fetch('SELECT token FROM "PendingInvite"') == [("secret",)]


def test_adopting_changes_nothing(v1: Database) -> None:
    versions = (
        """SELECT oid, xmin::text FROM pg_class WHERE relnamespace = 'public'::regnamespace ORDER BY oid"""
    )
    before = v1.fetch(versions)

    migrate("council", "0001")

    after = v1.fetch(versions)
    made_by_django = v1.fetch("SELECT oid FROM pg_class WHERE relname LIKE 'django_migrations%'")
    assert [row for row in after if (row[0],) not in made_by_django] == before
    assert v1.fetch("SELECT app, name FROM django_migrations") == [("council", "0001_baseline")]


def test_migrating_again_finds_nothing_to_do(adopted: Database, capsys: pytest.CaptureFixture[str]) -> None:
    before = adopted.catalog()

    call_command("migrate", database="scratch", verbosity=1)

    assert "No migrations to apply" in capsys.readouterr().out
    assert adopted.catalog() == before


def test_reversing_v2_gives_v1_and_migrating_again_gives_v2(adopted: Database) -> None:
    for app in ("benchmarks", "resources", "gamification", "admin"):
        migrate(app, "zero")

    migrate("council", "0001")

    assert set(adopted.catalog()) == contract("v1.catalog")
    migrate()
    assert_is_v2(adopted)


def test_the_baseline_is_not_reversed_over_rows(v1: Database) -> None:
    migrate("council", "0001")

    with pytest.raises(Exception, match='Reversing the baseline would drop "Admin", which contains rows'):
        migrate("council", "zero")

    assert set(v1.catalog()) == contract("v1.catalog")


def test_an_empty_baseline_is_reversed_to_nothing(empty: Database) -> None:
    migrate("council", "0001")

    migrate("council", "zero")

    assert [line for line in empty.catalog() if not line.startswith("MISSINGTABLE|")] == []


DAMAGES = {
    "missing column": (
        'ALTER TABLE "Member" DROP COLUMN "jobTitle"',
        "missing    column Member.jobTitle: expected text",
    ),
    "wrong type": (
        'ALTER TABLE "Member" ALTER COLUMN email TYPE varchar(100)',
        "different  column Member.email: expected text; found character varying(100)",
    ),
    "time zone": (
        'ALTER TABLE "Member" ALTER COLUMN "createdAt" TYPE timestamptz(3)',
        "different  column Member.createdAt: expected timestamp(3) without time zone NOT NULL DEFAULT "
        "CURRENT_TIMESTAMP; found timestamp(3) with time zone NOT NULL DEFAULT CURRENT_TIMESTAMP",
    ),
    "wrong default": (
        """ALTER TABLE "Member" ALTER COLUMN "subscriptionStatus" SET DEFAULT 'ACTIVE'""",
        'different  column Member.subscriptionStatus: expected "SubscriptionStatus" NOT NULL DEFAULT '
        '\'NONE\'::"SubscriptionStatus"; found "SubscriptionStatus" NOT NULL DEFAULT \'ACTIVE\'::"SubscriptionStatus"',
    ),
    "no default": (
        'ALTER TABLE "Team" ALTER COLUMN "createdAt" DROP DEFAULT',
        "different  column Team.createdAt: expected timestamp(3) without time zone NOT NULL DEFAULT "
        "CURRENT_TIMESTAMP; found timestamp(3) without time zone NOT NULL",
    ),
    "missing unique index": (
        'DROP INDEX "Member_email_key"',
        'missing    index Member.Member_email_key: expected CREATE UNIQUE INDEX "Member_email_key" ON "Member" '
        "USING btree (email)",
    ),
    "unvalidated key": (
        'ALTER TABLE "Member" DROP CONSTRAINT "Member_teamId_fkey", ADD CONSTRAINT "Member_teamId_fkey" '
        'FOREIGN KEY ("teamId") REFERENCES "Team" (id) ON UPDATE CASCADE ON DELETE SET NULL NOT VALID',
        'different  constraint Member.Member_teamId_fkey: expected FOREIGN KEY ("teamId") REFERENCES "Team"(id) '
        'ON UPDATE CASCADE ON DELETE SET NULL; found FOREIGN KEY ("teamId") REFERENCES "Team"(id) '
        "ON UPDATE CASCADE ON DELETE SET NULL NOT VALID",
    ),
    "other ON DELETE": (
        'ALTER TABLE "Member" DROP CONSTRAINT "Member_teamId_fkey", ADD CONSTRAINT "Member_teamId_fkey" '
        'FOREIGN KEY ("teamId") REFERENCES "Team" (id) ON UPDATE CASCADE ON DELETE CASCADE',
        'found FOREIGN KEY ("teamId") REFERENCES "Team"(id) ON UPDATE CASCADE ON DELETE CASCADE',
    ),
    "deferrable key": (
        'ALTER TABLE "Member" ALTER CONSTRAINT "Member_teamId_fkey" DEFERRABLE INITIALLY DEFERRED',
        "ON DELETE SET NULL DEFERRABLE INITIALLY DEFERRED",
    ),
    "other key target": (
        'ALTER TABLE "PendingInvite" DROP CONSTRAINT "PendingInvite_teamId_fkey", '
        'ADD CONSTRAINT "PendingInvite_teamId_fkey" FOREIGN KEY ("createdBy") REFERENCES "Member" (id) '
        "ON UPDATE CASCADE ON DELETE RESTRICT",
        'found FOREIGN KEY ("createdBy") REFERENCES "Member"(id)',
    ),
    "enum label missing": (
        """ALTER TYPE "SeatTier" RENAME TO "Old"; CREATE TYPE "SeatTier" AS ENUM ('INDIVIDUAL', 'TEAM_MEMBER');
        ALTER TABLE "Member" ALTER "seatTier" TYPE "SeatTier" USING "seatTier"::text::"SeatTier";
        ALTER TABLE "PendingInvite" ALTER "seatTier" TYPE "SeatTier" USING "seatTier"::text::"SeatTier";
        DROP TYPE "Old" """,
        "different  enum SeatTier: expected 'INDIVIDUAL', 'OWNER', 'TEAM_MEMBER'; found 'INDIVIDUAL', 'TEAM_MEMBER'",
    ),
    "enum label order": (
        """ALTER TYPE "AdminRole" RENAME VALUE 'ADMIN' TO 'X'; ALTER TYPE "AdminRole" RENAME VALUE 'SUPER_ADMIN'
        TO 'ADMIN'; ALTER TYPE "AdminRole" RENAME VALUE 'X' TO 'SUPER_ADMIN'""",
        "different  enum AdminRole: expected 'ADMIN', 'SUPER_ADMIN'; found 'SUPER_ADMIN', 'ADMIN'",
    ),
    "extra enum label": (
        """ALTER TYPE "AdminRole" ADD VALUE 'OWNER'""",
        "different  enum AdminRole: expected 'ADMIN', 'SUPER_ADMIN'; found 'ADMIN', 'SUPER_ADMIN', 'OWNER'",
    ),
    "extra NOT NULL": (
        'ALTER TABLE "Member" ALTER COLUMN email SET NOT NULL',
        "different  column Member.email: expected text; found text NOT NULL",
    ),
    "invalid index": (
        """UPDATE pg_index SET indisvalid = false WHERE indexrelid = '"Member_teamId_idx"'::regclass""",
        'found CREATE INDEX "Member_teamId_idx" ON "Member" USING btree ("teamId") INVALID',
    ),
    "partial index": (
        'DROP INDEX "Member_teamId_idx"; CREATE INDEX "Member_teamId_idx" ON "Member" ("teamId") '
        'WHERE "teamId" IS NOT NULL',
        'USING btree ("teamId") WHERE ("teamId" IS NOT NULL)',
    ),
    "missing table": ('DROP TABLE "AuditLog"', "missing    table AuditLog: expected table"),
    "extra column": ('ALTER TABLE "Team" ADD notes text', "extra      column Team.notes: found text"),
    "extra index": (
        'CREATE INDEX mine ON "Team" (name)',
        'extra      index Team.mine: found CREATE INDEX mine ON "Team" USING btree (name)',
    ),
    "extra check": (
        """ALTER TABLE "Team" ADD CONSTRAINT named CHECK (name <> '')""",
        "extra      constraint Team.named: found CHECK ((name <> ''::text))",
    ),
    "view instead of a table": (
        'ALTER TABLE "StripeEvent" RENAME TO "Events"; CREATE VIEW "StripeEvent" AS TABLE "Events"',
        "different  table StripeEvent: expected table; found view",
    ),
    "unlogged table": (
        'ALTER TABLE "AuditLog" SET UNLOGGED',
        "different  table AuditLog: expected table; found table, unlogged",
    ),
    "trigger": (
        "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';"
        'CREATE TRIGGER webhook AFTER INSERT ON "Member" FOR EACH ROW EXECUTE FUNCTION f()',
        "extra      trigger Member.webhook: found CREATE TRIGGER webhook AFTER INSERT ON",
    ),
    "nothing but an enum": (
        'DROP TABLE "Member", "Team", "PendingInvite", "Admin", "FeatureFlag", "EmailTemplate", "StripeEvent", '
        '"AuditLog", "ReconciliationRun"; DROP TYPE "SeatTier", "SubscriptionStatus"',
        "missing    enum SeatTier: expected 'INDIVIDUAL', 'OWNER', 'TEAM_MEMBER'",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_different_database_is_refused_with_a_message_and_not_changed(v1: Database, damage: str) -> None:
    statements, words = DAMAGES[damage]
    v1.execute(statements)
    before = v1.catalog()

    with pytest.raises(BaselineMismatch) as caught:
        migrate()

    assert words in str(caught.value)
    assert "Nothing was changed." in str(caught.value)
    assert v1.catalog() == before
    assert v1.fetch("SELECT to_regclass('django_migrations')") == [(None,)]


def test_every_difference_is_listed_not_only_the_first(v1: Database) -> None:
    v1.execute('DROP TABLE "AuditLog"; DROP INDEX "Member_email_key"; ALTER TABLE "Team" ADD notes text')

    with pytest.raises(BaselineMismatch) as caught:
        migrate()

    lines = [line.strip() for line in str(caught.value).splitlines() if line.startswith("  ")]
    assert [line.split(":")[0] for line in lines] == [
        "extra      column Team.notes",
        "missing    index Member.Member_email_key",
        "missing    table AuditLog",
    ]


def test_row_level_security_and_comments_of_the_gateway_are_ignored(v1: Database) -> None:
    v1.execute("""ALTER TABLE "Member" ENABLE ROW LEVEL SECURITY; COMMENT ON TABLE "Member" IS 'people'""")

    migrate("council", "0001")

    assert v1.fetch("SELECT name FROM django_migrations") == [("0001_baseline",)]


def test_new_tables_are_closed_to_the_data_api_and_the_gateway_s_are_not_changed(adopted: Database) -> None:
    rows = adopted.fetch(
        "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' "
        "AND NOT relrowsecurity AND relname !~ '^(auth|django|council_account|otp)_' ORDER BY relname"
    )
    assert [row[0] for row in rows] == [
        "Admin",
        "AuditLog",
        "EmailTemplate",
        "FeatureFlag",
        "Member",
        "PendingInvite",
        "ReconciliationRun",
        "StripeEvent",
        "Team",
    ]


def test_a_deploy_in_a_process_of_its_own_reports_a_mismatch_without_a_traceback(database: Database) -> None:
    database.execute(V1_SQL + 'DROP INDEX "Member_email_key"')

    result = database.manage("migrate", check=False)

    assert result.returncode == 1
    assert "missing    index Member.Member_email_key" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.django_db
def test_an_existing_index_is_recognised_as_the_model_s() -> None:
    """This must work for any columns and conditions; otherwise an interrupted migration could not be finished."""
    found = 0
    with connection.schema_editor(collect_sql=True) as schema_editor:
        for model in apps.get_models():
            wanted = [*model._meta.indexes, *model._meta.constraints]
            for index in (one for one in wanted if isinstance(one, Index | UniqueIndex)):
                there = definitions.index(connection, index.name)
                assert there
                table, create_sql = model._meta.db_table, str(index.create_sql(model, schema_editor))
                expected = definitions.index_as_created(
                    connection, table=table, name=index.name, create_sql=create_sql
                )
                assert there.definition == expected
                found += 1
    assert found > 16


@pytest.mark.django_db
def test_models_and_migrations_agree() -> None:
    call_command("makemigrations", check=True, dry_run=True, verbosity=0)


def test_every_migration_that_is_written_by_hand_says_what_it_locks() -> None:
    files = [
        file
        for app in ("council", "council/accounts", "gamification", "resources", "benchmarks")
        for file in Path(app, "migrations").glob("0*.py")
    ]
    assert files
    for file in files:
        text = file.read_text()
        assert "Locks: " in text and "Safe with the code before it: " in text and "Way back: " in text, file
