"""The load: workflows kept in flight, and how long each took from its start to its result."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from perdure import Client
from tests.bench.flows import QUEUE


@dataclass(slots=True)
class Sample:
    """One span: `latencies_s` of the workflows that ended in `wall_s`, `in_flight` at once."""

    in_flight: int
    wall_s: float = 0.0
    latencies_s: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Workflows per second."""
        return len(self.latencies_s) / self.wall_s

    @property
    def little(self) -> float:
        """Rate times mean latency over the number in flight: 1, by Little's law."""
        mean = sum(self.latencies_s) / len(self.latencies_s)
        return self.rate * mean / self.in_flight

    def percentile_ms(self, share: float) -> float:
        """Returns the latency below which `share` of the workflows stay, in milliseconds."""
        ordered = sorted(self.latencies_s)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] * 1e3


async def keep_in_flight(
    client: Client, workflow: Any, argument: int, *, in_flight: int, seconds: float, prefix: str
) -> Sample:
    """Keeps `in_flight` workflows running for `seconds`, then lets the last ones end."""
    sample = Sample(in_flight)
    numbers = count()
    began = time.perf_counter()
    until = began + seconds

    async def lane() -> None:
        while (started := time.perf_counter()) < until:
            await client.execute(
                workflow, argument, id=f"{prefix}-{next(numbers)}", task_queue=QUEUE
            )
            sample.latencies_s.append(time.perf_counter() - started)

    await asyncio.gather(*(lane() for _ in range(in_flight)))
    sample.wall_s = time.perf_counter() - began
    return sample
