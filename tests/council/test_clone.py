"""docs/sanitise_clone.sql removes people's data from a clone, and refuses other databases."""

import threading
import time
from collections.abc import Iterator

import pglast
import psycopg
import pytest

from tests.databases import ROOT, Database

V1_SQL = (ROOT / "tests/schema/v1.sql").read_text()
SANITISE = (ROOT / "docs/sanitise_clone.sql").read_text()
IN_FILE = """
SELECT position('secret Member.passwordHash'::bytea IN pg_read_binary_file(pg_relation_filepath('"Member"'))) > 0
"""

# Text columns without data about people: ids, the council's own texts, and names of things.
KEPT = {
    "Admin": "id",
    "AuditLog": "action entityId entityType id",
    "BenchmarkBasis": "id releaseId",
    "BenchmarkFigure": "bands dimension field id releaseId withheldBy",
    "BenchmarkRelease": "id",
    "BenchmarkSubmission": "id memberId",
    "BenchmarkVersion": "memberId",
    "DiscordActivity": "id memberId",
    "DiscordStanding": "id memberId",
    "EmailTemplate": "body id name subject",
    "FeatureFlag": "category description id key",
    "JobRun": "counts job outcome",
    "Member": "id previousRole sentBillingNotifications teamId",
    "PendingInvite": "id teamId",
    "PointRule": "action description label",
    "PointTransaction": "action id idempotencyKey memberId reversesId",
    "ReconciliationRun": "id",
    # "sha" stands for the column sha256, because digits are removed from the columns' names.
    "Resource": "author description fileName fileUrl id mimeType sha storagePath thumbnailPath thumbnailUrl title",
    "ResourceDownload": "id memberId resourceId",
    "ResourceTag": "id name slug",
    "ResourceTagging": "id resourceId tagId",
    "ResourceVersion": "fileName id mimeType note resourceId sha storagePath",
    "StripeEvent": "id type",
    "Team": "id",
    "auth_group": "name",
    "auth_permission": "codename name",
    "django_content_type": "app_label model",
    "django_migrations": "app name",
}


def kept() -> set[str]:
    return {f"{table}.{column}" for table, columns in KEPT.items() for column in columns.split()}


TEXTS = {"text", "character varying", "jsonb", "ARRAY"}
OTHERS = {
    "integer": "0",
    "bigint": "0",
    "smallint": "0",
    "boolean": "false",
    "date": "date_trunc('month', now())",
    "timestamp without time zone": "now()",
    "timestamp with time zone": "now()",
    "uuid": "gen_random_uuid()",
}
COLUMNS = """
    SELECT c.table_name, c.column_name, c.data_type, c.is_nullable = 'YES', c.is_identity = 'YES',
           (SELECT enumlabel FROM pg_enum e JOIN pg_type t ON t.oid = e.enumtypid WHERE t.typname = c.udt_name LIMIT 1)
      FROM information_schema.columns c
      JOIN information_schema.tables t USING (table_schema, table_name)
     WHERE table_schema = 'public' AND table_type = 'BASE TABLE'
     ORDER BY table_name, ordinal_position
"""


