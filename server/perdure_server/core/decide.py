"""Owns the decisions: each takes a draft and a stimulus, and changes the draft or raises.

A decision that raised has left its draft half changed: drop that draft. The rules of each kind of
thing are in `activity`, `timer`, `signal`, `cancellation` and `closing`; here stands who may
report, and what goes where.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from perdure.v1.command_pb2 import Command
from perdure.v1.failure_pb2 import Failure, TimeoutType
from perdure.v1.history_pb2 import HistoryEvent
from perdure.v1.interaction_pb2 import UpdateWorkflowRequest
from perdure.v1.payload_pb2 import Payload
from perdure.v1.workflow_service_pb2 import (
    CancelWorkflowRequest,
    ContinueAsNewRequest,
    PauseWorkflowRequest,
    ScheduleActivityRequest,
    SignalWorkflowRequest,
    StartWorkflowRequest,
    UnpauseWorkflowRequest,
)
from perdure_server.core import (
    activity,
    attributes,
    cancellation,
    child,
    closing,
    external,
    fields,
    messages,
    pause,
    side_effect,
    signal,
    snapshot,
    step,
    timer,
    update,
    workflow_task,
)
from perdure_server.core.batch import CommandBatch
from perdure_server.core.draft import Draft, NextRun
from perdure_server.core.errors import (
    InvalidCommand,
    InvalidRequest,
    StaleTask,
    WorkflowClosed,
    WorkflowNotFound,
)
from perdure_server.core.limits import COMMANDS_MAX
from perdure_server.core.model import (
    Activity,
    Message,
    Run,
    RunStatus,
    Task,
    TaskKind,
    Timer,
    TimerKind,
)
from perdure_server.core.start import decide_start, decide_taken_id, normalize_start
from perdure_server.core.token import TaskToken

__all__ = [
    "decide_activity_completed",
    "decide_activity_detached",
    "decide_activity_failed",
    "decide_cancel",
    "decide_commands",
    "decide_continue_as_new",
    "decide_heartbeat",
    "decide_kept_commands",
    "decide_lease_expired",
    "decide_message",
    "decide_message_returned",
    "decide_pause",
    "decide_replacement",
    "decide_schedule_activity",
    "decide_signal",
    "decide_start",
    "decide_taken_id",
    "decide_task_lost",
    "decide_terminate",
    "decide_timer_due",
    "decide_unpause",
    "decide_update",
    "decide_workflow_task_failed",
    "normalize_start",
]

_COMMANDS: Final[dict[str, Callable[[CommandBatch, Any], None]]] = {
    "schedule_activity": activity.schedule,
    "cancel_activity": activity.cancel,
    "schedule_timer": timer.schedule,
    "cancel_timer": timer.cancel,
    "wait_for_signal": signal.wait,
    "upsert_search_attributes": attributes.upsert,
    "record_snapshot": snapshot.record,
    "record_side_effect": side_effect.record,
    "record_step": step.record,
    "start_child_workflow": child.start,
    "cancel_child": messages.send_cancel,
    "signal_workflow": messages.send_signal,
    "complete_update": update.complete,
    "reject_update": update.reject,
    "complete_workflow": closing.complete,
    "fail_workflow": closing.fail,
    "cancel_workflow": closing.cancel,
    "continue_as_new": closing.continue_as_new,
}
"""The function of each command, by its name in the oneof."""
_MUTE: Final = frozenset({"upsert_search_attributes", "record_snapshot"})
"""Commands that nothing answers."""
_FAMILIES: Final = {TaskKind.WORKFLOW: workflow_task, TaskKind.ACTIVITY: activity}
"""Where a lease that ends is handled: `lose`, `hand_back` and `expire`."""
_TIMEOUTS: Final = {
    TimerKind.RUN_TIMEOUT: TimeoutType.TIMEOUT_TYPE_RUN,
    TimerKind.EXECUTION_TIMEOUT: TimeoutType.TIMEOUT_TYPE_EXECUTION,
}
"""What runs out when the timer of a whole run is due."""


def decide_signal(draft: Draft, request: SignalWorkflowRequest, now_us: int) -> int:
    """Records a signal and returns the event's number. Raises `WorkflowClosed`."""
    if draft.run.status.is_closed:
        raise WorkflowClosed(f"{_closed(draft)}; it takes no more signals")
    return signal.receive(draft, request, now_us)


