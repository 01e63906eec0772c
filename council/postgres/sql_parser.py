"""SQL, parsed by PostgreSQL's own parser. Source: libpg_query, through pglast."""

import functools
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import pglast
from pglast import ast, stream, visitors


class Statement(NamedTuple):
    """One statement: its text, without the semicolon, and its parse tree."""

    sql: str
    node: Any


class Unreadable(ValueError):
    """PostgreSQL's parser does not accept the text."""


@functools.lru_cache(maxsize=8)
def read(sql: str) -> tuple[Statement, ...]:
    """Split SQL text into statements. Raises Unreadable. The trees are shared, so nobody may change them."""
    try:
        raw = pglast.parse_sql(sql)
    except pglast.parser.ParseError as error:
        raise Unreadable(f"{error}: {sql.strip()[:200]}") from error
    found = []
    for one in raw:
        begin, length = one.stmt_location or 0, one.stmt_len
        own = sql[begin : begin + length] if length else sql[begin:]
        found.append(Statement(own.strip().removesuffix(";"), one.stmt))
    return tuple(found)


def written(node: Any) -> str:
    """Write a node of the parse tree as SQL."""
    return str(stream.RawStream()(node))


# Types as people write them, and PostgreSQL's names for them.
TYPES = {
    "varchar": "character varying",
    "char": "character",
    "bpchar": "character",
    **dict.fromkeys(["serial", "serial4"], "integer"),
    **dict.fromkeys(["bigserial", "serial8"], "bigint"),
    **dict.fromkeys(["smallserial", "serial2"], "smallint"),
}
PARTS_OF_TYPE = re.compile(r"(?P<name>\w+)(?P<size>\([^()]*\))?(?P<rest>(\[\d*\])*)")


def type_name(node: Any) -> str:
    """Return the catalogue's name of a type."""
    text = written(node)
    if (match := PARTS_OF_TYPE.fullmatch(text)) is None:
        return text
    name, size, rest = match["name"], match["size"] or "", match["rest"]
    zone = " without time zone" if name in {"timestamp", "time"} else ""
    return f"{TYPES.get(name, name)}{size}{zone}{rest}"


def kind(node: Any) -> str:
    """Return the kind of a node, as PostgreSQL's sources name it."""
    return type(node).__name__


def name(names: Any) -> str:
    """Return a qualified name, such as a function's, without its schema."""
    return str(names[-1].sval)


def number(node: Any) -> int | None:
    """Return the value of an integer constant; None for any other node."""
    is_constant = kind(node) == "A_Const" and kind(node.val) == "Integer"
    return int(node.val.ival) if is_constant else None


def nodes(node: Any, wanted: str) -> Iterator[Any]:
    """Find all nodes of one kind, named as in PostgreSQL's sources."""
    found: list[ast.Node] = []

    class Collector(visitors.Visitor):
        def visit(self, ancestors: Any, part: Any) -> None:
            if kind(part) == wanted:
                found.append(part)

    Collector()(node)
    yield from found


def tables(sql: str) -> list[str]:
    """List the tables that SQL text mentions, without their schemas; empty if it cannot be parsed."""
    try:
        found = [relation for statement in read(sql) for relation in nodes(statement.node, "RangeVar")]
    except Unreadable:
        return []
    return [relation.relname for relation in found]
