"""Owns the timers in memory.

A window of the earliest ones in the store, each rung at its exact instant.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from perdure_server.core import decide, limits
from perdure_server.core.draft import Draft, NextRun
from perdure_server.core.errors import DomainError
from perdure_server.core.model import Timer, TimerKind
from perdure_server.engine.alarms import Alarms
from perdure_server.engine.background import Background
from perdure_server.engine.ports import Clock
from perdure_server.engine.stimuli import may_pass
from perdure_server.store.contract import Store

_log = logging.getLogger(__name__)

_RETRY_US = limits.SECOND_US

TimerKey = tuple[str, TimerKind, int]


class DueTimer:
    """A timer that has rung, on its way through its run."""

    __slots__ = ("_next_run", "_timer", "_timers")

    def __init__(self, timer: Timer, timers: Timers, next_run: NextRun) -> None:
        self._timer = timer
        self._timers = timers
        self._next_run = next_run

    def decide(self, draft: Draft, now_us: int) -> None:
        """Decides what it is for."""
        timer = self._timer
        decide.decide_timer_due(draft, timer, next_run=self._next_run, now_us=now_us)
        row = draft.timer(timer.kind, timer.seq)
        if row is not None:
            # The clock was set back since the alarm rang.
            self._timers.set(row)

    def done(self, answer: object) -> None:
        """Does nothing: its end is in the history."""

    def refused(self, error: Exception) -> None:
        """Has it ring again when its end could not be committed."""
        if may_pass(error, self._timer.run_id):
            self._timers.again(self._timer)


class Timers:
    """Rings timers. Those beyond the window stay in the store until the window has passed."""

    def __init__(
        self,
        store: Store,
        *,
        clock: Clock,
        background: Background,
        ring: Callable[[Timer], None],
    ) -> None:
        self._store = store
        self._clock = clock
        self._background = background
        self._ring = ring
        self._alarms = Alarms[TimerKey](clock, self._due)
        self._window = Alarms[str](clock, lambda _key, _due: self._load())
        self._last: Timer | None = None
        """The last timer of the window; None when the window has all timers."""
        self._filling = False
        """Whether a window is being read: what is committed meanwhile may not be in it."""

    async def rebuild(self) -> None:
        """Loads the first window, also of timers that nobody here has set."""
        self._last = None
        await self._fill()

    def close(self) -> None:
        """Rings no more."""
        self._alarms.close()
        self._window.close()

    def next_us(self) -> int | None:
        """Returns the earliest instant at which a timer is due."""
        return self._alarms.next_us()

    def set(self, timer: Timer) -> None:
        """Takes in a timer that was committed."""
        in_window = self._last is None or timer.due_at_us <= self._last.due_at_us
        if in_window or self._filling:
            self._alarms.set((timer.run_id, timer.kind, timer.seq), timer.due_at_us)

    def clear(self, run_id: str, kind: TimerKind, seq: int) -> None:
        """Forgets a timer that is gone from the store."""
        self._alarms.clear((run_id, kind, seq))

    def again(self, timer: Timer) -> None:
        """Rings a timer again soon, because what it caused could not be committed."""
        key = (timer.run_id, timer.kind, timer.seq)
        self._alarms.set(key, self._clock.now_us() + _RETRY_US)

    def _due(self, key: TimerKey, due_us: int) -> None:
        run_id, kind, seq = key
        self._ring(Timer(run_id=run_id, kind=kind, seq=seq, due_at_us=due_us))

    def _load(self) -> None:
        self._background.spawn(self._refill(), "load timers")

    async def _refill(self) -> None:
        try:
            await self._fill()
        except DomainError as error:
            _log.warning("timers could not be loaded, trying again: %s", error)
            self._window.set("window", self._clock.now_us() + _RETRY_US)

    async def _fill(self) -> None:
        self._filling = True
        try:
            timers = await self._store.due_timers(after=self._last, limit=limits.TIMER_WINDOW)
        finally:
            self._filling = False
        self._last = timers[-1] if len(timers) == limits.TIMER_WINDOW else None
        for timer in timers:
            self._alarms.set((timer.run_id, timer.kind, timer.seq), timer.due_at_us)
        if self._last is not None:
            self._window.set("window", self._last.due_at_us)
