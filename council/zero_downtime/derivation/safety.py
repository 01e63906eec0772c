"""What may be done to a table that is in use, and what instead of the rest: a fault and its cure, in words."""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from django.db import DEFAULT_DB_ALIAS, connections, models

from council.postgres import statements, volatility
from council.zero_downtime.planning import type_changes

KEY_BY_HAND = (
    "Write on_delete=models.DO_NOTHING, db_constraint=False, db_index=False on the field, and put "
    'ForeignKeyConstraint(name="{table}_{column}_fkey", field="{field}", on_delete=Action.…, on_update=Action.…) '
    "into Meta.constraints."
)
INDEX_BY_HAND = 'Put Index(name="{table}_{column}_idx", fields=["{field}"]) into Meta.indexes instead.'
UNIQUE_BY_HAND = (
    'Put UniqueIndex(name="{table}_{column}_key", fields=["{field}"]) into Meta.constraints instead.'
)
NEW_COLUMN = (
    "Add a new field beside it, nullable or with a db_default; write both, in the code or by a trigger; fill it with "
    "UpdateInBatches; read the new one; then take the old one out of the model."
)


class Refusal(NamedTuple):
    """What cannot be done to a table in use, with the value at fault, and what to do instead."""

    app_label: str
    fault: str
    cure: str


class Words(NamedTuple):
    fault: str
    cure: str


def added_field(field: Any) -> Iterator[Words]:
    """Say what speaks against adding a column to a table that is in use. `field` belongs to its model."""
    where, names = _names(field)
    if field.primary_key:
        yield Words(f"{where} would be a new primary key of a table with rows.", NEW_COLUMN)
    elif field.generated:
        yield Words(
            f"{where} is generated: PostgreSQL would compute it for every row, while nobody can read the table.",
            "Add a plain column, keep it by a trigger, and fill it with UpdateInBatches.",
        )
    elif not field.null and not field.has_db_default():
        default = " Its default is Python's own, which other applications do not know." * field.has_default()
        yield Words(
            f"{where} is NOT NULL and has no default in the database: an INSERT by the code before it fails.{default}",
            "Give it a db_default, or null=True. For a value of its own in each row: null=True now, fill it with "
            "UpdateInBatches, then null=False, for which makemigrations writes the three steps.",
        )
    elif field.has_db_default() and (function := volatile_function(field)):
        yield Words(
            f"The db_default of {where} calls {function}(), perhaps for each row: the table would be written anew, "
            f"while nobody can read it.",
            "Add it with null=True and without a db_default; then the db_default, which is for new rows only; then "
            "fill the others with UpdateInBatches.",
        )
    yield from new_key(field)
    if not field.primary_key:
        yield from _new_index(field, where, names)


def new_key(field: Any) -> Iterator[Words]:
    """Say what speaks against a foreign key that Django makes."""
    if field.many_to_one or field.one_to_one:
        where, names = _names(field)
        if field.remote_field and field.db_constraint:
            yield Words(
                f"{where} would get a foreign key from Django, deferrable and without actions, whose every row is "
                f"checked under its lock.",
                KEY_BY_HAND.format(**names),
            )


def _new_index(field: Any, where: str, names: dict[str, str]) -> Iterator[Words]:
    if field.unique:
        yield Words(
            f"{where} is unique: its index would be built while nobody can write.",
            UNIQUE_BY_HAND.format(**names),
        )
    elif field.db_index:
        yield Words(
            f"{where} has db_index: it would be built while nobody can write.", INDEX_BY_HAND.format(**names)
        )


