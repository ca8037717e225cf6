"""Queries of real processes: by the command line, over REST, and from other servers."""

from __future__ import annotations

import asyncio
import json
import signal as signals
from contextlib import AsyncExitStack
from datetime import timedelta
from functools import partial

import pytest

from perdure import Client, Worker, query, signal, workflow
from perdure.errors import NoWorkerError
from tests.e2e.processes import perdure
from tests.support.processes import SharedServer

PATIENCE_S = 60
QUEUE = "shelves"

done = signal("done")


@workflow(task_queue=QUEUE)
class Shelf:
    """Has things until it is done."""

    def __init__(self) -> None:
        self.things: list[str] = []

    async def run(self) -> None:
        await done.wait()

    @signal
    def put(self, thing: str) -> None:
        self.things.append(thing)

    @query
    def listed(self) -> list[str]:
        return self.things

    @query
    def has(self, thing: str) -> bool:
        return thing in self.things


async def beside(function, *arguments):
    """Calls what waits for another process without holding up the worker of the test."""
    return await asyncio.to_thread(function, *arguments)


async def test_the_command_line_and_rest_ask_a_worker(start_dev):
    dev = start_dev()
    ask = partial(perdure, "workflow", "query", "--address", dev.address)
    async with Client.connect(dev.address) as client:
        handle = await client.start(Shelf, id="s")
        async with Worker(client, QUEUE, [Shelf]):
            await handle.signal(Shelf.put, "book")
            answer = await beside(ask, "s", "has", "--input", '"book"')
            assert (answer.stdout, answer.returncode) == ("true\n", 0)
            answer = await beside(ask, "s", "listed", "--output", "json")
            assert json.loads(answer.stdout)["value"] == ["book"]
            path = "/api/v1/workflows/s/query"
            assert await beside(dev.send, "POST", f"{path}/listed") == (200, {"value": ["book"]})
            body = json.dumps({"input": "pen"})
            assert await beside(dev.send, "POST", f"{path}/has", body) == (200, {"value": False})
            status, refusal = await beside(dev.send, "POST", f"{path}/fly")
            assert (status, refusal["reason"]) == (409, "QUERY_FAILED")
            assert refusal["details"] == {"failure_type": "UnknownQuery"}
            await handle.signal(done)
            await handle.result()
            answer = await beside(ask, "s", "listed")
            assert json.loads(answer.stdout) == ["book"]
    answer = await beside(ask, "s", "listed", "--mode", "snapshot")
    assert json.loads(answer.stdout) == ["book"]
    answer = await beside(ask, "s", "listed", "--timeout", "50ms")
    assert answer.returncode == 1
    assert "NO_WORKER" in answer.stderr


@pytest.mark.timeout(PATIENCE_S + 20)
async def test_workers_at_other_servers_answer_also_when_one_dies(schemas, tmp_path):
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(asyncio.timeout(PATIENCE_S))
        schema = stack.enter_context(schemas.lent())
        processes = [
            SharedServer(schemas.url, schema=schema, log=tmp_path / f"server-{number}.log")
            for number in range(3)
        ]
        for process in processes:
            stack.callback(process.kill)
        await asyncio.gather(*(asyncio.to_thread(process.start) for process in processes))
        first, second, third = [
            await stack.enter_async_context(Client.connect(process.address))
            for process in processes
        ]
        handle = await third.start(Shelf, id="s")
        with pytest.raises(NoWorkerError):
            await handle.query(Shelf.listed, timeout=timedelta(milliseconds=50))
        async with Worker(first, QUEUE, [Shelf]), Worker(second, QUEUE, [Shelf]):
            assert await handle.query(Shelf.listed) == []
            for number, client in enumerate((first, second, third)):
                await client.get_handle("s").signal("put", f"thing {number}")
                assert len(await handle.query(Shelf.listed)) == number + 1
            large = "x" * 1_000_000
            await handle.signal(Shelf.put, large)
            assert await handle.query(Shelf.has, large)
            assert (await handle.query(Shelf.listed))[-1] == large
            processes[0].send(signals.SIGKILL)
            assert len(await handle.query(Shelf.listed)) == 4
