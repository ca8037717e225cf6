"""Owns messages as JSON: one plan per kind of message, made at the start from its descriptor.

A plan gives objects for `msgspec.json.encode`, in which payloads are raw JSON as they were sent.
"""

from __future__ import annotations

import math
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from operator import attrgetter
from typing import Any, TypeAlias

import msgspec
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from perdure.v1.payload_pb2 import Payload
from perdure_server.core.limits import SECOND_US
from perdure_server.rest.attributes import attribute_value, attributes_value
from perdure_server.rest.json_text import JSON_PLAIN, inlined
from perdure_server.rest.options import (
    Choice,
    Field,
    Shape,
    Shown,
    choice_of,
    enum_names,
    field_of,
    fields_of,
    has_default,
    message_of,
    shown_of,
)

Encoder: TypeAlias = Callable[[Any], object]
"""Takes a message, or the value of a field, and gives what stands for it in JSON."""
Entries: TypeAlias = dict[str, Encoder]
"""Gives the value of each key of an object, from the message."""

_NANOS_PER_US = 1_000
_ERROR = "error"


class _Left:
    """Marks a key that an answer leaves out."""


_LEFT = _Left()


class Encoders:
    """Makes the plan of each kind of message once."""

    def __init__(self) -> None:
        self._plans: dict[str, _Plan] = {}

    def encoder_of(self, descriptor: Descriptor) -> Encoder:
        """Returns the plan of a kind of message. Raises ValueError when its options do not fit."""
        name = descriptor.full_name
        plan = self._plans.get(name)
        if plan is None:
            # It is known before it is complete, because a message may hold its own kind.
            plan = self._plans[name] = _Plan()
            plan.encode = self._made(descriptor, shown_of(descriptor))
        return plan

    def field_encoder(self, field: Field) -> Encoder:
        """Returns what gives the JSON of a field from the message that has it."""
        value, get = self._value(field), attrgetter(field.name)
        if field.repeated:
            return partial(_list, get, value)
        if field.optional and not _stands_for_list(field):
            return partial(_present, field.name, get, value)
        if field.shape is Shape.STRING:
            return partial(_text_or_null, get)
        return get if value is _itself else partial(_of, get, value)

    def _made(self, descriptor: Descriptor, shown: Shown) -> Encoder:
        if shown.always_null:
            return _null
        if shown.inline:
            field = field_of(descriptor.fields_by_name[shown.inline])
            return self.field_encoder(field)
        entries = self._shown_entries(descriptor, shown)
        encode = partial(
            _object_with_gaps if _has_gaps(descriptor) else _object, tuple(entries.items())
        )
        if shown.null_unless:
            return partial(_null_unless, shown.null_unless, encode)
        return encode

    def _shown_entries(self, descriptor: Descriptor, shown: Shown) -> Entries:
        entries = self._entries(descriptor)
        for key, json in shown.constants.items():
            entries[key] = partial(_constant, msgspec.Raw(json))
        for key, path in shown.copies.items():
            entries[key] = self._copy(descriptor, path)
        return {key: entries.get(key, _null) for key in shown.keys or entries}

    def _entries(self, descriptor: Descriptor) -> Entries:
        entries: Entries = {}
        for field in fields_of(descriptor):
            _add(descriptor, entries, self._field_entries(field))
        if choice := choice_of(descriptor):
            _add(descriptor, entries, self._choice_entries(choice))
        return entries

    def _field_entries(self, field: Field) -> Entries:
        if field.flatten:
            message, get = field.message, attrgetter(field.name)
            inner = self._shown_entries(message, shown_of(message))
            return {key: partial(_of, get, encode) for key, encode in inner.items()}
        encode = self.field_encoder(field)
        if field.omit_default:
            encode = partial(_left_out, field.name, encode)
        if field.error:
            return {_ERROR: partial(_error_text, field.name), field.key: encode}
        return {field.key: encode}

    def _choice_entries(self, choice: Choice) -> Entries:
        tags = {field.name: tag for tag, field in choice.members.items()}
        tell = partial(_tag, choice.name, tags)
        plans = {
            field.name: self.encoder_of(message_of(field)) for field in choice.members.values()
        }
        if not choice.content:
            raise ValueError(f"{choice.name}: an answer shows a choice under a key of its own")
        return {choice.tag: tell, choice.content: partial(_content, choice.name, plans)}

    def _copy(self, descriptor: Descriptor, path: Sequence[str]) -> Encoder:
        steps: list[Callable[[Any], Any]] = []
        for step in path[:-1]:
            if step.isdigit():
                steps.append(partial(_element, int(step)))
                continue
            field = field_of(_field_named(descriptor, step))
            if field.shape is not Shape.MESSAGE:
                raise ValueError(f"{descriptor.full_name}: {step} leads nowhere")
            descriptor = field.message
            steps.append(attrgetter(step))
        last = self.field_encoder(field_of(_field_named(descriptor, path[-1])))
        return partial(_follow, steps, last)

    def _value(self, field: Field) -> Encoder:
        match field.shape:
            case Shape.PAYLOAD:
                return payload_text if field.text else payload_value
            case Shape.MESSAGE:
                return self.encoder_of(field.message)
            case Shape.ENUM:
                assert field.descriptor.enum_type is not None
                return partial(_enum, enum_names(field.descriptor.enum_type, lower=field.lower))
        return _ENCODERS.get(field.shape, _itself)


