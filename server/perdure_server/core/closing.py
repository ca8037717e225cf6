"""Owns how a run closes: the event, unhandled signals, notices, and the run that tries again."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from perdure.v1.failure_pb2 import Failure, FailureKind, TimeoutType
from perdure.v1.history_pb2 import (
    SignalReceived,
    UnhandledSignal,
    WorkflowCancelled,
    WorkflowCancelRequested,
    WorkflowCompleted,
    WorkflowContinuedAsNew,
    WorkflowFailed,
    WorkflowTerminated,
    WorkflowTimedOut,
)
from perdure_server.core import child, fields, update
from perdure_server.core.errors import InvalidRequest
from perdure_server.core.frames import parse_frame
from perdure_server.core.limits import HISTORY_BYTES_MAX, HISTORY_EVENTS_MAX
from perdure_server.core.model import TimerKind
from perdure_server.core.opening import open_continuation, open_next_run
from perdure_server.core.retry import next_delay_us
from perdure_server.core.times import from_duration, from_timestamp, to_timestamp

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from perdure.v1.command_pb2 import (
        CancelWorkflow,
        CompleteWorkflow,
        ContinueAsNew,
        FailWorkflow,
    )
    from perdure.v1.workflow_service_pb2 import ContinueAsNewRequest
    from perdure_server.core.batch import CommandBatch
    from perdure_server.core.draft import Draft, NextRun
    from perdure_server.core.model import Run


def complete(batch: CommandBatch, command: CompleteWorkflow) -> None:
    """Closes the run with a result."""
    fields.check_payload("result", command.result)
    event = WorkflowCompleted(unhandled_signals=_unhandled(batch.draft, command.unconsumed_signals))
    if command.HasField("result"):
        event.result.CopyFrom(command.result)
    close(batch.draft, batch.now_us, workflow_completed=event)


def fail(batch: CommandBatch, command: FailWorkflow) -> None:
    """Closes the run with a failure; its retry policy may open another."""
    fields.check_failure("failure", command.failure)
    draft = batch.draft
    event = WorkflowFailed(
        failure=command.failure,
        unhandled_signals=_unhandled(draft, command.unconsumed_signals),
        next_run_id=_try_again(
            draft, command.failure, next_run=batch.next_run, now_us=batch.now_us
        ),
    )
    close(draft, batch.now_us, workflow_failed=event)


def cancel(batch: CommandBatch, command: CancelWorkflow) -> None:
    """Closes the run after a cancellation, or because its code cancelled itself."""
    draft = batch.draft
    event = WorkflowCancelled(
        unhandled_signals=_unhandled(draft, command.unconsumed_signals),
        reason=draft.run.cancel_reason,
    )
    close(draft, batch.now_us, workflow_cancelled=event)


def continue_as_new(batch: CommandBatch, command: ContinueAsNew) -> None:
    """Closes the run and opens the one that goes on."""
    fields.check_id("workflow_type", command.workflow_type)
    fields.check_id("task_queue", command.task_queue)
    fields.check_payload("input", command.input)
    _go_on(
        batch.draft,
        command,
        carried=_unhandled(batch.draft, command.unconsumed_signals),
        frames=batch.frames,
        next_run=batch.next_run,
        now_us=batch.now_us,
    )


def continue_from_outside(
    draft: Draft, request: ContinueAsNewRequest, *, next_run: NextRun, now_us: int
) -> Run:
    """Closes the run and opens the one that goes on, which it returns."""
    _go_on(draft, request, carried=_unhandled(draft), next_run=next_run, now_us=now_us)
    return draft.next_runs[-1].run


def _go_on(
    draft: Draft,
    wanted: ContinueAsNew | ContinueAsNewRequest,
    *,
    carried: Sequence[UnhandledSignal],
    frames: Mapping[int, bytes] | None = None,
    next_run: NextRun,
    now_us: int,
) -> None:
    """Closes the run and opens the one that goes on, with the signals it is to have.

    `frames` holds those signals that are not at hand in the draft. A caller, who knows no signal of
    the code, gives none.
    """
    external = frames is None
    cancel = _standing_cancel(draft, external=external)
    at_hand = dict(frames or {}) | {row.seq: row.frame for row in draft.recent()}
    signals = [_signal(at_hand, signal) for signal in carried]
    open_continuation(
        draft, wanted, signals=signals, cancel=cancel, next_run=next_run, now_us=now_us
    )
    opened = draft.next_runs[-1].run
    event = WorkflowContinuedAsNew(
        new_run_id=opened.run_id,
        workflow_type=opened.workflow_type,
        task_queue=opened.task_queue,
        carried_signals=carried,
    )
    event.external = external
    if wanted.HasField("input"):
        event.input.CopyFrom(wanted.input)
    close(draft, now_us, workflow_continued_as_new=event)


def terminate(draft: Draft, reason: str, now_us: int) -> None:
    """Closes an open run without a word to its code."""
    event = WorkflowTerminated(reason=reason, unhandled_signals=_unhandled(draft))
    close(draft, now_us, workflow_terminated=event)


def leave(
    draft: Draft, reason: str, *, is_heir_told: bool, kept: Collection[int], now_us: int
) -> None:
    """Closes an open run for one that begins with its history.

    `is_heir_told` says that the other one has the signals that this one has not handled; the
    children `kept`, by number, are the other one's from now on.
    """
    for each in draft.children():
        if each.seq in kept:
            draft.put_child(replace(each, closed=True))
    unhandled = [] if is_heir_told else _unhandled(draft)
    event = WorkflowTerminated(reason=reason, unhandled_signals=unhandled)
    close(draft, now_us, workflow_terminated=event)


def cancel_unseen(draft: Draft, now_us: int) -> None:
    """Closes a run whose code has never run, after its cancellation was requested."""
    event = WorkflowCancelled(unhandled_signals=_unhandled(draft), reason=draft.run.cancel_reason)
    close(draft, now_us, workflow_cancelled=event)


def time_out(draft: Draft, timeout: TimeoutType, *, next_run: NextRun, now_us: int) -> None:
    """Closes a run whose time ran out.

    A run timeout may be tried again, an execution timeout ends the chain.
    """
    failure = Failure(
        message="the workflow's time ran out",
        kind=FailureKind.FAILURE_KIND_TIMEOUT,
        timeout_type=timeout,
        non_retryable=timeout == TimeoutType.TIMEOUT_TYPE_EXECUTION,
    )
    event = WorkflowTimedOut(
        timeout_type=timeout,
        unhandled_signals=_unhandled(draft),
        next_run_id=_try_again(draft, failure, next_run=next_run, now_us=now_us),
    )
    close(draft, now_us, workflow_timed_out=event)


def enforce_limits(draft: Draft, *, next_run: NextRun, now_us: int) -> None:
    """Fails an open run whose history reached a bound."""
    run = draft.run
    if run.status.is_closed:
        return
    if run.history_length < HISTORY_EVENTS_MAX and run.history_bytes < HISTORY_BYTES_MAX:
        return
    failure = Failure(
        message=(
            f"the history has {run.history_length} events of {run.history_bytes} bytes; the bounds "
            f"are {HISTORY_EVENTS_MAX} and {HISTORY_BYTES_MAX}"
        ),
        kind=FailureKind.FAILURE_KIND_LIMIT,
        type="HISTORY_LIMIT",
    )
    event = WorkflowFailed(
        failure=failure,
        unhandled_signals=_unhandled(draft),
        next_run_id=_try_again(draft, failure, next_run=next_run, now_us=now_us),
    )
    close(draft, now_us, workflow_failed=event)


def close(draft: Draft, now_us: int, **event: Any) -> None:
    """Appends the closing event, and tells whom it concerns.

    The sessions that hold a task of the run, its children, its parent, and who waits for updates.
    """
    for task in draft.tasks():
        draft.notify(task, "WORKFLOW_CLOSED")
    children, updates = draft.children(), draft.updates()
    for message in event.values():
        message.unhandled_updates.extend(update.unhandled(updates))
    draft.append(now_us, **event)
    update.close_all(draft, updates)
    child.end_children(draft, children)
    child.tell_parent(draft, **event)


def _standing_cancel(draft: Draft, *, external: bool) -> WorkflowCancelRequested | None:
    """Returns the cancellation that the next run has to hear of; None when there is none.

    Code that goes on although it has heard of one has dealt with it; a caller has not.
    """
    kind, run = "workflow_cancel_requested", draft.run
    unseen = any(row.kind == kind and row.seq > run.seen_seq for row in draft.recent())
    if not (unseen or (external and run.cancel_requested)):
        return None
    cancel = WorkflowCancelRequested(reason=run.cancel_reason)
    deadline = draft.timer(TimerKind.CANCEL_DEADLINE, 0)
    if deadline is not None:
        cancel.deadline.CopyFrom(to_timestamp(deadline.due_at_us))
    return cancel


def _unhandled(draft: Draft, unconsumed: Sequence[UnhandledSignal] = ()) -> list[UnhandledSignal]:
    """Lists the signals that the code names as unconsumed, and those that it never saw."""
    seen_seq = draft.run.seen_seq
    for index, signal in enumerate(unconsumed):
        place = f"unconsumed_signals[{index}]"
        if not 1 <= signal.event_seq <= seen_seq:
            problem = f"is {signal.event_seq}; the task covers the events 1 to {seen_seq}"
            raise InvalidRequest(problem, f"{place}.event_seq")
        fields.require_id(f"{place}.signal_name", signal.signal_name)
    named = {signal.event_seq: signal.signal_name for signal in unconsumed}
    unseen = draft.unseen_signals()
    return [
        UnhandledSignal(event_seq=seq, signal_name=name)
        for seq, name in [*sorted(named.items()), *unseen]
    ]


def _signal(frames: Mapping[int, bytes], named: UnhandledSignal) -> SignalReceived:
    """Returns a signal that the code names. Raises `InvalidRequest` when it is none."""
    event = parse_frame(frames.get(named.event_seq, b""))
    if event.WhichOneof("event") != "signal_received":
        raise InvalidRequest(
            f"names event {named.event_seq}, which is no signal", "unconsumed_signals"
        )
    return event.signal_received


def _try_again(draft: Draft, failure: Failure, *, next_run: NextRun, now_us: int) -> str:
    """Opens the run that tries again and returns its id; empty when there is to be none."""
    started = draft.started()
    if draft.run.cancel_requested or not started.HasField("retry_policy"):
        return ""
    delay_us = next_delay_us(started.retry_policy, started.attempt, failure)
    if delay_us is None:
        return ""
    if execution_us := from_duration(started.execution_timeout):
        deadline_us = from_timestamp(started.execution_started_at) + execution_us
        if draft.instant(now_us) + delay_us >= deadline_us:
            return ""
    open_next_run(draft, delay_us, next_run=next_run, now_us=now_us)
    return next_run.run_id
