"""The checklist for every operation. Add a Case for a new operation."""

import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, cast

import pgtrigger
import pytest
from django.core.management import CommandError
from django.db import NotSupportedError, ProgrammingError, migrations, models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState
from django.db.migrations.writer import OperationWriter

from council import zero_downtime
from council.postgres import catalog, constraints, definitions, fields, indexes, triggers
from council.zero_downtime import batch_operations
from council.zero_downtime.failures import DefinitionConflict
from council.zero_downtime.index_operations import DuplicateKeys
from council.zero_downtime.operations import OrphanRows
from tests.databases import Database

KEY = constraints.ForeignKeyConstraint(
    name="Child_parentId_fkey", field="parent", on_delete="CASCADE", on_update="CASCADE"
)
INDEX = indexes.Index(name="Child_by_Number_with_a_name_of_more_than_thirty_idx", fields=["-number"])
UNIQUE = indexes.UniqueIndex(name="Child_Number_key", fields=["number"])
TABLES = [
    migrations.CreateModel("Parent", [("id", fields.CuidField())], options={"db_table": "Parent"}),
    migrations.CreateModel(
        "Child",
        [
            ("id", fields.CuidField()),
            ("number", models.IntegerField(db_column="Number")),
            (
                "parent",
                models.ForeignKey(
                    "app.Parent",
                    on_delete=models.DO_NOTHING,
                    db_constraint=False,
                    db_index=False,
                    db_column="parentId",
                ),
            ),
        ],
        options={"db_table": "Child"},
    ),
]


class _Child(models.Model):
    class Meta:
        app_label = "app"
        db_table = "Child"


def statement_trigger(body: str) -> triggers.CompiledTrigger:
    return triggers.Trigger(
        name="trg_child",
        function="count_children",
        level=pgtrigger.Statement,
        when=pgtrigger.After,
        operation=pgtrigger.Insert,
        referencing=pgtrigger.Referencing(new="new_rows"),
        settings={"enable_hashjoin": "off"},
        func=body,
    ).compile(_Child)


TRIGGER = statement_trigger('BEGIN PERFORM 1 FROM @extschema@."Parent"; RETURN NULL; END')
LATER_TRIGGER = statement_trigger('BEGIN PERFORM 2 FROM @extschema@."Parent"; RETURN NULL; END')
CHECK = models.CheckConstraint(name="Child_number_check", condition=models.Q(number__gte=0))
LIKE = "Child_code_3e856013_like"
FILLED = "Child_parentId_filled_check"
FUNCTION = zero_downtime.CreateFunction(
    name="children_of",
    arguments="parent text",
    definition="RETURNS bigint LANGUAGE sql STABLE SET search_path TO '' AS $$\n"
    'SELECT count(*) FROM @extschema@."Child" WHERE "parentId" = parent\n$$',
)
LATER_DEFINITION = FUNCTION.definition.replace("count(*)", "count(id)")
HAVE_ROWS = migrations.RunSQL(
    """INSERT INTO "Child" (id, "Number", "parentId") VALUES ('a', 1, 'p'), ('b', 2, 'p'), ('c', 30, 'p')""",
    migrations.RunSQL.noop,
)


def numbers(connection: BaseDatabaseWrapper) -> list[int]:
    with connection.cursor() as cursor:
        cursor.execute('SELECT "Number" FROM "Child" ORDER BY id')
        return [number for (number,) in cursor.fetchall()]


def trigger_function(connection: BaseDatabaseWrapper) -> str:
    found = definitions.trigger(connection, "Child", "trg_child")
    return found.function if found else ""


def function_body(connection: BaseDatabaseWrapper) -> str:
    found = definitions.function(connection, "children_of", "parent text")
    return found.definition if found else ""


def nullable_parent() -> migrations.AlterField:
    field = TABLES[1].fields[2][1].clone()  # type: ignore[attr-defined]
    field.null = True
    return migrations.AlterField("child", "parent", field)


def has_index(connection: BaseDatabaseWrapper, name: str) -> bool:
    found = definitions.index(connection, name)
    return found is not None and found.is_valid


@dataclass
class Case:
    """An operation, and what the checklist needs to know about it.

    `obstacle` is SQL that creates something else with its name. `half_done` is SQL for what an interrupted run leaves.
    """

    operation: Operation
    is_done: Callable[[BaseDatabaseWrapper], bool]
    sql: str
    before: tuple[Operation, ...] = ()
    obstacle: str | None = None
    conflict: str = ""
    half_done: str | None = None
    is_undone_backwards: bool = True
    is_concurrent: bool = False


