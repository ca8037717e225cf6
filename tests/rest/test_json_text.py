from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure_server.rest.json_text import (
    LEVELS_MAX,
    NotJson,
    array_of,
    check,
    inlined,
    object_of,
)
from tests.rest.made import PATIENT

JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


def texts(ascii_only):
    return JSON_VALUES.map(lambda value: _dumped(value, ascii_only=ascii_only)).filter(bool)


def _dumped(value, *, ascii_only, indent=None):
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent)
    try:
        return text.encode()
    except UnicodeEncodeError:
        return b""


@PATIENT
@given(JSON_VALUES, st.booleans(), st.sampled_from([None, 1, "\t"]))
def test_any_json_is_taken_and_comes_back_without_its_line_breaks(value, ascii_only, indent):
    text = _dumped(value, ascii_only=ascii_only, indent=indent)
    if not text or b"\\ud" in text:
        return
    assert check(text) == text
    assert bytes(inlined(text)) == text.replace(b"\n", b"")
    assert json.loads(bytes(inlined(text))) == json.loads(text)


@PATIENT
@given(st.binary() | st.text(alphabet='[]{}",:\\u0123456789dDeE+-. truefalsn\n\t').map(str.encode))
def test_what_is_no_json_is_refused_and_nothing_else_happens(data):
    try:
        check(data)
    except NotJson:
        assert inlined(data) is None
        return
    json.loads(data, parse_constant=lambda _: pytest.fail("not JSON"))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b" ",
        b"nul",
        b"nullx",
        b"1 2",
        b"[1,]",
        b'{"a":1,}',
        b"{'a':1}",
        b'{"a":1',
        b"01",
        b"1.",
        b".5",
        b"+1",
        b"1e",
        b"NaN",
        b"Infinity",
        b'"\x01"',
        b'"\n"',
        b'"\\x"',
        b'"\\u12G4"',
        b'"\xff"',
        b'{"\xff":1}',
        b'"\xed\xa0\x80"',
        b"\xef\xbb\xbf1",
        b'"\\ud800"',
        b'"\\udc00"',
        b"/**/1",
    ],
)
def test_examples_that_are_refused(data):
    with pytest.raises(NotJson):
        check(data)


@pytest.mark.parametrize(
    "data", [b"1e400", b"-0", b"9" * 5000, b'"\\ud83d\\ude00"', b'{"a":1,"a":2}']
)
def test_examples_that_are_taken(data):
    assert check(data) is data


def test_half_of_a_surrogate_pair_is_named():
    with pytest.raises(NotJson, match="surrogate"):
        check(b'"\\ud800"')


@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}")])
@pytest.mark.parametrize("around", [b"%b", b'["[[[{{{\\"[[[", %b]'])
def test_the_bound_of_levels(opening, closing, around):
    levels = LEVELS_MAX - (around != b"%b")
    deepest = around % (opening * levels + b"1" + closing * levels)
    assert check(deepest) is deepest
    with pytest.raises(NotJson, match="100 levels"):
        check(around % (opening + deepest + closing))


def test_many_brackets_side_by_side_are_no_levels():
    wide = b"[" + b",".join([b'{"a":[]}'] * 1000) + b"]"
    assert check(wide) is wide


@pytest.mark.parametrize(
    "data", [b"[" * 200_000, b'{"a":' * 100_000, b'"\\"' * 50_000 + b"[" * 101]
)
def test_very_deep_or_unending_text_is_refused(data):
    with pytest.raises(NotJson):
        check(data)


def test_members_of_an_object_keep_their_bytes():
    members = object_of(b' { "a" : 1.0 , "b":[ 1 ],"a":2 } ')
    assert {key: bytes(raw) for key, raw in members.items()} == {"a": b"2", "b": b"[ 1 ]"}
    assert object_of(msgspec.Raw(b"[ ]")) == {}
    for other in (b"[1]", b"1", b"null", b'"a"'):
        assert object_of(other) is None


def test_elements_of_an_array_keep_their_bytes():
    assert [bytes(raw) for raw in array_of(b'[ 1 , "a",{ }]')] == [b"1", b'"a"', b"{ }"]
    assert array_of(b"{}") is None
