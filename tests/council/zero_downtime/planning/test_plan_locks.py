"""The plan's locks compared with PostgreSQL's, for all operations of the project and all kinds of statements."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import psycopg
import pytest
from django.db import migrations, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.migration import Migration
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState

from council.zero_downtime.lock_modes import ACCESS_SHARE, BY_NAME, MODES
from council.zero_downtime.planning import inventory, plan
from council.zero_downtime.planning.steps import Step
from tests.council.zero_downtime.test_operations import CASES, TABLES
from tests.databases import Database

LOCKS = """
    SELECT c.relname, l.mode
      FROM pg_locks l
      JOIN pg_class c ON c.oid = l.relation
      JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE l.pid = %s AND l.granted AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
       AND c.relkind IN ('r', 'p') AND n.nspname = 'public'
"""
WAITS = "SELECT true FROM pg_stat_activity WHERE pid = %s AND wait_event_type = 'Lock'"


class Watch:
    """Records the locks that a connection holds after each of its statements."""

    def __init__(self, session: psycopg.Connection, pid: int) -> None:
        self.session = session
        self.pid = pid
        self.seen: dict[str, str] = {}

    def look(self) -> None:
        for table, mode in self.session.execute(LOCKS, [self.pid]).fetchall():
            self.seen = strongest([*self.seen.items(), (table, BY_NAME[mode])])

    def __call__(self, execute: Any, sql: Any, params: Any, many: Any, context: Any) -> Any:
        result = execute(sql, params, many, context)
        self.look()
        return result


def strongest(locks: Any) -> dict[str, str]:
    """Keep the strongest mode for each table, without the modes of readers."""
    found: dict[str, str] = {}
    for table, mode in locks:
        if mode != ACCESS_SHARE:
            found[table] = max(mode, found.get(table, mode), key=MODES.index)
    return found


@contextmanager
def watch(database: Database, connection: BaseDatabaseWrapper) -> Iterator[Watch]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        pid = cursor.fetchone()[0]
    with database.connect() as session:
        watching = Watch(session, pid)
        with connection.execute_wrapper(watching):
            yield watching
    connection.close()


@contextmanager
def reader(database: Database) -> Iterator[psycopg.Connection]:
    """Hold a snapshot and a reader's lock on every table. Concurrent builds and drops wait for these."""
    with database.connect() as session:
        session.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        for (table,) in session.execute(
            "SELECT quote_ident(tablename) FROM pg_tables WHERE schemaname = 'public' ORDER BY tablename"
        ).fetchall():
            session.execute(f"SELECT FROM {table} LIMIT 1")
        yield session


def run_paused(database: Database, watching: Watch, act: Callable[[], None]) -> None:
    """Run a migration without a transaction. Read its locks while it waits for a reader, then end the reader."""
    ended = threading.Event()

    def look_when_it_waits(session: psycopg.Connection) -> None:
        while not ended.wait(0.01):
            if watching.session.execute(WAITS, [watching.pid]).fetchone():
                watching.look()
                session.execute("ROLLBACK")
                return

    with reader(database) as session:
        looking = threading.Thread(target=look_when_it_waits, args=[session])
        looking.start()
        try:
            act()
        finally:
            ended.set()
            looking.join()


def run(
    database: Database,
    connection: BaseDatabaseWrapper,
    watching: Watch,
    migration: Migration,
    state: ProjectState,
) -> Iterator[tuple[Operation, dict[str, str]]]:
    """Run a migration. Returns the strongest locks that each operation held, or that its transaction holds after it."""
    watching.seen = {}
    editor: Any
    with connection.schema_editor(atomic=migration.atomic) as editor:
        for operation in migration.operations:
            before, state = state, state.clone()
            operation.state_forwards(migration.app_label, state)

            def act(operation: Operation = operation, before: Any = before, after: Any = state) -> None:
                operation.database_forwards(migration.app_label, editor, before, after)
                editor.flush_deferred_sql()

            if migration.atomic:
                act()
            else:
                watching.seen = {}
                run_paused(database, watching, act)
            yield operation, watching.seen


def make_migration(operations: list[Operation], *, atomic: bool = True) -> Migration:
    made: Migration = type("Migration", (Migration,), {"operations": operations, "atomic": atomic})(
        "0002", "app"
    )
    return made


