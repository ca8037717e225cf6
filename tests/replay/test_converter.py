"""Values go to payloads and back by type; what cannot is named with its path."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, IntEnum
from pathlib import PurePosixPath
from typing import Any, Generic, Literal, NamedTuple, Required, TypedDict, TypeVar
from uuid import UUID

import msgspec
import pydantic
import pytest

from perdure.converter import PAYLOAD_BYTES_MAX, Converter
from perdure.errors import PayloadError
from perdure.v1.payload_pb2 import Payload

T = TypeVar("T")


class Colour(Enum):
    RED = "red"


class Point(NamedTuple):
    x: int
    y: int


class Movie(TypedDict):
    name: str


class Item(msgspec.Struct):
    sku: str


class Model(pydantic.BaseModel):
    at: datetime
    amount: Decimal = Decimal("1.50")


@dataclass
class Order:
    id: UUID
    items: list[Item]
    model: Model
    total: Decimal
    colour: Colour = Colour.RED
    tags: set[str] = field(default_factory=set)
    note: str | None = None
    blob: bytes = b"\x00"


ORDER = Order(
    id=UUID(int=5),
    items=[Item("a")],
    model=Model(at=datetime(2026, 1, 2, tzinfo=UTC)),
    total=Decimal("12.30"),
    tags={"x"},
)


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (None, None),
        (True, bool),
        (12345678901234567890123, int),
        (1.0, float),
        ("ä", str),
        (b"raw", bytes),
        ([1, [2]], Any),
        ({"a": None}, dict[str, int | None]),
        ({1: "a"}, dict[int, str]),
        ((1, "a"), tuple[int, str]),
        ({1, 2}, set[int]),
        (frozenset({1}), frozenset[int]),
        (datetime(2026, 1, 2, 3, tzinfo=UTC), datetime),
        (date(2026, 1, 2), date),
        (timedelta(days=1, microseconds=3), timedelta),
        (Decimal("0.10"), Decimal),
        (UUID(int=1), UUID),
        (Colour.RED, Colour),
        (Point(1, 2), Point),
        (Movie(name="m"), Movie),
        (Item("a"), Item),
        ("a", Literal["a", "b"]),
        (Model(at=datetime(2026, 1, 2, tzinfo=UTC)), Model),
        ([Model(at=datetime(2026, 1, 2, tzinfo=UTC))], list[Model]),
        (ORDER, Order),
        (ORDER, Order | None),
    ],
)
def test_there_and_back(value, kind):
    converter = Converter()
    payload = converter.encode(value)
    for _ in range(2):
        assert converter.decode(payload, kind) == value


@dataclass
class Cash:
    cents: int
    note: str = ""


@dataclass
class Card:
    number: str
    note: str = ""


class Page(msgspec.Struct, Generic[T]):
    items: list[T]


class Wrapped(pydantic.BaseModel, Generic[T]):
    item: T


class Other(pydantic.BaseModel):
    name: str


class Level(IntEnum):
    LOW = 1


class Partly(TypedDict, total=False):
    name: Required[str]
    age: int


@pytest.mark.parametrize(
    ("value", "kind", "data"),
    [
        (Cash(5), Cash | Card, '{"cents":5,"note":""}'),
        (Card("7"), Cash | Card, '{"number":"7","note":""}'),
        (Card("7"), Cash | Card | None, '{"number":"7","note":""}'),
        (None, Cash | Card | None, "null"),
        (Other(name="n"), Model | Other, '{"name":"n"}'),
        ([1], Cash | Card | list[int], "[1]"),
        (Page([Cash(5)]), Page[Cash], '{"items":[{"cents":5,"note":""}]}'),
        (Wrapped[int](item=3), Wrapped[int], '{"item":3}'),
        (Level.LOW, Level, "1"),
        (Partly(name="n"), Partly, '{"name":"n"}'),
        (PurePosixPath("a/b"), PurePosixPath, '"a/b"'),
        (time(1, 2), time, '"01:02:00"'),
        (datetime(2026, 1, 2, tzinfo=UTC), datetime, '"2026-01-02T00:00:00Z"'),
        (timedelta(days=1, microseconds=3), timedelta, '"P1DT0.000003S"'),
        (date(2026, 1, 2), date, '"2026-01-02"'),
        (Decimal("1.10"), Decimal, '"1.10"'),
        (UUID(int=1), UUID, '"00000000-0000-0000-0000-000000000001"'),
        ({Colour.RED: [b"x"]}, dict[Colour, list[bytes]], '{"red":["eA=="]}'),
        (Point(1, 2), Point, "[1,2]"),
        (10**30, int, "1" + 30 * "0"),
    ],
    ids=lambda value: "" if isinstance(value, str) else repr(value)[:40],
)
def test_the_bytes_of_each_type_are_the_same_for_ever(value, kind, data):
    payload = Converter().encode(value)
    assert payload == Payload(data=data.encode())
    back = Converter().decode(payload, kind)
    assert (back, type(back)) == (value, type(value))


def test_bytes_may_be_absent():
    converter = Converter()
    assert converter.decode(converter.encode(b"raw"), bytes | None) == b"raw"
    assert converter.decode(None, bytes | None) is None


def test_none_of_several_classes_says_why_for_each():
    with pytest.raises(PayloadError, match=r"as Cash: .*cents.*; as Card: .*number"):
        Converter().decode(Payload(data=b'{"note":"n"}'), Cash | Card)
    with pytest.raises(PayloadError, match="as Cash"):
        Converter().decode(Payload(data=b"3"), Cash | Card)


def test_json_is_the_default_and_bytes_travel_as_they_are():
    converter = Converter()
    assert converter.encode({"a": 1}) == Payload(data=b'{"a":1}')
    assert converter.encode(b"\xff") == Payload(data=b"\xff", encoding="binary/plain")
    assert converter.decode(Payload(data=b"1", encoding="json/plain"), int) == 1


def test_absent_and_empty_read_as_null():
    converter = Converter()
    assert converter.decode(None) is None
    assert converter.decode(Payload(), str | None) is None


class Odd:
    pass


@dataclass
class Holder:
    odd: Any


@pytest.mark.parametrize(
    ("value", "path"),
    [
        (Odd(), "value: cannot encode Odd"),
        ({"a": [1, Odd()]}, "value['a'][1]: cannot encode Odd"),
        (Holder(odd=(1, Odd())), "value.odd[1]: cannot encode Odd"),
        (Item(sku=Odd()), "value.sku: cannot encode Odd"),
        ({Odd(): 1}, "value: cannot encode dict"),
        ("\ud800", "value: cannot encode str"),
    ],
)
def test_what_cannot_be_encoded_is_named(value, path):
    with pytest.raises(PayloadError) as caught:
        Converter().encode(value)
    assert str(caught.value).startswith(path)


def test_a_value_that_contains_itself():
    value: list[Any] = []
    value.append(value)
    with pytest.raises(PayloadError, match="contains itself"):
        Converter().encode(value)


def test_a_value_beyond_the_bound():
    for value in ("x" * PAYLOAD_BYTES_MAX, b"x" * (PAYLOAD_BYTES_MAX + 1)):
        with pytest.raises(PayloadError, match="at most 2,097,152 fit"):
            Converter().encode(value)


@pytest.mark.parametrize(
    ("payload", "kind", "text"),
    [
        (Payload(data=b'"a"'), int, "as int: Expected `int`, got `str`"),
        (Payload(data=b'{"items":[]}'), Order, "as Order"),
        (Payload(data=b"{"), Any, "as Any|as typing.Any"),
        (Payload(data=b"{}"), Model, "as Model"),
        (Payload(data=b"{}"), Odd, "as Odd"),
        (Payload(data=b'"x"'), list[int], "list"),
        (Payload(data=b"x", encoding="binary/plain"), str, "plain bytes, not str"),
        (Payload(data=b"x", encoding="avro"), str, "no converter for the encoding 'avro'"),
        (None, int, "as int"),
        (Payload(data=b"1"), Order | Model | Holder, "cannot read"),
        (Payload(data=b"1"), list[Order | Holder], "more than one dataclass"),
    ],
)
def test_what_cannot_be_read_says_why(payload, kind, text):
    with pytest.raises(PayloadError, match=text):
        Converter().decode(payload, kind)
