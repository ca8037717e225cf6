"""Owns what operators do to a pending activity: pause it, count its attempts anew, change options.

The code of the workflow hears of none of it. What a worker has goes on as it began.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from perdure.v1.history_pb2 import (
    ActivityOptionsUpdated,
    ActivityPaused,
    ActivityReset,
    ActivityScheduled,
    ActivityUnpaused,
)
from perdure_server.core import activity
from perdure_server.core.errors import ActivityNotFound, WorkflowClosed
from perdure_server.core.model import Activity, TaskKind, Timer, TimerKind
from perdure_server.core.retry import resolve_options
from perdure_server.core.times import from_duration
from perdure_server.core.workflow_task import released

if TYPE_CHECKING:
    from perdure.v1.activity_pb2 import ActivityOptions
    from perdure.v1.workflow_service_pb2 import (
        PauseActivityRequest,
        ResetActivityRequest,
        UnpauseActivityRequest,
        UpdateActivityOptionsRequest,
    )
    from perdure_server.core.draft import Draft


def pause(draft: Draft, request: PauseActivityRequest, now_us: int) -> Activity:
    """Keeps further attempts from workers. Raises `ActivityNotFound` and `WorkflowClosed`."""
    row = _pending(draft, request.activity_seq)
    if row.paused:
        return row
    event = ActivityPaused(activity_seq=row.seq, reason=request.reason, identity=request.identity)
    activity.record(draft, row.seq, now_us, activity_paused=event)
    draft.put_activity(replace(row, paused=True))
    task = activity.task_of(draft, row.seq)
    if task.session_id is None:
        draft.fence(TaskKind.ACTIVITY, row.seq, task.lease)
        draft.put_task(task)
    return activity.row_of(draft, row.seq)


def unpause(draft: Draft, request: UnpauseActivityRequest, now_us: int) -> Activity:
    """Lets an activity go on. Raises `ActivityNotFound` and `WorkflowClosed`."""
    row = _pending(draft, request.activity_seq)
    if not row.paused:
        return row
    event = ActivityUnpaused(activity_seq=row.seq, reason=request.reason, identity=request.identity)
    activity.record(draft, row.seq, now_us, activity_unpaused=event)
    draft.put_activity(replace(row, paused=False))
    task = activity.task_of(draft, row.seq)
    if task.is_held_back:
        draft.put_task(released(task, task.ready_at_us))
    return activity.row_of(draft, row.seq)


def reset(draft: Draft, request: ResetActivityRequest, now_us: int) -> Activity:
    """Counts attempts anew and skips the back-off. Raises `ActivityNotFound`, `WorkflowClosed`."""
    row = _pending(draft, request.activity_seq)
    event = ActivityReset(
        activity_seq=row.seq,
        reason=request.reason,
        identity=request.identity,
        drop_heartbeat_details=request.drop_heartbeat_details,
    )
    activity.record(draft, row.seq, now_us, activity_reset=event)
    details = b"" if request.drop_heartbeat_details else row.heartbeat_details
    draft.put_activity(replace(row, attempt=1, last_failure=b"", heartbeat_details=details))
    task = activity.task_of(draft, row.seq)
    if task.is_free:
        draft.fence(TaskKind.ACTIVITY, row.seq, task.lease)
        activity.make_ready(draft, replace(task, attempt=1), now_us)
    return activity.row_of(draft, row.seq)


def update_options(draft: Draft, request: UpdateActivityOptionsRequest, now_us: int) -> Activity:
    """Changes the options that a request has. Raises `ActivityNotFound` and `WorkflowClosed`."""
    row = _pending(draft, request.activity_seq)
    scheduled = ActivityScheduled.FromString(row.scheduled)
    scheduled.options.CopyFrom(_changed(scheduled.options, request.options))
    scheduled.priority = request.priority or scheduled.priority
    event = ActivityOptionsUpdated(
        activity_seq=row.seq,
        options=scheduled.options,
        priority=scheduled.priority,
        reason=request.reason,
        identity=request.identity,
    )
    activity.record(draft, row.seq, now_us, activity_options_updated=event)
    draft.put_activity(replace(row, scheduled=scheduled.SerializeToString()))
    task = replace(activity.task_of(draft, row.seq), priority=scheduled.priority)
    if task.is_free:
        draft.fence(TaskKind.ACTIVITY, row.seq, task.lease)
        activity.make_ready(draft, task, task.ready_at_us)
    else:
        draft.put_task(task)
    _bound_in_all(draft, row, scheduled.options)
    return activity.row_of(draft, row.seq)


def _pending(draft: Draft, seq: int) -> Activity:
    run = draft.run
    if run.status.is_closed:
        raise WorkflowClosed(
            f"run {run.run_id} of workflow {run.workflow_id} is closed ({run.status}), and so are"
            " its activities"
        )
    row = draft.activity(seq)
    if row is None:
        raise ActivityNotFound(
            f"run {run.run_id} of workflow {run.workflow_id} has no pending activity {_name(seq)}"
        )
    return row


def _name(seq: int) -> str:
    """Returns how callers know a number."""
    return f"{seq}" if seq > 0 else f"{-seq} from outside"


def _changed(options: ActivityOptions, changes: ActivityOptions) -> ActivityOptions:
    """Returns options with changes, resolved; a timeout of zero takes the option away."""
    changed = type(options)()
    changed.CopyFrom(options)
    for field, value in changes.ListFields():
        if field.name != "retry_policy":
            getattr(changed, field.name).CopyFrom(value)
    for field, _ in changes.retry_policy.ListFields():
        changed.retry_policy.ClearField(field.name)
    changed.retry_policy.MergeFrom(changes.retry_policy)
    return resolve_options(changed)


def _bound_in_all(draft: Draft, row: Activity, options: ActivityOptions) -> None:
    """Writes the timer of all attempts together, as the options now say."""
    if draft.timer(TimerKind.ACTIVITY_TOTAL, row.seq) is not None:
        draft.drop_timer(TimerKind.ACTIVITY_TOTAL, row.seq)
    if total_us := from_duration(options.schedule_to_close_timeout):
        due_us = row.scheduled_at_us + total_us
        draft.put_timer(Timer(row.run_id, TimerKind.ACTIVITY_TOTAL, row.seq, due_us))
