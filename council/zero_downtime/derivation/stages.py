"""The steps of a change, one migration each: their order, their names and their docstrings."""

import re
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from enum import IntEnum, auto
from typing import Any, NamedTuple

import pgtrigger.migrations
from django.db import migrations
from django.db.migrations.migration import Migration
from django.db.migrations.operations.base import Operation
from django.db.migrations.operations.fields import FieldOperation
from django.db.migrations.state import ModelState, ProjectState

from council.postgres.constraints import ForeignKeyConstraint
from council.zero_downtime import check_operations, index_operations, operations, trigger_operations
from council.zero_downtime.planning.earlier_code import column_of

WIDTH = 108


class Stage(IntEnum):
    """The kinds of steps, in the order in which they run."""

    ENUM_LABELS = auto()
    STATE = auto()
    OLD_CONSTRAINTS = auto()
    TABLES = auto()
    COLUMNS = auto()
    ALTERATIONS = auto()
    KEYS = auto()
    VALID_KEYS = auto()
    CHECKS = auto()
    VALID_CHECKS = auto()
    NOT_NULL = auto()
    INDEXES = auto()
    OLD_UNIQUES = auto()
    FUNCTIONS = auto()
    TRIGGERS = auto()
    OLD_INDEXES = auto()
    FORGOTTEN = auto()
    DROPPED = auto()


# In a new app, these stages cover all tables, so they are not named after one.
OF_ALL_TABLES = {Stage.KEYS, Stage.VALID_KEYS, Stage.INDEXES, Stage.TRIGGERS}
NOT_ATOMIC = {Stage.ENUM_LABELS, Stage.INDEXES, Stage.OLD_INDEXES}


class StageTexts(NamedTuple):
    """Templates for a stage's file names and docstrings, filled with {subject}, {what}, {tables} and others."""

    name: str
    summary: str
    locks: str
    is_safe: str
    way_back: str


