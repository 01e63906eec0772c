"""Refused changes, and dependencies of steps. tests/council/test_makemigrations.py runs the steps."""

from collections.abc import Callable
from typing import Any

import pytest
from django.apps import apps
from django.conf import settings
from django.contrib.postgres.constraints import ExclusionConstraint
from django.contrib.postgres.functions import RandomUUID
from django.db import migrations, models
from django.db.migrations.graph import MigrationGraph
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.migration import Migration
from django.db.migrations.operations.base import Operation
from django.db.migrations.questioner import MigrationQuestioner
from django.db.migrations.state import ModelState, ProjectState
from django.db.models.functions import Now

from council import zero_downtime
from council.postgres.constraints import ForeignKeyConstraint
from council.postgres.fields import CurrentTimestamp, EnumField, TimestampField
from council.postgres.indexes import Index
from council.zero_downtime.derivation import declared
from council.zero_downtime.derivation.autodetector import Autodetector
from tests.projects import NEWEST, ahead, number

pytestmark = pytest.mark.any_server

MEMBER = ("council", "member")
KEY: dict[str, Any] = {"on_delete": models.DO_NOTHING, "db_constraint": False, "db_index": False}


def detect(
    change: Callable[[ProjectState], None],
    *,
    graph: MigrationGraph | None = None,
    detector: type[Autodetector] = Autodetector,
) -> tuple[Autodetector, dict[str, list[Migration]]]:
    """Run the autodetector on a change of the models. It is told that a field with a new name was renamed."""
    loader = MigrationLoader(None)
    after = ProjectState.from_apps(apps)
    change(after)
    yes = MigrationQuestioner({"ask_rename": True, "ask_rename_model": True})
    found = detector(loader.project_state(), after, yes)
    return found, found.changes(graph or loader.graph)


def add(name: str, field: Any, model: tuple[str, str] = MEMBER) -> Callable[[ProjectState], None]:
    return lambda state: state.add_field(*model, name, field, preserve_default=True)


def alter(name: str, model: tuple[str, str] = MEMBER, **changes: Any) -> Callable[[ProjectState], None]:
    def change(state: ProjectState) -> None:
        _, _, args, kwargs = state.models[model].fields[name].deconstruct()
        to = changes.pop("type", type(state.models[model].fields[name]))
        given = {key: value for key, value in {**kwargs, **changes}.items() if value is not ...}
        state.alter_field(*model, name, to(*args, **given), preserve_default=True)

    return change


def constrain(constraint: Any) -> Callable[[ProjectState], None]:
    return lambda state: state.add_constraint(*MEMBER, constraint)


def another_index(state: ProjectState) -> None:
    state.remove_index(*MEMBER, "Member_totalPoints_idx")
    state.add_index(*MEMBER, Index(name="Member_totalPoints_idx", fields=["total_points"]))


def rename_table(state: ProjectState) -> None:
    state.alter_model_options(*MEMBER, {"db_table": "People"})


def rename_model(state: ProjectState) -> None:
    state.rename_model("gamification", "leaderboardcheckpoint", "Checkpoint")
    state.alter_model_options("gamification", "checkpoint", {"db_table": "Checkpoint"})


def other_column(state: ProjectState) -> None:
    state.remove_field(*MEMBER, "company")
    state.add_field(*MEMBER, "firm", models.CharField(max_length=9, null=True, db_column="company"), True)


def table_of_another(state: ProjectState) -> None:
    fields: list[tuple[str, Any]] = [("id", models.BigAutoField(primary_key=True))]
    state.add_model(ModelState("resources", "Note", fields, {"db_table": "PointRule"}))


def other_kind(state: ProjectState) -> None:
    state.remove_field(*MEMBER, "company")
    state.add_field(*MEMBER, "company", models.ManyToManyField("council.Member", related_name="+"), True)


