"""Owns what one transaction of the writer does: changesets, claims and leases of many callers.

Changesets are gathered into waves. No two changesets of a wave touch the same run, workflow
generation, schedule or request, so the database answers every check of the wave before a row of it
is written, and the wave is written with one statement per kind of row. A changeset that touches
what the wave touches ends the wave and begins the next.
"""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from typing import Final

from perdure_server.core.changeset import Changeset, RunChange, ScheduleChange
from perdure_server.core.errors import (
    MessageTaken,
    RequestRecorded,
    StaleVersion,
    WorkflowAlreadyExists,
)
from perdure_server.core.model import Task
from perdure_server.store.contract import ClaimRequest, Committed, Position
from perdure_server.store.sqlite.rows import (
    Row,
    from_activity,
    from_child,
    from_key,
    from_lane,
    from_message,
    from_request,
    from_run,
    from_schedule,
    from_snapshot,
    from_task,
    from_timer,
    from_update,
    to_task,
)

_WAVE: Final = (
    "delete_activities",
    "delete_tasks",
    "delete_timers",
    "delete_children",
    "delete_activity",
    "delete_task",
    "delete_timer",
    "delete_message",
    "delete_key",
    "delete_schedule",
    "insert_run",
    "update_run",
    "insert_event",
    "put_activity",
    "put_task",
    "put_timer",
    "put_child",
    "put_update",
    "put_snapshot",
    "put_key",
    "insert_message",
    "insert_request",
    "insert_schedule",
    "update_schedule",
)
"""The statements that write a wave, in their order: deletes come before puts."""


