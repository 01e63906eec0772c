"""The effects of each ALTER TABLE action: its lock, its work and its risks."""

import math
from collections.abc import Callable, Iterator
from typing import Any

from pglast import enums
from pglast.enums import AlterTableType as Part

from council.postgres import sql_parser, volatility
from council.zero_downtime.lock_modes import (
    ACCESS_EXCLUSIVE,
    MODES,
    ROW_SHARE,
    SHARE_ROW_EXCLUSIVE,
    SHARE_UPDATE_EXCLUSIVE,
    Lock,
)
from council.zero_downtime.planning import rules, type_changes
from council.zero_downtime.planning.effects import (
    KINDS,
    Break,
    Effect,
    Kind,
    Work,
    build,
    constraint_of,
    partitioned,
    rewrite,
    scan,
    table,
)
from council.zero_downtime.planning.inventory import Column, Inventory, TableConstraint, TableIndex

Type = enums.ConstrType
# All others take ACCESS EXCLUSIVE. Source: AlterTableGetLockLevel.
WEAKER = {
    Part.AT_SetStatistics: SHARE_UPDATE_EXCLUSIVE,
    Part.AT_SetOptions: SHARE_UPDATE_EXCLUSIVE,
    Part.AT_ResetOptions: SHARE_UPDATE_EXCLUSIVE,
    Part.AT_SetRelOptions: SHARE_UPDATE_EXCLUSIVE,
    Part.AT_ResetRelOptions: SHARE_UPDATE_EXCLUSIVE,
    Part.AT_ClusterOn: SHARE_UPDATE_EXCLUSIVE,
    Part.AT_DropCluster: SHARE_UPDATE_EXCLUSIVE,
    Part.AT_ValidateConstraint: SHARE_UPDATE_EXCLUSIVE,
    Part.AT_AttachPartition: SHARE_UPDATE_EXCLUSIVE,
    Part.AT_EnableTrig: SHARE_ROW_EXCLUSIVE,
    Part.AT_EnableAlwaysTrig: SHARE_ROW_EXCLUSIVE,
    Part.AT_EnableReplicaTrig: SHARE_ROW_EXCLUSIVE,
    Part.AT_DisableTrig: SHARE_ROW_EXCLUSIVE,
    Part.AT_EnableTrigAll: SHARE_ROW_EXCLUSIVE,
    Part.AT_DisableTrigAll: SHARE_ROW_EXCLUSIVE,
    Part.AT_EnableTrigUser: SHARE_ROW_EXCLUSIVE,
    Part.AT_DisableTrigUser: SHARE_ROW_EXCLUSIVE,
}
REWRITING = {
    Part.AT_SetLogged: "SET LOGGED",
    Part.AT_SetUnLogged: "SET UNLOGGED",
    Part.AT_SetAccessMethod: "SET ACCESS METHOD",
    Part.AT_SetTableSpace: "SET TABLESPACE",
}
SERIAL = {"serial", "bigserial", "smallserial", "serial4", "serial8", "serial2"}
FILLED = {Type.CONSTR_DEFAULT, Type.CONSTR_GENERATED, Type.CONSTR_IDENTITY}
NOT_NULL = {Type.CONSTR_NOTNULL, Type.CONSTR_PRIMARY, Type.CONSTR_IDENTITY}


def is_not_null(column: Any) -> bool:
    """Return whether a column's definition forbids NULL."""
    return sql_parser.written(column.typeName) in SERIAL or any(
        constraint.contype in NOT_NULL for constraint in column.constraints or ()
    )


def has_default(column: Any) -> bool:
    """Return whether the definition of a column gives it a value in rows that are inserted without it."""
    return sql_parser.written(column.typeName) in SERIAL or any(
        constraint.contype in FILLED for constraint in column.constraints or ()
    )


