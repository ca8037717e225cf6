"""Owns search attributes as JSON: an object of plain values, whose types follow from how they look.

A string is a keyword, or a text when it is too long for one, or an instant when it is spelled as
answers spell instants: `2026-01-31T12:00:00Z`. A number with digits only is whole, another one is
not. Any type can be given as `{"type": "text", "value": "…"}`. `null` has no type.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

from perdure.v1.search_attributes_pb2 import SearchAttribute, SearchAttributes
from perdure_server.core.attribute_keys import instant_of, instant_text
from perdure_server.core.errors import InvalidRequest
from perdure_server.core.limits import ID_BYTES_MAX
from perdure_server.core.times import from_timestamp, to_timestamp
from perdure_server.rest import values
from perdure_server.rest.json_text import array_of, object_of

_INT64: Final = (-(2**63), 2**63 - 1)
_NULL: Final = b"null"
_NOT_WHOLE: Final = frozenset(b".eE")
_TYPED: Final = frozenset({"type", "value"})


def attributes_value(attributes: SearchAttributes) -> object:
    """Returns attributes as an object, by name."""
    return {name: attribute_value(attributes.values[name]) for name in sorted(attributes.values)}


def attribute_value(value: SearchAttribute) -> object:
    """Returns one value as JSON has it; None when it has no type."""
    kind = value.WhichOneof("value")
    match kind:
        case None:
            return None
        case "datetime":
            return instant_text(from_timestamp(value.datetime))
        case "keyword_list":
            return list(value.keyword_list.values)
        case "double":
            return value.double if math.isfinite(value.double) else None
    return getattr(value, kind)


def fill_attributes(attributes: SearchAttributes, text: bytes, where: str) -> None:
    """Reads an object of values."""
    members = object_of(text)
    if members is None:
        raise InvalidRequest("must be an object", where)
    for name, raw in members.items():
        fill_attribute(attributes.values[name], bytes(raw), f"{where}.{name}")


def fill_attribute(value: SearchAttribute, text: bytes, where: str) -> None:
    """Reads one value, in its plain form or with its type."""
    match text[:1]:
        case b"n":
            return
        case b'"':
            _fill_string(value, values.string(text, where))
        case b"t" | b"f":
            value.bool = values.boolean(text, where)
        case b"[":
            _fill_list(value, text, where)
        case b"{":
            _fill_typed(value, text, where)
        case _ if _NOT_WHOLE.isdisjoint(text):
            value.int = values.integer(*_INT64, text, where)
        case _:
            value.double = values.number(text, where)


def _fill_string(value: SearchAttribute, text: str) -> None:
    us = instant_of(text)
    if us is not None and instant_text(us) == text:
        value.datetime.CopyFrom(to_timestamp(us))
    elif len(text.encode()) > ID_BYTES_MAX:
        value.text = text
    else:
        value.keyword = text


def _fill_list(value: SearchAttribute, text: bytes, where: str) -> None:
    elements = array_of(text)
    if elements is None:
        raise InvalidRequest("must be a list of strings", where)
    read = [values.string(bytes(each), f"{where}[{at}]") for at, each in enumerate(elements)]
    value.keyword_list.SetInParent()
    value.keyword_list.values.extend(read)


def _fill_typed(value: SearchAttribute, text: bytes, where: str) -> None:
    members = object_of(text) or {}
    if members.keys() != _TYPED:
        raise InvalidRequest('must be a plain value, or {"type": …, "value": …}', where)
    kind = values.string(bytes(members["type"]), f"{where}.type")
    if kind not in _FILLERS:
        raise InvalidRequest(f"is not one of {', '.join(_FILLERS)}", f"{where}.type")
    if (content := bytes(members["value"])) != _NULL:
        _FILLERS[kind](value, content, f"{where}.value")


def _fill_instant(value: SearchAttribute, text: bytes, where: str) -> None:
    us = instant_of(values.string(text, where), or_day=True)
    if us is None:
        raise InvalidRequest("must be an instant such as 2026-01-31T12:00:00Z", where)
    value.datetime.CopyFrom(to_timestamp(us))


def _set(name: str, read: Callable[[bytes, str], Any], value: SearchAttribute, *at: Any) -> None:
    setattr(value, name, read(*at))


_FILLERS: Final[Mapping[str, Callable[[SearchAttribute, bytes, str], None]]] = {
    "keyword": partial(_set, "keyword", values.string),
    "text": partial(_set, "text", values.string),
    "int": partial(_set, "int", partial(values.integer, *_INT64)),
    "double": partial(_set, "double", values.number),
    "bool": partial(_set, "bool", values.boolean),
    "datetime": _fill_instant,
    "keyword_list": _fill_list,
}
"""Reads a value of each type."""
