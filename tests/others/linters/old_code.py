"""Statements of the models before a migration, and which of them fail after it."""

import datetime as dt
import decimal
import re
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from django.db import Error, connection, models, transaction
from django.db.models import sql
from django.utils import timezone

LARGEST = {
    **dict.fromkeys(["SmallIntegerField", "PositiveSmallIntegerField"], 2**15 - 1),
    **dict.fromkeys(["IntegerField", "PositiveIntegerField"], 2**31 - 1),
    **dict.fromkeys(["BigIntegerField", "PositiveBigIntegerField"], 2**63 - 1),
    "TextField": "x" * 5_000,
    "BooleanField": True,
    "DateField": dt.date(9999, 12, 31),
    "TimeField": dt.time(23, 59, 59, 999_999),
    "FloatField": 0.1,
    "UUIDField": uuid.UUID(int=2**128 - 1),
    "GenericIPAddressField": "2001:db8::1",
}
# Identifies a column even if it gets another name.
NUMBER = "SELECT attnum FROM pg_attribute WHERE attrelid = quote_ident(%s)::regclass AND attname = %s"
Model = type[models.Model]


def of_tables(found: Iterable[Model], text: str) -> list[Model]:
    """Return the models whose tables are named in SQL."""
    named = set(re.findall(r'"(\w+)"', text))
    return [
        model
        for model in found
        if model._meta.db_table in named and model._meta.managed and not model._meta.proxy
    ]


class Undone(Exception):
    """Ends a block whose changes are rolled back."""


@contextmanager
def undone() -> Iterator[None]:
    try:
        with transaction.atomic():
            yield
            raise Undone
    except Undone:
        pass


def faults(found: Iterable[Model]) -> set[str]:
    """Try to read, find, update and insert rows, and return what fails, by table and column.

    A row that a unique index, a key or a CHECK refuses does not count as a failure.
    """
    told: set[str] = set()
    for model in found:
        with undone():
            told |= {f"{model._meta.db_table}.{one}" for one in _faults(model)}
    return told


def _faults(model: Model) -> Iterator[str]:
    fields = [field for field in model._meta.local_concrete_fields if field.column]
    usable, values = [], {}
    for field in fields:
        try:
            with transaction.atomic():
                [value] = [*_rows(model).values_list(field.attname, flat=True)[:1]] or [None]
                values[field.attname] = value
                if value is not None:
                    list(_rows(model).filter(**{field.attname: value}).values_list(field.attname)[:1])
        except Error as error:
            yield f"{field.column} cannot be read: {_state(error)}"
            continue
        except (TypeError, ValueError):  # raised by Python: the field refuses the value or the comparison
            pass
        if fault := _write(model, field):
            yield f"{field.column} cannot be written: {fault}"
        else:
            usable.append(field)
    if usable:
        yield from _insert(model, usable, values)


def _rows(model: Model) -> Any:
    return models.QuerySet(model).order_by()


def _write(model: Model, field: Any) -> str | None:
    """Write the largest value that the field accepts, and find it again."""
    value = _largest(field)
    if field.primary_key or value is None:
        return None
    try:
        with transaction.atomic():
            chosen = _rows(model).filter(pk__in=_rows(model).values("pk")[:1])
            chosen.update(**{field.attname: value})
            try:
                is_found = chosen.filter(**{field.attname: value}).exists()
            except (TypeError, ValueError):
                return None
            return None if is_found else "it is not found again"
    except Error as error:
        return None if _state(error).startswith("23") else _state(error)


def _largest(field: Any) -> Any:
    """Return the largest or longest value that a field accepts, or None if it is not known."""
    kind = field.get_internal_type()
    if kind in {"CharField", "SlugField", "FileField", "FilePathField"} and field.max_length:
        return "x" * field.max_length
    if kind == "DecimalField":
        return decimal.Decimal(10**field.max_digits - 1).scaleb(-field.decimal_places)
    return timezone.now() if kind == "DateTimeField" else LARGEST.get(kind)


def _insert(model: Model, fields: list[Any], values: dict[str, Any]) -> Iterator[str]:
    """Insert a row with as few values as the fields allow."""
    if any(field.primary_key and not _is_given(field) for field in model._meta.local_concrete_fields):
        fields = [field for field in fields if _is_given(field)]
    try:
        row: Any = model()
    except Exception:  # a default of another app may fail in any way
        return
    for field in fields:
        if field.null:
            setattr(row, field.attname, None)
        elif not _has_db_default(field):
            setattr(row, field.attname, values.get(field.attname))
            if values.get(field.attname) is None:
                return
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role TO replica")
        cursor.execute(f"DELETE FROM {connection.ops.quote_name(model._meta.db_table)}")
        while True:
            try:
                with transaction.atomic():
                    query = sql.InsertQuery(model)
                    query.insert_values(fields, [row], raw=True)
                    query.get_compiler(connection.alias).execute_sql()
                return
            except Error as error:
                cause: Any = error.__cause__
                if _state(error) != "23502":
                    if not _state(error).startswith("23"):
                        yield f"a row cannot be inserted: {_state(error)}"
                    return
                column = cause.diag.column_name
                cursor.execute(NUMBER, [model._meta.db_table, column])
                yield f"column {cursor.fetchone()[0]} cannot be NULL or left out"
            try:
                with transaction.atomic():
                    quote = connection.ops.quote_name
                    cursor.execute(
                        f"ALTER TABLE {quote(model._meta.db_table)} ALTER {quote(column)} DROP NOT NULL"
                    )
            except Error:
                return


def _is_given(field: Any) -> bool:
    return field.get_internal_type() not in {"AutoField", "BigAutoField", "SmallAutoField"}


def _has_db_default(field: Any) -> bool:
    return field.db_default is not models.NOT_PROVIDED


def _state(error: Error) -> str:
    cause = error.__cause__
    return (cause.sqlstate if isinstance(cause, psycopg.Error) else None) or type(error).__name__
