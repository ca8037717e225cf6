"""SQL stands in .sql files, under the same names on every backend."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from perdure_server.store.queries import load_queries
from tests.tidy.sources import SERVER, docstrings, modules, tree, where

STATEMENT = re.compile(
    r"^\s*(SELECT|INSERT\s+(OR\s+\w+\s+)?INTO|UPDATE\s+\w+\s+SET|DELETE\s+FROM|CREATE\s+(TABLE|INDEX|UNIQUE)"
    r"|DROP|ALTER|WITH\s+\w+\s+AS)\b",
    re.IGNORECASE,
)
STORE = SERVER / "store"
BACKENDS = sorted(path.parent.name for path in STORE.glob("*/queries"))


def text_of(node: ast.AST) -> str:
    """Returns the text of a string literal, or the fixed start of an f-string."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr) and node.values:
        return text_of(node.values[0])
    return ""


@pytest.mark.parametrize("path", modules(SERVER), ids=where)
def test_no_sql_stands_in_python(path: Path) -> None:
    prose = docstrings(path)
    found = [
        where(path, node)
        for node in ast.walk(tree(path))
        if node not in prose and STATEMENT.match(text_of(node))
    ]
    assert found == []


def shared_queries(backend: str) -> dict[str, list[str]]:
    """The names of the queries by file, without those that only this backend needs."""
    return {
        path.name: sorted(re.findall(r"^-- name: (\w+)$", path.read_text(), re.MULTILINE))
        for path in (STORE / backend / "queries").glob("*.sql")
        if path.name != "own.sql"
    }


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_backends_have_the_same_queries(backend: str) -> None:
    assert shared_queries(backend) == shared_queries(BACKENDS[0])


@pytest.mark.parametrize("backend", BACKENDS)
def test_every_query_is_used(backend: str) -> None:
    code = "\n".join(path.read_text(encoding="utf-8") for path in modules(STORE / backend, STORE))
    names = load_queries(f"perdure_server.store.{backend}")
    # The variants of a query, `list_runs_by_status`, are chosen by the code that uses `list_runs`.
    assert [name for name in names if name.partition("_by_")[0] not in code] == []


@pytest.mark.parametrize("backend", BACKENDS)
def test_migrations_are_numbered_without_a_gap(backend: str) -> None:
    numbers = [
        int(path.name[:4]) for path in sorted((STORE / backend / "migrations").glob("*.sql"))
    ]
    assert numbers == list(range(1, len(numbers) + 1))