CASES = {
    "AddForeignKeyNotValid": Case(
        operation=zero_downtime.AddForeignKeyNotValid("child", KEY),
        is_done=lambda connection: definitions.constraint(connection, "Child", KEY.name) is not None,
        sql='ADD CONSTRAINT "Child_parentId_fkey" FOREIGN KEY ("parentId") REFERENCES "Parent" ("id") '
        "ON DELETE CASCADE ON UPDATE CASCADE NOT VALID",
        obstacle='ALTER TABLE "Child" ADD CONSTRAINT "Child_parentId_fkey" '
        'FOREIGN KEY ("parentId") REFERENCES "Parent" (id) ON DELETE SET NULL',
        conflict=r'found: +FOREIGN KEY \("parentId"\) REFERENCES "Parent"\(id\) ON DELETE SET NULL\n'
        r' +expected: FOREIGN KEY \("parentId"\) REFERENCES "Parent"\(id\) ON UPDATE CASCADE ON DELETE CASCADE',
        half_done='ALTER TABLE "Child" ADD CONSTRAINT "Child_parentId_fkey" '
        'FOREIGN KEY ("parentId") REFERENCES "Parent" (id) ON DELETE CASCADE ON UPDATE CASCADE',
    ),
    "ValidateConstraint": Case(
        operation=zero_downtime.ValidateConstraint("child", KEY.name),
        before=(zero_downtime.AddForeignKeyNotValid("child", KEY),),
        is_done=lambda connection: (
            (found := definitions.constraint(connection, "Child", KEY.name)) is not None
            and found.is_validated
        ),
        sql='ALTER TABLE "Child" VALIDATE CONSTRAINT "Child_parentId_fkey"',
        obstacle='ALTER TABLE "Child" DROP CONSTRAINT "Child_parentId_fkey"',
        conflict='"Child" has no constraint "Child_parentId_fkey" to validate',
        half_done='ALTER TABLE "Child" VALIDATE CONSTRAINT "Child_parentId_fkey"',
        is_undone_backwards=False,
    ),
    "AddIndexConcurrently": Case(
        operation=zero_downtime.AddIndexConcurrently("child", INDEX),
        is_done=lambda connection: has_index(connection, INDEX.name),
        sql=f'CREATE INDEX CONCURRENTLY "{INDEX.name}" ON "Child" ("Number" DESC)',
        obstacle=f'CREATE INDEX "{INDEX.name}" ON "Child" ("Number")',
        conflict=r'found: .*USING btree \("Number"\)\n +expected: .*USING btree \("Number" DESC\)',
        half_done=f'CREATE INDEX "{INDEX.name}" ON "Child" ("Number" DESC);'
        f'CREATE INDEX "{INDEX.name}_ccnew" ON "Child" ("Number" DESC);'
        f'CREATE INDEX "{INDEX.name}_ccnew1" ON "Child" ("Number" DESC);'
        f"UPDATE pg_index SET indisvalid = false WHERE indrelid = '\"Child\"'::regclass AND NOT indisprimary",
        is_concurrent=True,
    ),
    "AddLikeIndexConcurrently": Case(
        operation=zero_downtime.AddLikeIndexConcurrently("app.Child", "code"),
        before=(
            migrations.AddField("child", "code", models.TextField(null=True)),
            migrations.SeparateDatabaseAndState(
                state_operations=[
                    migrations.AlterField("child", "code", models.TextField(null=True, db_index=True))
                ]
            ),
        ),
        is_done=lambda connection: has_index(connection, LIKE),
        sql=f'CREATE INDEX CONCURRENTLY "{LIKE}" ON "Child" ("code" text_pattern_ops)',
        obstacle=f'CREATE INDEX "{LIKE}" ON "Child" (code)',
        conflict=r"found: .*USING btree \(code\)\n +expected: .*USING btree \(code text_pattern_ops\)",
        half_done=f'CREATE INDEX "{LIKE}" ON "Child" (code text_pattern_ops)',
        is_undone_backwards=False,
        is_concurrent=True,
    ),
    "AddUniqueIndexConcurrently": Case(
        operation=zero_downtime.AddUniqueIndexConcurrently("child", UNIQUE),
        is_done=lambda connection: has_index(connection, UNIQUE.name),
        sql='CREATE UNIQUE INDEX CONCURRENTLY "Child_Number_key" ON "Child" ("Number")',
        obstacle='CREATE INDEX "Child_Number_key" ON "Child" ("Number")',
        conflict=r"found: +CREATE INDEX .*\n +expected: CREATE UNIQUE INDEX",
        half_done='CREATE UNIQUE INDEX "Child_Number_key" ON "Child" ("Number");'
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = '\"Child_Number_key\"'::regclass",
        is_concurrent=True,
    ),
    "RemoveIndexConcurrently": Case(
        operation=zero_downtime.RemoveIndexConcurrently("child", INDEX.name),
        before=(migrations.AddIndex("child", INDEX),),
        is_done=lambda connection: definitions.index(connection, INDEX.name) is None,
        sql=f'DROP INDEX CONCURRENTLY IF EXISTS "{INDEX.name}"',
        obstacle=f'DROP INDEX "{INDEX.name}"; CREATE INDEX "{INDEX.name}" ON "Parent" (id)',
        conflict='found: .*ON "Parent".*\n +expected: an index on "Child"',
        half_done=f"UPDATE pg_index SET indisvalid = false WHERE indexrelid = '\"{INDEX.name}\"'::regclass",
        is_concurrent=True,
    ),
    "RemoveUniqueIndexConcurrently": Case(
        operation=zero_downtime.RemoveUniqueIndexConcurrently("child", UNIQUE.name),
        before=(migrations.AddConstraint("child", UNIQUE),),
        is_done=lambda connection: definitions.index(connection, UNIQUE.name) is None,
        sql=f'DROP INDEX CONCURRENTLY IF EXISTS "{UNIQUE.name}"',
        obstacle=f'DROP INDEX "{UNIQUE.name}"; CREATE INDEX "{UNIQUE.name}" ON "Parent" (id)',
        conflict='found: .*ON "Parent".*\n +expected: an index on "Child"',
        half_done=f"UPDATE pg_index SET indisvalid = false WHERE indexrelid = '\"{UNIQUE.name}\"'::regclass",
        is_concurrent=True,
    ),
    "CreateEnum": Case(
        operation=zero_downtime.CreateEnum("Colour", ["RED", "it's green"]),
        is_done=lambda connection: catalog.enum_labels(connection, "Colour") == ["RED", "it's green"],
        sql="CREATE TYPE \"Colour\" AS ENUM ('RED', 'it''s green')",
        obstacle="CREATE TYPE \"Colour\" AS ENUM ('it''s green', 'RED')",
        conflict="found: +it's green, RED\n +expected: RED, it's green",
        half_done="CREATE TYPE \"Colour\" AS ENUM ('RED', 'it''s green')",
    ),
    "AddEnumValue": Case(
        operation=zero_downtime.AddEnumValue("Colour", "it's blue", after="RED"),
        before=(zero_downtime.CreateEnum("Colour", ["RED", "it's green"]),),
        is_done=lambda connection: (
            catalog.enum_labels(connection, "Colour") == ["RED", "it's blue", "it's green"]
        ),
        sql="ALTER TYPE \"Colour\" ADD VALUE IF NOT EXISTS 'it''s blue' AFTER 'RED'",
        obstacle='DROP TYPE "Colour"; CREATE TYPE "Colour" AS ENUM (\'GREEN\')',
        conflict="found: +GREEN\n +expected: an enum with the label RED",
        half_done="ALTER TYPE \"Colour\" ADD VALUE 'it''s blue' AFTER 'RED'",
        is_undone_backwards=False,
    ),
    "AddCheckNotValid": Case(
        operation=zero_downtime.AddCheckNotValid("child", CHECK),
        is_done=lambda connection: definitions.constraint(connection, "Child", CHECK.name) is not None,
        sql='ALTER TABLE "Child" ADD CONSTRAINT "Child_number_check" CHECK ("Number" >= 0) NOT VALID',
        obstacle='ALTER TABLE "Child" ADD CONSTRAINT "Child_number_check" CHECK ("Number" > 0)',
        conflict=r'found: +CHECK \(\("Number" > 0\)\)\n +expected: CHECK \(\("Number" >= 0\)\)',
        half_done='ALTER TABLE "Child" ADD CONSTRAINT "Child_number_check" CHECK ("Number" >= 0)',
    ),
    "AddFieldCheckNotValid": Case(
        operation=zero_downtime.AddFieldCheckNotValid(
            "child", "number", models.PositiveIntegerField(db_column="Number")
        ),
        is_done=lambda connection: (
            definitions.constraint(connection, "Child", "Child_Number_check") is not None
        ),
        sql='ALTER TABLE "Child" ADD CONSTRAINT "Child_Number_check" CHECK ("Number" >= 0) NOT VALID',
        obstacle='ALTER TABLE "Child" ADD CONSTRAINT "Child_Number_check" CHECK ("Number" > 0)',
        conflict=r'found: +CHECK \(\("Number" > 0\)\)\n +expected: CHECK \(\("Number" >= 0\)\)',
        half_done='ALTER TABLE "Child" ADD CONSTRAINT "Child_Number_check" CHECK ("Number" >= 0)',
    ),
    "AddFilledCheck": Case(
        operation=zero_downtime.AddFilledCheck("child", "parent"),
        before=(nullable_parent(),),
        is_done=lambda connection: definitions.constraint(connection, "Child", FILLED) is not None,
        sql=f'ALTER TABLE "Child" ADD CONSTRAINT "{FILLED}" CHECK ("parentId" IS NOT NULL) NOT VALID',
        obstacle=f'ALTER TABLE "Child" ADD CONSTRAINT "{FILLED}" CHECK (id IS NOT NULL)',
        conflict=r'found: +CHECK \(\(id IS NOT NULL\)\)\n +expected: CHECK \(\("parentId" IS NOT NULL\)\)',
        half_done=f'ALTER TABLE "Child" ADD CONSTRAINT "{FILLED}" CHECK ("parentId" IS NOT NULL)',
    ),
    "SetNotNull": Case(
        operation=zero_downtime.SetNotNull("child", "parent", TABLES[1].fields[2][1]),
        before=(
            nullable_parent(),
            zero_downtime.AddFilledCheck("child", "parent"),
            zero_downtime.ValidateConstraint("child", FILLED),
        ),
        is_done=lambda connection: (
            catalog.is_not_null(connection, "Child", "parentId") is True
            and definitions.constraint(connection, "Child", FILLED) is None
        ),
        sql='ALTER TABLE "Child" ALTER COLUMN "parentId" SET NOT NULL',
        obstacle=f'ALTER TABLE "Child" DROP CONSTRAINT "{FILLED}"',
        conflict=f'"Child" has no constraint "{FILLED}". Without it, PostgreSQL would search "parentId" for NULL',
        half_done=f'ALTER TABLE "Child" DROP CONSTRAINT "{FILLED}", ALTER "parentId" SET NOT NULL',
    ),
    "EnableRowLevelSecurity": Case(
        operation=zero_downtime.EnableRowLevelSecurity("child"),
        is_done=lambda connection: catalog.has_row_security(connection, "Child") is True,
        sql='ALTER TABLE "Child" ENABLE ROW LEVEL SECURITY',
        half_done='ALTER TABLE "Child" ENABLE ROW LEVEL SECURITY',
    ),
    "AddTrigger": Case(
        operation=zero_downtime.AddTrigger("child", TRIGGER),
        is_done=lambda connection: (
            (found := definitions.trigger(connection, "Child", "trg_child")) is not None
            and found.is_enabled
            and "FOR EACH STATEMENT" in found.definition
            and "SET search_path TO ''" in found.function
        ),
        sql='CREATE OR REPLACE TRIGGER trg_child\nAFTER INSERT ON "public"."Child"\nREFERENCING NEW TABLE AS new_rows',
        obstacle="CREATE FUNCTION something_else() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';"
        'CREATE TRIGGER trg_child AFTER INSERT ON "Child" FOR EACH ROW EXECUTE FUNCTION something_else()',
        conflict=r"found: .*something_else\(\)\n +expected: (?s:.)*count_children",
        half_done="CREATE FUNCTION count_children() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';"
        'CREATE TRIGGER trg_child AFTER INSERT ON "Child" FOR EACH ROW EXECUTE FUNCTION count_children();'
        'ALTER TABLE "Child" DISABLE TRIGGER trg_child',
    ),
    "ReplaceTrigger": Case(
        operation=zero_downtime.ReplaceTrigger("child", LATER_TRIGGER),
        before=(zero_downtime.AddTrigger("child", TRIGGER),),
        is_done=lambda connection: "PERFORM 2" in trigger_function(connection),
        sql='CREATE OR REPLACE TRIGGER trg_child\nAFTER INSERT ON "public"."Child"\nREFERENCING NEW TABLE AS new_rows',
        obstacle='DROP TRIGGER trg_child ON "Child"; CREATE FUNCTION something_else() RETURNS trigger '
        "LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';"
        'CREATE TRIGGER trg_child AFTER INSERT ON "Child" FOR EACH ROW EXECUTE FUNCTION something_else()',
        conflict=r"found: .*something_else\(\)\n +expected: (?s:.)*count_children",
        half_done='ALTER TABLE "Child" DISABLE TRIGGER trg_child',
    ),
    "CreateFunction": Case(
        operation=FUNCTION,
        is_done=lambda connection: (
            (found := definitions.function(connection, "children_of", "parent text")) is not None
            and 'WHERE "parentId" = parent' in found.definition
        ),
        sql='CREATE OR REPLACE FUNCTION "public".children_of(parent text)\nRETURNS bigint',
        obstacle="CREATE FUNCTION children_of(parent text) RETURNS bigint LANGUAGE sql AS 'SELECT 1::bigint'",
        conflict=r"found: (?s:.)*SELECT 1::bigint(?s:.)*expected: (?s:.)*parentId",
        half_done="CREATE FUNCTION children_of(parent text) RETURNS bigint LANGUAGE sql AS 'SELECT 1::bigint';"
        "COMMENT ON FUNCTION children_of(parent text) IS 'council of an earlier version'",
    ),
    "ReplaceFunction": Case(
        operation=zero_downtime.ReplaceFunction(
            FUNCTION.name, FUNCTION.arguments, LATER_DEFINITION, former=FUNCTION.definition
        ),
        before=(FUNCTION,),
        is_done=lambda connection: "count(id)" in function_body(connection),
        sql='CREATE OR REPLACE FUNCTION "public".children_of(parent text)\nRETURNS bigint',
        obstacle="COMMENT ON FUNCTION children_of(parent text) IS NULL",
        conflict=r"found: (?s:.)*count\(\*\)(?s:.)*expected: (?s:.)*count\(id\)",
        half_done="CREATE OR REPLACE FUNCTION children_of(parent text) RETURNS bigint "
        "LANGUAGE sql AS 'SELECT 1::bigint'",
    ),
    "RemoveFunction": Case(
        operation=zero_downtime.RemoveFunction(FUNCTION.name, FUNCTION.arguments, FUNCTION.definition),
        before=(FUNCTION,),
        is_done=lambda connection: function_body(connection) == "",
        sql='DROP FUNCTION IF EXISTS "public".children_of(parent text)',
        half_done="DROP FUNCTION children_of(parent text)",
    ),
    "UpdateInBatches": Case(
        operation=zero_downtime.UpdateInBatches(
            "child",
            """UPDATE "Child" SET "Number" = 10 WHERE id = ANY (%(keys)s) AND "Number" < 10""",
            batch_rows=2,
        ),
        before=(HAVE_ROWS,),
        is_done=lambda connection: numbers(connection) == [10, 10, 30],
        sql="""UPDATE "Child" SET "Number" = 10 WHERE id = ANY ('{2 keys}') AND "Number" < 10""",
        half_done="""UPDATE "Child" SET "Number" = 10 WHERE id = 'a'""",
        is_undone_backwards=False,
        is_concurrent=True,
    ),
}
CONCURRENT = [name for name, case in CASES.items() if case.is_concurrent]
OBSTRUCTED = [name for name, case in CASES.items() if case.obstacle]


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    return CASES[request.param]


