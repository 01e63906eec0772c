"""The schema editor behaves like Django's for every table that does not ask for something else."""

from collections.abc import Iterator

import pytest
from django.db import NotSupportedError, migrations, models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState

from council.postgres.constraints import ForeignKeyConstraint
from council.postgres.fields import CuidField
from tests.databases import Database


@pytest.fixture
def scratch(database: Database) -> Iterator[BaseDatabaseWrapper]:
    with database.as_django_connection() as connection:
        yield connection


def run(connection: BaseDatabaseWrapper, state: ProjectState, *operations: Operation) -> ProjectState:
    for operation in operations:
        before, state = state, state.clone()
        operation.state_forwards("app", state)
        with connection.schema_editor() as editor:
            operation.database_forwards("app", editor, before, state)
    return state


PARENT = migrations.CreateModel(
    "Parent", [("id", models.AutoField(primary_key=True))], {"db_table": "parent"}
)
ITS_KEY = migrations.CreateModel(
    "Child",
    [
        ("id", models.AutoField(primary_key=True)),
        ("parent", models.ForeignKey("app.Parent", on_delete=models.CASCADE)),
    ],
    {"db_table": "child"},
)
GATEWAY_KEY = ForeignKeyConstraint(
    name="child_parent_fkey", field="parent", on_delete="CASCADE", on_update="CASCADE"
)
GATEWAYS = migrations.CreateModel(
    "Child",
    [
        ("id", models.AutoField(primary_key=True)),
        (
            "parent",
            models.ForeignKey("app.Parent", on_delete=models.DO_NOTHING, db_constraint=False, db_index=False),
        ),
    ],
    {"db_table": "child", "constraints": [GATEWAY_KEY]},
)
BIGGER = migrations.AlterField("parent", "id", models.BigAutoField(primary_key=True))


def test_a_key_referenced_by_django_s_foreign_keys_can_change_its_type(
    database: Database, scratch: BaseDatabaseWrapper
) -> None:
    state = run(scratch, ProjectState(), PARENT, ITS_KEY)
    database.execute("INSERT INTO parent VALUES (7); INSERT INTO child (parent_id) VALUES (7)")

    run(scratch, state, BIGGER)

    assert database.fetch(
        """SELECT format_type(atttypid, NULL) FROM pg_attribute
            WHERE (attrelid, attname) IN (('parent'::regclass, 'id'), ('child'::regclass, 'parent_id'))"""
    ) == [("bigint",), ("bigint",)]
    assert database.fetch("SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE contype = 'f'") == [
        ("FOREIGN KEY (parent_id) REFERENCES parent(id) DEFERRABLE INITIALLY DEFERRED",)
    ]
    assert database.fetch("SELECT parent_id FROM child") == [(7,)]


def test_a_key_referenced_by_a_cascading_foreign_key_cannot_change_its_type(
    database: Database, scratch: BaseDatabaseWrapper
) -> None:
    state = run(scratch, ProjectState(), PARENT, GATEWAYS)

    with pytest.raises(
        NotSupportedError, match=r'"parent"."id" cannot change from integer to bigint: .*child_parent_fkey'
    ):
        run(scratch, state, BIGGER)

    assert database.fetch("SELECT conname FROM pg_constraint WHERE contype = 'f'") == [("child_parent_fkey",)]


def test_only_fields_that_ask_for_it_have_no_index_for_like(
    database: Database, scratch: BaseDatabaseWrapper
) -> None:
    table = migrations.CreateModel(
        "Both",
        [
            ("id", CuidField()),
            ("other", models.ForeignKey("app.Both", on_delete=models.CASCADE)),
            ("name", models.TextField(unique=True)),
        ],
        {"db_table": "both"},
    )
    run(scratch, ProjectState(), table)

    [(index,)] = database.fetch("SELECT indexdef FROM pg_indexes WHERE indexname LIKE '%\\_like'")
    assert index.endswith("USING btree (name text_pattern_ops)")  # type: ignore[attr-defined]
