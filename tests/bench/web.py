"""A small HTTP/1.1 client for the bench: one connection, one call at a time, nothing to wait for.

The load generator shares the cores with what it measures, so it does no more than it must.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

_LIMIT = 16 * 1024 * 1024


@dataclass(slots=True, frozen=True)
class Reply:
    """One answer."""

    status: int
    body: bytes


class Connection:
    """A connection that is kept."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def call(self, method: str, path: str, body: bytes = b"") -> Reply:
        """Makes one call and returns its answer."""
        self._send(method, path, body)
        status, headers = await self._head()
        if headers.get(b"transfer-encoding") == b"chunked":
            return Reply(status, b"".join([chunk async for chunk in self._chunks()]))
        return Reply(status, await self._reader.readexactly(int(headers[b"content-length"])))

    async def stream(self, path: str) -> AsyncIterator[bytes]:
        """Yields the chunks of a stream as they come."""
        self._send("GET", path, b"")
        status, _ = await self._head()
        if status != 200:
            raise RuntimeError(f"{path} answered {status}")
        async for chunk in self._chunks():
            yield chunk

    def _send(self, method: str, path: str, body: bytes) -> None:
        head = f"{method} {path} HTTP/1.1\r\nhost: bench\r\ncontent-length: {len(body)}\r\n\r\n"
        self._writer.write(head.encode() + body)

    async def _head(self) -> tuple[int, dict[bytes, bytes]]:
        head = await self._reader.readuntil(b"\r\n\r\n")
        first, *lines = head[:-4].split(b"\r\n")
        headers = dict(line.split(b": ", 1) for line in lines)
        return int(first.split(b" ", 2)[1]), headers

    async def _chunks(self) -> AsyncIterator[bytes]:
        while size := int(await self._reader.readuntil(b"\r\n"), 16):
            yield (await self._reader.readexactly(size + 2))[:-2]
        await self._reader.readuntil(b"\r\n")


@asynccontextmanager
async def connected(address: str) -> AsyncIterator[Connection]:
    """Connects to HOST:PORT."""
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port), limit=_LIMIT)
    try:
        yield Connection(reader, writer)
    finally:
        writer.close()
