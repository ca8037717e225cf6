"""Owns search attributes as Python values: keys that know their type, and the way to the wire."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Final, Generic, TypeAlias, TypeVar

from google.protobuf.timestamp_pb2 import Timestamp

from perdure.v1.search_attributes_pb2 import KeywordList, SearchAttribute
from perdure.v1.search_attributes_pb2 import SearchAttributes as SearchAttributesMessage

T = TypeVar("T")

# Inside the class these words mean its methods.
_Int: TypeAlias = int
_Bool: TypeAlias = bool
_Datetime: TypeAlias = datetime
_INT64: Final = 2**63


@dataclass(frozen=True)
class SearchAttributeKey(Generic[T]):
    """The name of a search attribute and the type of its values.

    `SearchAttributeKey.keyword("customer")`. A `keyword` is compared as a whole, a `text` is found
    by each of its words.
    """

    name: str
    kind: str

    @classmethod
    def keyword(cls, name: str) -> SearchAttributeKey[str]:
        """Makes the key of words and ids, of at most 255 bytes."""
        return SearchAttributeKey(name, "keyword")

    @classmethod
    def text(cls, name: str) -> SearchAttributeKey[str]:
        """Makes the key of prose, of at most 2 KiB."""
        return SearchAttributeKey(name, "text")

    @classmethod
    def int(cls, name: str) -> SearchAttributeKey[_Int]:
        """Makes the key of whole numbers."""
        return SearchAttributeKey(name, "int")

    @classmethod
    def double(cls, name: str) -> SearchAttributeKey[float]:
        """Makes the key of numbers."""
        return SearchAttributeKey(name, "double")

    @classmethod
    def bool(cls, name: str) -> SearchAttributeKey[_Bool]:
        """Makes the key of truths."""
        return SearchAttributeKey(name, "bool")

    @classmethod
    def datetime(cls, name: str) -> SearchAttributeKey[_Datetime]:
        """Makes the key of instants, with a time zone."""
        return SearchAttributeKey(name, "datetime")

    @classmethod
    def keyword_list(cls, name: str) -> SearchAttributeKey[Sequence[str]]:
        """Makes the key of several keywords at once."""
        return SearchAttributeKey(name, "keyword_list")


SearchAttributes: TypeAlias = Mapping[str | SearchAttributeKey[Any], Any]
"""Values by key, or by name: then the type follows from the value. None means: not this one."""


def to_search_attributes(attributes: SearchAttributes) -> SearchAttributesMessage:
    """Makes the message. TypeError for a value that is not of its key's type."""
    message = SearchAttributesMessage()
    for key, value in attributes.items():
        name = key if isinstance(key, str) else key.name
        if value is None:
            message.values[name].SetInParent()
            continue
        kind = _kind_of(name, value) if isinstance(key, str) else key.kind
        message.values[name].CopyFrom(_MAKERS[kind](name, value))
    return message


def from_search_attributes(message: SearchAttributesMessage) -> dict[str, Any]:
    """Reads the message: values by name."""
    return {name: from_search_attribute(value) for name, value in sorted(message.values.items())}


def from_search_attribute(value: SearchAttribute) -> Any:
    """Reads one value; None when it has no type."""
    kind = value.WhichOneof("value")
    if kind == "datetime":
        return value.datetime.ToDatetime(UTC)
    if kind == "keyword_list":
        return list(value.keyword_list.values)
    return getattr(value, kind) if kind else None


def _kind_of(name: str, value: Any) -> str:
    for type_, kind in _KINDS:
        if isinstance(value, type_):
            return kind
    raise TypeError(f"the search attribute {name!r} cannot be {value!r}")


def _checked(kind: str, *types: type) -> Callable[[str, Any], SearchAttribute]:
    def make(name: str, value: Any) -> SearchAttribute:
        if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
            raise TypeError(f"the search attribute {name!r} is a {kind}, got {value!r}")
        fields: dict[str, Any] = {kind: value}
        return SearchAttribute(**fields)

    return make


def _whole(name: str, value: Any) -> SearchAttribute:
    if isinstance(value, int) and not -_INT64 <= value < _INT64:
        raise TypeError(f"the search attribute {name!r} has 64 bits, got {value}")
    return _checked("int", int)(name, value)


def _instant(name: str, value: Any) -> SearchAttribute:
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise TypeError(f"the search attribute {name!r} is a datetime with a zone, got {value!r}")
    timestamp = Timestamp()
    timestamp.FromDatetime(value)
    return SearchAttribute(datetime=timestamp)


def _keywords(name: str, value: Any) -> SearchAttribute:
    if isinstance(value, str) or not all(isinstance(each, str) for each in value):
        raise TypeError(f"the search attribute {name!r} is a list of keywords, got {value!r}")
    return SearchAttribute(keyword_list=KeywordList(values=value))


_KINDS: Final = (
    (bool, "bool"),
    (int, "int"),
    (float, "double"),
    (str, "keyword"),
    (datetime, "datetime"),
    ((list, tuple), "keyword_list"),
)
"""The type of an attribute that is given by its name, by the type of the value."""
_MAKERS: Final[Mapping[str, Callable[[str, Any], SearchAttribute]]] = MappingProxyType(
    {
        "keyword": _checked("keyword", str),
        "text": _checked("text", str),
        "int": _whole,
        "double": _checked("double", int, float),
        "bool": _checked("bool", bool),
        "datetime": _instant,
        "keyword_list": _keywords,
    }
)
"""Makes the message of a value of each type."""
