"""Queries, updates, and starts with a signal or an update: client and worker on a real server."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from perdure import (
    Client,
    Compression,
    QueryMode,
    UpdateRejectedError,
    Worker,
    query,
    signal,
    update,
    workflow,
)
from perdure.errors import (
    NoWorkerError,
    QueryFailedError,
    RunClosedError,
    SnapshotNotFoundError,
    WorkflowAlreadyExistsError,
)
from perdure.interceptors import ClientCall, ClientInterceptor, QueryCall, WorkflowInterceptor

SNAPSHOT = QueryMode.SNAPSHOT

close = signal("close", str)


@workflow(task_queue="carts")
class Cart:
    """Takes things until it is closed."""

    def __init__(self) -> None:
        self.things: list[str] = []
        self.closing = False

    async def run(self) -> list[str]:
        word = await close.wait()
        self.closing = True
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

    @query
    def open(self) -> bool:
        return not self.closing

    @query
    def has(self, thing: str) -> bool:
        return thing in self.things

    @query
    def broken(self, why: str) -> str:
        raise ValueError(f"broken {why}")

    @query
    def asks(self, _: int) -> None:
        workflow.upsert_search_attributes({"amount": 1})

    @query
    def draws(self, _: int) -> float:
        return workflow.random().random()

    @query
    def begins(self, _: int) -> None:
        self.task = asyncio.create_task(asyncio.Event().wait())

    @query
    def waits(self, _: int) -> Any:
        return asyncio.Event().wait()

    @query
    def clears(self, name: str) -> list[str]:
        self.things.clear()
        return self.things

    @query
    def turns(self, _: int) -> None:
        while not self.closing:
            pass


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


async def test_a_snapshot_needs_no_worker_and_no_open_run(client):
    async with Worker(client, "carts", [Cart]):
        handle = await client.start(Cart, id="c")
        await handle.update(Cart.add, "book")
        await handle.signal(close, "done")
        await handle.result()
    assert await handle.query(Cart.listed, mode=SNAPSHOT) == ["book"]
    assert await handle.query("listed", mode=SNAPSHOT) == ["book"]
    assert await handle.state() == {"listed": ["book"], "open": False}
    with pytest.raises(SnapshotNotFoundError):
        await handle.query("unlisted", mode=SNAPSHOT)


async def test_a_snapshot_before_the_code_has_run(client):
    handle = await client.start(Cart, id="c")
    with pytest.raises(SnapshotNotFoundError):
        await handle.query(Cart.listed, mode=SNAPSHOT)
    with pytest.raises(TypeError):
        await handle.query("has", "book", mode=SNAPSHOT)
    with pytest.raises(TypeError):
        await handle.query("has", "book", "pen")


async def test_a_query_knows_of_what_came_before_it(client, worker):
    handle = await client.start(Cart, id="c")
    assert await handle.query(Cart.listed) == []
    await handle.pause("look")
    await handle.signal(close, "done")
    assert await handle.query(Cart.open) is False
    assert await handle.query(Cart.open, mode=SNAPSHOT) is True
    await handle.unpause()
    assert await handle.result() == ["done"]


async def test_a_query_takes_a_value(client, worker):
    handle = await client.start(Cart, id="c")
    await handle.update(Cart.add, "book")
    assert await handle.query(Cart.has, "book") is True
    assert await handle.query("has", "pen") is False
    with pytest.raises(QueryFailedError, match="str") as refusal:
        await handle.query("has")
    assert refusal.value.metadata == {"failure_type": "PayloadError"}


async def test_a_query_of_a_run_that_has_closed(client, worker):
    handle = await client.start(Cart, id="c")
    await handle.update(Cart.add, "book")
    await handle.signal(close, "done")
    await handle.result()
    assert await handle.query(Cart.listed) == ["book"]


async def test_a_run_that_is_in_no_memory_is_played(client):
    async with Worker(client, "carts", [Cart]):
        handle = await client.start(Cart, id="c")
        await handle.update(Cart.add, "book")
    async with Worker(client, "carts", [Cart]) as worker:
        assert await handle.query(Cart.listed) == ["book"]
        # Nothing of it stays: what a worker keeps is what tasks have made.
        assert worker.shift.idle
        assert await handle.update(Cart.add, "pen") == 2
        assert await handle.query(Cart.listed) == ["book", "pen"]


@pytest.mark.parametrize("at_once", [1, 100])
async def test_many_queries_at_once(client, at_once):
    async with Worker(client, "carts", [Cart], max_cached_runs=1):
        handles = [await client.start(Cart, id=f"c{number}") for number in range(5)]
        for number, handle in enumerate(handles):
            await handle.update(Cart.add, f"book {number}")
        async with asyncio.TaskGroup() as group:
            asked = [
                group.create_task(handle.query(Cart.listed, timeout=timedelta(minutes=2)))
                for handle in handles
                for _ in range(at_once)
            ]
        found = [task.result() for task in asked]
        assert found == [[f"book {number}"] for number in range(5) for _ in range(at_once)]


async def test_a_query_that_fails(client, worker):
    handle = await client.start(Cart, id="c")
    with pytest.raises(QueryFailedError, match="answers no query 'unlisted'") as refusal:
        await handle.query("unlisted")
    assert refusal.value.metadata == {"failure_type": "UnknownQuery"}
    with pytest.raises(QueryFailedError, match="broken on purpose") as refusal:
        await handle.query("broken", "on purpose")
    assert refusal.value.metadata == {"failure_type": "ValueError"}
    assert await handle.query(Cart.listed) == []


async def test_a_query_that_does_more_than_look(client, worker):
    handle = await client.start(Cart, id="c")
    for name in ("asks", "draws", "begins", "waits"):
        with pytest.raises(QueryFailedError, match="look"):
            await handle.query(name, 0)
    await handle.signal(close, "done")
    assert await handle.result() == ["done"]


async def test_a_query_that_changes_the_state_changes_nothing(client, worker):
    handle = await client.start(Cart, id="c")
    await handle.update(Cart.add, "book")
    for _ in range(3):
        with pytest.raises(QueryFailedError, match=r"'clears' changed self\.things") as refusal:
            await handle.query("clears", "all")
        assert refusal.value.metadata == {"failure_type": "StateChangedError"}
    assert await handle.query(Cart.listed) == ["book"]
    # The run in memory is not gone on with, also when a query comes in between.
    for number in range(2, 7):
        adding = asyncio.create_task(handle.update(Cart.add, "pen"))
        with pytest.raises(QueryFailedError, match="changed"):
            await handle.query("clears", "all")
        assert await adding == number
    await handle.signal(close, "done")
    assert await handle.result() == ["book", *["pen"] * 5, "done"]


async def test_a_snapshot_that_changes_the_state_changes_nothing(client, caplog):
    @workflow(name="eager", task_queue="carts")
    class Eager:
        def __init__(self) -> None:
            self.asked = 0

        async def run(self) -> int:
            await close.wait()
            return self.asked

        @query
        def count(self) -> int:
            self.asked += 1
            return self.asked

        @update
        async def step(self) -> int:
            return await workflow.step(lambda: 7)

    async with Worker(client, "carts", [Eager]):
        handle = await client.start(Eager, id="e")
        assert [await handle.update(Eager.step) for _ in range(3)] == [7, 7, 7]
        with pytest.raises(SnapshotNotFoundError):
            await handle.query(Eager.count, mode=SNAPSHOT)
        await handle.signal(close, "done")
        assert await handle.result() == 0
    assert "one of the queries count changed self.asked" in caplog.text


async def test_code_that_no_longer_fits_its_history(client):
    @workflow(name="Cart", task_queue="carts")
    class Changed:
        async def run(self) -> None:
            await workflow.sleep(7)

        @query
        def listed(self) -> list[str]:
            return []

    async with Worker(client, "carts", [Cart]):
        handle = await client.start(Cart, id="c")
        await handle.update(Cart.add, "book")
    async with Worker(client, "carts", [Changed]):
        with pytest.raises(QueryFailedError) as refusal:
            await handle.query(Cart.listed)
    assert refusal.value.metadata == {"failure_type": "DeterminismError"}


async def test_a_query_that_does_not_return_is_left(client):
    short = timedelta(seconds=1)
    async with Worker(client, "carts", [Cart], workflow_task_timeout=short):
        handle = await client.start(Cart, id="c")
        await handle.update(Cart.add, "book")
        with pytest.raises(QueryFailedError) as refusal:
            await handle.query("turns", 0)
        assert refusal.value.metadata == {"failure_type": "WorkflowTaskTimeout"}
        assert await handle.query(Cart.listed) == ["book"]
        assert await handle.update(Cart.add, "pen") == 2


async def test_nobody_answers(client):
    handle = await client.start(Cart, id="c")
    with pytest.raises(NoWorkerError, match="'Cart' on task queue 'carts'"):
        await handle.query(Cart.listed, timeout=timedelta(milliseconds=50))
    async with asyncio.TaskGroup() as group:
        asked = group.create_task(handle.query(Cart.listed))
        async with Worker(client, "carts", [Cart]):
            assert await asked == []


async def test_a_function_answers_queries(client):
    @workflow(name="counts", task_queue="carts")
    async def counts(start: int) -> None:
        workflow.on_query("sum", lambda: start)
        workflow.on_query("plus", lambda amount: start + amount)
        await close.wait()

    async with Worker(client, "carts", [counts]):
        handle = await client.start(counts, 2, id="n")
        assert await handle.query("sum") == 2
        assert await handle.query("plus", 5) == 7
        with pytest.raises(QueryFailedError):
            await handle.query("sum", 5)
        assert await handle.state() == {"sum": 2}


async def test_interceptors_stand_around_queries(address):
    class Doubling(ClientInterceptor, WorkflowInterceptor):
        async def call(self, call: ClientCall, proceed: Any) -> Any:
            calls.append((call.operation, call.name, call.arguments))
            return await proceed(call)

        def handle_query(self, call: QueryCall, proceed: Any) -> Any:
            return proceed(call) if call.name == "has" else 2 * proceed(call)

    calls: list[Any] = []
    async with (
        Client.connect(address, interceptors=[Doubling()]) as client,
        Worker(client, "carts", [Cart]),
    ):
        handle = await client.start(Cart, id="c")
        await handle.update(Cart.add, "book")
        assert await handle.query(Cart.listed) == ["book", "book"]
        assert await handle.query(Cart.has, "book") is True
    assert calls[-1] == ("query", "has", ("book",))


async def test_codecs_seal_both_ways(address):
    async with (
        Client.connect(address, codecs=[Compression(min_bytes=1)]) as client,
        Worker(client, "carts", [Cart]),
    ):
        handle = await client.start(Cart, id="c")
        assert await handle.update(Cart.add, "book" * 100) == 1
        assert await handle.query(Cart.listed) == ["book" * 100]
        assert await handle.query(Cart.has, "book" * 100) is True
        assert await handle.query(Cart.listed, mode=SNAPSHOT) == ["book" * 100]
    async with (
        Client.connect(address, codecs=[Compression(min_bytes=1)]) as client,
        Worker(client, "carts", [Cart]),
    ):
        assert await client.get_handle("c", workflow=Cart).query(Cart.listed) == ["book" * 100]


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
