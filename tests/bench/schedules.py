"""What is measured of many schedules that are due in the same second."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta

from perdure import Client
from perdure.v1.namespace_service_pb2 import GetNamespaceRequest, GetNamespaceResponse
from tests.bench import flows
from tests.bench.postgres import sharing
from tests.bench.rig import rig
from tests.bench.scenarios import BenchError, Figures

_DAY_S = 86_400
_LEAD_S = 20
"""How long the schedules may take to be created before they are due."""
_AT_ONCE = 64
_PATIENCE_S = 60


async def on_sqlite(count: int) -> Figures:
    """Measures how long schedules on SQLite take that are due at once."""
    with rig() as processes:
        async with Client.connect(processes.address) as client:
            return await _serve(client, count)


async def on_postgres(count: int) -> Figures:
    """Measures the same on PostgreSQL."""
    async with sharing(1) as shared:
        return await _serve(shared.clients[0], count)


async def _serve(client: Client, count: int) -> Figures:
    """Creates schedules of one due time; returns the seconds from then to the last start.

    Nobody works on what they start, so that the starts alone are measured.
    """
    due_s = int(time.time()) + _LEAD_S + count // 500
    offset = timedelta(seconds=due_s % _DAY_S)
    names = iter(range(count))

    async def create() -> None:
        for number in names:
            await client.create_schedule(
                f"s-{number}",
                flows.one,
                0,
                every=timedelta(days=1),
                offset=offset,
                task_queue="nobody",
            )

    began = time.perf_counter()
    await asyncio.gather(*(create() for _ in range(_AT_ONCE)))
    created_s = time.perf_counter() - began
    if time.time() >= due_s:
        raise BenchError(f"creating {count} schedules took {created_s:.1f} s")
    while (started := await _started(client)) < count:
        if time.time() > due_s + _PATIENCE_S:
            raise BenchError(f"{started} of {count} schedules have started")
        await asyncio.sleep(0.05)
    return {"seconds": round(time.time() - due_s, 2), "create_per_s": round(count / created_s)}


async def _started(client: Client) -> int:
    answer = await client.connection.unary(
        "NamespaceService/GetNamespace", GetNamespaceRequest(name="main"), GetNamespaceResponse
    )
    return int(answer.stats.total_workflows)