def decide_update(draft: Draft, request: UpdateWorkflowRequest, now_us: int) -> int:
    """Records an update and returns the event's number.

    Raises `WorkflowClosed` and `LimitExceeded`.
    """
    if draft.run.status.is_closed:
        raise WorkflowClosed(f"{_closed(draft)}; it takes no more updates")
    return update.request(draft, request, now_us)


def decide_schedule_activity(
    draft: Draft, request: ScheduleActivityRequest, now_us: int
) -> Activity:
    """Schedules an activity from outside and returns it. Raises `WorkflowClosed`."""
    if draft.run.status.is_closed:
        raise WorkflowClosed(f"{_closed(draft)}; it takes no more activities")
    return external.schedule(draft, request, now_us)


def decide_cancel(draft: Draft, request: CancelWorkflowRequest, now_us: int) -> RunStatus:
    """Asks the run to end and returns its status. Raises `WorkflowNotFound` when it has ended."""
    _require_open(draft)
    cancellation.request_cancel(draft, request, now_us)
    return draft.run.status


def decide_pause(draft: Draft, request: PauseWorkflowRequest, now_us: int) -> RunStatus:
    """Holds the run back and returns its status. Raises `WorkflowClosed`."""
    if draft.run.status.is_closed:
        raise WorkflowClosed(f"{_closed(draft)}; there is nothing to pause")
    pause.pause(draft, request, now_us)
    return draft.run.status


def decide_unpause(draft: Draft, request: UnpauseWorkflowRequest, now_us: int) -> RunStatus:
    """Lets the run go on and returns its status. Raises `WorkflowClosed`."""
    if draft.run.status.is_closed:
        raise WorkflowClosed(f"{_closed(draft)}; there is nothing to unpause")
    pause.unpause(draft, request, now_us)
    return draft.run.status


def decide_continue_as_new(
    draft: Draft, request: ContinueAsNewRequest, *, next_run: NextRun, now_us: int
) -> Run:
    """Closes the run for another with a new history, which it returns. Raises `WorkflowClosed`."""
    if draft.run.status.is_closed:
        raise WorkflowClosed(f"{_closed(draft)}; start the workflow again")
    return closing.continue_from_outside(draft, request, next_run=next_run, now_us=now_us)


def decide_terminate(draft: Draft, reason: str, now_us: int) -> None:
    """Ends the run. Raises `WorkflowNotFound` when it has ended."""
    _require_open(draft)
    closing.terminate(draft, reason, now_us)


def decide_replacement(
    draft: Draft,
    request: StartWorkflowRequest,
    *,
    new: NextRun,
    also: Callable[[Draft, int], int],
    now_us: int,
) -> tuple[Draft, int]:
    """Ends the run for a start of the same workflow id, and returns the run that follows it.

    Both are one commit, and so is what `also` does to the one that follows, whose answer is
    returned too. Raises `WorkflowNotFound` when the run has ended.
    """
    decide_terminate(draft, "terminated by a start of the same workflow id", now_us)
    following = decide_start(request, new=new, generation=draft.run.generation + 1, now_us=now_us)
    answer = also(following, now_us)
    following.settle(now_us, new)
    draft.next_runs.append(following)
    return following, answer


def decide_commands(
    draft: Draft,
    token: TaskToken,
    commands: Sequence[Command],
    *,
    next_run: NextRun,
    new_runs: Sequence[NextRun] = (),
    frames: Mapping[int, bytes] | None = None,
    now_us: int,
) -> None:
    """Applies the commands of a workflow task.

    The report already accepted, sent again, changes nothing. `new_runs` has ids for each child that
    the commands start, `frames` the stored signals that the commands name.

    Raises `StaleTask` when the lease is not current, and `InvalidCommand` for the first command
    that is malformed.
    """
    task = _workflow_task(draft, token, failed=False)
    if task is None:
        return
    workflow_task.accept(draft, task, token.seen_seq, now_us)
    batch = CommandBatch(draft, next_run, now_us, iter(new_runs), frames or {})
    _apply_commands(batch, commands)
    if not (batch.upserted or batch.side_effects):
        return
    kinds = [command.WhichOneof("command") for command in commands]
    if (batch.upserted and _MUTE.issuperset(kinds)) or (
        batch.side_effects and side_effect.stall(kinds)
    ):
        # Nothing else would run the code again: who waits for the record goes on.
        workflow_task.want(draft, now_us)


