"""Owns the translation between the rows of `core/model.py` and the tuples of SQLite.

Columns stand in the order of the dataclass fields, so that a tuple needs no names. Enums go out as
their plain strings: the driver takes a slow path for subclasses of the types it knows.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields
from operator import attrgetter
from typing import Any, Final

from perdure_server.core.model import (
    Activity,
    ApiKey,
    Child,
    EventRow,
    Lane,
    Message,
    MessageKind,
    Namespace,
    RequestRecord,
    Run,
    RunStatus,
    ScheduleRow,
    SearchKey,
    Snapshot,
    Task,
    TaskKind,
    Timer,
    TimerKind,
    Update,
    Worker,
)
from perdure_server.core.state import RunState
from perdure_server.store.contract import (
    LaneDepth,
    LatestRun,
    ListedWorker,
    Position,
    QueueDepth,
    RunSummary,
    WatchedEvent,
)

Row = Sequence[Any]
"""A tuple as the driver takes and gives it."""


def _getter(kind: type, *enums: str) -> Callable[[Any], Row]:
    names = (field.name for field in fields(kind))
    return attrgetter(*(f"{name}._value_" if name in enums else name for name in names))


from_run: Final = _getter(Run, "status")
from_activity: Final = _getter(Activity)
from_task: Final = _getter(Task, "kind")
from_timer: Final = _getter(Timer, "kind")
from_child: Final = _getter(Child)
from_update: Final = _getter(Update)
from_key: Final = _getter(SearchKey)
from_snapshot: Final = _getter(Snapshot)
from_message: Final = _getter(Message, "kind")
from_request: Final = _getter(RequestRecord)
from_lane: Final = _getter(Lane, "kind")
from_namespace: Final = _getter(Namespace)
from_api_key: Final = _getter(ApiKey)
from_worker: Final = _getter(Worker)
from_schedule: Final = _getter(ScheduleRow)

_RUN_WIDTH: Final = len(fields(Run))
_TASK_KINDS: Final = {kind.value: kind for kind in TaskKind}
"""Asking the enum takes as long as all the rest of building a task."""


def to_run(row: Row) -> Run:
    """Builds a run from the columns of `runs`."""
    run = Run(*row)
    run.status = RunStatus(run.status)
    run.cancel_requested = bool(run.cancel_requested)
    return run


def to_summary(row: Row) -> RunSummary:
    """Builds a summary from the columns of `run_summaries`."""
    started, closed = row[_RUN_WIDTH:]
    return RunSummary(to_run(row[:_RUN_WIDTH]), started, closed)


def to_activity(row: Row) -> Activity:
    """Builds an activity from the columns of `activities`."""
    activity = Activity(*row)
    activity.cancel_requested = bool(activity.cancel_requested)
    activity.paused = bool(activity.paused)
    return activity


def to_task(row: Row) -> Task:
    """Builds a task from the columns of `tasks`."""
    task = Task(*row)
    task.kind = _TASK_KINDS[task.kind]
    return task


def to_timer(row: Row) -> Timer:
    """Builds a timer from the columns of `timers`."""
    run_id, kind, seq, due_at_us = row
    return Timer(run_id, TimerKind(kind), seq, due_at_us)


def to_child(row: Row) -> Child:
    """Builds a child from the columns of `children`."""
    run_id, seq, workflow_id, workflow_type, child_run_id, policy, closed = row
    return Child(run_id, seq, workflow_id, workflow_type, child_run_id, policy, bool(closed))


def to_update(row: Row) -> Update:
    """Builds an update from the columns of `updates`."""
    return Update(*row)


def to_state(run: Run, started: bytes, pending: Iterable[Iterable[Row]]) -> RunState:
    """Builds a run as it is decided on.

    `pending` has its activities, tasks, timers, children, updates and unseen events, in this order.
    """
    activities, tasks, timers, children, updates, tail = pending
    return RunState(
        run,
        started,
        {activity.seq: activity for activity in map(to_activity, activities)},
        {(task.kind, task.seq): task for task in map(to_task, tasks)},
        {(timer.kind, timer.seq): timer for timer in map(to_timer, timers)},
        [EventRow(*event) for event in tail],
        {child.seq: child for child in map(to_child, children)},
        {update.seq: update for update in map(to_update, updates)},
    )


def to_snapshot(row: Row) -> Snapshot:
    """Builds a snapshot from the columns of `snapshots`."""
    return Snapshot(*row)


def to_message(row: Row) -> Message:
    """Builds a message from the columns of `inbox`."""
    sender_run_id, seq, kind, *columns = row
    return Message(sender_run_id, seq, MessageKind(kind), *columns)


def to_request(row: Row) -> RequestRecord:
    """Builds a request record from the columns of `requests`."""
    return RequestRecord(*row)


def to_depth(row: Row) -> LaneDepth:
    """Builds the depth of a lane from the columns of `lane_depths`."""
    namespace, queue, kind, type_, ready, first_ready_at_us = row
    return LaneDepth(Lane(namespace, queue, TaskKind(kind), type_), ready, first_ready_at_us)


def to_namespace(row: Row) -> Namespace:
    """Builds a namespace from the columns of `namespaces`."""
    return Namespace(*row)


def to_api_key(row: Row) -> ApiKey:
    """Builds an API key from the columns of `api_keys`."""
    return ApiKey(*row)


def to_worker(row: Row) -> Worker:
    """Builds a worker from the columns of `workers`."""
    worker_id, server_id, namespace, queue, info, any_type, heard_at_us, until_us = row
    return Worker(
        worker_id=worker_id,
        server_id=server_id,
        namespace=namespace,
        queue=queue,
        info=info,
        any_type=bool(any_type),
        heard_at_us=heard_at_us,
        until_us=until_us,
    )


def to_listed_worker(row: Row) -> ListedWorker:
    """Builds a worker from the columns of `list_workers`, which counts its tasks."""
    *worker, active_tasks = row
    return ListedWorker(to_worker(worker), active_tasks)


def to_schedule(row: Row) -> ScheduleRow:
    """Builds a schedule from the columns of `schedules`."""
    namespace, name, version, serve_at_us, waits, record = row
    return ScheduleRow(namespace, name, version, serve_at_us, bool(waits), record)


def to_latest(found: Iterable[Row]) -> dict[tuple[str, str], LatestRun]:
    """Builds the newest runs of workflows from the rows of `latest_runs`."""
    return {
        (namespace, workflow_id): LatestRun(run_id, RunStatus(status))
        for namespace, workflow_id, run_id, status in found
    }


def to_queue_depths(rows: Iterable[Row]) -> list[QueueDepth]:
    """Builds the depths of queues from `queue_depths`, which has a row per kind and state."""
    counts: defaultdict[str, Counter[tuple[str, bool]]] = defaultdict(Counter)
    since: dict[str, int] = {}
    for queue, kind, is_held, count, ready_at_us in rows:
        counts[queue][kind, bool(is_held)] += count
        if ready_at_us is not None:
            since[queue] = min(ready_at_us, since.get(queue, ready_at_us))
    return [
        QueueDepth(
            queue=queue,
            pending_workflow_tasks=counts[queue][TaskKind.WORKFLOW, False],
            running_workflow_tasks=counts[queue][TaskKind.WORKFLOW, True],
            pending_activities=counts[queue][TaskKind.ACTIVITY, False],
            running_activities=counts[queue][TaskKind.ACTIVITY, True],
            ready_since_us=since.get(queue),
        )
        for queue in sorted(counts)
    ]


def to_watched(epoch: int, row: Row) -> WatchedEvent:
    """Builds a watched event from the columns of `read_events`."""
    commit, index, namespace, workflow_id, run_id, workflow_type, began_at_us, *event = row
    return WatchedEvent(
        position=Position(epoch, commit, index),
        namespace=namespace,
        workflow_id=workflow_id,
        run_id=run_id,
        workflow_type=workflow_type,
        row=EventRow(*event),
        began_at_us=began_at_us,
    )
