"""Owns how messages reach a server. Lives on the home loop.

Knows nothing of sessions, retries or workers; turns the errors of gRPC into those of
`perdure.errors`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from typing import Any, Final, Protocol, TypeVar, cast

import grpc
import grpc.aio
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status

from perdure.errors import RpcError, from_reason
from perdure.v1 import (
    admin_service_pb2,
    namespace_service_pb2,
    schedule_service_pb2,
    watch_service_pb2,
    worker_service_pb2,
    workflow_service_pb2,
)

MessageT = TypeVar("MessageT", bound=Message)

MESSAGE_BYTES_MAX: Final = 32 * 1024 * 1024
"""The largest message that a server accepts, as in its own limits."""

API_KEY_VARIABLE: Final = "PERDURE_API_KEY"
FINAL_CODES: Final = frozenset({"UNAUTHENTICATED", "PERMISSION_DENIED"})
"""What a server answers that will not serve this caller however often it asks."""

_STATUS_DETAILS_KEY: Final = "grpc-status-details-bin"
_CODE_NAMES: Final = {code.value[0]: code.name for code in grpc.StatusCode}
_CHANNEL_OPTIONS: Final = (
    ("grpc.max_receive_message_length", 2 * MESSAGE_BYTES_MAX),
    ("grpc.max_send_message_length", -1),
    # A connection of its own per channel: giving a silent stream up gives its connection up.
    ("grpc.use_local_subchannel_pool", 1),
    # Streams have pings of their own; these notice a dead connection under a unary call.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    # Repeating is decided above, where request ids are known.
    ("grpc.enable_retries", 0),
)


class Transport(Protocol):
    """Carries requests to a server. Methods are named `WorkflowService/StartWorkflow`."""

    async def open(self) -> None:
        """Makes ready to call; need not reach the server yet."""
        ...

    async def call(
        self, method: str, request: Message, *, timeout_s: float | None = None
    ) -> Message:
        """Sends one request and returns the answer. Raises an `RpcError`."""
        ...

    def stream(
        self, method: str, requests: AsyncIterator[Message]
    ) -> AsyncGenerator[Message, None]:
        """Sends requests and yields answers until either side ends. Raises an `RpcError`."""
        ...

    async def close(self) -> None:
        """Lets go of the server."""
        ...


class GrpcTransport:
    """A server at an address such as `localhost:7766`. Every stream has a connection of its own.

    `api_key` goes with every call; ValueError when it cannot be one.
    """

    def __init__(self, target: str, *, api_key: str | None = None) -> None:
        self._target = target
        self._metadata = authorization(api_key)
        self._channel: grpc.aio.Channel | None = None

    async def open(self) -> None:
        """Does nothing: the first call connects."""

    async def call(
        self, method: str, request: Message, *, timeout_s: float | None = None
    ) -> Message:
        """Sends one request and returns the answer. Raises an `RpcError`."""
        if self._channel is None:
            self._channel = _open_channel(self._target)
        send: Any = self._channel.unary_unary(
            f"/perdure.v1.{method}",
            request_serializer=_serialize,
            response_deserializer=response_type(method).FromString,
        )
        try:
            answer: Message = await send(request, timeout=timeout_s, metadata=self._metadata)
        except grpc.aio.AioRpcError as error:
            raise _translate(error) from None
        return answer

    async def stream(
        self, method: str, requests: AsyncIterator[Message]
    ) -> AsyncGenerator[Message, None]:
        """Sends requests and yields answers until either side ends. Raises an `RpcError`."""
        async with _open_channel(self._target) as channel:
            open_stream: Any = channel.stream_stream(
                f"/perdure.v1.{method}",
                request_serializer=_serialize,
                response_deserializer=response_type(method).FromString,
            )
            call = open_stream(metadata=self._metadata)
            # Handed the iterator, gRPC would leave its reader behind when the server ends the call.
            writer = asyncio.create_task(_write(call, requests))
            try:
                async for response in call:
                    yield response
            except grpc.aio.AioRpcError as error:
                raise _translate(error) from None
            finally:
                call.cancel()
                writer.cancel()
                await asyncio.wait((writer,))

    async def close(self) -> None:
        """Closes the connection of the unary calls; streams close theirs themselves."""
        if self._channel is not None:
            await self._channel.close(None)
            self._channel = None


def response_type(method: str) -> type[Message]:
    """Returns the class of the answers of `Service/Method`."""
    return _RESPONSE_TYPES[method]


def error_from_status(status: Status) -> RpcError:
    """Returns the error that a `google.rpc.Status` stands for."""
    info = ErrorInfo()
    for detail in status.details:
        if detail.Unpack(info):
            break
    code = _CODE_NAMES.get(status.code, "UNKNOWN")
    return from_reason(info.reason, status.message, code, dict(info.metadata))


async def one(request: MessageT) -> AsyncIterator[MessageT]:
    """Yields a single request: a stream that only answers is asked by one message."""
    yield request


def authorization(api_key: str | None) -> tuple[tuple[str, str], ...]:
    """Returns what goes with a call to present a key; ValueError, without it, if it is none."""
    key = (api_key or "").strip()
    if not key:
        return ()
    if not (key.isascii() and key.isprintable()) or " " in key:
        # gRPC would say so too, and show the key.
        raise ValueError(
            f"the API key has characters that no key has; look at {API_KEY_VARIABLE} or `api_key`"
        )
    return (("authorization", f"Bearer {key}"),)


def _open_channel(target: str) -> grpc.aio.Channel:
    return grpc.aio.insecure_channel(target, options=_CHANNEL_OPTIONS)


async def _write(call: Any, requests: AsyncIterator[Message]) -> None:
    with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
        # Whatever ended the call is raised where its answers are read.
        async for request in requests:
            await call.write(request)
        await call.done_writing()


def _serialize(message: Message) -> bytes:
    return message.SerializeToString()


def _translate(error: grpc.aio.AioRpcError) -> RpcError:
    details = dict(cast("Iterable[tuple[str, bytes]]", error.trailing_metadata() or ()))
    if _STATUS_DETAILS_KEY in details:
        return error_from_status(Status.FromString(details[_STATUS_DETAILS_KEY]))
    return from_reason("", error.details() or "", error.code().name)


def _response_types(*files: FileDescriptor) -> dict[str, type[Message]]:
    return {
        f"{service.name}/{method.name}": GetMessageClass(method.output_type)
        for file in files
        for service in file.services_by_name.values()
        for method in service.methods
    }


_RESPONSE_TYPES: Final = _response_types(
    workflow_service_pb2.DESCRIPTOR,
    worker_service_pb2.DESCRIPTOR,
    watch_service_pb2.DESCRIPTOR,
    namespace_service_pb2.DESCRIPTOR,
    schedule_service_pb2.DESCRIPTOR,
    admin_service_pb2.DESCRIPTOR,
)