REFUSED = {
    "not null": (
        add("nickname", models.TextField()),
        'Add field nickname to member: Column "nickname" of "Member" is NOT NULL and has no default',
        "Give it a db_default, or null=True. If each row needs its own value: set null=True now, fill the rows with "
        "UpdateInBatches, then set null=False",
    ),
    "not null, with a default of Python's": (
        add("nickname", models.TextField(default="")),
        'Add field nickname to member: Column "nickname" of "Member" becomes NOT NULL: earlier code',
        "Give it a db_default, or null=True.",
    ),
    "volatile default": (
        add("token", models.UUIDField(db_default=RandomUUID())),
        'Add field token to member: gen_random_uuid() returns another value for each row of "Member"',
        "Add it with null=True and without a db_default. Then add the db_default",
    ),
    "generated": (
        add(
            "twice",
            models.GeneratedField(
                expression=models.F("total_points") * 2, output_field=models.IntegerField(), db_persist=True
            ),
        ),
        'Add field twice to member: Adding column "twice" rewrites "Member"',
        "Add a plain column, let a trigger keep it up to date",
    ),
    "unique column": (
        add("nickname", models.TextField(null=True, unique=True, db_column="nickName")),
        'The index of "Member_nickName_key" is built while nobody can read "Member".',
        'Put UniqueIndex(name="Member_nickName_key", fields=["nickname"]) into Meta.constraints instead.',
    ),
    "indexed column": (
        add("nickname", models.TextField(null=True, db_index=True)),
        'Index "Member_nickname_8d3802c5" is built while nobody can write to "Member".',
        'Put Index(name="Member_nickname_idx", fields=["nickname"]) into Meta.indexes instead.',
    ),
    "foreign key of Django's": (
        add("referrer", models.ForeignKey("council.Member", models.CASCADE, null=True, db_index=False)),
        "Member.referrer would get Django's own foreign key",
        'ForeignKeyConstraint(name="Member_referrer_id_fkey", field="referrer", ',
    ),
    "rewritten": (
        alter("total_points", type=models.BigIntegerField),
        'Alter field total_points on member: Changing "totalPoints" from integer to bigint rewrites "Member"',
        "Add a new field, nullable or with a db_default. Write both fields",
    ),
    "narrower": (
        alter("label", model=("gamification", "pointrule"), max_length=40),
        'Changing "label" from character varying(80) to character varying(40) rewrites "PointRule"',
        "Add a new field, nullable",
    ),
    "primary key": (
        alter("id", type=models.CharField, max_length=30, primary_key=True),
        "Member.id is a primary key or would become one (type text, then varchar(30)): foreign keys reference",
        "Do not change it. For another type, add a new column, copy the values in batches, and move the foreign keys "
        "one by one.",
    ),
    "collation": (
        alter("idempotency_key", model=("gamification", "pointtransaction"), db_collation="C"),
        'is rebuilt, for the new type of "idempotencyKey", while nobody can read "PointTransaction".',
        "Add a new field, nullable",
    ),
    "default that goes": (
        alter("leaderboard_visible", db_default=...),
        'Alter field leaderboard_visible on member: Column "leaderboardVisible" of "Member" becomes NOT NULL',
        "Keep a db_default, or let all code fill it in one release and forbid NULL in the next.",
    ),
    "made unique": (
        alter("company", unique=True),
        'is built while nobody can read "Member".',
        'Put UniqueIndex(name="Member_company_key", fields=["company"]) into Meta.constraints instead.',
    ),
    "made an index": (
        alter("company", db_index=True),
        'is built while nobody can write to "Member".',
        'Put Index(name="Member_company_idx", fields=["company"]) into Meta.indexes instead.',
    ),
    "given a key of Django's": (
        alter("team", db_constraint=True),
        'is checked against all rows of "Member" while nobody can write to it.',
        "Set on_delete=models.DO_NOTHING, db_constraint=False, db_index=False on the field",
    ),
    "another target": (
        alter("team", to="council.Admin"),
        "Member.team references Team and would reference Admin, but its values and its foreign key belong to the old "
        "table.",
        "Add a new field, nullable",
    ),
    "column renamed": (
        lambda state: state.rename_field(*MEMBER, "company", "firm"),
        "The column of Member.company, company, would become firm in the database",
        'Keep the name in the database: db_column="company". To change it there as well: Add a new field',
    ),
    "column with another name": (
        alter("company", db_column="firm"),
        "Member.company would become firm in the database",
        'Keep the name in the database: db_column="company".',
    ),
    "column of a field that is gone": (
        other_column,
        "Member.firm takes over the column company of Member.company, but is not the same field otherwise.",
        "First rename the field, change nothing else except db_column",
    ),
    "table renamed": (
        rename_table,
        "The table of Member, Member, would become People in the database",
        'Keep the name in the database: db_table = "Member".',
    ),
    "model renamed, with its table": (
        rename_model,
        "The table of LeaderboardCheckpoint, LeaderboardCheckpoint, would become Checkpoint in the database",
        'Keep the name in the database: db_table = "LeaderboardCheckpoint".',
    ),
    "many-to-many from a column": (
        other_kind,
        "Member.company changes to or from many-to-many and keeps its name.",
        "Add a new field, nullable",
    ),
    "table that another model has": (
        table_of_another,
        "Note has the table PointRule, which already belongs to gamification.PointRule.",
        "A new model needs a new table. If it is the same model with another name, run makemigrations before",
    ),
    "column gone": (
        lambda state: state.remove_field(*MEMBER, "company"),
        "Member.company was removed from the model, but running code may still use its column.",
        "Remove it in two releases. First, `makemigrations --forget` removes it from Django's state",
    ),
    "table gone": (
        lambda state: state.remove_model("gamification", "leaderboardcheckpoint"),
        "LeaderboardCheckpoint was removed from the models, but running code may still use its table.",
        "When no running process uses it any more, `makemigrations --drop` drops it.",
    ),
    "unique constraint": (
        constrain(models.UniqueConstraint(name="Member_company_key", fields=["company"])),
        'The index of "Member_company_key" is built while nobody can read "Member".',
        "Write it as a council.postgres.indexes.UniqueIndex in Meta.constraints, which is built concurrently.",
    ),
    "exclusion constraint": (
        constrain(ExclusionConstraint(name="Member_company_excl", expressions=[("company", "=")])),
        'The index of "Member_company_excl" is built while nobody can read "Member".',
        "Write it as a CheckConstraint or a UniqueIndex, or have a trigger refuse such rows.",
    ),
    "unique together": (
        lambda state: state.alter_model_options(*MEMBER, {"unique_together": {("company", "email")}}),
        'Alter unique_together for member (1 constraint(s)): The index of "Member_company_email_404e8158_uniq" is',
        "Write it as a council.postgres.indexes.UniqueIndex in Meta.constraints",
    ),
    "another index of the same name": (
        another_index,
        "The index Member_totalPoints_idx would be dropped and then built with another definition, with none in "
        "between.",
        "Give the new one another name: it is built first, and then the old one is dropped.",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_an_unsafe_change_is_refused_with_a_recipe(name: str) -> None:
    change, fault, cure = REFUSED[name]

    detector, changes = detect(change)

    assert [(fault in one.fault, cure in one.cure) for one in detector.refusals] == [(True, True)], (
        detector.refusals
    )
    assert changes  # the change must be detected


@pytest.mark.parametrize(
    "change",
    [alter("company", db_collation="C"), alter("label", model=("gamification", "pointrule"), max_length=90)],
)
def test_a_change_without_findings_is_written(change: Any) -> None:
    detector, changes = detect(change)

    assert (detector.refusals, len(changes)) == ([], 1)


def with_migration(*operations: Operation, app_label: str = "council") -> MigrationGraph:
    """Return the graph with one more migration, without a file."""
    graph: MigrationGraph = MigrationLoader(None).graph
    node = (app_label, "9999_more")
    more = type("Migration", (Migration,), {"operations": list(operations)})(node[1], app_label)
    [leaf] = graph.leaf_nodes(app_label)
    graph.add_node(node, more)
    graph.add_dependency(more, node, leaf)
    return graph


def forget(*operations: Operation) -> migrations.SeparateDatabaseAndState:
    return migrations.SeparateDatabaseAndState(state_operations=list(operations))


def detect_after(graph: MigrationGraph, change: Callable[[ProjectState], None], **flags: bool) -> Any:
    """Run the autodetector on a change of the models after one more migration."""
    after = ProjectState.from_apps(apps)
    for (_, name), migration in graph.nodes.items():
        if migration and name == "9999_more":
            after = migration.mutate_state(after, preserve=False)
    change(after)
    detector = type("Flagged", (Autodetector,), flags)(graph.make_state(), after)
    changes = detector.changes(graph)
    return detector, changes


def test_a_forgotten_column_or_table_cannot_be_created_again() -> None:
    column = with_migration(forget(migrations.RemoveField("member", "company")))
    table = with_migration(forget(migrations.DeleteModel("LeaderboardCheckpoint")), app_label="gamification")

    of_column, _ = detect_after(column, add("firm", models.TextField(null=True, db_column="company")))
    of_table, _ = detect_after(
        table,
        lambda state: state.add_model(
            ModelState("resources", "Note", [], {"db_table": "LeaderboardCheckpoint"})
        ),
    )

    assert [one.fault for one in of_column.refusals] == [
        "The column of Member.firm was forgotten, but it still exists."
    ]
    assert [one.fault for one in of_table.refusals] == [
        "The table LeaderboardCheckpoint of Note was forgotten, but it still exists."
    ]
    assert "Drop it first, with `makemigrations --drop`" in of_column.refusals[0].cure


def test_a_table_is_dropped_together_with_references_to_it() -> None:
    graph = with_migration(
        forget(
            migrations.RemoveConstraint("member", "Member_teamId_fkey"),
            migrations.RemoveIndex("member", "Member_teamId_idx"),
            migrations.RemoveField("member", "team"),
        ),
        forget(migrations.DeleteModel("PendingInvite")),
        forget(migrations.DeleteModel("Team")),
    )

    _, changes = detect_after(graph, lambda state: None, drops=True)

    found = changes["council"]
    assert [operation.describe() for step in found for operation in step.operations[-1:]] == [
        "Remove field team from member",
        "Delete model PendingInvite",
        "Delete model Team",
    ]
    before = "9999_more"
    for step in found:
        graph.add_node(("council", step.name), step)
        graph.add_dependency(step, ("council", step.name), ("council", before))
        before = step.name
    assert ("council", "team") not in graph.make_state().models
    assert detect_after(graph, lambda state: None, drops=True)[1] == {}


def test_the_keys_of_a_table_go_one_by_one_before_it_does() -> None:
    graph = with_migration(forget(migrations.DeleteModel("ResourceDownload")), app_label="resources")

    _, changes = detect_after(graph, lambda state: None, drops=True)

    operations = [[operation.describe() for operation in step.operations] for step in changes["resources"]]
    assert operations[0].pop(0).startswith("Custom state/database change")
    assert operations == [
        ["Remove constraint ResourceDownload_memberId_fkey from model ResourceDownload"],
        [
            "Remove constraint ResourceDownload_resourceId_fkey from model ResourceDownload",
            "Delete model ResourceDownload",
        ],
    ]


def relative(app: str, name: str) -> str:
    return f"{app}.newest" if name == NEWEST.get(app) else ahead(f"{app}.{name}")


def steps(changes: dict[str, list[Migration]]) -> dict[str, list[str]]:
    """List the steps with their dependencies."""
    return {
        ahead(f"{app_label}.{step.name}"): sorted(relative(app, name) for app, name in step.dependencies)
        for app_label, found in changes.items()
        for step in found
    }


def model(app_label: str, name: str, *fields: tuple[str, Any]) -> ModelState:
    return ModelState(
        app_label,
        name,
        [("id", models.BigAutoField(primary_key=True)), *fields],
        {"indexes": [], "constraints": []},
    )


def test_a_table_comes_after_a_referenced_table_of_another_app() -> None:
    def change(state: ProjectState) -> None:
        state.add_model(model("benchmarks", "Answer", ("note", models.ForeignKey("resources.Note", **KEY))))
        state.add_model(model("resources", "Note", ("team", models.ForeignKey("council.Team", **KEY))))

    _, changes = detect(change)

    assert steps(changes) == {
        "resources.+1_note": ["council.newest", "resources.newest"],
        "benchmarks.+1_answer": ["benchmarks.newest", "resources.+1_note"],
    }


def test_a_key_comes_after_the_columns_of_another_app_in_the_same_run() -> None:
    key = ForeignKeyConstraint(name="key", field="note", on_delete="CASCADE", on_update="CASCADE")

    def change(state: ProjectState) -> None:
        add(
            "note",
            models.ForeignKey("resources.Note", null=True, **KEY),
            ("benchmarks", "benchmarksubmission"),
        )(state)
        state.add_constraint("benchmarks", "benchmarksubmission", key)
        state.add_model(model("resources", "Note"))

    _, changes = detect(change)

    assert steps(changes) == {
        "resources.+1_note": ["resources.newest"],
        "benchmarks.+1_benchmark_submission_note": ["benchmarks.newest", "resources.+1_note"],
        "benchmarks.+2_benchmark_submission_fks_not_valid": [
            "benchmarks.+1_benchmark_submission_note",
            "council.newest",
            "resources.+1_note",
        ],
        "benchmarks.+3_validate_benchmark_submission_fks": [
            "benchmarks.+2_benchmark_submission_fks_not_valid",
            "council.newest",
            "resources.+1_note",
        ],
    }


def test_tables_of_two_apps_that_refer_to_each_other_are_created_in_turn() -> None:
    def change(state: ProjectState) -> None:
        answer = ("answer", models.ForeignKey("benchmarks.Answer", **KEY))
        state.add_model(model("benchmarks", "Answer", ("note", models.ForeignKey("resources.Note", **KEY))))
        state.add_model(model("resources", "Note", answer))

    detector, changes = detect(change)

    assert detector.refusals == []
    graph = MigrationLoader(None).graph
    for app_label, found in changes.items():
        for step in found:
            graph.add_node((app_label, step.name), step)
    for app_label, found in changes.items():
        for step in found:
            for dependency in step.dependencies:
                graph.add_dependency(step, (app_label, step.name), dependency)
    graph.ensure_not_cyclic()
    state = graph.make_state()
    assert state.apps.get_model("resources", "Note")._meta.get_field("answer").related_model


def test_references_to_the_user_model_come_after_its_migration() -> None:
    user = models.ForeignKey(settings.AUTH_USER_MODEL, **KEY)
    loader = MigrationLoader(None)
    before, after = loader.project_state(), ProjectState.from_apps(apps)
    before.remove_model("admin", "logentry")
    before.remove_model("accounts", "account")
    after.add_model(model("resources", "Note", ("user", user)))

    _, of_old = detect(lambda state: state.add_model(model("resources", "Note", ("user", user))))
    of_new = Autodetector(before, after).changes(loader.graph)

    newest = max(name for app, name in loader.disk_migrations if app == "accounts")
    assert steps(of_old)["resources.+1_note"] == [f"accounts.{newest}", "resources.newest"]
    assert steps(of_new)["resources.+1_note"] == [
        f"accounts.{int(newest[:4]) + 1:04}_account",
        "resources.newest",
    ]


def test_a_trigger_comes_after_the_columns_that_it_may_use() -> None:
    def change(state: ProjectState) -> None:
        add("nickname", models.TextField(null=True))(state)
        options = state.models["gamification", "pointtransaction"].options
        options["triggers"] = options["triggers"][:-1]

    _, changes = detect(change)

    assert steps(changes)["gamification.+1_point_transaction_triggers"] == [
        "council.+1_member_nickname",
        "gamification.newest",
    ]


def test_the_triggers_of_two_tables_are_two_migrations() -> None:
    """One transaction would lock the first table and wait for the second, and could deadlock with a writer of both."""

    def change(state: ProjectState) -> None:
        for name in ("introduction", "pointtransaction"):
            options = state.models["gamification", name].options
            options["triggers"] = options["triggers"][:-1]

    _, changes = detect(change)

    assert steps(changes) == {
        "gamification.+1_introduction_triggers": ["council.newest", "gamification.newest"],
        "gamification.+2_point_transaction_triggers": [
            "council.newest",
            "gamification.+1_introduction_triggers",
        ],
    }


def test_what_locks_two_tables_in_use_is_two_migrations() -> None:
    """Each lock of a transaction is held while it waits for the next one."""

    def change(state: ProjectState) -> None:
        check = models.CheckConstraint(condition=~models.Q(id=""), name="has_id")
        for name in ("member", "team"):
            add("nickname", models.TextField(null=True), ("council", name))(state)
            state.add_constraint("council", name, check)
        for name in ("Note", "Memo"):
            key = ForeignKeyConstraint(
                name=f"{name}_key", field="of", on_delete="CASCADE", on_update="CASCADE"
            )
            to = {"Note": "council.Team", "Memo": "council.Member"}[name]
            state.add_model(model("council", name, ("of", models.ForeignKey(to, **KEY))))
            state.add_constraint("council", name.lower(), key)

    detector, changes = detect(change)

    assert detector.refusals == []
    assert [step.name.partition("_")[2] for step in changes["council"]] == [
        "memo_note",
        "member_nickname",
        "team_nickname",
        "memo_fks_not_valid",
        "note_fks_not_valid",
        "validate_memo_note_fks",
        "member_checks_not_valid",
        "team_checks_not_valid",
        "validate_member_team_checks",
    ]


def test_new_tables_with_keys_of_django_s_to_two_tables_are_two_migrations() -> None:
    def change(state: ProjectState) -> None:
        for name, to in (("Memo", "council.Member"), ("Note", "council.Team")):
            state.add_model(model("council", name, ("of", models.ForeignKey(to, models.CASCADE))))

    detector, changes = detect(change)

    assert detector.refusals == []
    assert [[operation.describe() for operation in step.operations] for step in changes["council"]] == [
        ["Create model Memo", "Enable row level security on memo"],
        ["Create model Note", "Enable row level security on note"],
    ]


@pytest.mark.parametrize(
    "change",
    [
        lambda state: state.add_model(
            model(
                "resources",
                "Note",
                ("member", models.ForeignKey("council.Member", models.CASCADE)),
                ("team", models.ForeignKey("council.Team", models.CASCADE)),
            )
        ),
        add("teams", models.ManyToManyField("council.Team", related_name="+")),
    ],
    ids=["two keys of Django's", "many-to-many"],
)
def test_what_locks_two_tables_by_one_operation_is_refused(change: Any) -> None:
    detector, _ = detect(change)

    [refusal] = detector.refusals
    assert 'It waits for "' in refusal.fault
    assert refusal.cure.startswith("Let Django make one of its keys at most.")


def test_a_model_with_a_new_name_and_its_old_table_is_the_same_model() -> None:
    def change(state: ProjectState) -> None:
        rule = "gamification", "award"
        state.rename_model("gamification", "pointrule", "Award")
        state.remove_constraint(*rule, "PointRule_points_check")
        state.add_index(*rule, Index(name="PointRule_label_idx", fields=["label"]))

    detector, changes = detect(change)

    assert detector.refusals == []
    assert list(steps(changes)) == [
        "gamification.+1_award_state",
        "gamification.+2_drop_award_constraints",
        "gamification.+3_award_indexes",
    ]


def test_steps_have_the_requested_name() -> None:
    loader = MigrationLoader(None)
    after = ProjectState.from_apps(apps)
    add("nickname", models.TextField(null=True))(after)
    after.add_index(*MEMBER, Index(name="Member_nickname_idx", fields=["nickname"]))

    changes = Autodetector(loader.project_state(), after).changes(loader.graph, migration_name="nicknames")

    assert list(steps(changes)) == [
        "council.+1_nicknames_member_nickname",
        "council.+2_nicknames_member_indexes",
    ]


def test_only_the_requested_apps_are_changed_or_refused() -> None:
    loader = MigrationLoader(None)
    after = ProjectState.from_apps(apps)
    add("nickname", models.TextField(null=True))(after)
    add("author", models.TextField(), ("resources", "resource"))(after)
    detector = Autodetector(loader.project_state(), after)

    changes = detector.changes(loader.graph, trim_to_apps={"council"}, convert_apps={"council"})

    assert list(changes) == ["council"]
    assert detector.refusals == []


def test_an_enum_of_two_apps_is_created_by_the_first_that_needs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    uses = [
        declared.EnumUse("council", "member", "shade", ("DARK",)),
        declared.EnumUse("resources", "note", "shade", ("DARK",)),
    ]
    known = declared.enum_uses()
    monkeypatch.setattr(declared, "enum_uses", lambda: {**known, "Shade": uses})

    def change(state: ProjectState) -> None:
        add("shade", EnumField(enum="Shade", null=True))(state)
        state.add_model(model("resources", "Note", ("shade", EnumField(enum="Shade"))))

    _, changes = detect(change)

    assert steps(changes) == {
        "resources.+1_note": ["resources.newest"],
        "council.+1_member_shade": ["council.newest", "resources.+1_note"],
    }
    assert "Create enum Shade" in changes["resources"][0].operations[0].describe()


@pytest.mark.parametrize(
    ("choices", "fault"),
    [
        (
            ["TEMPLATE", "SOP", "PLAYBOOK", "COURSE"],
            "The choices no longer have VIDEO of the enum ResourceType",
        ),
        (["SOP", "TEMPLATE", "PLAYBOOK", "COURSE", "VIDEO"], "The choices have another order"),
    ],
)
def test_removed_or_moved_labels_are_refused(
    choices: list[str], fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    field = apps.get_model("resources", "Resource")._meta.get_field("type")
    monkeypatch.setattr(field, "choices", [(label, label) for label in choices])

    detector, _ = detect(lambda state: None)

    assert [fault in one.fault for one in detector.refusals] == [True]


def test_new_labels_have_the_position_of_the_choices(monkeypatch: pytest.MonkeyPatch) -> None:
    labels = ["FIRST", "TEMPLATE", "SOP", "PLAYBOOK", "COURSE", "BOOK", "FILM", "VIDEO"]
    field = apps.get_model("resources", "Resource")._meta.get_field("type")
    monkeypatch.setattr(field, "choices", [(label, label) for label in labels])

    _, changes = detect(lambda state: None)

    [step] = changes["resources"]
    assert [(one.label, one.after) for one in step.operations] == [  # type: ignore[attr-defined]
        ("FIRST", None),
        ("BOOK", "COURSE"),
        ("FILM", "BOOK"),
    ]
    assert (step.name, step.atomic) == (f"{number('resources', 1)}_enum_labels", False)


def test_another_return_type_of_a_function_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    first, *rest = apps.get_app_config("gamification").functions  # type: ignore[attr-defined]
    other = first._replace(definition=first.definition.replace("RETURNS date", "RETURNS timestamp"))
    monkeypatch.setattr(apps.get_app_config("gamification"), "functions", [other, *rest])

    detector, _ = detect(lambda state: None)

    assert [one.fault for one in detector.refusals] == [
        "next_weekday(day date) returns date and would return timestamp. PostgreSQL can change that only by dropping "
        "the function, although code may call it."
    ]


def test_an_undeclared_function_is_dropped_in_a_later_release(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Dropping(Autodetector):
        drops = True

    _, *rest = apps.get_app_config("gamification").functions  # type: ignore[attr-defined]
    monkeypatch.setattr(apps.get_app_config("gamification"), "functions", rest)

    refusing, _ = detect(lambda state: None)
    _, changes = detect(lambda state: None, detector=Dropping)

    first = MigrationLoader(None).get_migration("gamification", "0011_points_by_ledger").operations[0]
    gone = with_migration(
        zero_downtime.RemoveFunction(*first.deconstruct()[2].values()), app_label="gamification"
    )
    refused_after, changes_after = detect_after(gone, lambda state: None)
    assert (refused_after.refusals, changes_after) == ([], {})
    assert "next_weekday(day date) is no longer declared" in refusing.refusals[0].fault
    assert [operation.describe() for operation in changes["gamification"][0].operations] == [
        "Drop function next_weekday(day date)"
    ]


def test_a_wider_type_is_refused_if_it_would_rebuild_a_partial_index() -> None:
    def change(state: ProjectState) -> None:
        alter("idempotency_key", ("gamification", "pointtransaction"), max_length=300)(state)

    detector, _ = detect(change)

    assert 'is rebuilt, for the new type of "idempotencyKey"' in detector.refusals[0].fault


@pytest.mark.parametrize("default", [3, Now(), CurrentTimestamp()])
def test_a_default_that_is_the_same_for_all_rows_is_safe(default: Any) -> None:
    field = models.IntegerField(db_default=3) if default == 3 else TimestampField(db_default=default)

    detector, changes = detect(add("extra", field))

    assert detector.refusals == []
    assert list(steps(changes)) == ["council.+1_member_extra"]
