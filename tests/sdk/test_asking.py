"""Queries, updates, and starts with a signal or an update: client and worker on a real server."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from perdure import (
    Client,
    Compression,
    UpdateRejectedError,
    Worker,
    query,
    signal,
    update,
    workflow,
)
from perdure.errors import RunClosedError, SnapshotNotFoundError, WorkflowAlreadyExistsError

close = signal("close", str)


@workflow(task_queue="carts")
class Cart:
    """Takes things until it is closed."""

    def __init__(self) -> None:
        self.things: list[str] = []

    async def run(self) -> list[str]:
        word = await close.wait()
        return [*self.things, word]

    @update
    def add(self, thing: str) -> int:
        self.things.append(thing)
        return len(self.things)

    @add.validator
    def check(self, thing: str) -> None:
        if not thing:
            raise ValueError("a thing has a name")

    @update
    async def never(self) -> None:
        await asyncio.Event().wait()

    @query
    def listed(self) -> list[str]:
        return self.things


@pytest.fixture
async def worker(client):
    async with Worker(client, "carts", [Cart]):
        yield


async def test_an_update_is_answered(client, worker):
    handle = await client.start(Cart, id="c")
    assert await handle.update(Cart.add, "book") == 1
    assert await handle.update("add", "pen") == 2
    assert await handle.query(Cart.listed) == ["book", "pen"]
    await handle.signal(close, "done")
    assert await handle.result() == ["book", "pen", "done"]


async def test_an_update_is_refused(client, worker):
    handle = await client.start(Cart, id="c")
    with pytest.raises(UpdateRejectedError, match="a thing has a name") as refusal:
        await handle.update(Cart.add, "")
    assert refusal.value.metadata["failure_type"] == "ValueError"
    assert await handle.update(Cart.add, "book") == 1


async def test_the_same_request_counts_once(client, worker):
    handle = await client.start(Cart, id="c")
    answers = [await handle.update(Cart.add, "book", request_id="r") for _ in range(3)]
    assert answers == [1, 1, 1]


async def test_an_update_that_is_not_answered(client, worker):
    handle = await client.start(Cart, id="c")
    with pytest.raises(TimeoutError):
        await handle.update(Cart.never, timeout=timedelta(milliseconds=50))
    waiting = asyncio.create_task(handle.update(Cart.never))
    await handle.update(Cart.add, "book")
    await handle.terminate()
    with pytest.raises(RunClosedError):
        await waiting


async def test_a_query_needs_no_worker_and_no_open_run(client):
    async with Worker(client, "carts", [Cart]):
        handle = await client.start(Cart, id="c")
        await handle.update(Cart.add, "book")
        await handle.signal(close, "done")
        await handle.result()
    assert await handle.query(Cart.listed) == ["book"]
    assert await handle.query("listed") == ["book"]
    assert await handle.state() == {"listed": ["book"]}
    with pytest.raises(SnapshotNotFoundError):
        await handle.query("unlisted")


async def test_a_query_before_the_code_has_run(client):
    handle = await client.start(Cart, id="c")
    with pytest.raises(SnapshotNotFoundError):
        await handle.query(Cart.listed)


async def test_codecs_seal_both_ways(address):
    async with (
        Client.connect(address, codecs=[Compression(min_bytes=1)]) as client,
        Worker(client, "carts", [Cart]),
    ):
        handle = await client.start(Cart, id="c")
        assert await handle.update(Cart.add, "book" * 100) == 1
        assert await handle.query(Cart.listed) == ["book" * 100]


async def test_a_signal_with_a_start(client, worker):
    handle = await client.signal_with_start(close, "now").start(Cart, id="c")
    assert await handle.result() == ["now"]
    with pytest.raises(WorkflowAlreadyExistsError):
        await client.signal_with_start("close", "again").start(Cart, id="c")


async def test_an_update_with_a_start(client, worker):
    sizes = [
        await client.update_with_start(Cart.add, thing).start(Cart, id="c")
        for thing in ("book", "pen")
    ]
    assert sizes == [1, 2]
    with pytest.raises(WorkflowAlreadyExistsError):
        await client.update_with_start("add", "ink").start(Cart, id="c", conflict_policy="fail")
