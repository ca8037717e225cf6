"""Owns who may call a server that asks for API keys, on every door.

A caller sends its key as `authorization: Bearer <key>`. Every RPC is guarded but those that `OPEN`
names; while no key exists, whoever calls first may create one. A stream lives no longer than the
key that opened it. Keys reach neither a text nor the log.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import replace
from typing import Any, Final, TypeAlias

import grpc

from perdure.v1 import admin_service_pb2 as pb
from perdure_server.api.interceptors import Context, Handler, HandlerOf
from perdure_server.api.rpcs import Answer, Rpc
from perdure_server.core.admin_checks import check_create_api_key
from perdure_server.core.errors import DomainError, Unauthenticated
from perdure_server.engine.keys import Keys

OPEN: Final = frozenset(
    {"AdminService/GetHealth", "AdminService/GetVersion", "AdminService/GetOpenApi"}
)
"""What needs no key. `grpc.health.v1` needs none either; it is not made of RPCs of ours."""

EndStream: TypeAlias = Callable[[asyncio.Task[Any], DomainError], None]

_CREATE: Final = "AdminService/CreateApiKey"
_HEADER: Final = "authorization"
_SCHEME: Final = "bearer"
_HOW: Final = (
    "send a valid one as `authorization: Bearer <key>`, or set PERDURE_API_KEY for the SDK and the"
    " command line; `perdure api-key create` makes one"
)


_log = logging.getLogger(__name__)


class Authentication:
    """Guards RPCs with the keys of an engine; `end_stream` ends the stream that a task serves."""

    def __init__(self, keys: Keys, end_stream: EndStream) -> None:
        self._keys = keys
        self._end_stream = end_stream
        self._streams: dict[str, set[asyncio.Task[Any]]] = {}
        """The open streams of each key."""
        keys.on_revoked(self._revoked)
        if not keys.exist:
            _log.warning(
                "there is no API key: whoever calls first can make one; do it now with"
                " `perdure api-key create`"
            )

    def guard(self, rpc: Rpc, handler_of: HandlerOf) -> Handler:
        """Returns a handler that asks for a key before it serves the RPC."""
        name = f"{rpc.service.rpartition('.')[2]}/{rpc.name}"
        served = handler_of(rpc)
        if name in OPEN:
            return served
        if rpc.gives_stream:
            return self._guarded_stream(rpc, served)
        if name == _CREATE:
            first = handler_of(replace(rpc, behaviour=self._create_first))
            return self._guarded_call(served, first)
        return self._guarded_call(served, served)

    def _guarded_call(self, served: Any, unknown: Any) -> Handler:
        """Serves callers with a key; those without by `unknown`, but only while there is no key."""

        async def handle(request: Any, context: Context) -> Answer:
            handler = served
            try:
                self._caller(context)
            except Unauthenticated as error:
                if unknown is served or self._keys.exist:
                    # An error in place of the request is refused and logged like any other.
                    request = error
                else:
                    handler = unknown
            answer: Answer = await handler.unary_unary(request, context)
            return answer

        return grpc.unary_unary_rpc_method_handler(
            handle, served.request_deserializer, served.response_serializer
        )

    def _guarded_stream(self, rpc: Rpc, served: Any) -> Handler:
        serve = served.stream_stream if rpc.takes_stream else served.unary_stream

        async def handle(request: Any, context: Context) -> AsyncIterator[Answer]:
            prefix = ""
            try:
                prefix = self._caller(context)
            except Unauthenticated as error:
                request = error
            with self._noted(prefix):
                async with aclosing(serve(request, context)) as answers:
                    async for answer in answers:
                        yield answer

        make = (
            grpc.stream_stream_rpc_method_handler
            if rpc.takes_stream
            else grpc.unary_stream_rpc_method_handler
        )
        return make(handle, served.request_deserializer, served.response_serializer)

    def _caller(self, context: Context) -> str:
        """Returns the prefix of the caller's key. Raises Unauthenticated."""
        values = [value for key, value in context.invocation_metadata() or () if key == _HEADER]
        if not values:
            raise Unauthenticated(f"this server asks for an API key and none was sent: {_HOW}")
        scheme, _, plaintext = str(values[0]).strip().partition(" ")
        if len(values) > 1 or scheme.lower() != _SCHEME or not plaintext.strip():
            raise Unauthenticated(f"the API key was not sent as it must be: {_HOW}")
        prefix = self._keys.authenticate(plaintext.strip())
        if prefix is None:
            raise Unauthenticated(f"the API key that was sent is unknown or revoked: {_HOW}")
        return prefix

    @contextmanager
    def _noted(self, prefix: str) -> Iterator[None]:
        """Notes for its duration that the present task serves a stream of a key."""
        task = asyncio.current_task()
        assert task is not None
        streams = self._streams.setdefault(prefix, set())
        streams.add(task)
        try:
            yield
        finally:
            streams.discard(task)
            if not streams:
                self._streams.pop(prefix, None)

    def _revoked(self, prefix: str) -> None:
        error = Unauthenticated(f"the API key of this stream was revoked: {_HOW}")
        for task in list(self._streams.get(prefix, ())):
            self._end_stream(task, error)

    async def _create_first(self, request: pb.CreateApiKeyRequest) -> Answer:
        check_create_api_key(request)
        return await self._keys.create(request, only_first=True)
