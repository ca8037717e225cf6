"""The workflows that are measured: small, so that what is measured is the engine."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from perdure import activity, query, signal, workflow

QUEUE = "bench"

go = signal("go", float)


@activity
async def add_one(value: int) -> int:
    """Returns the next number."""
    return value + 1


@workflow
async def one(value: int) -> int:
    """Runs one activity: the reference unit, of four events."""
    return await add_one(value)


@workflow
async def sequential(count: int) -> int:
    """Runs activities one after another."""
    value = 0
    for _ in range(count):
        value = await add_one(value)
    return value


async def next_number(value: int) -> int:
    """Returns the next number."""
    return value + 1


@workflow
async def stepping(count: int) -> int:
    """Runs steps one after another."""
    value = 0
    for _ in range(count):
        value = await workflow.step(next_number, value)
    return value


@workflow
async def parallel(count: int) -> int:
    """Runs activities at once."""
    return sum(await asyncio.gather(*(add_one(0) for _ in range(count))))


@workflow
async def leaf() -> int:
    """Ends at once."""
    return 1


@workflow
async def family(count: int) -> int:
    """Runs children at once."""
    return sum(await asyncio.gather(*(leaf() for _ in range(count))))


@workflow
async def fan_in(count: int) -> tuple[int, int]:
    """Gathers `count` results and as many signals; returns how many of each came."""
    results = asyncio.gather(*(add_one(0) for _ in range(count)))
    values = [await go.wait() for _ in range(count)]
    return sum(await results), len(values)


@workflow
async def echo() -> float:
    """Waits for a signal and returns its value."""
    return await go.wait()


@workflow
class Asked:
    """Adds numbers until it is to end, and is asked for their sum meanwhile."""

    def __init__(self) -> None:
        self.sum = 0
        self.ends = False

    async def run(self) -> int:
        await workflow.wait_condition(lambda: self.ends)
        return self.sum

    @signal
    def add(self, number: int) -> None:
        self.sum += number

    @signal
    def end(self) -> None:
        self.ends = True

    @query
    def total(self) -> int:
        return self.sum


@workflow
async def nap(seconds: float) -> None:
    """Sleeps once."""
    await asyncio.sleep(seconds)


@dataclass(frozen=True, slots=True)
class Naps:
    """How often to sleep, and for how long each time."""

    count: int
    seconds: float


@workflow
async def naps(plan: Naps) -> None:
    """Sleeps again and again."""
    for _ in range(plan.count):
        await asyncio.sleep(plan.seconds)


WORKFLOWS = (one, sequential, stepping, parallel, leaf, family, fan_in, echo, Asked, nap, naps)
ACTIVITIES = (add_one,)
