"""All mutants of a module: those of cosmic-ray's operators, and those in which one part of the code is missing.

`modules.toml` names the modules, the tests for each, and the mutants that no test needs to notice, with reasons.
"""

import ast
import pickle
import re
import tomllib
from collections.abc import Iterable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

from cosmic_ray.ast import get_ast
from cosmic_ray.mutating import MutationVisitor
from cosmic_ray.plugins import get_operator

from tests.mutants.lists import PROJECT, Mutant

LIST = tomllib.loads((Path(__file__).parent / "modules.toml").read_text())


def tests(only: str) -> set[str]:
    return {test for module in _listed(only) for test in module["tests"]}


def _listed(only: str) -> list[dict[str, Any]]:
    return [module for module in LIST["module"] if re.search(only, module["file"])]


def read(only: str) -> list[Mutant]:
    """Make the mutants of the listed modules. With `only`, keep the files whose names match the pattern."""
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


class Module:
    """A module's text, and what its lines are."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.text = (PROJECT / file).read_text()
        self.tree = ast.parse(self.text)
        self.meaning = _meaning(self.text)
        self.statements = [node for node in ast.walk(self.tree) if isinstance(node, ast.stmt)]
        functions = [node for node in self.statements if isinstance(node, ast.FunctionDef)]
        self.of_functions = _within(functions)
        self.of_inner_functions = _within(node for node in functions if node in self.of_functions)

    def statement(self, line: int) -> ast.stmt:
        """Find the innermost statement at a line. A decorator belongs to what it decorates."""
        return next(
            node for node in reversed(self.statements) if _begin(node) <= line <= (node.end_lineno or 0)
        )

    def lines(self, line: int) -> frozenset[int]:
        """The lines that run if a test comes by there.

        A statement's own lines, without those of the statements in it. For what runs at import, the lines that use it:
        the body of a function, or where functions use a constant.
        """
        node = self.statement(line)
        inner = [child.lineno for child in ast.iter_child_nodes(node) if isinstance(child, ast.stmt)]
        if isinstance(node, ast.FunctionDef):
            return frozenset(range(_begin(node), (node.end_lineno or 0) + 1))
        if isinstance(node, ast.Assign) and node in self.tree.body:
            names = {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}
            return frozenset(
                part.lineno for part in ast.walk(self.tree) if isinstance(part, ast.Name) and part.id in names
            ) - {line}
        return frozenset(range(node.lineno, min(inner, default=(node.end_lineno or 0) + 1)))

    def needs_import(self, line: int) -> bool:
        """Tell whether a change takes effect only if the module is imported anew.

        `lists.swap` puts functions and constants in place, with the defaults of functions. It cannot do so with the
        body of a class, with a decorator, or with what another function has made already, as decorators do.
        """
        node = self.statement(line)
        if node in self.of_inner_functions:
            return True
        if isinstance(node, ast.FunctionDef):
            return line < node.lineno
        return node not in self.of_functions and not (isinstance(node, ast.Assign) and node in self.tree.body)


def _within(functions: Iterable[ast.FunctionDef]) -> set[ast.AST]:
    return {node for function in functions for statement in function.body for node in ast.walk(statement)}


def _begin(node: ast.stmt) -> int:
    decorators = node.decorator_list if isinstance(node, ast.FunctionDef | ast.ClassDef) else []
    return min([node.lineno, *(decorator.lineno for decorator in decorators)])


def _mutants(file: str, tests: tuple[str, ...], reasons: dict[tuple[str, str, str], str]) -> Iterator[Mutant]:
    module = Module(file)
    seen = {module.meaning}
    for kind, broken in [*_by_operators(module.text), *_without_parts(module.text)]:
        try:
            meaning = _meaning(broken)
        except SyntaxError:
            continue
        if meaning not in seen:
            seen.add(meaning)
            line, before, after = _difference(module.text, broken)
            yield Mutant(
                kind, before, after, tests, file, text=broken, line=line,
                reason=reasons.get((file, flat(before), flat(after)), ""),
                lines=module.lines(line), needs_import=module.needs_import(line),
            )  # fmt: skip


def _by_operators(text: str) -> Iterator[tuple[str, str]]:
    tree = pickle.dumps(get_ast(text))  # operators change the tree, and reading it takes longer than a copy
    for name in LIST["operators"]:
        operator, occurrence = get_operator(f"core/{name}")(), 0
        while True:
            visitor = MutationVisitor(occurrence, operator)
            broken = visitor.walk(pickle.loads(tree))
            if not visitor.mutation_applied:
                break
            yield name, broken.get_code()
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
    empty = next((place for place, line in enumerate(old[first:]) if line), 0)
    return first + empty + 1, "\n".join(old[first:]), "\n".join(new[first:])


def flat(text: str) -> str:
    return " ".join(text.split())


def _key(mutant: Mutant) -> tuple[str, str, str]:
    return mutant.file, flat(mutant.before), flat(mutant.after)
