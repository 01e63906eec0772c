"""Migrations that migrate refuses before it writes anything."""

import json
from typing import Any

import pytest
from django.db import migrations

from council import zero_downtime
from council.zero_downtime.planning import plan_report, refusal
from council.zero_downtime.planning.inventory import Inventory
from tests.council.zero_downtime.planning.test_plan import Predict, predict, there
from tests.databases import Database

__all__ = ["predict", "there"]

pytestmark = pytest.mark.django_db

HEAVY = "tests.heavy.settings"
COLUMN = """ALTER TABLE "Child" ADD COLUMN more integer"""
SCAN = """ALTER TABLE "Child" ADD CHECK ("Number" > 0)"""
UPDATE = """UPDATE "Child" SET "Number" = 1"""
PYTHON = migrations.RunPython(migrations.RunPython.noop)
REFUSED: list[Any] = [
    (['CREATE INDEX i ON "Child" (id)'], "plain-index"),
    ([SCAN], "scan-under-lock"),
    (["""ALTER TABLE "Child" ALTER id TYPE integer USING 1"""], "rewrite"),
    (["""ALTER TABLE "Child" ADD COLUMN at timestamptz DEFAULT clock_timestamp()"""], "volatile-default"),
    (["""ALTER TABLE "Child" ADD FOREIGN KEY ("parentId") REFERENCES "Parent" (id)"""], "validated-key"),
    ([COLUMN, UPDATE], "scan-under-lock"),
    ([UPDATE], "rows-locked"),
    ([COLUMN, PYTHON], "unknown-operation"),
    ([PYTHON], "unknown-operation"),
    (["DO $$ BEGIN END $$"], "unknown-statement"),
]
ALLOWED: list[Any] = [
    ([COLUMN], {}),
    (["""CREATE INDEX CONCURRENTLY i ON "Child" (id)"""], {"atomic": False}),
    (["""ALTER TABLE "Child" VALIDATE CONSTRAINT known"""], {}),
    ([zero_downtime.UpdateInBatches("child", UPDATE)], {"atomic": False}),
    (["CREATE TABLE made (id integer)", "CREATE INDEX i ON made (id)", "UPDATE made SET id = 1"], {}),
    ([PYTHON], {"atomic": False}),
    (["SET CONSTRAINTS ALL IMMEDIATE"], {}),
]


def rules(steps: Any, limit_seconds: float = 0.1) -> set[str]:
    return {risk.rule for harm in refusal.harms(steps, limit_seconds=limit_seconds) for risk in harm.risks}


@pytest.mark.parametrize(("steps", "rule"), REFUSED)
def test_an_operation_that_makes_others_wait_is_refused_on_a_large_table(
    steps: list[Any], rule: str, predict: Predict, there: Inventory
) -> None:
    there.tables["Child"].rows *= 10
    assert rule in rules(predict(*steps))


@pytest.mark.parametrize(("steps", "rule"), REFUSED)
def test_an_operation_on_a_small_table_is_not_refused(
    steps: list[Any], rule: str, predict: Predict, there: Inventory
) -> None:
    there.tables["Child"].rows, there.tables["Child"].bytes = 300, 30_000
    assert rules(predict(*steps)) == set()


@pytest.mark.parametrize(("steps", "rule"), REFUSED)
def test_an_operation_on_a_table_of_the_same_run_is_not_refused(
    steps: list[Any], rule: str, predict: Predict, there: Inventory
) -> None:
    there.tables["Child"].is_in_use = there.tables["Parent"].is_in_use = False
    assert rules(predict(*steps)) == set()


@pytest.mark.parametrize(("steps", "rule"), REFUSED)
def test_an_accepted_risk_is_not_refused(steps: list[Any], rule: str, predict: Predict) -> None:
    accepts = dict.fromkeys(
        [rule, "scan-under-lock", "volatile-default", "rewrite", "rows-locked"], "A reason."
    )
    assert rules(predict(*steps, accepts=accepts)) == set()


