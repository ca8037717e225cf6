"""Owns the grammar of filters, and the way from text to its syntax tree.

The tree is built while the text is parsed, from the inside out: no depth of the text can exhaust
the stack.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from lark import Lark, Token, Transformer, UnexpectedCharacters, UnexpectedInput, UnexpectedToken

from perdure_server.core.errors import InvalidFilter, LimitExceeded
from perdure_server.core.filters.syntax import (
    Absence,
    And,
    Beginning,
    Between,
    Comparison,
    Filter,
    Literal,
    Name,
    Node,
    Not,
    Operator,
    Or,
    Sorting,
)
from perdure_server.core.limits import (
    DURATION_US_MAX,
    FILTER_BYTES_MAX,
    FILTER_DEPTH_MAX,
    FILTER_TERMS_MAX,
    SECOND_US,
)

GRAMMAR: Final = r"""
filter: [disjunction] [_ORDER _BY sorting]
sorting: name [ASC | DESC]

disjunction: conjunction (_OR conjunction)*
conjunction: negation (_AND negation)*
?negation: _NOT negation             -> negated
    | "(" disjunction ")"
    | name COMPARE value             -> comparison
    | name _IN "(" _values ")"       -> membership
    | name _NOT _IN "(" _values ")"  -> no_membership
    | name _BETWEEN value _AND value -> between
    | name _NOT _BETWEEN value _AND value -> not_between
    | name _STARTS_WITH value        -> beginning
    | name _NOT _STARTS_WITH value   -> no_beginning
    | name _IS _NULL                 -> absence
    | name _IS _NOT _NULL            -> presence

name: NAME | QUOTED_NAME
_values: value ("," value)*
value: NUMBER -> number
    | TRUTH -> truth
    | STRING shift* -> string
    | NOW "(" ")" shift* -> now
shift: SIGN DURATION

