"""What is measured of one workflow that does very many things at once."""

from __future__ import annotations

import time
from typing import Any

from perdure import Client
from tests.bench import flows
from tests.bench.postgres import check, sharing
from tests.bench.rig import histories_are_whole, rig
from tests.bench.scenarios import BenchError, Figures

SERVERS = 3


async def activities(small: int, large: int) -> Figures:
    """Measures what each of many parallel activities of one workflow costs, of few and of many."""
    return await _on_sqlite(flows.parallel, small, large, runs=3)


async def children(small: int, large: int) -> Figures:
    """Measures what each of many children of one workflow costs, of few and of many."""
    return await _on_sqlite(flows.family, small, large, runs=3 + 100 + small + large)


async def children_of_servers(small: int, large: int) -> Figures:
    """The same with three servers on one PostgreSQL, a worker at each."""
    async with sharing(SERVERS) as shared:
        seconds = await _both(shared.clients[0], flows.family, small, large)
        runs = await check(shared.url)
    if runs != 3 + 100 + small + large:
        raise BenchError(f"there are {runs} runs")
    return _figures(seconds)


async def _on_sqlite(flow: Any, small: int, large: int, *, runs: int) -> Figures:
    with rig() as processes:
        async with Client.connect(processes.address) as client:
            seconds = await _both(client, flow, small, large)
        if not histories_are_whole(processes.folder, {"COMPLETED": runs}):
            raise BenchError("a history or its rows are not as they should be")
    return _figures(seconds)


async def _both(client: Client, flow: Any, small: int, large: int) -> dict[int, float]:
    seconds = {}
    for count in (100, small, large):
        began = time.perf_counter()
        total = await client.execute(flow, count, id=f"wide-{count}", task_queue=flows.QUEUE)
        seconds[count] = time.perf_counter() - began
        if total != count:
            raise BenchError(f"the fan-out returned {total}, not {count}")
    return {small: seconds[small], large: seconds[large]}


def _figures(seconds: dict[int, float]) -> Figures:
    (small, small_s), (large, large_s) = seconds.items()
    return {
        "small_s": round(small_s, 2),
        "large_s": round(large_s, 2),
        "ratio": round(large_s / small_s, 2),
        "small_ms_each": round(small_s / small * 1e3, 3),
        "large_ms_each": round(large_s / large * 1e3, 3),
    }
