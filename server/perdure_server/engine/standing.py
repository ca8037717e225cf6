"""Owns whether this server can serve at all, and who is to hear when that changes."""

from __future__ import annotations

import asyncio


class Standing:
    """How a server stands to its database: it reaches it, is cut off, or may never use it again.

    One whose database is its own always reaches it.
    """

    def __init__(self) -> None:
        self.has_others = False
        """Whether other servers lived when the database was last heard: callers may go to them."""
        self._lost = asyncio.Event()
        self._reached = asyncio.Event()
        self._reached.set()
        self._over = asyncio.Event()
        self._error: Exception = RuntimeError("this server may go on")

    def reached(self) -> None:
        """Notes that the database answers."""
        self._lost.clear()
        self._reached.set()

    def lost(self) -> None:
        """Notes that the database does not answer."""
        self._reached.clear()
        self._lost.set()

    def end(self, error: Exception) -> None:
        """Notes why this server may never use the database again."""
        self._error = error
        self.lost()
        self._over.set()

    async def until_lost(self) -> None:
        """Returns when the database does not answer."""
        await self._lost.wait()

    async def until_reached(self) -> None:
        """Returns when the database answers."""
        await self._reached.wait()

    async def until_over(self) -> None:
        """Raises what `end` was told, once it was; never returns."""
        await self._over.wait()
        raise self._error
