"""Concurrency: races have one winner, and callers that leave disturb nobody."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from perdure_server.core.errors import StaleVersion, WorkflowAlreadyExists
from perdure_server.core.limits import COMMIT_GROUP_MAX
from perdure_server.store.contract import Committed, Store
from tests.support.histories import a_run, alone, starting, stepping


async def test_of_racing_starts_one_wins(store: Store) -> None:
    runs = [a_run(number, workflow_id="order") for number in range(1, 21)]
    answers = await asyncio.gather(*(store.commit([alone(starting(run))]) for run in runs))
    outcomes = [type(outcome) for (outcome,) in answers]
    assert (
        sorted(outcomes, key=lambda kind: kind.__name__)
        == [Committed] + [WorkflowAlreadyExists] * 19
    )


async def test_of_racing_changes_one_wins(store: Store) -> None:
    run = replace(a_run(), history_length=1)
    await store.commit([alone(starting(run))])
    answers = await asyncio.gather(*(store.commit([alone(stepping(run))]) for _ in range(20)))
    outcomes = [type(outcome) for (outcome,) in answers]
    assert outcomes.count(Committed) == 1
    assert outcomes.count(StaleVersion) == 19


async def test_reads_see_what_was_acknowledged(store: Store) -> None:
    async def start_and_read(number: int) -> bool:
        run = a_run(number)
        await store.commit([alone(starting(run))])
        return await store.load_run(run.run_id) is not None

    assert all(await asyncio.gather(*(start_and_read(number) for number in range(1, 51))))


async def test_a_call_may_be_larger_than_a_group(store: Store) -> None:
    count = COMMIT_GROUP_MAX + 10
    outcomes = await store.commit([alone(starting(a_run(n))) for n in range(1, count + 1)])
    assert [type(outcome) for outcome in outcomes] == [Committed] * count


async def test_a_caller_that_leaves_disturbs_nobody(store: Store) -> None:
    leaving = asyncio.create_task(store.commit([alone(starting(a_run(1)))]))
    staying = asyncio.create_task(store.commit([alone(starting(a_run(2)))]))
    reading = asyncio.create_task(store.load_run("any"))
    await asyncio.sleep(0)
    leaving.cancel()
    reading.cancel()
    await asyncio.wait([leaving, staying, reading])
    assert [type(outcome) for outcome in staying.result()] == [Committed]
    assert await store.load_run(a_run(2).run_id) is not None


async def test_waiting_for_work_ends_by_itself(store: Store) -> None:
    async with asyncio.timeout(10):
        await store.wait_for_work(1)
