"""Owns single values from JSON: numbers, texts, instants, spans and payloads.

Each reader takes checked JSON and the place at which it stands, and raises `InvalidRequest` with
that place when the value is of another type or out of range.
"""

from __future__ import annotations

import math
from base64 import b64decode
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeAlias

import msgspec
from google.protobuf.descriptor import EnumDescriptor, FieldDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from perdure.v1.payload_pb2 import Payload
from perdure_server.core.errors import InvalidRequest
from perdure_server.core.limits import SECOND_US
from perdure_server.rest.json_text import JSON_PLAIN, object_of
from perdure_server.rest.options import Field, Shape, enum_names

Reader: TypeAlias = Callable[[bytes, str], Any]

_TEXT = msgspec.json.Decoder(str)
_NUMBER_STARTS = frozenset(b"-0123456789")
_NOT_WHOLE = frozenset(b".eE")
_DIGITS_MAX = 20
"""No integer of the contract has more."""
_EXACT_MAX = 2**53 - 1
"""Up to here a float stands for one whole number only."""
_SHOWN_MAX = 100
_BOOLEANS: Mapping[bytes, bool] = {b"true": True, b"false": False}
_BOUNDS: Mapping[int, tuple[int, int]] = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
}
_DURATION_SECONDS_MAX = 315_576_000_000
"""The bound of a protobuf Duration, 10,000 years."""
_TIMESTAMP_SECONDS = (-62_135_596_800, 253_402_300_799)
"""The bounds of a protobuf Timestamp, the years 1 to 9999."""
_NANOS_PER_US = 1_000


def reader_of(field: Field) -> Reader:
    """Returns the reader of a field that is no message."""
    match field.shape:
        case Shape.INTEGER:
            return partial(integer, *_BOUNDS[field.descriptor.cpp_type])
        case Shape.NUMBER:
            return number
        case Shape.BOOLEAN:
            return boolean
        case Shape.ENUM:
            assert field.descriptor.enum_type is not None
            return partial(_enum, _numbers(field.descriptor.enum_type))
        case _:
            return string


def string(text: bytes, where: str) -> str:
    """Reads a string."""
    if text[:1] != b'"':
        raise InvalidRequest("must be a string", where)
    return _TEXT.decode(text)


def boolean(text: bytes, where: str) -> bool:
    """Reads a boolean."""
    if text not in _BOOLEANS:
        raise InvalidRequest("must be true or false", where)
    return _BOOLEANS[text]


def integer(low: int, high: int, text: bytes, where: str) -> int:
    """Reads a whole number between bounds; `5.0` is one too."""
    if text[0] not in _NUMBER_STARTS:
        raise InvalidRequest("must be a whole number", where)
    if _NOT_WHOLE.isdisjoint(text):
        whole = int(text) if len(text) <= _DIGITS_MAX else math.inf
    else:
        whole = _whole(float(text), where)
    if not low <= whole <= high:
        raise InvalidRequest(f"is {shown(text)}; it goes from {low} to {high}", where)
    return int(whole)


def number(text: bytes, where: str) -> float:
    """Reads a number that a double can hold."""
    if text[0] not in _NUMBER_STARTS:
        raise InvalidRequest("must be a number", where)
    value = float(text)
    if math.isinf(value):
        raise InvalidRequest(f"is {shown(text)}, which is out of range", where)
    return value


def fill_timestamp(timestamp: Timestamp, text: bytes, where: str) -> None:
    """Reads an instant in Unix seconds, to the microsecond."""
    first, last = _TIMESTAMP_SECONDS
    seconds, rest = divmod(_microseconds(text, (first, last), where), SECOND_US)
    timestamp.seconds, timestamp.nanos = seconds, rest * _NANOS_PER_US


def fill_duration(duration: Duration, text: bytes, where: str) -> None:
    """Reads a span in seconds, to the microsecond."""
    bounds = (-_DURATION_SECONDS_MAX, _DURATION_SECONDS_MAX)
    us = _microseconds(text, bounds, where)
    # The parts of a negative span are both negative.
    sign = -1 if us < 0 else 1
    seconds, rest = divmod(abs(us), SECOND_US)
    duration.seconds, duration.nanos = sign * seconds, sign * rest * _NANOS_PER_US


def fill_payload(payload: Payload, text: bytes, _: str) -> None:
    """Takes a JSON value as it stands, or the payload that an answer showed in another encoding."""
    encoding, data = _shown_payload(text) or (JSON_PLAIN, text)
    payload.encoding, payload.data = encoding, data


def quoted(text: str, where: str) -> bytes:
    """Returns a text as JSON. Raises InvalidRequest for one that UTF-8 cannot hold."""
    try:
        return msgspec.json.encode(text)
    except UnicodeError:
        raise InvalidRequest("is not Unicode text", where) from None


def shown(json: bytes) -> str:
    """Returns JSON as an error quotes it, cut."""
    text = json.decode()
    return text if len(text) <= _SHOWN_MAX else text[:_SHOWN_MAX] + "…"


def shown_text(text: str) -> str:
    """Returns a text as an error quotes it, cut."""
    return repr(text if len(text) <= _SHOWN_MAX else text[:_SHOWN_MAX] + "…")


def _whole(value: float, where: str) -> float:
    if math.isinf(value):
        return value
    if not value.is_integer():
        raise InvalidRequest(f"is {value}; it must be a whole number", where)
    if abs(value) > _EXACT_MAX:
        raise InvalidRequest(f"is {value}; write so large a number as digits only", where)
    return value


def _microseconds(text: bytes, bounds: tuple[int, int], where: str) -> int:
    seconds, (low, high) = number(text, where), bounds
    # The bounds are whole seconds, and the last one may be followed by a fraction.
    if not low <= seconds < high + 1:
        raise InvalidRequest(f"is {shown(text)}; it goes from {low} to {high}", where)
    # The product of the whole would be rounded to more than a microsecond.
    fraction, whole = math.modf(seconds)
    us = int(whole) * SECOND_US + round(fraction * SECOND_US)
    return min(us, high * SECOND_US + SECOND_US - 1)


def _numbers(descriptor: EnumDescriptor) -> dict[str, int]:
    return {name: number for number, name in enum_names(descriptor).items() if name is not None}


def _enum(numbers: Mapping[str, int], text: bytes, where: str) -> int:
    name = string(text, where)
    value = numbers.get(name.upper())
    if value is None:
        raise InvalidRequest(f"is {shown_text(name)}, not one of {', '.join(numbers)}", where)
    return value


def _shown_payload(text: bytes) -> tuple[str, bytes] | None:
    # Most payloads are something else; these two tests spare them a second look.
    if text[:1] != b"{" or b'"encoding"' not in text:
        return None
    members = object_of(text)
    if members is None or members.keys() != {"encoding", "data"}:
        return None
    try:
        encoding = _TEXT.decode(members["encoding"])
        data = b64decode(_TEXT.decode(members["data"]), validate=True)
    except (msgspec.DecodeError, ValueError):
        return None
    return None if encoding in {"", JSON_PLAIN} else (encoding, data)