def predicted(step: Step) -> dict[str, str]:
    return strongest(held.lock for held in step.locks)


# Rows for later migrations to fill, without triggers. An update of no rows would take fewer locks.
ROWS_BEFORE = {
    "accounts.0001_account": """INSERT INTO "Member" (id, "updatedAt") VALUES ('m1', now())""",
    "benchmarks.0012_fill_history": """
        SET session_replication_role TO replica;
        INSERT INTO "BenchmarkSubmission" (id, "memberId", category, data, "updatedAt")
        VALUES ('s1', 'm1', 'BUSINESS', '{"annual_revenue_band": "1m_2m"}', now())
    """,
    "resources.0013_count_downloads": """
        SET session_replication_role TO replica;
        INSERT INTO "Resource" (id, title, description, category, type, "fileUrl", "updatedAt")
        VALUES ('r1', 'A', 'B', 'OPERATIONS', 'SOP', 'https://files.example.com/a', now())
    """,
}


@pytest.mark.django_db
def test_every_operation_of_the_project_takes_the_predicted_locks(
    database: Database, scratch: BaseDatabaseWrapper
) -> None:
    executor = MigrationExecutor(scratch)
    whole = executor.migration_plan(executor.loader.graph.leaf_nodes(), clean_start=True)
    state = ProjectState(real_apps=executor.loader.unmigrated_apps)
    compared = 0
    with watch(database, scratch) as watching:
        for migration, _ in whole:
            if rows := ROWS_BEFORE.get(str(migration)):
                database.execute(rows)
            there = inventory.read(scratch)
            tables = set(there.tables)
            steps = plan.steps(scratch, [(migration, False)], state=state.clone(), there=there)
            expected: dict[str, str] = {}
            for step, (operation, seen) in zip(
                steps, run(database, scratch, watching, migration, state), strict=True
            ):
                if not operation.reduces_to_sql:
                    continue
                told = [*predicted(step).items(), *(expected.items() if migration.atomic else ())]
                expected = strongest(told)
                assert {table: mode for table, mode in seen.items() if table in tables} == expected, (
                    f"{migration}: {operation.describe()}"
                )
                compared += 1
            state = migration.mutate_state(state)
    assert compared > 90


