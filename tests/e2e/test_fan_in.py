"""Messages for one run that come to three servers at once: all count, and nobody is turned away."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import pytest

from perdure import Client, Worker, activity, signal, workflow
from perdure.v1 import worker_service_pb2 as worker
from perdure.v1 import workflow_service_pb2 as pb
from perdure.v1.payload_pb2 import Payload
from tests.api.calls import Caller
from tests.support.processes import SharedServer

SERVERS = 3
RESULTS = 300
SIGNALS = 300
POLLS = 8
PATIENCE_S = 100
NUMBER = Payload(data=b"1")

go = signal("go", int)


@activity
async def one() -> int:
    raise AssertionError("its results come from the test itself")


@workflow
async def fan_in() -> tuple[int, int]:
    """Returns the sum of all results and that of all signals."""
    results = asyncio.gather(*(one() for _ in range(RESULTS)))
    heard = [await go.wait() for _ in range(SIGNALS)]
    return sum(await results), sum(heard)


@pytest.mark.timeout(PATIENCE_S + 20)
async def test_messages_of_three_servers_for_one_run_all_count_and_none_is_refused(
    schemas, tmp_path
):
    async with (
        asyncio.timeout(PATIENCE_S),
        servers(schemas, tmp_path) as addresses,
        Client.connect(addresses[0]) as client,
        Worker(client, "wide", [fan_in]),
        calling(addresses) as callers,
    ):
        handle = await client.start(fan_in, id="wide", task_queue="wide")
        result = asyncio.create_task(handle.result())
        reports = [report(caller, result) for caller in callers for _ in range(POLLS)]
        signals = [send(callers[number % SERVERS]) for number in range(SIGNALS)]
        counts, _ = await asyncio.gather(asyncio.gather(*reports), asyncio.gather(*signals))
        assert await result == (RESULTS, SIGNALS)
        assert sum(counts) == RESULTS


async def report(caller, result):
    """Takes and completes activities until there is a result; returns how many."""
    request = worker.PollActivityTaskRequest(task_queue="wide", worker_id="w", wait={"seconds": 1})
    count = 0
    while not result.done():
        answer = await caller.call("WorkerService/PollActivityTask", request)
        if answer.HasField("task"):
            token = answer.task.task_token
            done = worker.CompleteActivityRequest(task_token=token, result=NUMBER)
            await caller.call("WorkerService/CompleteActivity", done)
            count += 1
    return count


async def send(caller):
    request = pb.SignalWorkflowRequest(workflow_id="wide", signal_name="go", payload=NUMBER)
    await caller.call("WorkflowService/SignalWorkflow", request)


@asynccontextmanager
async def calling(addresses):
    """Yields a caller of each server. They call once: a refusal is raised."""
    callers = [Caller(address) for address in addresses]
    try:
        yield callers
    finally:
        for caller in callers:
            await caller.close()


@asynccontextmanager
async def servers(schemas, folder):
    """Three servers on one database; yields their addresses."""
    with schemas.lent() as schema:
        processes = [
            SharedServer(schemas.url, schema=schema, log=folder / f"server-{number}.log")
            for number in range(SERVERS)
        ]
        try:
            await asyncio.gather(*(asyncio.to_thread(process.start) for process in processes))
            yield [process.address for process in processes]
        finally:
            for process in processes:
                process.kill()
