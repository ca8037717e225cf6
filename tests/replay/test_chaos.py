"""Random workflows against a random world: a run in memory and a replayed one never differ."""

from __future__ import annotations

import asyncio
from functools import partial
from random import Random

import pytest

from perdure import ActivityError, activity, signal, workflow
from tests.replay.rig import (
    Rig,
    is_recorded_command,
    new_machine,
    replayed,
    same_when_cached,
    steps_of,
)

SIGNALS = [signal("a", int), signal("b", int)]


@activity
async def step(n: int) -> int:
    return n


@workflow
async def chaos(seed: int) -> list[str]:
    log: list[str] = []
    try:
        await do_some(Random(seed), log, depth=3)
    except asyncio.CancelledError:
        log.append("cancelled")
        await step(-1)
        log.append("compensated")
    return [*log, str(workflow.now()), str(workflow.uuid4())]


async def do_some(rng: Random, log: list[str], depth: int) -> None:
    for _ in range(rng.randint(1, 3)):
        kind = rng.choice(SIMPLE if depth == 0 else SIMPLE + NESTED)
        try:
            await kind(Random(rng.random()), log, depth - 1)
            log.append(f"{kind.__name__} at {asyncio.get_running_loop().time()}")
        except (ActivityError, TimeoutError, ExceptionGroup) as error:
            log.append(f"{kind.__name__}: {type(error).__name__}")


async def call(rng, log, depth):
    log.append(str(await step(rng.randint(0, 99))))


async def pause(rng, log, depth):
    await workflow.sleep(rng.choice([0, 0.5, 1, 60]))


async def listen(rng, log, depth):
    log.append(str(await rng.choice(SIGNALS).wait(timeout=rng.choice([0, 1, 30]))))


async def hurry(rng, log, depth):
    await asyncio.wait_for(step(1), timeout=rng.choice([0, 1, 5]))


async def bounded(rng, log, depth):
    async with asyncio.timeout(rng.choice([0, 1, 50])):
        await do_some(rng, log, 0)


async def queued(rng, log, depth):
    queue: asyncio.Queue[int] = asyncio.Queue(1)

    async def produce():
        for n in range(3):
            await step(n)
            await queue.put(n)

    producer = asyncio.create_task(produce())
    try:
        for _ in range(3):
            log.append(f"got {await queue.get()}" if not producer.done() else "no more")
    finally:
        producer.cancel()


async def together(rng, log, depth):
    parts = [do_some(Random(rng.random()), log, depth) for _ in range(rng.randint(2, 4))]
    await asyncio.gather(*parts)


async def grouped(rng, log, depth):
    async with asyncio.TaskGroup() as group:
        for _ in range(rng.randint(2, 5)):
            group.create_task(do_some(Random(rng.random()), log, depth))
            group.create_task(call(rng, log, 0))


async def racing(rng, log, depth):
    tasks = {asyncio.create_task(call(Random(rng.random()), log, depth)) for _ in range(5)}
    done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED, timeout=9)
    for task in pending:
        task.cancel()
    log.extend(str(task.exception()) for task in done)


async def guarded(rng, log, depth):
    lock, semaphore = asyncio.Lock(), asyncio.Semaphore(2)

    async def inside(rng):
        async with lock, semaphore:
            await do_some(rng, log, 0)

    await asyncio.gather(*(inside(Random(rng.random())) for _ in range(3)), return_exceptions=True)


async def shielded(rng, log, depth):
    task = asyncio.create_task(call(rng, log, depth))
    try:
        await asyncio.wait_for(asyncio.shield(task), timeout=2)
    finally:
        log.append(str(task.done()))


async def generated(rng, log, depth):
    async def numbers():
        try:
            for n in range(3):
                yield await step(n)
        finally:
            log.append("generator closed")

    async for number in numbers():
        if number == 1:
            break


async def conditioned(rng, log, depth):
    box: list[int] = []

    async def fill(times):
        for n in range(times):
            box.append(await step(n))  # noqa: PERF401 -- one by one, that is the point

    filling = [asyncio.create_task(fill(rng.randint(1, 2))) for _ in range(2)]
    try:
        for count in (1, 3):
            await workflow.wait_condition(lambda count=count: len(box) >= count, timeout=30)
    finally:
        log.append(f"{box}")
        for task in filling:
            task.cancel()


async def scoped(rng, log, depth):
    async with workflow.scope() as scope:
        stop = asyncio.get_running_loop().call_later(rng.choice([0, 1, 5]), scope.cancel)
        await do_some(Random(rng.random()), log, depth)
    stop.cancel()
    log.append(f"cancelled: {scope.cancelled}")


async def in_turn(rng, log, depth):
    for one in workflow.as_completed([step(n) for n in range(4)], timeout=rng.choice([5, 60])):
        log.append(str(await one))


SIMPLE = [call, pause, listen, hurry]
NESTED = [bounded, queued, together, grouped, racing, guarded, shielded, generated]
NESTED += [conditioned, scoped, in_turn]


def live(seed: int, steps: int = 60) -> Rig:
    """Lets a random world happen to one run until it closes or has had enough."""
    rng = Random(seed)
    rig = Rig(chaos, seed)
    for _ in range(steps):
        rig.think()
        happen(rig, rng, rng.randint(0, 2))
        rig.record()
        if rig.closed:
            break
        happen(rig, rng, rng.randint(1, 3))
    rig.machine.close()
    return rig


def happen(rig: Rig, rng: Random, times: int) -> None:
    for _ in range(times):
        rig.after(rng.random())
        if rng.random() < 0.02:
            rig.cancel("enough")
            continue
        ways = [partial(rig.signal, rng.choice("ab"), rng.randint(0, 9))]
        if rig.activities:
            seq = rng.choice(sorted(rig.activities))
            ways += [partial(rig.complete, seq, rng.randint(0, 2))] * 4
            ways += [partial(end, seq) for end in (rig.fail, rig.time_out, rig.confirm_cancel)]
        if rig.timers:
            ways += [partial(rig.fire, min(rig.timers, key=rig.timers.__getitem__))] * 3
        rng.choice(ways)()


@pytest.mark.parametrize("seed", range(60))
def test_a_run_in_memory_and_a_replayed_one_do_not_differ(seed):
    rig = live(seed)
    rng = Random(seed)
    for _ in range(8):
        end = rng.randint(1, len(rig.events))
        same_when_cached(chaos, rig.events[:end], rng.randint(0, end))


@pytest.mark.parametrize("seed", range(20))
def test_one_event_at_a_time_is_the_same(seed):
    rig = live(seed)
    machine = new_machine(chaos)
    standing = []
    for event in rig.events:
        recorded = standing[: is_recorded_command(event)]
        standing = standing[len(recorded) :] + machine.run_task([event])
        left = replayed(chaos, rig.events[: event.seq])
        assert list(map(steps_of, standing)) == list(map(steps_of, left))
    machine.close()


def test_the_random_world_reaches_every_kind_of_event():
    seen = {event.WhichOneof("event") for seed in range(60) for event in live(seed).events}
    assert {
        "activity_cancel_requested",
        "timer_cancelled",
        "workflow_awaiting_signal",
        "workflow_completed",
        "activity_cancelled",
        "workflow_cancel_requested",
    } <= seen
