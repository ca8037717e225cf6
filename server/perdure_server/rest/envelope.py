"""Owns what REST travels in between Envoy and the server.

A request arrives as its message with only the fields of the path, and the body as sent in field
1000, `rest_body`; an answer leaves as `google.api.HttpBody`. Both are bytes to everyone else.
"""

from __future__ import annotations

from typing import Any, Final

from google.api.httpbody_pb2 import HttpBody
from google.protobuf.descriptor_pb2 import DescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pb2 import FieldDescriptorProto as _Field
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass

from perdure_server.core.errors import InvalidRequest

BODY_FIELD: Final = 1000
"""The number of `rest_body` in every request that has one."""
JSON: Final = "application/json"


def body_of(request: bytes) -> bytes:
    """Returns the body that was sent, empty when there was none. Raises InvalidRequest."""
    try:
        body: bytes = _ENVELOPE.FromString(request).rest_body.data
    except DecodeError as error:
        raise InvalidRequest("the request is not one that Envoy would send") from error
    return body


def http_body(content_type: str, data: bytes) -> bytes:
    """Returns an answer as Envoy takes it."""
    return HttpBody(content_type=content_type, data=data).SerializeToString()


def _envelope() -> Any:
    # A message of its own: what else was sent is neither looked at nor checked here.
    body = DescriptorProto(name="Body")
    body.field.add(name="data", number=2, type=_Field.TYPE_BYTES, label=_Field.LABEL_OPTIONAL)
    envelope = DescriptorProto(name="Envelope")
    envelope.field.add(
        name="rest_body",
        number=BODY_FIELD,
        type=_Field.TYPE_MESSAGE,
        label=_Field.LABEL_OPTIONAL,
        type_name=".perdure.rest.Body",
    )
    file = FileDescriptorProto(
        name="perdure/rest.proto",
        package="perdure.rest",
        syntax="proto3",
        message_type=[body, envelope],
    )
    pool = DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return GetMessageClass(pool.FindMessageTypeByName("perdure.rest.Envelope"))


_ENVELOPE: Final = _envelope()
