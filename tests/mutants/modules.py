"""All mutants of a module: those of cosmic-ray's operators, and those in which one part of the code is missing.

`modules.toml` names the modules, the tests for each, and the mutants that no test needs to notice, with reasons.
"""

import ast
import tomllib
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator

from tests.mutants.lists import PROJECT, Mutant

LIST = tomllib.loads((Path(__file__).parent / "modules.toml").read_text())


def tests(only: str) -> set[str]:
    return {test for module in _listed(only) for test in module["tests"]}


def _listed(only: str) -> list[dict[str, Any]]:
    return [module for module in LIST["module"] if only in module["file"]]


def read(only: str) -> list[Mutant]:
    """Make the mutants of the listed modules. With `only`, keep the files whose names contain the word."""
    reasons = {
        (module["file"], flat(given["before"]), flat(given["after"])): given["reason"]
        for module in _listed(only)
        for given in module.get("stays", [])
    }
    mutants = [
        mutant
        for module in _listed(only)
        for mutant in _mutants(module["file"], tuple(module["tests"]), reasons)
    ]
    unused = reasons.keys() - {_key(mutant) for mutant in mutants}
    assert not unused, f"There are reasons for mutants that do not exist (any more): {sorted(unused)}"
    return mutants


def _statement(tree: ast.Module, line: int) -> range:
    """The lines of a statement, without the lines of statements inside it."""
    found = range(0)
    for node in ast.walk(tree):
        if isinstance(node, ast.stmt) and node.lineno <= line <= (node.end_lineno or 0):
            inner = [child.lineno for child in ast.iter_child_nodes(node) if isinstance(child, ast.stmt)]
            found = range(node.lineno, min(inner, default=(node.end_lineno or 0) + 1))
    return found


def _runs_at_import(tree: ast.Module, line: int) -> bool:
    """Tell whether a line runs when the module is imported, and not when a function is called."""
    return not any(
        node.body[0].lineno <= line <= (node.end_lineno or 0)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef)
    )


def _mutants(file: str, tests: tuple[str, ...], reasons: dict[tuple[str, str, str], str]) -> Iterator[Mutant]:
    text = (PROJECT / file).read_text()
    tree, seen = ast.parse(text), {_meaning(text)}
    for kind, broken in [*_by_operators(text), *_without_parts(text)]:
        try:
            meaning = _meaning(broken)
        except SyntaxError:
            continue
        if meaning not in seen:
            seen.add(meaning)
            line, before, after = _difference(text, broken)
            reason = reasons.get((file, flat(before), flat(after)), "")
            yield Mutant(
                kind, before, after, tests, file, reason=reason, text=broken,
                line=line, statement=_statement(tree, line), runs_at_import=_runs_at_import(tree, line),
            )  # fmt: skip


def _by_operators(text: str) -> Iterator[tuple[str, str]]:
    for name in LIST["operators"]:
        operator, occurrence = get_operator(f"core/{name}")(), 0
        while (broken := mutate_code(text, operator, occurrence)) is not None:
            yield name, broken
            occurrence += 1


# Methods that filter a query, order it, or lock its rows.
NARROWING = {"filter", "exclude", "select_for_update", "order_by"}


def _without_parts(text: str) -> Iterator[tuple[str, str]]:
    tree, source = ast.parse(text), text.encode()
    starts = [0]
    for line in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))

    def end_of(node: ast.stmt | ast.expr) -> int:
        return starts[(node.end_lineno or 0) - 1] + (node.end_col_offset or 0)

    def replaced(node: ast.stmt | ast.expr, new: str, *, until: int = 0) -> str:
        begin = starts[node.lineno - 1] + node.col_offset
        return (source[:begin] + new.encode() + source[until or end_of(node) :]).decode()

    words = {id(part) for node in ast.walk(tree) if isinstance(node, ast.Raise) for part in ast.walk(node)}
    for node in ast.walk(tree):
        match node:
            case (
                ast.Expr(value=ast.Call())
                | ast.Assign(targets=[ast.Attribute() | ast.Subscript()])
                | ast.Raise()
                | ast.AugAssign()
                | ast.Delete()
            ):
                yield "without a statement", replaced(node, "pass")
            case ast.With(items=[*items]) if not any(item.optional_vars for item in items):
                end = source.index(b":", end_of(items[-1].context_expr))
                yield "without its `with`", replaced(node, "if True", until=end)
            case ast.ExceptHandler(type=ast.Tuple(elts=kinds) as given):
                for kind in kinds:
                    fewer = ", ".join(ast.unparse(other) for other in kinds if other is not kind)
                    yield "without an exception", replaced(given, f"({fewer},)")
            case ast.ExceptHandler(type=ast.expr() as given):
                yield "without an exception", replaced(given, "()")
            case ast.comprehension(ifs=conditions):
                for condition in conditions:
                    yield "without a condition", replaced(condition, "True")
            case ast.Call(func=func, keywords=keywords) if id(node) not in words:
                for place, keyword in enumerate(keywords):
                    call = deepcopy(node)
                    del call.keywords[place]
                    yield f"without {keyword.arg or '**'}=", replaced(node, ast.unparse(call))
                if isinstance(func, ast.Attribute) and func.attr in NARROWING:
                    yield f"without {func.attr}()", replaced(node, ast.unparse(func.value))


class _Plain(ast.NodeTransformer):
    """Removes what has no effect when the code runs: types, `not not`, and `frozen=`, which mypy checks."""

    def visit_keyword(self, node: ast.keyword) -> ast.AST | None:
        return None if node.arg == "frozen" else self.generic_visit(node)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.AST:
        self.generic_visit(node)
        match node:
            case ast.UnaryOp(ast.Not(), ast.UnaryOp(ast.Not(), operand)):
                return operand
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        return self.generic_visit(node)

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.annotation = None
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        node.annotation = ast.Constant(None)
        return self.generic_visit(node)


def _meaning(text: str) -> str:
    return ast.dump(_Plain().visit(ast.parse(text)))


def _difference(before: str, after: str) -> tuple[int, str, str]:
    """The lines that differ, and the number of the first of them."""
    old, new = before.splitlines(), after.splitlines()
    first = next(
        (place for place, pair in enumerate(zip(old, new, strict=False)) if pair[0] != pair[1]), len(new)
    )
    while old and new and len(old) > first + 1 and len(new) > first and old[-1] == new[-1]:
        old.pop()
        new.pop()
    return first + 1, "\n".join(old[first:]), "\n".join(new[first:])


def flat(text: str) -> str:
    return " ".join(text.split())


def _key(mutant: Mutant) -> tuple[str, str, str]:
    return mutant.file, flat(mutant.before), flat(mutant.after)
