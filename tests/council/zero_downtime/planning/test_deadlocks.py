"""The rule for several tables in one transaction, beside deadlocks that PostgreSQL finds."""

import threading
from collections.abc import Sequence
from typing import Any

import psycopg
import pytest
from django.db import connection, migrations, models
from django.db.migrations.migration import Migration
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState

from council.zero_downtime.planning import plan
from council.zero_downtime.planning.inventory import Inventory, Table, TableConstraint
from council.zero_downtime.planning.steps import Step
from tests.council.zero_downtime.planning.test_plan import Predict, predict, there
from tests.council.zero_downtime.planning.test_refusal import rules as refused
from tests.databases import Database

__all__ = ["predict", "there"]

pytestmark = pytest.mark.django_db

CHILD = 'ALTER TABLE "Child" ADD COLUMN more integer'
PARENT = 'ALTER TABLE "Parent" ADD COLUMN more integer'
KEY = 'ALTER TABLE "Child" ADD FOREIGN KEY ("parentId") REFERENCES "Parent" (id) NOT VALID'
TRIGGER = 'CREATE TRIGGER t AFTER INSERT ON "{}" EXECUTE FUNCTION nothing()'
TWO_KEYS = 'CREATE TABLE made (child text REFERENCES "Child" (id), parent text REFERENCES "Parent" (id))'


def faults(steps: list[Step]) -> list[str]:
    return [risk.fault for step in steps for risk in step.warnings if risk.rule == "deadlock"]


@pytest.mark.any_server
@pytest.mark.parametrize(
    "together",
    [
        [CHILD, PARENT],
        [TRIGGER.format("Child"), TRIGGER.format("Parent")],
        ['CREATE INDEX i ON "Child" (id)', TRIGGER.format("Parent")],
        ['LOCK TABLE "Child", "Parent" IN SHARE MODE'],
        ['DROP TABLE "Child", "Parent"'],
        [KEY, 'ALTER TABLE "Third" ADD COLUMN more integer'],
        [TWO_KEYS],
        ['ALTER TABLE "Third" ADD a text REFERENCES "Parent" (id), ADD b text REFERENCES "Child" (id)'],
        ['ALTER TABLE "Child" DROP CONSTRAINT known', 'ALTER TABLE "Third" DROP CONSTRAINT known'],
        ['DROP TABLE "Joined"'],
    ],
)
def test_a_transaction_that_locks_several_tables_is_warned_of(
    predict: Predict, there: Inventory, together: list[str]
) -> None:
    there.tables["Third"] = Table(constraints={"known": TableConstraint("f", "Parent")})
    keys = {"c": TableConstraint("f", "Child"), "p": TableConstraint("f", "Parent")}
    there.tables["Joined"] = Table(constraints=keys)
    assert len(faults(predict(*together))) == 1


@pytest.mark.any_server
@pytest.mark.parametrize(
    "apart",
    [
        [KEY],
        [CHILD, KEY],
        [KEY, CHILD],
        ['ALTER TABLE "Child" DROP CONSTRAINT known'],
        ['ALTER TABLE "Child" VALIDATE CONSTRAINT known'],
        ['DROP TABLE "Child"'],
        ['CREATE TABLE made (id text REFERENCES "Parent" (id))', "CREATE INDEX i ON made (id)", PARENT],
        ["CREATE TABLE one (id text)", "CREATE TABLE two (id text)", "DROP TABLE one", CHILD],
        ["COMMENT ON TABLE \"Child\" IS 'x'", "COMMENT ON TABLE \"Parent\" IS 'x'"],
        ['UPDATE "Parent" SET id = id', 'INSERT INTO "Child" (id) SELECT id FROM "Parent"'],
    ],
)
def test_the_two_tables_of_a_key_and_what_no_writer_waits_for_are_not(
    predict: Predict, there: Inventory, apart: list[str]
) -> None:
    assert faults(predict(*apart)) == []


@pytest.mark.any_server
def test_only_what_is_one_transaction_counts(predict: Predict) -> None:
    assert faults(predict(CHILD, PARENT, atomic=False)) == []
    assert faults(predict(migrations.RunSQL([CHILD, PARENT]), atomic=False)) == []
    assert faults(predict(f"{CHILD}; {PARENT}", atomic=False)) == [  # sent as one, it is one transaction
        'It waits for "Parent" while "Child" stays locked (ACCESS EXCLUSIVE): a transaction that has used "Parent" '
        'and waits for "Child" deadlocks with it.'
    ]


