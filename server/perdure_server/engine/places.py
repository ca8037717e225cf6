"""Owns page tokens of lists: where a run stands in a list, as text and back."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any, Final

import msgspec

from perdure.v1.search_attributes_pb2 import SearchAttribute, SearchAttributes
from perdure_server.core.attribute_keys import keys_of, value_of
from perdure_server.core.errors import InvalidPageToken
from perdure_server.core.filters.conditions import FieldValue, Order
from perdure_server.core.filters.fields import FIELDS, Field, Kind
from perdure_server.core.limits import ID_BYTES_MAX
from perdure_server.core.model import Run
from perdure_server.core.times import to_timestamp
from perdure_server.store.contract import Place

_NEWEST: Final = "1:"
"""Begins the tokens of lists by run id; the run id behind which the page begins follows."""
_SORTED: Final = "2:"
"""Begins the tokens of sorted lists; the order and the place follow, encoded."""
_BYTES_MAX: Final = 4096
_TYPES: Final = {
    Kind.STRING: str,
    Kind.STATUS: str,
    Kind.WHOLE: int,
    Kind.TRUTH: bool,
    Kind.INSTANT: int,
}
_INT64: Final = 2**63


class _Token(msgspec.Struct, array_like=True):
    """The place behind which a page of a sorted list begins."""

    by: str
    is_field: bool
    descending: bool
    run_id: str
    key: Any
    """Bytes for an attribute, which no typed union may hold beside text; `_fits` looks at it."""


def place_of(order: Order | None, run: Run) -> Place:
    """Returns where a run stands in a list."""
    if order is None or order.by == FIELDS["run_id"]:
        return Place(run.run_id)
    if isinstance(order.by, Field):
        key = getattr(run, order.by.column)
        return Place(run.run_id, str(key) if isinstance(key, str) else key)
    attributes = SearchAttributes.FromString(run.attributes)
    keys = keys_of(attributes.values[order.by]) if order.by in attributes.values else []
    return Place(run.run_id, min(keys, default=None))


def page_token(order: Order | None, last: Run) -> str:
    """Returns the token of the page behind a run."""
    place = place_of(order, last)
    if order is None or order.by == FIELDS["run_id"]:
        return _NEWEST + place.run_id
    return _SORTED + urlsafe_b64encode(msgspec.msgpack.encode(_token(order, place))).decode()


def is_by_id(text: str) -> bool:
    """Whether a page token is of a list by run id."""
    return text.startswith(_NEWEST)


def read_page_token(text: str, order: Order | None) -> Place | None:
    """Returns the place behind which a page begins. Raises InvalidPageToken."""
    if not text:
        return None
    by_id = order is None or order.by == FIELDS["run_id"]
    if len(text) > _BYTES_MAX or not text.startswith(_NEWEST if by_id else _SORTED):
        raise _bad()
    place = Place(text.removeprefix(_NEWEST)) if by_id else _sorted_place(text, order)
    if "\0" in place.run_id or len(place.run_id) > ID_BYTES_MAX:
        raise _bad()
    return place


def shown(by: Field | str, value: FieldValue | bytes | None) -> SearchAttribute:
    """Returns the value of a group as callers see it."""
    match value:
        case None:
            return SearchAttribute()
        case bytes():
            return value_of(value)
        case bool():
            return SearchAttribute(bool=value)
        case str():
            return SearchAttribute(keyword=value)
    if isinstance(by, Field) and by.kind is Kind.INSTANT:
        return SearchAttribute(datetime=to_timestamp(value))
    return SearchAttribute(int=value)


def _token(order: Order, place: Place) -> _Token:
    is_field = isinstance(order.by, Field)
    name = order.by.name if isinstance(order.by, Field) else order.by
    return _Token(name, is_field, order.descending, place.run_id, place.key)


def _sorted_place(text: str, order: Order | None) -> Place:
    try:
        encoded = urlsafe_b64decode(text.removeprefix(_SORTED))
        token = msgspec.msgpack.decode(encoded, type=_Token)
    except (ValueError, msgspec.DecodeError):
        raise _bad() from None
    place = Place(token.run_id, token.key)
    if order is None or token != _token(order, place) or not _fits(order, token.key):
        raise _bad()
    return place


def _fits(order: Order, key: object) -> bool:
    """Whether a key is of the type by which a list is sorted."""
    if key is None:
        return True
    if not isinstance(order.by, Field):
        return isinstance(key, bytes)
    if type(key) is int:
        return _TYPES[order.by.kind] is int and -_INT64 <= key < _INT64
    return isinstance(key, _TYPES[order.by.kind]) and "\0" not in str(key)


def _bad() -> InvalidPageToken:
    return InvalidPageToken("send the token of the last page as it was received", "page_token")
