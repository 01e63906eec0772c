"""Predicts what a change of a column's type does to rows, to plain indexes, and to the values of earlier code.

Every change of type rebuilds indexes with an expression or a condition, and checks every CHECK again. A change that
involves a type not known here is never considered free. A test tries all pairs of common types on the server.
Source: ATColumnChangeRequiresRewrite, the support functions of casts that shorten, and CheckIndexCompatible.
"""

from typing import Any, NamedTuple

from council.postgres import sql_parser

# Casts without a function, between types that are stored in the same way.
COMPARED_ALIKE = {("varchar", "text"), ("text", "varchar"), ("cidr", "inet")}
STORED_ALIKE = {
    *COMPARED_ALIKE,
    *(("varchar", "bpchar"), ("varchar", "citext"), ("text", "bpchar"), ("text", "citext")),
    *(("citext", "text"), ("citext", "varchar"), ("citext", "bpchar")),
    *(("xml", "text"), ("xml", "varchar"), ("xml", "bpchar")),
    *(("bit", "varbit"), ("int4", "oid"), ("oid", "int4")),
}
# For each type, the types that can hold all its values without changing them.
TAKEN_BY = {
    "int2": {"int4", "int8", "numeric", "float4", "float8"},
    "int4": {"int8", "numeric", "float8"},
    "int8": {"numeric"},
    "float4": {"float8"},
    "varchar": {"text", "citext"},
    "bpchar": {"varchar", "text", "citext"},
    "text": {"varchar", "citext"},
    "date": {"timestamp", "timestamptz"},
    "timestamp": {"timestamptz"},
    "timestamptz": {"timestamp"},
    "json": {"jsonb"},
    "cidr": {"inet"},
}
DIGITS = {"int2": 5, "int4": 10, "int8": 19}
MOMENTS = {"timestamp", "timestamptz"}
MOST_DIGITS = 6  # after the decimal point of a second
# The bits of an interval's mask, from second to year.
UNITS = (12, 11, 10, 3, 1, 2)


class Type(NamedTuple):
    """A type as PostgreSQL's parser reads it: `numeric(10,2)` is numeric, (10, 2)."""

    name: str
    modifiers: tuple[int, ...]
    dimensions: int


def keeps_rows(before: str, after: str, *, is_utc: bool = False) -> bool:
    """Return whether no row is read or written. `is_utc`: the session's time zone is UTC."""
    if before == after:
        return True
    old, new = _read(before), _read(after)
    if old is None or new is None or bool(old.dimensions) != bool(new.dimensions):
        return False
    if old.name == new.name:
        return old.modifiers == new.modifiers or not new.modifiers or _is_wider(old, new)
    if old.dimensions:
        return False
    if {old.name, new.name} == MOMENTS:
        return is_utc and new.modifiers in {(), (MOST_DIGITS,)}
    return (old.name, new.name) in STORED_ALIKE and not new.modifiers


def keeps_indexes(before: str, after: str) -> bool:
    """Return whether a change that keeps the rows also keeps plain indexes: both types compare in the same way."""
    old, new = _read(before), _read(after)
    if old is None or new is None:
        return before == after
    return old.name == new.name or (old.name, new.name) in COMPARED_ALIKE


def takes_all_values(before: str, after: str) -> bool:
    """Return whether code that was written for the old type can still write and find all its values."""
    old, new = _read(before), _read(after)
    if old is None or new is None or bool(old.dimensions) != bool(new.dimensions):
        return before == after
    old, new = old._replace(dimensions=0), new._replace(dimensions=0)
    if not new.modifiers:
        return old.name == new.name or new.name in TAKEN_BY.get(old.name, ())
    precision, scale = (*new.modifiers, 0)[:2]
    if old.name in DIGITS:
        return new.name == "numeric" and precision - scale >= DIGITS[old.name]
    if old.name == new.name == "numeric" and old.modifiers:
        old_precision, old_scale = (*old.modifiers, 0)[:2]
        return precision - scale >= old_precision - old_scale and scale >= old_scale
    is_same = old.name == new.name or new.name in TAKEN_BY.get(old.name, ())
    return is_same and (old.modifiers == new.modifiers or _is_wider(old._replace(name=new.name), new))


def _read(text: str) -> Type | None:
    try:
        [found] = sql_parser.read(f"SELECT NULL::{text}")
    except (sql_parser.Unreadable, ValueError):
        return None
    node: Any = found.node.targetList[0].val.typeName
    modifiers = tuple(sql_parser.number(part) or 0 for part in node.typmods or ())
    return Type(sql_parser.name(node.names), modifiers, len(node.arrayBounds or ()))


def _is_wider(old: Type, new: Type) -> bool:
    """Return whether the new type can hold every value of the old one, which has the same name."""
    was, becomes = old.modifiers, new.modifiers
    if old.dimensions:
        return False
    match old.name:
        case "varchar" | "varbit":
            return bool(was) and was[0] <= becomes[0]
        case "numeric":
            precision, scale = (*becomes, 0)[:2]
            return bool(was) and was[0] <= precision and (*was, 0)[1] == scale
        case "timestamp" | "timestamptz" | "time" | "timetz":
            return becomes[0] >= MOST_DIGITS or (bool(was) and was[0] <= becomes[0])
        case "interval":
            (unit, digits), (new_unit, new_digits) = _interval(was), _interval(becomes)
            return new_unit <= unit and (unit > 0 or digits <= new_digits)
    return False


def _interval(modifiers: tuple[int, ...]) -> tuple[int, int]:
    """Return the smallest unit of an interval (0 for seconds) and the digits of its seconds."""
    mask, digits = (*modifiers, MOST_DIGITS)[:2] if modifiers else (1 << UNITS[0], MOST_DIGITS)
    return next(number for number, bit in enumerate(UNITS) if mask & 1 << bit), digits
