"""Owns the reference model of the store: the contract written in plain dictionaries, for comparison
and simulation.

It has no threads, reads no clock and never waits: a call completes before another coroutine runs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from copy import copy, deepcopy
from dataclasses import dataclass, field, replace

from perdure_server.core.changeset import Changeset, RunChange
from perdure_server.core.errors import (
    RequestRecorded,
    StaleVersion,
    StoreUnavailable,
    WorkflowAlreadyExists,
)
from perdure_server.core.limits import SECOND_US
from perdure_server.core.model import (
    Activity,
    EventRow,
    Lane,
    RequestRecord,
    Run,
    Task,
    TaskKind,
    Timer,
    TimerKind,
)
from perdure_server.core.state import RunState
from perdure_server.store.contract import (
    ClaimRequest,
    Committed,
    LaneDepth,
    ListFilter,
    Position,
    RunSummary,
    WatchedEvent,
)

RequestKey = tuple[str, str, str, str]


@dataclass(slots=True)
class StoredRun:
    """One run on the model's disk."""

    run: Run
    history: list[EventRow] = field(default_factory=list)
    activities: dict[int, Activity] = field(default_factory=dict)
    tasks: dict[tuple[TaskKind, int], Task] = field(default_factory=dict)
    timers: dict[tuple[TimerKind, int], Timer] = field(default_factory=dict)

    @property
    def summary(self) -> RunSummary:
        """The run as lists show it."""
        is_closed = self.run.closed_at_us is not None
        closed = self.history[-1].frame if is_closed else None
        return RunSummary(copy(self.run), self.history[0].frame, closed)


@dataclass(slots=True)
class Contents:
    """Everything that is on the model's disk."""

    epoch: int = 1
    commit: int = 0
    runs: dict[str, StoredRun] = field(default_factory=dict)
    requests: dict[RequestKey, RequestRecord] = field(default_factory=dict)
    log: list[WatchedEvent] = field(default_factory=list)

    def tasks(self) -> Iterator[Task]:
        """Every task, in no order that means anything."""
        return (task for stored in self.runs.values() for task in stored.tasks.values())


