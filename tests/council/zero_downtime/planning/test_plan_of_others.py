"""Operations that read the database to write their SQL, and databases with more than our tables."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.postgres.operations import AddIndexConcurrently
from django.core.management import call_command
from django.db import migrations, models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.migration import Migration
from django.db.migrations.operations.base import Operation
from django.db.migrations.recorder import MigrationRecorder
from django.db.migrations.state import ProjectState

from council.zero_downtime.planning import inventory, plan
from council.zero_downtime.planning.steps import Step
from tests.databases import SCRATCH, Database

pytestmark = pytest.mark.django_db


@pytest.fixture
def scratch(database: Database) -> Iterator[BaseDatabaseWrapper]:
    with database.as_django_connection() as connection:
        yield connection


def planned(
    connection: BaseDatabaseWrapper, *operations: Operation, before: tuple[Operation, ...] = (), **more: Any
) -> list[Step]:
    state = ProjectState()
    for operation in before:
        operation.state_forwards("app", state)
    migration: Migration = type("Migration", (Migration,), {"operations": operations, **more})("0001", "app")
    return plan.steps(connection, [(migration, False)], state=state, there=inventory.read(connection))


def sql(step: Step) -> str:
    return "\n".join(step.sql)


PAGE = migrations.CreateModel(
    "Page",
    [
        ("id", models.AutoField(primary_key=True)),
        ("site", models.IntegerField()),
        ("path", models.CharField(max_length=100, unique=True)),
        ("depth", models.PositiveIntegerField()),
    ],
    options={"db_table": "pages", "unique_together": {("site", "path")}, "indexes": []},
)


PAGE_OF_STATE = migrations.SeparateDatabaseAndState(state_operations=[PAGE])


def test_an_operation_that_looks_something_up_gets_the_planned_schema(scratch: BaseDatabaseWrapper) -> None:
    steps = planned(
        scratch,
        PAGE,
        migrations.AlterModelTable("page", "sheets"),
        migrations.RenameField("page", "path", "place"),
        migrations.AlterUniqueTogether("page", {("site", "depth")}),
        migrations.AlterField("page", "place", models.CharField(max_length=100)),
        migrations.AlterField("page", "depth", models.IntegerField()),
        migrations.AlterUniqueTogether("page", set()),
    )

    assert [risk.fault for step in steps for risk in step.risks] == []
    together, place, depth, none = (sql(step) for step in steps[3:])
    assert 'DROP CONSTRAINT "pages_site_path_' in together
    assert 'ADD CONSTRAINT "sheets_site_depth_' in together
    assert 'DROP CONSTRAINT "pages_path_key"' in place
    assert 'DROP CONSTRAINT "pages_depth_check"' in depth
    assert 'DROP CONSTRAINT "sheets_site_depth_' in none


def test_planned_names_of_constraints_are_those_of_postgresql(scratch: BaseDatabaseWrapper) -> None:
    """The plan predicts the names that PostgreSQL chooses for constraints."""
    long = {"db_table": "a_table_with_a_name_that_is_rather_long_for_its_keys"}
    fields: list[tuple[str, models.Field[Any, Any]]] = [
        ("id", models.AutoField(primary_key=True)),
        ("a_column_with_a_long_name_too", models.PositiveIntegerField(unique=True)),
    ]
    operations = [PAGE, migrations.CreateModel("Long", fields, options=long)]
    there = inventory.Inventory()
    migration: Migration = type("Migration", (Migration,), {"operations": operations})("0001", "app")
    plan.steps(scratch, [(migration, False)], state=ProjectState(), there=there)

    with scratch.schema_editor() as editor:
        migration.apply(ProjectState(), editor)
    found = inventory.read(scratch)

    for table in ("pages", long["db_table"]):
        for part in ("constraints", "indexes"):
            made, foreseen = getattr(found.tables[table], part), getattr(there.tables[table], part)
            assert {name: one.columns for name, one in foreseen.items()} == {
                name: one.columns for name, one in made.items()
            }


def test_after_planning_all_migrations_the_inventory_equals_the_catalogue(
    database: Database, migrated: Database
) -> None:
    """Compares columns, indexes and constraints of all tables, including Django's own, by name."""
    there = inventory.Inventory()
    with database.as_django_connection() as empty:
        executor: Any = MigrationExecutor(empty)
        whole = executor.migration_plan(executor.loader.graph.leaf_nodes())
        plan.steps(empty, whole, state=ProjectState(), there=there)

    with migrated.as_django_connection() as full:
        found = inventory.read(full)

    record = MigrationRecorder.Migration._meta.db_table  # created by migrate itself
    made = {name: described(table) for name, table in found.tables.items() if name != record}
    foreseen = {name: described(table) for name, table in there.tables.items() if name in made}
    assert len(made) > 40
    assert foreseen.keys() == made.keys()
    wrong = [
        f"{table}, {part} {name}: foreseen {foreseen[table][part].get(name)}, made {made[table][part].get(name)}"
        for table in made
        for part in made[table]
        for name in sorted(foreseen[table][part].keys() | made[table][part].keys())
        if foreseen[table][part].get(name) != made[table][part].get(name)
    ]
    assert wrong == []