KINDS = {
    "column": """ALTER TABLE "Child" ADD COLUMN extra integer DEFAULT 1 NOT NULL""",
    "column with a key": """ALTER TABLE "Child" ADD COLUMN extra text REFERENCES "Parent" (id)""",
    "column with a volatile default": """ALTER TABLE "Child" ADD COLUMN extra float DEFAULT random()""",
    "drop column with a key": """ALTER TABLE "Child" DROP COLUMN "parentId" """,
    "drop column": """ALTER TABLE "Child" DROP COLUMN "Number" """,
    "default": """ALTER TABLE "Child" ALTER COLUMN "Number" SET DEFAULT 3""",
    "not null": """ALTER TABLE "Child" ALTER COLUMN "parentId" SET NOT NULL""",
    "null": """ALTER TABLE "Child" ALTER COLUMN "Number" DROP NOT NULL""",
    "type": """ALTER TABLE "Child" ALTER COLUMN "Number" TYPE bigint""",
    "statistics": """ALTER TABLE "Child" ALTER COLUMN "Number" SET STATISTICS 500""",
    "storage": """ALTER TABLE "Child" SET (fillfactor = 90)""",
    "check": """ALTER TABLE "Child" ADD CONSTRAINT positive CHECK ("Number" > 0)""",
    "check not valid": """ALTER TABLE "Child" ADD CONSTRAINT positive CHECK ("Number" > 0) NOT VALID""",
    "key": """ALTER TABLE "Child" ADD CONSTRAINT k FOREIGN KEY ("parentId") REFERENCES "Parent" (id)""",
    "key not valid": """ALTER TABLE "Child" ADD FOREIGN KEY ("parentId") REFERENCES "Parent" (id) NOT VALID""",
    "validate key": """ALTER TABLE "Child" VALIDATE CONSTRAINT known""",
    "drop key": """ALTER TABLE "Child" DROP CONSTRAINT known""",
    "unique": """ALTER TABLE "Child" ADD CONSTRAINT u UNIQUE ("Number")""",
    "unique by an index": """ALTER TABLE "Child" ADD CONSTRAINT u UNIQUE USING INDEX known_key""",
    "exclusion": """ALTER TABLE "Child" ADD CONSTRAINT x EXCLUDE USING btree ("Number" WITH =)""",
    "trigger off": """ALTER TABLE "Child" DISABLE TRIGGER known_trigger""",
    "row level security": """ALTER TABLE "Child" ENABLE ROW LEVEL SECURITY""",
    "owner": """ALTER TABLE "Child" OWNER TO CURRENT_USER""",
    "identity": """ALTER TABLE "Child" ALTER COLUMN "Number" ADD GENERATED ALWAYS AS IDENTITY""",
    "replica identity": """ALTER TABLE "Child" REPLICA IDENTITY FULL""",
    "unlogged": """ALTER TABLE "Child" SET UNLOGGED""",
    "rename table": """ALTER TABLE "Child" RENAME TO kid""",
    "rename column": """ALTER TABLE "Child" RENAME COLUMN "Number" TO number""",
    "rename constraint": """ALTER TABLE "Child" RENAME CONSTRAINT known TO better_known""",
    "rename index": """ALTER INDEX known_key RENAME TO better_known_key""",
    "index": """CREATE INDEX i ON "Child" ("Number")""",
    "index concurrently": """CREATE INDEX CONCURRENTLY i ON "Child" ("Number")""",
    "drop index": """DROP INDEX known_key""",
    "drop index concurrently": """DROP INDEX CONCURRENTLY known_key""",
    "reindex": """REINDEX TABLE "Child" """,
    "reindex index": """REINDEX INDEX known_key""",
    "reindex concurrently": """REINDEX INDEX CONCURRENTLY known_key""",
    "table": """CREATE TABLE other (id text PRIMARY KEY)""",
    "table with a key": """CREATE TABLE other (id text PRIMARY KEY, child text REFERENCES "Child" (id))""",
    "table with a key of its own": """CREATE TABLE other (child text, FOREIGN KEY (child) REFERENCES "Child" (id))""",
    "table as": """CREATE TABLE other AS SELECT * FROM "Child" """,
    "drop table": """DROP TABLE "Child" """,
    "drop table cascade": """DROP TABLE "Parent" CASCADE""",
    "truncate": """TRUNCATE "Child" """,
    "trigger": """CREATE TRIGGER t AFTER INSERT ON "Child" EXECUTE FUNCTION nothing()""",
    "constraint trigger": """CREATE CONSTRAINT TRIGGER t AFTER INSERT ON "Child" FROM "Parent"
                             FOR EACH ROW EXECUTE FUNCTION nothing()""",
    "replace trigger": """CREATE OR REPLACE TRIGGER known_trigger AFTER INSERT ON "Child" EXECUTE FUNCTION nothing()""",
    "drop trigger": """DROP TRIGGER known_trigger ON "Child" """,
    "policy": """CREATE POLICY p ON "Child" USING (true)""",
    "alter policy": """ALTER POLICY known_policy ON "Child" USING (false)""",
    "drop policy": """DROP POLICY known_policy ON "Child" """,
    "rule": """CREATE RULE r AS ON INSERT TO "Child" DO ALSO NOTHING""",
    "extended statistics": """CREATE STATISTICS s (dependencies) ON "Number", "parentId" FROM "Child" """,
    "comment on a table": """COMMENT ON TABLE "Child" IS 'x'""",
    "comment on a column": """COMMENT ON COLUMN "Child"."Number" IS 'x'""",
    "comment on a trigger": """COMMENT ON TRIGGER known_trigger ON "Child" IS 'x'""",
    "comment on a constraint": """COMMENT ON CONSTRAINT known ON "Child" IS 'x'""",
    "enum": """CREATE TYPE colour AS ENUM ('RED')""",
    "enum value": """ALTER TYPE known_enum ADD VALUE 'GREEN'""",
    "function": """CREATE FUNCTION one() RETURNS int LANGUAGE sql RETURN 1""",
    "drop function": """DROP FUNCTION nothing() CASCADE""",
    "block": """DO 'BEGIN LOCK TABLE "Child"; END'""",
    "view": """CREATE VIEW v AS SELECT * FROM "Child" """,
    "grant": """GRANT SELECT ON "Child" TO PUBLIC""",
    "analyze": """ANALYZE "Child" """,
    "cluster": """CLUSTER "Child" USING known_key""",
    "lock": """LOCK TABLE "Child" IN EXCLUSIVE MODE""",
    "select": """SELECT * FROM "Child" """,
    "select for update": """WITH "Parent" AS (SELECT 1) SELECT * FROM "Child" FOR UPDATE""",
    "insert": """INSERT INTO "Child" (id, "Number", "parentId") VALUES ('d', 4, 'p')""",
    "update": """UPDATE "Child" SET "Number" = 5""",
    "update from": """UPDATE "Child" SET "Number" = 5 FROM "Parent" WHERE "Parent".id = "parentId" """,
    "delete": """DELETE FROM "Child" """,
    "merge": """MERGE INTO "Child" USING "Parent" ON false WHEN MATCHED THEN DELETE""",
    "several parts": """ALTER TABLE "Child" VALIDATE CONSTRAINT known, ALTER COLUMN "Number" SET STATISTICS 9""",
}
# Statements whose locks the plan reports as unknown.
UNKNOWN = {"drop function", "block"}
KNOWN = """
    INSERT INTO "Parent" (id) VALUES ('p');
    ALTER TABLE "Child" ADD CONSTRAINT known FOREIGN KEY ("parentId") REFERENCES "Parent" (id) NOT VALID;
    CREATE UNIQUE INDEX known_key ON "Child" (id);
    CREATE TYPE known_enum AS ENUM ('RED');
    CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
    CREATE TRIGGER known_trigger AFTER INSERT ON "Child" EXECUTE FUNCTION nothing();
    CREATE POLICY known_policy ON "Child" USING (true);
"""


