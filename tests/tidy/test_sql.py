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
ALL_COLUMNS = re.compile(r"(\b(SELECT|RETURNING|DISTINCT)|,)\s+\*|\w\.\*")
ROW_OF_SCHEMA = re.compile(
    r"INSERT INTO schema \(version, min_server\) VALUES \((\d+), (\d+)\);\s+COMMIT;\s*\Z"
)
BREAKS = re.compile(
    r"\b(DROP\s+(TABLE|COLUMN)|RENAME|SET\s+NOT\s+NULL|ALTER\s+COLUMN\s+\w+\s+(SET\s+DATA\s+)?TYPE"
    r"|ADD\s+COLUMN\s+(?=[^;,]*NOT\s+NULL)(?![^;,]*DEFAULT))\b",
    re.IGNORECASE,
)
"""What a server that knows only the schema before would trip over."""


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


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_query_names_its_columns(backend: str) -> None:
    """One that asked for all of them would break when a later version adds another."""
    queries = load_queries(f"perdure_server.store.{backend}")
    assert [name for name, text in queries.items() if ALL_COLUMNS.search(code_of(text))] == []


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_insert_names_its_columns(backend: str) -> None:
    queries = load_queries(f"perdure_server.store.{backend}")
    nameless = re.compile(r"INSERT\s+INTO\s+\w+\s+(VALUES|SELECT|DEFAULT)\b", re.IGNORECASE)
    assert [name for name, text in queries.items() if nameless.search(code_of(text))] == []


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_row_that_is_put_keeps_what_this_version_does_not_know(backend: str) -> None:
    queries = load_queries(f"perdure_server.store.{backend}")
    assert [name for name, text in queries.items() if "OR REPLACE" in code_of(text)] == []


@pytest.mark.parametrize("path", sorted(STORE.glob("*/migrations/*.sql")), ids=where)
def test_a_migration_ends_with_its_version_and_says_whom_it_serves(path: Path) -> None:
    found = ROW_OF_SCHEMA.search(path.read_text(encoding="utf-8"))
    assert found, "its last statements are the row of `schema` and COMMIT"
    number, min_server = map(int, found.groups())
    assert number == int(path.name[:4])
    assert min_server <= number


@pytest.mark.parametrize("path", sorted(STORE.glob("*/migrations/*.sql")), ids=where)
def test_a_migration_that_breaks_older_servers_says_so(path: Path) -> None:
    text = code_of(path.read_text(encoding="utf-8"))
    row = ROW_OF_SCHEMA.search(text)
    assert row
    assert row[1] == row[2] or not BREAKS.search(text)


@pytest.mark.parametrize(
    ("statement", "breaks"),
    [
        ("ALTER TABLE runs ADD COLUMN memo bytea;", False),
        ("ALTER TABLE runs ADD COLUMN memo bytea NOT NULL DEFAULT '';", False),
        ("ALTER TABLE runs ADD COLUMN memo bytea NOT NULL;", True),
        ("ALTER TABLE runs RENAME COLUMN memo TO note;", True),
        ("ALTER TABLE runs DROP COLUMN memo;", True),
        ("ALTER TABLE runs ALTER COLUMN memo TYPE text;", True),
        ("DROP TABLE runs;", True),
        ("DROP VIEW run_summaries;", False),
    ],
)
def test_what_breaks_older_servers_is_known(statement: str, breaks: bool) -> None:
    assert bool(BREAKS.search(statement)) is breaks


def code_of(text: str) -> str:
    """A query without its comments and its texts."""
    return re.sub(r"--[^\n]*|'[^']*'", "", text)