OLD_CONSTRAINTS = StageTexts(
    "drop_{subject}_constraints",
    "Removes constraints: {what}.",
    "ACCESS EXCLUSIVE on {tables}, for an instant; reading and writing wait",
    "yes, if it does not rely on what these constraints refuse or delete",
    "adds them again, and reads every row under the lock",
)
TEXTS = {
    Stage.ENUM_LABELS: StageTexts(
        "{subject}",
        "Adds enum labels: {what}.",
        "none",
        "yes, until somebody writes them: it fails when it reads such rows",
        "leaves the labels, because PostgreSQL cannot remove them",
    ),
    Stage.STATE: StageTexts(
        "{subject}_state",
        "Changes only what Django knows about {what}.",
        "none",
        "yes, nothing changes in the database",
        "nothing to undo",
    ),
    Stage.OLD_CONSTRAINTS: OLD_CONSTRAINTS,
    Stage.OLD_UNIQUES: OLD_CONSTRAINTS,
    Stage.TABLES: StageTexts(
        "{subject}",
        "Creates tables: {what}.",
        "none, the tables are new{parents}",
        "yes, it does not use them",
        "drops the tables with their rows",
    ),
    Stage.COLUMNS: StageTexts(
        "{subject}",
        "Adds columns: {what}.",
        "ACCESS EXCLUSIVE on {tables}, for an instant: no rewrite; reading and writing wait",
        "yes, they are nullable or have a default in the database",
        "drops them with their values",
    ),
    Stage.ALTERATIONS: StageTexts(
        "alter_{subject}",
        "Alters {what}.",
        "ACCESS EXCLUSIVE on {tables}, for an instant: no row is read or written; reading and writing wait",
        "yes, if it can read what the new definition allows, such as NULL or a longer text",
        "restores the old definition, for which PostgreSQL may read every row",
    ),
    Stage.KEYS: StageTexts(
        "{subject}_fks_not_valid",
        "Adds foreign keys that apply to new and changed rows: {what}.",
        "{mode} on {tables}, for an instant; {waits}",
        "yes, unless it writes rows whose parent does not exist",
        "restores what was there before; ACCESS EXCLUSIVE on both tables, for an instant",
    ),
    Stage.VALID_KEYS: StageTexts(
        "validate_{subject}_fks",
        "Checks the rows that existed before these foreign keys: {what}.",
        "SHARE UPDATE EXCLUSIVE on {tables}, ROW SHARE on the keys' parents; nothing waits",
        "yes",
        "nothing to undo",
    ),
    Stage.CHECKS: StageTexts(
        "{subject}_checks_not_valid",
        "Adds checks that apply to new and changed rows: {what}.",
        "ACCESS EXCLUSIVE on {tables}, for an instant; reading and writing wait",
        "yes, unless it writes rows that violate them",
        "restores what was there before",
    ),
    Stage.VALID_CHECKS: StageTexts(
        "validate_{subject}_checks",
        "Checks the rows that existed before these constraints: {what}.",
        "SHARE UPDATE EXCLUSIVE on {tables} while the rows are read; nothing waits",
        "yes",
        "nothing to undo",
    ),
    Stage.NOT_NULL: StageTexts(
        "{subject}_not_null",
        "Sets NOT NULL, which a validated check already enforces: {what}.",
        "ACCESS EXCLUSIVE on {tables}, for an instant: no row is read; reading and writing wait",
        "yes, the check already refuses NULL",
        "restores the check",
    ),
    Stage.INDEXES: StageTexts(
        "{subject}_indexes",
        "Builds indexes: {what}.",
        "SHARE UPDATE EXCLUSIVE on each table while its index is built; nothing waits",
        "yes{unless}",
        "drops the indexes concurrently",
    ),
    Stage.FUNCTIONS: StageTexts(
        "{subject}",
        "Creates or changes functions: {what}.",
        "none",
        "yes, if it can use what they return now",
        "restores what was there before",
    ),
    Stage.TRIGGERS: StageTexts(
        "{subject}_triggers",
        "Creates or changes triggers: {what}.",
        "{mode} on {tables}, for an instant; {waits}",
        "yes, unless it writes rows that the triggers refuse",
        "restores what was there before (ACCESS EXCLUSIVE for an instant if a trigger is removed)",
    ),
    Stage.OLD_INDEXES: StageTexts(
        "drop_{subject}_indexes",
        "Drops indexes: {what}.",
        "SHARE UPDATE EXCLUSIVE on {tables}; nothing waits",
        "yes, if its queries do not need them",
        "builds them again, concurrently",
    ),
    Stage.FORGOTTEN: StageTexts(
        "forget_{subject}",
        "Removes from Django's state, but not from the database, where older code still uses it: {what}.",
        "none",
        "yes, nothing changes in the database",
        "adds it to Django's state again",
    ),
    Stage.DROPPED: StageTexts(
        "drop_{subject}",
        "Drops what no code uses any more: {what}.",
        "ACCESS EXCLUSIVE on {tables}, for an instant; reading and writing wait",
        "only if it was deployed with or after the migration that removed this from Django's state",
        "creates it again, empty",
    ),
}