class Runner:
    """Runs operations of an app without files, and keeps its migration state."""

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self.connection = connection
        self.state = ProjectState()

    def forwards(self, *operations: Operation, atomic: bool | None = None, collect_sql: bool = False) -> str:
        collected: list[str] = []
        for operation in operations:
            after = self.state.clone()
            operation.state_forwards("app", after)
            use_transaction = (operation.atomic is not False) if atomic is None else atomic
            with self.connection.schema_editor(atomic=use_transaction, collect_sql=collect_sql) as editor:
                operation.database_forwards("app", editor, self.state, after)
            collected += editor.collected_sql if collect_sql else []
            self.before, self.state = self.state, after
        return "\n".join(collected)

    def backwards(self, operation: Operation) -> None:
        with self.connection.schema_editor(atomic=operation.atomic is not False) as editor:
            operation.database_backwards("app", editor, self.state, self.before)
        self.state = self.before

    def again(self, operation: Operation) -> None:
        """Run an operation again from the state before it, as after a crash."""
        self.state = self.before
        self.forwards(operation)

    def execute(self, statements: str) -> None:
        with self.connection.cursor() as cursor:
            cursor.execute(statements)

    def schema(self) -> list[Any]:
        """Return the ids of all versions of all rows that describe the current schema."""
        with self.connection.cursor() as cursor:
            cursor.execute(SCHEMA_ROWS)
            return list(cursor.fetchall())