def decide_kept_commands(
    draft: Draft,
    token: TaskToken,
    commands: Sequence[Command],
    *,
    next_run: NextRun,
    new_runs: Sequence[NextRun] = (),
    now_us: int,
) -> None:
    """Applies the commands of a workflow task that its worker keeps, because it runs steps.

    The report accepted last, sent again with its token, changes nothing. The task of a run that is
    paused is not kept: it stands there until the run goes on.

    Raises `StaleTask` when the lease is not current, or a later report was accepted, and
    `InvalidCommand` for the first command that is malformed, or would close the run.
    """
    task = _workflow_task(draft, token, failed=False)
    if task is None:
        return
    run = draft.run
    if token.seen_seq < run.seen_seq:
        raise _stale(token)
    if token.seen_seq == run.seen_seq:
        return
    before = run.history_length
    workflow_task.go_on(draft, task, now_us)
    batch = CommandBatch(draft, next_run, now_us, iter(new_runs))
    _apply_commands(batch, commands)
    if run.status.is_closed:
        kind = commands[-1].WhichOneof("command") or ""
        raise InvalidCommand(len(commands) - 1, kind, "closes the run; its task cannot be kept")
    if run.status is RunStatus.PAUSED:
        workflow_task.note_seen(draft, token.seen_seq, now_us)
        workflow_task.put_away(draft, task, now_us)
    elif run.history_length > before:
        workflow_task.note_seen(draft, token.seen_seq, now_us)


def decide_workflow_task_failed(
    draft: Draft, token: TaskToken, failure: Failure, now_us: int
) -> None:
    """Puts a workflow task back, with back-off, whose code could not be run. Raises `StaleTask`."""
    task = _workflow_task(draft, token, failed=True)
    if task is not None:
        fields.check_failure("failure", failure)
        workflow_task.fail(draft, task, failure, now_us)


def decide_activity_completed(draft: Draft, token: TaskToken, result: Payload, now_us: int) -> None:
    """Records the result of an activity. Raises `StaleTask` and `PayloadTooLarge`."""
    task = _activity_task(draft, token, activity.RESULT_ENDINGS)
    if task is not None:
        fields.check_payload("result", result)
        activity.complete(draft, task, result, now_us)


def decide_activity_failed(draft: Draft, token: TaskToken, failure: Failure, now_us: int) -> None:
    """Ends an attempt that failed; the retry policy decides what follows.

    Raises `StaleTask`, `PayloadTooLarge` and `LimitExceeded`.
    """
    task = _activity_task(draft, token, activity.FAILURE_ENDINGS)
    if task is not None:
        fields.check_failure("failure", failure)
        activity.fail(draft, task, failure, lease=token.lease, now_us=now_us)


def decide_activity_detached(draft: Draft, token: TaskToken) -> None:
    """Frees an attempt from the session that holds it. Raises `StaleTask`."""
    activity.detach(draft, _held(draft, token))


def decide_heartbeat(draft: Draft, token: TaskToken, details: Payload | None, now_us: int) -> bool:
    """Notes that an attempt is alive; returns whether it should stop.

    Raises `StaleTask` and `PayloadTooLarge`.
    """
    task = _held(draft, token)
    if details is not None:
        fields.check_payload("details", details)
    return activity.heartbeat(draft, task, details, now_us)


def decide_task_lost(
    draft: Draft, kind: TaskKind, seq: int, lease: int, *, delivered: bool, now_us: int
) -> None:
    """Takes a task back from a session that is gone. It counts as an attempt if it was delivered.

    Does nothing when the lease is no longer current.
    """
    task = _leased(draft, kind, seq, lease)
    if task is None:
        return
    family = _FAMILIES[kind]
    if delivered:
        family.lose(draft, task, now_us)
    else:
        family.hand_back(draft, task, now_us)


def decide_lease_expired(
    draft: Draft, kind: TaskKind, seq: int, lease: int, *, now_us: int
) -> None:
    """Takes a task back whose lease ran out.

    Does nothing when the lease is no longer current or still runs.
    """
    task = _leased(draft, kind, seq, lease)
    if task is None or task.lease_until_us is None or now_us < task.lease_until_us:
        return
    _FAMILIES[kind].expire(draft, task, now_us)


def decide_message(draft: Draft, message: Message, now_us: int) -> None:
    """Records what another run tells this one. Raises `WorkflowClosed` when it is to hear that."""
    messages.deliver(draft, message, now_us)