def described(table: inventory.Table) -> dict[str, dict[str, Any]]:
    return {
        "column": {
            name: (column.type, column.is_nullable, column.has_default)
            for name, column in table.columns.items()
        },
        "index": {name: (one.columns, one.method, one.is_unique) for name, one in table.indexes.items()},
        # PostgreSQL 18 lists each NOT NULL as a constraint, too.
        "constraint": {
            name: (
                one.kind,
                sorted(one.columns) if one.kind == "c" else one.columns,
                one.parent,
                one.is_validated,
            )
            for name, one in table.constraints.items()
            if one.kind != "n"
        },
    }


def test_a_planned_index_can_be_renamed(scratch: BaseDatabaseWrapper) -> None:
    with_index = migrations.AlterIndexTogether("page", {("site", "depth")})
    steps = planned(
        scratch,
        PAGE,
        with_index,
        migrations.RenameIndex("page", new_name="by_site", old_fields=("site", "depth")),
    )

    assert [risk.fault for step in steps for risk in step.risks] == []
    assert 'RENAME TO "by_site"' in sql(steps[-1])


def test_the_key_of_a_table_renamed_in_the_plan_is_found(scratch: BaseDatabaseWrapper) -> None:
    tag = [("id", models.AutoField(primary_key=True)), ("pages", models.ManyToManyField("app.Page"))]
    steps = planned(scratch, PAGE, migrations.CreateModel("Tag", tag), migrations.RenameModel("Tag", "Label"))

    dropped, renamed, added = steps[-1].sql[-3:]
    assert 'ALTER TABLE "app_label_pages" DROP CONSTRAINT "app_tag_pages_tag_id_' in dropped
    assert 'RENAME COLUMN "tag_id" TO "label_id"' in renamed
    assert 'ALTER TABLE "app_label_pages" ADD CONSTRAINT "app_label_pages_label_id_' in added


class DropIfThere(migrations.DeleteModel):
    """Looks for the table before it drops it, like an operation of Wagtail."""

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        if "pages" in schema_editor.connection.introspection.table_names():
            super().database_forwards(app_label, schema_editor, from_state, to_state)


def test_an_operation_finds_a_planned_table(
    scratch: BaseDatabaseWrapper,
) -> None:
    _, drop, _, again = planned(scratch, PAGE, DropIfThere("Page"), PAGE_OF_STATE, DropIfThere("Page"))

    assert (len(drop.sql), again.sql) == (1, [])


class Looks(Operation):
    """Runs a query when its SQL is collected, as a default may do."""

    reduces_to_sql = True

    def __init__(self, query: str) -> None:
        self.query = query

    def state_forwards(self, app_label: str, state: Any) -> None:
        pass

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        with schema_editor.connection.cursor() as cursor:
            cursor.execute(self.query)
        schema_editor.execute("CREATE TABLE made_by_it (id integer)", params=None)


