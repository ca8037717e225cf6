"""Owns what is on the disk of the reference model, and what a changeset does to one run there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from operator import itemgetter

from perdure_server.core.changeset import RunChange
from perdure_server.core.model import (
    Activity,
    ApiKey,
    Child,
    EventRow,
    Message,
    MessageKey,
    Namespace,
    RequestRecord,
    Run,
    ScheduleKey,
    ScheduleRow,
    SearchKey,
    Snapshot,
    Task,
    TaskKind,
    Timer,
    TimerKind,
    Update,
)
from perdure_server.store.contract import (
    ClaimRequest,
    Position,
    QueueDepth,
    RunSummary,
    WatchedEvent,
)
from tests.support.model_workers import WorkerTable

RequestKey = tuple[str, str, str, str]


@dataclass(slots=True)
class StoredRun:
    """One run on the model's disk."""

    run: Run
    history: list[EventRow] = field(default_factory=list)
    activities: dict[int, Activity] = field(default_factory=dict)
    tasks: dict[tuple[TaskKind, int], Task] = field(default_factory=dict)
    timers: dict[tuple[TimerKind, int], Timer] = field(default_factory=dict)
    children: dict[int, Child] = field(default_factory=dict)
    updates: dict[int, Update] = field(default_factory=dict)
    keys: dict[tuple[str, bytes], SearchKey] = field(default_factory=dict)
    snapshot: Snapshot | None = None

    @property
    def summary(self) -> RunSummary:
        """The run as lists show it."""
        is_closed = self.run.closed_at_us is not None
        closed = self.history[-1].frame if is_closed else None
        return RunSummary(copy(self.run), self.history[0].frame, closed)


@dataclass(slots=True)
class Contents:
    """Everything that is on the model's disk."""

    last: Position = field(default_factory=lambda: Position(1, 0, -1))
    runs: dict[str, StoredRun] = field(default_factory=dict)
    requests: dict[RequestKey, RequestRecord] = field(default_factory=dict)
    inbox: dict[MessageKey, Message] = field(default_factory=dict)
    log: list[WatchedEvent] = field(default_factory=list)
    namespaces: dict[str, Namespace] = field(default_factory=lambda: {"main": Namespace("main", 0)})
    keys: dict[str, ApiKey] = field(default_factory=dict)
    workers: WorkerTable = field(default_factory=WorkerTable)
    schedules: dict[ScheduleKey, ScheduleRow] = field(default_factory=dict)

    def tasks(self) -> Iterator[Task]:
        """Every task, in no order that means anything."""
        return (task for stored in self.runs.values() for task in stored.tasks.values())


def request_key(request: RequestRecord) -> RequestKey:
    """Returns what identifies a request."""
    return (request.namespace, request.workflow_id, request.rpc, request.request_id)


def closed_runs(runs: Iterable[Run], before_us: int) -> list[Run]:
    """Returns the runs that closed before an instant, the first to close first."""
    closed = [(run.closed_at_us, run.run_id, run) for run in runs if run.closed_at_us is not None]
    return [run for at_us, _, run in sorted(closed, key=itemgetter(0, 1)) if at_us < before_us]


def timer_order(timer: Timer) -> tuple[int, str, str, int]:
    """Returns where a timer stands among the due ones."""
    return (timer.due_at_us, timer.run_id, timer.kind, timer.seq)


def queue_depth(queue: str, tasks: Sequence[Task], now_us: int) -> QueueDepth:
    """Returns what a queue tells of its tasks."""
    kinds = Counter((task.kind, task.is_free) for task in tasks)
    ready = [
        task.ready_at_us for task in tasks if task.session_id is None and task.ready_at_us <= now_us
    ]
    return QueueDepth(
        queue=queue,
        pending_workflow_tasks=kinds[TaskKind.WORKFLOW, True],
        running_workflow_tasks=kinds[TaskKind.WORKFLOW, False],
        pending_activities=kinds[TaskKind.ACTIVITY, True],
        running_activities=kinds[TaskKind.ACTIVITY, False],
        ready_since_us=min(ready, default=None),
    )


def watched(position: Position, run: Run, event: EventRow) -> WatchedEvent:
    """Returns an event as watches see it."""
    identity = (run.namespace, run.workflow_id, run.run_id, run.workflow_type)
    return WatchedEvent(position, *identity, event)


def begun(stored: StoredRun, event: WatchedEvent) -> int | None:
    """Returns when a run's code first ran, if an event is the first one since."""
    began_at_us = stored.run.started_at_us
    if began_at_us is None or event.row.at_us < began_at_us or event.row.seq == 1:
        return None
    before = [row for row in stored.history if 1 < row.seq == event.row.seq - 1]
    return None if any(row.at_us >= began_at_us for row in before) else began_at_us


def change_rows(stored: StoredRun, change: RunChange) -> None:
    """Does to the rows of a run what a change says."""
    stored.updates |= change.put_updates
    stored.snapshot = change.snapshot or stored.snapshot
    for key in change.del_keys:
        stored.keys.pop(key, None)
    stored.keys |= change.put_keys
    if change.closes:
        stored.activities.clear()
        stored.tasks.clear()
        stored.timers.clear()
        stored.children.clear()
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
    stored.children |= change.put_children


def leased(task: Task, claim: ClaimRequest, now_us: int) -> Task:
    """Returns a task as a claim leaves it."""
    limit_us = claim.poll_lease_us if task.lease_limit_us is None else task.lease_limit_us
    return replace(
        task,
        session_id=claim.session_id,
        worker_identity=claim.worker_identity,
        leased_at_us=now_us,
        lease=task.lease + 1,
        lease_until_us=None if limit_us is None else now_us + limit_us,
    )
