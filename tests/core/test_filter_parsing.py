"""The grammar of filters: what it takes, and where it points when it does not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure_server.core.errors import InvalidFilter, LimitExceeded
from perdure_server.core.filters.parsing import parse_filter, parse_name, parse_sorting
from perdure_server.core.filters.syntax import (
    Absence,
    And,
    Beginning,
    Between,
    Comparison,
    Filter,
    Literal,
    Name,
    Not,
    Operator,
    Or,
    Sorting,
)
from perdure_server.core.limits import FILTER_BYTES_MAX, FILTER_DEPTH_MAX, FILTER_TERMS_MAX

MINUTE_US = 60_000_000


def condition(text: str) -> object:
    return parse_filter(text, "filter").condition


def equal(name: str, value: object, *columns: int) -> Comparison:
    return Comparison(Name(name, columns[0]), Operator.EQUAL, Literal(value, columns[1]))


def test_an_empty_filter_says_nothing() -> None:
    assert parse_filter(" \n ", "filter") == Filter(None, None)


@pytest.mark.parametrize(
    ("text", "operator"),
    [
        ("=", Operator.EQUAL),
        ("==", Operator.EQUAL),
        ("<", Operator.BELOW),
        ("<=", Operator.UP_TO),
        (">", Operator.ABOVE),
        (">=", Operator.SINCE),
    ],
)
def test_a_comparison(text: str, operator: Operator) -> None:
    assert condition(f"a{text}1") == Comparison(Name("a", 1), operator, Literal(1, 2 + len(text)))


@pytest.mark.parametrize("unequal", ["!=", "<>"])
def test_unequal_is_not_equal(unequal: str) -> None:
    assert condition(f"a {unequal} 1") == Not(equal("a", 1, 1, 6), 2)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1),
        ("-7", -7),
        ("+7", 7),
        ("1.5", 1.5),
        (".5", 0.5),
        ("2.", 2.0),
        ("1e3", 1000.0),
        ("1" * 5000, float("inf")),
        ("true", True),
        ("FALSE", False),
        ("'it''s'", "it's"),
        ('"say ""so"""', 'say "so"'),
        ("''", ""),
        ("'ü and order by'", "ü and order by"),
        ("now()", None),
    ],
)
def test_a_value(text: str, value: object) -> None:
    assert condition(f"a = {text}") == equal("a", value, 1, 5)


@pytest.mark.parametrize(
    ("text", "shift_us"),
    [
        ("now() - 1h30m", -90 * MINUTE_US),
        ("now()+1.5m", 90_000_000),
        ("NOW ( ) + 2w - 1d", 13 * 24 * 60 * MINUTE_US),
        ("now() -3s + 2ms - 1us", -3_000_000 + 1_999),
    ],
)
def test_an_instant_is_moved_by_durations(text: str, shift_us: int) -> None:
    assert condition(f"a > {text}") == Comparison(
        Name("a", 1), Operator.ABOVE, Literal(None, 5, shift_us)
    )
    assert condition("a = 'x' - 1s") == Comparison(
        Name("a", 1), Operator.EQUAL, Literal("x", 5, -1_000_000)
    )


def test_and_binds_closer_than_or_and_not_closest() -> None:
    a, b, c = equal("a", 1, 1, 3), equal("b", 2, 8, 10), equal("c", 3, 20, 22)
    assert condition("a=1 or b=2 and not c=3") == Or((a, And((b, Not(c, 2)), 3)), 4)
    assert condition("a=1 OR b=2") == Or((a, b), 2)
    grouped = condition("not (a=1 or b=2)")
    assert isinstance(grouped, Not)
    assert isinstance(grouped.part, Or)


def test_words_are_not_cut_from_names() -> None:
    assert condition("android=1 and order_id=2 and in.x=3") == And(
        (equal("android", 1, 1, 9), equal("order_id", 2, 15, 24), equal("in.x", 3, 30, 35)), 2
    )


