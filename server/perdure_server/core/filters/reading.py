"""Owns the check of a filter: names become fields or attributes, and values get their types."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from perdure.v1.search_attributes_pb2 import SearchAttributes
from perdure_server.core.attribute_keys import (
    INSTANT_US_MAX,
    INSTANT_US_MIN,
    bool_key,
    instant_key,
    instant_of,
    keys_of,
    number_key,
    string_key,
)
from perdure_server.core.errors import InvalidFilter
from perdure_server.core.fields import check_id
from perdure_server.core.filters.conditions import (
    Attribute,
    Compared,
    Condition,
    Every,
    FieldValue,
    Negation,
    Order,
    Some,
    missing,
)
from perdure_server.core.filters.fields import FIELDS, STATUSES, Field, Kind
from perdure_server.core.filters.parsing import parse_filter, parse_name, parse_sorting
from perdure_server.core.filters.syntax import (
    Absence,
    And,
    Beginning,
    Between,
    Comparison,
    Literal,
    Name,
    Node,
    Not,
    Operator,
    Or,
    Sorting,
)
from perdure_server.core.limits import SECOND_US

_WHOLE_MAX: Final = 2**63
_LAST_POINT: Final = 0x10FFFF
_SURROGATES: Final = range(0xD800, 0xE000)
_UNORDERED: Final = frozenset({Kind.STATUS, Kind.TRUTH})


@dataclass(slots=True, frozen=True)
class _Checker:
    """Checks one text; `field` is how the request calls it."""

    field: str
    now_us: int

    def condition(self, node: Node) -> Condition:
        """Checks a node with all that is in it."""
        match node:
            case And(parts):
                return Every(tuple(map(self.condition, parts)))
            case Or(parts):
                return Some(tuple(map(self.condition, parts)))
            case Not(part):
                return Negation(self.condition(part))
        return self._predicate(node)

    def resolve(self, name: Name) -> Field | str:
        """Returns the field that a name means, or the name of an attribute."""
        field = None if name.is_quoted else FIELDS.get(name.text)
        if field is None:
            check_id(self.field, name.text)
        return field or name.text

    def _predicate(self, node: Comparison | Between | Beginning | Absence) -> Condition:
        match node:
            case Comparison(name, operator, value):
                field = self.resolve(name)
                if isinstance(field, Field):
                    return self._compared(field, operator, value)
                return _attribute(field, operator, self._key(value))
            case Between(name, low, high):
                return self._between(name, low, high)
            case Beginning(name, prefix):
                return self._beginning(name, prefix)
        return missing(self.resolve(node.name))

    def _between(self, name: Name, low: Literal, high: Literal) -> Condition:
        field = self.resolve(name)
        if isinstance(field, Field):
            since = self._compared(field, Operator.SINCE, low)
            return Every((since, self._compared(field, Operator.UP_TO, high)))
        least, most = self._key(low), self._key(high)
        if least[:1] != most[:1]:
            raise self._wrong(high, "is of another type than the lower bound")
        return Attribute(field, least, most + b"\0")

    def _beginning(self, name: Name, prefix: Literal) -> Condition:
        field, text = self.resolve(name), prefix.value
        if not isinstance(text, str) or prefix.shift_us is not None:
            raise self._wrong(prefix, "is not a string, as STARTS_WITH wants one")
        after = _after_all_that_begin_with(text)
        if not isinstance(field, Field):
            return Attribute(field, string_key(text), _above(string_key(text)))
        if field.kind is not Kind.STRING:
            raise self._wrong(prefix, f"cannot begin {field.name}, which is not a string")
        since = Compared(field, Operator.SINCE, self._sendable(prefix, text))
        return Every((since, Compared(field, Operator.BELOW, after))) if after else since

    def _compared(self, field: Field, operator: Operator, literal: Literal) -> Condition:
        if operator is not Operator.EQUAL and field.kind in _UNORDERED:
            raise self._wrong(literal, f"cannot be above or below {field.name}: use = or IN")
        return Compared(field, operator, self._value(field, literal))

    def _value(self, field: Field, literal: Literal) -> FieldValue:
        value = literal.value
        if field.kind is Kind.INSTANT:
            return self._instant(literal)
        if value is None or literal.shift_us is not None:
            raise self._wrong(literal, f"is an instant, which {field.name} is not")
        match field.kind, value:
            case (Kind.TRUTH, bool()):
                return value
            case (Kind.WHOLE, int()) if not isinstance(value, bool):
                return self._whole(literal)
            case (Kind.STRING, str()):
                return self._sendable(literal, value)
            case (Kind.STATUS, str()):
                status = STATUSES.get(value.upper().replace("_", ""))
                if status is None:
                    known = ", ".join(sorted(set(STATUSES.values())))
                    raise self._wrong(literal, f"is no status; there are {known}")
                return status.value
        raise self._wrong(literal, f"is not what {field.name} has: {_WANTED[field.kind]}")

    def _key(self, literal: Literal) -> bytes:
        """Returns the key that a value has as an attribute."""
        match literal.value:
            case bool() as truth:
                return bool_key(truth)
            case int():
                return number_key(self._whole(literal))
            case float() as number:
                if abs(number) == float("inf"):
                    raise self._wrong(literal, "is out of range")
                return number_key(number)
            case str() as text if literal.shift_us is None and instant_of(text) is None:
                return string_key(self._sendable(literal, text))
        return instant_key(self._instant(literal))

    def _whole(self, literal: Literal) -> int:
        value = literal.value
        assert isinstance(value, int)
        if not -_WHOLE_MAX <= value < _WHOLE_MAX:
            raise self._wrong(literal, "is out of range")
        return value

    def _instant(self, literal: Literal) -> int:
        """Returns an instant: now, RFC 3339, a day, or a number of Unix seconds."""
        us: int | None = None
        match literal.value:
            case None:
                us = self.now_us
            case str() as text:
                us = instant_of(text, or_day=True)
            case int() | float() as number if not isinstance(number, bool):
                if abs(number) < _WHOLE_MAX / SECOND_US:
                    us = round(number * SECOND_US)
        if us is None:
            raise self._wrong(literal, "is no instant, like now() - 1h or '2026-01-31T12:00:00Z'")
        us += literal.shift_us or 0
        if not INSTANT_US_MIN <= us <= INSTANT_US_MAX:
            raise self._wrong(literal, "is not between the years 1 and 9999")
        return us

    def _sendable(self, literal: Literal, text: str) -> str:
        """Returns a text that databases take."""
        if "\0" in text:
            raise self._wrong(literal, "has a NUL")
        return text

    def _wrong(self, literal: Literal, problem: str) -> InvalidFilter:
        shown = "now()" if literal.value is None else repr(literal.value)
        return InvalidFilter(f"{shown} {problem}", literal.column, self.field)


_WANTED: Final = {
    Kind.STRING: "a string",
    Kind.STATUS: "a status",
    Kind.WHOLE: "a whole number",
    Kind.TRUTH: "true or false",
}


def read_filter(
    text: str, *, now_us: int, field: str = "filter"
) -> tuple[Condition | None, Order | None]:
    """Reads a filter. Raises InvalidFilter, which points at the column, and LimitExceeded."""
    found = parse_filter(text, field)
    checker = _Checker(field, now_us)
    condition = checker.condition(found.condition) if found.condition is not None else None
    return condition, _order(checker, found.sorting) if found.sorting else None


def read_order(text: str, *, field: str = "order_by") -> Order:
    """Reads an order. Raises InvalidFilter and LimitExceeded."""
    return _order(_Checker(field, 0), parse_sorting(text, field))


def read_name(text: str, *, field: str = "group_by") -> Field | str:
    """Reads the name of a field or of an attribute. Raises InvalidFilter and LimitExceeded."""
    return _Checker(field, 0).resolve(parse_name(text, field))


def equal_to(attributes: SearchAttributes) -> list[Condition]:
    """Returns what holds of runs that have all of these attributes.

    Of a list or a text, the run has to have each keyword or word; a value of no type means that
    the run has no such attribute.
    """
    conditions: list[Condition] = []
    for name, value in attributes.values.items():
        if value.WhichOneof("value") is None:
            conditions.append(missing(name))
        conditions += [Attribute(name, key, key + b"\0") for key in keys_of(value)]
    return conditions


def _order(checker: _Checker, sorting: Sorting) -> Order:
    return Order(checker.resolve(sorting.name), sorting.descending)


def _attribute(name: str, operator: Operator, key: bytes) -> Attribute:
    """Returns the keys of one type that compare so with a key."""
    lowest, highest = key[:1], _above(key[:1])
    match operator:
        case Operator.EQUAL:
            return Attribute(name, key, key + b"\0")
        case Operator.BELOW:
            return Attribute(name, lowest, key)
        case Operator.UP_TO:
            return Attribute(name, lowest, key + b"\0")
        case Operator.ABOVE:
            return Attribute(name, key + b"\0", highest)
    return Attribute(name, key, highest)


def _above(key: bytes) -> bytes:
    """Returns the first key after all that begin with this one: its last byte is never 255."""
    return key[:-1] + bytes([key[-1] + 1])


def _after_all_that_begin_with(text: str) -> str | None:
    """Returns the first text after all that begin with this one; None when there is none."""
    for place in range(len(text) - 1, -1, -1):
        point = ord(text[place]) + 1
        if point in _SURROGATES:
            point = _SURROGATES.stop
        if point <= _LAST_POINT:
            return text[:place] + chr(point)
    return None
