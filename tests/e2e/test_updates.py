"""Updates at three servers on one PostgreSQL: whoever is asked, and however often, answers once."""

from __future__ import annotations

import asyncio

import pytest

from perdure import Client, Worker, signal, update, workflow
from perdure.errors import RequestIdReusedError
from tests.e2e.test_fan_in import PATIENCE_S, SERVERS, servers

COUNT = 40

leave = signal("leave", type(None))


@workflow(task_queue="carts")
class Cart:
    """Counts what is put in; says so until it is left."""

    def __init__(self) -> None:
        self.things: list[str] = []

    async def run(self) -> list[str]:
        await leave.wait()
        return self.things

    @update
    def put(self, thing: str) -> int:
        self.things.append(thing)
        return len(self.things)


@pytest.mark.timeout(PATIENCE_S + 20)
async def test_an_update_counts_once_whichever_server_hears_of_it(schemas, tmp_path):
    async with (
        asyncio.timeout(PATIENCE_S),
        servers(schemas, tmp_path) as (first, second, third),
        Client.connect(first) as here,
        Client.connect(second) as between,
        Client.connect(third) as there,
    ):
        started = await here.start(Cart, id="cart")
        asked = {"request_id": "pen"}
        put = asyncio.create_task(started.update(Cart.put, "pen", **asked))
        again = asyncio.create_task(there.get_handle("cart").update(Cart.put, "pen", **asked))
        async with Worker(between, "carts", [Cart]):
            assert (await put, await again) == (1, 1)
            assert await there.get_handle("cart").update(Cart.put, "pen", **asked) == 1
            with pytest.raises(RequestIdReusedError):
                await there.get_handle("cart").update(Cart.put, "cup", **asked)

            handles = [client.get_handle("cart") for client in (here, between, there)]
            sizes = await asyncio.gather(*(put_everywhere(handles, each) for each in range(COUNT)))
            assert sorted(sizes) == list(range(2, COUNT + 2))
            await started.signal(leave, None)
            things = await started.result()
            assert things[0] == "pen"
            assert sorted(things[1:]) == sorted(str(number) for number in range(COUNT))
            assert [things.index(str(number)) + 1 for number in range(COUNT)] == sizes

            # What it has answered it answers also when it has ended.
            late = await asyncio.gather(*(put_everywhere(handles, each) for each in range(COUNT)))
            assert late == sizes
        history = await here.get_handle("cart").history()
    assert sum(event.HasField("update_completed") for event in history.events) == COUNT + 1


async def put_everywhere(handles, number):
    """Says one thing to every server at once, under one request id; returns the one answer."""
    asked = {"request_id": f"put-{number}"}
    answers = await asyncio.gather(
        *(handle.update(Cart.put, str(number), **asked) for handle in handles)
    )
    assert len(answers) == SERVERS
    (size,) = set(answers)
    return size