def effects(node: Any, inventory: Inventory) -> Iterator[Effect]:
    if node.objtype != enums.ObjectType.OBJECT_TABLE:
        return
    name = table(node.relation, inventory)
    yield Lock(name, max((_mode(part) for part in node.cmds), key=MODES.index))
    for part in node.cmds:
        if act := ACTS.get(part.subtype):
            yield from act(part, name, inventory)
        elif why := REWRITING.get(part.subtype):
            yield from rewrite(name, inventory, why)


def _mode(part: Any) -> str:
    if part.subtype == Part.AT_AddConstraint and part.def_.contype == Type.CONSTR_FOREIGN:
        return SHARE_ROW_EXCLUSIVE
    return WEAKER.get(part.subtype, ACCESS_EXCLUSIVE)


def _add_column(part: Any, name: str, inventory: Inventory) -> Iterator[Effect]:
    column = part.def_
    found = inventory[name]
    constraints = {constraint.contype: constraint for constraint in column.constraints or ()}
    kind = sql_parser.written(column.typeName)
    default = constraints.get(Type.CONSTR_DEFAULT)
    generated = constraints.get(Type.CONSTR_GENERATED)
    is_new = name in inventory.new_tables
    found.columns[column.colname] = Column(
        sql_parser.type_name(column.typeName),
        is_nullable=not is_not_null(column),
        has_default=has_default(column),
        null_share=0.0 if default or kind in SERIAL else 1.0,
        is_sorted=True,
        only_number=sql_parser.number(default.raw_expr) if default else None,
    )
    volatile = [
        function
        for call in (sql_parser.nodes(default.raw_expr, "FuncCall") if default else ())
        if volatility.is_volatile(function := sql_parser.name(call.funcname), inventory.functions)
    ]
    if volatile and not is_new:
        yield rules.VOLATILE_DEFAULT.of(function=volatile[0], table=name)
    if (
        volatile
        or kind in SERIAL
        or Type.CONSTR_IDENTITY in constraints
        or (generated and getattr(generated, "generated_kind", "s") != "v")
    ):
        yield from rewrite(name, inventory, f'Adding column "{column.colname}"')
    if Type.CONSTR_NOTNULL in constraints and not has_default(column):
        yield from _needs_value(column.colname, name, inventory)
    for constraint in constraints.values():
        if KINDS.get(constraint.contype):
            yield from _add(constraint, name, inventory, column=column.colname, is_filled=has_default(column))


def _needs_value(column: str, name: str, inventory: Inventory) -> Iterator[Effect]:
    if name in inventory.new_tables:
        return
    yield rules.NOT_NULL_WITHOUT_DEFAULT.of(column=column, table=name)
    yield Break(f'INSERTs into "{name}" that do not name "{column}" are refused')


def _drop_column(part: Any, name: str, inventory: Inventory) -> Iterator[Effect]:
    inventory[name].columns.pop(part.name, None)
    for index, found in list(inventory[name].indexes.items()):
        if part.name in {*found.columns, *found.computed_from}:
            del inventory[name].indexes[index]
    for own_name, constraint in list(inventory[name].constraints.items()):
        if part.name in constraint.columns:
            del inventory[name].constraints[own_name]
            if constraint.parent:
                yield Lock(constraint.parent, ACCESS_EXCLUSIVE)
    risk = rules.COLUMN_GONE.of(column=part.name, table=name)
    yield Break(f'column "{part.name}" of "{name}" is dropped', risk, name, part.name)


def _column_default(part: Any, name: str, inventory: Inventory) -> Iterator[Effect]:
    if part.def_ is None:
        yield from _lose_default(part, name, inventory)
    elif column := inventory[name].columns.get(part.name):
        column.has_default = True


def _add_identity(part: Any, name: str, inventory: Inventory) -> Iterator[Effect]:
    if column := inventory[name].columns.get(part.name):
        column.has_default = True
    yield from ()