class Group:
    """The work inside one open transaction.

    A refusal is an answer and disturbs nobody; an error that is raised spoils the whole group.
    `changesets` counts those accepted, `statements` those run; a statement run for many rows counts
    once.
    """

    def __init__(self, connection: sqlite3.Connection, queries: Mapping[str, str]) -> None:
        self.changesets = 0
        self.statements = 0
        self._connection = connection
        self._queries = queries
        self._rows: defaultdict[str, list[Row]] = defaultdict(list)
        self._touched: set[Hashable] = set()
        self._epoch, commit, _ = self._select("last_position")[0]
        self._commit = commit + 1
        self._index = 0

    def commit(self, changeset: Changeset) -> Committed | Exception:
        """Takes a changeset into the wave and answers where its events stand, or why it may not."""
        keys = _keys(changeset)
        if not self._touched.isdisjoint(keys):
            self._write_wave()
        refusal = self._refusal(changeset)
        if refusal is not None:
            return refusal
        self._touched.update(keys)
        first = Position(self._epoch, self._commit, self._index)
        for change in changeset.changes:
            self._take(change)
        if changeset.requests:
            self._rows["insert_request"].extend(map(from_request, changeset.requests))
        if changeset.taken:
            self._rows["delete_message"].extend(changeset.taken)
        for schedule in changeset.schedules:
            self._take_schedule(schedule)
        self.changesets += 1
        return Committed(first)

    def claim(self, claims: Sequence[ClaimRequest], now_us: int) -> list[list[Task]]:
        """Leases ready tasks; answers the leased rows per claim."""
        self._write_wave()
        return [self._claim(claim, now_us) for claim in claims]

    def extend(self, leases: Sequence[tuple[Task, int]]) -> None:
        """Moves the end of the leases that still stand."""
        self._write_wave()
        self._write(
            "extend_lease",
            [(until, task.run_id, task.kind.value, task.seq, task.lease) for task, until in leases],
        )

    def run(self, query: str, *parameters: object) -> list[Row]:
        """Runs one statement on what the group has done so far; returns the rows it answers."""
        self._write_wave()
        return self._select(query, *parameters)

    def run_for_each(self, query: str, rows: Sequence[Row]) -> None:
        """Runs one statement for many rows on what the group has done so far."""
        self._write_wave()
        self._write(query, rows)

    def finish(self) -> None:
        """Writes what is left, and where the last event of the group stands."""
        self._write_wave()
        if self._index:
            self._write("record_position", [(self._commit, self._index - 1)])

    def _refusal(self, changeset: Changeset) -> Exception | None:
        for request in changeset.requests:
            if self._select("find_request", *from_request(request)[:4]):
                return RequestRecorded(f"the request {request.request_id} was answered before")
        for change in changeset.changes:
            run = change.run
            key = (run.run_id, run.namespace, run.workflow_id, run.generation)
            if not change.expected_version and self._select("run_taken", *key):
                return WorkflowAlreadyExists(f"the workflow {run.workflow_id} has this run already")
        for change in changeset.changes:
            if not self._is_current(change):
                return StaleVersion(f"the run {change.run.run_id} has changed")
        if taken := set(changeset.taken):
            gone = taken.difference(self._select("standing_messages", json.dumps(list(taken))))
            if gone:
                return MessageTaken(f"the message {min(gone)} was recorded before")
        for schedule in changeset.schedules:
            expected = [(schedule.expected_version,)] if schedule.expected_version else []
            if self._select("schedule_version", *schedule.row.key) != expected:
                return StaleVersion(f"the schedule {schedule.row.name} has changed")
        return None

    def _is_current(self, change: RunChange) -> bool:
        run_id, version = change.run.run_id, change.expected_version
        if version and len(change.fences) == 1:
            (fence,) = change.fences.values()
            row = (run_id, fence.kind._value_, fence.seq)
            return self._select("run_version_and_lease", *row) == [(version, fence.lease)]
        if version and self._select("run_version", run_id) != [(version,)]:
            return False
        for fence in change.fences.values():
            lease = self._select("task_lease", run_id, fence.kind._value_, fence.seq)
            if lease != [(fence.lease,)]:
                return False
        return True

    def _take(self, change: RunChange) -> None:
        rows, run_id = self._rows, change.run.run_id
        rows["update_run" if change.expected_version else "insert_run"].append(from_run(change.run))
        for index, event in enumerate(change.events, self._index):
            rows["insert_event"].append(
                (run_id, event.seq, event.kind, event.at_us, event.frame, self._commit, index)
            )
        self._index += len(change.events)
        if change.put_updates:
            rows["put_update"].extend(map(from_update, change.put_updates.values()))
        if change.del_keys or change.put_keys:
            rows["delete_key"].extend((run_id, *key) for key in change.del_keys)
            rows["put_key"].extend(map(from_key, change.put_keys.values()))
        if change.messages:
            rows["insert_message"].extend(map(from_message, change.messages))
        if change.snapshot is not None:
            rows["put_snapshot"].append(from_snapshot(change.snapshot))
        if change.closes:
            for query in ("delete_activities", "delete_tasks", "delete_timers", "delete_children"):
                rows[query].append((run_id,))
            return
        self._take_pending(change, run_id)

    def _take_pending(self, change: RunChange, run_id: str) -> None:
        """Takes the rows of pending work; most changes have few kinds of them."""
        rows = self._rows
        if change.del_activities:
            rows["delete_activity"].extend((run_id, seq) for seq in change.del_activities)
        for kind, seq in change.del_tasks:
            rows["delete_task"].append((run_id, kind._value_, seq))
        for timer_kind, seq in change.del_timers:
            rows["delete_timer"].append((run_id, timer_kind._value_, seq))
        if change.put_activities:
            rows["put_activity"].extend(map(from_activity, change.put_activities.values()))
        for task in change.put_tasks.values():
            rows["put_task"].append(from_task(task))
        for timer in change.put_timers.values():
            rows["put_timer"].append(from_timer(timer))
        if change.put_children:
            rows["put_child"].extend(map(from_child, change.put_children.values()))

    def _take_schedule(self, change: ScheduleChange) -> None:
        if change.deletes:
            self._rows["delete_schedule"].append(change.row.key)
            return
        query = "update_schedule" if change.expected_version else "insert_schedule"
        self._rows[query].append(from_schedule(change.row))

    def _claim(self, claim: ClaimRequest, now_us: int) -> list[Task]:
        lane = from_lane(claim.lane)
        found: list[Task] = []
        for (priority,) in self._select("lane_priorities", *lane):
            if len(found) < claim.limit:
                room = claim.limit - len(found)
                rows = self._select("ready_tasks", *lane, priority, now_us, room)
                found.extend(map(to_task, rows))
        leased = [
            task.leased_to(
                claim.session_id,
                claim.worker_identity,
                now_us=now_us,
                poll_lease_us=claim.poll_lease_us,
            )
            for task in found
        ]
        self._write("put_task", [from_task(task) for task in leased])
        return leased

    def _write_wave(self) -> None:
        if not self._rows:
            return
        for query in _WAVE:
            if query in self._rows:
                self._write(query, self._rows[query])
        self._rows.clear()
        self._touched.clear()

    def _write(self, query: str, rows: Sequence[Row]) -> None:
        if rows:
            self._connection.executemany(self._queries[query], rows)
            self.statements += 1

    def _select(self, query: str, *parameters: object) -> list[Row]:
        self.statements += 1
        return self._connection.execute(self._queries[query], parameters).fetchall()


def _keys(changeset: Changeset) -> list[Hashable]:
    """What a changeset touches: its runs, generations it adds, requests, messages, schedules."""
    keys: list[Hashable] = [from_request(request)[:4] for request in changeset.requests]
    keys += changeset.taken
    keys.extend(change.row.key for change in changeset.schedules)
    for change in changeset.changes:
        run = change.run
        keys.append(run.run_id)
        keys.extend(message.key for message in change.messages)
        if not change.expected_version:
            keys.append((run.namespace, run.workflow_id, run.generation))
    return keys