def altered_field(old: Any, new: Any) -> Iterator[Words]:
    """Say what speaks against altering a column of a table that is in use. NOT NULL is not looked at."""
    where, names = _names(old)
    if old.many_to_many or new.many_to_many:
        yield Words(f"{where} is many-to-many, and its table would become another.", NEW_COLUMN)
        return
    connection = connections[DEFAULT_DB_ALIAS]
    old_type, new_type = old.db_type(connection), new.db_type(connection)
    if old.column != new.column and new_type is not None:
        yield renamed(f"{where} would become {new.column}", what=f'db_column="{old.column}"')
        return
    if old.primary_key != new.primary_key or (new.primary_key and old_type != new_type):
        yield Words(
            f"{where} is a primary key, {old_type} now and {new_type} then: keys point at it, and all indexes would be "
            f"built anew.",
            "Leave it. For another type add a column beside it, copy in batches, and move the keys one by one.",
        )
    elif old.generated or new.generated:
        yield Words(f"{where} is generated, which cannot be altered in place.", NEW_COLUMN)
    elif old_type != new_type and (_is_spoken_of(old) or not _is_free(str(old_type), str(new_type))):
        yield Words(
            f"{where} is {old_type} and would become {new_type}: PostgreSQL writes or reads every row for that, while "
            f"nobody can read the table.",
            NEW_COLUMN,
        )
    elif _collation(old) != _collation(new):
        yield Words(
            f"{where} has the collation {_collation(old)} and would get {_collation(new)}: its indexes would be built "
            f"anew, while nobody can write.",
            NEW_COLUMN,
        )
    if old.has_db_default() and not new.has_db_default() and not new.null:
        yield Words(
            f"{where} is NOT NULL and would lose its default: an INSERT by the code before it fails.",
            "Keep the db_default, or say null=True.",
        )
    if not old.primary_key:
        yield from _altered_index_or_key(old, new, where, names)


def _altered_index_or_key(old: Any, new: Any, where: str, names: dict[str, str]) -> Iterator[Words]:
    if (new.unique and not old.unique) or (new.db_index and not (old.db_index or old.unique)):
        yield from _new_index(new, where, names)
    if new.remote_field and not (old.remote_field and old.db_constraint):
        yield from new_key(new)
    if old.remote_field and new.remote_field and _target(old) != _target(new):
        yield Words(
            f"{where} points at {_target(old)} and would point at {_target(new)}: its rows and its key are the old "
            f"one's.",
            NEW_COLUMN,
        )


def _is_spoken_of(field: Any) -> bool:
    """Tell whether checks or conditions of indexes name a field: those are made anew with any new type."""
    conditions = [
        condition
        for one in (*field.model._meta.constraints, *field.model._meta.indexes)
        for condition in (getattr(one, "condition", None), *getattr(one, "expressions", ()))
    ]
    return any(mentions(condition, field.name) for condition in conditions)


def mentions(thing: Any, name: str) -> bool:
    """Tell whether a constraint, an index or a condition speaks of a field."""
    if hasattr(thing, "deconstruct"):
        thing = thing.deconstruct()
    return bool(re.search(rf"\b{re.escape(name)}(__|\b)", repr(thing)))


def _is_free(before: str, after: str) -> bool:
    return type_changes.keeps_rows(before, after) and type_changes.keeps_indexes(before, after)


def renamed(fault: str, *, what: str) -> Words:
    return Words(
        f"{fault} in the database, where code that runs knows it by its old name.",
        f"Keep the name there: {what}. For another name there: {NEW_COLUMN[0].lower()}{NEW_COLUMN[1:]}",
    )


def volatile_function(field: Any) -> str | None:
    """Name a function that a column's default calls and PostgreSQL may have to call for each row."""
    if isinstance(field._db_default_expression, models.Value):
        return None
    written, _ = _schema_editor().db_default_sql(field)
    [read] = statements.read(f"SELECT {written.replace('%s', 'NULL')}")
    called = [statements.name(call.funcname) for call in statements.nodes(read.node, "FuncCall")]
    return next((name for name in called if volatility.is_volatile(name, volatility.own())), None)


def is_in_database(old: Any, new: Any) -> bool:
    """Tell whether a change of a field is one of its column."""
    if old.many_to_many and new.many_to_many:
        return bool(_target(old) != _target(new) or old.m2m_db_table() != new.m2m_db_table())
    return bool(_schema_editor()._field_should_be_altered(old, new))


def column_of(field: Any, name: str) -> str | None:
    """Name the column of a field of migration state, which does not know its own name."""
    named = field.clone()
    named.set_attributes_from_name(name)
    column: str | None = named.column
    return column


def _schema_editor() -> Any:
    return connections[DEFAULT_DB_ALIAS].schema_editor(collect_sql=True)  # not entered, it runs nothing


def _collation(field: Any) -> str | None:
    collation: str | None = field.db_parameters(connections[DEFAULT_DB_ALIAS]).get("collation")
    return collation


def _target(field: Any) -> str:
    return str(field.remote_field.model._meta.db_table)


def _names(field: Any) -> tuple[str, dict[str, str]]:
    table, column = field.model._meta.db_table, field.column or field.name
    where = f"{field.model._meta.object_name}.{field.name}"
    return where, {"table": table, "column": column, "field": field.name}
