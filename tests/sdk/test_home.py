"""The loops of clients: many in a process, which come and go."""

from __future__ import annotations

import asyncio

import pytest
from grpc._cython import cygrpc  # the callback that a loop which closes is still called with

from perdure import Client, Worker, workflow
from perdure._home import HomeEventLoop


@workflow
async def echo(number: int) -> int:
    return number


async def test_clients_close_while_others_work(address, caplog):
    async def come_and_go(number: int) -> None:
        for _ in range(8):
            async with Client.connect(address, use_session=number % 2 == 0) as client:
                assert await client.execute(echo, number, task_queue="q") == number

    async with Client.connect(address) as client, Worker(client, "q", [echo]):
        await asyncio.gather(*(come_and_go(number) for number in range(6)))
    assert "Event loop is closed" not in caplog.text


def test_a_closed_loop_drops_what_grpc_tells_it_and_nothing_else():
    loop = HomeEventLoop()
    told: list[int] = []
    loop.call_soon_threadsafe(told.append, 1)
    loop.call_soon_threadsafe(loop.stop)
    loop.run_forever()
    loop.close()
    assert told == [1]
    assert loop.call_soon_threadsafe(cygrpc._handle_callback_wrapper, None, 1) is None
    with pytest.raises(RuntimeError, match="closed"):
        loop.call_soon_threadsafe(told.append, 2)
