"""Owns the transport to an engine in the application's own process, without sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, aclosing
from typing import Any, Protocol

from google.protobuf.message import Message
from google.rpc.status_pb2 import Status

from perdure._transport import error_from_status
from perdure.errors import PerdureError, RpcError


class Server(Protocol):
    """What is embedded. Whatever it raises can be described as a status."""

    async def call(self, method: str, request: Message) -> Message:
        """Returns the answer to one request."""
        ...

    def stream(
        self, method: str, requests: AsyncIterator[Message]
    ) -> AsyncGenerator[Message, None]:
        """Yields the answers to a stream of requests."""
        ...


class EmbeddedTransport:
    """A server that lives as long as the transport, on the home loop."""

    def __init__(
        self,
        open_server: Callable[[], AbstractAsyncContextManager[Server]],
        to_status: Callable[[Any], Status],
    ) -> None:
        self._open_server = open_server
        self._to_status = to_status
        self._server: Server | None = None
        self._closing = asyncio.Event()
        self._life: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Starts the server. Raises a `PerdureError` that says why it cannot be started."""
        started: asyncio.Future[Server] = asyncio.get_running_loop().create_future()
        self._life = asyncio.create_task(self._live(started))
        try:
            self._server = await started
        except Exception as error:
            raise PerdureError(f"the embedded engine cannot start: {error}") from error

    async def call(
        self, method: str, request: Message, *, timeout_s: float | None = None
    ) -> Message:
        """Returns the answer to one request. Raises an `RpcError`."""
        try:
            async with asyncio.timeout(timeout_s):
                return await self._running().call(method, request)
        except Exception as error:
            raise self._translate(error) from error

    async def stream(
        self, method: str, requests: AsyncIterator[Message]
    ) -> AsyncGenerator[Message, None]:
        """Yields the answers to a stream of requests. Raises an `RpcError`."""
        try:
            async with aclosing(self._running().stream(method, requests)) as answers:
                async for answer in answers:
                    yield answer
        except Exception as error:
            raise self._translate(error) from error

    async def close(self) -> None:
        """Stops the server."""
        self._closing.set()
        if self._life is not None:
            await self._life

    async def _live(self, started: asyncio.Future[Server]) -> None:
        # One task opens and closes the server: what it opens inside may not be closed by another.
        try:
            async with self._open_server() as server:
                started.set_result(server)
                await self._closing.wait()
        except Exception as error:
            if started.done():
                raise
            started.set_exception(error)

    def _running(self) -> Server:
        if self._server is None:
            raise PerdureError("the embedded engine is not open")
        return self._server

    def _translate(self, error: Exception) -> Exception:
        return error if isinstance(error, PerdureError) else self._refusal(error)

    def _refusal(self, error: Exception) -> RpcError:
        return error_from_status(self._to_status(error))
