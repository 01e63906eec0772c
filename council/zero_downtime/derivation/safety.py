"""What makemigrations refuses for a table in use, and recipes for doing it: rule violations and breaking changes."""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from django.db import DEFAULT_DB_ALIAS, connections, models
from django.db.migrations import AddField
from django.db.migrations.operations.models import AlterTogetherOptionOperation

from council.zero_downtime.planning import rules
from council.zero_downtime.planning.rules import Risk

KEY_BY_HAND = (
    "Set on_delete=models.DO_NOTHING, db_constraint=False, db_index=False on the field, and put "
    'ForeignKeyConstraint(name="{table}_{column}_fkey", field="{field}", on_delete=Action.{action}, '
    'on_update=Action.CASCADE) into Meta.constraints, and Index(name="{table}_{column}_idx", fields=["{field}"]) into '
    "Meta.indexes."
)
# What the database does instead of Django's on_delete.
ACTIONS = {"CASCADE": "CASCADE", "SET_NULL": "SET_NULL", "PROTECT": "RESTRICT", "RESTRICT": "RESTRICT"}
INDEX_BY_HAND = 'Put Index(name="{table}_{column}_idx", fields=["{field}"]) into Meta.indexes instead.'
UNIQUE_BY_HAND = (
    'Put UniqueIndex(name="{table}_{column}_key", fields=["{field}"]) into Meta.constraints instead.'
)
CHECK_BY_HAND = (
    "Use a field without its own check, such as IntegerField, and put a CheckConstraint for {field} into "
    "Meta.constraints."
)
BY_TRIGGER = (
    "Add a plain column, let a trigger keep it up to date, and fill existing rows with UpdateInBatches."
)
DEFAULT_OR_NULL = (
    "Give it a db_default, or null=True. If each row needs its own value: set null=True now, fill the rows with "
    "UpdateInBatches, then set null=False, for which makemigrations writes the three steps."
)
DEFAULT_AFTERWARDS = (
    "Add it with null=True and without a db_default. Then add the db_default, which applies only to new rows. Then "
    "fill the existing rows with UpdateInBatches."
)
UNIQUE_INDEX = (
    "Write it as a council.postgres.indexes.UniqueIndex in Meta.constraints, which is built concurrently."
)
ONE_KEY = (
    "Let Django make one of its keys at most. On each other field write on_delete=models.DO_NOTHING, "
    "db_constraint=False, db_index=False, and put a ForeignKeyConstraint and an Index for it into Meta.constraints and "
    "Meta.indexes. For a ManyToManyField write a model with two such keys, and name it as the field's `through`."
)
NO_CONSTRAINT = "Write it as a CheckConstraint or a UniqueIndex, or have a trigger refuse such rows."
NEW_COLUMN = (
    "Add a new field, nullable or with a db_default. Write both fields, in code or with a trigger, and fill existing "
    "rows with UpdateInBatches. Then read the new field, and remove the old one from the model."
)


class Refusal(NamedTuple):
    """What cannot be done to a table in use, with the value at fault, and what to do instead."""

    app_label: str
    fault: str
    cure: str


class Reason(NamedTuple):
    fault: str
    cure: str


def added_field(field: Any) -> Iterator[Reason]:
    """Yield the reasons against adding a column to a table in use. `field` must belong to its model."""
    where, names = _names(field)
    if field.primary_key:
        yield Reason(f"{where} would be a new primary key of a table with rows.", NEW_COLUMN)
    elif (field.many_to_one or field.one_to_one) and getattr(field, "db_constraint", False):
        yield Reason(
            f"{where} would get Django's own foreign key, which is deferrable and has no actions.",
            KEY_BY_HAND.format(**names),
        )