def test_the_other_predicates() -> None:
    a = Name("a", 1)
    both = Or((equal("a", 1, 1, 7), equal("a", 2, 1, 10)), 2)
    assert condition("a in (1, 2)") == both
    assert condition("a in (1)") == equal("a", 1, 1, 7)
    assert isinstance(condition("a not in (1, 2)"), Not)
    between = Between(a, Literal(1, 11), Literal(2, 17))
    assert condition("a between 1 and 2") == between
    assert isinstance(condition("a not between 1 and 2 and b = 3"), And)
    assert condition("a starts_with 'x'") == Beginning(a, Literal("x", 15))
    assert condition("a not starts_with 'x'") == Not(Beginning(a, Literal("x", 19)), 2)
    assert condition("a is null") == Absence(a)
    assert condition("a IS NOT NULL") == Not(Absence(a), 2)


def test_quoted_names_are_taken_as_they_are() -> None:
    assert condition("`my ``status` = 1") == Comparison(
        Name("my `status", 1, is_quoted=True), Operator.EQUAL, Literal(1, 17)
    )
    assert parse_name("`x y`", "group_by") == Name("x y", 1, is_quoted=True)


def test_an_order() -> None:
    assert parse_sorting("a", "order_by") == Sorting(Name("a", 1), descending=False)
    assert parse_sorting("a ASC", "order_by") == Sorting(Name("a", 1), descending=False)
    assert parse_sorting("a desc", "order_by") == Sorting(Name("a", 1), descending=True)
    found = parse_filter("a=1 ORDER BY b DESC", "filter")
    assert found == Filter(equal("a", 1, 1, 3), Sorting(Name("b", 14), descending=True))
    assert parse_filter("order by b", "filter").condition is None


@pytest.mark.parametrize(
    ("text", "column", "told"),
    [
        ("a = ", 5, "expected a value, found the end"),
        ("a", 2, "found the end"),
        ("a = 5 5", 7, "expected AND or OR or ORDER or the end, found 5"),
        ("(a = 1", 7, "expected ), found the end"),
        ("a = 1)", 6, "found )"),
        ("a = 'x", 5, "the quote is not closed"),
        ("`a = 1", 1, "the quote is not closed"),
        ("a ! 1", 3, "expected"),
        ("a = 1 and", 10, "found the end"),
        ("a in ()", 7, "expected a value, found )"),
        ("a between 1", 12, "expected AND, found the end"),
        ("a = now(", 9, "expected ), found the end"),
        ("a = now() - ", 13, "expected a duration such as 1h30m"),
        ("a = now() - 1y", 13, "expected a duration"),
        ("a = now() + 9999999999w", 13, "the duration is too long"),
        ("a = 1\nand b ? 2", 13, "found ?"),
        ("= 1", 1, "expected"),
        ("a is not", 9, "expected NULL, found the end"),
        ("a = 1 order by", 15, "expected a name"),
        ("a order", 3, "found order"),
    ],
)
def test_an_error_points_at_the_column(text: str, column: int, told: str) -> None:
    with pytest.raises(InvalidFilter) as caught:
        parse_filter(text, "filter")
    assert caught.value.column == column
    assert told in str(caught.value)
    assert str(caught.value).startswith(f"filter: column {column}: ")


def test_a_name_and_an_order_are_nothing_else() -> None:
    with pytest.raises(InvalidFilter):
        parse_name("a = 1", "group_by")
    with pytest.raises(InvalidFilter):
        parse_sorting("a, b", "order_by")


def test_filters_have_bounds() -> None:
    with pytest.raises(LimitExceeded, match="the bound is 8192"):
        parse_filter("a = '" + "x" * FILTER_BYTES_MAX + "'", "filter")
    nots = "not " * (FILTER_DEPTH_MAX - 1)
    assert condition(f"{nots} a=1")
    with pytest.raises(LimitExceeded, match="nests 33 conditions"):
        parse_filter(f"not {nots} a=1", "filter")
    with pytest.raises(LimitExceeded, match="nests"):
        parse_filter("not " * 2_000 + "a=1", "filter")
    assert condition("(" * 4_000 + "a=1" + ")" * 4_000)
    values = ",".join(["1"] * FILTER_TERMS_MAX)
    assert condition(f"not a in ({values})")
    with pytest.raises(LimitExceeded, match="has 201 comparisons"):
        parse_filter(f"b is null and a in ({values})", "filter")


@given(st.text(alphabet="ab ='()`\"<>!,0.1-+\nandorti", max_size=40))
def test_any_text_is_read_or_refused_where_it_ends_at_the_latest(text: str) -> None:
    column = 1
    try:
        parse_filter(text, "filter")
    except InvalidFilter as error:
        column = error.column
    assert 1 <= column <= len(text) + 1
