"""Finds out whether a plan's inventory already has what a statement would create."""

from collections.abc import Iterator
from typing import Any

from council.postgres import sql_parser
from council.zero_downtime.planning.inventory import Inventory


def of_statement(sql: str, there: Inventory) -> list[str]:
    """Return the names of what a text's only statement creates, if all of it exists. Raises Unreadable."""
    read = sql_parser.read(sql)
    if len(read) != 1:
        return []
    node = read[0].node
    match sql_parser.kind(node):
        case "CreateStmt":
            table = there.name(node.relation.schemaname, node.relation.relname)
            return [f'table "{table}"'] if table in there.tables else []
        case "CreateEnumStmt":
            name = sql_parser.name(node.typeName)
            return [f'type "{name}"'] if name in there.enums else []
        case "IndexStmt":
            is_there = there.table_of_index(node.idxname) if node.idxname else None
            return (
                [f'index "{node.idxname}"'] if is_there and node.idxname not in there.invalid_indexes else []
            )
        case "AlterTableStmt":
            things = list(_of_commands(node, there))
            return [thing for thing in things if thing] if all(things) else []
    return []


def _of_commands(node: Any, there: Inventory) -> Iterator[str | None]:
    """Yield what each ALTER TABLE action would create if that exists; None if the action has something to do."""
    name = there.name(node.relation.schemaname, node.relation.relname)
    table = there.tables.get(name)
    for command in node.cmds:
        thing = command.def_
        match command.subtype.name:
            case "AT_AddColumn" if table and thing.colname in table.columns:
                yield f'column "{thing.colname}" of "{name}"'
            case "AT_AddConstraint" if table and thing.conname in table.constraints:
                is_done = thing.skip_validation or table.constraints[thing.conname].is_validated
                yield f'constraint "{thing.conname}" of "{name}"' if is_done else None
            case "AT_ValidateConstraint" if (
                table and command.name in table.constraints and table.constraints[command.name].is_validated
            ):
                yield f'validated constraint "{command.name}" of "{name}"'
            case _:
                yield None