@pytest.mark.django_db
def test_every_kind_of_statement_takes_the_predicted_locks(
    database: Database, scratch: BaseDatabaseWrapper
) -> None:
    state = ProjectState()
    before = make_migration([*TABLES, migrations.RunSQL(KNOWN)])
    with scratch.schema_editor() as editor:
        state = before.apply(state, editor)
    faults = []
    with watch(database, scratch) as watching:
        for kind, sql in KINDS.items():
            migration = make_migration([migrations.RunSQL(sql)], atomic="CONCURRENTLY" not in sql)
            there = inventory.read(scratch)
            [step] = plan.steps(scratch, [(migration, False)], state=state.clone(), there=there)
            with rolled_back(scratch) if migration.atomic else nullcontext():
                [(_, seen)] = run(database, scratch, watching, migration, state)
            seen = {table: mode for table, mode in seen.items() if table in {"Parent", "Child"}}
            is_unknown = any(risk.rule == "unknown-statement" for risk in step.risks)
            if is_unknown is not (kind in UNKNOWN) or not (is_unknown or seen == predicted(step)):
                faults.append(f"{kind}: took {seen}, and predicted was {predicted(step)}; {step.risks}")
            if not migration.atomic:
                database.execute(
                    """DROP INDEX IF EXISTS i; CREATE UNIQUE INDEX IF NOT EXISTS known_key ON "Child" (id)"""
                )
    assert not faults, "\n".join(faults)


@contextmanager
def rolled_back(connection: BaseDatabaseWrapper) -> Iterator[None]:
    with transaction.atomic(using=connection.alias):
        yield
        transaction.set_rollback(True, using=connection.alias)


@pytest.mark.django_db
def test_every_operation_of_ours_takes_the_predicted_locks(
    database: Database, scratch: BaseDatabaseWrapper
) -> None:
    faults = []
    with watch(database, scratch) as watching:
        for name, case in CASES.items():
            database.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
            state = ProjectState()
            before = make_migration([*TABLES, *case.before])
            with scratch.schema_editor() as editor:
                state = before.apply(state, editor)
            migration = make_migration([case.operation], atomic=not case.is_concurrent)
            there = inventory.read(scratch)
            [step] = plan.steps(scratch, [(migration, False)], state=state.clone(), there=there)
            [(_, seen)] = run(database, scratch, watching, migration, state)
            if seen != predicted(step):
                faults.append(f"{name}: took {seen}, and predicted was {predicted(step)}")
    assert not faults, "\n".join(faults)
