"""Owns activities, from the command that schedules one to the one ending that is recorded.

An activity is pending while its row stands. Its task is ready or leased; a failed attempt makes it
ready again, which no event records. One that was scheduled from outside (`external`) has a negative
number; the code is not run to learn of its events.
"""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from perdure.v1.activity_pb2 import ActivityOptions
from perdure.v1.failure_pb2 import Failure, FailureKind, TimeoutType
from perdure.v1.history_pb2 import (
    ActivityCancelled,
    ActivityCancelRequested,
    ActivityCompleted,
    ActivityFailed,
    ActivityOptionsUpdated,
    ActivityPaused,
    ActivityReset,
    ActivityScheduled,
    ActivityTimedOut,
    ActivityUnpaused,
)
from perdure_server.core import fields
from perdure_server.core.batch import is_new, require_known
from perdure_server.core.frames import parse_frame
from perdure_server.core.limits import DURATION_US_MAX
from perdure_server.core.model import DETACHED, Activity, Task, TaskKind, Timer, TimerKind
from perdure_server.core.retry import next_delay_us, resolve_options
from perdure_server.core.times import from_duration
from perdure_server.core.workflow_task import released

if TYPE_CHECKING:
    from collections.abc import Iterable

    from perdure.v1.command_pb2 import CancelActivity, ScheduleActivity
    from perdure.v1.payload_pb2 import Payload
    from perdure.v1.workflow_service_pb2 import ScheduleActivityRequest
    from perdure_server.core.batch import CommandBatch
    from perdure_server.core.draft import Draft
    from perdure_server.core.model import EventRow
    from perdure_server.core.token import TaskToken


class ActivityPhase(StrEnum):
    """Where an activity stands."""

    PENDING = "PENDING"
    CANCELLING = "CANCELLING"
    CLOSED = "CLOSED"


ACTIVITY_TRANSITIONS: Final[dict[tuple[ActivityPhase | None, str], ActivityPhase]] = {
    (None, "activity_scheduled"): ActivityPhase.PENDING,
    (ActivityPhase.PENDING, "activity_cancel_requested"): ActivityPhase.CANCELLING,
    (ActivityPhase.PENDING, "activity_completed"): ActivityPhase.CLOSED,
    (ActivityPhase.PENDING, "activity_failed"): ActivityPhase.CLOSED,
    (ActivityPhase.PENDING, "activity_timed_out"): ActivityPhase.CLOSED,
    (ActivityPhase.CANCELLING, "activity_completed"): ActivityPhase.CLOSED,
    (ActivityPhase.CANCELLING, "activity_failed"): ActivityPhase.CLOSED,
    (ActivityPhase.CANCELLING, "activity_timed_out"): ActivityPhase.CLOSED,
    (ActivityPhase.CANCELLING, "activity_cancelled"): ActivityPhase.CLOSED,
    **{
        (phase, kind): phase
        for phase in (ActivityPhase.PENDING, ActivityPhase.CANCELLING)
        for kind in (
            "activity_options_updated",
            "activity_paused",
            "activity_unpaused",
            "activity_reset",
        )
    },
    # Moot: the activity ended before the code could know.
    (ActivityPhase.CLOSED, "activity_cancel_requested"): ActivityPhase.CLOSED,
}
"""Where an event leads.

There is no row for an event that must not be written, such as a second ending.
"""

RESULT_ENDINGS: Final = frozenset({"activity_completed"})
"""What a result that is accepted writes, with the lease of its report."""
FAILURE_ENDINGS: Final = frozenset({"activity_failed", "activity_cancelled"})
"""What a failure that is accepted, and is the last, writes, with the lease of its report."""
_DEFAULTS: Final = resolve_options(ActivityOptions())
_ActivityEvent = (
    ActivityScheduled
    | ActivityOptionsUpdated
    | ActivityPaused
    | ActivityReset
    | ActivityUnpaused
    | ActivityCompleted
    | ActivityFailed
    | ActivityTimedOut
    | ActivityCancelled
    | ActivityCancelRequested
)


def activity_phase(draft: Draft, seq: int) -> ActivityPhase | None:
    """Returns where an activity stands; None when it was never scheduled.

    Also None for one from outside that has ended: those numbers may have gaps, so a run does not
    remember them.
    """
    activity = draft.activity(seq)
    if activity is None:
        was_given_out = 0 < seq <= draft.run.activity_seq_max
        return ActivityPhase.CLOSED if was_given_out else None
    return ActivityPhase.CANCELLING if activity.cancel_requested else ActivityPhase.PENDING


def schedule(batch: CommandBatch, command: ScheduleActivity) -> None:
    """Schedules an activity. A repetition writes nothing."""
    fields.check_activity(command)
    run = batch.draft.run
    if is_new(command.seq, run.activity_seq_max):
        begin(batch.draft, command, seq=command.seq, now_us=batch.now_us)
        run.activity_seq_max = command.seq