class ModelStore:
    """A store in memory. `Store` says what each method promises."""

    def __init__(self, contents: Contents | None = None) -> None:
        self._disk = contents or Contents()
        self._is_open = False

    def snapshot(self) -> Contents:
        """Returns a copy of everything that is stored."""
        return deepcopy(self._disk)

    def restart(self) -> ModelStore:
        """Returns the store that a new server finds after this one's server died; open it before
        use.
        """
        return ModelStore(self.snapshot())

    async def open(self) -> None:
        """Lets calls in."""
        self._is_open = True

    async def close(self) -> None:
        """Refuses calls from now on."""
        self._is_open = False

    @property
    def epoch(self) -> int:
        """The epoch of positions."""
        return self._contents.epoch

    async def commit(self, changesets: Sequence[Changeset]) -> list[Committed | Exception]:
        """Applies each changeset atomically."""
        disk = self._contents
        outcomes: list[Committed | Exception] = []
        position = Position(disk.epoch, disk.commit + 1, 0)
        for changeset in changesets:
            refusal = self._refusal(changeset)
            outcomes.append(refusal or Committed(position))
            if refusal is None:
                written = self._apply(changeset, position)
                position = replace(position, index=position.index + written)
        if position.index:
            disk.commit += 1
        return outcomes

    async def claim_tasks(self, claims: Sequence[ClaimRequest], now_us: int) -> list[list[Task]]:
        """Leases ready tasks."""
        return [self._claim(claim, now_us) for claim in claims]

    async def extend_leases(self, leases: Sequence[tuple[Task, int]]) -> None:
        """Moves the end of the leases that still stand."""
        runs = self._contents.runs
        for task, until_us in leases:
            stored, key = runs.get(task.run_id), (task.kind, task.seq)
            row = stored.tasks.get(key) if stored else None
            if stored and row and row.session_id is not None and row.lease == task.lease:
                stored.tasks[key] = replace(row, lease_until_us=until_us)

    async def find_request(
        self, namespace: str, workflow_id: str, rpc: str, request_id: str
    ) -> RequestRecord | None:
        """Returns the record of an earlier request."""
        return self._contents.requests.get((namespace, workflow_id, rpc, request_id))

    async def find_run(self, namespace: str, workflow_id: str, run_id: str | None) -> str | None:
        """Returns the id of the given or the latest run."""
        found = [
            stored.run
            for stored in self._contents.runs.values()
            if (stored.run.namespace, stored.run.workflow_id) == (namespace, workflow_id)
            and run_id in {None, stored.run.run_id}
        ]
        return max(found, key=lambda run: run.generation).run_id if found else None

    async def load_run(self, run_id: str) -> RunState | None:
        """Returns a run with its pending rows and unseen events."""
        stored = self._contents.runs.get(run_id)
        if stored is None:
            return None
        return RunState(
            run=copy(stored.run),
            started=stored.history[0].frame,
            activities={key: copy(row) for key, row in stored.activities.items()},
            tasks={key: copy(row) for key, row in stored.tasks.items()},
            timers=dict(stored.timers),
            tail=stored.history[stored.run.seen_seq :],
        )

    async def load_history(
        self, run_id: str, *, after_seq: int, limit: int, max_bytes: int
    ) -> list[EventRow]:
        """Returns the next events of a run."""
        stored = self._contents.runs.get(run_id)
        history = stored.history if stored else []
        page: list[EventRow] = []
        size = 0
        for event in history[after_seq : after_seq + limit]:
            size += len(event.frame)
            if page and size > max_bytes:
                break
            page.append(event)
        return page

    async def summarize_run(self, run_id: str) -> RunSummary | None:
        """Returns a run as lists show it."""
        stored = self._contents.runs.get(run_id)
        return stored.summary if stored else None

    async def list_runs(
        self, where: ListFilter, *, before: str | None, limit: int
    ) -> list[RunSummary]:
        """Returns runs by run id descending."""
        runs = self._contents.runs
        found = [
            runs[run_id]
            for run_id in sorted(runs, reverse=True)
            if (before is None or run_id < before) and _matches(runs[run_id].run, where)
        ]
        return [stored.summary for stored in found[:limit]]

    async def due_timers(self, *, after: Timer | None, limit: int) -> list[Timer]:
        """Returns the earliest timers."""
        stored = self._contents.runs.values()
        timers = sorted((timer for run in stored for timer in run.timers.values()), key=_order)
        if after is not None:
            timers = [timer for timer in timers if _order(timer) > _order(after)]
        return timers[:limit]

    async def leased_tasks(self) -> list[Task]:
        """Returns every task that a session holds."""
        return [copy(task) for task in self._contents.tasks() if task.session_id is not None]

    async def lane_depths(self) -> list[LaneDepth]:
        """Returns every lane that has a task no session holds."""
        lanes: dict[Lane, list[int]] = {}
        for task in self._contents.tasks():
            if task.session_id is None:
                lanes.setdefault(task.lane, []).append(task.ready_at_us)
        return [LaneDepth(lane, len(ready), min(ready)) for lane, ready in lanes.items()]

    async def read_events(self, after: Position, *, limit: int) -> list[WatchedEvent]:
        """Returns committed events after a position."""
        return [event for event in self._contents.log if event.position > after][:limit]

    async def last_position(self) -> Position:
        """Returns the position of the last committed event."""
        disk = self._contents
        return disk.log[-1].position if disk.log else Position(disk.epoch, 0, -1)

    async def wait_for_work(self, timeout_us: int) -> None:
        """Returns after the timeout, by the loop's own time: there is no other server."""
        await asyncio.sleep(timeout_us / SECOND_US)

    @property
    def _contents(self) -> Contents:
        if not self._is_open:
            raise StoreUnavailable("the model is not open")
        return self._disk

    def _refusal(self, changeset: Changeset) -> Exception | None:
        if any(_request_key(request) in self._disk.requests for request in changeset.requests):
            return RequestRecorded("a request of this changeset was answered before")
        inserted = [change.run for change in changeset.changes if not change.expected_version]
        if any(self._is_taken(run) for run in inserted):
            return WorkflowAlreadyExists("a run of this changeset exists already")
        if not all(self._is_current(change) for change in changeset.changes):
            return StaleVersion("a run of this changeset has changed")
        return None

    def _is_taken(self, run: Run) -> bool:
        key = (run.namespace, run.workflow_id, run.generation)
        rows = (stored.run for stored in self._disk.runs.values())
        return run.run_id in self._disk.runs or any(
            key == (row.namespace, row.workflow_id, row.generation) for row in rows
        )

    def _is_current(self, change: RunChange) -> bool:
        stored = self._disk.runs.get(change.run.run_id)
        version = stored.run.version if stored else 0
        tasks = stored.tasks if stored else {}
        return version == change.expected_version and all(
            key in tasks and tasks[key].lease == fence.lease for key, fence in change.fences.items()
        )

    def _apply(self, changeset: Changeset, position: Position) -> int:
        """Writes an accepted changeset with its first event at `position`; returns its number of
        events.
        """
        self._disk.requests |= {_request_key(request): request for request in changeset.requests}
        index = position.index
        for change in changeset.changes:
            run = copy(change.run)
            stored = self._disk.runs.setdefault(run.run_id, StoredRun(run))
            stored.run = run
            stored.history.extend(change.events)
            _change_rows(stored, change)
            for event in change.events:
                self._disk.log.append(_watched(replace(position, index=index), run, event))
                index += 1
        return index - position.index

    def _claim(self, claim: ClaimRequest, now_us: int) -> list[Task]:
        ready = [
            task
            for task in self._contents.tasks()
            if task.lane == claim.lane and task.session_id is None and task.ready_at_us <= now_us
        ]
        ready.sort(key=lambda task: (task.priority, task.ready_at_us, task.run_id, task.seq))
        leased = [_lease(task, claim, now_us) for task in ready[: claim.limit]]
        for task in leased:
            self._disk.runs[task.run_id].tasks[task.kind, task.seq] = task
        return [copy(task) for task in leased]


