"""Contracts made for one test, and the codecs of the real one."""

from __future__ import annotations

from functools import cache

from google.api import annotations_pb2
from google.protobuf import descriptor_pb2, descriptor_pool, text_format
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.message_factory import GetMessageClass
from hypothesis import HealthCheck, settings

from perdure.v1 import (
    admin_service_pb2,
    namespace_service_pb2,
    schedule_service_pb2,
    task_pb2,
    watch_service_pb2,
    worker_service_pb2,
    workflow_service_pb2,
)
from perdure_server.rest.codec import RouteCodec
from perdure_server.rest.options import Route, routes_of

PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""For properties: a busy machine is not a failure."""

HEAD = """
name: "made.proto" package: "made" syntax: "proto3"
dependency: "perdure/v1/rest.proto"
dependency: "perdure/v1/failure.proto"
dependency: "perdure/v1/payload.proto"
dependency: "google/api/annotations.proto"
dependency: "google/protobuf/duration.proto"
dependency: "google/protobuf/timestamp.proto"
"""


def made(text: str) -> FileDescriptor:
    """Returns a file of the contract, written as the text form of its descriptor."""
    file = text_format.Parse(HEAD + text, descriptor_pb2.FileDescriptorProto())
    pool = descriptor_pool.DescriptorPool()
    for known in (task_pb2, annotations_pb2):
        _copy(known.DESCRIPTOR, pool, set())
    pool.AddSerializedFile(file.SerializeToString())
    return pool.FindFileByName("made.proto")


def made_message(body: str, more: str = ""):
    """Returns a message `M` whose descriptor has this text, beside others."""
    return made(f'message_type {{ name: "M" {body} }} {more}').message_types_by_name["M"]


def field(name: str, number: int, kind: str, options: str = "") -> str:
    """Returns the text of a field: `int32`, `*int32` for many, or `.package.Message`."""
    label = "LABEL_REPEATED" if kind.startswith("*") else "LABEL_OPTIONAL"
    kind = kind.removeprefix("*")
    named = (
        f'type: TYPE_MESSAGE type_name: "{kind}"' if "." in kind else f"type: TYPE_{kind.upper()}"
    )
    said = f"options {{ [perdure.v1.rest_field] {{ {options} }} }}" if options else ""
    return f'field {{ name: "{name}" number: {number} label: {label} {named} {said} }}'


@cache
def routes() -> list[Route]:
    files = (
        workflow_service_pb2,
        worker_service_pb2,
        watch_service_pb2,
        admin_service_pb2,
        namespace_service_pb2,
        schedule_service_pb2,
    )
    return routes_of(s for file in files for s in file.DESCRIPTOR.services_by_name.values())


@cache
def codec(method: str) -> RouteCodec:
    """Returns the codec of an RPC of the contract."""
    return RouteCodec(next(route for route in routes() if route.method == method))


def read(method, body=b"", query="", key="", **path):
    """Returns the request that a call of an RPC makes."""
    request = GetMessageClass(codec(method).route.request)(**path)
    codec(method).read(request, body=body, query=query, idempotency_key=key)
    return request


def _copy(file: FileDescriptor, pool: descriptor_pool.DescriptorPool, done: set[str]) -> None:
    if file.name in done:
        return
    done.add(file.name)
    for needed in file.dependencies:
        _copy(needed, pool, done)
    pool.AddSerializedFile(file.serialized_pb)
