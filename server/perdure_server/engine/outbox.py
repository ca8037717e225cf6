"""Owns what waits to be written to one worker stream.

Everything that is ready leaves in one message.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from itertools import count

from perdure_server.core import limits


class Outbox:
    """Encoded parts of a message, joined when the stream is ready to write.

    It is bounded by what causes parts: tasks by slots, and everything else by what is read from the
    other side, which waits for `room`.

    `number` makes the number of the next batch; then every message is a batch. Without it those
    with a task are, from 1.
    """

    def __init__(self, number: Callable[[], int] | None = None) -> None:
        self._parts: deque[tuple[bytes, Callable[[int], None] | None]] = deque()
        self._ready = asyncio.Event()
        self._error: Exception | None = None
        self._ended = False
        self._numbers = count(1)
        self._number = number
        self._bytes = 0
        self._room = asyncio.Event()
        self._room.set()

    def put(self, part: bytes, sent: Callable[[int], None] | None = None) -> None:
        """Adds an encoded field.

        `sent` is given for tasks: it is called with the batch that carries the part.
        """
        self._parts.append((part, sent))
        self._bytes += len(part)
        if self._bytes > limits.OUTBOX_BYTES_MAX:
            self._room.clear()
        self._ready.set()

    async def room(self) -> None:
        """Waits until the other side has read so much that more may be caused."""
        await self._room.wait()

    def end(self, error: Exception | None = None) -> None:
        """Ends the stream after what is waiting, with `error` at once if one is given."""
        self._ended = True
        self._error = error
        self._ready.set()

    async def next(self) -> tuple[bytes, int] | None:
        """Waits for parts and returns them joined.

        With the number of the batch if there is a task among them, else 0.

        Returns None when the stream has ended. Raises the error it was ended with.
        """
        while not self._parts:
            if self._error is not None:
                raise self._error
            if self._ended:
                return None
            self._ready.clear()
            await self._ready.wait()
        return self._take()

    def _take(self) -> tuple[bytes, int]:
        taken: list[bytes] = []
        callbacks: list[Callable[[int], None]] = []
        size = 0
        while self._parts and (
            not taken or size + len(self._parts[0][0]) <= limits.OUTGOING_BATCH_BYTES_MAX
        ):
            part, sent = self._parts.popleft()
            taken.append(part)
            size += len(part)
            if sent is not None:
                callbacks.append(sent)
        self._bytes -= size
        if self._bytes <= limits.OUTBOX_BYTES_MAX:
            self._room.set()
        batch = 0
        if self._number is not None:
            batch = self._number()
        elif callbacks:
            batch = next(self._numbers)
        for sent in callbacks:
            sent(batch)
        return b"".join(taken), batch
