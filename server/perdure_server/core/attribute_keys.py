"""Owns the keys of search attributes: bytes whose order is the order of the values.

A key begins with the type of its value, so values of different types are never equal and never
between one another. Whole numbers and others are one type and compare exactly. A text has a key for
each of its words, in lower case, and a list for each of its keywords; these are one type with
single keywords.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any, Final

from perdure.v1.search_attributes_pb2 import SearchAttribute
from perdure_server.core.limits import ID_BYTES_MAX
from perdure_server.core.times import from_timestamp, to_timestamp

BOOL: Final = b"b"
NUMBER: Final = b"n"
STRING: Final = b"s"
INSTANT: Final = b"t"
INSTANT_US_MIN: Final = -62_135_596_800_000_000
INSTANT_US_MAX: Final = 253_402_300_799_999_999
"""The years 1 to 9999."""
ABOVE_ALL: Final = b"\xff"
"""Stands above every key."""

_WORD: Final = re.compile(r"\w+")
_SIGN: Final = 1 << 63
_ALL_BITS: Final = (1 << 64) - 1
_MIDDLE: Final = 1 << 15
_INSTANT: Final = re.compile(
    r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(:\d\d(\.\d{1,6})?)?([Zz]|[+-]\d\d:\d\d)"
)
_DAY: Final = re.compile(r"\d{4}-\d\d-\d\d")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def bool_key(value: bool) -> bytes:
    """Returns the key of a truth."""
    return BOOL + (b"\1" if value else b"\0")


def number_key(value: float) -> bytes:
    """Returns the key of a number: the nearest double, then how far a whole number is from it."""
    double = float(value) + 0.0
    (bits,) = struct.unpack(">Q", struct.pack(">d", double))
    ordered = bits ^ (_ALL_BITS if bits & _SIGN else _SIGN)
    rest = int(value) - int(double) if isinstance(value, int) else 0
    return NUMBER + struct.pack(">QH", ordered, rest + _MIDDLE)


def string_key(value: str) -> bytes:
    """Returns the key of a keyword or of a word."""
    return STRING + value.encode()


def instant_key(us: int) -> bytes:
    """Returns the key of an instant."""
    return INSTANT + struct.pack(">Q", us + _SIGN)


def keys_of(value: SearchAttribute) -> list[bytes]:
    """Returns the keys of a value, ascending, each once. A value of no type has none."""
    kind = value.WhichOneof("value")
    return sorted(set(_KEYS[kind](getattr(value, kind)))) if kind else []


def words_of(text: str) -> list[str]:
    """Returns the words of a text, in lower case; letters, digits and `_` make words."""
    words = (word.lower() for word in _WORD.findall(text))
    return [word for word in words if len(word.encode()) <= ID_BYTES_MAX]


def value_of(key: bytes) -> SearchAttribute:
    """Returns the value that has a key; a number without a fraction is a whole one."""
    kind, rest = key[:1], key[1:]
    if kind == STRING:
        return SearchAttribute(keyword=rest.decode())
    if kind == BOOL:
        return SearchAttribute(bool=rest == b"\1")
    if kind == INSTANT:
        (us,) = struct.unpack(">Q", rest)
        return SearchAttribute(datetime=to_timestamp(us - _SIGN))
    ordered, more = struct.unpack(">QH", rest)
    bits = ordered ^ (_SIGN if ordered & _SIGN else _ALL_BITS)
    (double,) = struct.unpack(">d", struct.pack(">Q", bits))
    whole = int(double) + more - _MIDDLE
    if double.is_integer() and -_SIGN <= whole < _SIGN:
        return SearchAttribute(int=whole)
    return SearchAttribute(double=double)


def instant_of(text: str, *, or_day: bool = False) -> int | None:
    """Returns the instant that a text names as RFC 3339 has it; None when it names none.

    With `or_day` it may be a day alone, which means its beginning in UTC.
    """
    if or_day and _DAY.fullmatch(text):
        text += "T00:00:00Z"
    if not _INSTANT.fullmatch(text):
        return None
    try:
        instant = datetime.fromisoformat(text.upper())
    except ValueError:
        return None
    span = instant - _EPOCH
    us = (span.days * 86_400 + span.seconds) * 1_000_000 + span.microseconds
    return us if INSTANT_US_MIN <= us <= INSTANT_US_MAX else None


def instant_text(us: int) -> str:
    """Returns an instant as RFC 3339 has it, in UTC, with as many digits as it needs."""
    text = (_EPOCH + timedelta(microseconds=us)).replace(tzinfo=None).isoformat()
    return f"{text.rstrip('0') if '.' in text else text}Z"


_KEYS: Final[Mapping[str, Callable[[Any], list[bytes]]]] = MappingProxyType(
    {
        "keyword": lambda value: [string_key(value)],
        "text": lambda value: [string_key(word) for word in words_of(value)],
        "int": lambda value: [number_key(value)],
        "double": lambda value: [number_key(value)],
        "bool": lambda value: [bool_key(value)],
        "datetime": lambda value: [instant_key(from_timestamp(value))],
        "keyword_list": lambda value: [string_key(each) for each in value.values],
    }
)
"""Makes the keys of a value of each type."""
