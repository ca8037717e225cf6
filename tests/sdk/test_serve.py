"""A worker that serves until its process is told to end."""

from __future__ import annotations

import asyncio
import signal

import pytest

from perdure import Worker, activity, workflow


@pytest.fixture
async def seen():
    return {"started": asyncio.Event(), "go on": asyncio.Event(), "cancelled": asyncio.Event()}


@pytest.fixture
def worker(client, seen):
    @activity
    async def waits() -> None:
        seen["started"].set()
        try:
            await seen["go on"].wait()
        except asyncio.CancelledError:
            seen["cancelled"].set()
            raise

    @workflow
    async def calls() -> None:
        await waits()

    return Worker(client, "q", [calls], [waits])


async def until_it_leaves(worker):
    async with asyncio.timeout(20):
        while not worker.shift._link._draining:  # noqa: ASYNC110
            await asyncio.sleep(0)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_it_works_until_the_process_is_told_to_end(client, worker, seen, number):
    serving = asyncio.create_task(worker.serve())
    handle = await client.start("calls", task_queue="q")
    await seen["started"].wait()
    signal.raise_signal(number)
    await until_it_leaves(worker)
    assert not serving.done()
    seen["go on"].set()
    await serving
    kinds = [event.WhichOneof("event") for event in (await handle.history()).events]
    assert "activity_completed" in kinds


async def test_a_second_signal_cuts_the_leaving_short(client, worker, seen):
    serving = asyncio.create_task(worker.serve())
    await client.start("calls", task_queue="q")
    await seen["started"].wait()
    signal.raise_signal(signal.SIGTERM)
    await until_it_leaves(worker)
    signal.raise_signal(signal.SIGTERM)
    await serving
    await seen["cancelled"].wait()


async def test_one_that_is_cancelled_by_others_ends_as_cancelled(worker):
    serving = asyncio.create_task(worker.serve())
    await asyncio.sleep(0)
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving
