"""The autodetector: turns changed models into migrations that are safe for a database in use.

Django's autodetector, extended by django-pgtrigger, finds what changed. Each of its operations is replaced by some that
do the same without downtime, in steps of one migration each. What has no such steps is refused, with a reason.
"""

from collections import defaultdict
from graphlib import TopologicalSorter
from typing import Any

import pgtrigger.migrations
from django.conf import settings
from django.core.management import CommandError
from django.db import migrations, models
from django.db.migrations import autodetector
from django.db.migrations.autodetector import OperationDependency  # type: ignore[attr-defined]  # not in the stubs
from django.db.migrations.graph import MigrationGraph
from django.db.migrations.migration import Migration
from django.db.migrations.operations.base import Operation
from django.db.migrations.questioner import MigrationQuestioner
from django.db.migrations.state import ModelState, ProjectState

from council.zero_downtime import operations
from council.zero_downtime.derivation import declared, safety
from council.zero_downtime.derivation.changes import Changes
from council.zero_downtime.derivation.history import Forgotten, History
from council.zero_downtime.derivation.safety import Refusal
from council.zero_downtime.derivation.stages import Stage, StageMigration
from council.zero_downtime.derivation.transactions import Transactions
from council.zero_downtime.derivation.translation import Placed, Translation
from council.zero_downtime.planning import offline, rules


class Refused(CommandError):
    """Some changes cannot be made safely in a database that is in use."""

    def __init__(self, refusals: list[Refusal]) -> None:
        count = f"{len(refusals)} changes" if len(refusals) > 1 else "One change"
        lines = [f"- {refusal.fault}\n  {refusal.cure}" for refusal in refusals]
        super().__init__(
            f"{count} cannot be made while the database is in use. Nothing was written.\n" + "\n".join(lines)
        )


class Questioner(MigrationQuestioner):
    """Asks only questions that a person must answer, and uses another questioner to ask them."""

    def __init__(self, asked: MigrationQuestioner) -> None:
        super().__init__(asked.defaults, asked.specified_apps, asked.dry_run)
        self.asked = asked

    def ask_initial(self, app_label: str) -> bool:
        return self.asked.ask_initial(app_label)

    def ask_rename(self, model_name: str, old_name: str, new_name: str, field_instance: Any) -> bool:
        """Return True if the field has a db_column, as Django has compared the columns. Otherwise, ask."""
        return bool(field_instance.db_column) or self.asked.ask_rename(
            model_name, old_name, new_name, field_instance
        )

    def ask_rename_model(self, old_model_state: ModelState, new_model_state: ModelState) -> bool:
        """Return True if both models have the same db_table. Otherwise, ask."""
        table = old_model_state.options.get("db_table")
        return bool(
            table and table == new_model_state.options.get("db_table")
        ) or self.asked.ask_rename_model(old_model_state, new_model_state)

    def ask_not_null_alteration(self, field_name: Any, model_name: Any) -> Any:
        return models.NOT_PROVIDED


class Autodetector(pgtrigger.migrations.MigrationAutodetectorMixin, autodetector.MigrationAutodetector):
    """Writes the steps for what changed. After `changes`, `refusals` holds the changes without safe steps.

    `forgets` removes from state what is gone from the models; `drops` drops what state forgot from the database.
    """

    forgets = False
    drops = False

    def __init__(
        self, from_state: ProjectState, to_state: ProjectState, questioner: MigrationQuestioner | None = None
    ) -> None:
        super().__init__(from_state, to_state, Questioner(questioner or MigrationQuestioner()))
        self.refusals: list[Refusal] = []

    def changes(
        self,
        graph: MigrationGraph,
        trim_to_apps: set[str] | None = None,
        convert_apps: set[str] | None = None,
        migration_name: str | None = None,
    ) -> dict[str, list[Migration]]:
        found = super().changes(graph, trim_to_apps, convert_apps, migration_name)
        if trim_to_apps:
            self.refusals = [one for one in self.refusals if one.app_label in found]
        self._judge(found)
        return found

    def _judge(self, found: dict[str, list[Migration]]) -> None:
        """Refuse operations that lint would report, each once.

        Exceptions: checks on existing rows, for which the migration's author must say whether the rows pass; and
        tables created in the same run, which nobody uses yet.
        """
        new = {(one.app_label, one.name): one for steps in found.values() for one in steps}
        needs = {key: {need for need in one.dependencies if need in new} for key, one in new.items()}
        in_order = [new[key] for key in TopologicalSorter(needs).static_order()]
        operation: Any
        for operation, step in offline.steps(in_order, self.from_state):
            risks = [risk for risk in step.warnings if risk.rule != rules.UNCHECKED_ROWS.rule]
            is_in_use = not step.locks or any(held.is_in_use for held in step.locks)
            if risks and is_in_use and operation not in self.refused:
                app_label = step.migration.partition(".")[0]
                model = self.to_state.apps.all_models[app_label].get(
                    getattr(operation, "model_name_lower", "")
                )
                fields = model._meta.local_fields if model and hasattr(operation, "field") else []
                field = next((field for field in fields if field.name == operation.name), None)
                fault = f"{step.operation}: {risks[0].fault}"
                self.refusals.append(Refusal(app_label, fault, safety.recipe(risks[0], operation, field)))

    def arrange_for_graph(
        self, changes: dict[str, list[Migration]], graph: MigrationGraph, migration_name: str | None = None
    ) -> dict[str, list[Migration]]:
        """Number the migrations. If there are several, the requested name becomes a prefix of each name."""
        if migration_name and any(len(steps) > 1 for steps in changes.values()):
            for step in (step for steps in changes.values() for step in steps):
                assert isinstance(step, StageMigration)
                step.fragment = f"{migration_name}_{step.fragment}"
            migration_name = None
        return super().arrange_for_graph(changes, graph, migration_name)

    def _detect_changes(
        self, convert_apps: set[str] | None = None, graph: MigrationGraph | None = None
    ) -> dict[str, list[Migration]]:
        self.to_state.apps  # noqa: B018  # renders the models, before Django changes their options
        self.history = History(graph)
        found: dict[str, list[Migration]] = super()._detect_changes(convert_apps, graph)  # type: ignore[no-untyped-call]
        return found

    def _build_migration_list(self, graph: MigrationGraph | None = None) -> None:
        """Build each stage's migrations with Django's code, one stage after the other."""
        placed = self._placed()
        built: dict[str, list[StageMigration]] = defaultdict(list)
        for stage in Stage:
            of_stage = {
                app_label: sorted((one for one in found if one.stage is stage), key=_order_in_step)
                for app_label, found in placed.items()
            }
            present = {app_label for app_label, found in of_stage.items() if found}
            self.generated_operations: dict[str, list[Operation]] = {}
            self.from_before: dict[Operation, set[str]] = {}
            for app_label, found in of_stage.items():
                for one in found:
                    apps_needed = {need: self._app_of(need) for need in one.dependencies}
                    within = [need for need, app in apps_needed.items() if app in present]
                    self.from_before[one.operation] = {*apps_needed.values()} - present
                    self.add_operation(app_label, one.operation, within)
            super()._build_migration_list(graph)  # type: ignore[misc]  # not in the stubs
            self._take_over(stage, built, graph)
        self.migrations = dict(built)

    def _app_of(self, dependency: OperationDependency) -> str:
        resolved, _ = self._resolve_dependency(dependency)  # type: ignore[attr-defined]  # not in the stubs
        return str(resolved.app_label)

    def _take_over(
        self, stage: Stage, built: dict[str, list[StageMigration]], graph: MigrationGraph | None
    ) -> None:
        """Add the migrations built for one stage. For an app not in this stage, depend on its newest migration."""
        newest = {leaf[0]: leaf for leaf in (graph.leaf_nodes() if graph else ())}
        newest |= {app_label: (app_label, steps[-1].name) for app_label, steps in built.items()}
        parts = {
            (app_label, migration.name): Transactions(stage, app_label, self.from_state, self.to_state).of(
                migration.operations
            )
            for app_label, found in self.migrations.items()
            for migration in found
        }
        names = {
            key: [(key[0], f"{stage.name.lower()}_{key[1]}_{number}") for number in range(len(parts[key]))]
            for key in parts
        }
        for app_label, found in self.migrations.items():
            for migration in found:
                key = app_label, migration.name
                dependencies = []
                for app, name in migration.dependencies:
                    if app == "__setting__":
                        app, name = self._migration_of_user_model()  # noqa: PLW2901
                    dependencies.append(
                        names[app, name][-1] if (app, name) in names else newest.get(app) or (app, name)
                    )
                for own, (_, step_name) in zip(parts[key], names[key], strict=True):
                    step = StageMigration(stage, step_name, app_label)
                    step.initial = bool(migration.initial) and app_label not in built
                    step.operations = own
                    needed = {app for operation in own for app in self.from_before[operation]}
                    step.dependencies = [
                        newest.get(app, (app, "__first__")) for app in sorted(needed - {app_label})
                    ]
                    step.dependencies += dependencies
                    built[app_label].append(step)
                    dependencies = [(app_label, step_name)]

    def _migration_of_user_model(self) -> tuple[str, str]:
        """Return the migration of this run that creates the user model; if there is none, `__first__` of its app."""
        app_label = settings.AUTH_USER_MODEL.split(".")[0]
        for migration in self.migrations.get(app_label, ()):
            if any(_makes_the_user_model(app_label, one) for one in migration.operations):
                return app_label, migration.name
        return app_label, "__first__"

    def _optimize_migrations(self) -> None:
        super()._optimize_migrations()  # type: ignore[misc]  # not in the stubs
        for app_label, steps in self.migrations.items():
            for step in steps:
                step.describe(
                    self.from_state, self.to_state, is_first_of_app=app_label not in self.existing_apps
                )
                if step.stage is Stage.FORGOTTEN:
                    step.operations = [migrations.SeparateDatabaseAndState(state_operations=step.operations)]

    def _placed(self) -> dict[str, list[Placed]]:
        """Translate all changes that Django has found, and add enums, functions and drops, which it does not know."""
        changes = Changes(
            self.generated_operations,
            self.from_state,
            self.to_state,
            renamed_models=self.renamed_models,
            renamed_fields=self.renamed_fields,
        )
        forgotten = list(self.history.remembered())
        translation = Translation(changes, forgets=self.forgets, forgotten=forgotten)
        placed: dict[str, list[Placed]] = defaultdict(list)
        for app_label, found in self.generated_operations.items():
            for operation in found:
                for one in translation.places(app_label, operation):
                    more = self._parents(app_label) if one.stage is Stage.TRIGGERS else []
                    placed[app_label].append(one._replace(dependencies=[*one.dependencies, *more]))
        self.refused = translation.refused
        self.refusals = [*translation.refusals, *declared.refused_enums(self.history)]
        self._place_enums(placed, changes)
        for app_label, function in declared.functions(self.history, drops=self.drops):
            if isinstance(function, Refusal):
                self.refusals.append(function)
            else:
                placed[app_label].append(Placed(Stage.FUNCTIONS, function, self._parents(app_label)))
        if self.drops:
            dropped = [(key, learn) for key, learn in forgotten if not changes.is_taken_over(*key[:2], learn)]
            self._place_dropped(placed, dropped)
        return placed

    def _parents(self, app_label: str) -> list[OperationDependency]:
        """Return dependencies on other apps' models that an app references; its functions may use them."""
        found = [
            dependency
            for app, model_name in self.to_state.models
            if app == app_label
            for dependency in self._get_dependencies_for_model(app, model_name)  # type: ignore[attr-defined]
        ]
        return [dependency for dependency in dict.fromkeys(found) if dependency.app_label != app_label]

    def _place_enums(self, placed: dict[str, list[Placed]], changes: Changes) -> None:
        """Create each enum with its first use: a new table's if there is one. Other uses depend on that one."""
        for uses, create in declared.new_enums(self.history):
            first = next((use for use in uses if changes.is_created(use.app_label, use.model_name)), uses[0])
            stage = Stage.TABLES if changes.is_created(first.app_label, first.model_name) else Stage.COLUMNS
            placed[first.app_label].append(Placed(stage, create, []))
            is_there = OperationDependency(
                first.app_label, first.model_name, first.field_name, OperationDependency.Type.CREATE
            )
            for use in uses:
                for one in placed[use.app_label] if use.app_label != first.app_label else ():
                    if _is_about(one.operation, use.model_name):
                        one.dependencies.append(is_there)
        for app_label, add in declared.new_labels(self.history):
            placed[app_label].append(Placed(Stage.ENUM_LABELS, add, []))

    def _place_dropped(self, placed: dict[str, list[Placed]], dropped: list[tuple[Forgotten, Any]]) -> None:
        """Restore what state has forgotten, newest first; then drop all of it, oldest first."""
        for (app_label, _, _), learn in dropped:
            again = migrations.SeparateDatabaseAndState(state_operations=[learn])
            placed[app_label].append(Placed(Stage.DROPPED, again, []))
        for (app_label, model_name, field_name), learn in reversed(dropped):
            for drop_key in _drops_of_keys(learn) if field_name is None else ():
                placed[app_label].append(Placed(Stage.DROPPED, drop_key, []))
            drop = (
                migrations.DeleteModel(learn.name)
                if field_name is None
                else migrations.RemoveField(model_name, field_name)
            )
            placed[app_label].append(Placed(Stage.DROPPED, drop, []))


def _drops_of_keys(learn: migrations.CreateModel) -> list[Operation]:
    """Return what drops the keys of a table, if it has several: with the table, all parents would be locked at once."""
    found: list[Operation] = [
        migrations.RemoveConstraint(learn.name, key.name) for key in learn.options.get("constraints", ())
    ]
    for name, field in learn.fields:
        if getattr(field, "db_constraint", False):
            without: Any = field.clone()  # type: ignore[attr-defined]  # not in the stubs
            without.db_constraint = False
            found.append(migrations.AlterField(learn.name, name, without))
    return found if len(found) > 1 else []


def _order_in_step(placed: Placed) -> int:
    """Return the position in a step: enums and removals come first, row level security last."""
    match placed.operation:
        case operations.CreateEnum() | migrations.RemoveConstraint() | pgtrigger.migrations.RemoveTrigger():
            return 0
        case operations.EnableRowLevelSecurity():
            return 2
    return 1


def _is_about(operation: Operation, model_name: str) -> bool:
    if isinstance(operation, migrations.CreateModel):
        return operation.name_lower == model_name
    return isinstance(operation, migrations.AddField) and operation.model_name_lower == model_name


def _makes_the_user_model(app_label: str, operation: Operation) -> bool:
    return (
        isinstance(operation, migrations.CreateModel)
        and f"{app_label}.{operation.name}".lower() == settings.AUTH_USER_MODEL.lower()
    )
