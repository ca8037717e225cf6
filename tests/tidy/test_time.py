"""Time, ids and chance come in from the edges, so that all else can be tested and replayed."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.tidy.sources import SDK, SERVER, TESTS, dotted, functions, modules, tree, where

UNPREDICTABLE = {
    "datetime.datetime.now",
    "datetime.datetime.today",
    "datetime.datetime.utcnow",
    "datetime.date.today",
    "os.urandom",
    "random",
    "secrets",
    "time.monotonic",
    "time.monotonic_ns",
    "time.perf_counter",
    "time.perf_counter_ns",
    "time.time",
    "time.time_ns",
    "uuid.uuid1",
    "uuid.uuid4",
}

# Where the outside world is let in, each with its reason.
EDGES: dict[str, str] = {
    "server/perdure_server/app.py": "builds the clock and the ids that all others are given",
    "clients/python/perdure/_asking_calls.py": "makes request ids",
    "clients/python/perdure/_cli/ask.py": "makes request ids",
    "clients/python/perdure/_cli/joint.py": "makes request ids",
    "clients/python/perdure/_cli/start_batch.py": "makes request ids",
    "clients/python/perdure/_connection.py": "spreads reconnects of many clients",
    "clients/python/perdure/_handles.py": "makes request ids",
    "clients/python/perdure/_operations.py": "makes request ids",
    "clients/python/perdure/_schedules.py": "makes request ids",
    "clients/python/perdure/_stream.py": "spreads reconnects of many clients",
    "clients/python/perdure/_starting.py": "makes workflow ids and request ids",
    "clients/python/perdure/worker.py": "makes the id of its session",
}

# Tests of real processes wait for them; everything else waits for events. What tests share runs
# on the loop of whoever uses it, which in the simulation has a clock of its own.
PROCESS_TESTS = {"bench", "chaos", "crash", "e2e", "slow", "support"}


def full_names(module: ast.Module) -> dict[str, str]:
    """Returns what each imported name of a module stands for."""
    names: dict[str, str] = {}
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            names |= {alias.asname or alias.name: alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names |= {a.asname or a.name: f"{node.module}.{a.name}" for a in node.names}
    return names


def uses(path: Path) -> list[tuple[str, ast.expr]]:
    """Returns every attribute or name of a file that stands for something imported, in full."""
    module = tree(path)
    names = full_names(module)
    inner = {node.value for node in ast.walk(module) if isinstance(node, ast.Attribute)}
    found = []
    for node in ast.walk(module):
        if not isinstance(node, (ast.Name, ast.Attribute)) or node in inner:
            continue
        first, _, rest = dotted(node).partition(".")
        if first in names:
            found.append((names[first] + (f".{rest}" if rest else ""), node))
    return found


def is_unpredictable(name: str) -> bool:
    if name == "random.Random":  # whoever makes one gives it a seed
        return False
    return any(name == entry or name.startswith(f"{entry}.") for entry in UNPREDICTABLE)


@pytest.mark.parametrize("path", modules(SERVER, SDK), ids=where)
def test_clocks_and_chance_are_given(path: Path) -> None:
    if where(path) in EDGES:
        return
    found = [f"{where(path, node)} {name}" for name, node in uses(path) if is_unpredictable(name)]
    assert found == []


def test_every_edge_is_one() -> None:
    paths = {where(path): path for path in modules(SERVER, SDK)}
    needless = [
        edge for edge in EDGES if not any(is_unpredictable(name) for name, _ in uses(paths[edge]))
    ]
    assert needless == []


@pytest.mark.parametrize(
    "path",
    [path for path in modules(TESTS) if path.relative_to(TESTS).parts[0] not in PROCESS_TESTS],
    ids=where,
)
def test_no_test_sleeps(path: Path) -> None:
    names = full_names(tree(path))
    durable = {
        inner
        for function in functions(path)
        if any("workflow" in ast.unparse(decorator) for decorator in function.decorator_list)
        for inner in ast.walk(function)
    }
    sleeps = [
        node
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Call) and node not in durable and is_sleep(node, names)
    ]
    assert [where(path, node) for node in sleeps] == []


def is_sleep(call: ast.Call, names: dict[str, str]) -> bool:
    """Tells whether a call passes real time; `asyncio.sleep(0)` only lets others run."""
    first, _, rest = dotted(call.func).partition(".")
    name = f"{names.get(first, '')}.{rest}".rstrip(".")
    if name not in ("asyncio.sleep", "time.sleep"):
        return False
    return not (call.args and isinstance(call.args[0], ast.Constant) and call.args[0].value == 0)
