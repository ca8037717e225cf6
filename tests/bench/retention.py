"""What is measured of starts while very many old runs are deleted."""

from __future__ import annotations

import asyncio
import sqlite3
import tempfile
import time
from contextlib import closing
from datetime import timedelta
from itertools import count
from pathlib import Path

import asyncpg

from perdure import Client
from perdure.errors import WorkflowNotFoundError
from perdure.v1.namespace_service_pb2 import UpdateNamespaceRequest, UpdateNamespaceResponse
from perdure_server.core.limits import RETENTION_INTERVAL_US, SECOND_US
from perdure_server.store.postgres.store import PostgresStore
from perdure_server.store.sqlite.store import SqliteStore
from tests.bench import flows
from tests.bench.lists import statements
from tests.bench.postgres import cluster
from tests.bench.rig import served
from tests.bench.scenarios import BenchError, Figures

_RATE = 100
"""Starts per second."""
_BEFORE_S = 20.0
_WARM_UP_S = 20.0
"""Until the disk has what was loaded; the server looks for old runs after a minute."""
_LOOK_S = 0.2
_PATIENCE_S = 1_200.0
_AGE = (
    "UPDATE events SET commit_no = commit_no - 1000000",
    "UPDATE runs SET status = 'COMPLETED', closed_at_us = created_at_us, history_length = 4",
    """
    INSERT INTO events (run_id, seq, kind, at_us, frame, commit_no, idx)
    SELECT events.run_id, more.n, 'timer_fired', at_us, frame, commit_no, more.n
    FROM events CROSS JOIN (SELECT 2 AS n UNION ALL SELECT 3 UNION ALL SELECT 4) AS more
    """,
)
"""Makes runs that were loaded closed ones, of four events each, that were before all commits."""


async def on_sqlite(runs: int) -> Figures:
    """Measures starts on SQLite while `runs` are deleted."""
    with tempfile.TemporaryDirectory(prefix="perdure-bench-") as folder:
        path = Path(folder) / "perdure.db"
        store = SqliteStore(path)
        await store.open()
        await store.close()
        with closing(sqlite3.connect(path)) as database:
            for statement in _old("sqlite", runs):
                database.execute(statement)
            database.commit()
        return await _beside_starts(folder, runs)


async def on_postgres(runs: int) -> Figures:
    """Measures the same on PostgreSQL."""
    with cluster() as url:
        store = PostgresStore(url)
        await store.open()
        await store.close()
        database = await asyncpg.connect(url)
        await database.execute("SET search_path = perdure")
        for statement in _old("postgres", runs):
            await database.execute(statement)
        for table in ("runs", "events", "search_attributes"):
            await database.execute(f"VACUUM ANALYZE {table}")
        await database.close()
        return await _beside_starts(url, runs)


def _old(backend: str, runs: int) -> list[str]:
    # The last of them needs a table of values, and two attributes are enough here.
    return [*statements(backend, runs)[:-1], *_AGE]


async def _beside_starts(place: str, runs: int) -> Figures:
    """Starts workflows at a steady rate, before the server looks for old runs and while it does.

    Nobody works on them, so that the starts alone are measured.
    """
    with served(place, works=False) as (_, address):
        async with Client.connect(address) as client:
            request = UpdateNamespaceRequest(name="main")
            request.retention.FromTimedelta(timedelta(days=1))
            await client.connection.unary(
                "NamespaceService/UpdateNamespace", request, UpdateNamespaceResponse
            )
            starts = _Starts(client)
            async with asyncio.TaskGroup() as group:
                keeping = group.create_task(starts.keep_on())
                await asyncio.sleep(_WARM_UP_S)
                began = time.perf_counter()
                await asyncio.sleep(_BEFORE_S)
                before = starts.p99_ms(began)
                if await _is_gone(client, 0):
                    raise BenchError("the deletion began before its time")
                await _gone(client, 0, within_s=2 * RETENTION_INTERVAL_US / SECOND_US)
                began = time.perf_counter()
                await _gone(client, runs - 1, within_s=_PATIENCE_S)
                seconds = time.perf_counter() - began
                during = starts.p99_ms(began)
                keeping.cancel()
    return {
        "seconds": round(seconds, 1),
        "before_p99_ms": round(before, 2),
        "during_p99_ms": round(during, 2),
        "ratio": round(during / before, 2),
    }


class _Starts:
    """Starts at a steady rate, however long each takes, and how long that was."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._taken: list[tuple[float, float]] = []

    async def keep_on(self) -> None:
        """Starts until it is cancelled."""
        began = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for number in count():
                due = began + number / _RATE
                await asyncio.sleep(max(0.0, due - time.perf_counter()))
                group.create_task(self._start(number, due))

    def p99_ms(self, since: float) -> float:
        """Returns the 99th percentile of those that were due since an instant."""
        taken = sorted(taken for due, taken in self._taken if due >= since)
        return taken[int(0.99 * len(taken))] * 1e3

    async def _start(self, number: int, due: float) -> None:
        await self._client.start(flows.leaf, id=f"new-{number}", task_queue="nobody")
        self._taken.append((due, time.perf_counter() - due))


async def _gone(client: Client, number: int, *, within_s: float) -> None:
    """Waits until an old run has been deleted."""
    ends_at = time.perf_counter() + within_s
    while not await _is_gone(client, number):
        if time.perf_counter() > ends_at:
            raise BenchError(f"the old run {number} is still there after {within_s} s")
        await asyncio.sleep(_LOOK_S)


async def _is_gone(client: Client, number: int) -> bool:
    try:
        await client.get_handle(f"order-{number}").describe()
    except WorkflowNotFoundError:
        return True
    return False
