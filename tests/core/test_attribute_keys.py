"""The keys of search attributes are in the order of the values."""

from __future__ import annotations

import math
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.v1.search_attributes_pb2 import KeywordList, SearchAttribute
from perdure_server.core.attribute_keys import (
    ABOVE_ALL,
    INSTANT_US_MAX,
    INSTANT_US_MIN,
    bool_key,
    instant_key,
    instant_of,
    instant_text,
    keys_of,
    number_key,
    string_key,
    value_of,
)
from perdure_server.core.times import to_timestamp

WHOLE = st.integers(-(2**63), 2**63 - 1)
NUMBERS = WHOLE | st.floats(allow_nan=False, allow_infinity=False)
INSTANTS = st.integers(INSTANT_US_MIN, INSTANT_US_MAX)


@given(NUMBERS, NUMBERS)
def test_numbers_compare_exactly_whole_or_not(one: float, other: float) -> None:
    assert (number_key(one) < number_key(other)) == (one < other)
    assert (number_key(one) == number_key(other)) == (one == other)


@pytest.mark.parametrize("whole", [2**53, 2**62, -(2**63) + 1, 2**63 - 2])
def test_large_numbers_are_not_rounded(whole: int) -> None:
    assert number_key(whole) < number_key(whole + 1)


@given(st.text(), st.text())
def test_strings_compare_by_code_point(one: str, other: str) -> None:
    assert (string_key(one) < string_key(other)) == (one < other)


@given(INSTANTS, INSTANTS)
def test_instants_compare(one: int, other: int) -> None:
    assert (instant_key(one) < instant_key(other)) == (one < other)


def test_types_do_not_mix() -> None:
    keys = [bool_key(True), number_key(math.inf), string_key("\U0010ffff"), instant_key(0)]
    assert keys == sorted(keys)
    assert max(keys) < ABOVE_ALL
    assert bool_key(False) < bool_key(True) < number_key(-math.inf)


@pytest.mark.parametrize(
    ("value", "keys"),
    [
        (SearchAttribute(keyword="Two words"), [string_key("Two words")]),
        (
            SearchAttribute(text="The late, late Ünïted_1 parcel! " + "x" * 300),
            [string_key(word) for word in ("late", "parcel", "the", "ünïted_1")],
        ),
        (SearchAttribute(int=3), [number_key(3)]),
        (SearchAttribute(double=3), [number_key(3)]),
        (SearchAttribute(bool=False), [bool_key(False)]),
        (SearchAttribute(datetime=to_timestamp(5)), [instant_key(5)]),
        (
            SearchAttribute(keyword_list=KeywordList(values=["b", "a", "b"])),
            [string_key("a"), string_key("b")],
        ),
        (SearchAttribute(keyword_list=KeywordList()), []),
        (SearchAttribute(), []),
    ],
)
def test_the_keys_of_a_value(value: SearchAttribute, keys: list[bytes]) -> None:
    assert keys_of(value) == keys


@given(
    st.builds(SearchAttribute, keyword=st.text())
    | st.builds(SearchAttribute, int=WHOLE)
    | st.builds(SearchAttribute, double=st.floats(allow_nan=False, allow_infinity=False))
    | st.builds(SearchAttribute, bool=st.booleans())
    | st.builds(SearchAttribute, datetime=INSTANTS.map(to_timestamp))
)
def test_a_key_tells_its_value(value: SearchAttribute) -> None:
    (key,) = keys_of(value)
    told = value_of(key)
    assert keys_of(told) == [key]
    if value.WhichOneof("value") != "double":
        assert told == value


def test_a_double_without_a_fraction_is_told_as_a_whole_number_if_it_fits() -> None:
    assert value_of(number_key(-0.0)) == SearchAttribute(int=0)
    assert value_of(number_key(2.0**63)) == SearchAttribute(double=2.0**63)
    assert value_of(number_key(0.5)) == SearchAttribute(double=0.5)


@pytest.mark.parametrize(
    ("text", "us"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01t00:00z", 0),
        ("1970-01-01 00:00:01.5+00:00", 1_500_000),
        ("1970-01-01T02:00:00+02:00", 0),
        ("1969-12-31T23:59:59.999999Z", -1),
        ("1970-01-01T00:00:00", None),
        ("0001-01-01T00:00:00+01:00", None),
        ("9999-12-31T23:59:59-01:00", None),
        ("1970-13-01T00:00:00Z", None),
        ("1970-01-01", None),
        ("yesterday", None),
        ("1970-01-01T00:00:00.1234567Z", None),
        ("٢٠٢٦-01-01T00:00:00Z", None),
    ],
)
def test_an_instant_is_read(text: str, us: int | None) -> None:
    assert instant_of(text) == us


def test_a_day_may_mean_its_beginning() -> None:
    assert instant_of("1970-01-02", or_day=True) == 86_400_000_000
    assert instant_of("1970-99-02", or_day=True) is None


@given(INSTANTS)
def test_an_instant_is_written_as_it_is_read(us: int) -> None:
    text = instant_text(us)
    assert instant_of(text) == us
    assert datetime.fromisoformat(text).tzinfo is UTC
    assert not text.removesuffix("Z").endswith(".")
