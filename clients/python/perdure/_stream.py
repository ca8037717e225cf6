"""Owns a conversation: a stream to the server that is kept, watched and opened again.

Both sides say something at least every 2 seconds and give the other up after 8 seconds of silence.
What is said is the affair of the `Party`; it must be able to say again, on the next stream,
whatever was not answered.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Final, Generic, NoReturn, Protocol, TypeVar, cast

from google.protobuf.message import Message

from perdure._transport import Transport
from perdure.errors import RpcError, from_reason

SILENCE_S: Final = 8.0
BATCH_BYTES_MAX: Final = 4 * 1024 * 1024
"""What one message carries, unless a single item is larger."""

_TICK_S: Final = 1.0
_TICKS_PER_PING: Final = 2
_STALL_S: Final = 3.0
"""A tick this late means that the process was stopped: what was sent meanwhile is still unread."""
_BACKOFF_FIRST_S: Final = 0.05
_BACKOFF_MAX_S: Final = 2.0

_log = logging.getLogger("perdure")

RequestT = TypeVar("RequestT", bound=Message)
ResponseT = TypeVar("ResponseT", bound=Message)
RequestT_co = TypeVar("RequestT_co", bound=Message, covariant=True)
ResponseT_contra = TypeVar("ResponseT_contra", bound=Message, contravariant=True)


class Party(Protocol[RequestT_co, ResponseT_contra]):
    """What one side of a conversation has to say. Called on the home loop only; must not block."""

    def opening(self, ping: int) -> RequestT_co:
        """Returns the first message of a new stream; whatever was not answered is due again."""
        ...

    def next_request(self, ping: int) -> RequestT_co | None:
        """Returns all that is due, with the ping unless it is 0; None when nothing is."""
        ...

    def received(self, response: ResponseT_contra) -> None:
        """Takes a message of the server."""
        ...

    def broken(self, error: RpcError, down_s: float) -> None:
        """Learns that the stream broke, and for how long the server has not been heard.

        Raises the error when the conversation should end with it.
        """
        ...


class Conversation(Generic[RequestT, ResponseT]):
    """Keeps one stream open for as long as `run` runs."""

    def __init__(
        self, transport: Transport, method: str, party: Party[RequestT, ResponseT]
    ) -> None:
        self._transport = transport
        self._method = method
        self._party = party
        self._loop = asyncio.get_running_loop()
        self._wake = asyncio.Event()
        self._leaving = False
        self._pings = 0
        self._ping_due = False
        self._heard_at = self._patient_since = self._ticked_at = 0.0
        self._backoff_s = _BACKOFF_FIRST_S

    def wake(self) -> None:
        """Says that the party has something to say."""
        self._wake.set()

    def ping(self) -> None:
        """Wakes the party with a ping, so that it learns when the server has read what it says."""
        self._ping_due = True
        self._wake.set()

    def reconnect(self) -> None:
        """Leaves the stream after the present message and opens another one."""
        self._leaving = True

    async def run(self) -> NoReturn:
        """Converses until cancelled, over as many streams as it takes.

        Raises an `RpcError` when the party does not want to go on after it.
        """
        self._heard_at = self._loop.time()
        while True:
            try:
                await self._converse()
                error = from_reason("", "the stream ended", "UNAVAILABLE")
            except RpcError as caught:
                error = caught
            except TimeoutError:
                error = from_reason("", f"no word for {SILENCE_S:g} s", "UNAVAILABLE")
            except Exception:  # noqa: BLE001  # one bad message must not end the worker
                _log.exception("a message of %s could not be handled", self._method)
                error = from_reason("", "a message could not be handled", "INTERNAL")
            _log.debug("%s broke: %s", self._method, error)
            self._party.broken(error, self._loop.time() - self._heard_at)
            await asyncio.sleep(self._next_backoff())

    async def _converse(self) -> None:
        # A writer of an earlier stream keeps the earlier event and so cannot take what is due here.
        self._wake = asyncio.Event()
        self._leaving = False
        self._patient_since = self._ticked_at = self._loop.time()
        requests = self._requests(self._wake)
        async with asyncio.timeout(None) as patience:
            ticks = self._loop.create_task(self._tick(patience))
            try:
                async with aclosing(self._transport.stream(self._method, requests)) as responses:
                    async for response in responses:
                        self._heard_at = self._patient_since = self._loop.time()
                        self._backoff_s = _BACKOFF_FIRST_S
                        self._party.received(cast("ResponseT", response))
                        if self._leaving:
                            return
            finally:
                ticks.cancel()

    async def _requests(self, wake: asyncio.Event) -> AsyncIterator[Message]:
        self._pings += 1
        yield self._party.opening(self._pings)
        while True:
            await wake.wait()
            wake.clear()
            request = self._party.next_request(self._take_ping())
            if request is not None:
                yield request

    def _take_ping(self) -> int:
        if not self._ping_due:
            return 0
        self._ping_due = False
        self._pings += 1
        return self._pings

    async def _tick(self, patience: asyncio.Timeout) -> None:
        """Pings, and ends the stream when the server is silent."""
        while True:
            for _ in range(_TICKS_PER_PING):
                await asyncio.sleep(_TICK_S)
                now = self._loop.time()
                if now - self._ticked_at > _STALL_S:
                    self._patient_since = now
                self._ticked_at = now
                if now - self._patient_since > SILENCE_S:
                    patience.reschedule(now)
                    return
            self.ping()

    def _next_backoff(self) -> float:
        delay = self._backoff_s
        self._backoff_s = min(2 * delay, _BACKOFF_MAX_S)
        return delay * random.uniform(0.5, 1.0)  # noqa: S311  # jitter is no secret
