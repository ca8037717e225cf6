"""Children that close over three servers into one parent: each is told once, none is refused."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest

from perdure import Client, Worker, workflow
from tests.e2e.test_fan_in import PATIENCE_S, servers

CHILDREN = 200


@workflow
async def leaf(number: int) -> int:
    """Returns its number."""
    return number


@workflow
async def family(count: int) -> list[int]:
    """Returns what its children return, in the order of their start."""
    return await asyncio.gather(*(leaf(number) for number in range(count)))


@pytest.mark.timeout(PATIENCE_S + 20)
async def test_children_close_over_three_servers_into_one_parent(schemas, tmp_path):
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(asyncio.timeout(PATIENCE_S))
        addresses = await stack.enter_async_context(servers(schemas, tmp_path))
        clients = [
            await stack.enter_async_context(Client.connect(address)) for address in addresses
        ]
        for client in clients:
            await stack.enter_async_context(Worker(client, "wide", [family, leaf]))
        handle = await clients[0].start(family, CHILDREN, id="wide", task_queue="wide")
        assert await handle.result() == list(range(CHILDREN))
        history = await clients[1].get_handle("wide").history()
        told = [
            event.child_workflow_completed.child_seq
            for event in history.events
            if event.WhichOneof("event") == "child_workflow_completed"
        ]
        assert sorted(told) == list(range(1, CHILDREN + 1))
