"""Owns the turns at runs that several servers want to change at once.

A turn is a lock that the database gives in the order of asking and takes back when the connection
ends. Nothing depends on it: who does not ask is not held up, and versions decide.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from perdure_server.store.postgres.connection import FAULTS, Database, Link
from perdure_server.store.postgres.hints import Ears, wanted

_TURNS: Final = 4
"""How many runs a server is alone with, or waits for, at a time; each is a connection."""


class Turns:
    """A few connections that wait for locks."""

    def __init__(self, database: Database, ears: Ears) -> None:
        self._database = database
        self._ears = ears
        self._links = [Link(database) for _ in range(_TURNS)]
        self._idle: asyncio.LifoQueue[Link] = asyncio.LifoQueue()
        for link in self._links:
            self._idle.put_nowait(link)

    async def close(self) -> None:
        """Ends every turn at once."""
        for link in self._links:
            link.drop()

    @asynccontextmanager
    async def alone_with(self, run_id: str) -> AsyncIterator[None]:
        """Lets no other server into its own such block for the run.

        Raises StoreUnavailable when the turn does not come.
        """
        link = await self._idle.get()
        try:
            await self._begin(link, run_id)
            yield
        finally:
            await self._end(link)
            self._idle.put_nowait(link)

    async def _begin(self, link: Link, run_id: str) -> None:
        session = await link.session()
        try:
            await self._ears.tell(session, wanted(run_id))
            await session.rows("begin_together")
            await session.rows("alone", self._database.schema, run_id)
        except FAULTS as fault:
            link.drop()
            raise self._database.unavailable(fault) from fault
        except BaseException:
            link.drop()
            raise

    @staticmethod
    async def _end(link: Link) -> None:
        """Gives the lock back; a connection that cannot do so gives it back by ending."""
        if not link.is_open:
            return
        try:
            await (await link.session()).script("COMMIT")
        except BaseException as fault:
            link.drop()
            if not isinstance(fault, FAULTS):
                raise
