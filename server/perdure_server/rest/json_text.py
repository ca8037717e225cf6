"""Owns the checks of JSON text. Values of users are never parsed for more than these.

JSON here is UTF-8, one value, at most 100 levels deep, and without halves of surrogate pairs, which
not every reader takes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import accumulate
from typing import Final

import msgspec

JSON_PLAIN: Final = "json/plain"
"""The encoding of a payload that is JSON; the empty one means it too."""
LEVELS_MAX: Final = 100
"""Arrays and objects within one another: readers in every language take so many."""

_LINE_BREAKS = b"\r\n"
# Unending strings match to the end: a scan that fails there would start again at each quote.
_STRINGS = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
_HALF_PAIR = re.compile(rb"\\u[dD][89a-fA-F]")
_STEP = tuple(1 if code in b"[{" else -1 if code in b"]}" else 0 for code in range(256))
_NOT_BRACKETS = bytes(code for code in range(256) if not _STEP[code])

_VALUE = msgspec.json.Decoder(msgspec.Raw)
_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ARRAY = msgspec.json.Decoder(list[msgspec.Raw])


class NotJson(ValueError):
    """The bytes are not JSON as this server takes it; the text completes `… is not JSON: …`."""


def check(data: bytes) -> bytes:
    """Returns the bytes when they are JSON. Raises NotJson otherwise."""
    try:
        if not data.isascii():
            data.decode()
        _check_levels(data)
        _VALUE.decode(data)
    except UnicodeDecodeError as problem:
        raise NotJson(f"is not JSON: byte {problem.start} is not UTF-8") from None
    except (msgspec.DecodeError, RecursionError) as problem:
        raise NotJson(f"is not JSON: {_explain(data, problem)}") from None
    return data


def inlined(data: bytes) -> msgspec.Raw | None:
    """Returns the bytes to stand within other JSON on one line; None when they are not JSON."""
    try:
        check(data)
    except NotJson:
        return None
    # Within checked JSON a raw line break is white space.
    return msgspec.Raw(data.translate(None, _LINE_BREAKS))


def object_of(raw: msgspec.Raw | bytes) -> Mapping[str, msgspec.Raw] | None:
    """Returns the members of checked JSON, the last of equal keys; None when it is no object.

    An empty array counts as an empty object: some clients cannot tell them apart.
    """
    try:
        return _OBJECT.decode(raw)
    except msgspec.DecodeError:
        return {} if array_of(raw) == [] else None


def array_of(raw: msgspec.Raw | bytes) -> list[msgspec.Raw] | None:
    """Returns the elements of checked JSON; None when it is no array."""
    try:
        return _ARRAY.decode(raw)
    except msgspec.DecodeError:
        return None


def _check_levels(data: bytes) -> None:
    if data.count(b"[") + data.count(b"{") <= LEVELS_MAX:
        return
    brackets = _STRINGS.sub(b"", data).translate(None, _NOT_BRACKETS)
    levels = accumulate(map(_STEP.__getitem__, brackets))
    if any(map(LEVELS_MAX.__lt__, levels)):
        raise NotJson(f"has more than {LEVELS_MAX} levels")


def _explain(data: bytes, problem: Exception) -> str:
    if _HALF_PAIR.search(data):
        return f"{problem}; it may hold half of a surrogate pair"
    return str(problem)