def decide_message_returned(
    draft: Draft,
    message: Message,
    reason: str,
    now_us: int,
    *,
    ending: HistoryEvent | None = None,
) -> None:
    """Records that a message of this run found nobody who takes it.

    `ending` is how a child ended that this run has called for.
    """
    messages.give_back(draft, message, reason, now_us, ending=ending)


def decide_timer_due(draft: Draft, due: Timer, *, next_run: NextRun, now_us: int) -> None:
    """Does what a timer is for. Does nothing when the timer is gone or due later."""
    row = draft.timer(due.kind, due.seq)
    if row is None or row.due_at_us > now_us:
        return
    match row.kind:
        case TimerKind.USER:
            timer.fire(draft, row.seq, now_us)
        case TimerKind.ACTIVITY_QUEUE:
            activity.time_out_queue(draft, row.seq, now_us)
        case TimerKind.ACTIVITY_TOTAL:
            activity.time_out_total(draft, row.seq, now_us)
        case TimerKind.CANCEL_DEADLINE:
            closing.terminate(draft, cancellation.deadline_reason(draft), now_us)
        case whole_run:
            closing.time_out(draft, _TIMEOUTS[whole_run], next_run=next_run, now_us=now_us)


def _apply_commands(batch: CommandBatch, commands: Sequence[Command]) -> None:
    fields.check_count("commands", len(commands), COMMANDS_MAX)
    for index, command in enumerate(commands):
        _apply_command(batch, command, index)


def _apply_command(batch: CommandBatch, command: Command, index: int) -> None:
    """Applies one command. Raises `InvalidCommand`, which names it."""
    kind = command.WhichOneof("command")
    source = f" (at {command.source})" if command.source else ""
    if kind is None:
        raise InvalidCommand(index, "command", f"is missing, or unknown to this server{source}")
    if batch.draft.run.status.is_closed:
        raise InvalidCommand(index, kind, f"stands after a command that closes the run{source}")
    try:
        _COMMANDS[kind](batch, getattr(command, kind))
    except InvalidRequest as error:
        raise InvalidCommand(index, f"{kind}.{error.field}", f"{error.problem}{source}") from error


def _workflow_task(draft: Draft, token: TaskToken, *, failed: bool) -> Task | None:
    """Returns the task whose lease the token shows; None when this report was accepted before.

    A report of the other kind is stale: it was never accepted and changes nothing.
    """
    run = draft.run
    if token.kind is TaskKind.WORKFLOW and token.seen_seq <= run.history_length:
        task = _leased(draft, token.kind, token.seq, token.lease)
        repeated = 0 < token.lease == run.accepted_lease and bool(run.task_failure) is failed
        if task is not None or repeated:
            return task
    raise _stale(token)


def _activity_task(draft: Draft, token: TaskToken, endings: frozenset[str]) -> Task | None:
    """Returns the task whose lease the token shows; None when this report was accepted before.

    `endings` are the events that a report of its kind may have written.
    """
    if token.kind is TaskKind.ACTIVITY:
        task = _leased(draft, token.kind, token.seq, token.lease)
        if task is not None or activity.was_reported(draft, token, endings):
            return task
    raise _stale(token)


def _held(draft: Draft, token: TaskToken) -> Task:
    """Returns the activity task whose lease the token shows. Raises `StaleTask`."""
    if token.kind is TaskKind.ACTIVITY:
        task = _leased(draft, token.kind, token.seq, token.lease)
        if task is not None:
            return task
    raise _stale(token)


def _leased(draft: Draft, kind: TaskKind, seq: int, lease: int) -> Task | None:
    """Returns a task, fenced, if it is leased under this number."""
    task = draft.task(kind, seq)
    if task is None or task.session_id is None or task.lease != lease:
        return None
    draft.fence(kind, seq, lease)
    return task


def _require_open(draft: Draft) -> None:
    if draft.run.status.is_closed:
        raise WorkflowNotFound(f"{_closed(draft)}; there is no open run")


def _closed(draft: Draft) -> str:
    run = draft.run
    return f"run {run.run_id} of workflow {run.workflow_id} is closed ({run.status})"


def _stale(token: TaskToken) -> StaleTask:
    return StaleTask(
        f"lease {token.lease} of {token.kind} task {token.seq} is no longer current; drop the work"
    )
