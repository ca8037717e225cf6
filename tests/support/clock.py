"""Owns a clock that tests move by hand; it keeps the promises of `engine.ports.Clock`."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush

from tests.support.histories import START_US


class ManualAlarm:
    """A call that the clock will make when its instant comes."""

    def __init__(self, callback: Callable[[], None]) -> None:
        self._callback: Callable[[], None] | None = callback

    @property
    def is_over(self) -> bool:
        """Whether the call was made, or will not be."""
        return self._callback is None

    def cancel(self) -> None:
        """Prevents the call; does nothing after it was made."""
        self._callback = None

    def ring(self) -> None:
        """Makes the call, once."""
        callback, self._callback = self._callback, None
        if callback is not None:
            callback()


class ManualClock:
    """Time that stands still until it is moved. It starts at START_US."""

    def __init__(self) -> None:
        self._now_us = START_US
        self._alarms: list[tuple[int, int, ManualAlarm]] = []
        self._made = 0

    def now_us(self) -> int:
        """Returns wall time since the Unix epoch."""
        return self._now_us

    def monotonic_us(self) -> int:
        """Returns the time that has passed since the clock was made."""
        return self._now_us - START_US

    def call_at(self, when_us: int, callback: Callable[[], None]) -> ManualAlarm:
        """Calls back when `advance` reaches the instant; calls of one instant keep their order."""
        alarm = ManualAlarm(callback)
        self._made += 1
        heappush(self._alarms, (when_us, self._made, alarm))
        return alarm

    def next_us(self) -> int | None:
        """Returns the instant of the earliest call that stands."""
        while self._alarms and self._alarms[0][2].is_over:
            heappop(self._alarms)
        return self._alarms[0][0] if self._alarms else None

    def advance(self, span_us: int) -> None:
        """Moves time forward and makes the calls on the way, each at its instant."""
        end_us = self._now_us + span_us
        while self._alarms and self._alarms[0][0] <= end_us:
            when_us, _, alarm = heappop(self._alarms)
            self._now_us = max(self._now_us, when_us)
            alarm.ring()
        self._now_us = end_us

    def jump(self, seconds: float) -> None:
        """Moves time at once, as for a process that was stopped: late calls are made afterwards."""
        self._now_us += int(seconds * 1_000_000)