SCHEMA_ROWS = """
    SELECT 'class', oid, xmin::text FROM pg_class WHERE relnamespace = current_schema()::regnamespace
    UNION ALL
    SELECT 'constraint', oid, xmin::text FROM pg_constraint WHERE connamespace = current_schema()::regnamespace
    UNION ALL
    SELECT 'function', oid, xmin::text FROM pg_proc WHERE pronamespace = current_schema()::regnamespace
    UNION ALL
    SELECT 'type', oid, xmin::text FROM pg_type WHERE typnamespace = current_schema()::regnamespace
    UNION ALL
    SELECT 'trigger', g.oid, g.xmin::text
      FROM pg_trigger g JOIN pg_class t ON t.oid = tgrelid AND relnamespace = current_schema()::regnamespace
    UNION ALL
    SELECT 'index', indexrelid, i.xmin::text
      FROM pg_index i JOIN pg_class t ON t.oid = indexrelid AND relnamespace = current_schema()::regnamespace
     ORDER BY 1, 2
"""


@pytest.fixture
def runner(scratch: BaseDatabaseWrapper) -> Runner:
    runner = Runner(scratch)
    runner.forwards(*TABLES)
    return runner


def test_forwards_applies_the_operation(runner: Runner, case: Case) -> None:
    runner.forwards(*case.before)
    assert not case.is_done(runner.connection)

    runner.forwards(case.operation)

    assert case.is_done(runner.connection)


