"""makemigrations for an app with ordinary Django models: every header is true, and every refusal's recipe works.

Each change becomes migrations, which run on PostgreSQL with rows while pg_locks is watched. Afterwards, makemigrations
finds no further change.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from django.db import migrations, models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.graph import MigrationGraph
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.migration import Migration
from django.db.migrations.questioner import MigrationQuestioner
from django.db.migrations.state import ModelState, ProjectState

from council.postgres.constraints import Action, ForeignKeyConstraint
from council.postgres.indexes import Index, UniqueIndex
from council.zero_downtime.derivation.autodetector import Autodetector
from council.zero_downtime.derivation.stages import StageMigration
from council.zero_downtime.lock_modes import MODES
from tests.council.zero_downtime.planning.test_plan_locks import run, watch
from tests.databases import Database

pytestmark = pytest.mark.django_db

Named = tuple[str, Any]  # a field
NAME: Named = ("name", models.CharField(max_length=50))
NUMBER: Named = ("number", models.IntegerField())
KIND: Named = ("kind", models.CharField(max_length=9))
CUSTOMER: Named = ("customer", models.ForeignKey("shop.Customer", models.CASCADE, null=True))
TOGETHER = {"unique_together": {("number", "kind")}}
FILES = "SELECT relname, relfilenode FROM pg_class WHERE relkind IN ('r', 'i') AND relname LIKE 'shop%' ORDER BY 1"


def model(name: str, *fields: Named, bases: Any = None, **options: Any) -> ModelState:
    own: list[Named] = [*fields] if bases else [("id", models.BigAutoField(primary_key=True)), *fields]
    return ModelState("shop", name, own, {"indexes": [], "constraints": [], **options}, bases)


def customer(*fields: Named, **options: Any) -> ModelState:
    return model("Customer", NAME, *fields, **options)


def order(*fields: Named, **options: Any) -> ModelState:
    return model("Order", NUMBER, KIND, *fields, **options)


def kind(**given: Any) -> ModelState:
    return model("Order", NUMBER, ("kind", models.TextField(**given)))


def positive(**given: Any) -> Named:
    return ("count", models.PositiveIntegerField(**given))


@dataclass
class Change:
    """Models before and after a change, and the names of the resulting migrations."""

    before: list[ModelState]
    after: list[ModelState]
    names: list[str]
    # The locks in the headers, in the order of the migrations; "" for none.
    locks: list[str] = field(default_factory=list)


KEY = ForeignKeyConstraint(
    name="shop_order_customer_id_fkey", field="customer", on_delete=Action.CASCADE, on_update=Action.CASCADE
)
BARE_CUSTOMER: Named = (
    "customer",
    models.ForeignKey("shop.Customer", models.DO_NOTHING, db_constraint=False, db_index=False, null=True),
)
TABLE = "ACCESS EXCLUSIVE on shop_order"
WEAK = "SHARE UPDATE EXCLUSIVE on shop_order"
CHANGES = {
    "another name of a model, whose table stays": Change(
        [customer(), order(CUSTOMER)],
        [customer(), model("Sale", NUMBER, KIND, CUSTOMER, db_table="shop_order")],
        ["order_sale_state"],
        [""],
    ),
    "another name of a model that a key points at": Change(
        [customer(), order(CUSTOMER)],
        [
            model("Client", NAME, db_table="shop_customer"),
            order(("customer", models.ForeignKey("shop.Client", models.CASCADE, null=True))),
        ],
        ["customer_client_state"],
        [""],
    ),
    "another name of a model, which is its table's by now": Change(
        [order(db_table="shop_sale")], [model("Sale", NUMBER, KIND)], ["sale_state"], [""]
    ),
    "a field with a check of its own": Change(
        [order()],
        [order(positive(null=True))],
        ["order_count", "order_count_checks_not_valid", "validate_order_checks"],
        [TABLE, TABLE, WEAK],
    ),
    "a field with a check of its own, and a default": Change(
        [order()],
        [order(positive(db_default=0))],
        ["order_count", "order_count_checks_not_valid", "validate_order_checks"],
        [TABLE, TABLE, WEAK],
    ),
    "a field that gets a check of its own, and no NULL": Change(
        [order(("count", models.IntegerField(null=True)))],
        [order(positive())],
        ["order_count_checks_not_valid", "validate_order_checks", "order_count_not_null"],
        [TABLE, WEAK, TABLE],
    ),
    "a field that loses its check": Change(
        [order(positive(null=True))],
        [order(("count", models.IntegerField(null=True)))],
        ["alter_order_count"],
        [TABLE],
    ),
    "unique_together that goes": Change([order(**TOGETHER)], [order()], ["drop_order_constraints"], [TABLE]),
    "a unique index instead of unique_together": Change(
        [order(**TOGETHER)],
        [order(constraints=[UniqueIndex(name="shop_order_number_kind_key", fields=["number", "kind"])])],
        ["order_indexes", "drop_order_constraints"],
        ["SHARE UPDATE EXCLUSIVE on each table", TABLE],
    ),
    "a table with a key of Django's": Change(
        [customer()],
        [customer(), order(CUSTOMER, ("parent", models.ForeignKey("self", models.CASCADE, null=True)))],
        ["order"],
        ["none, the tables are new; SHARE ROW EXCLUSIVE on shop_customer"],
    ),
    "a table that inherits, and one with many-to-many": Change(
        [customer()],
        [
            customer(),
            model(
                "Firm",
                (
                    "customer_ptr",
                    models.OneToOneField("shop.Customer", models.CASCADE, primary_key=True, parent_link=True),
                ),
                bases=("shop.customer",),
            ),
            order(("people", models.ManyToManyField("shop.Customer", related_name="+"))),
        ],
        ["firm_order"],
        ["none, the tables are new; SHARE ROW EXCLUSIVE on shop_customer"],
    ),
    "a key and its index by the recipe": Change(
        [customer(), order()],
        [
            customer(),
            order(
                BARE_CUSTOMER,
                constraints=[KEY],
                indexes=[Index(name="shop_order_customer_id_idx", fields=["customer"])],
            ),
        ],
        ["order_customer", "order_fks_not_valid", "validate_order_fks", "order_indexes"],
        [
            TABLE,
            "SHARE ROW EXCLUSIVE on shop_order and shop_customer",
            WEAK + ", ROW SHARE on the keys' parents",
            "SHARE UPDATE EXCLUSIVE on each table",
        ],
    ),
    "a collation without an index": Change([kind()], [kind(db_collation="C")], ["alter_order_kind"], [TABLE]),
    "an index of a field that goes": Change([kind(db_index=True)], [kind()], ["alter_order_kind"], [TABLE]),
    "uniqueness of a field that goes": Change([kind(unique=True)], [kind()], ["alter_order_kind"], [TABLE]),
    "a longer text with an index": Change(
        [model("Order", NUMBER, ("kind", models.CharField(max_length=9, db_index=True)))],
        [model("Order", NUMBER, ("kind", models.CharField(max_length=19, db_index=True)))],
        ["alter_order_kind"],
        [TABLE],
    ),
}


def state(*given: ModelState) -> ProjectState:
    """Make a separate state, because the autodetector changes the states and fields that it receives."""
    made = ProjectState()
    for one in given:
        copied = one.clone()
        copied.fields = {name: field.clone() for name, field in one.fields.items()}  # type: ignore[attr-defined]  # not in the stubs
        made.add_model(copied)
    return made


@pytest.fixture(scope="module")
def graph() -> MigrationGraph:
    """The project's migrations, for its enums and functions, and the first migration of the ordinary app."""
    graph: MigrationGraph = MigrationLoader(None).graph
    graph.add_node(("shop", "0001_initial"), Migration("0001_initial", "shop"))
    return graph


