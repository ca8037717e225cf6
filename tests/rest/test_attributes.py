"""Search attributes as JSON: each type by how it looks, each by its name, and what is refused."""

from __future__ import annotations

import msgspec
import pytest

from perdure.v1.search_attributes_pb2 import KeywordList, SearchAttribute, SearchAttributes
from perdure_server.core.errors import InvalidRequest
from perdure_server.core.times import to_timestamp
from perdure_server.rest.attributes import (
    attribute_value,
    attributes_value,
    fill_attribute,
    fill_attributes,
)


def read(json: str) -> SearchAttribute:
    value = SearchAttribute()
    fill_attribute(value, json.encode(), "a")
    return value


def shown(value: SearchAttribute) -> str:
    return msgspec.json.encode(attribute_value(value)).decode()


INSTANT = SearchAttribute(datetime=to_timestamp(1_774_746_000_500_000))


@pytest.mark.parametrize(
    ("json", "value"),
    [
        ('"x"', SearchAttribute(keyword="x")),
        ('""', SearchAttribute(keyword="")),
        ('"' + "x" * 256 + '"', SearchAttribute(text="x" * 256)),
        ('"2026-03-29T01:00:00.5Z"', INSTANT),
        ('"2026-03-29T01:00:00.50Z"', SearchAttribute(keyword="2026-03-29T01:00:00.50Z")),
        ('"2026-03-29T03:00:00.5+02:00"', SearchAttribute(keyword="2026-03-29T03:00:00.5+02:00")),
        ('"2026-03-29"', SearchAttribute(keyword="2026-03-29")),
        ("5", SearchAttribute(int=5)),
        ("-9223372036854775808", SearchAttribute(int=-(2**63))),
        ("5.0", SearchAttribute(double=5.0)),
        ("0.1", SearchAttribute(double=0.1)),
        ("true", SearchAttribute(bool=True)),
        ("false", SearchAttribute(bool=False)),
        ('["x","y"]', SearchAttribute(keyword_list=KeywordList(values=["x", "y"]))),
        ("[]", SearchAttribute(keyword_list=KeywordList())),
        ("null", SearchAttribute()),
    ],
)
def test_a_plain_value_is_read_and_shown_as_it_was_sent(json: str, value: SearchAttribute) -> None:
    assert read(json) == value
    assert shown(value) == json


@pytest.mark.parametrize(
    ("kind", "json", "value"),
    [
        ("keyword", '"2026-03-29T01:00:00.5Z"', SearchAttribute(keyword="2026-03-29T01:00:00.5Z")),
        ("text", '"late parcel"', SearchAttribute(text="late parcel")),
        ("int", "5.0", SearchAttribute(int=5)),
        ("double", "5", SearchAttribute(double=5.0)),
        ("bool", "true", SearchAttribute(bool=True)),
        ("datetime", '"2026-03-29T03:00:00.5+02:00"', INSTANT),
        ("keyword_list", '["x"]', SearchAttribute(keyword_list=KeywordList(values=["x"]))),
        ("keyword", "null", SearchAttribute()),
    ],
)
def test_a_value_may_say_its_type(kind: str, json: str, value: SearchAttribute) -> None:
    assert read(f'{{"type":"{kind}","value":{json}}}') == value


@pytest.mark.parametrize(
    ("json", "told"),
    [
        ("9223372036854775808", "a: is 9223372036854775808; it goes from"),
        ("1e999", "a: is 1e999, which is out of range"),
        ("[1]", r"a\[0\]: must be a string"),
        ("{}", "a: must be a plain value"),
        ('{"type":"text"}', "a: must be a plain value"),
        ('{"type":"fish","value":1}', "a.type: is not one of keyword, text, int"),
        ('{"type":1,"value":1}', "a.type: must be a string"),
        ('{"type":"int","value":"1"}', "a.value: must be a whole number"),
        ('{"type":"datetime","value":"soon"}', "a.value: must be an instant"),
        ('{"type":"keyword_list","value":"x"}', "a.value: must be a list"),
    ],
)
def test_what_is_no_value_is_refused(json: str, told: str) -> None:
    with pytest.raises(InvalidRequest, match=told):
        read(json)


def test_attributes_are_an_object() -> None:
    attributes = SearchAttributes()
    fill_attributes(attributes, b'{"b":1,"a":"x","none":null}', "search_attributes")
    assert attributes_value(attributes) == {"a": "x", "b": 1, "none": None}
    with pytest.raises(InvalidRequest, match="search_attributes: must be an object"):
        fill_attributes(attributes, b'"x"', "search_attributes")
    with pytest.raises(InvalidRequest, match=r"search_attributes.a: must be"):
        fill_attributes(attributes, b'{"a":{"b":1}}', "search_attributes")


def test_a_double_that_json_cannot_hold_is_null() -> None:
    assert attribute_value(SearchAttribute(double=float("nan"))) is None
