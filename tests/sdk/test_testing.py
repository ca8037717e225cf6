"""The environment for tests of workflows: virtual time, faults, replay."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import logging
from concurrent.futures import Future
from datetime import UTC, datetime, timedelta

import pytest

from perdure import (
    ActivityError,
    RetryPolicy,
    WorkflowTimedOutError,
    _virtual_time,
    activity,
    query,
    signal,
    update,
    workflow,
)
from perdure.errors import DeterminismError, RpcError
from perdure.testing import Environment, replay

YEAR = timedelta(days=365)
approvals = signal("approvals", bool)


@activity
async def now() -> str:
    return "now"


@workflow
async def sleeps_for_years(years: int) -> str:
    for _ in range(years):
        await asyncio.sleep(YEAR.total_seconds())
    return workflow.now().isoformat()


@workflow
async def asks_for_a_day() -> str:
    try:
        return "yes" if await approvals.wait(timeout=timedelta(days=1)) else "no"
    except TimeoutError:
        return "nobody answered"


async def test_a_year_takes_milliseconds():
    async with Environment([sleeps_for_years]) as env:
        start = env.now()
        result = await env.client.execute(sleeps_for_years, 10)

    assert datetime.fromisoformat(result) == start + 10 * YEAR
    assert start == datetime(2030, 1, 1, tzinfo=UTC)


@workflow
async def wakes_daily(days: int) -> str:
    for _ in range(days):
        await asyncio.sleep(timedelta(days=1).total_seconds())
    return workflow.now().isoformat()


async def test_every_day_of_a_year_comes_at_its_instant_for_each_of_several_workflows():
    async with Environment([wakes_daily]) as env:
        start = env.now()
        handles = [await env.client.start(wakes_daily, days) for days in (365, 364, 30)]
        ends = [datetime.fromisoformat(await handle.result()) for handle in handles]

    assert [end - start for end in ends] == [timedelta(days=days) for days in (365, 364, 30)]


async def test_time_stands_still_until_it_is_moved():
    async with Environment([asks_for_a_day]) as env:
        handle = await env.client.start(asks_for_a_day)
        await env.advance(timedelta(hours=23))
        await handle.signal(approvals, True)
        assert await handle.result() == "yes"
        assert env.now() == datetime(2030, 1, 1, 23, tzinfo=UTC)


async def test_a_timeout_comes_when_time_is_moved_past_it():
    async with Environment([asks_for_a_day]) as env:
        handle = await env.client.start(asks_for_a_day)
        await env.advance(timedelta(days=2))
        kinds = [event.WhichOneof("event") for event in (await handle.history()).events]
        assert kinds[-1] == "workflow_completed"
        assert await handle.result() == "nobody answered"


async def test_retries_do_not_wait():
    attempts = []

    hourly = RetryPolicy(
        initial_interval=timedelta(hours=1), max_interval=timedelta(hours=9), max_attempts=4
    )

    @activity(retry=hourly)
    async def flaky() -> int:
        attempts.append(activity.info().started_at)
        if len(attempts) < 4:
            raise ValueError("not yet")
        return len(attempts)

    @workflow
    async def calls() -> int:
        return await flaky()

    async with Environment([calls], [flaky]) as env:
        assert await env.client.execute(calls) == 4
        gaps = [after - before for before, after in itertools.pairwise(attempts)]
        assert gaps == [timedelta(hours=1), timedelta(hours=2), timedelta(hours=4)]


async def test_an_activity_that_hangs_times_out_when_time_is_moved():
    @activity(start_to_close=timedelta(minutes=5), retry=RetryPolicy(max_attempts=1))
    async def hangs() -> None:
        await asyncio.get_running_loop().create_future()

    @workflow
    async def calls() -> str:
        try:
            await hangs()
        except ActivityError as error:
            return error.timeout
        return "never"

    async with Environment([calls], [hangs]) as env:
        handle = await env.client.start(calls)
        await env.advance(timedelta(minutes=6))
        assert await handle.result() == "start_to_close"


async def test_a_run_timeout_is_virtual_too():
    async with Environment([sleeps_for_years]) as env:
        with pytest.raises(WorkflowTimedOutError):
            await env.client.execute(sleeps_for_years, 2, run_timeout=YEAR)


@pytest.mark.parametrize("max_cached_runs", [0, 1000])
async def test_forgotten_runs_are_replayed(max_cached_runs):
    @workflow
    async def three() -> list[str]:
        await approvals.wait()
        return [await now() for _ in range(3)]

    async with Environment([three], [now], max_cached_runs=max_cached_runs) as env:
        handle = await env.client.start(three)
        await env.advance(timedelta(0))
        await env.forget_runs()
        await handle.signal(approvals, True)
        assert await handle.result() == ["now"] * 3


async def test_refused_writes_lose_nothing():
    @workflow
    async def two() -> list[str]:
        return [await now() for _ in range(2)]

    async with Environment([two], [now]) as env:
        env.refuse_commits(2)
        assert await env.client.execute(two) == ["now"] * 2


async def test_garbage_is_sought_as_often_afterwards_as_before():
    before = gc.get_threshold()
    async with Environment([sleeps_for_years]):
        assert gc.get_threshold()[0] > before[0]
        async with Environment([sleeps_for_years]):
            seldom = gc.get_threshold()
        assert gc.get_threshold() == seldom
    assert gc.get_threshold() == before


async def test_queues_named_by_definitions_have_workers():
    @activity(task_queue="gpu")
    async def renders() -> str:
        return activity.info().task_queue

    @workflow(task_queue="films")
    async def film() -> str:
        return await renders()

    async with Environment([film], [renders]) as env:
        assert await env.client.execute(film) == "gpu"


async def test_queues_that_only_starts_name_can_be_given():
    async with Environment([sleeps_for_years], task_queues=["shop"]) as env:
        assert await env.client.execute(sleeps_for_years, 1, task_queue="shop")


async def test_who_waits_for_what_never_comes_is_told(monkeypatch):
    monkeypatch.setattr(_virtual_time, "STUCK_S", 0.0)
    told: Future[str] = Future()

    class Tell(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            told.set_result(record.getMessage())

    logger, tell = logging.getLogger("perdure._virtual_time"), Tell()
    logger.addHandler(tell)
    try:
        async with Environment([asks_for_a_day]) as env:
            result = asyncio.create_task(env.client.execute("asks_for_a_day", task_queue="nowhere"))
            assert "no worker here serves" in await asyncio.wrap_future(told)
            result.cancel()
    finally:
        logger.removeHandler(tell)


async def test_a_history_is_replayed_against_todays_code():
    async with Environment([sleeps_for_years]) as env:
        handle = await env.client.start(sleeps_for_years, 1)
        await handle.result()
        history = await handle.history()

    @workflow(name="sleeps_for_years")
    async def changed(years: int) -> str:
        return "at once"

    assert replay(history, [sleeps_for_years]) == []
    with pytest.raises(DeterminismError):
        replay(history, [changed])


async def test_code_that_does_not_replay_fails_the_wait():
    flips = iter([True, False])

    @workflow
    async def flips_a_coin() -> None:
        if next(flips):
            await now()
        await asyncio.sleep(1)

    async with Environment([flips_a_coin], [now], max_cached_runs=0) as env:
        with pytest.raises(RpcError, match="DeterminismError"):
            await env.client.execute(flips_a_coin)


async def test_time_does_not_go_back():
    async with Environment() as env:
        with pytest.raises(ValueError, match="back"):
            await env.advance(timedelta(seconds=-1))


@workflow
class Till:
    async def run(self) -> None:
        await approvals.wait()

    @update
    async def close_at(self, hours: int) -> str:
        with contextlib.suppress(TimeoutError):
            await approvals.wait(timeout=timedelta(hours=hours))
        return workflow.now().isoformat()


async def test_time_moves_while_an_update_is_waited_for():
    async with Environment([Till]) as env:
        handle = await env.client.start(Till)
        start = env.now()
        closed = await handle.update(Till.close_at, 9)
        assert datetime.fromisoformat(closed) == start + timedelta(hours=9)
        closed = await env.client.update_with_start(Till.close_at, 2).start(Till, id="other")
        assert datetime.fromisoformat(closed) == start + timedelta(hours=11)


async def test_a_task_that_fails_ends_the_wait_for_an_update():
    flips = iter([True, False])

    @workflow
    class Coin:
        async def run(self) -> None:
            await approvals.wait()

        @update
        async def flip(self) -> None:
            if next(flips):
                await now()
            await approvals.wait()

    async with Environment([Coin], [now], max_cached_runs=0) as env:
        handle = await env.client.start(Coin)
        with pytest.raises(RpcError, match="DeterminismError"):
            await handle.update(Coin.flip)


@workflow
class Calendar:
    """Sleeps for a year, and says since when."""

    def __init__(self) -> None:
        self.began = ""

    async def run(self) -> str:
        self.began = workflow.now().isoformat()
        await workflow.sleep(YEAR)
        return self.began

    @query
    def since(self, what: str) -> str:
        return f"{what} {self.began}"


async def test_a_query_does_not_move_time():
    async with Environment([Calendar]) as env:
        start = env.now()
        handle = await env.client.start(Calendar)
        assert await handle.query(Calendar.since, "since") == f"since {start.isoformat()}"
        assert env.now() == start
        assert await handle.result() == start.isoformat()
        assert await handle.query(Calendar.since, "from") == f"from {start.isoformat()}"
