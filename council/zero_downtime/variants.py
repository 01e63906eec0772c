"""Recognises equivalent definitions of indexes, foreign keys and triggers that are written differently.

Definitions are as PostgreSQL prints them, without schemas.
"""

import re
from typing import NamedTuple

from council.postgres import indexes, sql_parser

NOT_VALID, INVALID = " NOT VALID", " INVALID"


def successor(index: str) -> str:
    """Return the name of the index that will replace another, as REINDEX CONCURRENTLY would name it."""
    return f"{index[: indexes.MAX_NAME_LENGTH - len('_ccnew')]}_ccnew"


def renamed(definition: str, name: str, new: str) -> str:
    return definition.replace(f' INDEX "{name}" ON ', f' INDEX "{new}" ON ', 1)


def concurrently(definition: str) -> str:
    return definition.replace(" INDEX ", " INDEX CONCURRENTLY ", 1)


def without_on_update(definition: str) -> str:
    """Remove ON UPDATE CASCADE or RESTRICT from a foreign key's definition."""
    return re.sub(r" ON UPDATE (CASCADE|RESTRICT)", "", definition)


def is_same_event(want: str, have: str) -> bool:
    """Compare two triggers by name, event, table and function, ignoring whether they run per row or statement."""
    pattern = re.compile(r"(REFERENCING .*)?FOR EACH (ROW|STATEMENT) EXECUTE")
    return pattern.sub("EXECUTE", want) == pattern.sub("EXECUTE", have)


class IndexShape(NamedTuple):
    """The parts of an index's definition that decide whether two indexes are equivalent."""

    rest: tuple[object, ...]  # table, method, uniqueness, and NULLS NOT DISTINCT
    columns: tuple[str, ...]
    is_plain: bool
    is_unique: bool
    operator_classes: tuple[object, ...]

    @classmethod
    def read(cls, definition: str) -> "IndexShape":
        [statement] = sql_parser.read(definition.removesuffix(INVALID))
        node = statement.node
        parts = list(node.indexParams)
        return cls(
            rest=(node.relation.relname, node.accessMethod, bool(node.unique), bool(node.nulls_not_distinct)),
            columns=tuple(str(part.name) for part in parts),
            is_plain=not node.whereClause
            and not node.indexIncludingParams
            and not node.options
            and all(part.name and not part.collation and not part.opclassopts for part in parts),
            is_unique=bool(node.unique),
            operator_classes=tuple(sql_parser.name(part.opclass) if part.opclass else None for part in parts),
        )

    def means_the_same_as(self, other: "IndexShape") -> bool:
        """Return whether two indexes are equivalent: column order and operator classes may differ."""
        return (
            self.is_plain
            and other.is_plain
            and self.rest == other.rest
            and sorted(self.columns) == sorted(other.columns)
            and not (self.is_unique and any(self.operator_classes))
        )
