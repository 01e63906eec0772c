"""The effects of each PostgreSQL command on a database that is in use.

Source: PostgreSQL manual, "Explicit locking" and the notes of each command. A test runs every kind of operation and
compares with pg_locks.
"""

from collections.abc import Iterator
from functools import singledispatch
from typing import Any

from pglast import ast, enums

from council.postgres import sql_parser
from council.zero_downtime.lock_modes import (
    ACCESS_EXCLUSIVE,
    ACCESS_SHARE,
    MODES,
    ROW_EXCLUSIVE,
    ROW_SHARE,
    SHARE,
    SHARE_ROW_EXCLUSIVE,
    SHARE_UPDATE_EXCLUSIVE,
    Lock,
)
from council.zero_downtime.planning import alter_table, conditions, rules
from council.zero_downtime.planning.effects import (
    Break,
    Effect,
    Kind,
    Work,
    build,
    constraint_of,
    named,
    partitioned,
    rewrite,
    scan,
    table,
)
from council.zero_downtime.planning.inventory import Column, Inventory, TableIndex
from council.zero_downtime.planning.rules import Risk


@singledispatch
def effects(node: Any, inventory: Inventory) -> Iterator[Effect]:
    """Yield the effects of a statement, and apply the statement to the inventory."""
    if lock := LOCKING.get(kind := sql_parser.kind(node)):
        yield Lock(table(getattr(node, lock[0]), inventory), lock[1])
    elif kind not in WITHOUT_EFFECT:
        yield rules.UNKNOWN_STATEMENT.of(why=f"The plan does not know {kind.removesuffix('Stmt')}")


# These lock one table, for an instant: the node's attribute that names the table, and the mode.
LOCKING = {
    "AlterPolicyStmt": ("table", ACCESS_EXCLUSIVE),
    "CreatePolicyStmt": ("table", ACCESS_EXCLUSIVE),
    "CreateTrigStmt": ("relation", SHARE_ROW_EXCLUSIVE),
    "RuleStmt": ("relation", ACCESS_EXCLUSIVE),
}
# These lock no table.
WITHOUT_EFFECT = {
    "AlterDefaultPrivilegesStmt",
    "AlterFunctionStmt",
    "AlterObjectSchemaStmt",
    "ConstraintsSetStmt",
    "CreateDomainStmt",
    "CreateExtensionStmt",
    "CreateSchemaStmt",
    "CreateSeqStmt",
    "DefineStmt",
    "GrantRoleStmt",
    "GrantStmt",
    "TransactionStmt",
    "VariableSetStmt",
}


@effects.register(ast.CreateStmt)
def _(node: Any, inventory: Inventory) -> Iterator[Effect]:
    name = table(node.relation, inventory)
    if node.if_not_exists and name in inventory.tables:
        return
    inventory.new_tables.add(name)
    found = inventory[name]
    found.is_in_use = False
    constraints = [("", part) for part in node.tableElts or () if sql_parser.kind(part) == "Constraint"]
    for part in node.tableElts or ():
        if sql_parser.kind(part) == "ColumnDef":
            found.columns[part.colname] = Column(
                sql_parser.type_name(part.typeName),
                is_nullable=not alter_table.is_not_null(part),
                has_default=alter_table.has_default(part),
            )
            constraints += [(part.colname, constraint) for constraint in part.constraints or ()]
    for column, part in constraints:
        if added := constraint_of(part, name, inventory, column=column):
            own_name, constraint = added
            found.constraints[own_name] = constraint
            if constraint.parent:
                yield Lock(constraint.parent, SHARE_ROW_EXCLUSIVE)
            if constraint.kind in "pu":
                found.indexes[own_name] = TableIndex(constraint.columns, is_unique=True)
            for key in constraint.columns if constraint.kind == "p" else ():
                found.columns[key].is_nullable = False


