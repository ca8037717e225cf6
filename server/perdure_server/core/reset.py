"""Owns runs that begin with the history of another: reset, and retry of the failed activity.

The other run's history is given as stored. Its first events are copied as they are, so that the
code meets what it met then; behind them stands WorkflowReset, and behind that what came from
outside later and is not to be lost.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from perdure.v1.history_pb2 import WorkflowPaused, WorkflowReset, WorkflowStarted
from perdure_server.core import activity, child, closing
from perdure_server.core.draft import Draft, NextRun
from perdure_server.core.errors import (
    CannotReset,
    InvalidRequest,
    StaleVersion,
    WorkflowClosed,
    WorkflowNotFailed,
)
from perdure_server.core.frames import event_frame, parse_frame
from perdure_server.core.model import EventRow, Run, RunStatus, TaskKind
from perdure_server.core.opening import put_timeouts
from perdure_server.core.rebuild import Pending, repeat
from perdure_server.core.times import to_timestamp

if TYPE_CHECKING:
    from perdure.v1.workflow_service_pb2 import ResetWorkflowRequest, RetryFailedActivityRequest

_FAILURES = frozenset({"activity_failed", "activity_timed_out"})
_LATE_ENDS = frozenset({"child_workflow_completed", "child_workflow_failed"})
_LATE_ANSWERS = {
    "signal_workflow_delivered": "signal",
    "signal_workflow_failed": "signal",
    "cancel_workflow_delivered": "cancel",
    "cancel_workflow_failed": "cancel",
}


@dataclass(slots=True, frozen=True)
class Reset:
    """What is wanted: to begin again behind the event `event_seq`."""

    event_seq: int
    reason: str
    identity: str
    drop_signals: bool = False
    activity_seq: int = 0
    """The failed activity that is tried again; 0 when none is."""


def reset_of(request: ResetWorkflowRequest) -> Reset:
    """Returns what ResetWorkflow asks for."""
    return Reset(
        event_seq=request.event_seq,
        reason=request.reason,
        identity=request.identity,
        drop_signals=request.drop_signals,
    )


def retry_of(request: RetryFailedActivityRequest, run: Run, history: Sequence[EventRow]) -> Reset:
    """Returns what RetryFailedActivity asks for. Raises `WorkflowNotFailed`."""
    if run.status is not RunStatus.FAILED:
        raise WorkflowNotFailed(
            f"run {run.run_id} of workflow {run.workflow_id} is {run.status}; only a failed run is"
            " tried again, any other can be reset"
        )
    for row in reversed(history):
        if row.kind in _FAILURES:
            event = getattr(parse_frame(row.frame), row.kind)
            if event.activity_seq > 0:
                return Reset(
                    event_seq=row.seq - 1,
                    reason=request.reason,
                    identity=request.requested_by,
                    activity_seq=event.activity_seq,
                )
    raise WorkflowNotFailed(
        f"no activity failed in run {run.run_id} of workflow {run.workflow_id}; it can be reset"
    )


def reset_open(
    draft: Draft, history: Sequence[EventRow], wanted: Reset, *, new: NextRun, now_us: int
) -> Draft:
    """Ends a run for one that begins with its history, and returns that one.

    `history` was read before; events that it lacks and that the draft has are added. Raises
    `WorkflowClosed`, and `StaleVersion` when others are missing: read it again.
    """
    run = draft.run
    if run.status.is_closed:
        raise WorkflowClosed(f"run {run.run_id} of workflow {run.workflow_id} has closed")
    whole = {row.seq: row for row in (*history, *draft.recent())}
    if len(whole) < run.history_length:
        raise StaleVersion
    rows = [whole[seq] for seq in range(1, run.history_length + 1)]
    follower = reset_run(
        run, rows, wanted, new=new, generation=run.generation + 1, now_us=draft.instant(now_us)
    )
    _keep_leases(follower, draft)
    follower.settle(now_us, new)
    run.next_run_id = new.run_id
    draft.next_runs.append(follower)
    closing.leave(
        draft,
        _ending(wanted),
        is_heir_told=not wanted.drop_signals,
        kept={row.seq for row in follower.children()},
        now_us=now_us,
    )
    return follower


def reset_run(
    run: Run,
    history: Sequence[EventRow],
    wanted: Reset,
    *,
    new: NextRun,
    generation: int,
    now_us: int,
) -> Draft:
    """Returns a run that begins with the history of another, which stays as it is.

    Raises `InvalidRequest` for an event that cannot be the last one taken over, and `CannotReset`.
    """
    _check(wanted.event_seq, run, history)
    first = _first_event(history[0], run, now_us)
    draft = Draft.new(
        Run(
            run_id=new.run_id,
            namespace=run.namespace,
            workflow_id=run.workflow_id,
            workflow_type=run.workflow_type,
            task_queue=run.task_queue,
            generation=generation,
            status=RunStatus.PENDING,
            version=0,
            attempt=run.attempt,
            priority=run.priority,
            created_at_us=now_us,
            updated_at_us=first.at_us,
            task_lease=run.task_lease,
            previous_run_id=run.run_id,
            parent_run_id=run.parent_run_id,
            parent_seq=run.parent_seq,
            parent_workflow_id=run.parent_workflow_id,
        )
    )
    pending = repeat(draft, [first, *history[1 : wanted.event_seq]])
    if draft.run.started_at_us is not None:
        # The code of this run has not begun before now.
        draft.run.started_at_us = max(now_us, draft.run.updated_at_us)
    event = WorkflowReset(
        reason=wanted.reason,
        identity=wanted.identity,
        event_seq=wanted.event_seq,
        from_run_id=run.run_id,
        activity_seq=wanted.activity_seq,
    )
    draft.append(now_us, workflow_reset=event)
    for row in pending.children.values():
        draft.put_child(row)
    late = history[wanted.event_seq :]
    _carry(draft, late, pending, drop_signals=wanted.drop_signals, now_us=now_us)
    _require_answers(pending)
    child.call_for(draft, draft.children())
    if run.pause and not (run.status.is_closed or draft.run.pause):
        # Who paused it meant the workflow, not this run of it.
        draft.append(now_us, workflow_paused=WorkflowPaused.FromString(run.pause))
        draft.run.pause = run.pause
    _put_rows(draft, pending, _leases(late), now_us)
    return draft


def _check(event_seq: int, run: Run, history: Sequence[EventRow]) -> None:
    last = len(history) - run.status.is_closed
    if not 1 <= event_seq <= last:
        raise InvalidRequest(
            f"is {event_seq}; run {run.run_id} has the events 1 to {last} to begin behind",
            "event_seq",
        )


def _first_event(row: EventRow, run: Run, now_us: int) -> EventRow:
    """Returns the first event of the new run: it differs in what links and bounds runs."""
    event = parse_frame(row.frame)
    started: WorkflowStarted = event.workflow_started
    started.previous_run_id = run.run_id
    started.execution_started_at.CopyFrom(to_timestamp(now_us))
    started.ClearField("start_delay")
    return EventRow(row.seq, row.kind, row.at_us, event_frame(event))


def _carry(
    draft: Draft, late: Sequence[EventRow], pending: Pending, *, drop_signals: bool, now_us: int
) -> None:
    """Delivers what came later and belongs to the part of the history that was taken over."""
    for row in late:
        event = parse_frame(row.frame)
        if row.kind == "signal_received" and not drop_signals:
            draft.append(now_us, signal_received=event.signal_received)
        elif row.kind in _LATE_ENDS:
            child.end(draft, event, now_us)
        elif row.kind in _LATE_ANSWERS:
            answer = getattr(event, row.kind)
            word = _LATE_ANSWERS[row.kind]
            call = (word, getattr(answer, f"{word}_seq"))
            if call in pending.calls:
                pending.calls.remove(call)
                draft.append(now_us, **{row.kind: answer})


def _require_answers(pending: Pending) -> None:
    """Raises `CannotReset` when something was sent whose answer only the other run would learn."""
    for word, seq in sorted(pending.calls):
        raise CannotReset(
            f"{word} {seq} to another workflow was sent before that event and is not answered; wait"
            " for the answer, or begin before it was sent"
        )


def _put_rows(draft: Draft, pending: Pending, leases: dict[int, int], now_us: int) -> None:
    for update in pending.updates.values():
        draft.put_update(update)
    for timer in pending.timers.values():
        draft.put_timer(timer)
    put_timeouts(draft, draft.started())
    for seq, scheduled in pending.activities.items():
        lease, paused = leases.get(seq, 0), seq in pending.held
        activity.begin_again(draft, scheduled, lease=lease, paused=paused, now_us=now_us)
        if seq in pending.cancelling:
            activity.end_unheld(draft, seq, now_us)


def _leases(late: Sequence[EventRow]) -> dict[int, int]:
    """Returns the leases under which activities ended later, by number."""
    ends = (
        getattr(parse_frame(row.frame), row.kind)
        for row in late
        if row.kind in activity.RESULT_ENDINGS | activity.FAILURE_ENDINGS
    )
    return {end.activity_seq: end.lease for end in ends}


def _keep_leases(follower: Draft, draft: Draft) -> None:
    """Has the leases of the new run go on from those that the open one has given out."""
    for task in draft.tasks():
        if task.kind is TaskKind.WORKFLOW:
            follower.run.task_lease = max(follower.run.task_lease, task.lease)
        elif (again := follower.task(task.kind, task.seq)) is not None:
            follower.put_task(replace(again, lease=max(again.lease, task.lease)))


def _ending(wanted: Reset) -> str:
    """Says why a run is terminated that another one begins again."""
    text = f"reset to event {wanted.event_seq}"
    return f"{text}: {wanted.reason}" if wanted.reason else text
