"""Estimates, from statistics, the share of a table's rows that match a partial index's condition."""

import math
import operator
from collections.abc import Mapping
from typing import Any

from pglast import enums

from council.postgres import sql_parser
from council.zero_downtime.planning.inventory import Column

COMPARED = {
    "=": operator.eq,
    "<>": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def share(condition: Any, columns: Mapping[str, Column]) -> float:
    """Multiply the shares of all tests joined by AND.

    Known tests are IS [NOT] NULL, and comparing a number with a column that has the same value in all rows. Any other
    test is assumed to match all rows.
    """
    is_joined = sql_parser.kind(condition) == "BoolExpr" and condition.boolop == enums.BoolExprType.AND_EXPR
    tests = condition.args if is_joined else [condition]
    return math.prod(_share(test, columns) for test in tests)


def _share(test: Any, columns: Mapping[str, Column]) -> float:
    if sql_parser.kind(test) == "NullTest" and (column := _column(test.arg, columns)):
        is_not_null = test.nulltesttype == enums.NullTestType.IS_NOT_NULL
        return 1 - column.null_share if is_not_null else column.null_share
    if sql_parser.kind(test) == "A_Expr" and test.kind == enums.A_Expr_Kind.AEXPR_OP:
        column, number = _column(test.lexpr, columns), sql_parser.number(test.rexpr)
        compare = COMPARED.get(sql_parser.name(test.name))
        if column and column.only_number is not None and number is not None and compare:
            return float(compare(column.only_number, number))
    return 1.0


def _column(part: Any, columns: Mapping[str, Column]) -> Column | None:
    return columns.get(part.fields[-1].sval) if sql_parser.kind(part) == "ColumnRef" else None
