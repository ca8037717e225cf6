"""Owns how runs are shown: rows and frames in, messages of the contract out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from perdure.v1 import workflow_pb2
from perdure.v1.activity_pb2 import Activity as ActivityInfo
from perdure.v1.activity_pb2 import ActivityStatus
from perdure.v1.failure_pb2 import Failure, FailureKind
from perdure.v1.history_pb2 import ActivityScheduled, HistoryEvent, WorkflowPaused
from perdure.v1.payload_pb2 import Payload
from perdure.v1.workflow_pb2 import (
    PendingTimer,
    PendingWorkflowTask,
    Workflow,
    WorkflowStatus,
)
from perdure_server.core.ending import failure_of
from perdure_server.core.frames import parse_frame
from perdure_server.core.model import Activity, Run, RunStatus, Task, TaskKind, Timer, TimerKind
from perdure_server.core.state import RunState
from perdure_server.core.times import to_timestamp
from perdure_server.core.token import TaskToken
from perdure_server.store.contract import RunSummary

WaitingReason = Callable[[Task], str]

_ENDINGS = {
    "activity_completed": ActivityStatus.ACTIVITY_STATUS_COMPLETED,
    "activity_failed": ActivityStatus.ACTIVITY_STATUS_FAILED,
    "activity_cancelled": ActivityStatus.ACTIVITY_STATUS_CANCELLED,
    "activity_timed_out": ActivityStatus.ACTIVITY_STATUS_TIMED_OUT,
}


@dataclass(slots=True)
class ActivityStory:
    """What the history of a run says of one activity."""

    scheduled: HistoryEvent | None = None
    end: HistoryEvent | None = None
    cancel_requested: bool = False

    def read(self, event: HistoryEvent, kind: str, seq: int) -> None:
        """Takes in an event of an activity, if it is of the one with this number."""
        if getattr(event, kind).activity_seq != seq:
            return
        if kind == "activity_scheduled":
            self.scheduled = event
        elif kind == "activity_cancel_requested":
            self.cancel_requested = True
        else:
            self.end = event


def status_of(status: RunStatus) -> WorkflowStatus:
    """Returns a status as the contract names it."""
    number: WorkflowStatus = getattr(workflow_pb2, f"WORKFLOW_STATUS_{status}")
    return number


def workflow_of(summary: RunSummary) -> Workflow:
    """Returns a run as the contract shows it."""
    record = _record(summary.run)
    started = parse_frame(summary.started).workflow_started
    record.parent_workflow_id = started.parent.workflow_id
    record.schedule_name = started.schedule_name
    if started.HasField("input"):
        record.input.CopyFrom(started.input)
    if started.HasField("memo"):
        record.memo.CopyFrom(started.memo)
    record.summary, record.details = started.summary, started.details
    if summary.run.attributes:
        record.search_attributes.ParseFromString(summary.run.attributes)
    if summary.closed is None:
        return record
    event = parse_frame(summary.closed)
    if summary.run.status is not RunStatus.COMPLETED:
        record.failure.CopyFrom(failure_of(event))
    elif event.workflow_completed.HasField("result"):
        record.result.CopyFrom(event.workflow_completed.result)
    return record


def pending_workflow_task(
    state: RunState, reason: WaitingReason, now_us: int
) -> PendingWorkflowTask | None:
    """Returns the workflow task of a run, or None when nothing waits for its code."""
    task = state.tasks.get((TaskKind.WORKFLOW, 0))
    if task is None:
        return None
    info = PendingWorkflowTask(
        scheduled_at=to_timestamp(task.created_at_us),
        attempt=task.attempt,
        worker_identity=task.worker_identity if task.session_id else "",
    )
    if state.run.task_failure:
        info.last_failure.CopyFrom(Failure.FromString(state.run.task_failure))
    if task.session_id is not None and task.leased_at_us is not None:
        info.started_at.CopyFrom(to_timestamp(task.leased_at_us))
    elif task.ready_at_us > now_us:
        info.next_attempt_at.CopyFrom(to_timestamp(task.ready_at_us))
    else:
        info.waiting_reason = reason(task)
    return info


def pending_activity(
    run: Run, activity: Activity, task: Task | None, *, reason: WaitingReason, now_us: int
) -> ActivityInfo:
    """Returns a pending activity as the contract shows it."""
    info = _activity(run, ActivityScheduled.FromString(activity.scheduled))
    # Of the attempt that a worker has: it keeps its number when attempts are counted anew.
    at = activity if task is None else task
    token = TaskToken(run.run_id, TaskKind.ACTIVITY, activity.seq, at.attempt, lease=at.lease)
    info.activity_id = token.encode()
    info.status = ActivityStatus.ACTIVITY_STATUS_PENDING
    info.attempt = activity.attempt
    info.scheduled_at.CopyFrom(to_timestamp(activity.scheduled_at_us))
    info.cancel_requested, info.paused = activity.cancel_requested, activity.paused
    if activity.last_failure:
        info.last_failure.CopyFrom(Failure.FromString(activity.last_failure))
    if activity.heartbeat_details:
        info.heartbeat_details.CopyFrom(Payload.FromString(activity.heartbeat_details))
    if activity.heartbeat_at_us is not None:
        info.last_heartbeat_at.CopyFrom(to_timestamp(activity.heartbeat_at_us))
    if task is not None:
        _show_task(info, task, reason, now_us)
    return info


def ended_activity(run: Run, story: ActivityStory, activity_id: str) -> ActivityInfo | None:
    """Returns an activity that is no longer pending; None when there never was one.

    `activity_id` is the id that it was asked for by: the history does not tell at which attempt an
    activity was that ended with its run.
    """
    if story.scheduled is None:
        return None
    scheduled = story.scheduled.activity_scheduled
    info = _activity(run, scheduled)
    info.scheduled_at.CopyFrom(story.scheduled.timestamp)
    info.cancel_requested = story.cancel_requested
    if story.end is not None:
        _show_end(info, story.end, scheduled.activity_seq)
        return info
    if run.closed_at_us is None:
        return None
    info.activity_id = activity_id
    info.status = ActivityStatus.ACTIVITY_STATUS_CANCELLED
    info.completed_at.CopyFrom(to_timestamp(run.closed_at_us))
    info.failure.message = f"the run closed ({run.status}) before the activity ended"
    info.failure.kind = FailureKind.FAILURE_KIND_CANCELLED
    return info


def pending_timers(state: RunState, limit: int) -> list[PendingTimer]:
    """Returns the timers that the code scheduled, by number."""
    timers: list[Timer] = sorted(
        (timer for timer in state.timers.values() if timer.kind is TimerKind.USER),
        key=lambda timer: timer.seq,
    )
    return [
        PendingTimer(seq=timer.seq, fire_at=to_timestamp(timer.due_at_us))
        for timer in timers[:limit]
    ]


def _activity(run: Run, scheduled: ActivityScheduled) -> ActivityInfo:
    return ActivityInfo(
        workflow_id=run.workflow_id,
        run_id=run.run_id,
        seq=abs(scheduled.activity_seq),
        external=scheduled.external,
        name=scheduled.name,
        task_queue=scheduled.task_queue,
        options=scheduled.options,
        input=scheduled.input if scheduled.HasField("input") else None,
    )


def _show_end(info: ActivityInfo, event: HistoryEvent, seq: int) -> None:
    kind = str(event.WhichOneof("event"))
    end = getattr(event, kind)
    lease = 0 if kind == "activity_timed_out" else end.lease
    token = TaskToken(info.run_id, TaskKind.ACTIVITY, seq, end.attempt, lease=lease)
    info.activity_id = token.encode()
    info.status = _ENDINGS[kind]
    info.attempt = end.attempt
    info.completed_at.CopyFrom(event.timestamp)
    if kind != "activity_completed":
        info.failure.CopyFrom(end.failure)
    elif end.HasField("result"):
        info.result.CopyFrom(end.result)


def _show_task(info: ActivityInfo, task: Task, reason: WaitingReason, now_us: int) -> None:
    if task.session_id is not None and task.leased_at_us is not None:
        info.status = ActivityStatus.ACTIVITY_STATUS_RUNNING
        info.started_at.CopyFrom(to_timestamp(task.leased_at_us))
        info.worker_identity = task.worker_identity
    elif task.ready_at_us > now_us:
        info.status = ActivityStatus.ACTIVITY_STATUS_BACKING_OFF
        info.next_attempt_at.CopyFrom(to_timestamp(task.ready_at_us))
    else:
        info.waiting_reason = reason(task)


def _record(run: Run) -> Workflow:
    record = Workflow(
        namespace=run.namespace,
        workflow_id=run.workflow_id,
        run_id=run.run_id,
        workflow_type=run.workflow_type,
        task_queue=run.task_queue,
        status=status_of(run.status),
        attempt=run.attempt,
        history_length=run.history_length,
        created_at=to_timestamp(run.created_at_us),
        updated_at=to_timestamp(run.updated_at_us),
        cancel_requested=run.cancel_requested,
        next_run_id=run.next_run_id,
        previous_run_id=run.previous_run_id,
        priority=run.priority,
    )
    if run.pause:
        paused = WorkflowPaused.FromString(run.pause)
        record.pause.reason, record.pause.identity = paused.reason, paused.identity
    if run.started_at_us is not None:
        record.started_at.CopyFrom(to_timestamp(run.started_at_us))
    if run.closed_at_us is not None:
        record.completed_at.CopyFrom(to_timestamp(run.closed_at_us))
    return record
