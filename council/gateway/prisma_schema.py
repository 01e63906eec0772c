"""The part of the gateway's schema file that describes the tables that both applications use.

It is written from the models, so that the gateway's developers get new columns without reading migrations. Source:
Prisma's schema reference, version 7.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from django.apps import apps
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import NOT_PROVIDED

from council.postgres.constraints import Action, ForeignKeyConstraint
from council.postgres.fields import CuidField, CurrentTimestamp, EmptyTextArray, EnumField, TimestampField
from council.postgres.indexes import UniqueIndex

TABLES = (
    *("Team", "Member", "PendingInvite", "Admin", "FeatureFlag", "EmailTemplate", "StripeEvent", "AuditLog"),
    *("ReconciliationRun", "PointTransaction", "DiscordActivity", "Resource", "ResourceDownload"),
    "BenchmarkSubmission",
)
# The first entry whose class the field is an instance of gives the type.
TYPES: tuple[tuple[type[Any], str], ...] = (
    (TimestampField, "DateTime @db.Timestamp(3)"),
    (models.DateTimeField, "DateTime @db.Timestamptz(6)"),
    (models.DateField, "DateTime @db.Date"),
    (models.BooleanField, "Boolean"),
    (models.JSONField, "Json"),
    (models.BigIntegerField, "BigInt"),
    (models.SmallIntegerField, "Int @db.SmallInt"),
    (models.IntegerField, "Int"),
    (models.FloatField, "Float"),
    (models.UUIDField, "String @db.Uuid"),
    (models.TextField, "String"),
)
ACTIONS = {
    Action.NO_ACTION: "NoAction",
    Action.RESTRICT: "Restrict",
    Action.CASCADE: "Cascade",
    Action.SET_NULL: "SetNull",
}
OPERATOR_CLASSES = {"jsonb_path_ops": "JsonbPathOps", "jsonb_ops": "JsonbOps"}
COMMENT = """\
// The tables that both applications use, written by `manage.py prisma_schema`. Compare this file with `--check`.
// Partial indexes are left out, because Prisma 7 needs the preview feature partialIndexes for them, and so are indexes
// on expressions, which it does not support. A client does not need to know them. Django's migrations create them.

