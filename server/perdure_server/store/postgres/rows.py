"""Owns the translation of rows to the parameters of a flush: one tuple per row, for arrays."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from operator import attrgetter
from typing import Any, Final

from perdure_server.core.model import Run

_IDENTITY: Final = frozenset(
    {
        "namespace",
        "workflow_id",
        "workflow_type",
        "generation",
        "attempt",
        "created_at_us",
        "previous_run_id",
    }
)
"""The columns of a run that an update leaves as they are."""


def _updated() -> Callable[[Run], tuple[Any, ...]]:
    names = (field.name for field in fields(Run) if field.name not in _IDENTITY)
    getter: Callable[[Run], tuple[Any, ...]] = attrgetter(
        *(f"{name}._value_" if name == "status" else name for name in names)
    )
    return getter


from_update: Final = _updated()
"""The columns of a run that an update writes, in the order of the fields."""
