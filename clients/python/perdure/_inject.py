"""Owns what activities get of their worker beside their input."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


class Injected:
    """Marks a parameter; stands as its default."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"inject({self.name!r})" if self.name else "inject()"


def inject(name: str = "") -> Any:
    """Says that a keyword-only parameter of an activity comes from the lifespan of its worker.

        @activity
        async def charge(order: Order, *, db: Database = inject()) -> Receipt: ...

    It is the attribute, or the key, of that name of what the lifespan yields; `name` is for another
    name than the parameter's. Workflow code never passes it; a test of the function does.
    """
    return Injected(name)


def take(state: Any, needs: Mapping[str, str]) -> dict[str, Any]:
    """Returns the values of parameters, whose names in `state` are given; LookupError without."""
    return {parameter: _find(state, name) for parameter, name in needs.items()}


def missing(state: Any, names: Iterable[str]) -> list[str]:
    """Returns which of some names `state` does not have."""
    return [name for name in names if not _has(state, name)]


def _has(state: Any, name: str) -> bool:
    return name in state if isinstance(state, Mapping) else hasattr(state, name)


def _find(state: Any, name: str) -> Any:
    if not _has(state, name):
        raise LookupError(f"the lifespan of the worker gives nothing named {name!r}")
    return state[name] if isinstance(state, Mapping) else getattr(state, name)