"""
BLOCK = re.compile(r"^(enum|model)\s+(\w+)\s*\{(.*?)^\}", re.MULTILINE | re.DOTALL)
PARTIAL = re.compile(r"^@@(index|unique)\(.*\bwhere: ")

Model = type[models.Model]


def write() -> str:
    """Write the enums and models of the tables that both applications use."""
    found = _models()
    enums = {
        field.enum: [label for label, _ in field.flatchoices]
        for model in found
        for field in model._meta.local_fields
        if isinstance(field, EnumField)
    }
    blocks = [_block("enum", name, enums[name]) for name in sorted(enums)]
    blocks += [_block("model", model._meta.db_table, _model(model, found)) for model in found]
    return COMMENT + "\n".join(blocks)


def differences(text: str) -> list[str]:
    """List the lines in which a schema file differs from the models. Order and whitespace do not matter.

    Anything else in the file, such as other models, comments and partial indexes, is ignored.
    """
    expected, found = _lines(write()), _lines(text)
    faults = []
    for block, lines in expected.items():
        if block not in found:
            faults.append(f"{block} is missing")
            continue
        faults += [f"{block}: missing {line}" for line in lines if line not in found[block]]
        faults += [
            f"{block}: not in the database's schema {line}"
            for line in found[block]
            if line not in lines and not PARTIAL.search(line)
        ]
    return faults


def _lines(text: str) -> dict[str, list[str]]:
    """Read the lines of each block, without comments and with single spaces."""
    blocks = {}
    for kind, name, body in BLOCK.findall(text):
        lines = (re.sub(r"\s+", " ", re.sub(r"(^|\s)//.*", "", line)).strip() for line in body.splitlines())
        blocks[f"{kind} {name}"] = [line for line in lines if line]
    return blocks


def _models() -> list[Model]:
    by_table = {model._meta.db_table: model for model in apps.get_models()}
    return [by_table[table] for table in TABLES]


def _block(kind: str, name: str, lines: Sequence[str]) -> str:
    return f"{kind} {name} {{\n" + "".join(f"  {line}\n" if line else "\n" for line in lines) + "}\n"


def _model(model: Model, found: Sequence[Model]) -> list[str]:
    keys = [(child, key) for child in found for key in _keys(child, found)]
    several = Counter((child, key_parent(child, key)) for child, key in keys)
    named = {
        key.name
        for child, key in keys
        if several[child, key_parent(child, key)] > 1 or key_parent(child, key) is child
    }
    lines = [_field(model, field) for field in model._meta.local_fields]
    lines += [_relation(child, key, named) for child, key in keys if child is model]
    lines += [_opposite(child, key, named) for child, key in keys if key_parent(child, key) is model]
    attributes = [*_unique(model), *_indexes(model)]
    return [*lines, *(["", *attributes] if attributes else [])]


def _field(model: Model, field: Any) -> str:
    kind, *native = _type(field).split(" ", 1)
    optional = "?" if field.null and not kind.endswith("[]") else ""
    attributes = [*_default(field), *_single_unique(model, field), *native]
    return " ".join([field.column, kind + optional, *attributes])


def _type(field: Any) -> str:
    if target := getattr(field, "target_field", None) or getattr(field, "output_field", None):
        return _type(target)
    if isinstance(field, EnumField):
        return str(field.enum)
    if isinstance(field, ArrayField):
        return f"{_type(field.base_field)}[]"
    if isinstance(field, models.DecimalField):
        return f"Decimal @db.Decimal({field.max_digits}, {field.decimal_places})"
    if isinstance(field, models.CharField):
        return f"String @db.VarChar({field.max_length})"
    return next((name for kind, name in TYPES if isinstance(field, kind)), 'Unsupported("tsvector")')


def _default(field: Any) -> Iterator[str]:
    if isinstance(field, CuidField):
        yield "@id @default(cuid())"
    elif field.primary_key:
        yield "@id"
    if isinstance(field, models.GeneratedField):
        yield "@default(dbgenerated())"
    elif getattr(field, "auto_now", False):
        yield "@updatedAt"
    elif (default := field.db_default) is not NOT_PROVIDED:
        yield f"@default({_value(field, getattr(default, 'value', default))})"


def _value(field: Any, value: Any) -> str:
    if isinstance(value, CurrentTimestamp):
        return "now()"
    if isinstance(value, EmptyTextArray):
        return "[]"
    if isinstance(field, models.JSONField):
        return json.dumps(json.dumps(value))
    if isinstance(field, EnumField):
        return str(value)
    return json.dumps(value) if isinstance(value, bool | int | float | str) else "dbgenerated()"


def _keys(model: Model, found: Sequence[Model]) -> list[ForeignKeyConstraint]:
    return [
        constraint
        for constraint in model._meta.constraints
        if isinstance(constraint, ForeignKeyConstraint) and key_parent(model, constraint) in found
    ]


def key_parent(model: Model, key: ForeignKeyConstraint) -> Model:
    field: Any = model._meta.get_field(key.field)
    parent: Model = field.related_model
    return parent


def _relation(model: Model, key: ForeignKeyConstraint, named: set[str]) -> str:
    field: Any = model._meta.get_field(key.field)
    arguments = [
        *([json.dumps(key.name)] if key.name in named else []),
        f"fields: [{field.column}]",
        f"references: [{field.target_field.column}]",
        f"onDelete: {ACTIONS[key.on_delete]}",
        f"onUpdate: {ACTIONS[key.on_update]}",
        f"map: {json.dumps(key.name)}",
    ]
    kind = key_parent(model, key)._meta.db_table + ("?" if field.null else "")
    return f"{_camel(field.name)} {kind} @relation({', '.join(arguments)})"


def _opposite(model: Model, key: ForeignKeyConstraint, named: set[str]) -> str:
    field: Any = model._meta.get_field(key.field)
    name = f" @relation({json.dumps(key.name)})" if key.name in named else ""
    is_one = any(True for _ in _single_unique(model, field))
    table = model._meta.db_table
    is_hidden = field.remote_field.hidden
    accessor = (
        f"{table[0].lower()}{table[1:]}s" if is_hidden else _camel(field.remote_field.get_accessor_name())
    )
    return f"{accessor} {table}{'?' if is_one else '[]'}{name}"


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)


def _unique_indexes(model: Model) -> Iterator[UniqueIndex]:
    """Yield the unique indexes that a Prisma schema can express: those over all rows."""
    for constraint in model._meta.constraints:
        if isinstance(constraint, UniqueIndex) and constraint.fields and constraint.condition is None:
            yield constraint


def _single_unique(model: Model, field: Any) -> Iterator[str]:
    for index in _unique_indexes(model):
        if list(index.fields) == [field.name]:
            yield f"@unique(map: {json.dumps(index.name)})"


def _unique(model: Model) -> Iterator[str]:
    for index in _unique_indexes(model):
        if len(index.fields) > 1:
            fields: list[Any] = [model._meta.get_field(name) for name in index.fields]
            columns = ", ".join(field.column for field in fields)
            yield f"@@unique([{columns}], map: {json.dumps(index.name)})"


def _indexes(model: Model) -> Iterator[str]:
    """Yield the indexes on columns and over all rows. Clients do not need to know the others."""
    for index in model._meta.indexes:
        if index.fields_orders and index.condition is None:
            classes = [*index.opclasses, *[""] * len(index.fields_orders)]
            columns = [
                _column(model._meta.get_field(name), order, operator_class)
                for (name, order), operator_class in zip(index.fields_orders, classes, strict=False)
            ]
            method = ", type: Gin" if index.suffix == "gin" else ""
            yield f"@@index([{', '.join(columns)}], map: {json.dumps(index.name)}{method})"


def _column(field: Any, order: str, operator_class: str) -> str:
    arguments = []
    if order:
        arguments.append("sort: Desc")
    if operator_class:
        arguments.append(f"ops: {OPERATOR_CLASSES.get(operator_class, f'raw({json.dumps(operator_class)})')}")
    return f"{field.column}({', '.join(arguments)})" if arguments else str(field.column)