def _request_key(request: RequestRecord) -> RequestKey:
    return (request.namespace, request.workflow_id, request.rpc, request.request_id)


def _order(timer: Timer) -> tuple[int, str, str, int]:
    return (timer.due_at_us, timer.run_id, timer.kind, timer.seq)


def _matches(run: Run, where: ListFilter) -> bool:
    return (
        run.namespace == where.namespace
        and where.status in {None, run.status}
        and where.workflow_type in {None, run.workflow_type}
    )


def _watched(position: Position, run: Run, event: EventRow) -> WatchedEvent:
    identity = (run.namespace, run.workflow_id, run.run_id, run.workflow_type)
    return WatchedEvent(position, *identity, event)


def _change_rows(stored: StoredRun, change: RunChange) -> None:
    if change.closes:
        stored.activities.clear()
        stored.tasks.clear()
        stored.timers.clear()
        return
    for seq in change.del_activities:
        stored.activities.pop(seq, None)
    for task_key in change.del_tasks:
        stored.tasks.pop(task_key, None)
    for timer_key in change.del_timers:
        stored.timers.pop(timer_key, None)
    stored.activities |= {key: copy(row) for key, row in change.put_activities.items()}
    stored.tasks |= {key: copy(row) for key, row in change.put_tasks.items()}
    stored.timers |= change.put_timers


def _lease(task: Task, claim: ClaimRequest, now_us: int) -> Task:
    limit_us = claim.poll_lease_us if task.lease_limit_us is None else task.lease_limit_us
    return replace(
        task,
        session_id=claim.session_id,
        worker_identity=claim.worker_identity,
        leased_at_us=now_us,
        lease=task.lease + 1,
        lease_until_us=None if limit_us is None else now_us + limit_us,
    )
