"""Owns the deletion of runs that closed too long ago, as their namespace says.

Servers that share a database take turns: a namespace is claimed for a while, by the one that is
first. Between two small steps commits go on.
"""

from __future__ import annotations

import asyncio
import logging

from perdure_server.core import limits
from perdure_server.core.errors import StoreError
from perdure_server.core.model import Namespace
from perdure_server.engine.background import Background
from perdure_server.engine.ports import Alarm, Clock
from perdure_server.engine.runs import Runs
from perdure_server.store.contract import Store

_log = logging.getLogger(__name__)


class Retention:
    """Looks now and then for a namespace to be swept; `start` and `close` once."""

    def __init__(self, store: Store, runs: Runs, *, clock: Clock, background: Background) -> None:
        self._store = store
        self._runs = runs
        self._clock = clock
        self._background = background
        self._alarm: Alarm | None = None
        self._limit = limits.DELETE_RUNS_MAX
        """How many runs go in the next step."""

    def start(self) -> None:
        """Looks for the first time after a while."""
        due_us = self._clock.now_us() + limits.RETENTION_INTERVAL_US
        self._alarm = self._clock.call_at(due_us, self._ring)

    def close(self) -> None:
        """Looks no more; a step that is under way ends."""
        if self._alarm is not None:
            self._alarm.cancel()

    def _ring(self) -> None:
        self._background.spawn(self._sweep(), "delete old runs")

    async def _sweep(self) -> None:
        """Sweeps whatever is to be swept, one namespace after another; then looks again later."""
        try:
            while (namespace := await self._claim()) is not None:
                await self._sweep_one(namespace)
        except StoreError as error:
            _log.warning("old runs could not be deleted, again soon: %s", error)
        except Exception:  # noqa: BLE001 - else nothing would be deleted until a restart
            _log.exception("old runs could not be deleted, again later")
        self.start()

    async def _claim(self) -> Namespace | None:
        now_us = self._clock.now_us()
        until_us = now_us + limits.RETENTION_INTERVAL_US
        return await self._store.claim_sweep(now_us=now_us, until_us=until_us)

    async def _sweep_one(self, namespace: Namespace) -> None:
        """Deletes step by step, as long as the claim stands: others may be waiting then."""
        assert namespace.retention_us is not None
        forgotten_us = self._clock.monotonic_us()
        try:
            while self._clock.now_us() < namespace.sweep_at_us:
                began_us = self._clock.monotonic_us()
                deleted = await self._store.delete_closed_runs(
                    namespace.name,
                    before_us=self._clock.now_us() - namespace.retention_us,
                    limit=self._limit,
                    max_events=limits.DELETE_EVENTS_MAX,
                    max_bytes=limits.DELETE_BYTES_MAX,
                )
                if not deleted:
                    return
                ended_us = self._clock.monotonic_us()
                self._limit = _next_limit(self._limit, ended_us - began_us)
                if ended_us - forgotten_us >= limits.RETENTION_FORGET_US:
                    self._runs.forget_closed(namespace.name)
                    forgotten_us = ended_us
                await self._pause()
        finally:
            self._runs.forget_closed(namespace.name)

    async def _pause(self) -> None:
        over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def end() -> None:
            if not over.done():
                over.set_result(None)

        alarm = self._clock.call_at(self._clock.now_us() + limits.RETENTION_PAUSE_US, end)
        try:
            await over
        finally:
            alarm.cancel()


def _next_limit(limit: int, took_us: int) -> int:
    """Returns how many runs may go in a step after one that took so long."""
    if took_us > limits.RETENTION_STEP_US:
        return max(limit // 2, limits.RETENTION_RUNS_MIN)
    if took_us < limits.RETENTION_STEP_US // 2:
        return min(2 * limit, limits.DELETE_RUNS_MAX)
    return limit