def begin(
    draft: Draft, request: ScheduleActivity | ScheduleActivityRequest, *, seq: int, now_us: int
) -> None:
    """Writes the event and the rows of an activity that is new under this number."""
    run = draft.run
    options = resolve_options(request.options) if request.HasField("options") else _DEFAULTS
    scheduled = ActivityScheduled(
        activity_seq=seq,
        name=request.name,
        task_queue=request.task_queue or run.task_queue,
        options=options,
        priority=request.priority or run.priority,
        external=seq < 0,
        headers=request.headers,
    )
    if request.HasField("input"):
        scheduled.input.CopyFrom(request.input)
    record(draft, seq, now_us, activity_scheduled=scheduled)
    _put_rows(draft, scheduled, now_us)


def begin_again(
    draft: Draft, scheduled: ActivityScheduled, *, lease: int, paused: bool, now_us: int
) -> None:
    """Writes the rows of an activity whose event is there already; `lease` was given out before."""
    seq = scheduled.activity_seq
    _put_rows(draft, scheduled, now_us)
    draft.put_activity(replace(row_of(draft, seq), paused=paused))
    draft.put_task(replace(task_of(draft, seq), lease=lease))


def end_unheld(draft: Draft, seq: int, now_us: int) -> None:
    """Ends an activity that was asked to end and that nobody holds."""
    failure = Failure(
        message="cancelled before a worker had it", kind=FailureKind.FAILURE_KIND_CANCELLED
    )
    activity = replace(row_of(draft, seq), cancel_requested=True)
    draft.put_activity(activity)
    _end_cancelled(draft, activity, failure, lease=0, now_us=now_us)


def cancel(batch: CommandBatch, command: CancelActivity) -> None:
    """Cancels an activity, once."""
    draft, seq = batch.draft, command.seq
    require_known(seq, draft.run.activity_seq_max)
    phase = activity_phase(draft, seq)
    if phase is not ActivityPhase.CANCELLING and not batch.cancels_again("activity", seq):
        request_cancel(draft, seq, batch.now_us)


def request_cancel(draft: Draft, seq: int, now_us: int) -> None:
    """Asks an activity to end: the holder is told; one that nobody holds ends at once."""
    phase = activity_phase(draft, seq)
    event = ActivityCancelRequested(activity_seq=seq)
    record(draft, seq, now_us, activity_cancel_requested=event)
    if phase is ActivityPhase.CLOSED:
        return
    task = task_of(draft, seq)
    draft.put_activity(replace(row_of(draft, seq), cancel_requested=True))
    draft.notify(task, "CANCEL_REQUESTED")
    if task.is_free:
        draft.fence(TaskKind.ACTIVITY, seq, task.lease)
        end_unheld(draft, seq, now_us)


def complete(draft: Draft, task: Task, result: Payload, now_us: int) -> None:
    """Records the result of an attempt."""
    activity = row_of(draft, task.seq)
    event = ActivityCompleted(
        activity_seq=activity.seq,
        name=activity.name,
        result=result,
        attempt=activity.attempt,
        lease=task.lease,
    )
    record(draft, activity.seq, now_us, activity_completed=event)


def fail(draft: Draft, task: Task, failure: Failure, *, lease: int, now_us: int) -> None:
    """Ends an attempt that failed: with another attempt, a final failure, or a cancellation.

    `lease` is that of the accepted report, 0 when the engine itself ended the attempt.
    """
    activity = row_of(draft, task.seq)
    delay_us = _next_delay_us(activity, failure, now_us)
    was_cancelled = failure.kind == FailureKind.FAILURE_KIND_CANCELLED
    if activity.cancel_requested and (was_cancelled or delay_us is not None):
        _end_cancelled(draft, activity, failure, lease=lease, now_us=now_us)
    elif delay_us is not None:
        _try_again(draft, task, failure, lease=lease, ready_at_us=now_us + delay_us)
    elif lease == 0 and failure.kind == FailureKind.FAILURE_KIND_TIMEOUT:
        _end_timed_out(draft, activity, failure, now_us)
    else:
        event = ActivityFailed(
            activity_seq=activity.seq,
            name=activity.name,
            failure=failure,
            attempt=activity.attempt,
            lease=lease,
        )
        record(draft, activity.seq, now_us, activity_failed=event)


def hand_back(draft: Draft, task: Task, now_us: int) -> None:
    """Puts a task back that no worker ever had; it does not count as an attempt."""
    make_ready(draft, task, now_us)


