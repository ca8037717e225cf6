"""Owns the engine's background tasks: none outlives it, none fails in silence."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

_log = logging.getLogger(__name__)


class Background:
    """A set of tasks that ends as a whole."""

    def __init__(self) -> None:
        self._tasks: dict[asyncio.Task[None], None] = {}
        self._closed = False

    @property
    def count(self) -> int:
        """How many tasks run."""
        return len(self._tasks)

    def spawn(self, job: Coroutine[Any, Any, None], name: str) -> None:
        """Runs a coroutine until it ends or the set is closed; an exception is logged."""
        if self._closed:
            job.close()
            return
        task = asyncio.get_running_loop().create_task(job, name=name)
        self._tasks[task] = None
        task.add_done_callback(self._forget)

    async def close(self) -> None:
        """Cancels every task and waits until all have ended."""
        self._closed = True
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _forget(self, task: asyncio.Task[None]) -> None:
        self._tasks.pop(task, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("background task %s failed", task.get_name(), exc_info=error)