@effects.register(ast.IndexStmt)
def _(node: Any, inventory: Inventory) -> Iterator[Effect]:
    name = table(node.relation, inventory)
    columns = [part.name or "" for part in node.indexParams]
    is_computed = node.whereClause is not None or any(part.expr for part in node.indexParams)
    mentioned = [ref.fields[-1].sval for ref in sql_parser.nodes(node, "ColumnRef")] if is_computed else []
    depends_on = [column for column in dict.fromkeys([*columns, *mentioned]) if column and is_computed]
    index = TableIndex(columns, node.accessMethod or "btree", bool(node.unique), computed_from=depends_on)
    if node.concurrent and node.idxname in inventory[name].indexes:
        return  # our operations skip an index that exists
    yield Lock(name, SHARE_UPDATE_EXCLUSIVE if node.concurrent else SHARE)
    if node.concurrent:
        yield from partitioned(name, inventory, "concurrent index")
    elif name not in inventory.new_tables:
        yield rules.PLAIN_INDEX.of(index=node.idxname, table=name)
    if node.unique and name not in inventory.new_tables:
        yield Break(f'rows that are duplicates for "{node.idxname}" are refused')
    share = conditions.share(node.whereClause, inventory[name].columns)
    entries = round(inventory[name].rows * share)
    work = build(name, index, inventory, entries=entries, is_concurrent=bool(node.concurrent))
    yield work._replace(is_partial=node.whereClause is not None)
    inventory[name].indexes[node.idxname or f"{name}_index"] = index


@effects.register(ast.DropStmt)
def _(node: Any, inventory: Inventory) -> Iterator[Effect]:
    drop = {
        enums.ObjectType.OBJECT_TABLE: _drop_table,
        enums.ObjectType.OBJECT_INDEX: _drop_index,
        enums.ObjectType.OBJECT_TRIGGER: _drop_of_table,
        enums.ObjectType.OBJECT_POLICY: _drop_of_table,
        enums.ObjectType.OBJECT_RULE: _drop_of_table,
    }.get(node.removeType)
    if drop is None and node.behavior == enums.DropBehavior.DROP_CASCADE:
        yield rules.UNKNOWN_STATEMENT.of(why="CASCADE also drops whatever depends on it")
    for names in node.objects or ():
        if drop:
            yield from drop(node, names, inventory)


def _drop_table(node: Any, names: Any, inventory: Inventory) -> Iterator[Effect]:
    name = named(names, inventory)
    yield Lock(name, ACCESS_EXCLUSIVE)
    for constraint in inventory[name].constraints.values():
        if constraint.parent:
            yield Lock(constraint.parent, ACCESS_EXCLUSIVE)
    if node.behavior == enums.DropBehavior.DROP_CASCADE:
        for child, found in inventory.tables.items():
            if any(constraint.parent == name for constraint in found.constraints.values()):
                yield Lock(child, ACCESS_EXCLUSIVE)
    yield Break(f'table "{name}" is dropped', rules.TABLE_GONE.of(table=name), name)
    inventory.tables.pop(name, None)


def _drop_index(node: Any, names: Any, inventory: Inventory) -> Iterator[Effect]:
    index = names[-1].sval
    name = inventory.table_of_index(index)
    if name:
        yield Lock(name, SHARE_UPDATE_EXCLUSIVE if node.concurrent else ACCESS_EXCLUSIVE)
        del inventory[name].indexes[index]


def _drop_of_table(node: Any, names: Any, inventory: Inventory) -> Iterator[Effect]:
    yield Lock(named(names[:-1], inventory), ACCESS_EXCLUSIVE)


effects.register(ast.AlterTableStmt, alter_table.effects)


@effects.register(ast.CreateStatsStmt)
def _(node: Any, inventory: Inventory) -> Iterator[Effect]:
    for relation in node.relations:
        yield Lock(table(relation, inventory), SHARE_UPDATE_EXCLUSIVE)


@effects.register(ast.CommentStmt)
def _(node: Any, inventory: Inventory) -> Iterator[Effect]:
    if node.objtype == enums.ObjectType.OBJECT_TABLE:
        yield Lock(named(node.object, inventory), SHARE_UPDATE_EXCLUSIVE)
    elif node.objtype == enums.ObjectType.OBJECT_COLUMN:
        yield Lock(named(node.object[:-1], inventory), SHARE_UPDATE_EXCLUSIVE)


