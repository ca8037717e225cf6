"""Owns how messages reach a server. Lives on the home loop.

Knows nothing of sessions, retries or workers; turns the errors of gRPC into those of
`perdure.errors`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from dataclasses import dataclass
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


_ANY_SERVER: Final = (
    (
        "grpc.service_config",
        '{"loadBalancingConfig": [{"pick_first": {"shuffleAddressList": true}}]}',
    ),
)
"""Makes a channel take any server of several, not the first that takes connections."""
_ELSEWHERE_REASONS: Final = frozenset({"SHUTTING_DOWN", "STORE_UNAVAILABLE"})
"""What a server says that answers but cannot serve: another one may."""


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

    Of several servers the first that can be reached serves; after one that cannot serve, any.
    `api_key` goes with every call; ValueError when it cannot be one.
    """

    def __init__(self, target: str, *, api_key: str | None = None) -> None:
        self._target = target
        self._metadata = authorization(api_key)
        self._channels: list[_Channel] = []
        """Those of unary calls: the last takes new ones, the others end with their last."""
        self._any_server = False

    async def open(self) -> None:
        """Does nothing: the first call connects."""

    async def call(
        self, method: str, request: Message, *, timeout_s: float | None = None
    ) -> Message:
        """Sends one request and returns the answer. Raises an `RpcError`."""
        used = self._current()
        send: Any = used.channel.unary_unary(
            f"/perdure.v1.{method}",
            request_serializer=_serialize,
            response_deserializer=response_type(method).FromString,
        )
        used.calls += 1
        try:
            answer: Message = await send(request, timeout=timeout_s, metadata=self._metadata)
        except grpc.aio.AioRpcError as error:
            refusal = _translate(error)
            used.is_left = used.is_left or self._is_to_go(refusal)
            raise refusal from None
        finally:
            used.calls -= 1
            await self._let_go(used)
        return answer

    async def stream(
        self, method: str, requests: AsyncIterator[Message]
    ) -> AsyncGenerator[Message, None]:
        """Sends requests and yields answers until either side ends. Raises an `RpcError`."""
        async with self._open_channel() as channel:
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
                refusal = _translate(error)
                self._is_to_go(refusal)
                raise refusal from None
            finally:
                call.cancel()
                writer.cancel()
                await asyncio.wait((writer,))

    async def close(self) -> None:
        """Closes the connection of the unary calls; streams close theirs themselves."""
        channels, self._channels = self._channels, []
        for each in channels:
            await each.channel.close(None)

    def _current(self) -> _Channel:
        """Returns the channel for a new call."""
        if not self._channels or self._channels[-1].is_left:
            self._channels.append(_Channel(self._open_channel()))
        return self._channels[-1]

    async def _let_go(self, used: _Channel) -> None:
        """Closes a channel that no call will use any more."""
        if used.is_left and not used.calls and used in self._channels:
            self._channels.remove(used)
            await used.channel.close(None)

    def _is_to_go(self, refusal: RpcError) -> bool:
        """Whether to connect anew after a refusal; notes that from now on any server will do."""
        is_to_go = refusal.reason in _ELSEWHERE_REASONS
        self._any_server = self._any_server or is_to_go
        return is_to_go

    def _open_channel(self) -> grpc.aio.Channel:
        options = (*_CHANNEL_OPTIONS, *(_ANY_SERVER if self._any_server else ()))
        return grpc.aio.insecure_channel(self._target, options=options)


@dataclass(slots=True, eq=False)
class _Channel:
    """A connection of unary calls."""

    channel: grpc.aio.Channel
    calls: int = 0
    is_left: bool = False
    """Whether its server cannot serve, so that new calls go elsewhere."""


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
