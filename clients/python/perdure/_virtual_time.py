"""Owns time that stands still until it is moved, and the question whether it may be moved now."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from heapq import heappop, heappush
from typing import Any, Final, Protocol

from google.protobuf.message import Message
from google.rpc.status_pb2 import Status

from perdure._connection import CALL_TIMEOUT_S
from perdure._embedded import EmbeddedTransport, Server
from perdure.errors import RpcError

QUIET_TURNS: Final = 20
"""Turns of the loop without work after which nothing is under way: far more than any hop takes."""
_BUSY_TURNS: Final = 20
"""Turns of the loop for which work may go on before it is left alone for a while."""
_LOOK_S: Final = 0.001
STUCK_S: Final = 3.0
"""Of real time, after which a test that waits for nothing that is due is told so."""
STUCK: Final = (
    "the test waits for a workflow in which nothing is due: it may wait for a signal that nobody"
    " sends, be paused, or be of a type or on a task queue that no worker here serves"
    " (Environment(..., task_queues=[...]) adds queues)"
)
_log: Final = logging.getLogger(__name__)


class Alarm(Protocol):
    """A call that a clock will make."""

    def cancel(self) -> None:
        """Prevents the call."""
        ...


class VirtualAlarm:
    """A call at an instant of virtual time."""

    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        """Prevents the call."""
        self.callback = None


class VirtualClock:
    """The wall clock of an engine under test: it stands still, `move_to` moves it.

    What the engine does every second by itself, such as listening for its workers, goes by real
    time, or a year would pass second by second; `is_durable` tells such calls from the others. The
    monotonic clock is the real one.
    """

    def __init__(self, now_us: int, *, is_durable: Callable[[Callable[[], None]], bool]) -> None:
        self._now_us = now_us
        self._is_durable = is_durable
        self._real_s: Callable[[], float] | None = None
        self._alarms: list[tuple[int, int, VirtualAlarm]] = []
        self._made = 0

    def now_us(self) -> int:
        """Returns virtual wall time since the Unix epoch."""
        return self._now_us

    def monotonic_us(self) -> int:
        """Returns real time that never steps."""
        if self._real_s is None:
            # Asking for the running loop takes longer than asking it.
            self._real_s = asyncio.get_running_loop().time
        return int(self._real_s() * 1e6)

    def call_at(self, when_us: int, callback: Callable[[], None]) -> Alarm:
        """Calls back at an instant of virtual time, soon when it has passed."""
        delay_us = when_us - self._now_us
        if delay_us <= 0 or not self._is_durable(callback):
            return asyncio.get_running_loop().call_later(max(delay_us, 0) / 1e6, callback)
        alarm = VirtualAlarm(callback)
        self._made += 1
        heappush(self._alarms, (when_us, self._made, alarm))
        return alarm

    def next_us(self) -> int | None:
        """Returns the next instant at which something is to happen."""
        while self._alarms and self._alarms[0][2].callback is None:
            heappop(self._alarms)
        return self._alarms[0][0] if self._alarms else None

    def move_to(self, when_us: int) -> None:
        """Moves time forward and makes the calls that are then due."""
        self._now_us = max(self._now_us, when_us)
        while (next_us := self.next_us()) is not None and next_us <= self._now_us:
            callback = heappop(self._alarms)[2].callback
            assert callback is not None
            callback()


class WatchedStore:
    """Passes every call on to a store and counts those under way; can refuse commits.

    `answered` is set whenever the store has answered the last of them.
    """

    def __init__(self, store: Any, refusal: Exception) -> None:
        self.under_way = 0
        self.answered: Final = asyncio.Event()
        self.refuse = 0
        self._store = store
        self._refusal = refusal

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._store, name)
        if not asyncio.iscoroutinefunction(attribute) or name == "wait_for_work":
            return attribute

        async def counted(*args: Any, **kwargs: Any) -> Any:
            self.under_way += 1
            try:
                return await attribute(*args, **kwargs)
            finally:
                self._leave()

        return counted

    async def commit(self, changesets: Any) -> list[Any]:
        """Commits, or refuses to as often as was asked."""
        if self.refuse:
            self.refuse -= 1
            return [self._refusal for _ in changesets]
        self.under_way += 1
        try:
            outcomes: list[Any] = await self._store.commit(changesets)
        finally:
            self._leave()
        return outcomes

    def _leave(self) -> None:
        self.under_way -= 1
        if not self.under_way:
            self.answered.set()


class WatchedTransport(EmbeddedTransport):
    """Knows which calls wait for workflows: those that are given longer than any answer takes."""

    def __init__(
        self,
        open_server: Callable[[], AbstractAsyncContextManager[Server]],
        to_status: Callable[[Any], Status],
    ) -> None:
        super().__init__(open_server, to_status)
        self._waits: dict[asyncio.Task[Any], RpcError | None] = {}

    @property
    def waits(self) -> bool:
        """Whether a call waits."""
        return bool(self._waits)

    def fail(self, error: RpcError) -> None:
        """Ends every call that waits."""
        for task in self._waits:
            self._waits[task] = error
            task.cancel()

    async def call(
        self, method: str, request: Message, *, timeout_s: float | None = None
    ) -> Message:
        """Returns the answer to one request. Raises an `RpcError`."""
        task = asyncio.current_task()
        if task is None or timeout_s is None or timeout_s <= CALL_TIMEOUT_S:
            return await super().call(method, request, timeout_s=timeout_s)
        self._waits[task] = None
        try:
            return await super().call(method, request, timeout_s=timeout_s)
        except asyncio.CancelledError:
            error = self._waits[task]
            if error is None:
                raise
            task.uncancel()
            raise error from None
        finally:
            del self._waits[task]


class TimeKeeper:
    """Moves a clock when nothing else is going on. Lives on the home loop.

    `busy` says whether the engine or a worker works, `asking` whether a client waits for an answer
    that comes without moving time, and `waiting` whether one waits for nothing else than time.
    `stirred` is set when what goes on may soon be over.
    """

    def __init__(
        self,
        clock: VirtualClock,
        *,
        busy: Callable[[], bool],
        asking: Callable[[], bool],
        waiting: Callable[[], bool],
        stirred: asyncio.Event,
    ) -> None:
        self._clock = clock
        self._busy = busy
        self._asking = asking
        self._waiting = waiting
        self._stirred = stirred
        self._held = asyncio.Lock()
        self._stuck_since: float | None = None
        self._has_wondered = False

    async def skip(self) -> None:
        """Moves time to the next instant, again and again, whenever all that is left is to wait."""
        while True:
            async with self._held:
                if not (await self._quiet() and self._waiting()):
                    self._stuck_since = None
                elif (next_us := self._clock.next_us()) is not None:
                    self._stuck_since = None
                    self._clock.move_to(next_us)
                    continue
                else:
                    self._wonder()
            await self._pause()

    def _wonder(self) -> None:
        """Says so, once, when the test has waited for long and time cannot help."""
        now = asyncio.get_running_loop().time()
        self._stuck_since = self._stuck_since or now
        if now - self._stuck_since >= STUCK_S and not self._has_wondered:
            self._has_wondered = True
            _log.warning(STUCK)

    async def advance(self, span_us: int, *, patience_s: float) -> None:
        """Moves time by a span, through all instants on the way.

        Work under way is waited for at each of them, for at most `patience_s` of real time.
        """
        async with self._held:
            end_us = self._clock.now_us() + span_us
            while True:
                await self._settle(patience_s)
                next_us = self._clock.next_us()
                if next_us is None or next_us > end_us:
                    break
                self._clock.move_to(next_us)
            self._clock.move_to(end_us)
            await self._settle(patience_s)

    async def _settle(self, patience_s: float) -> None:
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + patience_s
        while not await self._quiet() and loop.time() < ends_at:
            await self._pause()

    async def _pause(self) -> None:
        """Waits until something stirs, and looks by itself as well."""
        look = asyncio.get_running_loop().call_later(_LOOK_S, self._stirred.set)
        self._stirred.clear()
        await self._stirred.wait()
        look.cancel()

    def _quiet(self) -> asyncio.Future[bool]:
        """Answers once nothing was under way for so long, or something is and goes on."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[bool] = loop.create_future()
        self._look(loop, answer, 0, 0)
        return answer

    def _look(
        self, loop: asyncio.AbstractEventLoop, answer: asyncio.Future[bool], quiet: int, busy: int
    ) -> None:
        if answer.done():
            return  # nobody waits any more
        if self._busy():
            quiet, busy = 0, busy + 1
        else:
            quiet += 1
        if quiet == QUIET_TURNS:
            answer.set_result(not self._asking())
        elif busy == _BUSY_TURNS:
            answer.set_result(False)
        else:
            loop.call_soon(self._look, loop, answer, quiet, busy)
