"""Finds the files of the repository and reads them as syntax trees, for the tests beside it."""

from __future__ import annotations

import ast
import subprocess
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SERVER = ROOT / "server" / "perdure_server"
SDK = ROOT / "clients" / "python" / "perdure"
STUBS = SDK / "v1"
EXAMPLES = ROOT / "clients" / "python" / "examples"
TESTS = ROOT / "tests"
PROTO = ROOT / "proto" / "perdure" / "v1"

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef


def modules(*folders: Path) -> list[Path]:
    """Returns the hand-written Python files below the folders, in order."""
    return sorted(
        path
        for folder in folders
        for path in folder.rglob("*.py")
        if STUBS not in path.parents and "__pycache__" not in path.parts
    )


@cache
def tree(path: Path) -> ast.Module:
    """Returns the syntax tree of a file."""
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def functions(path: Path) -> list[FunctionNode]:
    """Returns every function and method of a file, also nested ones."""
    return [node for node in ast.walk(tree(path)) if isinstance(node, FunctionNode)]


def where(path: Path, node: ast.AST | None = None) -> str:
    """Returns a place as people and editors read it."""
    line = f":{node.lineno}" if isinstance(node, (ast.stmt, ast.expr)) else ""
    return f"{path.relative_to(ROOT)}{line}"


def dotted(node: ast.expr) -> str:
    """Returns `a.b.c` for an attribute chain of names, else the empty string."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (base := dotted(node.value)):
        return f"{base}.{node.attr}"
    return ""


def docstrings(path: Path) -> set[ast.AST]:
    """Returns the strings of a file that stand alone: docstrings of modules, classes, fields."""
    return {
        node.value
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }


@cache
def tracked() -> tuple[Path, ...]:
    """Returns every file that belongs to the repository or is about to."""
    listing = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listing.returncode:  # an unpacked archive, or a checkout that belongs to someone else
        return tuple(path for path in ROOT.rglob("[!.]*") if path.is_file() and not _is_made(path))
    return tuple(path for line in listing.stdout.splitlines() if (path := ROOT / line).is_file())


def _is_made(path: Path) -> bool:
    parts = path.relative_to(ROOT).parts
    return "__pycache__" in parts or any(part.startswith(".") for part in parts[:-1])
