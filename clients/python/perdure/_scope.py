"""Owns the cancellation scope: a block of code that can be cancelled by itself."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Any, Self


class CancelScope:
    """A block that others may cancel: `async with workflow.scope() as scope: ...`.

    `scope.cancel()` cancels what the block awaits; the code goes on after the block. A cancellation
    that comes from outside of it goes through as ever. For a bound in time there is
    `asyncio.timeout`, for the opposite `asyncio.shield`.

    Attributes:
        cancelled: Whether it was asked to end.
    """

    def __init__(self) -> None:
        self.cancelled = False
        self._task: asyncio.Task[Any] | None = None
        self._cancelled_before = 0

    def cancel(self) -> None:
        """Cancels the block; nothing when it has ended, at once when it has yet to begin."""
        first, self.cancelled = not self.cancelled, True
        if self._task is not None and first:
            self._task.cancel()

    async def __aenter__(self) -> Self:
        task = asyncio.current_task()
        assert task is not None
        self._task, self._cancelled_before = task, task.cancelling()
        if self.cancelled:
            task.cancel()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        task, self._task = self._task, None
        assert task is not None
        if not self.cancelled:
            return False
        if kind is None:
            await _take_pending_cancellation()
        by_others = task.uncancel() > self._cancelled_before
        return not by_others and (kind is None or issubclass(kind, asyncio.CancelledError))


async def _take_pending_cancellation() -> None:
    """Meets here the cancellation that a block without a further await did not meet."""
    try:
        await asyncio.sleep(0)
    except asyncio.CancelledError:
        return
