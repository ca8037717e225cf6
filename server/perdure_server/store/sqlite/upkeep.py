"""Owns what is written beside runs: namespaces, API keys, workers, and the deletion of runs.

Each function is an operation of the writer: it runs inside the open transaction of a group.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from perdure_server.core.model import ApiKey, Namespace, Worker
from perdure_server.store.contract import Heard, KeyInserted, KeyOutcome
from perdure_server.store.sqlite.group import Group
from perdure_server.store.sqlite.rows import (
    Row,
    from_api_key,
    from_namespace,
    from_worker,
    to_api_key,
    to_namespace,
)

_OF_A_RUN: Final = (
    "delete_activities",
    "delete_tasks",
    "delete_timers",
    "delete_children",
    "delete_updates",
    "delete_snapshot",
    "delete_keys",
    "delete_events",
    "delete_run",
)
"""The statements that delete all that is stored of a run; each takes a run id."""


def insert_namespace(group: Group, namespace: Namespace) -> bool:
    """Inserts a namespace; returns whether there was none of its name."""
    return bool(group.run("insert_namespace", *from_namespace(namespace)))


def set_retention(group: Group, name: str, retention_us: int | None) -> Namespace | None:
    """Says how long a namespace keeps closed runs; None when there is no such namespace."""
    found = group.run("set_retention", name, retention_us)
    return to_namespace(found[0]) if found else None


def claim_sweep(group: Group, now_us: int, until_us: int) -> Namespace | None:
    """Returns a namespace that is to be swept, for the caller alone until an instant."""
    found = group.run("claim_sweep", now_us, until_us)
    return to_namespace(found[0]) if found else None


def delete_namespace(group: Group, name: str) -> bool:
    """Deletes the row of a namespace; returns whether there was one."""
    return bool(group.run("delete_namespace", name))


def delete_schedules(group: Group, namespace: str, *, limit: int) -> int:
    """Deletes schedules of a namespace; returns how many."""
    return len(group.run("delete_schedules", namespace, limit))


@dataclass(slots=True, frozen=True)
class Old:
    """The runs of a namespace that closed before an instant, and how much of them goes at once."""

    namespace: str
    before_us: int
    max_events: int
    max_bytes: int


def thin_oldest_run(group: Group, old: Old) -> bool:
    """Deletes events of the oldest closed run while it is above the bounds; False when it is not.

    Its first event and its last stay until it goes itself.
    """
    closed = group.run("closed_runs", old.namespace, old.before_us, 1)
    for run_id, _, events, size, *place in closed:
        if events > old.max_events or size > old.max_bytes:
            group.run("note_expired", old.namespace, *place)
            bounds = {"max_events": old.max_events, "max_bytes": old.max_bytes}
            return _thin(group, run_id, events, **bounds)
    return False


def delete_closed_runs(group: Group, old: Old, *, limit: int) -> int:
    """Deletes the oldest closed runs and the requests of workflows that have none left."""
    namespace, max_events, max_bytes = old.namespace, old.max_events, old.max_bytes
    run_ids: list[Row] = []
    workflow_ids: set[str] = set()
    closed = group.run("closed_runs", namespace, old.before_us, limit)
    last = (0, -1)
    for run_id, workflow_id, events, size, *place in closed:
        max_events -= events
        max_bytes -= size
        if run_ids and min(max_events, max_bytes) < 0:
            break
        run_ids.append((run_id,))
        workflow_ids.add(workflow_id)
        last = max(last, (place[0], place[1]))
    if run_ids:
        group.run("note_expired", namespace, *last)
    for query in _OF_A_RUN:
        group.run_for_each(query, run_ids)
    group.run_for_each("delete_requests", [(namespace, each) for each in sorted(workflow_ids)])
    return len(run_ids)


def insert_api_key(
    group: Group, key: ApiKey, *, only_first: bool, unless_label: bool
) -> KeyInserted:
    """Inserts an API key, or answers why not."""
    if only_first and group.run("has_api_key"):
        return KeyInserted(KeyOutcome.NOT_FIRST)
    if unless_label and (found := group.run("find_api_key", key.label)):
        return KeyInserted(KeyOutcome.LABEL_EXISTS, to_api_key(found[0]))
    inserted = group.run("insert_api_key", *from_api_key(key))
    return KeyInserted(KeyOutcome.INSERTED if inserted else KeyOutcome.TAKEN)


def delete_api_key(group: Group, prefix: str) -> bool:
    """Deletes an API key; returns whether there was one."""
    return bool(group.run("delete_api_key", prefix))


def put_workers(group: Group, workers: Sequence[Worker]) -> None:
    """Inserts or replaces workers."""
    group.run_for_each("put_worker", [from_worker(worker) for worker in workers])


def hear_workers(group: Group, words: Sequence[Heard]) -> None:
    """Notes that workers were heard."""
    group.run_for_each(
        "hear_worker", [(word.heard_at_us, word.until_us, word.worker_id) for word in words]
    )


def delete_workers(group: Group, keys: Sequence[tuple[str, str]], silent_us: int) -> None:
    """Deletes some workers, and those that were silent for too long."""
    group.run_for_each("delete_worker", keys)
    group.run("delete_silent_workers", silent_us)


def _thin(group: Group, run_id: str, last: int, *, max_events: int, max_bytes: int) -> bool:
    """Deletes the next events between the first and the last; False when there are none left.

    At least one goes, whatever its size.
    """
    part: list[int] = []
    for seq, size in group.run("sizes_between", run_id, 1, last, max_events):
        max_bytes -= size
        if part and max_bytes < 0:
            break
        part.append(seq)
    if part:
        group.run("delete_between", run_id, part[0], part[-1])
    return bool(part)
