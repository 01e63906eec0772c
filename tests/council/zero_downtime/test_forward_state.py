"""A state that renders as few models as possible equals Django's state."""

from typing import Any

import pytest
from django.db import connection, migrations, models
from django.db.migrations.state import ProjectState

from council.zero_downtime.forward_state import LISTS, ForwardState

pytestmark = pytest.mark.any_server

INDEX = models.Index(fields=["total"], name="order_total_idx")
CHECK = models.CheckConstraint(condition=models.Q(total__gte=0), name="order_total_check")
UNIQUE = models.UniqueConstraint(fields=["number"], name="order_number_key")


class AddTrigger(migrations.AddIndex):
    """Changes the state like pgtrigger's operation: it changes the option, then asks to render the model again."""

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


RELATED: list[Any] = [
    migrations.CreateModel(
        "Person",
        [("id", models.AutoField(primary_key=True)), ("code", models.CharField(max_length=9, unique=True))],
    ),
    migrations.CreateModel(
        "Worker",
        [
            (
                "person_ptr",
                models.OneToOneField("shop.person", models.CASCADE, primary_key=True, parent_link=True),
            )
        ],
        bases=("shop.person",),
    ),
    migrations.CreateModel("Helper", [], {"proxy": True}, bases=("shop.worker",)),
    migrations.CreateModel(
        "Team",
        [
            ("id", models.AutoField(primary_key=True)),
            ("lead", models.ForeignKey("shop.person", models.CASCADE, to_field="code")),
            ("people", models.ManyToManyField("shop.person")),
            ("parent", models.ForeignKey("self", models.CASCADE, null=True)),
        ],
    ),
    migrations.AddField("Person", "age", models.IntegerField(null=True)),
    migrations.AddField("Worker", "wage", models.IntegerField(null=True)),
    migrations.AlterField("Person", "code", models.CharField(max_length=20, unique=True)),
    migrations.AlterField("Team", "lead", models.OneToOneField("shop.worker", models.CASCADE)),
    migrations.AddField("Person", "team", models.ForeignKey("shop.team", models.CASCADE, null=True)),
    migrations.AddField("Worker", "teams", models.ManyToManyField("shop.team", related_name="crew")),
    migrations.AlterField("Person", "id", models.BigAutoField(primary_key=True)),
    migrations.RenameField("Person", "code", "number"),
    migrations.AlterField("Person", "age", models.SmallIntegerField(null=True)),
    migrations.AlterModelTable("Person", "people"),
    migrations.RenameModel("Team", "Crew"),
    migrations.AddField("Crew", "size", models.IntegerField(null=True)),
    migrations.AlterUniqueTogether("Crew", {("size", "parent")}),
    migrations.RemoveField("Person", "team"),
    migrations.RemoveField("Worker", "teams"),
    migrations.DeleteModel("Crew"),
    migrations.DeleteModel("Helper"),
]


@pytest.fixture
def state() -> ForwardState:
    return ForwardState.of(stock())


def stock() -> ProjectState:
    state = ProjectState()
    assert state.apps  # this renders the models, as migrate does at the beginning
    return state


def apply(operations: list[Any], state: ProjectState) -> None:
    for operation in operations:
        operation.state_forwards("shop", state)


def referenced(field: Any) -> list[Any]:
    """Return what a field uses of another model: its table, its columns, and their types."""
    if not field.remote_field:
        return []
    targets = [target for _, target in getattr(field, "related_fields", ())]
    through = getattr(field.remote_field, "through", None)
    return [
        field.related_model._meta.db_table,
        [(target.column, target.db_type(connection)) for target in targets],
        through and (through._meta.db_table, field.m2m_column_name(), field.m2m_reverse_name()),
    ]


def described(state: ProjectState) -> dict[tuple[str, str], Any]:
    found = {}
    for key in state.models:
        meta: Any = state.apps.get_model(*key)._meta
        found[key] = (
            meta.db_table,
            [(field.deconstruct(), field.column, referenced(field)) for field in meta.local_fields],
            [(field.deconstruct(), referenced(field)) for field in meta.local_many_to_many],
            [field.name for field in meta.fields],
            [[getattr(each, "name", each) for each in getattr(meta, name, ())] for name in LISTS],
            meta.total_unique_constraints,
            meta.ordering,
            sorted((related.name, related.related_model._meta.label) for related in meta.related_objects),
            sorted(referenced(related.field) for related in meta.related_objects),
        )
    return found


def test_it_equals_django_s_state_after_each_operation(state: ForwardState) -> None:
    expected = stock()
    for operation in [*MODELS, *LISTS_CHANGE, COLUMN_CHANGES, *MORE]:
        apply([operation], expected)
        apply([operation], state)
        assert described(state) == described(expected), operation


def test_it_equals_django_s_state_with_relations_inheritance_and_copies() -> None:
    whole, state = ProjectState(), stock()
    for operation in [*RELATED, *MODELS]:
        apply([operation], whole)  # each copy of it renders all models
        before, state = state, ForwardState.of(state)
        was = described(before)
        apply([operation], state)
        assert described(state) == described(whole.clone()), operation
        assert {key: one[:5] for key, one in described(before).items()} == {
            key: one[:5] for key, one in was.items()
        }, operation


def test_a_column_used_by_no_other_model_renders_only_its_model_and_subclasses(state: ForwardState) -> None:
    apply(RELATED[:4], state)
    before = {key: state.apps.get_model(*key) for key in state.models}

    apply(RELATED[4:5], state)

    same = {name for (app, name), model in before.items() if state.apps.get_model(app, name) is model}
    assert same == {"team"}
    assert state.is_delayed  # RunPython gets models that are all rendered again


def test_a_model_is_rendered_again_for_a_column_but_not_for_an_option(state: ForwardState) -> None:
    apply(MODELS, state)
    made = state.apps.get_model("shop", "order")
    apply(LISTS_CHANGE, state)
    assert state.apps.get_model("shop", "order") is made
    apply([COLUMN_CHANGES], state)
    assert state.apps.get_model("shop", "order") is not made


def test_a_model_can_be_renamed_and_renamed_back(state: ForwardState) -> None:
    expected = stock()
    for operation in [
        *MODELS,
        migrations.RenameModel("Order", "Sale"),
        migrations.RenameModel("Sale", "Order"),
    ]:
        apply([operation], expected)
        apply([operation], state)
        assert described(state) == described(expected), operation


def test_a_failed_attempt_leaves_nothing_in_the_state(state: ForwardState) -> None:
    apply(MODELS, state)
    before = described(state)
    apply(LISTS_CHANGE, ForwardState.of(state))
    assert described(ForwardState.of(state)) == before


def test_a_kept_copy_of_an_earlier_state_is_not_changed(state: ForwardState) -> None:
    apply(MODELS, state)
    assert type(state.clone()) is ProjectState
