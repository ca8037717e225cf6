"""What is measured of many messages for one run that arrive at several servers."""

from __future__ import annotations

import asyncio
import time

from perdure import Client
from tests.bench import flows
from tests.bench.postgres import Shared, check, sharing
from tests.bench.rig import ask
from tests.bench.scenarios import BenchError, Figures

SERVERS = 3


async def linearity(small: int, large: int) -> Figures:
    """Measures what each of many messages for one run costs, of few and of many.

    Half of them are results of activities, from a worker at each of three servers; half are
    signals, from a client of each. Nobody may be refused: that servers meet at a run is not their
    callers' affair.
    """
    async with sharing(SERVERS, counting=True) as shared:
        await _fan_in(shared, small, "warm-up")
        seconds, used = {}, {}
        for count in (small, large):
            before = shared.cpu_s()
            seconds[count] = await _fan_in(shared, count, f"run-{count}")
            used[count] = shared.cpu_s() - before
        refusals = sum(ask(server)["refusals"] for server in shared.servers)
        await check(shared.url)
    return {
        "small_s": round(seconds[small], 2),
        "large_s": round(seconds[large], 2),
        "ratio": round(seconds[large] / seconds[small], 2),
        "cpu_ratio": round(used[large] / used[small], 2),
        "small_ms_each": round(seconds[small] / small * 1e3, 3),
        "large_ms_each": round(seconds[large] / large * 1e3, 3),
        "large_cpu_ms_each": round(used[large] / large * 1e3, 3),
        "refusals": refusals,
    }


async def _fan_in(shared: Shared, count: int, name: str) -> float:
    """Lets `count` messages arrive at one run; returns the seconds from its start to its result."""
    half = count // 2
    began = time.perf_counter()
    handle = await shared.clients[0].start(flows.fan_in, half, id=name, task_queue=flows.QUEUE)
    async with asyncio.TaskGroup() as group:
        for number, client in enumerate(shared.clients):
            group.create_task(_send(client, name, len(range(number, half, SERVERS))))
    if await handle.result() != (half, half):
        raise BenchError(f"{name} did not count {half} results and {half} signals")
    return time.perf_counter() - began


async def _send(client: Client, name: str, count: int) -> None:
    handle = client.get_handle(name)
    await asyncio.gather(*(handle.signal(flows.go, 1.0) for _ in range(count)))