def derive(
    graph: MigrationGraph, before: ProjectState, after: ProjectState
) -> tuple[Autodetector, list[Any]]:
    yes = MigrationQuestioner({"ask_rename": True, "ask_rename_model": True})
    detector = Autodetector(before, after, yes)
    return detector, detector.changes(graph, trim_to_apps={"shop"}).get("shop", [])


ROWS = {
    "shop_customer": "INSERT INTO shop_customer (name) VALUES ('Ada')",
    "shop_order": "INSERT INTO shop_order (number, kind) SELECT n, n FROM generate_series(1, 20) AS n",
    "shop_sale": "INSERT INTO shop_sale (number, kind) SELECT n, n FROM generate_series(1, 20) AS n",
}


def make(connection: BaseDatabaseWrapper, before: ProjectState) -> None:
    """Create the tables of a state, with rows without NULL."""
    with connection.schema_editor() as editor:
        for one in before.apps.get_models():
            editor.create_model(one)
    tables = connection.introspection.table_names()
    with connection.cursor() as cursor:
        for table in tables:
            cursor.execute(ROWS[table])
        if any("count" in one.fields for one in before.models.values()):
            cursor.execute("UPDATE shop_order SET count = 1")


def header(step: StageMigration) -> dict[str, str]:
    """Read from a docstring the lock mode of each table."""
    [line] = re.findall(r"Locks: (.*?)\. Safe with the code", " ".join(step.docstring.split()))
    found: dict[str, str] = {}
    for part in re.split(r"[;,] (?=[A-Z])", line):
        match = re.match(
            rf"({'|'.join(sorted(MODES, key=len, reverse=True))}) on (.*?)(?:,|;| while|$)", part
        )
        if match:
            tables = re.split(r", | and ", match[2])
            found |= dict.fromkeys(tables, match[1])
    if "each table" in found:
        mode = found.pop("each table")
        found |= {f"shop_{operation.model_name.lower()}": mode for operation in step.operations}  # type: ignore[attr-defined]
    if "the keys' parents" in found:
        found["shop_customer"] = found.pop("the keys' parents")
    return found


