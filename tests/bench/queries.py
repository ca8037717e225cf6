"""What is measured of live queries: from memory, played, and from another server."""

from __future__ import annotations

import time

from perdure import Client
from tests.bench import flows
from tests.bench.load import Sample
from tests.bench.postgres import sharing
from tests.bench.rig import rig
from tests.bench.scenarios import Figures

_WARM_UP = 20
_EVENTS = 1_000
"""Signals in the history that is played."""


async def live(count: int) -> Figures:
    """Measures queries of a run in memory, one after another, and of one that has ended."""
    with rig() as processes:
        async with Client.connect(processes.address) as client:
            handle = await client.start(flows.Asked, id="open", task_queue=flows.QUEUE)
            sample = await _ask(handle, count)
            ended = await client.start(flows.Asked, id="ended", task_queue=flows.QUEUE)
            for _ in range(_EVENTS):
                await ended.signal(flows.Asked.add, 1)
            await ended.signal(flows.Asked.end)
            await ended.result()
            played = await _ask(ended, 20)
    return {
        "p50_ms": round(sample.percentile_ms(0.5), 2),
        "p99_ms": round(sample.percentile_ms(0.99), 2),
        "played_p50_ms": round(played.percentile_ms(0.5), 2),
    }


async def across(count: int) -> Figures:
    """Measures queries whose only worker is at another server than the caller."""
    async with sharing(2, workers=1) as shared:
        handle = await shared.clients[0].start(flows.Asked, id="a", task_queue=flows.QUEUE)
        here = await _ask(handle, count)
        there = await _ask(shared.clients[1].get_handle("a"), count)
    return {
        "same_p50_ms": round(here.percentile_ms(0.5), 2),
        "p50_ms": round(there.percentile_ms(0.5), 2),
        "p99_ms": round(there.percentile_ms(0.99), 2),
    }


async def _ask(handle: object, count: int) -> Sample:
    sample = Sample(1)
    for number in range(count + _WARM_UP):
        began = time.perf_counter()
        await handle.query(flows.Asked.total)  # type: ignore[attr-defined]
        if number >= _WARM_UP:
            sample.latencies_s.append(time.perf_counter() - began)
    return sample