def _lose_default(part: Any, name: str, inventory: Inventory) -> Iterator[Effect]:
    column = inventory[name].columns.get(part.name)
    if column and column.has_default:
        column.has_default = False
        if not column.is_nullable:
            risk = rules.NULL_REFUSED.of(column=part.name, table=name)
            yield Break(f'INSERTs into "{name}" that do not name "{part.name}" are refused', risk, name)


def _set_not_null(part: Any, name: str, inventory: Inventory) -> Iterator[Effect]:
    found = inventory[name]
    column = found.columns.setdefault(part.name, Column("?"))
    was_nullable, column.is_nullable = column.is_nullable, False
    if name in inventory.new_tables or not was_nullable:
        return
    checks = [check for check in found.constraints.values() if check.not_null == part.name]
    risk = None if checks else rules.NULL_REFUSED.of(column=part.name, table=name)
    # Code that does not know the column omits it, which works if it has a default.
    known = part.name if column.has_default else ""
    yield Break(f'NULL in "{part.name}" of "{name}" is refused', risk, name, known)
    if not any(check.is_validated for check in checks):
        yield scan(name, inventory)
        yield rules.SET_NOT_NULL.of(table=name, column=part.name)


def _drop_not_null(part: Any, name: str, inventory: Inventory) -> Iterator[Effect]:
    if part.name in inventory[name].columns:
        inventory[name].columns[part.name].is_nullable = True
    yield from ()


def _alter_type(part: Any, name: str, inventory: Inventory) -> Iterator[Effect]:
    found = inventory[name]
    column = found.columns.get(part.name, Column("?"))
    before, after = column.type, sql_parser.type_name(part.def_.typeName)
    column.type = after
    keeps_rows = type_changes.keeps_rows(before, after, is_utc=inventory.is_utc)
    keeps_indexes = type_changes.keeps_indexes(before, after) and not part.def_.collClause
    if not (keeps_rows and keeps_indexes) and name not in inventory.new_tables:
        risk = rules.VALUES_REFUSED.of(column=part.name, table=name, before=before, after=after)
        is_told = not type_changes.takes_all_values(before, after)
        yield Break(f'"{part.name}" of "{name}" has another type', risk if is_told else None, name, part.name)
    if not (keeps_rows and _is_plain_cast(part, after)):
        yield from rewrite(name, inventory, f'Changing "{part.name}" from {before} to {after}')
    elif name not in inventory.new_tables:
        yield from _made_anew(part.name, name, inventory, keeps_indexes=keeps_indexes)


def _made_anew(column: str, name: str, inventory: Inventory, *, keeps_indexes: bool) -> Iterator[Effect]:
    """Yield what is rebuilt or checked again when a column's new type leaves the rows as they are."""
    for own_name, index in inventory[name].indexes.items():
        if column in index.computed_from or (column in index.columns and not keeps_indexes):
            yield build(name, index, inventory, entries=inventory[name].rows)
            yield rules.INDEX_REBUILT.of(index=own_name, column=column, table=name)
    for own_name, constraint in inventory[name].constraints.items():
        is_checked = constraint.kind == "c" or (constraint.kind == "f" and not keeps_indexes)
        if is_checked and constraint.is_validated and column in constraint.columns:
            yield _validation(name, constraint, inventory)
            yield rules.CHECKED_AGAIN.of(constraint=own_name, table=name, column=column)


def _is_plain_cast(part: Any, after: str) -> bool:
    """Return whether USING, as Django writes it, only casts the column to its new type.

    Source: ATColumnChangeRequiresRewrite, which ignores a cast that changes no bytes.
    """
    node = part.def_.raw_default
    if sql_parser.kind(node) == "TypeCast" and sql_parser.type_name(node.typeName) == after:
        node = node.arg
    if sql_parser.kind(node) == "ColumnRef":
        return [field.sval for field in node.fields if hasattr(field, "sval")] == [part.name]
    return node is None


def _add_constraint(part: Any, name: str, inventory: Inventory) -> Iterator[Effect]:
    yield from _add(part.def_, name, inventory)


