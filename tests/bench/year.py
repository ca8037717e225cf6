"""What is measured of workflows in virtual time, as tests of workflows run them."""

from __future__ import annotations

import time
from datetime import timedelta

from perdure.testing import Environment
from tests.bench import flows
from tests.bench.rig import cpu_s
from tests.bench.scenarios import BenchError, Figures

_YEAR = timedelta(days=365)
_DAYS = _YEAR.days


async def timers(count: int) -> Figures:
    """Measures a simulated year with `count` timers.

    First of workflows that each sleep for a day again and again, then of one that sleeps `count`
    times, so that no two timers are due at one instant.
    """
    together_s, together_cpu_s = await _simulated(_DAYS, workflows=-(-count // _DAYS))
    alone_s, alone_cpu_s = await _simulated(count, workflows=1)
    return {
        "seconds": round(together_s, 2),
        "cpu_s": round(together_cpu_s, 2),
        "alone_seconds": round(alone_s, 2),
        "alone_cpu_s": round(alone_cpu_s, 2),
    }


async def _simulated(naps: int, *, workflows: int) -> tuple[float, float]:
    async with Environment([flows.naps]) as env:
        start, began, used = env.now(), time.perf_counter(), cpu_s()
        nap = flows.Naps(naps, _YEAR.total_seconds() / naps)
        handles = [await env.client.start(flows.naps, nap) for _ in range(workflows)]
        for handle in handles:
            await handle.result()
        seconds, used = time.perf_counter() - began, cpu_s() - used
        if env.now() - start != _YEAR:
            raise BenchError(f"the year took {env.now() - start}")
    return seconds, used
