"""Owns server reflection as an RPC like any other: guarded, logged, ended with the server."""

from __future__ import annotations

from collections.abc import Iterable

from grpc_reflection.v1alpha import reflection
from grpc_reflection.v1alpha.reflection_pb2 import (
    ServerReflectionRequest,
    ServerReflectionResponse,
)

from perdure_server.api.rpcs import Rpc


def reflection_rpc(services: Iterable[str]) -> Rpc:
    """Returns the RPC by which tools learn the contract; `services` are the full names to list."""
    names = (*services, reflection.SERVICE_NAME)
    servicer = reflection.aio.ReflectionServicer(names)  # type: ignore[attr-defined]
    return Rpc(
        service=reflection.SERVICE_NAME,
        name="ServerReflectionInfo",
        behaviour=lambda requests: servicer.ServerReflectionInfo(requests, None),
        request_type=ServerReflectionRequest,
        response_type=ServerReflectionResponse,
        takes_stream=True,
        gives_stream=True,
    )
