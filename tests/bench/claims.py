"""What is measured of claims: the cost of a task, however many wait and however many are held.

The store is asked directly: what is beside it costs the same whatever the backlog is.
"""

from __future__ import annotations

import asyncio
import sqlite3
import tempfile
import time
from collections.abc import Callable, Coroutine
from contextlib import closing
from pathlib import Path
from typing import Any

import asyncpg
import uvloop

from perdure_server.core.model import Lane, TaskKind
from perdure_server.store.contract import ClaimRequest, Store
from perdure_server.store.postgres.store import PostgresStore
from perdure_server.store.sqlite.store import SqliteStore
from tests.bench.postgres import cluster
from tests.bench.scenarios import BenchError, Figures

BATCHES = (32, 256)
"""Free slots of a small worker, and the largest claim."""
_TASKS = 12_800
_HELD_MAX = 100_000
_NOW_US = 2_000_000_000_000_000
_LANE = Lane("main", "bench", TaskKind.ACTIVITY, "add_one")
_LOAD = """
INSERT INTO tasks (
    run_id, kind, seq, namespace, queue, type, priority, ready_at_us, created_at_us, attempt, lease,
    session_id, worker_identity
)
SELECT
    'run-01jd0000-' || (10000000 + n / 10), 'activity', n % 10, 'main', 'bench', 'add_one', 3,
    1700000000000000 + n, 1700000000000000 + n, 1, CASE WHEN n < {held} THEN 1 ELSE 0 END,
    CASE WHEN n < {held} THEN 'worker-' || n % 100 END, ''
FROM {numbers}
"""
"""The oldest tasks are held; those behind them are ready. It is the same on both backends."""
_NUMBERS = {
    "sqlite": """(
        WITH RECURSIVE numbers (n) AS (
            SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n < {last}
        )
        SELECT n FROM numbers
    ) AS numbers""",
    "postgres": "generate_series(0, {last}) AS n",
}


async def on_sqlite(backlog: int) -> Figures:
    """Measures claims on SQLite with `backlog` ready tasks behind those that are held."""
    return await _on_the_loop_of_a_server(lambda: _on_sqlite(backlog))


async def on_postgres(backlog: int) -> Figures:
    """Measures claims on PostgreSQL: right after the load, without statistics, and vacuumed.

    The plan of a claim is first made while the table is empty, as in a server that grows old.
    """
    return await _on_the_loop_of_a_server(lambda: _on_postgres(backlog))


async def _on_the_loop_of_a_server(measure: Callable[[], Coroutine[Any, Any, Figures]]) -> Figures:
    def run() -> Figures:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(measure())

    return await asyncio.to_thread(run)


async def _on_sqlite(backlog: int) -> Figures:
    with tempfile.TemporaryDirectory(prefix="perdure-bench-") as folder:
        path = Path(folder) / "perdure.db"
        store = SqliteStore(path)
        await store.open()
        try:
            with closing(sqlite3.connect(path)) as database:
                database.execute(_load("sqlite", backlog))
                database.commit()
            return await _costs(store, backlog, time.process_time)
        finally:
            await store.close()


async def _on_postgres(backlog: int) -> Figures:
    with cluster() as url:
        store = PostgresStore(url)
        await store.open()
        database = await asyncpg.connect(url)
        try:
            await _claim(store, 1)
            await database.execute(f"SET search_path = perdure; {_load('postgres', backlog)}")
            pids = [pid for (pid,) in await database.fetch("SELECT pid FROM pg_stat_activity")]

            def used_s() -> float:
                return time.process_time() + sum(_ran_s(pid) for pid in pids)

            young = await _costs(store, backlog, used_s)
            await database.execute("VACUUM ANALYZE tasks")
            vacuumed = await _costs(store, backlog, used_s)
        finally:
            await database.close()
            await store.close()
    return vacuumed | {f"young_{name}": figure for name, figure in young.items()}


def _load(backend: str, backlog: int) -> str:
    held = min(backlog, _HELD_MAX)
    numbers = _NUMBERS[backend].format(last=held + backlog - 1)
    return _LOAD.format(held=held, numbers=numbers)


async def _costs(store: Store, backlog: int, used_s: Callable[[], float]) -> Figures:
    """Claims batch after batch, not more than a part of the backlog.

    A figure is microseconds per task: of the clock, and of the processor with the database's.
    """
    figures: Figures = {}
    for batch in BATCHES:
        claims = min(_TASKS, backlog // 5) // batch or 1
        await _claim(store, 1)
        used, began = used_s(), time.perf_counter()
        for _ in range(claims):
            if await _claim(store, batch) != batch:
                raise BenchError("a claim found less than there is")
        wall, used = time.perf_counter() - began, used_s() - used
        figures[f"us_by_{batch}"] = round(wall / claims / batch * 1e6, 1)
        figures[f"cpu_us_by_{batch}"] = round(used / claims / batch * 1e6, 1)
    return figures


async def _claim(store: Store, limit: int) -> int:
    request = ClaimRequest(_LANE, limit, "worker-0", "worker 0")
    ((*tasks,),) = await store.claim_tasks([request], _NOW_US)
    return len(tasks)


def _ran_s(pid: int) -> float:
    """Returns the processor seconds of a process without threads, to the nanosecond."""
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_text(encoding="ascii").split()[0]) / 1e9
    except FileNotFoundError:
        return 0.0
