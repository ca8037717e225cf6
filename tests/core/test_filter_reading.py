"""The check of filters: fields and attributes, the types of values, and what follows."""

from __future__ import annotations

import pytest

from perdure.v1.search_attributes_pb2 import KeywordList, SearchAttribute, SearchAttributes
from perdure_server.core.attribute_keys import (
    bool_key,
    instant_key,
    instant_of,
    number_key,
    string_key,
)
from perdure_server.core.errors import InvalidFilter, LimitExceeded
from perdure_server.core.filters.conditions import (
    Attribute,
    Compared,
    Condition,
    Every,
    Missing,
    Negation,
    Order,
    Some,
    conjuncts,
    every,
)
from perdure_server.core.filters.fields import FIELDS
from perdure_server.core.filters.reading import equal_to, read_filter, read_name, read_order
from perdure_server.core.filters.syntax import Operator

NOW_US = 1_700_000_000_000_000
HOUR_US = 3_600_000_000
EQUAL, BELOW, UP_TO = Operator.EQUAL, Operator.BELOW, Operator.UP_TO
ABOVE, SINCE = Operator.ABOVE, Operator.SINCE


def condition(text: str) -> Condition | None:
    return read_filter(text, now_us=NOW_US)[0]


def compared(name: str, operator: Operator, value: str | int | bool) -> Compared:
    return Compared(FIELDS[name], operator, value)


def at(text: str) -> int:
    us = instant_of(text)
    assert us is not None
    return us


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("workflow_id = 'a'", compared("workflow_id", EQUAL, "a")),
        ("id = 'a'", compared("workflow_id", EQUAL, "a")),
        ("WorkflowId = 'a'", compared("workflow_id", EQUAL, "a")),
        ("parent_id = 'p'", compared("parent_workflow_id", EQUAL, "p")),
        ("ParentWorkflowId = ''", compared("parent_workflow_id", EQUAL, "")),
        ("ParentId > 'p'", compared("parent_workflow_id", ABOVE, "p")),
        ("type < 'b'", compared("workflow_type", BELOW, "b")),
        ("status = 'running'", compared("status", EQUAL, "RUNNING")),
        ("ExecutionStatus = 'TimedOut'", compared("status", EQUAL, "TIMED_OUT")),
        ("status = 'Canceled'", compared("status", EQUAL, "CANCELLED")),
        ("history_length >= 10", compared("history_length", SINCE, 10)),
        ("cancel_requested = true", compared("cancel_requested", EQUAL, True)),
        ("created_at > now() - 1h", compared("created_at", ABOVE, NOW_US - HOUR_US)),
        ("StartTime > now()", compared("created_at", ABOVE, NOW_US)),
        (
            "completed_at <= '2026-01-31T12:00:00+02:00'",
            compared("completed_at", UP_TO, at("2026-01-31T10:00:00Z")),
        ),
        (
            "created_at >= '2026-01-31' + 1d",
            compared("created_at", SINCE, at("2026-02-01T00:00:00Z")),
        ),
        ("created_at = 1.5", compared("created_at", EQUAL, 1_500_000)),
        ("created_at = 2", compared("created_at", EQUAL, 2_000_000)),
        ("completed_at is null", Missing(FIELDS["completed_at"])),
        (
            "attempt between 1 and 3",
            Every((compared("attempt", SINCE, 1), compared("attempt", UP_TO, 3))),
        ),
        (
            "id starts_with 'ab'",
            Every((compared("workflow_id", SINCE, "ab"), compared("workflow_id", BELOW, "ac"))),
        ),
        (
            "id starts_with '\ud7ff'",
            Every(
                (
                    compared("workflow_id", SINCE, "\ud7ff"),
                    compared("workflow_id", BELOW, "\ue000"),
                )
            ),
        ),
        (
            "id starts_with 'a\U0010ffff'",
            Every(
                (
                    compared("workflow_id", SINCE, "a\U0010ffff"),
                    compared("workflow_id", BELOW, "b"),
                )
            ),
        ),
        ("id starts_with ''", compared("workflow_id", SINCE, "")),
        (
            "id starts_with '\U0010ffff'",
            compared("workflow_id", SINCE, "\U0010ffff"),
        ),
    ],
)
def test_a_field(text: str, expected: Condition) -> None:
    assert condition(text) == expected


def within(low: bytes, high: bytes) -> Attribute:
    return Attribute("a", low, high)