def lose(draft: Draft, task: Task, now_us: int) -> None:
    """Ends an attempt whose worker was lost; it counts."""
    failure = Failure(
        message=f"the worker {task.worker_identity or task.session_id} was lost",
        kind=FailureKind.FAILURE_KIND_WORKER_LOST,
    )
    fail(draft, task, failure, lease=0, now_us=now_us)


def expire(draft: Draft, task: Task, now_us: int) -> None:
    """Ends an attempt whose lease ran out, by its start-to-close or its heartbeat timeout."""
    if now_us >= _attempt_end_us(task):
        timeout, message = TimeoutType.TIMEOUT_TYPE_START_TO_CLOSE, "the attempt took too long"
    else:
        timeout, message = TimeoutType.TIMEOUT_TYPE_HEARTBEAT, "the attempt was silent for too long"
    draft.notify(task, "LEASE_LOST")
    fail(draft, task, _timeout(timeout, message), lease=0, now_us=now_us)


def time_out_queue(draft: Draft, seq: int, now_us: int) -> None:
    """Ends an activity that waited too long for a worker, unless a worker has it."""
    draft.drop_timer(TimerKind.ACTIVITY_QUEUE, seq)
    task = task_of(draft, seq)
    if task.is_free:
        draft.fence(TaskKind.ACTIVITY, seq, task.lease)
        failure = _timeout(
            TimeoutType.TIMEOUT_TYPE_SCHEDULE_TO_START, "no worker took the activity in time"
        )
        _end_timed_out(draft, row_of(draft, seq), failure, now_us)


def time_out_total(draft: Draft, seq: int, now_us: int) -> None:
    """Ends an activity whose attempts together took too long."""
    draft.notify(task_of(draft, seq), "LEASE_LOST")
    failure = _timeout(
        TimeoutType.TIMEOUT_TYPE_SCHEDULE_TO_CLOSE, "the activity took too long in all"
    )
    _end_timed_out(draft, row_of(draft, seq), failure, now_us)


def heartbeat(draft: Draft, task: Task, details: Payload | None, now_us: int) -> bool:
    """Notes that an attempt is alive, extends its lease, and tells whether it should stop."""
    activity = row_of(draft, task.seq)
    encoded = activity.heartbeat_details if details is None else details.SerializeToString()
    draft.put_activity(replace(activity, heartbeat_details=encoded, heartbeat_at_us=now_us))
    until_us = min(now_us + (task.lease_limit_us or 0), _attempt_end_us(task))
    if task.lease_until_us is not None and task.lease_until_us < until_us:
        draft.put_task(replace(task, lease_until_us=until_us))
    return activity.cancel_requested


def detach(draft: Draft, task: Task) -> None:
    """Frees a lease from its session: whoever has the token will report, the timeouts go on."""
    draft.put_task(replace(task, session_id=DETACHED))


def was_reported(draft: Draft, token: TaskToken, endings: frozenset[str]) -> bool:
    """Whether this report was accepted before, as far as the events at hand tell.

    `endings` are the events that a report of its kind may have written.
    """
    activity = draft.activity(token.seq)
    if activity is None:
        return was_accepted(draft.recent(), token, endings)
    return endings is FAILURE_ENDINGS and 0 < token.lease == activity.accepted_lease


def was_accepted(rows: Iterable[EventRow], token: TaskToken, endings: frozenset[str]) -> bool:
    """Whether one of the events is an ending, of those named, made by this token's report."""
    for row in rows:
        if row.kind in endings:
            event = getattr(parse_frame(row.frame), row.kind)
            if event.activity_seq == token.seq and 0 < token.lease == event.lease:
                return True
    return False


def record(draft: Draft, seq: int, now_us: int, **event: _ActivityEvent) -> None:
    """Appends an event as the table allows, and removes the rows of an activity that closes."""
    before = activity_phase(draft, seq)
    after = ACTIVITY_TRANSITIONS[before, next(iter(event))]
    append = draft.append_external if seq < 0 else draft.append
    append(now_us, **event)
    if after is not ActivityPhase.CLOSED or before is ActivityPhase.CLOSED:
        return
    draft.drop_activity(seq)
    draft.drop_task(TaskKind.ACTIVITY, seq)
    for kind in (TimerKind.ACTIVITY_QUEUE, TimerKind.ACTIVITY_TOTAL):
        if draft.timer(kind, seq) is not None:
            draft.drop_timer(kind, seq)


def row_of(draft: Draft, seq: int) -> Activity:
    """Returns the row of a pending activity."""
    activity = draft.activity(seq)
    assert activity is not None, "a pending activity has both rows, a closed one neither"
    return activity


def task_of(draft: Draft, seq: int) -> Task:
    """Returns the task of a pending activity."""
    task = draft.task(TaskKind.ACTIVITY, seq)
    assert task is not None, "a pending activity has both rows, a closed one neither"
    return task


