"""Owns the one statement that writes many changesets.

A flush is put together from named queries: checks that answer which changesets are refused, and
writes that leave those out, one per kind of row. It is one round trip and one transaction. No two
changesets of a flush touch the same run, workflow generation, schedule or request, so each check
may look at the database as it was before the flush.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from perdure_server.core.changeset import Changeset, RunChange, ScheduleChange
from perdure_server.core.errors import (
    MessageTaken,
    RequestRecorded,
    StaleVersion,
    WorkflowAlreadyExists,
)
from perdure_server.core.model import Run
from perdure_server.store.contract import Committed, Position
from perdure_server.store.postgres.connection import Row, Session
from perdure_server.store.postgres.hints import Ears, words_of
from perdure_server.store.sqlite.rows import (
    from_activity,
    from_child,
    from_key,
    from_message,
    from_request,
    from_run,
    from_schedule,
    from_snapshot,
    from_task,
    from_timer,
    from_update,
)

_CHECKS: Final = (
    "request_recorded",
    "run_taken",
    "run_version",
    "task_lease",
    "message_taken",
    "schedule_version",
    "schedule_taken",
)
_WRITES: Final = (
    "delete_activities",
    "delete_tasks",
    "delete_timers",
    "delete_children",
    "delete_updates",
    "delete_snapshot",
    "delete_keys",
    "delete_events",
    "delete_run",
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
"""All see the rows as they were before the flush, so no two of them may touch the same row."""
_OF_THE_FRAME: Final = 4
"""The parameters of the frame, before those of the parts."""
_WANTED: Final = {"$1": "wanted.id", "$2": "wanted.known_seq"}
"""What the parts of `load`, which stand in it once for each run, are given for parameters."""
_PARAMETER: Final = re.compile(r"\$(\d+)")


class Statements:
    """Puts statements together from named queries, each form once."""

    def __init__(self, queries: Mapping[str, str]) -> None:
        self.queries = queries
        parts = {name: _part(query) for name, query in queries.items()}
        self.claim = queries["claim"].format_map(parts)
        self.load = queries["load"].format_map(
            {name: _of_each(part) for name, part in parts.items()}
        )
        self._flushes: dict[tuple[str, ...], str] = {}

    def flush(self, names: tuple[str, ...]) -> str:
        """Returns the statement of a flush that has these checks and writes, in their order."""
        if names not in self._flushes:
            self._flushes[names] = self._put_together(names)
        return self._flushes[names]

    def _put_together(self, names: Sequence[str]) -> str:
        parts: dict[str, str] = {}
        used = _OF_THE_FRAME
        for name in names:
            text = _part(self.queries[name])
            numbers = [int(number) for number in _PARAMETER.findall(text)]
            parts[name] = _shifted(text, used)
            used += max(numbers)
        checks = [f"({parts[name]})" for name in _CHECKS if name in parts]
        writes = [f",\n{name} AS (\n{parts[name]}\n)" for name in _WRITES if name in parts]
        return self.queries["flush"].format(
            checks="\nUNION ALL\n".join(checks) or _part(self.queries["nothing_refused"]),
            writes="".join(writes),
        )


class Flush:
    """Changesets that become one statement, in the order in which they were added."""

    def __init__(self, statements: Statements, epoch: int, ears: Ears) -> None:
        self._statements = statements
        self._epoch = epoch
        self._ears = ears
        self._words: list[tuple[int, str]] = []
        self._rows: defaultdict[str, list[Row]] = defaultdict(list)
        self._touched: set[Hashable] = set()
        self._changesets: list[Changeset] = []
        self._firsts: list[int] = []
        self._index = 0

    def add(self, changeset: Changeset) -> bool:
        """Takes a changeset in; False when it touches what another one of the flush touches."""
        keys = _keys(changeset)
        if not self._touched.isdisjoint(keys):
            return False
        self._touched.update(keys)
        n = len(self._changesets)
        self._changesets.append(changeset)
        self._firsts.append(self._index)
        self._words.extend((n, word) for word in words_of(changeset))
        rows = self._rows
        for request in changeset.requests:
            columns = from_request(request)
            rows["request_recorded"].append((n, *columns[:4]))
            rows["insert_request"].append((n, *columns))
        for key in changeset.taken:
            rows["message_taken"].append((n, *key))
            rows["delete_message"].append((n, *key))
        for change in changeset.changes:
            self._check(n, change)
            self._take(n, change)
        for schedule in changeset.schedules:
            self._take_schedule(n, schedule)
        return True

    async def run(self, session: Session) -> list[Committed | Exception]:
        """Writes what may be written; answers one outcome per changeset, in order."""
        names = tuple(name for name in (*_CHECKS, *_WRITES) if self._rows.get(name))
        columns = [column for name in names for column in zip(*self._rows[name], strict=True)]
        told = zip(*self._words, strict=True) if self._words else ([], [])
        frame = (self._ears.channel, self._ears.name, *told)
        found = await session.rows_of(self._statements.flush(names), *frame, *columns)
        outcomes: list[Committed | Exception] = [
            Committed(Position(self._epoch, found[0][0], first)) for first in self._firsts
        ]
        for _, _, n, why in found:
            if n is not None:
                outcomes[n] = _refusal(self._changesets[n], why)
        return outcomes

    def _check(self, n: int, change: RunChange) -> None:
        rows, run = self._rows, change.run
        if change.expected_version:
            rows["run_version"].append((n, run.run_id, change.expected_version))
        else:
            key = (n, run.run_id, run.namespace, run.workflow_id, run.generation)
            rows["run_taken"].append(key)
        rows["task_lease"].extend(
            (n, run.run_id, fence.kind.value, fence.seq, fence.lease)
            for fence in change.fences.values()
        )

    def _take(self, n: int, change: RunChange) -> None:
        rows, run_id = self._rows, change.run.run_id
        write = "update_run" if change.expected_version else "insert_run"
        rows[write].append((n, *from_run(_storable(change.run))))
        for index, event in enumerate(change.events, self._index):
            rows["insert_event"].append(
                (n, run_id, event.seq, event.kind, event.at_us, event.frame, index)
            )
        self._index += len(change.events)
        rows["put_update"].extend((n, *from_update(row)) for row in change.put_updates.values())
        keys = change.del_keys - change.put_keys.keys()
        rows["delete_key"].extend((n, run_id, *key) for key in keys)
        rows["put_key"].extend((n, *from_key(row)) for row in change.put_keys.values())
        rows["insert_message"].extend((n, *from_message(row)) for row in change.messages)
        if change.snapshot is not None:
            rows["put_snapshot"].append((n, *from_snapshot(change.snapshot)))
        if change.closes:
            for query in ("delete_activities", "delete_tasks", "delete_timers", "delete_children"):
                rows[query].append((n, run_id))
            return
        # Deletes come before puts, so a put makes the delete of its row needless.
        activities = change.del_activities - change.put_activities.keys()
        tasks = change.del_tasks - change.put_tasks.keys()
        timers = change.del_timers - change.put_timers.keys()
        rows["delete_activity"].extend((n, run_id, seq) for seq in activities)
        rows["delete_task"].extend((n, run_id, kind.value, seq) for kind, seq in tasks)
        rows["delete_timer"].extend((n, run_id, kind.value, seq) for kind, seq in timers)
        rows["put_activity"].extend(
            (n, *from_activity(row)) for row in change.put_activities.values()
        )
        rows["put_task"].extend((n, *from_task(row)) for row in change.put_tasks.values())
        rows["put_timer"].extend((n, *from_timer(row)) for row in change.put_timers.values())
        rows["put_child"].extend((n, *from_child(row)) for row in change.put_children.values())

    def _take_schedule(self, n: int, change: ScheduleChange) -> None:
        rows, key = self._rows, change.row.key
        if change.expected_version:
            rows["schedule_version"].append((n, *key, change.expected_version))
        else:
            rows["schedule_taken"].append((n, *key))
        if change.deletes:
            rows["delete_schedule"].append((n, *key))
            return
        write = "update_schedule" if change.expected_version else "insert_schedule"
        rows[write].append((n, *from_schedule(change.row)))


def _refusal(changeset: Changeset, why: int) -> Exception:
    """What a check's number means. Of several, the lowest counts."""
    if why == 1:
        return RequestRecorded("a request of this changeset was answered before")
    workflow_ids = ", ".join(change.run.workflow_id for change in changeset.changes)
    if why == 2:
        return WorkflowAlreadyExists(f"the workflow {workflow_ids} has this run already")
    if why == 4:
        return MessageTaken(f"a message to the workflow {workflow_ids} was recorded before")
    names = ", ".join(change.row.name for change in changeset.schedules)
    return StaleVersion(f"a run of the workflow {workflow_ids} or the schedule {names} has changed")


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


def _storable(run: Run) -> Run:
    """A run without what PostgreSQL keeps in no text; the event has the reason as it was given."""
    if "\0" not in run.cancel_reason:
        return run
    return replace(run, cancel_reason=run.cancel_reason.replace("\0", "\N{REPLACEMENT CHARACTER}"))


def _part(query: str) -> str:
    return query.rstrip().removesuffix(";")


def _shifted(text: str, by: int) -> str:
    return _PARAMETER.sub(lambda match: f"${int(match[1]) + by}", text)


def _of_each(text: str) -> str:
    """Returns a part of `load` that reads the run of a row, not that of the parameters."""
    return _PARAMETER.sub(lambda match: _WANTED.get(match[0], match[0]), text)