ONE, TWO, X = number_key(1), number_key(2), string_key("x")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a = 1", within(ONE, ONE + b"\0")),
        ("a < 1", within(b"n", ONE)),
        ("a <= 1", within(b"n", ONE + b"\0")),
        ("a > 1", within(ONE + b"\0", b"o")),
        ("a >= 1", within(ONE, b"o")),
        ("a = 1.0", within(ONE, ONE + b"\0")),
        ("a = 'x'", within(X, X + b"\0")),
        ("a > 'x'", within(X + b"\0", b"t")),
        ("a = true", within(bool_key(True), bool_key(True) + b"\0")),
        ("a > now()", within(instant_key(NOW_US) + b"\0", b"u")),
        (
            "a = '1970-01-01T00:00:01Z' + 1s",
            within(instant_key(2_000_000), instant_key(2_000_000) + b"\0"),
        ),
        (
            "a = '1970-01-01T00:00:01Z'",
            within(instant_key(1_000_000), instant_key(1_000_000) + b"\0"),
        ),
        ("a = '1970-01-01'", within(string_key("1970-01-01"), string_key("1970-01-01") + b"\0")),
        ("a between 1 and 2", within(ONE, TWO + b"\0")),
        ("a starts_with 'x'", within(X, string_key("y"))),
        ("a starts_with ''", within(b"s", b"t")),
        ("a is null", Negation(within(b"", b"\xff"))),
        ("a is not null", Negation(Negation(within(b"", b"\xff")))),
        ("`a` != 'x'", Negation(within(X, X + b"\0"))),
    ],
)
def test_an_attribute(text: str, expected: Condition) -> None:
    assert condition(text) == expected


def test_conditions_are_joined() -> None:
    a, b = condition("a = 1"), condition("b = 2")
    assert a
    assert b
    assert condition("a = 1 or b = 2") == Some((a, b))
    assert condition("a = 1 and b = 2") == Every((a, b))
    assert condition("") is None
    assert list(conjuncts(condition("a = 1 and (b = 2 and a = 1)"))) == [a, b, a]
    assert list(conjuncts(None)) == []
    assert every() is None
    assert every(None, a) == a
    assert every(a, None, b) == Every((a, b))


def test_a_key_is_told_from_a_range() -> None:
    assert within(X, X + b"\0").key == X
    assert within(X, X + b"\1").key is None


def test_a_quoted_name_is_an_attribute() -> None:
    assert condition("`status` = 'x'") == Attribute("status", X, X + b"\0")
    assert read_name("status") == FIELDS["status"]
    assert read_name("`status`") == "status"
    assert read_name("team") == "team"


def test_an_order_is_by_a_field_or_an_attribute() -> None:
    assert read_order("CloseTime desc") == Order(FIELDS["completed_at"], descending=True)
    assert read_order("team") == Order("team", descending=False)
    found = read_filter("order by team desc", now_us=NOW_US)
    assert found == (None, Order("team", descending=True))


@pytest.mark.parametrize(
    ("text", "column", "told"),
    [
        ("status = 'DONE'", 10, "'DONE' is no status; there are CANCELLED, COMPLETED,"),
        ("status = 1", 10, "is not what status has: a status"),
        ("status > 'RUNNING'", 10, "use = or IN"),
        ("cancel_requested < true", 20, "use = or IN"),
        ("cancel_requested = 1", 20, "true or false"),
        ("attempt = '1'", 11, "a whole number"),
        ("attempt = 1.5", 11, "a whole number"),
        ("attempt = true", 11, "a whole number"),
        ("attempt = 9223372036854775808", 11, "is out of range"),
        ("id = 1", 6, "a string"),
        ("id = 'a' - 1s", 6, "is an instant, which workflow_id is not"),
        ("id = now()", 6, "now() is an instant"),
        ("id = 'a\0'", 6, "has a NUL"),
        ("id starts_with 'a\0'", 16, "has a NUL"),
        ("id starts_with 1", 16, "is not a string"),
        ("a starts_with 'x' - 1s", 15, "is not a string"),
        ("attempt starts_with '1'", 21, "cannot begin attempt"),
        ("created_at > 'yesterday'", 14, "'yesterday' is no instant, like now() - 1h"),
        ("created_at > true", 14, "is no instant"),
        ("created_at > 1e300", 14, "is no instant"),
        ("created_at > 9223372036854", 14, "is not between the years"),
        ("created_at > '9999-12-31' + 1d", 14, "is not between the years"),
        ("a = 'x' - 1h", 5, "is no instant"),
        ("a = 1e999", 5, "is out of range"),
        ("a = -9223372036854775809", 5, "is out of range"),
        ("a = 'x\0'", 5, "has a NUL"),
        ("a between 1 and 'x'", 17, "is of another type"),
    ],
)
def test_a_value_that_does_not_fit(text: str, column: int, told: str) -> None:
    with pytest.raises(InvalidFilter) as caught:
        condition(text)
    assert caught.value.column == column
    assert told in str(caught.value)


def test_the_name_of_an_attribute_has_a_bound() -> None:
    with pytest.raises(LimitExceeded):
        condition("x" * 256 + " = 1")


def test_attributes_are_asked_for_as_they_are() -> None:
    asked = SearchAttributes()
    asked.values["a"].keyword = "x"
    asked.values["b"].SetInParent()
    asked.values["c"].CopyFrom(SearchAttribute(keyword_list=KeywordList(values=["y", "x"])))
    y = string_key("y")
    assert sorted(map(repr, equal_to(asked))) == sorted(
        map(
            repr,
            [
                within(X, X + b"\0"),
                Negation(Attribute("b", b"", b"\xff")),
                Attribute("c", X, X + b"\0"),
                Attribute("c", y, y + b"\0"),
            ],
        )
    )