class StageMigration(Migration):
    """A migration of one stage, which writes its own name and docstring."""

    # The types that instances have; Django's classes declare others.
    atomic: bool  # type: ignore[misc]
    initial: bool | None  # type: ignore[misc]
    operations: list[Operation]  # type: ignore[misc]
    dependencies: list[tuple[str, str]]  # type: ignore[misc]

    def __init__(self, stage: Stage, name: str, app_label: str) -> None:
        super().__init__(name, app_label)
        self.stage = stage
        self.atomic = stage not in NOT_ATOMIC
        self.fragment = stage.name.lower()
        self.docstring = ""

    def suggest_name(self) -> str:
        return self.fragment

    def describe(self, before: ProjectState, after: ProjectState, *, is_first_of_app: bool) -> None:
        """Set the name and the docstring for the operations, which lead from state `before` to `after`."""
        texts = TEXTS[self.stage]
        if self.stage is Stage.DROPPED:  # use the state that its operations restore
            before = before.clone()
            for operation in self.operations:
                if isinstance(operation, migrations.SeparateDatabaseAndState):
                    operation.state_forwards(self.app_label, before)
        view = View(self.app_label, before, after)
        subject = self._subject(view)
        if is_first_of_app and self.stage in OF_ALL_TABLES:
            subject = ""
        fragment = re.sub("_+", "_", texts.name.format(subject=subject)).strip("_")
        self.fragment = fragment or self.stage.name.lower()
        kinds = {type(operation) for operation in self.operations}
        takes_more = bool(kinds & {pgtrigger.migrations.RemoveTrigger, migrations.RemoveConstraint})
        has_unique = index_operations.AddUniqueIndexConcurrently in kinds
        given = {
            "what": _series(thing for operation in self._about() for thing in view.things(operation)),
            "tables": _series(table for operation in self.operations for table in view.tables(operation)),
            "parents": view.locks_on_parents(self.operations),
            "mode": "ACCESS EXCLUSIVE" if takes_more else "SHARE ROW EXCLUSIVE",
            "waits": "reading and writing wait" if takes_more else "writing waits",
            "unless": ", unless it writes rows that a unique index refuses" if has_unique else "",
        }
        paragraphs = (
            texts.summary,
            "",
            f"Locks: {texts.locks}.",
            f"Safe with the code before it: {texts.is_safe}.",
            f"Way back: {texts.way_back}.",
        )
        self.docstring = "".join(
            textwrap.fill(line.format(**given), WIDTH, break_long_words=False, break_on_hyphens=False) + "\n"
            for line in paragraphs
        )

    def _about(self) -> list[Operation]:
        """Return the operations, without the constraints and indexes that are removed with a column."""
        if self.stage is not Stage.FORGOTTEN:
            return self.operations
        return [
            operation
            for operation in self.operations
            if not isinstance(operation, migrations.RemoveIndex | migrations.RemoveConstraint)
        ]

    def _subject(self, view: "View") -> str:
        about = self._about()
        names = list(dict.fromkeys(name for operation in about for name in view.subjects(operation)))
        if len(names) == 1:
            return names[0]
        models = list(dict.fromkeys(name for operation in about for name in view.models(operation)))
        if self.stage is Stage.TABLES:
            return "_".join(models) if len(models) < 3 else "tables"
        if self.stage is Stage.FUNCTIONS:
            return "functions"
        subject = "_".join(models) if len(models) < 3 else ""
        return f"{subject}_columns" if self.stage is Stage.COLUMNS else subject


