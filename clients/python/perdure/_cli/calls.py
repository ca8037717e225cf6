"""Owns how a command reaches the server: one connection for one command."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from google.protobuf.message import Message

from perdure._cli.codecs import with_codecs
from perdure._transport import GrpcTransport, Transport

T = TypeVar("T")
ResponseT = TypeVar("ResponseT", bound=Message)

CALL_SECONDS = 30.0
"""A call that is not a wait is answered long before."""


def ask(
    address: str, method: str, request: Message, answer: type[ResponseT], *, api_key: str
) -> ResponseT:
    """Makes one call and returns its answer. Raises an `RpcError`."""

    async def call(transport: Transport) -> ResponseT:
        return await call_once(transport, method, request, answer)

    return talk(address, call, api_key=api_key)


def talk(address: str, conversation: Callable[[Transport], Awaitable[T]], *, api_key: str) -> T:
    """Runs a conversation over one connection and returns its outcome. Raises an `RpcError`."""

    async def connect() -> T:
        async with _connection(address, api_key) as transport:
            return await conversation(transport)

    return asyncio.run(connect())


async def call_once(
    transport: Transport,
    method: str,
    request: Message,
    answer: type[ResponseT],
    *,
    timeout_s: float = CALL_SECONDS,
) -> ResponseT:
    """Makes one call on a connection; `answer` is the type of the method's answer."""
    response = await transport.call(method, request, timeout_s=timeout_s)
    assert isinstance(response, answer)
    return response


@asynccontextmanager
async def _connection(address: str, api_key: str) -> AsyncIterator[Transport]:
    transport = with_codecs(GrpcTransport(address, api_key=api_key))
    try:
        yield transport
    finally:
        await transport.close()
