"""The workflows and activities of the simulation.

What an activity does follows from its input and its attempt alone; its result names the attempt
that made it. What a `mix` does follows from the random numbers of its run.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from datetime import timedelta
from random import Random
from typing import Any

from perdure import ActivityError, ApplicationError, RetryPolicy, activity, signal, workflow
from perdure._workflow import workflow_of
from tests.simulation.accounts import Account, enter, paperwork
from tests.simulation.family import family, nudged, relatives
from tests.support.virtual_loop import VirtualLoop, pause

note = signal("note", int)

QUICK = RetryPolicy(initial_interval=timedelta(seconds=0.2), max_attempts=4)


class SimLoop(VirtualLoop):
    """The loop of a simulation; `handed_over` holds the tokens of detached activities."""

    def __init__(self) -> None:
        super().__init__()
        self.handed_over: list[str] = []


@activity(
    retry=RetryPolicy(initial_interval=timedelta(seconds=0.2), max_attempts=0),
    start_to_close=timedelta(seconds=20),
)
async def step(seconds: float) -> int:
    """Takes a while."""
    await pause(seconds)
    return activity.info().attempt


@activity(retry=QUICK, start_to_close=timedelta(seconds=20))
async def flaky(failures: int) -> int:
    """Fails so many times, then succeeds."""
    await pause(0.05)
    if activity.info().attempt <= failures:
        raise ApplicationError("not yet", type="NotYet")
    return activity.info().attempt


@activity(retry=QUICK, start_to_close=timedelta(seconds=20))
async def refused(_: int) -> int:
    """Fails for good."""
    await pause(0.05)
    raise ApplicationError("no", type="No", non_retryable=True)


@activity(
    retry=RetryPolicy(initial_interval=timedelta(seconds=0.1), max_attempts=0),
    heartbeat=timedelta(seconds=2),
    start_to_close=timedelta(seconds=60),
)
async def beating(beats: int) -> int:
    """Beats so many times; another attempt goes on where the last one was heard."""
    done = activity.heartbeat_details(int) or 0
    for count in range(done, beats):
        await pause(0.4)
        activity.heartbeat(count + 1)
    return activity.info().attempt


@activity(
    retry=RetryPolicy(initial_interval=timedelta(seconds=0.1), max_attempts=0),
    heartbeat=timedelta(seconds=1),
    start_to_close=timedelta(seconds=5),
)
async def silent(attempts: int) -> int:
    """Says nothing for too long on its first attempts."""
    if activity.info().attempt <= attempts:
        await pause(30)
    return activity.info().attempt


@activity(
    retry=RetryPolicy(initial_interval=timedelta(seconds=0.1), max_attempts=3),
    schedule_to_close=timedelta(seconds=6),
    schedule_to_start=timedelta(seconds=3),
)
async def hurried(seconds: float) -> int:
    """May run out of time, in the queue or in all."""
    await pause(seconds)
    return activity.info().attempt


@activity(
    retry=RetryPolicy(initial_interval=timedelta(seconds=0.1), max_attempts=0),
    start_to_close=timedelta(seconds=15),
)
async def elsewhere(_: int) -> int:
    """Leaves its completion to whoever has the token."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, SimLoop)
    loop.handed_over.append(activity.info().task_token)
    activity.detach()


@activity(
    task_queue="polled",
    retry=RetryPolicy(initial_interval=timedelta(seconds=0.1), max_attempts=0),
    heartbeat=timedelta(seconds=4),
    start_to_close=timedelta(seconds=10),
)
async def polled(_: int) -> int:
    """Is done by whoever polls for it."""
    return activity.info().attempt


@workflow
async def by_polls(count: int) -> int:
    """Is run by workers that poll, and so are its activities."""
    done = sum(await asyncio.gather(*[polled(number) for number in range(count)]))
    await workflow.sleep(1.5)
    return done + await polled(0)


@workflow
async def sequence(count: int) -> int:
    for _ in range(count):
        await step(0.05)
    return count


@workflow
async def fan_out(count: int) -> int:
    results = await asyncio.gather(*[step(0.1 * number) for number in range(count)])
    return len(results)