class View:
    """Finds the names of models, tables and other things in an app's operations."""

    def __init__(self, app_label: str, before: ProjectState, after: ProjectState) -> None:
        self.app_label = app_label
        self.before = before
        self.after = after

    def model(self, name: str) -> ModelState | None:
        key = self.app_label, name.lower()
        found: ModelState | None = self.after.models.get(key) or self.before.models.get(key)
        return found

    def table(self, name: str) -> str:
        model = self.model(name)
        return (
            str(model.options.get("db_table") or f"{model.app_label}_{model.name_lower}") if model else name
        )

    def models(self, operation: Operation) -> Iterator[str]:
        """Yield the model of an operation, spelled for file names: PointRule is point_rule."""
        if name := model_name_of(operation):
            model = self.model(name)
            yield re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", model.name).lower() if model else name

    def subjects(self, operation: Operation) -> Iterator[str]:
        """Yield the parts of a file's name: a model and its column, a function, or a model."""
        match operation:
            case operations.AddEnumValue() | trigger_operations.CreateFunction():
                yield operation.migration_name_fragment
            case operations.CreateEnum():
                pass
            case FieldOperation() | check_operations.AddFilledCheck():
                for model in self.models(operation):
                    yield f"{model}_{operation.name.lower()}"
            case _:
                yield from self.models(operation)

    def tables(self, operation: Operation) -> Iterator[str]:
        """Yield an operation's table, and the table that its foreign key references."""
        name = model_name_of(operation)
        if name:
            yield self.table(name)
        if isinstance(operation, operations.AddForeignKeyNotValid):
            model = self.model(name)
            assert model
            yield self._target(name, model.fields[operation.constraint.field])
        elif isinstance(operation, migrations.RemoveConstraint):
            former: Any = self.before.models.get((self.app_label, name.lower()))
            for one in former.options["constraints"] if former else ():
                if isinstance(one, ForeignKeyConstraint) and one.name == operation.name:  # type: ignore[attr-defined]
                    yield self._target(name, former.fields[one.field])

    def parents(self, operation: Operation) -> Iterator[str]:
        """Yield the tables that the keys of Django's which an operation adds reference."""
        if isinstance(operation, migrations.CreateModel):
            fields: list[Any] = (
                [] if _has_no_table(operation.options) else [field for _, field in operation.fields]
            )
        else:
            fields = [getattr(operation, "field", None)]
        for field in fields:
            if getattr(field, "many_to_many", False) or getattr(field, "db_constraint", False):
                yield self._target(model_name_of(operation), field)

    def locks_on_parents(self, operations: Sequence[Operation]) -> str:
        """Describe the locks on tables that the foreign keys of new tables reference."""
        new = {
            self.table(operation.name_lower)
            for operation in operations
            if isinstance(operation, migrations.CreateModel)
        }
        tables = [table for one in operations for table in self.parents(one) if table not in new]
        if not tables:
            return ""
        return f"; SHARE ROW EXCLUSIVE on {_series(tables)}, for an instant, for their foreign keys"

    def _target(self, model_name: str, field: Any) -> str:
        app_label, _, parent = str(field.remote_field.model).lower().rpartition(".")
        view = View(app_label or self.app_label, self.before, self.after)
        return view.table(model_name if parent == "self" else parent)

    def things(self, operation: Operation) -> Iterator[str]:
        match operation:
            case operations.AddEnumValue():
                yield f"{operation.label} of {operation.name}"
            case operations.CreateEnum() | operations.EnableRowLevelSecurity():
                pass
            case pgtrigger.migrations.AddTrigger():
                yield str(operation.trigger.name)
            case pgtrigger.migrations.RemoveTrigger():
                yield f"{operation.name} (removed)"
            case migrations.AddConstraint(constraint=constraint):  # type: ignore[misc]
                yield constraint.name
            case migrations.AddIndex():
                yield operation.index.name
            case (
                index_operations.RemoveIndexConcurrently()
                | migrations.RemoveConstraint()
                | operations.ValidateConstraint()
                | trigger_operations.CreateFunction()
            ):
                yield operation.name  # type: ignore[union-attr]  # missing for RemoveConstraint in the stubs
            case FieldOperation() | check_operations.AddFilledCheck():
                yield f"{self.table(operation.model_name)}.{self._column(operation)}"
            case migrations.CreateModel(options=options) if _has_no_table(options):
                yield f"{operation.name}, without a table of its own"
            case _ if name := model_name_of(operation):
                yield self.table(name)

    def _column(self, operation: Any) -> str:
        for state in (self.after, self.before):
            model = state.models.get((self.app_label, operation.model_name.lower()))
            if model and (field := model.fields.get(operation.name)):
                return column_of(field, operation.name) or str(operation.name)
        return str(operation.name)


def _has_no_table(options: dict[str, Any]) -> bool:
    return bool(options.get("proxy")) or not options.get("managed", True)


def model_name_of(operation: Operation) -> str:
    name = getattr(operation, "model_name", None)
    if name is None and isinstance(operation, migrations.operations.models.ModelOperation):
        name = getattr(operation, "new_name", None) or operation.name
    return str(name or "")


def _series(names: Iterable[str]) -> str:
    """Join names as `a, b and c`, each once."""
    *rest, last = dict.fromkeys(name for name in names if name) or [""]
    return f"{', '.join(rest)} and {last}" if rest else last