def altered_field(old: Any, new: Any) -> Iterator[Reason]:
    """Yield the reasons against altering a column of a table in use. NOT NULL is not considered."""
    where, _ = _names(old)
    if old.many_to_many or new.many_to_many:
        yield Reason(f"{where} is many-to-many, and would get another table.", NEW_COLUMN)
        return
    connection = connections[DEFAULT_DB_ALIAS]
    old_type, new_type = old.db_type(connection), new.db_type(connection)
    if old.column != new.column and new_type is not None:
        yield renamed(f"{where} would become {new.column}", what=f'db_column="{old.column}"')
        return
    if old.primary_key != new.primary_key or (new.primary_key and old_type != new_type):
        yield Reason(
            f"{where} is a primary key or would become one (type {old_type}, then {new_type}): foreign keys reference "
            f"it, and all its indexes would be rebuilt.",
            "Do not change it. For another type, add a new column, copy the values in batches, and move the foreign "
            "keys one by one.",
        )
    elif old.generated or new.generated:
        yield Reason(f"{where} is a generated column, which cannot be altered in place.", NEW_COLUMN)
    if not old.primary_key and old.remote_field and new.remote_field and _target(old) != _target(new):
        yield Reason(
            f"{where} references {_target(old)} and would reference {_target(new)}, but its values and its foreign key "
            f"belong to the old table.",
            NEW_COLUMN,
        )


def mentions(thing: Any, name: str) -> bool:
    """Return whether a constraint, an index or a condition mentions a field."""
    if hasattr(thing, "deconstruct"):
        thing = thing.deconstruct()
    return bool(re.search(rf"\b{re.escape(name)}(__|\b)", repr(thing)))


def renamed(fault: str, *, what: str) -> Reason:
    return Reason(
        f"{fault} in the database, but running code uses the old name.",
        f"Keep the name in the database: {what}. To change it there as well: {NEW_COLUMN}",
    )


def renamed_many_to_many(fault: str, *, table: str) -> Reason:
    return Reason(
        f"{fault} in the database, but running code uses the old name.",
        f"Keep the model's name. To change it, first write a model for {table}, with db_table and with db_column for "
        "both keys, and make it the field's `through`. Write that migration by hand, with `makemigrations --empty` "
        "and SeparateDatabaseAndState(state_operations=[CreateModel(…), AlterField(…)]).",
    )


def recipe(risk: Risk, operation: Any, field: Any) -> str:
    """Return what to write instead of an operation that breaks a rule. `field` is None if it concerns no field."""
    if risk.rule == rules.DEADLOCK.rule:
        return ONE_KEY
    constraint = getattr(operation, "constraint", None)
    if isinstance(constraint, models.UniqueConstraint) or isinstance(operation, AlterTogetherOptionOperation):
        return UNIQUE_INDEX
    if constraint:
        return NO_CONSTRAINT
    cures = {
        "validated-key": KEY_BY_HAND,
        "volatile-default": DEFAULT_AFTERWARDS,
        "rewrite": BY_TRIGGER if getattr(field, "generated", False) else NEW_COLUMN,
        "plain-index": UNIQUE_BY_HAND if getattr(field, "unique", False) else INDEX_BY_HAND,
        "scan-under-lock": CHECK_BY_HAND,
        "not-null-without-default": DEFAULT_OR_NULL if isinstance(operation, AddField) else risk.cure,
    }
    if field is None or risk.rule not in cures:
        return risk.cure
    is_of_type = risk.cure in {rules.INDEX_REBUILT.cure, rules.CHECKED_AGAIN.cure}
    return NEW_COLUMN if is_of_type else cures[risk.rule].format(**_names(field)[1])


def is_in_database(old: Any, new: Any) -> bool:
    """Return whether a change of a field changes the database."""
    if old.many_to_many and new.many_to_many:
        return bool(_target(old) != _target(new) or old.m2m_db_table() != new.m2m_db_table())
    return bool(_schema_editor()._field_should_be_altered(old, new))


def has_check(field: Any) -> bool:
    """Return whether a field has its own check."""
    return bool(field.db_check(connections[DEFAULT_DB_ALIAS]))


def _schema_editor() -> Any:
    return connections[DEFAULT_DB_ALIAS].schema_editor(
        collect_sql=True
    )  # it is not entered with `with`, so it runs nothing


def _target(field: Any) -> str:
    return str(field.remote_field.model._meta.db_table)


def _names(field: Any) -> tuple[str, dict[str, str]]:
    table, column = field.model._meta.db_table, field.column or field.name
    where = f"{field.model._meta.object_name}.{field.name}"
    on_delete = getattr(field.remote_field, "on_delete", None)
    action = ACTIONS.get(getattr(on_delete, "__name__", ""), "NO_ACTION")
    return where, {"table": table, "column": column, "field": field.name, "action": action}
