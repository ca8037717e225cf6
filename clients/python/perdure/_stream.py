"""Owns a conversation: a stream to the server that is kept, watched and opened again.

Both sides say something at least every 2 seconds and give the other up after 8 seconds of silence. What is said is
the affair of the `Party`; it must be able to say again, on the next stream, whatever was not answered.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Final, Generic, NoReturn, Protocol, TypeVar

from google.protobuf.message import Message

from perdure._transport import Transport
from perdure.errors import RpcError, from_reason

PING_INTERVAL_S: Final = 2.0
SILENCE_S: Final = 8.0
BATCH_BYTES_MAX: Final = 4 * 1024 * 1024
"""What one message carries, unless a single item is larger."""

_TICK_S: Final = 1.0
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
        """Learns that the stream broke, and for how long the server has not been heard."""
        ...


class Conversation(Generic[RequestT, ResponseT]):
    """Keeps one stream open for as long as `run` runs."""

    def __init__(
        self, transport: Transport, method: str, party: Party[RequestT, ResponseT]
    ) -> None:
        self._transport = transport
        self._method = method
        self._party = party
        self._wake = asyncio.Event()
        self._leaving = False
        self._ping = 0
        self._ping_due = False
        self._heard_at = 0.0
        self._backoff_s = _BACKOFF_FIRST_S

    def wake(self) -> None:
        """Says that the party has something to say."""
        self._wake.set()

    def reconnect(self) -> None:
        """Leaves the stream after the present message and opens another one."""
        self._leaving = True

    async def run(self) -> NoReturn:
        """Converses until cancelled, over as many streams as it takes."""
        loop = asyncio.get_running_loop()
        self._heard_at = loop.time()
        while True:
            try:
                await self._converse()
                error = from_reason("", "the stream ended", "UNAVAILABLE")
            except RpcError as caught:
                error = caught
            except TimeoutError:
                error = from_reason("", f"no word for {SILENCE_S:g} s", "UNAVAILABLE")
            except Exception:
                _log.exception("a message of %s could not be handled", self._method)
                error = from_reason("", "a message could not be handled", "INTERNAL")
            _log.debug("%s broke: %s", self._method, error)
            self._party.broken(error, loop.time() - self._heard_at)
            await asyncio.sleep(self._next_backoff())

    async def _converse(self) -> None:
        # A writer of an earlier stream keeps the earlier event and so cannot take what is due here.
        self._wake = asyncio.Event()
        self._leaving = False
        async with asyncio.timeout(None) as patience:
            ticker = _Ticker(self, patience)
            requests = self._requests(self._wake)
            try:
                async with aclosing(self._transport.stream(self._method, requests)) as responses:
                    async for response in responses:
                        ticker.heard()
                        self._party.received(response)  # type: ignore[arg-type]
                        if self._leaving:
                            return
            finally:
                ticker.stop()

    async def _requests(self, wake: asyncio.Event) -> AsyncIterator[Message]:
        self._ping += 1
        yield self._party.opening(self._ping)
        while True:
            await wake.wait()
            wake.clear()
            ping = 0
            if self._ping_due:
                self._ping_due = False
                self._ping += 1
                ping = self._ping
            request = self._party.next_request(ping)
            if request is not None:
                yield request

    def _heard(self, now: float) -> None:
        self._heard_at = now
        self._backoff_s = _BACKOFF_FIRST_S

    def _due_ping(self) -> None:
        self._ping_due = True
        self._wake.set()

    def _next_backoff(self) -> float:
        delay = self._backoff_s
        self._backoff_s = min(2 * delay, _BACKOFF_MAX_S)
        return delay * random.uniform(0.5, 1.0)  # noqa: S311  # jitter is not a secret


class _Ticker:
    """Pings, and ends a stream whose server is silent."""

    def __init__(self, conversation: Conversation[Any, Any], patience: asyncio.Timeout) -> None:
        self._conversation = conversation
        self._patience = patience
        self._loop = asyncio.get_running_loop()
        self._heard_at = self._ticked_at = self._pinged_at = self._loop.time()
        self._timer = self._loop.call_later(_TICK_S, self._tick)

    def heard(self) -> None:
        self._heard_at = self._loop.time()
        self._conversation._heard(self._heard_at)

    def stop(self) -> None:
        self._timer.cancel()

    def _tick(self) -> None:
        now = self._loop.time()
        if now - self._ticked_at > _STALL_S:
            self._heard_at = now
        self._ticked_at = now
        if now - self._heard_at > SILENCE_S:
            self._patience.reschedule(now)
            return
        if now - self._pinged_at >= PING_INTERVAL_S - _TICK_S / 2:
            self._pinged_at = now
            self._conversation._due_ping()
        self._timer = self._loop.call_later(_TICK_S, self._tick)
