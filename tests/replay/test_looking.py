"""What is noted of the state of a workflow before code looks at it."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest
from pydantic import BaseModel

from perdure._replay.looking import VALUES_MAX, Look, Reach


@dataclass(slots=True)
class Order:
    items: list[str] = field(default_factory=list)
    paid: bool = False


class Line(msgspec.Struct):
    cents: int


class Model(BaseModel):
    cents: int


class State:
    def __init__(self) -> None:
        self.number = 1
        self.things: Any = None
        self.log = logging.getLogger("looked")


def look_at(things: Any) -> Look:
    state = State()
    state.things = things
    return Look(Reach((state,), ()))


@pytest.mark.parametrize(
    ("things", "change"),
    [
        ([1], lambda it: it.append(2)),
        ([1], lambda it: it.__setitem__(0, 2)),
        ({"a": 1}, lambda it: it.__setitem__("a", 2)),
        ({"a": [{}]}, lambda it: it["a"][0].update(b=1)),
        ({1}, lambda it: it.add(2)),
        (deque([1]), lambda it: it.appendleft(0)),
        (Counter("a"), lambda it: it.update("a")),
        (bytearray(b"a"), lambda it: it.extend(b"b")),
        (([1],), lambda it: it[0].clear()),
        (Order(), lambda it: setattr(it, "paid", True)),
        (Order(), lambda it: it.items.append("book")),
        (Order(), lambda it: delattr(it, "paid")),
        (Line(1), lambda it: setattr(it, "cents", 2)),
        (Model(cents=1), lambda it: setattr(it, "cents", 2)),
        (asyncio.Event(), lambda it: it.set()),
        (asyncio.Queue(), lambda it: it.put_nowait(1)),
        (list(range(2 * VALUES_MAX)), lambda it: it.append(1)),
    ],
)
def test_a_change_is_seen(things, change):
    look = look_at(things)
    assert look.changed() == ""
    change(things)
    assert look.changed() == "self.things"


def test_what_is_equal_to_what_it_was_is_no_change():
    things = [1000, "ab", 2.5]
    look = look_at(things)
    things[:] = [int("1000"), "".join("ab"), float("2.5")]
    assert look.changed() == ""
    things[0] = 1000.0
    assert look.changed() == "self.things"


def test_what_knows_itself_ends():
    things: list[Any] = []
    things.append(things)
    assert look_at(things).changed() == ""


def test_what_others_hold_is_left_alone():
    state = State()
    look = Look(Reach((state,), ()))
    state.log.isEnabledFor(17)
    assert look.changed() == ""


def test_no_more_is_noted_than_its_bound():
    things = [[[number] for number in range(100)] for _ in range(100)]
    look = look_at(things)
    assert len(look._noted) < VALUES_MAX
    things[0][0].append(1)
    things[99][99].append(1)
    assert look.changed() in {"", "self.things"}
    things.append([])
    assert look.changed() == "self.things"


def test_functions_have_a_state_too():
    count = 0

    class Counting:
        def __init__(self) -> None:
            self.count = 0

        def add(self) -> None:
            self.count += 1

    def add() -> None:
        nonlocal count
        count += 1

    def later() -> int:
        return unset

    counting = Counting()
    look = Look(Reach((), (add, later, counting.add, print)))
    assert look.changed() == ""
    counting.add()
    assert look.changed() == "self.count"
    add()
    assert look.changed() == "count"
    look = Look(Reach((), (later,)))
    unset = 1
    assert look.changed() == "unset"
