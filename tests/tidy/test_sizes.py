"""Nothing grows beyond what a person reads in one go."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.tidy.sources import (
    EXAMPLES,
    PROTO,
    SDK,
    SERVER,
    TESTS,
    FunctionNode,
    functions,
    modules,
    where,
)

FUNCTION_LINES_MAX = 70
MODULE_LINES_MAX = 500
PROTO_LINES_MAX = 1_200
POSITIONAL_PARAMETERS_MAX = 4
NESTING_MAX = 3

CODE = modules(SERVER, SDK, EXAMPLES, TESTS / "support")
BLOCKS = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.Try, ast.TryStar, ast.Match)


def by_place(path: Path) -> str:
    return where(path)


@pytest.mark.parametrize("path", [*CODE, *modules(TESTS)], ids=by_place)
def test_module_is_short(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MODULE_LINES_MAX


@pytest.mark.parametrize("path", sorted(PROTO.glob("*.proto")), ids=by_place)
def test_proto_file_is_short(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= PROTO_LINES_MAX


@pytest.mark.parametrize("path", CODE, ids=by_place)
def test_functions_are_short(path: Path) -> None:
    assert [where(path, f) for f in functions(path) if body_lines(f) > FUNCTION_LINES_MAX] == []


@pytest.mark.parametrize("path", CODE, ids=by_place)
def test_functions_take_few_positional_parameters(path: Path) -> None:
    wide = [f for f in functions(path) if positional(f) > POSITIONAL_PARAMETERS_MAX]
    assert [where(path, function) for function in wide] == []


@pytest.mark.parametrize("path", CODE, ids=by_place)
def test_functions_are_flat(path: Path) -> None:
    assert [where(path, f) for f in functions(path) if nesting(f.body) > NESTING_MAX] == []


def body_lines(function: FunctionNode) -> int:
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    return body[-1].end_lineno - body[0].lineno + 1 if body else 0


def positional(function: FunctionNode) -> int:
    names = [argument.arg for argument in (*function.args.posonlyargs, *function.args.args)]
    return len(names) - (names[:1] in (["self"], ["cls"]))


def nesting(body: list[ast.stmt]) -> int:
    """Counts blocks within blocks; `elif` is a sibling, an inner function starts anew."""
    return max((_depth(statement) for statement in body), default=0)


def _depth(node: ast.AST) -> int:
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)):
        return 0
    if isinstance(node, ast.If) and len(node.orelse) == 1 and isinstance(node.orelse[0], ast.If):
        return max(1 + nesting(node.body), _depth(node.orelse[0]))
    own = 1 if isinstance(node, BLOCKS) else 0
    return own + max((_depth(child) for child in ast.iter_child_nodes(node)), default=0)


def test_the_ruler_itself() -> None:
    source = """
def f(self, a, b, c, d, *, e):
    if a:
        for _ in b:
            while c:
                pass
    elif d:
        if e:
            pass
"""
    (function,) = ast.parse(source).body
    assert isinstance(function, ast.FunctionDef)
    assert (body_lines(function), positional(function), nesting(function.body)) == (7, 4, 3)
