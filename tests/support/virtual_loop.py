"""Owns virtual time: an event loop whose time jumps to the next scheduled call, and clocks on it.

Nothing waits for real time, opens a socket or starts a thread. The same calls in the same order
give the same run, so a simulation whose chances come from one seed can be repeated.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import Any

from perdure_server.core.limits import SECOND_US
from tests.support.histories import START_US

_TURNS_AT_ONE_INSTANT = 200_000
"""Turns of the loop without time passing after which it is taken to spin."""


class SimulationStuckError(AssertionError):
    """The loop waits for something that can never happen, or spins."""


class VirtualLoop(asyncio.BaseEventLoop):
    """An event loop on virtual time, in whole microseconds from 0. `troubles` holds what went wrong
    where nobody was told.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now_us = 0
        self.troubles: list[str] = []
        self._clock_resolution = 0.5 / SECOND_US
        self._selector = _Jump(self)

    def time(self) -> float:
        """Returns virtual seconds."""
        return self.now_us / SECOND_US

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Keeps what would be logged, so that the test fails."""
        error = context.get("exception")
        self.troubles.append(f"{context.get('message')}: {error!r}")

    def _process_events(self, event_list: list[Any]) -> None:
        """There are no events but calls."""

    def _write_to_self(self) -> None:
        """Nobody calls from another thread."""


class _Jump:
    """Stands where a loop has its selector: instead of waiting it moves time."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop
        self._turns = 0

    def select(self, timeout: float | None) -> list[Any]:
        """Moves time by `timeout`, rounded up to a microsecond."""
        if timeout is None:
            raise SimulationStuckError("nothing is scheduled and nothing can happen any more")
        span_us = math.ceil(timeout * SECOND_US - 1e-3)
        self._turns = 0 if span_us > 0 else self._turns + 1
        if self._turns > _TURNS_AT_ONE_INSTANT:
            raise SimulationStuckError(f"the loop spins at {self._loop.time():.6f} s")
        self._loop.now_us += max(0, span_us)
        return []


class Wall:
    """The wall clock of the simulated machine: it goes with the loop, and may be moved."""

    def __init__(self, loop: VirtualLoop, offset_us: int = 0) -> None:
        self.loop = loop
        self.offset_us = offset_us

    def now_us(self) -> int:
        """Returns microseconds since the Unix epoch."""
        return START_US + self.loop.now_us + self.offset_us


class VirtualClock:
    """The clock of one simulated process; it keeps the promises of `engine.ports.Clock`.

    Like the system's, an alarm is armed by the wall clock and waits on the monotonic one. After
    `stop` none rings.
    """

    def __init__(self, wall: Wall) -> None:
        self._wall = wall
        self._stopped = False

    def now_us(self) -> int:
        """Returns wall time since the Unix epoch."""
        return self._wall.now_us()

    def monotonic_us(self) -> int:
        """Returns virtual time; it never steps."""
        return self._wall.loop.now_us

    def call_at(self, when_us: int, callback: Callable[[], None]) -> asyncio.TimerHandle:
        """Calls back on the loop at wall time `when_us`; early or late when the wall was moved."""
        delay_us = max(0, when_us - self._wall.now_us())
        return self._wall.loop.call_later(delay_us / SECOND_US, self._ring, callback)

    def stop(self) -> None:
        """Rings no more."""
        self._stopped = True

    def _ring(self, callback: Callable[[], None]) -> None:
        if not self._stopped:
            callback()


def left(until: float) -> float:
    """Returns the virtual seconds until an instant: none when it has come, to the microsecond."""
    seconds = until - asyncio.get_running_loop().time()
    return seconds if seconds > 1 / SECOND_US else 0.0


async def pause(seconds: float) -> None:
    """Lets virtual time pass."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop), "only virtual time may pass in a test"
    over: asyncio.Future[None] = loop.create_future()
    handle = loop.call_later(seconds, _end, over)
    try:
        await over
    finally:
        handle.cancel()


def _end(over: asyncio.Future[None]) -> None:
    if not over.done():
        over.set_result(None)
