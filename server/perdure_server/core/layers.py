"""Owns the rows of a draft: changes kept apart from the rows that they change."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Generic, TypeVar

from perdure_server.core.changeset import RunChange
from perdure_server.core.model import Activity, Child, Task, TaskKind, Timer, TimerKind, Update
from perdure_server.core.state import RunState

K = TypeVar("K")
V = TypeVar("V")


class Layer(Generic[K, V]):
    """Rows of one kind, changed on top of those `below`.

    `own` holds the changes, None for a row that is gone.
    """

    __slots__ = ("_below", "own")

    def __init__(self, below: Mapping[K, V] | Layer[K, V]) -> None:
        self._below = below
        self.own: dict[K, V | None] = {}

    def get(self, key: K) -> V | None:
        """Returns a row, or None."""
        if key in self.own:
            return self.own[key]
        return self._below.get(key)

    def items(self) -> Iterator[tuple[K, V]]:
        """Yields every row with its key."""
        for key, row in self._below.items():
            if key not in self.own:
                yield key, row
        for key, own in self.own.items():
            if own is not None:
                yield key, own

    def touched(self, key: K) -> bool:
        """Whether this layer or a layer below changed the row."""
        return key in self.own or (isinstance(self._below, Layer) and self._below.touched(key))

    def split(self) -> tuple[dict[K, V], set[K]]:
        """Returns the rows that this layer wrote, and the keys of those that it removed."""
        puts: dict[K, V] = {}
        drops: set[K] = set()
        for key, row in self.own.items():
            if row is None:
                drops.add(key)
            else:
                puts[key] = row
        return puts, drops


class Rows:
    """The pending work of a run in layers, on top of stored rows or of other changes."""

    __slots__ = ("activities", "children", "tasks", "timers", "updates")

    def __init__(self, below: RunState | Rows) -> None:
        self.activities: Layer[int, Activity] = Layer(below.activities)
        self.tasks: Layer[tuple[TaskKind, int], Task] = Layer(below.tasks)
        self.timers: Layer[tuple[TimerKind, int], Timer] = Layer(below.timers)
        self.children: Layer[int, Child] = Layer(below.children)
        self.updates: Layer[int, Update] = Layer(below.updates)

    def __bool__(self) -> bool:
        """Whether this changes anything."""
        return bool(
            self.tasks.own
            or self.timers.own
            or self.activities.own
            or self.children.own
            or self.updates.own
        )

    def write_into(self, change: RunChange) -> None:
        """Says in a change what these rows change; most changes have few kinds of them."""
        if self.activities.own:
            change.put_activities, change.del_activities = self.activities.split()
        if self.tasks.own:
            change.put_tasks, change.del_tasks = self.tasks.split()
        if self.timers.own:
            change.put_timers, change.del_timers = self.timers.split()
        if self.children.own:
            change.put_children, _ = self.children.split()
        if self.updates.own:
            change.put_updates, _ = self.updates.split()

    def absorb(self, above: Rows) -> None:
        """Takes over the changes of rows that lie on top of these."""
        self.activities.own.update(above.activities.own)
        self.tasks.own.update(above.tasks.own)
        self.timers.own.update(above.timers.own)
        self.children.own.update(above.children.own)
        self.updates.own.update(above.updates.own)


def write_rows(rows: dict[K, V], puts: dict[K, V], drops: set[K]) -> None:
    """Does to rows in memory what the store does to its own: deletes, then puts."""
    for key in drops:
        rows.pop(key, None)
    if puts:
        rows.update(puts)