def test_backwards_reverses_the_operation(runner: Runner, case: Case) -> None:
    runner.forwards(*case.before, case.operation)

    runner.backwards(case.operation)

    assert case.is_done(runner.connection) is not case.is_undone_backwards


def test_backwards_and_forwards_again_ends_where_it_began(runner: Runner, case: Case) -> None:
    runner.forwards(*case.before, case.operation)
    runner.backwards(case.operation)

    runner.forwards(case.operation)

    assert case.is_done(runner.connection)


def test_twice_changes_nothing_the_second_time(runner: Runner, case: Case) -> None:
    runner.forwards(*case.before, case.operation)
    schema = runner.schema()

    runner.again(case.operation)

    assert runner.schema() == schema


def test_an_interrupted_operation_is_finished(runner: Runner, case: Case) -> None:
    runner.forwards(*case.before)
    assert case.half_done
    runner.execute(case.half_done)

    runner.forwards(case.operation)

    assert case.is_done(runner.connection)
    with runner.connection.cursor() as cursor:
        cursor.execute("SELECT indexrelid::regclass::text FROM pg_index WHERE NOT indisvalid")
        assert cursor.fetchall() == []


@pytest.mark.parametrize("name", OBSTRUCTED)
def test_another_object_with_the_name_is_refused_and_both_definitions_are_shown(
    runner: Runner, name: str
) -> None:
    case = CASES[name]
    runner.forwards(*case.before)
    assert case.obstacle
    runner.execute(case.obstacle)

    with pytest.raises(CommandError, match=case.conflict):
        runner.forwards(case.operation)


