"""Owns what tells whether code that only looks has changed the state of its workflow.

Before it runs, what it can reach is noted: the attributes of the workflow's object, what functions
have enclosed, and from there what stands in lists, dicts, sets, dataclasses, models and the locks
and queues of asyncio. What other objects hold is left alone: a logger, for example, remembers by
itself. No more than `VALUES_MAX` values are noted, so that a look costs little; of what is larger
the length counts.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Final

VALUES_MAX: Final = 1_000

_PLAIN: Final = frozenset({type(None), bool, int, float, complex, str, bytes})
_CONTAINERS: Final = (dict, list, tuple, set, frozenset, deque, bytearray)
_OF_ASYNCIO: Final = (asyncio.Event, asyncio.Lock, asyncio.Semaphore, asyncio.Queue)
_FIELDS: Final = ("__struct_fields__", "__dataclass_fields__", "__pydantic_fields__")
_ABSENT: Final = object()


class StateChangedError(RuntimeError):
    """Code that must only look has changed the state of its workflow."""


class Reach:
    """Where the state stands that functions can change: they are called with `before` first."""

    def __init__(self, before: Iterable[Any], functions: Iterable[Callable[..., Any]]) -> None:
        self._functions = [fn for fn in functions if getattr(fn, "__closure__", None)]
        bound = [fn.__self__ for fn in functions if hasattr(fn, "__self__")]
        self._instances = [*before, *bound]

    def values(self) -> dict[str, Any]:
        """What stands there now, under names that an author knows."""
        found: dict[str, Any] = {}
        for fn in self._functions:
            code: Any = fn
            for name, cell in zip(code.__code__.co_freevars, code.__closure__, strict=True):
                found[name] = _enclosed(cell)
        for instance in self._instances:
            for name, value in getattr(instance, "__dict__", {}).items():
                found[f"self.{name}"] = value
        return found


class Look:
    """What was noted when it was made."""

    def __init__(self, reach: Reach) -> None:
        self._reach = reach
        self._values = reach.values()
        self._noted: list[tuple[str, Any, int, list[Any]]] = []
        left, seen = VALUES_MAX, set[int]()
        waiting = deque(self._values.items())
        while waiting and left > 0:
            name, value = waiting.popleft()
            if type(value) in _PLAIN or id(value) in seen:
                continue
            content = _content(value, left)
            if content is not None:
                seen.add(id(value))
                self._noted.append((name, value, left, content))
                left -= 1 + len(content)
                waiting.extend((name, inner) for inner in content)

    def changed(self) -> str:
        """The name of something that is not as it was; empty when nothing was changed."""
        now = self._reach.values()
        for name in {**self._values, **now}:
            if not _same(self._values.get(name, _ABSENT), now.get(name, _ABSENT)):
                return name
        for name, value, most, content in self._noted:
            found = _content(value, most) or []
            if len(found) != len(content) or not all(map(_same, content, found)):
                return name
        return ""


def _content(value: Any, most: int) -> list[Any] | None:
    """What stands in a value; only how much, if it is more than `most`; None if nothing can."""
    if isinstance(value, _CONTAINERS):
        if len(value) > most:
            return [len(value)]
        return [*value, *value.values()] if isinstance(value, dict) else list(value)
    if isinstance(value, _OF_ASYNCIO):
        return list(vars(value).values())
    for listing in _FIELDS:
        fields = getattr(type(value), listing, None)
        if fields is not None:
            return [getattr(value, name, _ABSENT) for name in fields]
    return None


def _same(before: Any, after: Any) -> bool:
    if before is after:
        return True
    # What is equal to what it was before is no change; other types may take `==` in their own way.
    return type(before) is type(after) and type(before) in _PLAIN and bool(before == after)


def _enclosed(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return _ABSENT  # it has no value yet
