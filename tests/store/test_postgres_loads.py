"""Runs that many ask for at once are read together, each for whoever asked for it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from perdure_server.core.errors import StoreUnavailable
from perdure_server.core.state import RunState
from perdure_server.store.postgres.connection import Row, Session
from perdure_server.store.postgres.loads import Loads
from perdure_server.store.postgres.store import PostgresStore
from tests.store.test_postgres import starts, store
from tests.support.histories import a_run

__all__ = ["store"]


class Noted:
    """A connection that notes which runs each statement asks for."""

    def __init__(self, session: Session, asked: list[list[str]]) -> None:
        self._session = session
        self._asked = asked

    async def rows_of(self, text: str, run_ids: list[str], known: list[Any]) -> list[Row]:
        self._asked.append(run_ids)
        return await self._session.rows_of(text, run_ids, known)


class Gate:
    """Readers that let one statement through at a time, when they are told."""

    def __init__(self, store: PostgresStore) -> None:
        self._readers = store._open.readers
        self._open = asyncio.Semaphore(0)
        self.asked: list[list[str]] = []
        self.fault: Exception | None = None

    def let(self, statements: int = 1) -> None:
        for _ in range(statements):
            self._open.release()

    async def run(self, function: Callable[[Any], Awaitable[Any]]) -> Any:
        await self._open.acquire()
        if self.fault is not None:
            fault, self.fault = self.fault, None
            await function(Broken(fault))
        return await self._readers.run(lambda session: function(Noted(session, self.asked)))

    async def rows(self, text: str, *parameters: Any) -> Any:
        return await self.run(lambda session: session.rows_of(text, *parameters))


class Broken:
    """A connection that fails."""

    def __init__(self, fault: Exception) -> None:
        self._fault = fault

    async def rows_of(self, *_: Any) -> Any:
        raise self._fault


@pytest.fixture
async def gate(store: PostgresStore) -> Gate:
    await store.commit(starts(4))
    return Gate(store)


@pytest.fixture
def loads(store: PostgresStore, gate: Gate) -> Loads:
    readers: Any = gate
    return Loads(readers, store._statements.load)


def ids(*numbers: int) -> list[str]:
    return [a_run(number).run_id for number in numbers]


async def asking(loads: Loads, *run_ids: str) -> list[asyncio.Task[RunState | None]]:
    """Asks for runs, in this order; each has taken its place when this returns."""
    tasks = [asyncio.create_task(loads.load(run_id, None)) for run_id in run_ids]
    await asyncio.sleep(0)
    return tasks


def found(state: RunState | None) -> str | None:
    return None if state is None else state.run.run_id


async def test_who_asks_meanwhile_is_answered_by_one_statement(loads: Loads, gate: Gate) -> None:
    wanted = ids(1, 2, 3, 9, 4, 3)
    asked = await asking(loads, *wanted)
    gate.let(3)
    answers = [found(state) for state in await asyncio.gather(*asked)]
    assert answers == [None if run_id == ids(9)[0] else run_id for run_id in wanted]
    # The two that came first take along who waits when their connection is there.
    assert sorted(map(len, gate.asked)) == [1, 5]
    gate.let()
    assert found(await loads.load(*ids(4), None)) == ids(4)[0]


async def test_who_comes_later_is_not_answered_with_what_was_read_before(
    loads: Loads, gate: Gate
) -> None:
    first = await asking(loads, *ids(1, 2))
    gate.let(2)
    await asyncio.gather(*first)
    third = await asking(loads, *ids(1, 1, 1))
    gate.let(2)
    await asyncio.gather(*third)
    assert sorted(gate.asked) == sorted([ids(1), ids(2), ids(1, 1), ids(1)])


async def test_no_statement_asks_for_more_than_its_bound(loads: Loads, gate: Gate) -> None:
    asked = await asking(loads, *ids(1, 2), *(250 * ids(3)))
    gate.let(10)
    answers = await asyncio.gather(*asked)
    assert {found(state) for state in answers[2:]} == set(ids(3))
    assert sorted(len(run_ids) for run_ids in gate.asked) == [52, 100, 100]


async def test_a_fault_is_the_answer_of_all_it_concerns_and_of_no_others(
    loads: Loads, gate: Gate
) -> None:
    asked = await asking(loads, *ids(1, 2, 3))
    gate.fault = StoreUnavailable("it is away")
    gate.let(3)
    one, two, three = await asyncio.gather(*asked, return_exceptions=True)
    assert isinstance(one, StoreUnavailable)
    assert isinstance(three, StoreUnavailable)
    assert isinstance(two, RunState)
    gate.let()
    assert found(await loads.load(*ids(1), None)) == ids(1)[0]


async def test_who_gives_up_takes_nobody_along(loads: Loads, gate: Gate) -> None:
    asked = await asking(loads, *ids(1, 2, 3, 4))
    for task in (asked[0], asked[1], asked[2]):
        task.cancel()
    gone = await asyncio.gather(*asked[:3], return_exceptions=True)
    assert [type(each) for each in gone] == 3 * [asyncio.CancelledError]
    gate.let(10)
    assert found(await asked[3]) == ids(4)[0]
    assert [found(await each) for each in await asking(loads, *ids(1, 2, 3))] == ids(1, 2, 3)


async def test_who_gives_up_as_its_turn_comes_passes_it_on(loads: Loads, gate: Gate) -> None:
    asked = await asking(loads, *ids(1, 2, 3, 4))
    asked[0].cancel()
    asked[1].cancel()
    await asyncio.sleep(0)
    # It has the turn, and has not heard of it.
    asked[2].cancel()
    gate.let(10)
    assert found(await asked[3]) == ids(4)[0]
    assert asked[2].cancelled()
    assert [found(await each) for each in await asking(loads, *ids(1, 2, 3))] == ids(1, 2, 3)


async def test_what_may_be_large_or_unreadable_goes_alone(loads: Loads, gate: Gate) -> None:
    asked = await asking(loads, *ids(1, 2, 3), "\0", "\ud800")
    asked.append(asyncio.create_task(loads.load(*ids(4), 0)))
    gate.let(10)
    one, two, three, zero, broken, known = await asyncio.gather(*asked, return_exceptions=True)
    assert [found(state) for state in (one, two, three, known)] == ids(1, 2, 3, 4)
    assert isinstance(zero, StoreUnavailable)
    assert isinstance(broken, StoreUnavailable)
    alone = [["\0"], ["\ud800"], ids(4)]
    assert sorted(run_ids for run_ids in gate.asked if run_ids in alone) == sorted(alone)
    assert sorted(map(len, gate.asked)) == [1, 1, 1, 1, 2]