def test_it_works_in_another_schema_and_ignores_the_same_names_in_public(runner: Runner, case: Case) -> None:
    runner.forwards(*case.before)
    if case.obstacle:
        runner.execute(case.obstacle)
    public = runner.schema()
    runner.execute('CREATE SCHEMA "Other Schema"; SET search_path TO "Other Schema"')
    elsewhere = Runner(runner.connection)
    elsewhere.forwards(*TABLES, *case.before)
    assert not case.is_done(runner.connection)

    elsewhere.forwards(case.operation)
    elsewhere.again(case.operation)

    assert case.is_done(runner.connection)
    runner.execute("SET search_path TO public")
    assert runner.schema() == public


@pytest.mark.parametrize("name", CONCURRENT)
def test_in_an_atomic_migration_it_is_refused_with_the_cure(runner: Runner, name: str) -> None:
    case = CASES[name]
    runner.forwards(*case.before)

    with pytest.raises(NotSupportedError, match=f"{name} cannot run in a transaction. Set `atomic = False`"):
        runner.forwards(case.operation, atomic=True)

    assert not case.is_done(runner.connection)


def test_sqlmigrate_prints_the_sql_without_a_look_up(runner: Runner, case: Case) -> None:
    runner.forwards(*case.before)

    printed = runner.forwards(case.operation, collect_sql=True)

    assert case.sql in printed
    assert not case.is_done(runner.connection)


def test_it_can_be_written_to_a_migration_file(case: Case) -> None:
    text, imports = OperationWriter(case.operation, indentation=0).serialize()
    namespace: dict[str, Any] = {}
    exec("\n".join(imports), namespace)

    copy = eval(text.rstrip(","), namespace)

    assert type(copy) is type(case.operation)
    assert OperationWriter(copy, indentation=0).serialize() == (text, imports)
    assert copy.describe() == case.operation.describe()
    assert copy.migration_name_fragment


def test_a_duplicate_fails_a_unique_build_and_leaves_nothing(runner: Runner) -> None:
    runner.execute("""INSERT INTO "Child" VALUES ('a', 7, 'x'), ('b', 7, 'x')""")

    with pytest.raises(
        DuplicateKeys,
        match='"Child" holds duplicates.*\n  2 rows with "Number" = 7\nThe unfinished index was removed',
    ):
        runner.forwards(CASES["AddUniqueIndexConcurrently"].operation)

    assert definitions.index(runner.connection, UNIQUE.name) is None
    runner.execute("""INSERT INTO "Child" VALUES ('c', 7, 'x')""")