def attempt_limits(options: ActivityOptions) -> tuple[int, int]:
    """Returns how long an attempt may take, and how long its lease lasts."""
    start_us = from_duration(options.start_to_close_timeout)
    heartbeat_us = from_duration(options.heartbeat_timeout)
    return start_us, min(start_us, heartbeat_us) if heartbeat_us else start_us


def _put_rows(draft: Draft, scheduled: ActivityScheduled, now_us: int) -> None:
    """Writes the rows of an activity that was just scheduled."""
    run, seq, options = draft.run, scheduled.activity_seq, scheduled.options
    start_limit_us, lease_limit_us = attempt_limits(options)
    draft.put_activity(
        Activity(
            run_id=run.run_id,
            seq=seq,
            name=scheduled.name,
            attempt=1,
            scheduled=scheduled.SerializeToString(),
            scheduled_at_us=run.updated_at_us,
        )
    )
    draft.put_task(
        Task(
            run_id=run.run_id,
            kind=TaskKind.ACTIVITY,
            seq=seq,
            namespace=run.namespace,
            queue=scheduled.task_queue,
            type=scheduled.name,
            priority=scheduled.priority,
            ready_at_us=now_us,
            created_at_us=now_us,
            lease_limit_us=lease_limit_us,
            start_limit_us=start_limit_us,
        )
    )
    _put_queue_timer(draft, seq, options, now_us)
    if total_us := from_duration(options.schedule_to_close_timeout):
        draft.put_timer(Timer(run.run_id, TimerKind.ACTIVITY_TOTAL, seq, now_us + total_us))


def _try_again(draft: Draft, task: Task, failure: Failure, *, lease: int, ready_at_us: int) -> None:
    activity = row_of(draft, task.seq)
    draft.put_activity(
        replace(
            activity,
            attempt=activity.attempt + 1,
            last_failure=failure.SerializeToString(),
            accepted_lease=lease or activity.accepted_lease,
            lease=task.lease,
        )
    )
    make_ready(draft, replace(task, attempt=activity.attempt + 1), ready_at_us)


def make_ready(draft: Draft, task: Task, ready_at_us: int) -> None:
    """Puts a task back for any worker; its schedule-to-start timeout counts from `ready_at_us`."""
    options = ActivityScheduled.FromString(row_of(draft, task.seq).scheduled).options
    limits = attempt_limits(options)
    task = replace(task, start_limit_us=limits[0], lease_limit_us=limits[1])
    draft.put_task(released(task, ready_at_us))
    _put_queue_timer(draft, task.seq, options, ready_at_us)


def _put_queue_timer(draft: Draft, seq: int, options: ActivityOptions, ready_at_us: int) -> None:
    if draft.timer(TimerKind.ACTIVITY_QUEUE, seq) is not None:
        draft.drop_timer(TimerKind.ACTIVITY_QUEUE, seq)
    if queue_us := from_duration(options.schedule_to_start_timeout):
        timer = Timer(draft.run.run_id, TimerKind.ACTIVITY_QUEUE, seq, ready_at_us + queue_us)
        draft.put_timer(timer)


def _next_delay_us(activity: Activity, failure: Failure, now_us: int) -> int | None:
    """Returns the wait before the next attempt; None when there is none, also for lack of time."""
    options = ActivityScheduled.FromString(activity.scheduled).options
    delay_us = next_delay_us(options.retry_policy, activity.attempt, failure)
    total_us = from_duration(options.schedule_to_close_timeout)
    if delay_us is None or not total_us:
        return delay_us
    return delay_us if now_us + delay_us < activity.scheduled_at_us + total_us else None


def _attempt_end_us(task: Task) -> int:
    """Returns when start-to-close ends the attempt of a leased task."""
    return (task.leased_at_us or 0) + (task.start_limit_us or DURATION_US_MAX)


def _end_cancelled(
    draft: Draft, activity: Activity, failure: Failure, *, lease: int, now_us: int
) -> None:
    event = ActivityCancelled(
        activity_seq=activity.seq,
        name=activity.name,
        failure=failure,
        attempt=activity.attempt,
        lease=lease,
    )
    record(draft, activity.seq, now_us, activity_cancelled=event)


def _end_timed_out(draft: Draft, activity: Activity, failure: Failure, now_us: int) -> None:
    """Ends an activity by a timeout, with the failure of its last attempt as the cause."""
    if activity.last_failure:
        failure.cause.ParseFromString(activity.last_failure)
    event = ActivityTimedOut(
        activity_seq=activity.seq,
        name=activity.name,
        failure=failure,
        attempt=activity.attempt,
    )
    record(draft, activity.seq, now_us, activity_timed_out=event)


def _timeout(timeout: TimeoutType, message: str) -> Failure:
    return Failure(message=message, kind=FailureKind.FAILURE_KIND_TIMEOUT, timeout_type=timeout)
