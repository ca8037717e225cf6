"""Owns the way to the store: changesets that become ready together leave together."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable

from perdure_server.core import limits
from perdure_server.core.changeset import Changeset
from perdure_server.core.errors import StoreBusy, StoreError
from perdure_server.store.contract import Committed, Store

_log = logging.getLogger(__name__)

Outcome = Committed | Exception
Done = Callable[[Outcome], None]


class Committer:
    """Hands changesets to the store in groups and tells each its outcome.

    `doubt` hears of those that the store may have committed although it did not say so.
    """

    def __init__(self, store: Store, doubt: Callable[[Changeset], None]) -> None:
        self._store = store
        self._doubt = doubt
        self._queue: deque[tuple[Changeset, Done]] = deque()
        self._ready = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits for the store."""
        return self._idle.is_set()

    def submit(self, changeset: Changeset, done: Done) -> None:
        """Commits a changeset with the next group; calls `done` in the order of the commits."""
        if len(self._queue) >= limits.COMMIT_QUEUE_MAX:
            busy = StoreBusy("too many changes wait for the store; try again")
            asyncio.get_running_loop().call_soon(done, busy)
            return
        self._queue.append((changeset, done))
        self._idle.clear()
        self._ready.set()

    async def flush(self) -> None:
        """Waits until everything submitted so far has its outcome."""
        await self._idle.wait()

    async def run(self) -> None:
        """Commits groups until it is cancelled."""
        while True:
            await self._ready.wait()
            self._ready.clear()
            while self._queue:
                count = min(len(self._queue), limits.COMMIT_GROUP_MAX)
                await self._commit([self._queue.popleft() for _ in range(count)])
            self._idle.set()

    async def _commit(self, group: list[tuple[Changeset, Done]]) -> None:
        outcomes: list[Committed | Exception]
        try:
            outcomes = await self._store.commit([changeset for changeset, _ in group])
        except Exception as error:  # noqa: BLE001 - the store answers outcomes; anything else hits the whole group
            outcomes = [error] * len(group)
        for (changeset, done), outcome in zip(group, outcomes, strict=True):
            try:
                if isinstance(outcome, StoreError):
                    self._doubt(changeset)
                done(outcome)
            except Exception:  # noqa: BLE001 - what follows one commit must not stop all that come after
                _log.exception("what follows a commit failed")