class _Plan:
    """A plan that may still be made."""

    __slots__ = ("encode",)

    encode: Encoder

    def __call__(self, message: Any) -> object:
        return self.encode(message)


def payload_value(payload: Payload) -> object:
    """Returns a payload as the JSON value that it is, else its encoding and its bytes."""
    if payload.encoding in {"", JSON_PLAIN}:
        if not payload.data:
            return None
        raw = inlined(payload.data)
        if raw is not None:
            return raw
    return {
        "encoding": payload.encoding or JSON_PLAIN,
        "data": b64encode(payload.data).decode(),
    }


def payload_text(payload: Payload) -> object:
    """Returns a payload as JSON text in a string, else its encoding and its bytes."""
    value = payload_value(payload)
    return bytes(value).decode() if isinstance(value, msgspec.Raw) else value


def seconds(time: Timestamp | Duration) -> float:
    """Returns an instant or a span in seconds, exact to the microsecond."""
    # A division of integers is rounded once; the sum of two floats would be rounded twice.
    return (time.seconds * SECOND_US + time.nanos // _NANOS_PER_US) / SECOND_US


def _stands_for_list(field: Field) -> bool:
    # Such a message is empty rather than absent, as a list is.
    if field.shape is not Shape.MESSAGE:
        return False
    message = field.message
    inline = shown_of(message).inline
    return bool(inline) and message.fields_by_name[inline].is_repeated


def _has_gaps(descriptor: Descriptor) -> bool:
    return any(
        field.omit_default or (field.flatten and _has_gaps(field.message))
        for field in fields_of(descriptor)
    )


def _field_named(descriptor: Descriptor, name: str) -> FieldDescriptor:
    if name not in descriptor.fields_by_name:
        raise ValueError(f"{descriptor.full_name} has no field {name!r} to copy")
    return descriptor.fields_by_name[name]


def _add(descriptor: Descriptor, entries: Entries, more: Entries) -> None:
    if both := entries.keys() & more.keys():
        raise ValueError(f"{descriptor.full_name} has two fields with the key {min(both)!r}")
    entries.update(more)


def _object(entries: Sequence[tuple[str, Encoder]], message: Message) -> object:
    return {key: encode(message) for key, encode in entries}


def _object_with_gaps(entries: Sequence[tuple[str, Encoder]], message: Message) -> object:
    pairs = [(key, encode(message)) for key, encode in entries]
    return {key: value for key, value in pairs if value is not _LEFT}


def _of(get: Callable[[Any], Any], encode: Encoder, message: Message) -> object:
    return encode(get(message))


def _list(get: Callable[[Any], Any], encode: Encoder, message: Message) -> object:
    return [encode(value) for value in get(message)]


def _present(name: str, get: Callable[[Any], Any], encode: Encoder, message: Message) -> object:
    return encode(get(message)) if message.HasField(name) else None


def _text_or_null(get: Callable[[Any], str], message: Message) -> object:
    return get(message) or None


def _itself(value: object) -> object:
    return value


def _null(_: object) -> None:
    return None


def _constant(value: object, _: object) -> object:
    return value


def _finite(value: float) -> object:
    return value if math.isfinite(value) else None


def _enum(names: Mapping[int, str | None], number: int) -> object:
    # A number without a name is one of a newer contract.
    return names.get(number, number)


def _left_out(name: str, encode: Encoder, message: Message) -> object:
    return _LEFT if has_default(message, name) else encode(message)


def _null_unless(name: str, encode: Encoder, message: Message) -> object:
    return None if has_default(message, name) else encode(message)


def _error_text(name: str, message: Message) -> object:
    return getattr(message, name).message if message.HasField(name) else None


def _tag(choice: str, tags: Mapping[str, str], message: Message) -> object:
    member = message.WhichOneof(choice)
    return tags[member] if member else None


def _content(choice: str, plans: Mapping[str, Encoder], message: Message) -> object:
    member = message.WhichOneof(choice)
    return plans[member](getattr(message, member)) if member else None


def _element(index: int, values: Sequence[Any]) -> object:
    return values[index] if index < len(values) else None


def _follow(steps: Sequence[Callable[[Any], Any]], last: Encoder, message: Message) -> object:
    place: Any = message
    for step in steps:
        place = step(place)
        if place is None:
            return None
    return last(place)


_ENCODERS: Mapping[Shape, Encoder] = {
    Shape.TIMESTAMP: seconds,
    Shape.DURATION: seconds,
    Shape.ATTRIBUTES: attributes_value,
    Shape.ATTRIBUTE: attribute_value,
    Shape.NUMBER: _finite,
}
"""What gives the JSON of values that need nothing else to be known."""