@workflow
async def inbox(count: int) -> list[int]:
    taken: list[int] = []
    while len(taken) < count:
        try:
            taken.append(await note.wait(timeout=8))
        except TimeoutError:
            break
    return taken


@workflow
async def saga(_: int) -> str:
    try:
        await step(0.1)
        await workflow.sleep(1)
        await step(2)
        await refused(1)
    except ActivityError:
        await step(0.1)
        return "compensated"
    except asyncio.CancelledError:
        await step(0.2)
        await flaky(1)
        raise
    return "done"


@workflow
async def stubborn(failures: int) -> int:
    await flaky(2)
    attempt = workflow.info().attempt
    if attempt <= failures:
        raise ApplicationError("again", type="Again")
    return attempt


@workflow
async def kinds(_: int) -> list[Any]:
    """One of each activity."""
    ends = await asyncio.gather(
        flaky(3),
        flaky(9),
        beating(5),
        silent(1),
        elsewhere(0),
        hurried(0.5),
        hurried(9),
        return_exceptions=True,
    )
    return [end if isinstance(end, int) else type(end).__name__ for end in ends]


@workflow
async def mix(size: int) -> int:
    """A program made of chance: everything within everything."""
    random = workflow.random()
    done = 0
    for _ in range(size):
        done += await _part(random, 2)
    return done


@workflow
async def medley(size: int) -> int:
    """Like a mix, and besides there is what concerns other workflows, and what is only recorded."""
    random = workflow.random()
    done = 0
    for _ in range(size):
        match random.randrange(5):
            case 4:
                done += await _inline(random)
            case 0:
                done += await relatives(random)
            case 1:
                done += await paperwork(random)
            case _:
                done += await _part(random, 2)
    return done


async def _inline(random: Random) -> int:
    """Steps of the worker itself, beside one another and beside the rest; one may be left alone."""
    spans = [round(random.uniform(0.01, 1.5), 3) for _ in range(random.randrange(1, 4))]
    steps = [workflow.step(_ponder, span) for span in spans]
    done: int = sum(await asyncio.gather(*steps, _part(random, 1)))
    try:
        async with asyncio.timeout(spans[0]):
            done += await workflow.step(_ponder, round(random.uniform(0.01, 1.5), 3))
    except TimeoutError:
        done += 1
    return done


async def _ponder(seconds: float) -> int:
    await pause(seconds)
    return 1


async def _part(random: Random, depth: int) -> int:
    span = round(random.uniform(0.05, 2.5), 3)
    match random.randrange(9 if depth else 6):
        case 0:
            part = step(span)
        case 1:
            part = _sleeping(span)
        case 2:
            part = _signalled(span)
        case 3:
            part = flaky(random.randrange(3))
        case 4:
            part = _failing()
        case 5:
            part = beating(random.randrange(1, 6))
        case 6:
            part = _all_of([_part(random, depth - 1) for _ in range(3)])
        case 7:
            part = _bounded(random, depth, span)
        case _:
            part = _first(random, depth)
    return await part


async def _sleeping(span: float) -> int:
    await workflow.sleep(span)
    return 1


async def _all_of(parts: list[Coroutine[Any, Any, int]]) -> int:
    return sum(await asyncio.gather(*parts))


async def _signalled(span: float) -> int:
    try:
        return await note.wait(timeout=span)
    except TimeoutError:
        return 0


async def _failing() -> int:
    try:
        return await refused(1)
    except ActivityError:
        return 1


async def _bounded(random: Random, depth: int, span: float) -> int:
    try:
        return await asyncio.wait_for(_part(random, depth - 1), span)
    except TimeoutError:
        return 1


async def _first(random: Random, depth: int) -> int:
    """Takes whichever ends first, and cancels the other."""
    tasks = [asyncio.create_task(_part(random, depth - 1)) for _ in range(2)]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        return len(done)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


WORKFLOWS = [
    sequence,
    fan_out,
    inbox,
    saga,
    stubborn,
    kinds,
    mix,
    by_polls,
    family,
    nudged,
    medley,
    workflow_of(Account),
]
ACTIVITIES = [step, flaky, refused, beating, silent, hurried, elsewhere, enter]