COMPARE: "<=" | ">=" | "!=" | "<>" | "<" | ">" | "=="  | "="
SIGN: "+" | "-"
DURATION: /(?:[0-9]+(?:\.[0-9]+)?(?:us|ms|[smhdw]))+(?![\w.])/
NUMBER: /[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?(?![\w.])/
STRING: /'(?:[^']|'')*'/ | /"(?:[^"]|"")*"/
QUOTED_NAME: /`(?:[^`]|``)+`/
NAME: /[A-Za-z_][\w.]*/

_ORDER.2: /order(?![\w.])/i
_BY.2: /by(?![\w.])/i
ASC.2: /asc(?![\w.])/i
DESC.2: /desc(?![\w.])/i
_OR.2: /or(?![\w.])/i
_AND.2: /and(?![\w.])/i
_NOT.2: /not(?![\w.])/i
_IN.2: /in(?![\w.])/i
_BETWEEN.2: /between(?![\w.])/i
_STARTS_WITH.2: /starts_with(?![\w.])/i
_IS.2: /is(?![\w.])/i
_NULL.2: /null(?![\w.])/i
TRUTH.2: /(?:true|false)(?![\w.])/i
NOW.2: /now(?![\w.])/i

%ignore /\s+/
"""
"""What a filter may look like; `sorting` alone is what an order may look like."""
_WORDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "NAME": "a name",
        "QUOTED_NAME": "a name",
        "COMPARE": "a comparison such as =",
        "NUMBER": "a value",
        "STRING": "a value",
        "TRUTH": "a value",
        "NOW": "a value",
        "SIGN": "+ or -",
        "DURATION": "a duration such as 1h30m",
        "LPAR": "(",
        "RPAR": ")",
        "COMMA": ",",
        "$END": "the end",
    }
)
"""What people call the terminals that are not words of the language themselves."""
_UNITS: Final[Mapping[str, int]] = MappingProxyType(
    {
        "us": 1,
        "ms": 1_000,
        "s": SECOND_US,
        "m": 60 * SECOND_US,
        "h": 3_600 * SECOND_US,
        "d": 86_400 * SECOND_US,
        "w": 7 * 86_400 * SECOND_US,
    }
)
_DIGITS_MAX: Final = 20
"""Longer numbers are no whole ones of 64 bits."""
_OPERATORS: Final[Mapping[str, Operator]] = MappingProxyType(
    {
        "=": Operator.EQUAL,
        "==": Operator.EQUAL,
        "<": Operator.BELOW,
        "<=": Operator.UP_TO,
        ">": Operator.ABOVE,
        ">=": Operator.SINCE,
    }
)


class _Builder(Transformer[Token, Any]):
    """Makes the nodes. Lark calls the method named after each rule with what the rule found."""

    def filter(self, found: list[Any]) -> Filter:
        condition, sorting = found
        return Filter(condition, sorting)

    def sorting(self, found: list[Any]) -> Sorting:
        name, direction = found
        return Sorting(name, direction is not None and direction.type == "DESC")

    def disjunction(self, found: list[Node]) -> Node:
        return found[0] if len(found) == 1 else Or(tuple(found), _depth(found))

    def conjunction(self, found: list[Node]) -> Node:
        return found[0] if len(found) == 1 else And(tuple(found), _depth(found))

    def negated(self, found: list[Node]) -> Node:
        return Not(found[0], _depth(found))

    def comparison(self, found: list[Any]) -> Node:
        name, operator, value = found
        if operator in {"!=", "<>"}:
            return self.negated([Comparison(name, Operator.EQUAL, value)])
        return Comparison(name, _OPERATORS[operator], value)

    def membership(self, found: list[Any]) -> Node:
        name, *values = found
        return self.disjunction([Comparison(name, Operator.EQUAL, value) for value in values])

    def no_membership(self, found: list[Any]) -> Node:
        return self.negated([self.membership(found)])

    def between(self, found: list[Any]) -> Node:
        return Between(*found)

    def not_between(self, found: list[Any]) -> Node:
        return self.negated([Between(*found)])

    def beginning(self, found: list[Any]) -> Node:
        return Beginning(*found)

    def no_beginning(self, found: list[Any]) -> Node:
        return self.negated([Beginning(*found)])

    def absence(self, found: list[Any]) -> Node:
        return Absence(*found)

    def presence(self, found: list[Any]) -> Node:
        return self.negated([Absence(*found)])

    def name(self, found: list[Token]) -> Name:
        (token,) = found
        if token.type == "QUOTED_NAME":
            return Name(_unquoted(token), _column(token), is_quoted=True)
        return Name(str(token), _column(token))

    def number(self, found: list[Token]) -> Literal:
        (token,) = found
        is_whole = token.lstrip("+-").isdigit() and len(token) <= _DIGITS_MAX
        return Literal(int(token) if is_whole else float(token), _column(token))

    def truth(self, found: list[Token]) -> Literal:
        (token,) = found
        return Literal(token.lower() == "true", _column(token))

    def string(self, found: list[Any]) -> Literal:
        token, *shifts = found
        return Literal(_unquoted(token), _column(token), _sum(shifts))

    def now(self, found: list[Any]) -> Literal:
        token, *shifts = found
        return Literal(None, _column(token), _sum(shifts))

    def shift(self, found: list[Token]) -> int:
        sign, duration = found
        shift_us = _duration_us(duration)
        return -shift_us if sign == "-" else shift_us


_PARSER: Final = Lark(
    GRAMMAR,
    parser="lalr",
    start=["filter", "sorting", "name"],
    transformer=_Builder(),
    maybe_placeholders=True,
    propagate_positions=False,
)


def parse_filter(text: str, field: str) -> Filter:
    """Reads a filter; `field` is how the request calls it. Raises InvalidFilter, LimitExceeded."""
    found: Filter = _parse(text, "filter", field)
    if found.condition is not None and found.condition.depth > FILTER_DEPTH_MAX:
        raise LimitExceeded(
            f"nests {found.condition.depth} conditions; the bound is {FILTER_DEPTH_MAX}", field
        )
    if (terms := _terms(found.condition)) > FILTER_TERMS_MAX:
        raise LimitExceeded(f"has {terms} comparisons; the bound is {FILTER_TERMS_MAX}", field)
    return found


def parse_sorting(text: str, field: str) -> Sorting:
    """Reads an order. Raises InvalidFilter and LimitExceeded."""
    found: Sorting = _parse(text, "sorting", field)
    return found


def parse_name(text: str, field: str) -> Name:
    """Reads a name. Raises InvalidFilter and LimitExceeded."""
    found: Name = _parse(text, "name", field)
    return found


def _parse(text: str, start: str, field: str) -> Any:
    if (size := len(text.encode())) > FILTER_BYTES_MAX:
        raise LimitExceeded(f"has {size} bytes; the bound is {FILTER_BYTES_MAX}", field)
    try:
        return _PARSER.parse(text, start=start)
    except UnexpectedInput as error:
        raise _unexpected(error, text, field) from None
    except _BadDuration as error:
        raise InvalidFilter("the duration is too long", error.column, field) from None


def _unexpected(error: UnexpectedInput, text: str, field: str) -> InvalidFilter:
    column, found = len(text) + 1, "the end"
    if isinstance(error, UnexpectedToken):
        expected = error.accepts or error.expected
        if error.token.type != "$END":
            column, found = _column(error.token), str(error.token)
    else:
        assert isinstance(error, UnexpectedCharacters)
        expected = error.allowed
        column = int(getattr(error, "pos_in_stream", 0)) + 1
        found = text[column - 1]
        if found in "'\"`":
            return InvalidFilter("the quote is not closed", column, field)
    words = sorted({_word(name) for name in expected})
    return InvalidFilter(f"expected {' or '.join(words)}, found {found}", column, field)


def _word(terminal: str) -> str:
    return _WORDS.get(terminal) or terminal.lstrip("_").upper()


def _column(token: Token) -> int:
    return int(token.start_pos or 0) + 1


def _unquoted(token: Token) -> str:
    quote = token[0]
    return str(token[1:-1]).replace(quote * 2, quote)


class _BadDuration(Exception):
    def __init__(self, column: int) -> None:
        super().__init__()
        self.column = column


def _duration_us(token: Token) -> int:
    total = 0.0
    number = ""
    unit = ""
    for character in f"{token} ":
        if unit and not character.isalpha():
            total += float(number) * _UNITS[unit]
            number = unit = ""
        if character.isalpha():
            unit += character
        else:
            number += character
    if total > DURATION_US_MAX:
        raise _BadDuration(_column(token))
    return round(total)


def _sum(shifts: list[int]) -> int | None:
    return sum(shifts) if shifts else None


def _depth(parts: list[Node]) -> int:
    return 1 + max(part.depth for part in parts)


def _terms(node: Node | None) -> int:
    match node:
        case None:
            return 0
        case And(parts) | Or(parts):
            return sum(map(_terms, parts))
        case Not(part):
            return _terms(part)
    return 1
