"""Conditions, scopes and the parts of asyncio that workflow code waits with."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from perdure import signal, workflow
from perdure._scope import CancelScope
from perdure._workflow import HISTORY_EVENTS_SUGGEST, workflow_of
from perdure.errors import ForbiddenCallError
from tests.replay.rig import Rig, replayed, same_when_cached
from tests.replay.shop import ended, paid, played, tick


def both_ways(rig: Rig) -> None:
    """However the history is split, the run in memory and the replayed one stand the same."""
    for end in range(1, len(rig.events) + 1):
        for split in range(1, end):
            same_when_cached(rig.definition, rig.events[:end], split)
    assert replayed(rig.definition, rig.events) == []


@workflow
class Counter:
    def __init__(self) -> None:
        self.count = 0

    async def run(self) -> list[int]:
        seen: list[int] = []

        async def take(name: int) -> None:
            await workflow.wait_condition(lambda: self.count > 0)
            self.count -= 1
            seen.append(name)

        async with asyncio.TaskGroup() as tasks:
            for name in range(3):
                tasks.create_task(take(name))
        return seen

    @signal
    def add(self, number: int) -> None:
        self.count += number


def test_of_those_that_wait_for_one_thing_each_finds_what_the_others_left():
    rig = Rig(workflow_of(Counter))
    rig.run()
    rig.signal("add", 1).run()
    assert rig.signal("add", 2).run() == ["complete_workflow [0,1,2]"]
    both_ways(rig)


def test_a_condition_that_holds_does_not_wait():
    @workflow
    async def shop() -> str:
        asyncio.get_running_loop().call_soon(order.append, "later")
        await workflow.wait_condition(lambda: True, timeout=5)
        return ",".join(order)

    order: list[str] = []
    assert ended(shop) == 'complete_workflow ""'


def test_a_condition_may_run_out_of_time():
    @workflow
    async def shop() -> str:
        try:
            await workflow.wait_condition(lambda: False, timeout=timedelta(minutes=1))
        except TimeoutError as error:
            return str(error)
        return "?"

    rig, said = played(shop)
    assert said == ["schedule_timer 1 60s"]
    said = rig.fire(1).run()
    assert said == ['complete_workflow "the condition did not come true in time"']
    both_ways(rig)


def test_a_condition_that_comes_true_undoes_its_timer():
    @workflow
    async def shop() -> str:
        box: list[str] = []

        async def receive() -> None:
            box.append((await paid.wait()).id)

        receiving = asyncio.create_task(receive())
        await workflow.wait_condition(lambda: box, timeout=60)
        await receiving
        return box[0]

    rig, said = played(shop)
    assert said == ["schedule_timer 1 60s", "wait_for_signal 1 paid"]
    rig.after(1).signal("paid", {"id": "a"})
    assert rig.run() == ["cancel_timer 1", 'complete_workflow "a"']
    both_ways(rig)


def test_what_a_condition_raises_is_raised_where_the_code_waits():
    @workflow
    async def shop() -> str:
        box: list[int] = []

        async def fill() -> None:
            await tick()
            box.append(0)

        filling = asyncio.create_task(fill())
        with pytest.raises(ZeroDivisionError):
            await workflow.wait_condition(lambda: bool(box) and 1 // box[0])
        await filling
        try:
            await workflow.wait_condition(raise_timeout, timeout=5)
        except TimeoutError as error:
            return str(error)
        return "?"

    rig, _ = played(shop)
    assert rig.complete(1).run() == ['complete_workflow "mine"']


def raise_timeout():
    raise TimeoutError("mine")


def test_one_that_waits_can_be_cancelled():
    @workflow
    async def shop() -> str:
        try:
            await workflow.wait_condition(lambda: False)
        except asyncio.CancelledError:
            return "cancelled"
        return "?"

    rig, _ = played(shop)
    assert rig.cancel().run() == ['complete_workflow "cancelled"']
    assert rig.machine._run.conditions.wake() is False


async def test_the_words_need_a_workflow():
    with pytest.raises(RuntimeError, match="no workflow is running"):
        await workflow.wait_condition(lambda: True)
    with pytest.raises(RuntimeError, match="no workflow is running"):
        workflow.all_handlers_finished()


def test_a_scope_is_cancelled_by_itself():
    @workflow
    async def shop() -> str:
        async def stop(scope: CancelScope) -> None:
            await paid.wait()
            scope.cancel()
            scope.cancel()

        async with workflow.scope() as scope:
            stopping = asyncio.create_task(stop(scope))
            await tick()
        await stopping
        await tick()
        return f"{scope.cancelled}"

    rig, _ = played(shop)
    rig.signal("paid", {"id": "a"})
    assert rig.run() == ["cancel_activity 1", "schedule_activity 2 tick"]
    assert rig.confirm_cancel(1).complete(2).run() == ['complete_workflow "True"']
    both_ways(rig)


def test_a_cancellation_from_outside_goes_through_a_scope():
    @workflow
    async def shop() -> None:
        async with workflow.scope() as scope:
            await tick()
        assert not scope.cancelled

    rig, _ = played(shop)
    assert rig.cancel().run() == ["cancel_activity 1", "cancel_workflow"]


def test_both_cancellations_at_once_end_the_workflow():
    @workflow
    async def shop() -> str:
        async with workflow.scope() as scope:
            task = asyncio.current_task()
            assert task is not None
            scope.cancel()
            task.cancel()
            await tick()
        return "?"

    assert ended(shop).startswith("fail_workflow CancelledError")


def test_a_scope_that_is_cancelled_before_it_begins_ends_at_its_first_await():
    @workflow
    async def shop() -> list[str]:
        steps: list[str] = []
        scope = workflow.scope()
        scope.cancel()
        async with scope:
            steps.append("began")
            await tick()
            steps.append("?")
        async with workflow.scope() as scope:
            scope.cancel()
            steps.append("cancelled itself")
        async with workflow.scope() as scope:
            try:
                scope.cancel()
                await asyncio.sleep(0)
            except asyncio.CancelledError:
                steps.append("took it")
        scope.cancel()
        await asyncio.sleep(0)
        return [*steps, "went on"]

    assert ended(shop) == 'complete_workflow ["began","cancelled itself","took it","went on"]'


def test_another_error_leaves_a_cancelled_scope():
    @workflow
    async def shop() -> None:
        async with workflow.scope() as scope:
            scope.cancel()
            raise ValueError("mine")

    assert ended(shop) == "fail_workflow ValueError: mine"


async def test_a_scope_works_outside_of_workflows():
    async with workflow.scope() as scope:
        asyncio.get_running_loop().call_soon(scope.cancel)
        await asyncio.get_running_loop().create_future()
    assert scope.cancelled


def test_info_tells_how_long_the_history_is():
    @workflow
    async def shop() -> list[object]:
        first = workflow.info()
        await tick()
        second = workflow.info()
        assert not first.continue_as_new_suggested
        return [first.history_length, second.history_length]

    rig, _ = played(shop)
    assert rig.complete(1).run() == ["complete_workflow [1,3]"]


def test_a_long_history_suggests_to_continue_as_new():
    @workflow
    async def shop() -> None:
        while not workflow.info().continue_as_new_suggested:
            await tick()

    rig, _ = played(shop)
    run = rig.machine._run
    run.history_bytes = 10 * 1024 * 1024
    assert rig.complete(1).run() == ["complete_workflow null"]
    rig, _ = played(shop)
    rig.run()
    rig.machine._last_seq = HISTORY_EVENTS_SUGGEST - 1
    rig.complete(1).events[-1].seq = HISTORY_EVENTS_SUGGEST
    (command,) = rig.machine.run_task(rig.events[-1:])
    assert command.HasField("complete_workflow")


def test_as_completed_of_coroutines_is_refused_because_it_makes_a_set_of_them():
    @workflow
    async def shop() -> list[str]:
        with pytest.raises(ForbiddenCallError, match=r"test_waiting.py:.*workflow.as_completed"):
            list(asyncio.as_completed([idle := tick_and("a")]))
        idle.close()
        tasks = [asyncio.create_task(tick_and(name)) for name in "ab"]
        return [await one for one in asyncio.as_completed(tasks, timeout=60)]

    rig, said = played(shop)
    assert said == ["schedule_timer 1 60s", "schedule_activity 1 tick", "schedule_activity 2 tick"]
    assert rig.complete(2).complete(1).run() == ["cancel_timer 1", 'complete_workflow ["b","a"]']
    both_ways(rig)


def test_as_completed_may_run_out_of_time():
    @workflow
    async def shop() -> str:
        try:
            for one in workflow.as_completed([tick()], timeout=timedelta(minutes=1)):
                await one
        except TimeoutError:
            return "late"
        return "?"

    rig, _ = played(shop)
    assert rig.fire(1).run() == ['complete_workflow "late"']


# Each part of asyncio that holds tasks back, once: every split of its history stands the same.


@workflow
async def with_gather() -> list[object]:
    async def one(n: int) -> int:
        await tick()
        if n == 1:
            raise ValueError(n)
        return n

    done = await asyncio.gather(*(one(n) for n in range(4)), return_exceptions=True)
    return [str(value) for value in done]


@workflow
async def with_wait() -> list[str]:
    names: list[str] = []
    tasks = {asyncio.create_task(tick_and(name)) for name in "abcd"}
    while tasks:
        done, tasks = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        names += [task.result() for task in done]
    return names


@workflow
async def with_as_completed() -> list[str]:
    return [await one for one in workflow.as_completed([tick_and(name) for name in "abcd"])]


@workflow
async def with_task_group() -> list[str]:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(tick_and(name)) for name in "abcd"]
    return [task.result() for task in tasks]


@workflow
async def with_lock() -> list[str]:
    lock, order = asyncio.Lock(), list[str]()

    async def hold(name: str) -> None:
        async with lock:
            order.append(await tick_and(name))

    await asyncio.gather(*(hold(name) for name in "abcd"))
    return order


@workflow
async def with_semaphore() -> list[str]:
    semaphore, order = asyncio.Semaphore(2), list[str]()

    async def hold(name: str) -> None:
        async with semaphore:
            order.append(await tick_and(name))

    await asyncio.gather(*(hold(name) for name in "abcd"))
    return order


@workflow
async def with_event() -> list[str]:
    event, order = asyncio.Event(), list[str]()

    async def wait(name: str) -> None:
        await event.wait()
        order.append(await tick_and(name))

    tasks = [asyncio.create_task(wait(name)) for name in "abc"]
    await tick()
    event.set()
    await asyncio.gather(*tasks)
    return order


@workflow
async def with_queue() -> list[str]:
    queue, order = asyncio.Queue[str](1), list[str]()

    async def work() -> None:
        while True:
            order.append(await tick_and(await queue.get()))
            queue.task_done()

    workers = [asyncio.create_task(work()) for _ in range(2)]
    for name in "abcd":
        await queue.put(name)
    await queue.join()
    for worker in workers:
        worker.cancel()
    return order


@workflow
async def with_condition() -> list[str]:
    condition, order = asyncio.Condition(), list[str]()

    async def wait(name: str) -> None:
        async with condition:
            await condition.wait()
            order.append(name)
        await tick()

    tasks = [asyncio.create_task(wait(name)) for name in "abc"]
    await tick()
    async with condition:
        condition.notify(1)
    await tick()
    async with condition:
        condition.notify_all()
    await asyncio.gather(*tasks)
    return order


@workflow
async def with_shield() -> str:
    paying = asyncio.create_task(tick_and("paid"))
    try:
        async with asyncio.timeout(60):
            await asyncio.shield(paying)
    except TimeoutError:
        await tick()
    return await paying


@workflow
async def with_barrier() -> list[int]:
    barrier = asyncio.Barrier(3)

    async def arrive() -> int:
        await tick()
        return await barrier.wait()

    return list(await asyncio.gather(*(arrive() for _ in range(3))))


async def tick_and(name: str) -> str:
    await tick()
    return name


@pytest.mark.parametrize(
    ("definition", "result"),
    [
        (with_gather, '["0","1","2","3"]'),
        (with_wait, '["d","c","b","a"]'),
        (with_as_completed, '["d","c","b","a"]'),
        (with_task_group, '["a","b","c","d"]'),
        (with_lock, '["a","b","c","d"]'),
        (with_semaphore, '["b","c","d","a"]'),
        (with_event, '["c","b","a"]'),
        (with_queue, '["b","c","d","a"]'),
        (with_condition, '["a","b","c"]'),
        (with_shield, '"paid"'),
        (with_barrier, "[2,1,0]"),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_each_way_to_wait_stands_the_same_however_it_is_replayed(definition, result):
    rig, said = played(definition)
    while rig.activities:
        # The latest first: order comes from the history, not from the code.
        if 1 in rig.timers:
            rig.fire(1)
        seqs = sorted(rig.activities, reverse=True)
        rig.after(1).complete(seqs[0])
        said = rig.run()
    assert said == [f"complete_workflow {result}"]
    both_ways(rig)
