"""Owns the checked form of a filter, which stores compile.

A condition is true or false of a run, never unknown: a comparison with what a run does not have is
false, and its negation true.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from perdure_server.core.attribute_keys import ABOVE_ALL
from perdure_server.core.filters.fields import Field
from perdure_server.core.filters.syntax import Operator

FieldValue = str | int | bool
"""A value as the rows of runs have it: instants in microseconds, statuses by name."""


@dataclass(slots=True, frozen=True)
class Compared:
    """A field has a value that compares so with another."""

    field: Field
    operator: Operator
    value: FieldValue


@dataclass(slots=True, frozen=True)
class Missing:
    """A field has no value."""

    field: Field


@dataclass(slots=True, frozen=True)
class Attribute:
    """One of the keys of an attribute lies in [low, high)."""

    name: str
    low: bytes
    high: bytes

    @property
    def key(self) -> bytes | None:
        """The one key that is meant; None when it is a range."""
        return self.low if self.high == self.low + b"\0" else None


@dataclass(slots=True, frozen=True)
class Negation:
    """A condition does not hold."""

    part: Condition


@dataclass(slots=True, frozen=True)
class Every:
    """All of two or more conditions hold."""

    parts: tuple[Condition, ...]


@dataclass(slots=True, frozen=True)
class Some:
    """One of two or more conditions holds."""

    parts: tuple[Condition, ...]


Condition = Compared | Missing | Attribute | Negation | Every | Some


@dataclass(slots=True, frozen=True)
class Order:
    """By what a list is sorted: a field, or the least key of an attribute.

    Runs without a value come last; runs with the same one are sorted by run id, in the direction
    of the order.
    """

    by: Field | str
    descending: bool


def conjuncts(condition: Condition | None) -> Iterator[Condition]:
    """Yields the conditions that all have to hold."""
    if isinstance(condition, Every):
        for part in condition.parts:
            yield from conjuncts(part)
    elif condition is not None:
        yield condition


def every(*conditions: Condition | None) -> Condition | None:
    """Returns what holds when all of the given conditions hold; None when there are none."""
    parts = tuple(condition for condition in conditions if condition is not None)
    return Every(parts) if len(parts) > 1 else next(iter(parts), None)


def missing(by: Field | str) -> Condition:
    """Returns what holds of runs that have no value of a field, or no attribute of a name."""
    if isinstance(by, Field):
        return Missing(by)
    return Negation(Attribute(by, b"", ABOVE_ALL))
