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
from perdure_server.store.contract import Position, Store

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
        except DomainError as error:
            _log.warning("events could not be read for watchers, trying again: %s", error)
            return at
        for event in page:
            self._hub.offer(event)
        if len(page) == _PAGE:
            self.wake()
        return page[-1].position if page else at

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
