"""Owns how a run begins: its first event, and the timers that bound it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perdure.v1.history_pb2 import WorkflowPaused, WorkflowStarted
from perdure_server.core.attributes import encoded
from perdure_server.core.model import Run, RunStatus, Timer, TimerKind
from perdure_server.core.times import from_duration, from_timestamp, to_duration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from perdure.v1.command_pb2 import ContinueAsNew
    from perdure.v1.history_pb2 import SignalReceived, WorkflowCancelRequested
    from perdure.v1.workflow_service_pb2 import ContinueAsNewRequest
    from perdure_server.core.draft import Draft, NextRun


def open_run(draft: Draft, started: WorkflowStarted, now_us: int) -> None:
    """Writes the first event and the timers of a new run.

    The run timeout counts from when the code may first run, the execution timeout from the start of
    the chain.
    """
    draft.run.attributes = encoded(started.search_attributes)
    draft.append(now_us, workflow_started=started)
    put_timeouts(draft, started)


def put_timeouts(draft: Draft, started: WorkflowStarted) -> None:
    """Writes the timers that bound a run that was just created."""
    run_id, created_at_us = draft.run.run_id, draft.run.created_at_us
    if run_us := from_duration(started.run_timeout):
        due_us = created_at_us + from_duration(started.start_delay) + run_us
        draft.put_timer(Timer(run_id, TimerKind.RUN_TIMEOUT, 0, due_us))
    if execution_us := from_duration(started.execution_timeout):
        due_us = from_timestamp(started.execution_started_at) + execution_us
        draft.put_timer(Timer(run_id, TimerKind.EXECUTION_TIMEOUT, 0, due_us))


def open_next_run(draft: Draft, delay_us: int, *, next_run: NextRun, now_us: int) -> None:
    """Adds the run that tries again after `delay_us`, and names it in the run that failed."""
    started = WorkflowStarted()
    started.CopyFrom(draft.started())
    started.attempt = draft.run.attempt + 1
    started.start_delay.CopyFrom(to_duration(delay_us))
    _follow(draft, started, signals=(), next_run=next_run, now_us=now_us)


def open_continuation(
    draft: Draft,
    wanted: ContinueAsNew | ContinueAsNewRequest,
    *,
    signals: Sequence[SignalReceived],
    cancel: WorkflowCancelRequested | None,
    next_run: NextRun,
    now_us: int,
) -> None:
    """Adds the run that goes on with a new history, and names it in the run that is left.

    It begins with the signals and the cancellation that the other one leaves to it.
    """
    started = WorkflowStarted()
    started.CopyFrom(draft.started())
    started.attempt = 1
    started.workflow_type = wanted.workflow_type or draft.run.workflow_type
    started.task_queue = wanted.task_queue or draft.run.task_queue
    started.ClearField("start_delay")
    started.ClearField("input")
    if wanted.HasField("input"):
        started.input.CopyFrom(wanted.input)
    _follow(draft, started, signals=signals, cancel=cancel, next_run=next_run, now_us=now_us)


def _follow(
    draft: Draft,
    started: WorkflowStarted,
    *,
    signals: Sequence[SignalReceived],
    cancel: WorkflowCancelRequested | None = None,
    next_run: NextRun,
    now_us: int,
) -> None:
    run = draft.run
    now_us = draft.instant(now_us)
    follower = draft.new(
        Run(
            run_id=next_run.run_id,
            namespace=run.namespace,
            workflow_id=run.workflow_id,
            workflow_type=started.workflow_type,
            task_queue=started.task_queue,
            generation=run.generation + 1,
            status=RunStatus.PENDING,
            version=0,
            attempt=started.attempt,
            priority=run.priority,
            created_at_us=now_us,
            updated_at_us=now_us,
            previous_run_id=run.run_id,
            parent_run_id=run.parent_run_id,
            parent_seq=run.parent_seq,
            parent_workflow_id=run.parent_workflow_id,
        )
    )
    started.seed = next_run.seed
    started.previous_run_id = run.run_id
    started.search_attributes.ParseFromString(run.attributes)
    open_run(follower, started, now_us)
    for signal in signals:
        follower.append(now_us, signal_received=signal)
    if cancel is not None:
        _hand_over(cancel, follower, now_us)
    if run.pause:
        # Who paused it meant the workflow, not this run of it.
        follower.append(now_us, workflow_paused=WorkflowPaused.FromString(run.pause))
        follower.run.pause = run.pause
    follower.settle(now_us, next_run)
    run.next_run_id = next_run.run_id
    draft.next_runs.append(follower)


def _hand_over(cancel: WorkflowCancelRequested, follower: Draft, now_us: int) -> None:
    """Has a run begin with a cancellation. Its code hears of it: in the run before, it has run."""
    follower.append(now_us, workflow_cancel_requested=cancel)
    follower.run.cancel_reason = cancel.reason
    if cancel.HasField("deadline"):
        due_us = from_timestamp(cancel.deadline)
        timer = Timer(follower.run.run_id, TimerKind.CANCEL_DEADLINE, 0, due_us)
        follower.put_timer(timer)
