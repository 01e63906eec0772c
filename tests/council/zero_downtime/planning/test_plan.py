"""The plan's warnings and estimates. test_plan_locks.py tests its locks."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import connection, migrations
from django.db.migrations.migration import Migration
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState

from council import zero_downtime
from council.zero_downtime.planning import estimates, inventory, plan, plan_report, presence
from council.zero_downtime.planning.effects import Kind, Work
from council.zero_downtime.planning.inventory import Column, Inventory, Table, TableConstraint, TableIndex
from council.zero_downtime.planning.steps import Step
from tests.council.zero_downtime.test_operations import CASES, INDEX, KEY, TABLES
from tests.databases import Database

pytestmark = pytest.mark.django_db

ROWS = 1_000_000
Predict = Callable[..., list[Step]]


@pytest.fixture
def there() -> Inventory:
    """Two tables in use."""
    columns = {
        "id": Column("text", is_nullable=False, has_default=True),
        "Number": Column("integer"),
        "parentId": Column("character varying(20)"),
    }
    keys = {
        "known": TableConstraint("f", "Parent", is_validated=False),
        "no_null": TableConstraint("c", not_null="parentId"),
    }
    child = Table(
        ROWS, ROWS * 100, columns=columns, constraints=keys, indexes={"known_idx": TableIndex(["Number"])}
    )
    return Inventory(tables={"Parent": Table(10, 8192), "Child": child})


@pytest.fixture
def predict(there: Inventory) -> Predict:
    """Plan migrations, operations or SQL of an app with the two tables. Returns the steps."""
    state = ProjectState()
    for table in TABLES:
        table.state_forwards("app", state)

    def predict(*steps: Operation | str, atomic: bool = True, **attributes: Any) -> list[Step]:
        operations = [migrations.RunSQL(step) if isinstance(step, str) else step for step in steps]
        made = {"operations": operations, "atomic": atomic, **attributes}
        migration: Migration = type("Migration", (Migration,), made)("0002_more", "app")
        return plan.steps(connection, [(migration, False)], state=state, there=there)

    return predict


def rules(steps: list[Step]) -> list[str]:
    return [risk.rule for step in steps for risk in step.warnings]


RISKY = {
    "rewrite": [
        """ALTER TABLE "Child" ALTER "Number" TYPE bigint""",
        """ALTER TABLE "Child" ALTER "parentId" TYPE text USING "id"::text""",
        """ALTER TABLE "Child" ALTER "parentId" TYPE text USING "parentId"::varchar(10)""",
        """ALTER TABLE "Child" ADD COLUMN extra bigserial""",
        """ALTER TABLE "Child" ADD COLUMN extra int GENERATED ALWAYS AS ("Number" + 1) STORED""",
        """ALTER TABLE "Child" SET UNLOGGED""",
        """VACUUM (FULL) "Child" """,
        """CLUSTER "Child" USING known_idx""",
    ],
    "not-null-without-default": ["""ALTER TABLE "Child" ADD COLUMN extra int NOT NULL"""],
    "plain-index": [
        """CREATE INDEX i ON "Child" ("Number")""",
        """ALTER TABLE "Child" ADD CONSTRAINT u UNIQUE ("Number")""",
        """REINDEX TABLE "Child" """,
    ],
    "validated-key": ["""ALTER TABLE "Child" ADD FOREIGN KEY ("parentId") REFERENCES "Parent" (id)"""],
    "scan-under-lock": [
        """ALTER TABLE "Child" ADD CHECK ("Number" > 0)""",
        """ALTER TABLE "Child" DISABLE TRIGGER ALL; UPDATE "Child" SET "Number" = 1""",
        """LOCK TABLE "Parent" IN SHARE MODE; ALTER TABLE "Child" VALIDATE CONSTRAINT known""",
    ],
    "unchecked-rows": ["""ALTER TABLE "Child" ADD CHECK ("Number" > 0) NOT VALID"""],
    "enum-value-used": [
        """ALTER TYPE colour ADD VALUE 'RED'; UPDATE "Parent" SET colour = 'RED'""",
        """ALTER TYPE colour ADD VALUE 'RED'; ALTER TABLE "Parent" ADD COLUMN c colour DEFAULT 'RED'""",
    ],
    "concurrent-in-transaction": ["""CREATE INDEX CONCURRENTLY i ON "Child" ("Number")"""],
    "unknown-statement": ["""DO 'BEGIN END'""", "ALTER TABEL Child"],
}


@pytest.mark.parametrize(
    ("rule", "sql"), [(rule, sql) for rule, statements in RISKY.items() for sql in statements]
)
def test_a_risk_gives_a_warning(predict: Predict, rule: str, sql: str) -> None:
    assert rules(predict(sql)) == [rule]


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("""ALTER TABLE "Child" DROP COLUMN "Number" """, ["breaks-earlier-code"]),
        ("""ALTER TABLE "Child" RENAME "Number" TO number""", ["breaks-earlier-code"]),
        ("""ALTER TABLE "Child" RENAME TO kid""", ["breaks-earlier-code"]),
        ("""DROP TABLE "Child" """, ["breaks-earlier-code"]),
        ("""ALTER TABLE "Child" ALTER "parentId" TYPE varchar(10)""", ["rewrite", "breaks-earlier-code"]),
        (
            """ALTER TABLE "Child" ALTER "Number" SET NOT NULL""",
            ["scan-under-lock", "not-null-without-default"],
        ),
        ("""ALTER TABLE "Child" ALTER id DROP DEFAULT""", ["not-null-without-default"]),
        ("""ALTER TABLE "Child" ALTER id DROP IDENTITY""", ["not-null-without-default"]),
        (
            """ALTER TABLE "Child" ADD COLUMN a int DEFAULT 1 NOT NULL; ALTER TABLE "Child" ALTER a DROP DEFAULT""",
            ["not-null-without-default"],
        ),
        # Changes that earlier code does not notice.
        ("""ALTER TABLE "Child" ALTER extra DROP DEFAULT""", []),
        ("""ALTER TABLE "Child" DROP COLUMN forgotten""", []),
        ("""DROP TABLE forgotten""", []),
        ("""ALTER TABLE "Child" ADD COLUMN extra int; ALTER TABLE "Child" RENAME extra TO more""", []),
        ("""ALTER TABLE "Child" ADD COLUMN extra int; ALTER TABLE "Child" DROP COLUMN extra""", []),
        ("""CREATE TABLE other (id int); ALTER TABLE other RENAME TO others; DROP TABLE others""", []),
        ("""ALTER TABLE "Child" RENAME CONSTRAINT known TO better_known""", []),
    ],
)
def test_a_change_that_breaks_earlier_code_gives_a_warning(
    predict: Predict, sql: str, expected: list[str]
) -> None:
    assert rules(predict(sql)) == expected


@pytest.mark.parametrize(("is_one_release", "expected"), [(False, []), (True, ["breaks-earlier-code"])])
def test_a_column_may_be_dropped_a_release_after_its_field(
    there: Inventory, is_one_release: bool, expected: list[str]
) -> None:
    forget, learn = migrations.RemoveField("child", "number"), TABLES[1].fields[1][1]
    forgotten = migrations.SeparateDatabaseAndState(state_operations=[forget])
    again = migrations.SeparateDatabaseAndState(
        state_operations=[migrations.AddField("child", "number", learn)]
    )
    made = [("0001", TABLES), ("0002", [forgotten]), ("0003", [again, forget])]
    whole: list[Any] = [
        (type("Migration", (Migration,), {"operations": operations})(name, "app"), False)
        for name, operations in made
    ]
    state = ProjectState()
    if is_one_release:
        state = whole.pop(0)[0].mutate_state(state)
    steps = plan.steps(connection, whole, state=state, there=there, is_one_release=is_one_release)
    assert rules(steps) == expected


def test_a_volatile_default_gives_a_warning_and_rewrites_the_table(predict: Predict) -> None:
    assert rules(predict("""ALTER TABLE "Child" ADD COLUMN extra float DEFAULT 10 * random()""")) == [
        "volatile-default",
        "rewrite",
    ]


@pytest.mark.parametrize(
    ("columns", "is_read"),
    [
        ("ADD COLUMN p text REFERENCES parents", False),
        ("ADD COLUMN n int, ADD COLUMN p text REFERENCES parents", False),
        ("ADD COLUMN n int DEFAULT 1, ADD COLUMN p text REFERENCES parents", False),
        ("ADD COLUMN p text DEFAULT 'p' REFERENCES parents", True),
        ("ADD COLUMN p text, ADD FOREIGN KEY (p) REFERENCES parents", True),
    ],
)
def test_a_key_of_an_empty_column_is_checked_only_if_postgresql_does(
    predict: Predict, *, columns: str, is_read: bool
) -> None:
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE parents (id text PRIMARY KEY); INSERT INTO parents VALUES ('p')")
        cursor.execute("CREATE TABLE children (id int); INSERT INTO children VALUES (1)")
        cursor.execute(f"ALTER TABLE children {columns}")
        cursor.execute("SELECT seq_scan > 0 FROM pg_stat_xact_user_tables WHERE relname = 'children'")
        assert cursor.fetchall() == [(is_read,)]
    assert rules(predict(f'ALTER TABLE "Child" {columns}')) == ["validated-key"] * is_read


def test_a_function_is_as_volatile_as_it_was_declared(predict: Predict) -> None:
    create = "CREATE FUNCTION {0}() RETURNS int LANGUAGE sql {1} RETURN 1"
    add = 'ALTER TABLE "Child" ADD {0} int DEFAULT {0}()'
    assert "volatile-default" in rules(predict(add.format("nobody_knows_it")))
    assert rules(predict(create.format("steady", "STABLE"), add.format("steady"))) == []
    assert "volatile-default" in rules(predict(create.format("lively", ""), add.format("lively")))


@pytest.mark.parametrize(
    "sql",
    [
        """ALTER TABLE "Child" ADD COLUMN extra int DEFAULT 1 NOT NULL""",
        """ALTER TABLE "Child" ADD COLUMN extra timestamp DEFAULT now()""",
        """ALTER TABLE "Child" ALTER "parentId" TYPE varchar(30)""",
        """ALTER TABLE "Child" ALTER "parentId" TYPE text""",
        """ALTER TABLE "Child" ALTER "parentId" TYPE text USING "parentId"::text""",
        """ALTER TABLE "Child" ALTER "parentId" SET NOT NULL""",
        """ALTER TABLE "Child" ADD FOREIGN KEY ("parentId") REFERENCES "Parent" (id) NOT VALID""",
        """ALTER TABLE "Child" VALIDATE CONSTRAINT known""",
        """CREATE TABLE other (id int); CREATE INDEX i ON other (id); ALTER TABLE other ADD CHECK (id > 0)""",
        """ALTER TYPE colour ADD VALUE 'RED'; UPDATE "Parent" SET colour = 'GREEN'""",
        """CREATE TYPE colour AS ENUM ('RED'); ALTER TYPE colour ADD VALUE 'BLUE'; SELECT 'BLUE'::colour""",
        """SELECT 1""",
    ],
)
def test_a_safe_operation_gives_no_warning(predict: Predict, sql: str) -> None:
    assert rules(predict(sql)) == []


def test_an_unvalidated_check_saves_no_scan(predict: Predict, there: Inventory) -> None:
    not_null = """ALTER TABLE "Child" ALTER "Number" SET NOT NULL"""
    there.tables["Child"].constraints["unsure"] = TableConstraint("c", not_null="Number", is_validated=False)
    [step] = predict(not_null)
    assert ([work.kind for work in step.work], rules([step])) == ([Kind.SCAN], ["scan-under-lock"])
    [validated, step] = predict("""ALTER TABLE "Child" VALIDATE CONSTRAINT unsure""", not_null)
    assert ([work.kind for work in validated.work], step.work) == ([Kind.SCAN], [])


def test_whether_a_check_is_validated_is_read_from_the_catalogue(scratch: Any) -> None:
    with scratch.cursor() as cursor:
        cursor.execute(
            """CREATE TABLE "Child" (a int CONSTRAINT sure CHECK (a IS NOT NULL), b int);
               ALTER TABLE "Child" ADD CONSTRAINT unsure CHECK (b IS NOT NULL) NOT VALID"""
        )
    checks = inventory.read(scratch).tables["Child"].constraints
    assert {name: (one.not_null, one.is_validated) for name, one in checks.items()} == {
        "sure": ("a", True),
        "unsure": ("b", False),
    }


def test_a_type_change_without_a_rewrite_gives_a_warning_for_rebuilt_indexes(
    predict: Predict, there: Inventory
) -> None:
    wider = """ALTER TABLE "Child" ALTER "parentId" TYPE varchar(30)"""
    child = there.tables["Child"]
    child.indexes = {
        "plain": TableIndex(["parentId"]),
        "half": TableIndex(["Number"], computed_from=["Number", "parentId"]),
    }
    assert [risk.fault.split(",")[0] for step in predict(wider) for risk in step.warnings] == [
        'Index "half" is rebuilt'
    ]
    child.indexes = {"plain": TableIndex(["parentId"])}
    assert rules(predict("""ALTER TABLE "Child" ALTER "parentId" TYPE citext""")) == ["plain-index"]
    child.columns["parentId"].type = "character varying(20)"
    assert rules(predict("""ALTER TABLE "Child" ALTER "parentId" TYPE varchar(20) COLLATE "C" """)) == [
        "plain-index"
    ]

    child.constraints = {"filled": TableConstraint("c", columns=["parentId"])}
    assert rules(predict(wider)) == ["scan-under-lock"]
    child.constraints["filled"].is_validated = False
    assert rules(predict(wider)) == []


def test_an_index_knows_the_columns_that_it_uses(predict: Predict, there: Inventory) -> None:
    predict(
        """CREATE INDEX i ON "Child" (lower("parentId")) WHERE "Number" > 0; CREATE INDEX p ON "Child" (id)"""
    )
    found = there.tables["Child"].indexes
    assert (sorted(found["i"].computed_from), found["p"].computed_from) == (["Number", "parentId"], [])
    with connection.cursor() as cursor:
        cursor.execute('CREATE TABLE "T" (a int, b int, c text)')
        cursor.execute('CREATE INDEX i ON "T" (lower(c)) WHERE a > 0; CREATE INDEX p ON "T" (b)')
    read = inventory.read(connection)["T"].indexes
    assert (sorted(read["i"].computed_from), read["p"].computed_from) == (["a", "c"], [])

    there.rename_column("Child", "parentId", "parent")
    assert sorted(found["i"].computed_from) == ["Number", "parent"]
    predict("""ALTER TABLE "Child" DROP COLUMN parent""")
    assert "i" not in there.tables["Child"].indexes


def test_a_partitioned_table_gives_a_warning(predict: Predict, there: Inventory) -> None:
    there.tables["Child"].is_partitioned = True
    assert rules(predict("""CREATE INDEX CONCURRENTLY i ON "Child" ("Number")""", atomic=False)) == [
        "partitioned-table"
    ]
    key = """ALTER TABLE "Child" ADD FOREIGN KEY ("parentId") REFERENCES "Parent" (id) NOT VALID"""
    assert rules(predict(key)) == ["partitioned-table"]


def test_python_code_gives_a_warning(predict: Predict) -> None:
    assert rules(predict(migrations.RunPython(migrations.RunPython.noop))) == ["unknown-operation"]


def test_our_operations_give_no_warning(predict: Predict) -> None:
    assert rules(predict(CASES["AddForeignKeyNotValid"].operation)) == []
    assert rules(predict(CASES["AddIndexConcurrently"].operation, atomic=False)) == []
    assert rules(predict(CASES["UpdateInBatches"].operation, atomic=False)) == []
    assert rules(predict(CASES["UpdateInBatches"].operation)) == ["concurrent-in-transaction"]


def test_an_accepted_risk_gives_no_warning(predict: Predict) -> None:
    [step] = predict(migrations.AddIndex("child", INDEX), accepts={"plain-index": "It is a small table."})
    assert step.warnings == []
    assert plan_report.as_json([step])["steps"][0]["accepted"][0]["why"] == "It is a small table."


def test_locks_are_held_until_the_transaction_ends(predict: Predict) -> None:
    key = zero_downtime.AddForeignKeyNotValid("child", KEY)
    update = """UPDATE "Child" SET "Number" = 1"""
    together, update_step = predict(key, update)
    assert [lock.seconds for lock in together.locks] == [update_step.seconds] * 2
    assert update_step.seconds > 1


def test_locks_outside_of_a_transaction_end_with_their_statement(predict: Predict) -> None:
    key = zero_downtime.AddForeignKeyNotValid("child", KEY)
    [apart, _] = predict(key, """UPDATE "Child" SET "Number" = 1""", atomic=False)
    assert [lock.seconds for lock in apart.locks] == [0, 0]

    [several] = predict(
        """UPDATE "Child" SET "Number" = 1; ALTER TABLE "Child" ADD COLUMN later text""", atomic=False
    )
    assert [(held.lock.mode, held.seconds > 1) for held in several.locks] == [("ACCESS EXCLUSIVE", True)]


def test_an_existing_object_is_named_and_needs_no_lock(predict: Predict) -> None:
    key = zero_downtime.AddForeignKeyNotValid("child", KEY)
    for statement in (
        key,
        """ALTER TABLE "Child" ADD COLUMN note text""",
        'CREATE INDEX child_note ON "Child" (note)',
    ):
        [made] = predict(statement)
        assert made.sql
        assert not made.found
        [found] = predict(statement)
        assert found.found
        assert found.found[0].endswith(" already exists")
        assert not found.sql
        assert not found.locks

    [gone] = predict('ALTER TABLE "Child" DROP COLUMN note; ALTER TABLE "Child" ADD COLUMN note text')
    assert gone.sql


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("""ALTER TABLE "Child" DROP COLUMN "Number" """, 'column "Number" of "Child" is dropped'),
        ("""ALTER TABLE "Child" RENAME "Number" TO number""", 'column "Number" of "Child" is renamed'),
        ("""ALTER TABLE "Child" RENAME TO kid""", 'table "Child" is renamed'),
        ("""DROP TABLE "Child" """, 'table "Child" is dropped'),
        (
            """ALTER TABLE "Child" ALTER id DROP DEFAULT""",
            'INSERTs into "Child" that do not name "id" are refused',
        ),
        (
            """ALTER TABLE "Child" ADD COLUMN a int NOT NULL""",
            'INSERTs into "Child" that do not name "a" are refused',
        ),
        ("""ALTER TABLE "Child" ADD CONSTRAINT c CHECK (true)""", 'rows that violate "c" are refused'),
    ],
)
def test_effects_on_earlier_code_are_named(predict: Predict, sql: str, words: str) -> None:
    assert [step.breaks for step in predict(sql)] == [[words]]


def test_work_is_estimated_from_the_catalogue(database: Database) -> None:
    with database.as_django_connection() as scratch:
        database.execute(
            """CREATE TABLE "Parent" (id text PRIMARY KEY);
               CREATE TABLE "Child" (id text PRIMARY KEY, "Number" int, tags text[]);
               INSERT INTO "Child" SELECT n, CASE WHEN n % 4 = 0 THEN n END, ARRAY['a', 'b', 'c']
                 FROM generate_series(1, 10000) AS n;
               ANALYZE"""
        )
        there = inventory.read(scratch)
        sql = """CREATE INDEX CONCURRENTLY a ON "Child" ("Number") WHERE "Number" IS NOT NULL;
                 CREATE INDEX CONCURRENTLY b ON "Child" USING gin (tags)"""
        migration: Migration = type(
            "Migration", (Migration,), {"operations": [migrations.RunSQL(sql)], "atomic": False}
        )("0002", "app")
        [step] = plan.steps(scratch, [(migration, False)], state=ProjectState(), there=there)
    btree, gin = step.work
    assert btree.is_counted
    assert (btree.kind, btree.rows, btree.bytes > 300_000) == (Kind.BUILD, 10_000, True)
    assert btree.entries == pytest.approx(2_500, rel=0.05)
    assert gin.entries == pytest.approx(30_000, rel=0.05)


@pytest.mark.parametrize(
    ("condition", "entries"),
    [
        ('"Number" > 0', 0),
        ('"Number" >= 0 AND id IS NOT NULL', ROWS),
        ('"parentId" IS NOT NULL AND "Number" = 0', ROWS // 4),
        ('"parentId" IS NULL', ROWS * 3 // 4),
        ('"Number" > 0 OR id IS NULL', ROWS),
    ],
)
def test_the_size_of_a_partial_index_depends_on_its_condition(
    predict: Predict, there: Inventory, condition: str, entries: int
) -> None:
    there.tables["Child"].columns["Number"].only_number = 0
    there.tables["Child"].columns["parentId"].null_share = 0.75
    [step] = predict(f'CREATE INDEX CONCURRENTLY i ON "Child" (id) WHERE {condition}', atomic=False)
    assert [work.entries for work in step.work] == [entries]


def test_a_table_that_was_never_analysed_is_reported_as_not_counted(
    predict: Predict, there: Inventory
) -> None:
    there.tables["Child"].is_counted = False
    [step] = predict("""CREATE INDEX CONCURRENTLY i ON "Child" ("Number")""", atomic=False)
    assert (
        'index build of "Child": number of rows unknown: run ANALYZE "Child", then plan again'
        in plan_report.lines(step)
    )


def test_the_estimate_of_an_update_uses_the_tables_that_it_reads(predict: Predict, there: Inventory) -> None:
    there.function_tables["of_parents"] = ["Parent"]
    sql = """UPDATE "Child" SET "Number" = 1 FROM of_parents('{}') AS found WHERE found.id = "Child".id"""
    [[work]] = [step.work for step in predict(sql)]
    assert (work.rows, work.entries) == (ROWS, 10)
    [[work]] = [step.work for step in predict("""UPDATE "Child" SET "Number" = 1""")]
    assert work.entries == ROWS


def test_locks_of_batches_are_held_for_one_batch(predict: Predict) -> None:
    [step] = predict(
        zero_downtime.UpdateInBatches("child", """UPDATE "Child" SET "Number" = 1"""), atomic=False
    )
    [[lock, seconds, _]] = step.locks
    assert lock.mode == "ROW EXCLUSIVE"
    assert seconds == pytest.approx(step.seconds / 5_000)


def test_an_estimate_grows_with_rows_and_is_slower_on_a_slower_server() -> None:
    small, large = (Work(Kind.BUILD, "t", rows, rows * 100, rows, 8) for rows in (1_000, 1_000_000))
    assert estimates.seconds(large) > 500 * estimates.seconds(small)
    assert estimates.seconds(large, pace=3) == pytest.approx(3 * estimates.seconds(large))


@contextmanager
def everything_locked(database: Database) -> Iterator[None]:
    """Lock all tables with the strongest mode, except Django's record of migrations."""
    with database.connect() as session, session.transaction():
        for (table,) in session.execute(
            """SELECT quote_ident(tablename) FROM pg_tables
                WHERE schemaname = 'public' AND tablename <> 'django_migrations'"""
        ).fetchall():
            session.execute(f"LOCK TABLE {table}".encode())
        yield


def test_a_plan_is_made_while_every_table_is_locked(database: Database) -> None:
    database.manage("migrate", "council", "0001")
    with everything_locked(database):
        began = time.monotonic()
        run = database.manage("migrate", "--plan", "--format=json")
    told = json.loads(run.stdout)
    assert time.monotonic() - began < 60
    assert told["steps"][0]["migration"] == "contenttypes.0001_initial"
    assert told["longest_wait_seconds"] == 0


@pytest.mark.any_server
def test_a_constraint_that_is_not_validated_is_not_a_validated_one(there: Inventory) -> None:
    key = 'ALTER TABLE "Child" ADD CONSTRAINT known FOREIGN KEY ("parentId") REFERENCES "Parent"'
    assert presence.of_statement(f"{key} NOT VALID", there) == ['constraint "known" of "Child"']
    assert presence.of_statement(key, there) == []