def test_an_operation_that_cannot_be_planned_is_reported_and_others_are_planned(
    scratch: BaseDatabaseWrapper,
) -> None:
    before, step, after = planned(
        scratch, migrations.RunSQL("CREATE TABLE one (id integer)"), Looks("SELECT * FROM one"), PAGE
    )

    assert [risk.rule for risk in step.risks] == ["unknown-operation"]
    assert step.risks[0].fault.startswith(
        'It could not be planned (ProgrammingError: relation "one" does not exist LINE 1'
    )
    assert step.sql == []
    assert [risk for step in (before, after) for risk in step.risks] == []
    assert 'CREATE TABLE "pages"' in sql(after)


def test_a_plan_writes_nothing_whatever_an_operation_does(database: Database, scratch: Any) -> None:
    database.execute("CREATE TABLE kept (id integer)")
    (step,) = planned(scratch, Looks("INSERT INTO kept VALUES (1)"))

    assert "cannot execute INSERT in a read-only transaction" in step.risks[0].fault
    assert database.fetch("SELECT * FROM kept") == []


@pytest.mark.parametrize("atomic", [True, False])
def test_django_s_concurrent_index_is_planned_if_it_can_run(
    scratch: BaseDatabaseWrapper, atomic: bool
) -> None:
    operation = AddIndexConcurrently("page", models.Index(fields=["depth"], name="by_depth"))
    (step,) = planned(scratch, operation, before=(PAGE,), atomic=atomic)

    assert [risk.rule for risk in step.risks] == (["refused"] if atomic else [])
    assert ("CONCURRENTLY" in sql(step)) is not atomic


MORE_THAN_TABLES = """
    CREATE TABLE numbers (id integer PRIMARY KEY);
    CREATE MATERIALIZED VIEW summary AS SELECT id FROM numbers;
    CREATE UNIQUE INDEX summary_idx ON summary (id);
    CREATE VIEW shown AS SELECT id FROM numbers;
    CREATE FOREIGN DATA WRAPPER elsewhere;
    CREATE SERVER there FOREIGN DATA WRAPPER elsewhere;
    CREATE FOREIGN TABLE far (id integer CONSTRAINT positive CHECK (id > 0)) SERVER there;
    CREATE DOMAIN positive_number AS integer CHECK (VALUE > 0);
    CREATE TABLE parted (id integer PRIMARY KEY) PARTITION BY RANGE (id);
    CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (0) TO (10);
    CREATE SCHEMA other CREATE TABLE numbers (id integer PRIMARY KEY);
    CREATE UNLOGGED TABLE quick (id integer, EXCLUDE USING gist (int4range(id, id) WITH &&));
    CREATE AGGREGATE add_up (integer) (sfunc = int4pl, stype = integer);
    CREATE STATISTICS two ON id, (id + 1) FROM numbers;
    CREATE RULE none AS ON DELETE TO numbers DO INSTEAD NOTHING;
"""


def test_foreign_objects_in_the_database_do_not_stop_migrate(database: Database, scratch: Any) -> None:
    database.execute(MORE_THAN_TABLES)

    found = inventory.read(scratch)
    call_command("migrate", database=SCRATCH, verbosity=0)

    assert found["summary"].indexes["summary_idx"].is_unique
    assert found["far"].constraints["positive"].kind == "c"
    assert ("council_account",) in database.fetch("SELECT relname FROM pg_class WHERE relkind = 'r'")


def test_nothing_is_planned_for_a_database_without_tables(database: Database, scratch: Any) -> None:
    migration: Migration = type("Migration", (Migration,), {"operations": [PAGE]})("0001", "app")
    assert plan.of_operations(MigrationExecutor(scratch), [(migration, False)]) == []

    database.execute("CREATE TABLE numbers (id integer)")
    predicted = plan.of_operations(MigrationExecutor(scratch), [(migration, False)])
    assert [operation for operation, _ in predicted] == [PAGE]
