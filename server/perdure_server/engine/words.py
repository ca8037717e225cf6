"""Owns the last words of workers on their way to the store: all of them at once, now and then.

A heartbeat is answered before it is written. What is lost with the server is at most the last few
seconds, and silence counts anew when a server starts.
"""

from __future__ import annotations

import logging

from perdure_server.core import limits
from perdure_server.core.errors import StoreError
from perdure_server.engine.background import Background
from perdure_server.engine.ports import Alarm, Clock
from perdure_server.store.contract import Heard, Store

_log = logging.getLogger(__name__)


class Words:
    """Writes when workers were heard: at once after a while of silence, else with the others."""

    def __init__(self, store: Store, *, clock: Clock, background: Background) -> None:
        self._store = store
        self._clock = clock
        self._background = background
        self._heard: dict[str, int] = {}
        self._written_us = clock.monotonic_us() - limits.WORKER_WORDS_US
        self._alarm: Alarm | None = None

    def close(self) -> None:
        """Writes nothing more."""
        if self._alarm is not None:
            self._alarm.cancel()

    def note(self, worker_id: str, heard_at_us: int) -> None:
        """Notes when a worker was heard."""
        self._heard[worker_id] = max(heard_at_us, self._heard.get(worker_id, heard_at_us))
        if self._alarm is None:
            self._arm()

    def _arm(self) -> None:
        since_us = self._clock.monotonic_us() - self._written_us
        wait_us = max(limits.WORKER_WORDS_US - since_us, 0)
        self._alarm = self._clock.call_at(self._clock.now_us() + wait_us, self._ring)

    def _ring(self) -> None:
        self._background.spawn(self._write(), "write what was heard of workers")

    async def _write(self) -> None:
        heard, self._heard = self._heard, {}
        self._written_us = self._clock.monotonic_us()
        keep_us = limits.WORKER_FORGOTTEN_US
        try:
            await self._store.hear_workers(
                [Heard(key, at_us, at_us + keep_us) for key, at_us in sorted(heard.items())]
            )
        except StoreError as error:
            _log.warning("it could not be written that workers were heard, again soon: %s", error)
            self._heard = heard | self._heard
        finally:
            self._alarm = None
        if self._heard:
            self._arm()