@pytest.mark.any_server
def test_small_tables_and_those_of_the_same_run_are_not_warned_of(predict: Predict, there: Inventory) -> None:
    def told(**attributes: Any) -> tuple[int, set[str]]:
        steps = predict(*map(TRIGGER.format, ("Child", "Parent")), **attributes)
        return len(faults(steps)), refused(steps)

    there.has_sizes = True
    there.tables["Parent"].rows = 300
    assert told() == (0, set())
    there.tables["Parent"].rows = 100_000
    assert told() == (1, set())  # a migrate that meets one begins again
    assert told(accepts={"deadlock": "Nobody writes to both."}) == (0, set())
    there.tables["Parent"].is_in_use = False
    assert told() == (0, set())


def model(name: str, *fields: tuple[str, Any]) -> migrations.CreateModel:
    return migrations.CreateModel(name, [("id", models.BigAutoField(primary_key=True)), *fields])


def lint(*operations: Sequence[Operation]) -> list[str]:
    """Name the migrations of an app, one for each list of operations, of which lint warns."""
    number: Any = models.IntegerField(null=True)
    first: Any = type("Migration", (Migration,), {"operations": [model("Old", ("number", number))]})
    made = [(first("0001", "old"), False)]
    for place, own in enumerate(operations, start=1):
        migration: Any = type("Migration", (Migration,), {"operations": own})
        made.append((migration(f"{place:04}", "app"), False))
    there = Inventory()
    steps = plan.steps(connection, made, state=ProjectState(), there=there, is_one_release=False)
    return [step.migration for step in steps if faults([step])]


@pytest.mark.any_server
def test_for_lint_a_table_is_new_until_its_columns_change_or_another_is_made() -> None:
    both = [model("One"), model("Two")]
    triggers = [migrations.RunSQL(TRIGGER.format(table)) for table in ("app_one", "app_two")]
    old = [migrations.RunSQL(TRIGGER.format(table)) for table in ("old_old", "app_one")]
    number: Any = models.IntegerField(null=True)
    columns = [migrations.AddField(name, "number", number) for name in ("one", "two")]
    another = [model("Three")]

    assert lint(both, triggers) == []
    assert lint(both, old) == []
    assert lint(both, columns[:1], triggers) == []
    assert lint(both, columns) == ["app.0002"]
    assert lint(both, another, triggers) == ["app.0003"]
    assert lint(both, columns[:1], old) == ["app.0003"]


TABLES = """
    CREATE TABLE "Child" (id text); CREATE TABLE "Parent" (id text);
    CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'
"""
BOTH = [TRIGGER.format("Child"), TRIGGER.format("Parent")]


@pytest.mark.parametrize("transactions", [[BOTH], [BOTH[:1], BOTH[1:]]], ids=["in one", "in two"])
def test_postgresql_finds_a_deadlock_with_a_writer_where_the_plan_warns_of_one(
    predict: Predict, database: Database, transactions: list[list[str]]
) -> None:
    """The writer has written to Parent, and writes to Child when the migration waits for Parent."""
    database.execute(TABLES)
    ended: list[str] = []

    def run(session: psycopg.Connection, statements: list[str], who: str) -> None:
        try:
            for statement in statements:
                session.execute(statement.encode())
        except psycopg.errors.DeadlockDetected:
            ended.append(who)
            session.rollback()

    def migrate() -> None:
        with database.connect() as session:
            for statements in transactions:
                run(session, ["BEGIN", *statements, "COMMIT"], "migration")

    with database.connect() as writer:
        writer.execute("SET deadlock_timeout = '50ms'")
        run(writer, ["BEGIN", """INSERT INTO "Parent" VALUES ('p')"""], "writer")
        migration = threading.Thread(target=migrate)
        migration.start()
        database.wait_for_waiting(1)
        run(writer, ["""INSERT INTO "Child" VALUES ('c')""", "COMMIT"], "writer")
        migration.join()

    warned = [bool(faults(predict(*statements))) for statements in transactions]
    assert warned == ([True] if transactions == [BOTH] else [False, False])
    assert len(ended) == sum(warned)