@effects.register(ast.CreateEnumStmt)
def _(node: Any, inventory: Inventory) -> Iterator[Effect]:
    inventory.new_enums.add(sql_parser.name(node.typeName))
    yield from ()


@effects.register(ast.AlterEnumStmt)
def _(node: Any, inventory: Inventory) -> Iterator[Effect]:
    name = sql_parser.name(node.typeName)
    if node.oldVal:
        yield Break(f'value {node.oldVal} of "{name}" is renamed')
    elif name not in inventory.new_enums:
        inventory.new_labels.setdefault(name, []).append(node.newVal)
        yield Break(f'code that reads "{name}" must know its new value {node.newVal}')


@effects.register(ast.RenameStmt)
def _(node: Any, inventory: Inventory) -> Iterator[Effect]:
    kind = node.renameType
    if node.relation is None:
        if kind == enums.ObjectType.OBJECT_TYPE:
            yield Break(f'type "{sql_parser.name(node.object)}" is renamed')
        return
    name = table(node.relation, inventory)
    if kind == enums.ObjectType.OBJECT_INDEX:
        name = inventory.table_of_index(name) or name
        found = inventory[name].indexes
        if node.relation.relname in found:
            found[node.newname] = found.pop(node.relation.relname)
        return  # it locks only the index; reads and writes do not wait for that
    yield Lock(name, ACCESS_EXCLUSIVE)
    if kind == enums.ObjectType.OBJECT_TABLE:
        yield Break(f'table "{name}" is renamed', rules.TABLE_RENAMED.of(table=name), name)
        inventory.rename_table(name, node.newname)
    elif kind == enums.ObjectType.OBJECT_COLUMN:
        risk = rules.COLUMN_RENAMED.of(column=node.subname, table=name)
        yield Break(f'column "{node.subname}" of "{name}" is renamed', risk, name, node.subname)
        inventory.rename_column(name, node.subname, node.newname)
    elif kind == enums.ObjectType.OBJECT_TABCONSTRAINT:
        inventory[name].rename_constraint(node.subname, node.newname)


@effects.register(ast.TruncateStmt)
def _(node: Any, inventory: Inventory) -> Iterator[Effect]:
    for relation in node.relations:
        name = table(relation, inventory)
        yield Lock(name, ACCESS_EXCLUSIVE)
        inventory[name].rows = inventory[name].bytes = 0


@effects.register(ast.LockStmt)
def _(node: Any, inventory: Inventory) -> Iterator[Effect]:
    for relation in node.relations:
        yield Lock(table(relation, inventory), MODES[node.mode - 1])


@effects.register(ast.VacuumStmt)
def _(node: Any, inventory: Inventory) -> Iterator[Effect]:
    is_full = any(option.defname == "full" for option in node.options or ())
    for part in node.rels or ():
        name = table(part.relation, inventory)
        yield Lock(name, ACCESS_EXCLUSIVE if is_full else SHARE_UPDATE_EXCLUSIVE)
        yield scan(name, inventory)
        if is_full:
            yield from rewrite(name, inventory, "VACUUM FULL")


@effects.register(ast.ClusterStmt)
def _(node: Any, inventory: Inventory) -> Iterator[Effect]:
    if node.relation is None:
        yield rules.UNKNOWN_STATEMENT.of(why="It works on all tables that were clustered before")
        return
    name = table(node.relation, inventory)
    yield Lock(name, ACCESS_EXCLUSIVE)
    yield from rewrite(name, inventory, "CLUSTER")


