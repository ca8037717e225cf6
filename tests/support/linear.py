"""Owns the search for a linearization of what concurrent callers did to one object.

After Wing and Gong, with Lowe's memory of what was tried: an order of all operations is sought that
keeps to their instants and in which a sequential model gives every answer that was given.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, Protocol, TypeVar

_TRIED_MAX: Final = 1_000_000
"""So many pairs of what is done and the state it left are tried before the search gives up."""

S = TypeVar("S", bound=Hashable)


class Unknown:
    """Stands for the answer of an operation that perhaps happened, then or at any later time."""

    def __repr__(self) -> str:
        return "UNKNOWN"


UNKNOWN: Final = Unknown()


@dataclass(slots=True, frozen=True)
class Operation:
    """What was asked and answered, between two instants of one clock.

    `after` is the index of an operation that it follows although their instants overlap: an answer
    that is pieced together from several looks is several operations.
    """

    call: Any
    answer: Any
    invoked: int
    returned: int
    after: int | None = None


class Model(Protocol[S]):
    """What the object is when only one caller at a time uses it."""

    def step(self, state: S, call: Any, answer: Any) -> S | None:
        """Returns the state after a call that was answered so; None if it cannot be.

        With UNKNOWN as answer, the state after the call, whatever its answer was.
        """
        ...


@dataclass(slots=True, frozen=True)
class Verdict(Generic[S]):
    """What the search found. `order` is the longest that explains its answers."""

    is_linearizable: bool
    order: list[int]
    state: S
    """What the model is after them."""


@dataclass(slots=True, frozen=True)
class _Node(Generic[S]):
    """Some operations done, as bits, and the state that one order of them left."""

    done: int
    state: S
    last: int
    before: _Node[S] | None
    depth: int

    def order(self) -> list[int]:
        indexes: list[int] = []
        node: _Node[S] | None = self
        while node is not None and node.before is not None:
            indexes.append(node.last)
            node = node.before
        return indexes[::-1]


class Undecided(Exception):
    """The history is too wild to be judged."""


def judge(
    model: Model[S],
    initial: S,
    history: Sequence[Operation],
    *,
    tried_max: int = _TRIED_MAX,
) -> Verdict[S]:
    """Searches an order of a history that the model explains.

    Raises `Undecided` when that takes too long: histories have to be short.
    """
    certain = sum(1 << i for i, each in enumerate(history) if each.answer is not UNKNOWN)
    node = longest = _Node(0, initial, -1, None, 0)
    stack: list[_Node[S]] = [node]
    tried: set[tuple[int, S]] = {(0, initial)}
    while stack:
        node = stack.pop()
        if node.done & certain == certain:
            return Verdict(True, node.order(), node.state)
        if node.depth > longest.depth:
            longest = node
        for index in _next(history, node.done):
            state = _step(model, node.state, history[index])
            if state is None or (key := (node.done | 1 << index, state)) in tried:
                continue
            tried.add(key)
            stack.append(_Node(key[0], state, index, node, node.depth + 1))
        if len(tried) > tried_max:
            raise Undecided(f"{len(history)} operations, {len(tried)} states tried")
    return Verdict(False, longest.order(), longest.state)


def _step(model: Model[S], state: S, operation: Operation) -> S | None:
    after = model.step(state, operation.call, operation.answer)
    if operation.answer is UNKNOWN and after == state:
        # It might as well not have happened.
        return None
    return after


def _next(history: Sequence[Operation], done: int) -> Iterator[int]:
    """Yields those that may come next: no other had returned before they were invoked.

    The one that seems to come first is yielded last, since what is pushed last is tried first.
    """
    left = [index for index in range(len(history)) if not done >> index & 1]
    horizon = min(history[i].returned for i in left if history[i].answer is not UNKNOWN)
    able = [
        index
        for index in left
        if history[index].invoked <= horizon
        and ((after := history[index].after) is None or done >> after & 1)
    ]
    able.sort(key=lambda index: (history[index].answer is UNKNOWN, history[index].returned))
    yield from reversed(able)


def explain(verdict: Verdict[S], history: Sequence[Operation]) -> str:
    """Tells how far a history could be explained, and what was left."""
    placed = set(verdict.order)
    begin = min((each.invoked for each in history), default=0)

    def line(index: int) -> str:
        each = history[index]
        span = f"{each.invoked - begin:>12,} … {each.returned - begin:>12,}"
        return f"  {index:>3} {span}  {each.call} -> {each.answer}"

    lines = ["explained, in this order:", *map(line, verdict.order)]
    lines += [f"then the workflow is: {verdict.state}", "left, or impossible now:"]
    lines += [line(index) for index in range(len(history)) if index not in placed]
    return "\n".join(lines)
