"""Owns the instants at which the engine wakes itself.

One heap, woken at the exact next due time, never by a tick.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from perdure_server.engine.ports import Alarm, Clock

K = TypeVar("K", bound=Hashable)

_SLACK = 1024
"""Dead heap entries tolerated before the heap is rebuilt."""
_BATCH_MAX = 512
"""Alarms that ring before the loop gets a turn, so that a herd of timers delays nobody for long."""


class Alarms(Generic[K]):
    """Calls `ring(key, due_us)` for each key once its instant has come.

    Setting a key again moves its instant.
    """

    def __init__(self, clock: Clock, ring: Callable[[K, int], None]) -> None:
        self._clock = clock
        self._ring = ring
        self._due: dict[K, int] = {}
        self._heap: list[tuple[int, int, K]] = []
        self._count = 0
        self._alarm: Alarm | None = None
        self._alarm_us = 0
        self._closed = False

    def __len__(self) -> int:
        return len(self._due)

    def set(self, key: K, due_us: int) -> None:
        """Rings for `key` at `due_us`, and at no other instant."""
        if self._closed or self._due.get(key) == due_us:
            return
        self._due[key] = due_us
        self._count += 1
        heapq.heappush(self._heap, (due_us, self._count, key))
        if len(self._heap) > 2 * len(self._due) + _SLACK:
            self._rebuild()
        self._arm()

    def clear(self, key: K) -> None:
        """Rings no more for `key`."""
        self._due.pop(key, None)

    def next_us(self) -> int | None:
        """Returns the earliest instant that is set."""
        self._drop_dead()
        return self._heap[0][0] if self._heap else None

    def close(self) -> None:
        """Rings no more at all, also for what is set later."""
        self._closed = True
        self._due.clear()
        self._heap.clear()
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None

    def _rebuild(self) -> None:
        self._heap = [entry for entry in self._heap if self._due.get(entry[2]) == entry[0]]
        heapq.heapify(self._heap)

    def _drop_dead(self) -> None:
        while self._heap and self._due.get(self._heap[0][2]) != self._heap[0][0]:
            heapq.heappop(self._heap)

    def _arm(self) -> None:
        if not self._heap:
            return
        due_us = self._heap[0][0]
        if self._alarm is not None:
            if self._alarm_us <= due_us:
                return
            self._alarm.cancel()
        self._alarm_us = due_us
        self._alarm = self._clock.call_at(due_us, self._wake)

    def _wake(self) -> None:
        self._alarm = None
        now_us = self._clock.now_us()
        try:
            for _ in range(_BATCH_MAX):
                self._drop_dead()
                if not self._heap or self._heap[0][0] > now_us:
                    break
                due_us, _, key = heapq.heappop(self._heap)
                del self._due[key]
                self._ring(key, due_us)
        finally:
            # Also when one of them failed: the others must ring.
            self._drop_dead()
            self._arm()
