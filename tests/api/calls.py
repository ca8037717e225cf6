"""A bare gRPC caller: tests see what any client in any language would see."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

import grpc
from google.protobuf.message_factory import GetMessageClass
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status

from perdure.v1 import (
    admin_service_pb2,
    namespace_service_pb2,
    schedule_service_pb2,
    watch_service_pb2,
    worker_service_pb2,
    workflow_service_pb2,
)

METHODS = {
    f"{service.name}/{method.name}": method
    for file in (
        workflow_service_pb2,
        worker_service_pb2,
        watch_service_pb2,
        namespace_service_pb2,
        schedule_service_pb2,
        admin_service_pb2,
    )
    for service in file.DESCRIPTOR.services_by_name.values()
    for method in service.methods
}


@dataclass(eq=True, unsafe_hash=True)
class Refused(Exception):
    """What a refused caller was told."""

    code: str
    reason: str
    text: str


class Caller:
    """Calls methods by name, for example `WorkflowService/GetWorkflow`."""

    def __init__(self, address):
        self._channel = grpc.aio.insecure_channel(address)

    async def call(self, method, request, *, timeout=None):
        send = self._channel.unary_unary(
            f"/perdure.v1.{method}",
            request_serializer=type(request).SerializeToString,
            response_deserializer=_answer_of(method),
        )
        with _refusals():
            return await send(request, timeout=timeout)

    async def stream(self, method, *requests):
        async def feed():
            for request in requests:
                yield request

        async for answer in self.converse(method, feed()):
            yield answer

    def converse(self, method, requests: AsyncIterator):
        """Opens a stream at once; returns its answers."""
        send = self._channel.stream_stream(
            f"/perdure.v1.{method}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=_answer_of(method),
        )
        return _answers(send(requests))

    async def raw(self, method, data):
        async def feed():
            yield data

        with _refusals():
            async for _ in self._channel.stream_stream(f"/perdure.v1.{method}")(feed()):
                pass

    async def close(self):
        await self._channel.close()


async def _answers(call):
    try:
        with _refusals():
            async for answer in call:
                yield answer
    finally:
        call.cancel()


class _refusals:  # noqa: N801 - reads as a verb where it is used
    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        if isinstance(error, grpc.aio.AioRpcError):
            raise _refusal(error) from None


def _refusal(error):
    info = ErrorInfo()
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            status = Status.FromString(value)
            assert (status.code, status.message) == (error.code().value[0], error.details())
            assert status.details[0].Unpack(info)
            assert info.domain == "perdure"
    return Refused(error.code().name, info.reason, error.details())


def _answer_of(method):
    return GetMessageClass(METHODS[method].output_type).FromString
