"""Owns what one transaction of the writer does: the changesets, claims and leases of many callers, in their order.

Changesets are gathered into waves. Within a wave no two changesets touch the same run, workflow generation or request,
so the database answers every check of the wave before a row of it is written, and the wave is written with one
statement per kind of row. A changeset that touches what the wave touches writes the wave first and begins the next.
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from perdure_server.core.changeset import Changeset, RunChange, TaskFence
from perdure_server.core.errors import RequestRecorded, StaleVersion, WorkflowAlreadyExists
from perdure_server.core.model import RequestRecord, Task
from perdure_server.store.contract import ClaimRequest, Committed, Position
from perdure_server.store.sqlite.rows import (
    Row,
    from_activity,
    from_lane,
    from_request,
    from_run,
    from_task,
    from_timer,
    to_task,
)

_WRITES: Final = (
    "delete_activities",
    "delete_tasks",
    "delete_timers",
    "delete_activity",
    "delete_task",
    "delete_timer",
    "insert_run",
    "update_run",
    "insert_event",
    "put_activity",
    "put_task",
    "put_timer",
    "insert_request",
)
"""The statements of a wave in the order in which they run: deletes come before puts."""


@dataclass(slots=True)
class StoreStats:
    """What the writer has done since it was made, for measurements: transactions, changesets applied, statements run.

    A statement that is run for many rows at once counts once.
    """

    commits: int = 0
    changesets: int = 0
    statements: int = 0


class Group:
    """The work inside one open transaction. Refusals are answers; any database error spoils the whole group."""

    def __init__(
        self, connection: sqlite3.Connection, queries: Mapping[str, str], stats: StoreStats
    ) -> None:
        self._connection = connection
        self._queries = queries
        self._stats = stats
        self._rows: defaultdict[str, list[Row]] = defaultdict(list)
        self._touched: set[Hashable] = set()
        epoch, commit, _ = next(self._run("last_position"))
        self._next = Position(epoch, commit + 1, 0)

    def commit(self, changeset: Changeset) -> Committed | Exception:
        """Checks a changeset and takes it into the wave; answers where its events stand, or why it is refused."""
        keys = list(_keys(changeset))
        if not self._touched.isdisjoint(keys):
            self._write_wave()
        refusal = self._refusal(changeset)
        if refusal is not None:
            return refusal
        self._touched.update(keys)
        first = self._next
        for change in changeset.changes:
            self._add(change)
        self._rows["insert_request"].extend(map(from_request, changeset.requests))
        self._stats.changesets += 1
        return Committed(first)

    def claim(self, claims: Sequence[ClaimRequest], now_us: int) -> list[list[Task]]:
        """Leases ready tasks; answers the leased rows per claim."""
        self._write_wave()
        return [list(self._claim(claim, now_us)) for claim in claims]

    def extend(self, leases: Sequence[tuple[Task, int]]) -> None:
        """Moves the end of leases that still stand."""
        self._write_wave()
        rows = [(until, task.run_id, task.kind.value, task.seq, task.lease) for task, until in leases]
        self._run_many("extend_lease", rows)

    def finish(self) -> None:
        """Writes what is left and records the position of the group's last event."""
        self._write_wave()
        if self._next.index:
            self._run("record_position", self._next.commit, self._next.index - 1)

    def _refusal(self, changeset: Changeset) -> Exception | None:
        for request in changeset.requests:
            if self._has("find_request", *_request_key(request)):
                return RequestRecorded(f"the request {request.request_id!r} was answered before")
        for change in changeset.changes:
            run = change.run
            if change.expected_version == 0 and self._has(
                "run_taken", run.run_id, run.namespace, run.workflow_id, run.generation
            ):
                return WorkflowAlreadyExists(f"the workflow {run.workflow_id!r} has a run already")
        for change in changeset.changes:
            if not self._is_current(change):
                return StaleVersion(f"the run {change.run.run_id} has changed")
        return None

    def _is_current(self, change: RunChange) -> bool:
        run_id, expected = change.run.run_id, change.expected_version
        if expected and not self._has_value("run_version", expected, run_id):
            return False
        return all(self._has_value("task_lease", fence.lease, run_id, fence.kind.value, fence.seq)
            for fence in change.fences.values()
        )
