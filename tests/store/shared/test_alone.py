"""Who is alone with a run, and in which order."""

from __future__ import annotations

import asyncio

import pytest

from perdure_server.store.contract import Committed
from perdure_server.store.shared import SharedStore
from tests.support.histories import a_run, alone, starting


class Line:
    """Blocks that want to be alone with runs, each of which ends when it is told."""

    def __init__(self) -> None:
        self.inside: list[str] = []
        self.order: list[str] = []
        self._changed = asyncio.Condition()

    async def stay(self, store: SharedStore, name: str, leave: asyncio.Event, run: str) -> None:
        """Stays alone with a run until told to leave."""
        async with store.alone_with(run):
            await self._note(name)
            await leave.wait()
            self.inside.remove(name)

    async def until_inside(self, *names: str) -> None:
        """Waits until exactly these are inside."""
        async with asyncio.timeout(30), self._changed:
            await self._changed.wait_for(lambda: sorted(self.inside) == sorted(names))

    async def _note(self, name: str) -> None:
        async with self._changed:
            self.inside.append(name)
            self.order.append(name)
            self._changed.notify_all()


async def test_who_asks_first_is_first(
    one: SharedStore, two: SharedStore, three: SharedStore
) -> None:
    line, leave = Line(), asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(line.stay(one, "one", leave, "r"))
        await line.until_inside("one")
        group.create_task(line.stay(two, "two", leave, "r"))
        # A commit of the one that waits, or of one that does not ask, is not held up.
        assert isinstance((await two.commit([alone(starting(a_run(1)))]))[0], Committed)
        group.create_task(line.stay(three, "three", leave, "r"))
        assert isinstance((await three.commit([alone(starting(a_run(2)))]))[0], Committed)
        assert line.inside == ["one"]
        leave.set()
    assert line.order[0] == "one"
    assert sorted(line.order) == ["one", "three", "two"]


async def test_never_two_are_alone_with_a_run(
    one: SharedStore, two: SharedStore, three: SharedStore
) -> None:
    inside, most, count = 0, 0, 0

    async def visit(store: SharedStore) -> None:
        nonlocal inside, most, count
        for _ in range(5):
            async with store.alone_with("r"):
                inside += 1
                most = max(most, inside)
                await store.find_run("default", "order-1", None)
                count += 1
                inside -= 1

    await asyncio.gather(visit(one), visit(two), visit(three))
    assert (most, count) == (1, 15)


async def test_other_runs_are_other_lines(one: SharedStore, two: SharedStore) -> None:
    async with asyncio.timeout(30), one.alone_with("r1"), two.alone_with("r2"):
        pass


async def test_who_gives_up_waiting_is_passed_over(
    one: SharedStore, two: SharedStore, three: SharedStore
) -> None:
    line, leave = Line(), asyncio.Event()
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        group.create_task(line.stay(one, "one", leave, "r"))
        await line.until_inside("one")
        waiting = asyncio.create_task(line.stay(two, "two", leave, "r"))
        await two.find_run("default", "order-1", None)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        leave.set()
        await line.stay(three, "three", leave, "r")
    assert line.order == ["one", "three"]


async def test_an_error_inside_ends_the_block(one: SharedStore, two: SharedStore) -> None:
    with pytest.raises(KeyError):
        async with one.alone_with("r"):
            raise KeyError
    async with asyncio.timeout(30), two.alone_with("r"):
        pass


async def test_the_block_of_a_server_that_is_gone_is_over(
    one: SharedStore, two: SharedStore
) -> None:
    line, leave = Line(), asyncio.Event()
    staying = asyncio.create_task(line.stay(one, "one", leave, "r"))
    await line.until_inside("one")
    closing = asyncio.create_task(one.close())
    async with asyncio.timeout(30), two.alone_with("r"):
        pass
    leave.set()
    await asyncio.gather(staying, closing, return_exceptions=True)