@pytest.mark.parametrize(("steps", "attributes"), ALLOWED)
def test_an_operation_that_makes_nobody_wait_is_not_refused(
    steps: list[Any], attributes: dict[str, Any], predict: Predict
) -> None:
    assert rules(predict(*steps, **attributes)) == set()


def test_a_longer_lock_timeout_allows_longer_waits(predict: Predict) -> None:
    steps = predict(SCAN)
    assert rules(steps, limit_seconds=0.01)
    assert not rules(steps, limit_seconds=60.0)


def test_python_behind_a_lock_says_which_locks_it_holds(predict: Predict) -> None:
    *_, step = predict(COLUMN, """ALTER TABLE "Parent" ADD COLUMN more integer""", PYTHON)
    [risk] = step.risks
    assert risk.fault.endswith(
        'Until it ends, "Child" (ACCESS EXCLUSIVE) and "Parent" (ACCESS EXCLUSIVE) stay locked: '
        "reads, writes and DDL wait."
    )
    assert risk.cure.startswith("Put it into its own migration.")
    [alone] = predict(PYTHON)
    assert "stay" not in alone.risks[0].fault


def test_the_summary_counts_operations_with_unknown_locks(predict: Predict) -> None:
    unknown = plan_report.summary(predict(COLUMN, PYTHON))
    assert "wait for an instant at most; this is unknown for 1 operation; 1 warning." in unknown
    accepted = plan_report.summary(predict(COLUMN, PYTHON, accepts={"unknown-operation": "It does nothing."}))
    assert accepted.endswith("reads and writes wait for an instant at most; 0 warnings.")


@pytest.fixture
def large(database: Database) -> Database:
    """The gateway's database, with a million members according to the catalogue."""
    database.manage("migrate", "council", "0001")
    database.execute(
        """UPDATE pg_class SET reltuples = 1000000, relpages = 20000 WHERE oid = '"Member"'::regclass"""
    )
    return database


def test_migrate_refuses_with_the_plan_s_message_and_writes_nothing(large: Database) -> None:
    before, record = large.catalog(), large.fetch("SELECT * FROM django_migrations")

    run = large.manage("migrate", "heavy", check=False, DJANGO_SETTINGS_MODULE=HEAVY)

    assert run.returncode == 1
    words = run.stderr
    assert "2 operations would make other users of the database wait for longer than 100 ms." in words
    assert "Nothing was changed.\nheavy.0001_plain_index\n  Raw SQL operation\n" in words
    assert '    SHARE on "Member" for about ' in words
    assert (
        'plain-index: Index "heavy_idx" is built while nobody can write to "Member". Use zero_down' in words
    )
    assert 'Until it ends, "Member" (ACCESS EXCLUSIVE) stays locked: reads, writes and DDL wait.' in words
    assert "--accept-risks" in words and "ACCEPTED_MIGRATION_RISKS" in words
    assert "Traceback" not in words
    assert large.catalog() == before
    assert large.fetch("SELECT * FROM django_migrations") == record
    plan = large.manage("migrate", "heavy", "--plan", check=False, DJANGO_SETTINGS_MODULE=HEAVY)
    assert (
        plan.stdout.splitlines()[-1]
        == "Without --accept-risks, migrate refuses this plan because of 2 operations."
    )
    told = json.loads(
        large.manage(
            "migrate", "heavy", "--plan", "--format=json", check=False, DJANGO_SETTINGS_MODULE=HEAVY
        ).stdout
    )
    assert [step["migration"] for step in told["steps"] if step["warnings"]] == [
        "heavy.0001_plain_index",
        "heavy.0002_python_behind_a_lock",
    ]


def test_migrate_continues_with_accept_risks(large: Database) -> None:
    run = large.manage("migrate", "heavy", "--accept-risks", DJANGO_SETTINGS_MODULE=HEAVY)

    assert "Applied heavy.0002_python_behind_a_lock" in run.stdout


def test_migrate_continues_on_small_tables(database: Database) -> None:
    run = database.manage("migrate", "heavy", DJANGO_SETTINGS_MODULE=HEAVY)

    assert "Applied heavy.0002_python_behind_a_lock" in run.stdout
