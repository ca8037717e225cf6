"""Owns the rows of a draft: changes kept apart from the rows that they change."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, Generic, TypeVar

from perdure_server.core.changeset import RunChange
from perdure_server.core.model import Activity, Child, Task, TaskKind, Timer, TimerKind, Update
from perdure_server.core.state import RunState

K = TypeVar("K")
V = TypeVar("V")

_DELETED: Final = frozenset({"activities", "tasks", "timers"})
"""The kinds of rows that a change may delete one by one."""


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

    def puts(self) -> dict[K, V]:
        """Returns the rows that this layer wrote."""
        return {key: row for key, row in self.own.items() if row is not None}

    def drops(self) -> set[K]:
        """Returns the keys of the rows that this layer removed."""
        return {key for key, row in self.own.items() if row is None}


class Rows:
    """The pending work of a run in layers, on top of stored rows or of other changes."""

    __slots__ = ("_below", "activities", "children", "made", "tasks", "timers", "updates")

    activities: Layer[int, Activity]
    tasks: Layer[tuple[TaskKind, int], Task]
    timers: Layer[tuple[TimerKind, int], Timer]
    children: Layer[int, Child]
    updates: Layer[int, Update]

    def __init__(self, below: RunState | Rows) -> None:
        self._below = below
        self.made: list[str] = []
        """The kinds of rows that were looked at: few decisions look at all."""

    def __getattr__(self, kind: str) -> Any:
        # Asked only for what is not there yet.
        layer: Layer[Any, Any] = Layer(getattr(self._below, kind))
        setattr(self, kind, layer)
        self.made.append(kind)
        return layer

    def __bool__(self) -> bool:
        """Whether this changes anything."""
        return any(getattr(self, kind).own for kind in self.made)

    def keep_updates(self, updates: Layer[int, Update]) -> None:
        """Takes a layer of updates over from other rows."""
        self.updates = updates
        self.made.append("updates")

    def write_into(self, change: RunChange) -> None:
        """Says in a change what these rows change."""
        for kind in self.made:
            layer = getattr(self, kind)
            if layer.own:
                setattr(change, f"put_{kind}", layer.puts())
                if kind in _DELETED:
                    setattr(change, f"del_{kind}", layer.drops())

    def absorb(self, above: Rows) -> None:
        """Takes over the changes of rows that lie on top of these."""
        for kind in above.made:
            getattr(self, kind).own.update(getattr(above, kind).own)


def write_rows(rows: dict[K, V], puts: dict[K, V], drops: set[K]) -> None:
    """Does to rows in memory what the store does to its own: deletes, then puts."""
    for key in drops:
        rows.pop(key, None)
    if puts:
        rows.update(puts)