def test_not_null_is_set_without_a_scan_while_reads_wait(runner: Runner) -> None:
    runner.forwards(*CASES["SetNotNull"].before)
    runner.execute("""INSERT INTO "Child" VALUES ('a', 7, 'x')""")
    reads = """SELECT seq_scan FROM pg_stat_xact_user_tables WHERE relname = 'Child'"""
    with runner.connection.schema_editor() as editor, runner.connection.cursor() as cursor:
        after = runner.state.clone()
        CASES["SetNotNull"].operation.state_forwards("app", after)
        cursor.execute(reads)
        before = cursor.fetchall()

        CASES["SetNotNull"].operation.database_forwards("app", editor, runner.state, after)

        cursor.execute(reads)
        assert cursor.fetchall() == before


def test_a_null_fails_the_validation_and_is_named_by_its_check(runner: Runner) -> None:
    runner.forwards(nullable_parent())
    runner.execute("""INSERT INTO "Child" VALUES ('a', 7, NULL)""")
    runner.forwards(zero_downtime.AddFilledCheck("child", "parent"))

    with pytest.raises(Exception, match=f'check constraint "{FILLED}" of relation "Child" is violated'):
        runner.forwards(zero_downtime.ValidateConstraint("child", FILLED))


def test_rows_without_a_parent_fail_only_the_validation(runner: Runner) -> None:
    runner.execute("""INSERT INTO "Child" VALUES ('a', 7, 'gone')""")
    runner.forwards(zero_downtime.AddForeignKeyNotValid("child", KEY))

    with pytest.raises(OrphanRows) as caught:
        runner.forwards(zero_downtime.ValidateConstraint("child", KEY.name))

    assert """1 row with "parentId" = 'gone'""" in str(caught.value)


def test_reversing_restores_the_old_trigger_which_is_never_missing(runner: Runner) -> None:
    runner.forwards(zero_downtime.AddTrigger("child", TRIGGER))
    replace = zero_downtime.ReplaceTrigger("child", LATER_TRIGGER)
    oid = "SELECT oid FROM pg_trigger WHERE tgname = 'trg_child'"
    with runner.connection.cursor() as cursor:
        cursor.execute(oid)
        before = cursor.fetchall()

        runner.forwards(replace)
        assert runner.state.models["app", "child"].options["triggers"] == [LATER_TRIGGER]
        runner.backwards(replace)

        cursor.execute(oid)
        assert cursor.fetchall() == before
    assert "PERFORM 1" in trigger_function(runner.connection)


def test_a_trigger_s_condition_excludes_other_rows(runner: Runner) -> None:
    conditional = triggers.Trigger(
        name="trg_child",
        function="refuse_child",
        level=pgtrigger.Row,
        when=pgtrigger.Before,
        operation=pgtrigger.Insert,
        condition=pgtrigger.Condition('NEW."Number" > 100'),
        func="BEGIN RAISE EXCEPTION 'too large'; END",
    ).compile(_Child)
    assert type(conditional.sql) is triggers.TriggerSqlV2
    runner.forwards(zero_downtime.AddTrigger("child", conditional))

    runner.execute("""INSERT INTO "Child" VALUES ('a', 100, 'x')""")

    with pytest.raises(ProgrammingError, match="too large"):
        runner.execute("""INSERT INTO "Child" VALUES ('b', 101, 'x')""")


def test_batches_skip_locked_rows_and_change_them_later(
    runner: Runner, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_operations, "PAUSE_SECONDS", 0.05)
    runner.forwards(HAVE_ROWS)
    gateway = database.connect()
    gateway.execute("BEGIN")
    gateway.execute("""UPDATE "Child" SET "Number" = 2 WHERE id = 'b'""")

    def let_go_when_the_others_are_done() -> bool:
        with database.connect() as onlooker:
            deadline = time.monotonic() + 20
            others = """SELECT "Number" FROM "Child" WHERE id IN ('a', 'c') ORDER BY id"""
            while is_waiting := onlooker.execute(others).fetchall() != [(10,), (30,)]:
                if time.monotonic() > deadline:
                    break
                time.sleep(0.02)
        gateway.execute("COMMIT")
        gateway.close()
        return not is_waiting

    with ThreadPoolExecutor(1) as pool:
        were_done = pool.submit(let_go_when_the_others_are_done)
        runner.forwards(CASES["UpdateInBatches"].operation)
        assert were_done.result()
    assert numbers(runner.connection) == [10, 10, 30]