def _add(
    constraint: Any, name: str, inventory: Inventory, column: str = "", *, is_filled: bool = True
) -> Iterator[Effect]:
    """Add a constraint to a table, or to a column of the same statement. `is_filled`: that column has a default."""
    found = constraint_of(constraint, name, inventory, column=column)
    if found is None:
        return
    own_name, added = found
    kind, parent, is_valid = added.kind, added.parent, added.is_validated
    inventory[name].constraints[own_name] = added
    if parent:
        yield Lock(parent, SHARE_ROW_EXCLUSIVE)
    if name in inventory.new_tables:
        if kind in "pu" and not constraint.indexname:
            inventory[name].indexes[own_name] = TableIndex(added.columns, is_unique=True)
        return
    if not column:
        yield Break(f'rows that violate "{own_name}" are refused')
    if kind == "f" and not is_filled:
        return  # PostgreSQL checks no key of an empty column
    if kind in "fc" and is_valid:
        yield _validation(name, added, inventory)
        risk = rules.VALIDATED_KEY if parent else rules.CHECKED_WHEN_ADDED
        yield risk.of(constraint=own_name, table=name)
    elif kind == "c":
        condition = sql_parser.written(constraint.raw_expr) if constraint.raw_expr else ""
        yield rules.UNCHECKED_ROWS.of(table=name, constraint=own_name, condition=condition)
    elif kind == "f":
        yield from partitioned(name, inventory, "foreign key that is not valid yet, before version 18")
    elif kind in "pux":
        yield from _add_index(constraint, own_name, name, inventory, added.columns)


def _add_index(
    constraint: Any, own_name: str, name: str, inventory: Inventory, columns: list[str]
) -> Iterator[Effect]:
    indexes = inventory[name].indexes
    if constraint.indexname:  # the constraint takes this index over and renames it
        if constraint.indexname in indexes:
            indexes[own_name] = indexes.pop(constraint.indexname)
        return
    index = TableIndex(columns, is_unique=True)
    yield build(name, index, inventory, entries=inventory[name].rows)
    yield rules.INDEX_OF_CONSTRAINT.of(constraint=own_name, table=name)
    indexes[own_name] = index


def _validation(name: str, constraint: TableConstraint, inventory: Inventory) -> Work:
    work = scan(name, inventory)
    if not constraint.parent:
        return work
    columns = inventory[name].columns
    share = math.prod(1 - columns[column].null_share for column in constraint.columns if column in columns)
    parent_rows = inventory[constraint.parent].rows
    return work._replace(kind=Kind.KEYS, entries=round(work.rows * share), parent_rows=parent_rows)


def _validate(part: Any, name: str, inventory: Inventory) -> Iterator[Effect]:
    found = inventory[name].constraints.get(part.name)
    if found is None or found.is_validated:
        return
    found.is_validated = True
    if found.parent:
        yield Lock(found.parent, ROW_SHARE)
    yield _validation(name, found, inventory)


def _drop_constraint(part: Any, name: str, inventory: Inventory) -> Iterator[Effect]:
    found = inventory[name].constraints.pop(part.name, None)
    inventory[name].indexes.pop(part.name, None)
    if found and found.parent:
        yield Lock(found.parent, ACCESS_EXCLUSIVE)


ACTS: dict[Part, Callable[[Any, str, Inventory], Iterator[Effect]]] = {
    Part.AT_AddColumn: _add_column,
    Part.AT_DropColumn: _drop_column,
    Part.AT_ColumnDefault: _column_default,
    Part.AT_AddIdentity: _add_identity,
    Part.AT_DropIdentity: _lose_default,
    Part.AT_SetNotNull: _set_not_null,
    Part.AT_DropNotNull: _drop_not_null,
    Part.AT_AlterColumnType: _alter_type,
    Part.AT_AddConstraint: _add_constraint,
    Part.AT_ValidateConstraint: _validate,
    Part.AT_DropConstraint: _drop_constraint,
}
