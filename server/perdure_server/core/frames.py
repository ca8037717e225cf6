"""Owns the stored form of an event: a frame, the length-delimited field 1 of a History.

Frames join to an encoded History, so that a history is sent without being decoded.
"""

from __future__ import annotations

from perdure.v1.history_pb2 import History, HistoryEvent

_LENGTH_DELIMITED = 2
_ONE_BYTE = 0x80
"""Below it a varint is one byte."""
_BYTES = tuple(bytes((value,)) for value in range(_ONE_BYTE))


def field(number: int, data: bytes) -> bytes:
    """Returns `data` as the length-delimited protobuf field `number`."""
    return _varint(number << 3 | _LENGTH_DELIMITED) + _varint(len(data)) + data


def event_frame(event: HistoryEvent) -> bytes:
    """Returns the frame of an event."""
    data = event.SerializeToString(deterministic=True)
    return b"\x0a" + _varint(len(data)) + data


def parse_frame(frame: bytes) -> HistoryEvent:
    """Returns the event of a frame."""
    return History.FromString(frame).events[0]


def _varint(value: int) -> bytes:
    """Encodes a number that is not negative, seven bits to a byte, the lowest first."""
    if value < _ONE_BYTE:
        return _BYTES[value]
    out = bytearray()
    while value >= _ONE_BYTE:
        out.append(value & 0x7F | _ONE_BYTE)
        value >>= 7
    out.append(value)
    return bytes(out)
