"""Owns the codecs of the command line: PERDURE_CODECS names those that clients and workers use."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from importlib import import_module
from typing import Final

import typer
from google.protobuf.message import Message

from perdure._transport import Transport
from perdure.codec import Codec, Codecs

CODECS_VARIABLE: Final = "PERDURE_CODECS"


def with_codecs(transport: Transport) -> Transport:
    """Returns the transport with the codecs of PERDURE_CODECS before it; itself without.

    The variable is `module:name`; what has the name is a list of codecs. BadParameter when there
    is no such list.
    """
    named = os.environ.get(CODECS_VARIABLE, "")
    return CodedTransport(transport, Codecs(_load(named))) if named else transport


class CodedTransport:
    """A transport whose callers see values as they were before the codecs."""

    def __init__(self, transport: Transport, codecs: Codecs) -> None:
        self._transport = transport
        self._codecs = codecs

    async def open(self) -> None:
        """Makes ready to call."""
        await self._transport.open()

    async def call(
        self, method: str, request: Message, *, timeout_s: float | None = None
    ) -> Message:
        """Sends one request and returns the answer. Raises an `RpcError`, PayloadError."""
        encoded = await self._codecs.encoded(request)
        answer = await self._transport.call(method, encoded, timeout_s=timeout_s)
        await self._codecs.decode(answer)
        return answer

    async def stream(
        self, method: str, requests: AsyncIterator[Message]
    ) -> AsyncGenerator[Message, None]:
        """Sends requests, without payloads, and yields answers."""
        async with aclosing(self._transport.stream(method, requests)) as answers:
            async for answer in answers:
                await self._codecs.decode(answer)
                yield answer

    async def close(self) -> None:
        """Lets go of the server."""
        await self._transport.close()


def _load(named: str) -> list[Codec]:
    module, _, name = named.partition(":")
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        codecs = getattr(import_module(module), name)
    except Exception as error:
        raise typer.BadParameter(f"{CODECS_VARIABLE}={named} names no codecs: {error}") from error
    if not isinstance(codecs, list | tuple) or not all(isinstance(one, Codec) for one in codecs):
        raise typer.BadParameter(f"{CODECS_VARIABLE}={named} is not a list of codecs")
    return list(codecs)
