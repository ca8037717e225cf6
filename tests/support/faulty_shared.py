"""Owns a store of several servers that fails, is slow, falls asleep and dies, as its chances say.

It adds to `faulty_store` what matters where others go on meanwhile: reads whose answers are old,
hints that are late or lost, and a server that does nothing for a while.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from random import Random
from typing import Any, TypeVar

from perdure_server.core.errors import StoreUnavailable
from perdure_server.core.model import Lane, Task
from perdure_server.store.shared import Beat, Hint, Overdue, Taken
from tests.support.faulty_store import Faults, FaultyStore
from tests.support.model_shared import SharedModelStore
from tests.support.virtual_loop import left, pause

T = TypeVar("T")

_GAP = 0.1
"""How many of the hints that come late have come too late."""


class _InOrder(frozenset[Any]):
    """A set whose order is the same in every process, so that a seed is enough to repeat a run."""

    def __iter__(self) -> Iterator[Any]:
        return iter(sorted(super().__iter__(), key=repr))


class FaultySharedStore(FaultyStore):
    """Wraps one server's view. A killed one stays among the living until another buries it."""

    def __init__(
        self,
        inner: SharedModelStore,
        random: Random,
        *,
        faults: Faults,
        on_death: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(inner, random, faults=faults, on_death=on_death)
        self._view = inner
        self._thaws_at = 0.0
        self.missed = False
        """Whether hints were lost."""

    def kill(self) -> None:
        """Dies now, with the process: what it had for itself alone is free."""
        super().kill()
        self._view.kill()

    def freeze(self, seconds: float) -> None:
        """Answers nothing for a while; what was under way to the database still arrives there."""
        self._thaws_at = max(self._thaws_at, asyncio.get_running_loop().time() + seconds)

    def cut(self) -> None:
        """Loses the connection and finds it again."""
        if not self._dead:
            self.missed = True
            self._view.lose_connection()

    @property
    def is_cut_off(self) -> bool:
        """Whether every call is refused until a beat is answered."""
        return self._view.is_cut_off

    async def join(self, server_id: str) -> int:
        """Enters this server among the living, or dies around it."""
        await self._arrive()
        await self._may_die(self.faults.die_before)
        now_us = await self._view.join(server_id)
        await self._may_die(self.faults.die_after)
        return await self._back(now_us)

    async def beat(self, *, silent_us: int) -> Beat | None:
        """Shows that this server lives."""
        await self._arrive()
        return await self._back(await self._view.beat(silent_us=silent_us))

    async def bury(self, server_id: str, *, silent_us: int) -> list[str] | None:
        """Takes over from a server that is silent, or dies around it."""
        await self._arrive()
        await self._may_die(self.faults.die_before)
        sessions = await self._view.bury(server_id, silent_us=silent_us)
        await self._may_die(self.faults.die_after)
        return await self._back(sessions)

    async def leave(self) -> None:
        """Removes this server."""
        await self._arrive()
        await self._view.leave()
        await self._back(None)

    async def take_session(self, session_id: str) -> Taken:
        """Makes a session this server's, or dies around it."""
        await self._arrive()
        await self._may_die(self.faults.die_before)
        taken = await self._view.take_session(session_id)
        await self._may_die(self.faults.die_after)
        return await self._back(taken)

    async def take_orphan(self, session_id: str) -> Taken | None:
        """Makes a session this server's unless another one has it, or dies around it."""
        await self._arrive()
        await self._may_die(self.faults.die_before)
        taken = await self._view.take_orphan(session_id)
        await self._may_die(self.faults.die_after)
        return await self._back(taken)

    async def release_session(self, session_id: str) -> bool:
        """Removes a session, or dies around it."""
        await self._arrive()
        await self._may_die(self.faults.die_before)
        was_ours = await self._view.release_session(session_id)
        await self._may_die(self.faults.die_after)
        return await self._back(was_ours)

    async def leases_here(self) -> list[Task]:
        """Returns the tasks whose lease has no end."""
        await self._arrive()
        return await self._back(await self._view.leases_here())

    async def overdue(self, before_us: int, *, limit: int) -> Overdue:
        """Returns what some server should have done by now."""
        await self._arrive()
        return await self._back(await self._view.overdue(before_us, limit=limit))

    async def ready_lanes(self, now_us: int) -> list[Lane]:
        """Returns the lanes that have a ready task."""
        await self._arrive()
        return await self._back(await self._view.ready_lanes(now_us))

    async def send_note(self, server_id: str, note: bytes) -> None:
        """Sends something to another server."""
        await self._arrive()
        await self._view.send_note(server_id, note)
        await self._back(None)

    async def hints(self) -> AsyncIterator[Hint]:
        """Yields hints, some of them late, and instead of some that all may have changed."""
        async for hint in self._view.hints():
            is_late = self._happens(self.faults.delay)
            if is_late:
                await self._pause()
            lost = is_late and self._happens(_GAP)
            self.missed |= lost
            yield await self._awake(Hint(everything=True) if lost else _in_order(hint))
        await self._may_die(0.0)

    @asynccontextmanager
    async def alone_with(self, run_id: str) -> AsyncGenerator[None]:
        """Waits for its turn; one that dies has no turn any more."""
        await self._arrive()
        async with self._view.alone_with(run_id):
            await self._back(None)
            yield

    async def _back(self, answer: T) -> T:
        answer = await self._awake(answer)
        if self._happens(self.faults.lose):
            raise StoreUnavailable("the answer of the simulated database was lost")
        return answer

    async def _awake(self, answer: T) -> T:
        await self._pause()
        while self._thaws_at and left(self._thaws_at):
            await pause(left(self._thaws_at))
        await self._may_die(0.0)
        return answer


def _in_order(hint: Hint) -> Hint:
    return replace(
        hint,
        runs=_InOrder(hint.runs),
        closed=_InOrder(hint.closed),
        stopped=_InOrder(hint.stopped),
        wanted=_InOrder(hint.wanted),
        lanes=_InOrder(hint.lanes),
        sessions=_InOrder(hint.sessions),
    )
