"""A state that exchanges lists of options instead of making models anew holds what Django's holds."""

from typing import Any

import pytest
from django.db import migrations, models
from django.db.migrations.state import ProjectState

from council.zero_downtime.forward_state import LISTS, ForwardState

pytestmark = pytest.mark.any_server

INDEX = models.Index(fields=["total"], name="order_total_idx")
CHECK = models.CheckConstraint(condition=models.Q(total__gte=0), name="order_total_check")
UNIQUE = models.UniqueConstraint(fields=["number"], name="order_number_key")


class AddTrigger(migrations.AddIndex):
    """Changes the state as pgtrigger's operation does: the option, and then a request to make the model anew."""

    def state_forwards(self, app_label: str, state: Any) -> None:
        state.models[app_label, "order"].options["triggers"] = ["no_delete"]
        state.reload_model(app_label, "order", delay=True)


MODELS = [
    migrations.CreateModel("Customer", [("id", models.BigAutoField(primary_key=True))]),
    migrations.CreateModel(
        "Order",
        [
            ("id", models.BigAutoField(primary_key=True)),
            ("customer", models.ForeignKey("shop.customer", models.CASCADE)),
            ("number", models.IntegerField()),
            ("total", models.IntegerField()),
        ],
    ),
]
LISTS_CHANGE: list[Any] = [
    migrations.AddIndex("Order", INDEX),
    migrations.AddConstraint("Order", CHECK),
    migrations.AddConstraint("Order", UNIQUE),
    AddTrigger("Order", INDEX),
]
COLUMN_CHANGES = migrations.AlterField("Order", "total", models.BigIntegerField())
MORE: list[Any] = [
    migrations.RemoveConstraint("Order", UNIQUE.name),
    migrations.RenameIndex("Order", new_name="order_sum_idx", old_name=INDEX.name),
    migrations.AddField("Customer", "name", models.TextField(default="")),
    migrations.RemoveIndex("Order", "order_sum_idx"),
    migrations.AlterModelOptions("Order", {"ordering": ["total"]}),
    migrations.RemoveField("Order", "number"),
    migrations.DeleteModel("Order"),
]


@pytest.fixture
def state() -> ForwardState:
    return ForwardState.of(stock())


def stock() -> ProjectState:
    state = ProjectState()
    assert state.apps  # which makes the models, as migrate does before it begins
    return state


def apply(operations: list[Any], state: ProjectState) -> None:
    for operation in operations:
        operation.state_forwards("shop", state)


def described(state: ProjectState) -> dict[tuple[str, str], Any]:
    found = {}
    for key in state.models:
        meta: Any = state.apps.get_model(*key)._meta
        found[key] = (
            [field.deconstruct() for field in meta.local_fields],
            [[getattr(each, "name", each) for each in getattr(meta, name, ())] for name in LISTS],
            meta.total_unique_constraints,
            meta.ordering,
            [related.name for related in meta.related_objects],
        )
    return found


def test_it_holds_what_django_s_state_holds_after_each_operation(state: ForwardState) -> None:
    expected = stock()
    for operation in [*MODELS, *LISTS_CHANGE, COLUMN_CHANGES, *MORE]:
        apply([operation], expected)
        apply([operation], state)
        assert described(state) == described(expected), operation


def test_a_model_is_made_anew_for_a_column_and_not_for_a_list(state: ForwardState) -> None:
    apply(MODELS, state)
    made = state.apps.get_model("shop", "order")
    apply(LISTS_CHANGE, state)
    assert state.apps.get_model("shop", "order") is made
    apply([COLUMN_CHANGES], state)
    assert state.apps.get_model("shop", "order") is not made


def test_a_model_is_renamed_away_and_back(state: ForwardState) -> None:
    expected = stock()
    for operation in [
        *MODELS,
        migrations.RenameModel("Order", "Sale"),
        migrations.RenameModel("Sale", "Order"),
    ]:
        apply([operation], expected)
        apply([operation], state)
        assert described(state) == described(expected), operation


def test_an_attempt_that_failed_leaves_nothing_to_the_next_one(state: ForwardState) -> None:
    apply(MODELS, state)
    before = described(state)
    apply(LISTS_CHANGE, ForwardState.of(state))
    assert described(ForwardState.of(state)) == before


def test_a_copy_that_is_kept_of_an_earlier_state_is_django_s_own(state: ForwardState) -> None:
    apply(MODELS, state)
    assert type(state.clone()) is ProjectState
