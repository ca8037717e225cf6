"""Owns the syntax tree of a filter: what was written, and in which column."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Operator(StrEnum):
    """How a field is compared with a value. `!=` is the negation of EQUAL."""

    EQUAL = "equal"
    BELOW = "below"
    UP_TO = "up_to"
    ABOVE = "above"
    SINCE = "since"


@dataclass(slots=True, frozen=True)
class Name:
    """A field or an attribute; `is_quoted` means an attribute, whatever fields there are."""

    text: str
    column: int
    is_quoted: bool = False


@dataclass(slots=True, frozen=True)
class Literal:
    """A value as written: `now` and strings may be moved by `shift_us`, None when they are not."""

    value: str | int | float | bool | None
    """None stands for now()."""
    column: int
    shift_us: int | None = None


@dataclass(slots=True, frozen=True)
class Comparison:
    """A name, an operator, a value."""

    name: Name
    operator: Operator
    value: Literal
    depth: int = 1


@dataclass(slots=True, frozen=True)
class Between:
    """A name between two values, both included."""

    name: Name
    low: Literal
    high: Literal
    depth: int = 1


@dataclass(slots=True, frozen=True)
class Beginning:
    """A name whose value begins with a string."""

    name: Name
    prefix: Literal
    depth: int = 1


@dataclass(slots=True, frozen=True)
class Absence:
    """A name without a value."""

    name: Name
    depth: int = 1


@dataclass(slots=True, frozen=True)
class Not:
    """The negation of a condition."""

    part: Node
    depth: int


@dataclass(slots=True, frozen=True)
class And:
    """Conditions that all hold."""

    parts: tuple[Node, ...]
    depth: int


@dataclass(slots=True, frozen=True)
class Or:
    """Conditions of which one holds."""

    parts: tuple[Node, ...]
    depth: int


Node = Comparison | Between | Beginning | Absence | Not | And | Or


@dataclass(slots=True, frozen=True)
class Sorting:
    """A name to sort by."""

    name: Name
    descending: bool


@dataclass(slots=True, frozen=True)
class Filter:
    """A whole filter: what to keep, and in which order; None for what it does not say."""

    condition: Node | None
    sorting: Sorting | None