@effects.register(ast.ReindexStmt)
def _(node: Any, inventory: Inventory) -> Iterator[Effect]:
    is_concurrent = any(option.defname == "concurrently" for option in node.params or ())
    if node.relation is None:
        return
    name = table(node.relation, inventory)
    if node.kind == enums.ReindexObjectType.REINDEX_OBJECT_INDEX:
        name = inventory.table_of_index(name) or name
    yield Lock(name, SHARE_UPDATE_EXCLUSIVE if is_concurrent else SHARE)
    if not is_concurrent:
        yield rules.REINDEX.of(table=name)
    for index in inventory[name].indexes.values():
        yield build(name, index, inventory, entries=inventory[name].rows, is_concurrent=is_concurrent)


@effects.register(ast.InsertStmt)
@effects.register(ast.UpdateStmt)
@effects.register(ast.DeleteStmt)
@effects.register(ast.MergeStmt)
def _(node: Any, inventory: Inventory) -> Iterator[Effect]:
    name = table(node.relation, inventory)
    yield Lock(name, ROW_EXCLUSIVE)
    yield from _reads(node, inventory, but=name)
    found = inventory[name]
    if sql_parser.kind(node) == "InsertStmt":
        for constraint in found.constraints.values():
            if constraint.parent:
                yield Lock(constraint.parent, ROW_SHARE)
    else:
        changed = min(found.rows, _source_rows(node, inventory))
        yield Work(Kind.CHANGE, name, found.rows, found.bytes, changed, indexes=len(found.indexes))


def _source_rows(node: Any, inventory: Inventory) -> int:
    """Estimate how many rows an UPDATE … FROM changes at most: the rows of the largest table in FROM."""
    sources = list(getattr(node, "fromClause", None) or ())
    if not sources:
        return inventory[table(node.relation, inventory)].rows
    read = [table(part, inventory) for source in sources for part in sql_parser.nodes(source, "RangeVar")]
    for source in sources:
        for call in sql_parser.nodes(source, "FuncCall"):
            read += inventory.function_tables.get(sql_parser.name(call.funcname), ())
    return max((inventory[name].rows for name in read if name in inventory.tables), default=0)


@effects.register(ast.CreateFunctionStmt)
def _(node: Any, inventory: Inventory) -> Iterator[Effect]:
    name = sql_parser.name(node.funcname)
    inventory.functions[name] = "v"
    for option in node.options or ():
        if option.defname == "as":
            inventory.function_tables[name] = sql_parser.tables(option.arg[0].sval)
        elif option.defname == "volatility":
            inventory.functions[name] = option.arg.sval[0]
    yield from ()


@effects.register(ast.SelectStmt)
def _(node: Any, inventory: Inventory) -> Iterator[Effect]:
    yield from _reads(node, inventory)


@effects.register(ast.ViewStmt)
@effects.register(ast.CreateTableAsStmt)
def _(node: Any, inventory: Inventory) -> Iterator[Effect]:
    into = node.into.rel if sql_parser.kind(node) == "CreateTableAsStmt" else node.view
    name = table(into, inventory)
    inventory.new_tables.add(name)
    inventory[name].is_in_use = False
    yield from _reads(node, inventory, but=name)


def _reads(node: Any, inventory: Inventory, but: str | None = None) -> Iterator[Effect]:
    """Yield the locks of a query on the tables it reads, ignoring the names that WITH defines."""
    ours = {part.ctename for part in sql_parser.nodes(node, "CommonTableExpr")}
    mode = ROW_SHARE if any(sql_parser.nodes(node, "LockingClause")) else ACCESS_SHARE
    for relation in sql_parser.nodes(node, "RangeVar"):
        name = table(relation, inventory)
        if name != but and not (relation.schemaname is None and name in ours):
            yield Lock(name, mode)


def new_labels(node: Any, inventory: Inventory) -> Iterator[Risk]:
    """Find the enum values that a statement uses in the same migration that adds them."""
    if not inventory.new_labels or sql_parser.kind(node) == "AlterEnumStmt":
        return
    literals = {
        part.val.sval for part in sql_parser.nodes(node, "A_Const") if sql_parser.kind(part.val) == "String"
    }
    for enum, labels in inventory.new_labels.items():
        for label in literals.intersection(labels):
            yield rules.ENUM_VALUE_USED.of(label=label, enum=enum)