@pytest.mark.parametrize(
    ("rows", "seconds_a_row", "seconds_a_batch", "fewest", "most"),
    [
        (300, 0.002, 0.0, 2, 6),
        (30, 0.02, 0.0, 1, 1),
        (3_000, 0.0, 0.0, 80, 500),
        (3_000, 0.0, 0.015, 80, 500),
    ],
)
def test_batches_are_sized_to_lock_their_rows_for_about_10_ms(
    runner: Runner, rows: int, seconds_a_row: float, seconds_a_batch: float, fewest: int, most: int
) -> None:
    """Rows of a batch have the same transaction id. Time that does not depend on rows must not make batches smaller."""
    runner.execute(
        f"""INSERT INTO "Child" SELECT 'c' || lpad(n::text, 5, '0'), 0, 'x' FROM generate_series(1, {rows}) AS n"""
    )
    runner.forwards(
        zero_downtime.UpdateInBatches(
            "child",
            f"""UPDATE "Child" SET "Number" = txid_current()::integer
                 FROM (SELECT pg_sleep({seconds_a_batch} + {seconds_a_row} * cardinality(%(keys)s::text[]))) AS cost
                 WHERE id = ANY (%(keys)s)""",
            batch_rows=500,
        )
    )
    with runner.connection.cursor() as cursor:
        cursor.execute('SELECT count(*) FROM "Child" GROUP BY "Number" ORDER BY "Number"')
        sizes = [size for (size,) in cursor.fetchall()]
    assert sizes[0] == 10
    assert fewest <= statistics.median(sizes[1:]) <= most, sizes


def test_batches_commit_without_waiting_for_the_disk_and_nothing_else_does(runner: Runner) -> None:
    runner.execute("SET synchronous_commit TO on")  # the test server has it off
    runner.forwards(HAVE_ROWS)
    runner.forwards(
        zero_downtime.UpdateInBatches(
            "child",
            """UPDATE "Child" SET "Number" = CASE current_setting('synchronous_commit') WHEN 'off' THEN 1 ELSE 0 END
                WHERE id = ANY (%(keys)s)""",
        )
    )

    assert numbers(runner.connection) == [1, 1, 1]
    with runner.connection.cursor() as cursor:
        cursor.execute("SHOW synchronous_commit")
        assert cursor.fetchone() == ("on",)


def test_batches_give_up_and_name_rows_that_stay_locked(
    runner: Runner, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_operations, "PATIENCE_SECONDS", -1)
    runner.forwards(HAVE_ROWS)
    with database.connect() as gateway, gateway.transaction():
        gateway.execute("""UPDATE "Child" SET "Number" = 2 WHERE id = 'b'""")
        with pytest.raises(CommandError, match="1 rows of \"Child\" stayed locked for .*, for example 'b'"):
            runner.forwards(CASES["UpdateInBatches"].operation)
    assert numbers(runner.connection) == [10, 2, 30]


def test_an_index_with_the_name_of_a_table_is_refused(runner: Runner) -> None:
    runner.execute(f'CREATE TABLE "{INDEX.name}" ()')

    with pytest.raises(DefinitionConflict, match="found:    a table\n  expected: an index"):
        runner.forwards(CASES["AddIndexConcurrently"].operation)


def test_session_settings_are_restored_after_a_build_and_after_a_failed_one(runner: Runner) -> None:
    runner.execute("SET lock_timeout = '123ms'; SET statement_timeout = '45s'")
    runner.execute("""INSERT INTO "Child" VALUES ('a', 7, 'x'), ('b', 7, 'x')""")

    runner.forwards(CASES["AddIndexConcurrently"].operation)
    with pytest.raises(DuplicateKeys):
        runner.forwards(CASES["AddUniqueIndexConcurrently"].operation)

    with runner.connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('lock_timeout'), current_setting('statement_timeout')")
        assert cursor.fetchone() == ("123ms", "45s")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: zero_downtime.AddForeignKeyNotValid("child", cast(Any, UNIQUE)),
            "takes a ForeignKeyConstraint, not",
        ),
        (
            lambda: zero_downtime.AddUniqueIndexConcurrently("child", cast(Any, KEY)),
            "takes a UniqueIndex, not",
        ),
        (lambda: zero_downtime.AddCheckNotValid("child", cast(Any, UNIQUE)), "takes a CheckConstraint, not"),
    ],
)
def test_the_wrong_kind_of_object_is_refused(make: Callable[[], Operation], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        make()


def test_validation_has_no_time_limit_and_the_role_s_limit_applies_after_it(runner: Runner) -> None:
    runner.execute("SET statement_timeout = '45s'")
    runner.forwards(zero_downtime.AddForeignKeyNotValid("child", KEY))
    during: list[str] = []

    def ask(execute: Any, sql: str, *args: Any) -> Any:
        if "VALIDATE" in sql:
            during.append(current_setting(runner.connection, "statement_timeout"))
        return execute(sql, *args)

    with runner.connection.execute_wrapper(ask):
        runner.forwards(zero_downtime.ValidateConstraint("child", KEY.name))

    assert during == ["0"]
    assert current_setting(runner.connection, "statement_timeout") == "45s"


def current_setting(connection: BaseDatabaseWrapper, name: str) -> str:
    assert connection.connection
    return str(connection.connection.execute("SELECT current_setting(%s)", [name]).fetchone()[0])