class Clone:
    """A database in which every text column of every table holds a secret with the column's name."""

    def __init__(self, database: Database) -> None:
        self.database = database
        with database.connect() as session:
            self.columns = session.execute(COLUMNS).fetchall()
            for table, name, kind, *_ in self.columns:
                if kind == "character varying":  # some columns are too short for the name
                    session.execute(f'ALTER TABLE "{table}" ALTER "{name}" TYPE text'.encode())
            session.execute("SET session_replication_role TO replica")  # no triggers, no keys
            for table in {column[0] for column in self.columns}:
                session.execute(self.row(table).encode())

    def row(self, table: str) -> str:
        values = {}
        for name, kind, nullable, identity, label in [c[1:] for c in self.columns if c[0] == table]:
            secret = f"secret {table}.{name}"
            if table == "council_account" and name in {"member_id", "admin_id"}:
                values[name] = "NULL"  # only one of the two may be set
            elif (table, name) == ("BenchmarkBasis", "versions"):
                values[name] = "ARRAY[gen_random_uuid()]"
            elif (table, name) == ("council_signinfailures", "failed_at"):
                values[name] = "ARRAY[now()]"
            elif table == "ResourceVersion" and name in {"number", "fileSize"}:
                values[name] = "1"
            elif (table, name) == ("BenchmarkFigure", "shares"):
                values[name] = "NULL"  # a withheld cell has no number
            elif kind == "jsonb":
                values[name] = f"""'{{"a": "{secret}"}}'"""
            elif kind == "ARRAY":
                values[name] = f"ARRAY['{secret}']"
            elif kind in TEXTS:
                values[name] = f"'{secret}'"
            elif label:
                values[name] = f"'{label}'"
            elif not nullable and not identity:
                values[name] = OTHERS[kind]
        columns = ", ".join(f'"{name}"' for name in values)
        return f'INSERT INTO "{table}" ({columns}) VALUES ({", ".join(values.values())})'

    def sanitise(self) -> None:
        """Run the file like psql: the statements after the transaction run separately."""
        transaction, commit, rest = SANITISE.partition("COMMIT;")
        with self.database.connect() as session:
            session.execute((transaction + commit).encode())
            for statement in pglast.split(rest):
                session.execute(statement.encode())

    def told(self) -> set[str]:
        """List the columns whose secrets can still be read anywhere."""
        found: set[str] = set()
        for table, name, kind, *_ in self.columns:
            if kind in TEXTS:
                query = f"""SELECT (regexp_matches("{name}"::text, 'secret ([A-Za-z_.]+)', 'g'))[1] FROM "{table}" """
                found |= {str(row[0]) for row in self.database.fetch(query)}
        return found


@pytest.fixture
def named_clone(database: Database) -> Iterator[Database]:
    """Give the database a name that the file accepts."""
    clone = Database(f"{database.name}_clone")
    clone.drop()
    yield clone
    clone.drop()


def test_a_clone_has_no_data_about_people(migrated: Database, named_clone: Database) -> None:
    named_clone.create(template=migrated.name)
    clone = Clone(named_clone)
    assert {"Member.email", "Admin.passwordHash", "django_session.session_data"} <= clone.told()

    clone.sanitise()

    assert clone.told() == kept()


def test_a_clone_of_version_1_has_no_data_about_people(named_clone: Database) -> None:
    named_clone.create()
    named_clone.execute(V1_SQL)
    clone = Clone(named_clone)

    clone.sanitise()

    assert clone.told() <= kept()
    assert named_clone.fetch('SELECT email FROM "Member"') == [("secret Member.id@clone.invalid",)]


def test_the_data_is_also_gone_from_the_files(named_clone: Database) -> None:
    named_clone.create()
    named_clone.execute(V1_SQL)
    clone = Clone(named_clone)
    named_clone.execute("CHECKPOINT")
    assert named_clone.fetch(IN_FILE) == [(True,)]

    clone.sanitise()

    named_clone.execute("CHECKPOINT")
    assert named_clone.fetch(IN_FILE) == [(False,)]


def test_the_data_is_gone_from_the_files_despite_an_open_transaction_elsewhere(named_clone: Database) -> None:
    """VACUUM keeps deleted rows while an older transaction is open in any database."""
    named_clone.create()
    named_clone.execute(V1_SQL)
    clone = Clone(named_clone)
    with named_clone.connect_to("postgres") as other:
        other.execute("BEGIN; SELECT pg_current_xact_id()")
        sanitising = threading.Thread(target=clone.sanitise)
        sanitising.start()
        waiting = (
            f"SELECT 1 FROM pg_stat_activity WHERE datname = '{named_clone.name}' AND wait_event = 'PgSleep'"
        )
        while sanitising.is_alive() and not named_clone.fetch(waiting):
            time.sleep(0.02)
        other.execute("COMMIT")
    sanitising.join()

    named_clone.execute("CHECKPOINT")
    assert named_clone.fetch(IN_FILE) == [(False,)]


def test_the_ledger_refuses_changes_again_afterwards(migrated: Database, named_clone: Database) -> None:
    named_clone.create(template=migrated.name)
    clone = Clone(named_clone)

    clone.sanitise()

    with pytest.raises(psycopg.errors.RestrictViolation):
        named_clone.execute('UPDATE "PointTransaction" SET points = 1')


def test_a_database_without_clone_in_its_name_is_not_changed(migrated: Database) -> None:
    clone = Clone(migrated)
    before = clone.told()

    with pytest.raises(psycopg.errors.RaiseException, match="is not named a clone"):
        clone.sanitise()

    assert clone.told() == before
