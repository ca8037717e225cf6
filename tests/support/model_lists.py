"""Owns how the reference model lists and counts runs: it looks at every run and sorts all."""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

from perdure_server.core.filters.conditions import (
    Attribute,
    Compared,
    Condition,
    Every,
    FieldValue,
    Missing,
    Negation,
    Order,
    Some,
)
from perdure_server.core.filters.fields import FIELDS, Field
from perdure_server.core.filters.syntax import Operator
from perdure_server.core.model import Run, SearchKey
from perdure_server.store.contract import ListFilter, Place, RunGroup

_COMPARE: Mapping[Operator, Callable[[Any, Any], bool]] = {
    Operator.EQUAL: operator.eq,
    Operator.BELOW: operator.lt,
    Operator.UP_TO: operator.le,
    Operator.ABOVE: operator.gt,
    Operator.SINCE: operator.ge,
}


class Listed(Protocol):
    """A run with the keys that it is found by."""

    run: Run
    keys: dict[tuple[str, bytes], SearchKey]


def page_of(
    runs: Iterable[Listed], where: ListFilter, after: Place | None, limit: int
) -> list[Run]:
    """Returns the runs of a page."""
    order = where.order or Order(FIELDS["run_id"], descending=True)
    by_id = order.by == FIELDS["run_id"]
    places = [(None if by_id else _value(listed, order.by), listed) for listed in runs]
    rows = [
        (key is None, key, listed.run.run_id, listed.run)
        for key, listed in places
        if matches(listed, where)
    ]
    rows.sort(key=lambda row: (_some(row[1]), row[2]), reverse=order.descending)
    rows.sort(key=lambda row: row[0])
    if after is not None:
        rows = [row for row in rows if _is_after(row, after, order)]
    return [row[-1] for row in rows[:limit]]


def groups_of(
    runs: Iterable[Listed], where: ListFilter, by: Field | str, limit: int
) -> list[RunGroup]:
    """Returns how many runs have each value."""
    counts: Counter[FieldValue | bytes | None] = Counter()
    for listed in runs:
        if matches(listed, where):
            values = [_value(listed, by)] if isinstance(by, Field) else _keys(listed, by)
            counts.update(values or [None])
    groups = sorted(counts.items(), key=lambda item: (-item[1], item[0] is None, item[0]))
    return [RunGroup(value, count) for value, count in groups[:limit]]


def matches(listed: Listed, where: ListFilter) -> bool:
    """Whether a list shows a run."""
    run = listed.run
    return (
        run.namespace == where.namespace
        and where.status in {None, run.status}
        and where.workflow_type in {None, run.workflow_type}
        and (where.condition is None or _holds(where.condition, listed))
    )


def _holds(condition: Condition, listed: Listed) -> bool:
    match condition:
        case Every(parts):
            return all(_holds(part, listed) for part in parts)
        case Some(parts):
            return any(_holds(part, listed) for part in parts)
        case Negation(part):
            return not _holds(part, listed)
        case Missing(field):
            return _value(listed, field) is None
        case Compared(field, comparison, value):
            own = _value(listed, field)
            return own is not None and _COMPARE[comparison](own, value)
        case Attribute(name, low, high):
            return any(low <= key < high for key in _keys(listed, name))


def _value(listed: Listed, by: Field | str) -> Any:
    if isinstance(by, Field):
        value = getattr(listed.run, by.column)
        return str(value) if isinstance(value, str) else value
    return min(_keys(listed, by), default=None)


def _keys(listed: Listed, name: str) -> list[bytes]:
    return [key for owned, key in listed.keys if owned == name]


def _is_after(row: tuple[bool, Any, str, Run], after: Place, order: Order) -> bool:
    missing, key, run_id, _ = row
    if missing != (after.key is None):
        return missing
    here, there = (_some(key), run_id), (_some(after.key), after.run_id)
    return here < there if order.descending else here > there


def _some(key: Any) -> tuple[Any, ...]:
    """A key as something that compares with None, which is never compared with another."""
    return () if key is None else (key,)
