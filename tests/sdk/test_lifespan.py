"""What a worker has for as long as it lives, and what activities get of it."""

from __future__ import annotations

import asyncio
import logging
import threading
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

import pytest

from perdure import RetryPolicy, Worker, WorkerOptions, activity, inject, signal, workflow
from perdure.client import Client
from perdure.testing import Environment


class Shelf:
    def __init__(self):
        self.open = True
        self.sold: list[str] = []

    def sell(self, thing: str) -> int:
        assert self.open
        self.sold.append(thing)
        return len(self.sold)


@dataclass
class Resources:
    shelf: Shelf
    limit: int = 9


@activity
async def sell(thing: str, *, shelf: Shelf = inject()) -> int:
    return shelf.sell(thing)


@activity
def sell_in_thread(thing: str, *, place: Shelf = inject("shelf"), limit: int = inject()) -> int:
    return place.sell(thing) + limit


@activity
async def count(*, shelf: Shelf = inject()) -> int:
    return len(shelf.sold)


@workflow
async def trade(thing: str) -> list[int]:
    return [await sell(thing), await sell_in_thread(thing), await count()]


ALL = ([trade], [sell, sell_in_thread, count])


@pytest.mark.parametrize("kind", [Resources, lambda shelf: {"shelf": shelf, "limit": 9}])
async def test_activities_get_what_the_lifespan_gives(address, kind):
    shelf = Shelf()

    @asynccontextmanager
    async def lifespan():
        yield kind(shelf)
        shelf.open = False

    async with Client.connect(address) as client:
        async with Worker(client, "q", *ALL, lifespan=lifespan) as worker:
            assert worker.state == kind(shelf)
            assert await client.execute(trade, "book") == [1, 11, 2]
            assert shelf.open
        assert not shelf.open


async def test_the_lifespan_outlives_the_work(address):
    order: list[str] = []
    begun = asyncio.Event()

    @asynccontextmanager
    async def lifespan():
        order.append("opened")
        yield
        order.append("closed")

    @activity
    async def last() -> None:
        begun.set()
        for _ in range(100):
            await asyncio.sleep(0)
        order.append("worked")

    @workflow
    async def works() -> None:
        await last()

    async with (
        Client.connect(address) as client,
        Worker(client, "q", [works], [last], lifespan=lifespan),
    ):
        await client.start(works)
        await begun.wait()
    assert order == ["opened", "worked", "closed"]


async def test_what_is_missing_is_said_before_the_worker_begins(address):
    closed: list[str] = []

    @asynccontextmanager
    async def lifespan():
        yield {"shelves": 3}
        closed.append("closed")

    async with Client.connect(address) as client:
        with pytest.raises(TypeError, match="activity sell needs 'shelf'"):
            async with Worker(client, "q", *ALL, lifespan=lifespan):
                pass
        assert closed == ["closed"]
        with pytest.raises(TypeError, match="activity sell needs 'shelf'"):
            async with Worker(client, "q", *ALL):
                pass


async def test_a_lifespan_that_cannot_begin_keeps_the_worker_from_it(address):
    @asynccontextmanager
    async def lifespan():
        raise OSError("no database")
        yield

    async with Client.connect(address) as client:
        with pytest.raises(OSError, match="no database"):
            async with Worker(client, "q", *ALL, lifespan=lifespan):
                pass


async def test_embedded_and_virtual_workers_have_lifespans_too(tmp_path):
    @asynccontextmanager
    async def lifespan():
        yield Resources(Shelf())

    options = WorkerOptions("q", *ALL, lifespan=lifespan)
    async with Client.embedded(tmp_path / "app.db", workers=[options]) as client:
        assert await client.execute(trade, "book") == [1, 11, 2]
    async with Environment(*ALL, lifespan=lifespan) as env:
        assert await env.client.execute(trade, "book") == [1, 11, 2]


async def test_a_test_of_the_function_passes_it_and_workflow_code_does_not():
    shelf = Shelf()
    assert await sell("book", shelf=shelf) == 1
    assert await sell_in_thread("book", place=shelf, limit=1) == 3
    with pytest.raises(TypeError, match=r"sell needs shelf=\.\.\."):
        await sell("book")

    @workflow
    async def passes() -> str:
        try:
            await sell("book", shelf=shelf)
        except TypeError as error:
            return str(error)
        return "?"

    async with Environment([passes]) as env:
        assert "takes thing; got 2 value(s)" in await env.client.execute(passes)


def test_where_inject_does_not_belong():
    assert repr(inject()) == "inject()"
    assert repr(inject("db")) == "inject('db')"
    with pytest.raises(TypeError, match="only activities"):

        @workflow
        async def asks(thing: str, *, shelf: Shelf = inject()) -> None: ...

    with pytest.raises(TypeError, match="must take one value or none"):

        @activity
        async def odd(thing: str, *, other: int = 3) -> None: ...


async def test_a_sync_activity_can_sleep_until_it_is_cancelled():
    started, stopped, ended = threading.Event(), threading.Event(), signal("ended")

    @activity(start_to_close=timedelta(hours=1), retry=RetryPolicy(max_attempts=1))
    def sleeps() -> str:
        assert activity.cancel_reason() == ""
        assert not activity.wait_cancelled(0)
        started.set()
        assert activity.wait_cancelled(timedelta(seconds=20))
        assert activity.is_cancelled()
        return activity.cancel_reason()

    @workflow
    async def cancels() -> str:
        sleeping = asyncio.create_task(sleeps())
        try:
            await asyncio.shield(sleeping)
        except asyncio.CancelledError:
            sleeping.cancel()
        await ended.wait()
        return "asked"

    said: list[str] = []

    @activity(name="sleeps")
    def notes() -> None:
        said.append(sleeps.fn())
        stopped.set()

    async with Environment([cancels], [notes]) as env:
        handle = await env.client.start(cancels)
        await asyncio.to_thread(started.wait, 20)
        await handle.cancel()
        await asyncio.to_thread(stopped.wait, 20)
        await handle.signal(ended)
        assert await handle.result() == "asked"
    assert said == ["CANCEL_REQUESTED"]


async def test_info_tells_when_the_attempt_runs_out_of_time():
    @activity(start_to_close=timedelta(minutes=5), schedule_to_close=timedelta(hours=1))
    async def tells() -> bool:
        info = activity.info()
        return info.deadline == info.started_at + timedelta(minutes=5)

    @activity(start_to_close=timedelta(hours=5), schedule_to_close=timedelta(hours=1))
    async def tells_total() -> bool:
        info = activity.info()
        return info.deadline == info.scheduled_at + timedelta(hours=1)

    @workflow
    async def asks() -> list[bool]:
        return [await tells(), await tells_total()]

    async with Environment([asks], [tells, tells_total]) as env:
        assert await env.client.execute(asks) == [True, True]


async def test_the_activity_logger_names_the_attempt(caplog):
    caplog.set_level(logging.INFO)

    @activity
    async def says() -> None:
        activity.logger.info("said")

    @workflow
    async def asks() -> None:
        await says()

    async with Environment([asks], [says]) as env:
        await env.client.execute(asks, id="w-1")
    activity.logger.info("outside")
    said, outside = [r for r in caplog.records if r.name == "perdure.activity"]
    assert (said.workflow_id, said.activity, said.attempt) == ("w-1", "says", 1)
    assert not hasattr(outside, "activity")
