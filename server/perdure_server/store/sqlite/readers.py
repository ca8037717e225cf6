"""Owns the connections that read, beside the writer and never in its way."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import aiosqlite

from perdure_server.core.errors import StoreUnavailable
from perdure_server.store.sqlite.connection import LOCK_WAIT_SECONDS
from perdure_server.store.sqlite.rows import Row

_READERS: Final = 2
"""Enough that a long read does not hold up the short ones; each is a thread."""


@dataclass(slots=True, frozen=True)
class Reader:
    """A borrowed connection."""

    connection: aiosqlite.Connection
    queries: Mapping[str, str]

    async def rows(self, query: str, *parameters: object) -> list[Row]:
        """Returns the rows of a named query."""
        return await self.rows_of(self.queries[query], *parameters)

    async def rows_of(self, text: str, *parameters: object) -> list[Row]:
        """Returns the rows of a statement that was put together from named queries."""
        return list(await self.connection.execute_fetchall(text, parameters))


class Readers:
    """A few connections to one database. Errors of the database are raised as StoreUnavailable."""

    def __init__(self, path: Path, queries: Mapping[str, str]) -> None:
        self._path = path
        self._queries = queries
        self._open = 0
        self._idle: asyncio.LifoQueue[Reader] = asyncio.LifoQueue()

    async def open(self) -> None:
        """Opens the connections."""
        for _ in range(_READERS):
            connection = await aiosqlite.connect(
                self._path, timeout=LOCK_WAIT_SECONDS, isolation_level=None
            )
            self._open += 1
            self._idle.put_nowait(Reader(connection, self._queries))

    async def close(self) -> None:
        """Waits for the reads that were asked for, then closes the connections."""
        while self._open:
            reader = await self._idle.get()
            await reader.connection.close()
            self._open -= 1

    async def rows(self, query: str, *parameters: object) -> list[Row]:
        """Returns the rows of one query, which is a snapshot by itself."""
        async with self._borrowed() as reader:
            return await reader.rows(query, *parameters)

    async def rows_of(self, text: str, *parameters: object) -> list[Row]:
        """Returns the rows of a statement that was put together from named queries."""
        async with self._borrowed() as reader:
            return await reader.rows_of(text, *parameters)

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[Reader]:
        """Lends a connection whose queries all see the database at one point."""
        async with self._borrowed() as reader:
            try:
                await reader.rows("begin_read")
                yield reader
            finally:
                # Also after a cancellation that left the begin behind in the connection's queue.
                await reader.connection.rollback()

    @asynccontextmanager
    async def _borrowed(self) -> AsyncIterator[Reader]:
        reader = await self._idle.get()
        try:
            yield reader
        except sqlite3.Error as error:
            raise StoreUnavailable(f"the database cannot be read: {error}") from error
        finally:
            self._idle.put_nowait(reader)
