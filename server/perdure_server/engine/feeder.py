"""Owns the live end of watches where several servers commit.

No server knows the order of all commits, so what is published is read from the store, which does.
"""

from __future__ import annotations

import asyncio
import logging

from perdure_server.core.errors import DomainError
from perdure_server.core.limits import MILLISECOND_US
from perdure_server.engine.background import Background
from perdure_server.engine.hub import Hub
from perdure_server.engine.ports import Clock
from perdure_server.store.contract import Position, Store, WatchedEvent

_log = logging.getLogger(__name__)

_PAGE = 500
_AGAIN_FIRST_US = 5 * MILLISECOND_US
_AGAIN_MAX_US = 640 * MILLISECOND_US
"""A commit stays hidden while an older one is under way, so reading is tried again, ever later."""


class Feeder:
    """Publishes what is committed, in order, while anybody watches."""

    def __init__(self, store: Store, hub: Hub, *, clock: Clock, background: Background) -> None:
        self._store = store
        self._hub = hub
        self._clock = clock
        self._background = background
        self._at: Position | None = None
        self._due = asyncio.Event()
        self._woken = False
        self._beginning = asyncio.Lock()

    async def follow(self) -> None:
        """Returns when everything that is committed from now on is published.

        To be called by who has subscribed. Raises StoreUnavailable.
        """
        async with self._beginning:
            if self._at is None:
                self._at = await self._store.last_position()
                self._background.spawn(self._run(self._at), "feed watches")

    def wake(self) -> None:
        """Says that something was committed."""
        self._woken = True
        self._due.set()

    async def _run(self, at: Position) -> None:
        wait_us = _AGAIN_FIRST_US
        try:
            while self._hub.is_watched:
                woken, self._woken = self._woken, False
                self._due.clear()
                reached = await self._read(at)
                wait_us = _AGAIN_FIRST_US if woken or reached > at else 2 * wait_us
                at = reached
                await self._pause(wait_us)
        finally:
            self._at = None

    async def _read(self, at: Position) -> Position:
        """Publishes what stands after a position; returns the position that was reached."""
        try:
            page = await self._store.read_events(at, limit=_PAGE)
            begins = [await self._begins(*pair) for pair in zip(page, [None, *page], strict=False)]
        except DomainError as error:
            _log.warning("events could not be read for watchers, trying again: %s", error)
            return at
        for event, is_first in zip(page, begins, strict=True):
            if is_first:
                self._hub.tell_begun(event)
            self._hub.offer(event)
        if len(page) == _PAGE:
            self.wake()
        return page[-1].position if page else at

    async def _begins(self, event: WatchedEvent, last: WatchedEvent | None) -> bool:
        """Whether an event, published after `last`, is the first of when its run began.

        Later commits may be of the same instant: that of a run never goes back, though servers'
        clocks differ.
        """
        row = event.row
        if row.at_us != event.began_at_us or row.seq == 1:
            return row.at_us == event.began_at_us
        if last is not None and (last.run_id, last.row.seq) == (event.run_id, row.seq - 1):
            return last.row.at_us < row.at_us
        before = await self._store.load_history(
            event.run_id, after_seq=row.seq - 2, limit=1, max_bytes=1
        )
        return any(each.at_us < row.at_us for each in before)

    async def _pause(self, wait_us: int) -> None:
        """Waits until something is committed, or for so long when it may be hidden still."""
        if wait_us > _AGAIN_MAX_US:
            await self._due.wait()
            return
        alarm = self._clock.call_at(self._clock.now_us() + wait_us, self._due.set)
        try:
            await self._due.wait()
        finally:
            alarm.cancel()
