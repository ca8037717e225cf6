"""Owns the reading of routes and of the options in `rest.proto`: what the contract says about REST.

Everything is read once at the start, and an option that does not fit its descriptor is a
`ValueError` then.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from google.api import annotations_pb2
from google.api.http_pb2 import HttpRule
from google.protobuf.descriptor import (
    Descriptor,
    EnumDescriptor,
    FieldDescriptor,
    MethodDescriptor,
    ServiceDescriptor,
)
from google.protobuf.message import Message

from perdure.v1 import rest_pb2
from perdure_server.rest.json_text import NotJson, check

_PATH_FIELD = re.compile(r"\{(\w+)\}")
_CAPITAL_INSIDE = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_UNSPECIFIED = "UNSPECIFIED"
_SECONDS = "_secs"


class Shape(StrEnum):
    """What a field is as JSON."""

    PAYLOAD = "payload"
    TIMESTAMP = "timestamp"
    DURATION = "duration"
    ATTRIBUTES = "attributes"
    ATTRIBUTE = "attribute"
    MESSAGE = "message"
    ENUM = "enum"
    INTEGER = "integer"
    NUMBER = "number"
    BOOLEAN = "boolean"
    STRING = "string"


_MESSAGES: Mapping[str, Shape] = {
    "perdure.v1.Payload": Shape.PAYLOAD,
    "perdure.v1.SearchAttributes": Shape.ATTRIBUTES,
    "perdure.v1.SearchAttribute": Shape.ATTRIBUTE,
    "google.protobuf.Timestamp": Shape.TIMESTAMP,
    "google.protobuf.Duration": Shape.DURATION,
}
_SCALARS: Mapping[int, Shape] = {
    FieldDescriptor.CPPTYPE_INT32: Shape.INTEGER,
    FieldDescriptor.CPPTYPE_INT64: Shape.INTEGER,
    FieldDescriptor.CPPTYPE_UINT32: Shape.INTEGER,
    FieldDescriptor.CPPTYPE_UINT64: Shape.INTEGER,
    FieldDescriptor.CPPTYPE_DOUBLE: Shape.NUMBER,
    FieldDescriptor.CPPTYPE_FLOAT: Shape.NUMBER,
    FieldDescriptor.CPPTYPE_BOOL: Shape.BOOLEAN,
    FieldDescriptor.CPPTYPE_ENUM: Shape.ENUM,
    FieldDescriptor.CPPTYPE_STRING: Shape.STRING,
}


@dataclass(slots=True, frozen=True)
class Events:
    """How the messages of a stream become server-sent events."""

    id: str
    """Names the field that is the id."""
    kind: str
    """Names the field that is the event; empty when `name` is."""
    name: str
    resume: str
    """Names the field of the request that `Last-Event-ID` sets; empty when nothing resumes."""


@dataclass(slots=True, frozen=True)
class Otherwise:
    """Another status for the answers in which `field` has its default value."""

    field: str
    status: int


@dataclass(slots=True, frozen=True)
class Route:
    """One way to call an RPC over REST. An RPC has one for each binding."""

    service: str
    """The full name of the service, for example `perdure.v1.WorkflowService`."""
    method: str
    request: Descriptor
    response: Descriptor
    verb: str
    """In capitals, for example `POST`."""
    path: str
    """The template, for example `/api/v1/workflows/{workflow_id}`."""
    path_fields: tuple[str, ...]
    """The fields of the request that the template binds, in its order."""
    has_body: bool
    response_field: str | None
    """The field of the response that is the answer; None for the whole message."""
    status: int
    """The status of success."""
    otherwise: Otherwise | None
    absent: str
    """The JSON that stands for an unset `response_field`."""
    events: Events | None
    """Set exactly when `streams` is."""
    whole: bool
    """Whether all pages are joined when the caller asks for no paging."""
    streams: bool


@dataclass(slots=True, frozen=True)
class Field:
    """One field of a message and its options."""

    name: str
    key: str
    """Its name in JSON."""
    shape: Shape
    descriptor: FieldDescriptor
    repeated: bool
    optional: bool
    """Whether unset differs from the default value."""
    flatten: bool
    text: bool
    required: bool
    spread: bool
    error: bool
    omit_default: bool
    lower: bool

    @property
    def message(self) -> Descriptor:
        """The kind of message of a field that is one."""
        return message_of(self.descriptor)


@dataclass(slots=True, frozen=True)
class Choice:
    """A oneof of messages that is told by a tag."""

    name: str
    tag: str
    content: str
    """The key of the chosen message; empty when its keys stand beside the tag."""
    members: Mapping[str, FieldDescriptor]
    """The fields by the value of the tag."""


@dataclass(slots=True, frozen=True)
class Shown:
    """How a message looks as JSON."""

    keys: tuple[str, ...]
    """All keys in their order; empty when nothing is hidden."""
    inline: str
    constants: Mapping[str, bytes]
    copies: Mapping[str, tuple[str, ...]]
    null_unless: str
    always_null: bool


def routes_of(services: Iterable[ServiceDescriptor]) -> list[Route]:
    """Returns the routes of all annotated RPCs in the order of the contract.

    Raises ValueError when an annotation names what its messages do not have.
    """
    return [
        _route(method, rule)
        for service in services
        for method in service.methods
        for rule in _rules(method)
    ]


def fields_of(descriptor: Descriptor) -> tuple[Field, ...]:
    """Returns the fields of a message in their order, without those of a tagged choice."""
    choice = choice_of(descriptor)
    chosen = {member.name for member in choice.members.values()} if choice else set()
    return tuple(field_of(field) for field in descriptor.fields if field.name not in chosen)


def field_of(descriptor: FieldDescriptor) -> Field:
    """Returns a field with its options. Raises ValueError for one that REST cannot show."""
    said: rest_pb2.RestField = _said(descriptor, rest_pb2.rest_field)
    shape = _shape(descriptor)
    field = Field(
        name=descriptor.name,
        key=said.name or descriptor.name + (_SECONDS if shape is Shape.DURATION else ""),
        shape=shape,
        descriptor=descriptor,
        repeated=descriptor.is_repeated,
        optional=descriptor.has_presence,
        flatten=said.flatten,
        text=said.text,
        required=said.required,
        spread=said.spread,
        error=said.error,
        omit_default=said.omit_default,
        lower=said.lower,
    )
    _check_field(field)
    return field


def choice_of(descriptor: Descriptor) -> Choice | None:
    """Returns the tagged oneof of a message, if it has one."""
    for oneof in descriptor.oneofs:
        said: rest_pb2.RestOneof = _said(oneof, rest_pb2.rest_oneof)
        if not said.tag:
            continue
        if any(field.message_type is None for field in oneof.fields):
            raise ValueError(f"{oneof.full_name}: a choice with a tag is between messages")
        members = {message_of(field).name: field for field in oneof.fields}
        return Choice(oneof.name, said.tag, said.content, members)
    return None


def shown_of(descriptor: Descriptor) -> Shown:
    """Returns how a message looks. Raises ValueError when an option names a missing field."""
    said: rest_pb2.RestMessage = _said(descriptor, rest_pb2.rest_message)
    for name in (said.inline, said.null_unless):
        if name:
            _require(descriptor, name)
    if len(set(said.keys)) != len(said.keys):
        raise ValueError(f"{descriptor.full_name}: a key is listed twice")
    return Shown(
        keys=tuple(said.keys),
        inline=said.inline,
        constants={c.key: _json(descriptor, c.json) for c in said.constants},
        copies={copy.key: tuple(copy.path.split(".")) for copy in said.copies},
        null_unless=said.null_unless,
        always_null=said.always_null,
    )


def enum_names(descriptor: EnumDescriptor, *, lower: bool = False) -> dict[int, str | None]:
    """Returns the short name of each number; None for the one that says nothing."""
    prefix = _CAPITAL_INSIDE.sub("_", descriptor.name).upper() + "_"
    short = {value.number: value.name.removeprefix(prefix) for value in descriptor.values}
    return {
        number: None if name == _UNSPECIFIED else name.lower() if lower else name
        for number, name in short.items()
    }


def message_of(field: FieldDescriptor) -> Descriptor:
    """Returns the kind of message of a field that is one."""
    assert field.message_type is not None
    return field.message_type


def has_default(message: Message, field: str) -> bool:
    """Tells whether a field is unset, empty, zero or false."""
    descriptor = message.DESCRIPTOR.fields_by_name[field]
    if descriptor.has_presence:
        return not message.HasField(field)
    return not getattr(message, field)


def _rules(method: MethodDescriptor) -> Iterator[HttpRule]:
    rule: HttpRule = _said(method, annotations_pb2.http)
    if rule.WhichOneof("pattern"):
        yield rule
        yield from rule.additional_bindings


def _said(descriptor: Any, extension: Any) -> Any:
    # The types of extensions are known to neither the descriptors nor their stubs.
    return descriptor.GetOptions().Extensions[extension]


def _route(method: MethodDescriptor, rule: HttpRule) -> Route:
    request, response = method.input_type, method.output_type
    said: rest_pb2.RestMethod = _said(method, rest_pb2.rest_method)
    verb, path = _pattern(method, rule)
    if rule.body not in {"", "*"}:
        raise ValueError(f"{method.full_name}: the body is all of the request or absent")
    path_fields = tuple(_PATH_FIELD.findall(path))
    for name in path_fields:
        _require(request, name)
    if rule.response_body:
        _require(response, rule.response_body)
    return Route(
        service=method.containing_service.full_name,
        method=method.name,
        request=request,
        response=response,
        verb=verb,
        path=path,
        path_fields=path_fields,
        has_body=bool(rule.body),
        response_field=rule.response_body or None,
        status=said.status or 200,
        otherwise=_otherwise(method, said),
        absent=_json(response, said.absent or "null").decode(),
        events=_events(method, said),
        whole=said.whole,
        streams=method.server_streaming,
    )


def _pattern(method: MethodDescriptor, rule: HttpRule) -> tuple[str, str]:
    pattern = rule.WhichOneof("pattern")
    if pattern is None:
        raise ValueError(f"{method.full_name}: the binding has no path")
    if pattern == "custom":
        return rule.custom.kind.upper(), rule.custom.path
    return pattern.upper(), getattr(rule, pattern)


def _otherwise(method: MethodDescriptor, said: rest_pb2.RestMethod) -> Otherwise | None:
    if not said.HasField("otherwise"):
        return None
    _require(method.output_type, said.otherwise.field)
    return Otherwise(said.otherwise.field, said.otherwise.status)


def _events(method: MethodDescriptor, said: rest_pb2.RestMethod) -> Events | None:
    events = said.events
    if said.HasField("events") is not method.server_streaming:
        raise ValueError(f"{method.full_name}: `events` is for streams, and streams need it")
    if not method.server_streaming:
        return None
    if bool(events.kind) is bool(events.name):
        raise ValueError(f"{method.full_name}: an event has either a `kind` or a `name`")
    for name in filter(None, (events.id, events.kind)):
        _require(method.output_type, name)
    if events.resume:
        _require(method.input_type, events.resume)
    return Events(events.id, events.kind, events.name, events.resume)


def _shape(field: FieldDescriptor) -> Shape:
    if field.message_type is not None:
        return _MESSAGES.get(field.message_type.full_name, Shape.MESSAGE)
    shape = _SCALARS.get(field.cpp_type)
    if shape is None or field.type == FieldDescriptor.TYPE_BYTES:
        raise ValueError(f"{field.full_name}: REST has no form for its type")
    return shape


def _check_field(field: Field) -> None:
    name = field.descriptor.full_name
    one_message = field.shape is Shape.MESSAGE and not field.repeated
    if (field.flatten or field.spread or field.error) and not one_message:
        raise ValueError(f"{name}: flatten, spread and error are for one message")
    if field.error and field.message.full_name != "perdure.v1.Failure":
        raise ValueError(f"{name}: only a failure is shown as an error")
    if field.text and field.shape is not Shape.PAYLOAD:
        raise ValueError(f"{name}: only a payload is shown as text")
    if field.shape is Shape.MESSAGE and field.message.GetOptions().map_entry:
        raise ValueError(f"{name}: REST has no form for a map")


def _require(descriptor: Descriptor, name: str) -> None:
    if name not in descriptor.fields_by_name:
        raise ValueError(f"{descriptor.full_name} has no field {name!r}, which its options name")


def _json(descriptor: Descriptor, text: str) -> bytes:
    try:
        return check(text.encode())
    except NotJson as problem:
        raise ValueError(f"{descriptor.full_name}: {text!r} {problem}") from None