@pytest.mark.parametrize("name", CHANGES)
def test_each_migration_takes_the_locks_that_its_header_names(
    name: str, graph: MigrationGraph, database: Database
) -> None:
    change = CHANGES[name]
    detector, steps = derive(graph, state(*change.before), state(*change.after))
    assert detector.refusals == []
    assert [step.name.partition("_")[2] for step in steps] == change.names
    with database.as_django_connection() as connection:
        now = state(*change.before)
        make(connection, now)
        old = set(connection.introspection.table_names())
        files: dict[Any, Any] = dict(database.fetch(FILES))  # type: ignore[arg-type]
        with watch(database, connection) as watching:
            for step, locks in zip(steps, change.locks, strict=True):
                assert f"Locks: {locks or 'none'}" in " ".join(step.docstring.split())
                took: dict[str, str] = {}
                for _, held in run(database, connection, watching, step, now):
                    took |= {table: mode for table, mode in held.items() if table in old}
                assert took == header(step), step.name
                now = step.mutate_state(now, preserve=True)
        # No table was rewritten, and no index that still exists was rebuilt.
        assert {name: file for name, file in database.fetch(FILES) if files.get(name, file) != file} == {}
        detector, left = derive(graph, now, state(*change.after))
        assert (detector.refusals, left) == ([], [])


REFUSED = {
    "unique_together replaced": (
        [order(**TOGETHER)],
        [order(unique_together={("kind", "number")})],
        "Write it as a council.postgres.indexes.UniqueIndex in Meta.constraints, which is built concurrently.",
    ),
    "a key of Django's on a table that is there": (
        [customer(), order()],
        [customer(), order(CUSTOMER)],
        'ForeignKeyConstraint(name="shop_order_customer_id_fkey", field="customer", on_delete=Action.CASCADE, '
        'on_update=Action.CASCADE) into Meta.constraints, and Index(name="shop_order_customer_id_idx", '
        'fields=["customer"]) into Meta.indexes.',
    ),
    "order_with_respect_to": (
        [customer(), order(CUSTOMER)],
        [customer(), order(CUSTOMER, order_with_respect_to="customer")],
        "Add an IntegerField with db_default=0, and name it in Meta.ordering.",
    ),
    "another name of a model that names a column": (
        [customer(), order(("people", models.ManyToManyField("shop.Customer")))],
        [
            model("Client", NAME, db_table="shop_customer"),
            order(("people", models.ManyToManyField("shop.Client"))),
        ],
        "first write a model for shop_order_people, with db_table and with db_column for both keys",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_refusal_says_what_to_write_instead(name: str, graph: MigrationGraph) -> None:
    before, after, cure = REFUSED[name]

    detector, _ = derive(graph, state(*before), state(*after))

    assert [cure in one.cure for one in detector.refusals] == [True], detector.refusals


def through(target: str) -> ModelState:
    return model(
        "Membership",
        ("order", models.ForeignKey("shop.Order", models.CASCADE, db_column="order_id")),
        ("customer", models.ForeignKey(target, models.CASCADE, db_column="customer_id")),
        db_table="shop_order_people",
    )


def test_a_model_can_be_renamed_once_its_many_to_many_table_is_a_model(
    graph: MigrationGraph, database: Database
) -> None:
    """The recipe: a state-only migration by hand. Then makemigrations finds nothing, and the name may change."""
    before = state(customer(), order(("people", models.ManyToManyField("shop.Customer"))))
    people: Any = models.ManyToManyField("shop.Customer", through="shop.Membership")
    by_hand = before.clone()
    for operation in (
        migrations.CreateModel(
            "Membership", [*through("shop.Customer").fields.items()], through("shop.Customer").options
        ),
        migrations.AlterField("Order", "people", people),
    ):
        operation.state_forwards("shop", by_hand)
    named = state(
        model("Client", NAME, db_table="shop_customer"),
        order(("people", models.ManyToManyField("shop.Client", through="shop.Membership"))),
        through("shop.Client"),
    )

    as_written = derive(
        graph, by_hand, state(customer(), order(("people", people)), through("shop.Customer"))
    )
    detector, [step] = derive(graph, by_hand, named)

    assert (as_written[0].refusals, as_written[1]) == ([], [])
    assert detector.refusals == []
    with database.as_django_connection() as connection:
        with connection.schema_editor() as editor:
            for one in before.apps.get_models():
                editor.create_model(one)
        with watch(database, connection) as watching:
            assert [held for _, held in run(database, connection, watching, step, by_hand)] == [{}, {}]
        assert columns(database) == {"id", "order_id", "customer_id"}


def columns(database: Database) -> set[object]:
    found: Iterator[Any] = iter(
        database.fetch(
            "SELECT attname FROM pg_attribute WHERE attrelid = 'shop_order_people'::regclass AND attnum > 0"
        )
    )
    return {name for (name,) in found}
