"""Owns the connections that read, beside the writer and never in its way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final, TypeVar

from perdure_server.store.postgres.connection import (
    FAULTS,
    LOST,
    PASSING,
    Database,
    Link,
    Row,
    Session,
    until_alone,
)

T = TypeVar("T")

_READERS: Final = 3
"""Enough that a long read does not hold up the short ones; each is a process of the database."""


class Readers:
    """A few connections to one database. Errors of the database are raised as StoreUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._idle: asyncio.LifoQueue[Link] = asyncio.LifoQueue()
        for _ in range(_READERS):
            self._idle.put_nowait(Link(database))

    async def close(self) -> None:
        """Waits for the reads that were asked for, then closes the connections."""
        for link in [await self._idle.get() for _ in range(_READERS)]:
            await link.close()

    async def rows(self, text: str, *parameters: object) -> list[Row]:
        """Returns the rows of one statement, which is a snapshot by itself."""
        return await self.run(lambda session: session.rows_of(text, *parameters))

    async def run(self, function: Callable[[Session], Awaitable[T]]) -> T:
        """Runs something on a connection that nobody else uses, again after faults that pass."""

        async def attempt() -> T:
            async with self._borrowed() as session:
                return await function(session)

        try:
            return await until_alone(attempt)
        except PASSING as fault:
            raise self._database.unavailable(fault) from fault

    @asynccontextmanager
    async def _borrowed(self) -> AsyncIterator[Session]:
        link = await self._idle.get()
        try:
            yield await link.session()
        except PASSING:
            raise
        except FAULTS as fault:
            if isinstance(fault, LOST):
                link.drop()
            raise self._database.unavailable(fault) from fault
        except asyncio.CancelledError:
            # A cancelled query may leave the connection in the middle of something.
            link.drop()
            raise
        finally:
            self._idle.put_nowait(link)
