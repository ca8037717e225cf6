"""Owns how a stream of answers becomes server-sent events.

One event is `id:`, `event:` and `data:` with a blank line after them; what begins with a colon is a
comment, which readers skip. Headers leave with the first message, never before: until then a
refusal can still be a status.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any, Final

from perdure_server.rest.envelope import http_body
from perdure_server.rest.statuses import Refusal

EVENT_STREAM: Final = "text/event-stream"
HEADERS: Final = (("cache-control", "no-cache"),)
OPENING: Final = b": connected\n\n"
PING: Final = b": ping\n\n"
NO_IDS: Final = frozenset(("", "0"))
"""What stands where there is no id: numbers of batches begin at 1."""
ENDING: Final = b": the server ends this stream; connect again\n\n"
SHUTTING_DOWN: Final = "SHUTTING_DOWN"


def event(event_id: str, kind: str, data: bytes) -> bytes:
    """Returns one event; without a kind it only moves the place to resume from."""
    place = b"" if event_id in NO_IDS else f"id: {event_id}\n".encode()
    if not kind:
        return place + b"\n" if place else b""
    return b"%bevent: %b\ndata: %b\n\n" % (place, kind.encode(), data)


def last_words(refusal: Refusal) -> bytes:
    """Returns what ends a stream that had begun.

    A server that stops is no error to its readers: they connect again and resume.
    """
    if refusal.reason == SHUTTING_DOWN:
        return ENDING
    return event("", "error", refusal.body())


class EventStream:
    """Writes to one reader, one message at a time: a slow reader holds back who writes."""

    def __init__(self, context: Any) -> None:
        self._context = context
        self._writing = asyncio.Lock()
        self.opened = False
        """Whether the reader was told that this is a stream of events."""

    async def send(self, frame: bytes) -> None:
        """Returns when the transport has taken the frame; empty frames only open the stream.

        Raises CancelledError also when the reader has left.
        """
        async with self._writing:
            try:
                if not self.opened:
                    self.opened = True
                    await self._context.send_initial_metadata(HEADERS)
                    frame = OPENING + frame
                if frame:
                    await self._context.write(http_body(EVENT_STREAM, frame))
            except Exception as error:
                # Only a reader that has left cannot be written to; gRPC is about to say so.
                raise asyncio.CancelledError from error

    @contextlib.asynccontextmanager
    async def kept_alive(self, ping_seconds: float) -> AsyncIterator[None]:
        """Sends pings while the block runs, which must not raise but for being cancelled."""
        async with asyncio.TaskGroup() as tasks:
            pings = tasks.create_task(self._ping(ping_seconds))
            yield
            pings.cancel()

    async def _ping(self, ping_seconds: float) -> None:
        while True:
            await asyncio.sleep(ping_seconds)
            # gRPC takes nothing after a message whose writer was cancelled, not even the end of the
            # call, so a ping is written to its end although the stream has no more need of it.
            writing = asyncio.ensure_future(self.send(PING))
            try:
                await asyncio.shield(writing)
            finally:
                await writing
