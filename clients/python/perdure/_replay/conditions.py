"""Owns the conditions that workflow code waits for: looked at whenever the code has blocked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeAlias

Predicate: TypeAlias = Callable[[], Any]


class Conditions:
    """What code waits to become true, in the order in which it began to wait."""

    def __init__(self) -> None:
        self._waiting: dict[asyncio.Future[None], Predicate] = {}

    async def wait(self, predicate: Predicate) -> None:
        """Waits until the predicate holds; raises what it raises.

        It is asked once more right before the code goes on: of two that wait for one thing, the
        second finds what the first has left.
        """
        loop = asyncio.get_running_loop()
        while not predicate():
            waiter = loop.create_future()
            self._waiting[waiter] = predicate
            try:
                await waiter
            finally:
                self._waiting.pop(waiter, None)

    def wake(self) -> bool:
        """Wakes those whose predicate holds now; tells whether there was one."""
        woken = [waiter for waiter, predicate in self._waiting.items() if _holds(predicate)]
        for waiter in woken:
            del self._waiting[waiter]
            waiter.set_result(None)
        return bool(woken)


def _holds(predicate: Predicate) -> bool:
    try:
        return bool(predicate())
    except Exception:  # noqa: BLE001 -- it is raised again where the code waits
        return True
