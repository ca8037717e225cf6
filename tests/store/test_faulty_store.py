"""The store of the simulation: what it refuses was not done, what it did may go unanswered."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from random import Random

import pytest

from perdure_server.core.errors import StoreUnavailable
from perdure_server.store.contract import Committed
from perdure_server.store.shared import Hint
from tests.support.faulty_shared import FaultySharedStore
from tests.support.faulty_store import Faults, FaultyStore
from tests.support.histories import a_run, alone, starting
from tests.support.model_shared import SharedContents, SharedModelStore
from tests.support.model_store import ModelStore

START = alone(starting(a_run()))


@pytest.fixture
async def model() -> ModelStore:
    model = ModelStore()
    await model.open()
    return model


async def test_without_faults_it_is_the_inner_store(model: ModelStore) -> None:
    store = FaultyStore(model, Random(1), faults=Faults())
    (outcome,) = await store.commit([START])
    assert isinstance(outcome, Committed)
    assert await store.load_run(a_run().run_id) == await model.load_run(a_run().run_id)


async def test_a_refused_call_did_nothing(model: ModelStore) -> None:
    store = FaultyStore(model, Random(1), faults=Faults(refuse=1.0))
    outcomes = await store.commit([START, START])
    assert [type(outcome) for outcome in outcomes] == [StoreUnavailable] * 2
    with pytest.raises(StoreUnavailable):
        await store.last_position()
    assert await model.load_run(a_run().run_id) is None


@pytest.mark.parametrize(
    ("faults", "is_applied"), [(Faults(die_before=1.0), False), (Faults(die_after=1.0), True)]
)
async def test_a_death_loses_the_reply_and_not_the_fact(
    model: ModelStore, *, faults: Faults, is_applied: bool
) -> None:
    deaths: list[str] = []
    store = FaultyStore(model, Random(1), faults=faults, on_death=lambda: deaths.append("died"))
    calls = [asyncio.create_task(store.commit([START])), asyncio.create_task(store.leased_tasks())]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert deaths == ["died"]
    assert not any(call.done() for call in calls)
    restarted = model.restart()
    await restarted.open()
    assert (await restarted.load_run(a_run().run_id) is not None) is is_applied
    for call in calls:
        call.cancel()


async def test_a_killed_server_stays_among_the_living_and_holds_nothing() -> None:
    time = itertools.count()
    shared = SharedContents()
    views = [SharedModelStore(shared, lambda: next(time)) for _ in range(2)]
    dying, living = (FaultySharedStore(view, Random(1), faults=Faults()) for view in views)
    for name, store in (("dying", dying), ("living", living)):
        await store.open()
        await store.join(name)
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(dying.alone_with("r"))
        waiting = asyncio.create_task(dying.beat(silent_us=0))
        dying.kill()
        async with living.alone_with("r"):
            pass
    assert not waiting.done()
    beat = await living.beat(silent_us=0)
    assert beat is not None
    assert beat.silent == ("dying",)
    assert await living.bury("dying", silent_us=0) == []
    waiting.cancel()


async def test_hints_may_be_lost_and_that_is_said() -> None:
    shared = SharedContents()
    views = [SharedModelStore(shared, lambda: 0) for _ in range(2)]
    one, two = (FaultySharedStore(view, Random(1), faults=Faults()) for view in views)
    await one.open()
    await two.open()
    hints = two.hints()
    assert (await anext(hints)).everything
    await one.commit([START])
    two.cut()
    assert await anext(hints) == Hint(everything=True)
    await two.close()


async def test_a_restarted_model_goes_its_own_way(model: ModelStore) -> None:
    await model.commit([START])
    restarted = model.restart()
    await restarted.open()
    await restarted.commit([alone(starting(a_run(2)))])
    assert await restarted.load_run(a_run().run_id) is not None
    assert await model.load_run(a_run(2).run_id) is None
