"""Owns why nothing happens in a run: what is pending in it, as causes in words."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from perdure.v1.explanation_pb2 import Cause, CauseKind
from perdure.v1.failure_pb2 import Failure
from perdure.v1.history_pb2 import ActivityPaused, WorkflowPaused
from perdure_server.core.frames import parse_frame
from perdure_server.core.model import (
    Activity,
    EventRow,
    Message,
    MessageKind,
    RunStatus,
    Task,
    TaskKind,
    TimerKind,
)
from perdure_server.core.state import RunState
from perdure_server.core.times import to_timestamp
from perdure_server.engine.reasons import Service, reason

ServiceOf = Callable[[Task], Service]

DETERMINISM: Final = "DeterminismError"
"""The type of failure by which workers say that code does not fit its history."""

_WAITS: Final = {
    Service.NOBODY: (CauseKind.CAUSE_KIND_NO_WORKER, "start one, or see that it is there"),
    Service.OTHER_TYPES: (CauseKind.CAUSE_KIND_TYPE_MISSING, "start one that has it"),
    Service.NOT_ASKING: (CauseKind.CAUSE_KIND_WORKERS_NOT_ASKING, "see that they still run"),
    Service.BUSY: (CauseKind.CAUSE_KIND_WORKERS_BUSY, "start more, or wait"),
}
_MESSAGES: Final = {
    MessageKind.SIGNAL: "a signal",
    MessageKind.CANCEL: "a cancellation",
    MessageKind.TERMINATE: "a termination",
    MessageKind.CHILD_CLOSED: "the end of a child",
    MessageKind.ANSWER: "the answer to a signal or a cancellation",
}
EVENT_KINDS: Final = (
    "workflow_awaiting_signal",
    "signal_received",
    "workflow_cancel_requested",
    "workflow_paused",
    "update_requested",
    "activity_paused",
)
"""The events that say what the rows of a run do not."""


@dataclass(slots=True, frozen=True)
class Story:
    """What there is to know of a run beside its rows.

    `events` are those of `EVENT_KINDS`, ascending; `messages` those on their way to it or from it.
    """

    events: Sequence[EventRow] = ()
    messages: Sequence[Message] = ()


def causes_of(state: RunState, story: Story, service: ServiceOf, now_us: int) -> list[Cause]:
    """Returns why nothing happens in an open run, what blocks most first."""
    events = story.events
    if state.run.status is RunStatus.PAUSED:
        paused = _paused(WorkflowPaused.FromString(state.run.pause), events)
        return [paused, *_of_callers(state, story)]
    found = [
        *_of_code(state, service, now_us),
        *_of_cancellation(state, events),
        *_of_activities(state, events, service, now_us),
        *_of_children(state),
        *_of_signals(state, events),
        *_of_timers(state),
        *_of_callers(state, story),
    ]
    if not found:
        text = (
            "nothing is pending: the code waits for a condition of its own, which only a signal or"
            " an update can change"
        )
        found.append(_cause(CauseKind.CAUSE_KIND_NOTHING_PENDING, text))
    return sorted(found, key=lambda cause: cause.kind)


def closed_cause(state: str, at_us: int | None) -> Cause:
    """Returns that a run has closed."""
    text = f"the run is closed: {state} since {_when(at_us)}" if at_us else "the run is closed"
    return _cause(CauseKind.CAUSE_KIND_CLOSED, text, since_us=at_us)


def _paused(pause: WorkflowPaused, events: Iterable[EventRow]) -> Cause:
    since_us = max((row.at_us for row in events if row.kind == "workflow_paused"), default=None)
    return _cause(
        CauseKind.CAUSE_KIND_PAUSED,
        _pause_text("the run", pause, since_us),
        since_us=since_us,
        reason=pause.reason,
        identity=pause.identity,
    )


def _pause_text(what: str, pause: WorkflowPaused | ActivityPaused, since_us: int | None) -> str:
    text = f"{what} was paused"
    if pause.identity:
        text += f" by {pause.identity!r}"
    if since_us is not None:
        text += f" at {_when(since_us)}"
    if pause.reason:
        text += f" ({pause.reason})"
    return f"{text}; unpause it to go on"


def _of_code(state: RunState, service: ServiceOf, now_us: int) -> Iterator[Cause]:
    run, task = state.run, state.tasks.get((TaskKind.WORKFLOW, 0))
    if task is None:
        return
    if run.task_failure:
        yield _failing(task, Failure.FromString(run.task_failure), now_us)
    if task.session_id is not None:
        text = f"worker {task.worker_identity!r} runs the code since {_when(task.leased_at_us)}"
        yield _of_task(CauseKind.CAUSE_KIND_CODE_RUNNING, text, task, since_us=task.leased_at_us)
    elif task.ready_at_us <= now_us:
        yield _waiting(task, service(task))
    elif not run.task_failure:
        yield _held_back(state, task)


def _held_back(state: RunState, task: Task) -> Cause:
    until = _when(task.ready_at_us)
    if state.run.seen_seq == 0 and task.attempt == 1:
        text, kind = f"the start is delayed until {until}", CauseKind.CAUSE_KIND_START_DELAYED
    else:
        text = f"workers that had the code were lost; it is tried again at {until}"
        kind = CauseKind.CAUSE_KIND_WORKFLOW_TASK_FAILING
    return _of_task(kind, text, task, until_us=task.ready_at_us)


def _failing(task: Task, failure: Failure, now_us: int) -> Cause:
    is_backing_off = task.session_id is None and task.ready_at_us > now_us
    again = f"tried again at {_when(task.ready_at_us)}" if is_backing_off else "tried again now"
    if failure.type == DETERMINISM:
        kind = CauseKind.CAUSE_KIND_NOT_DETERMINISTIC
        text = f"{failure.message}; deploy code that fits; {again}, attempt {task.attempt}"
    else:
        kind = CauseKind.CAUSE_KIND_WORKFLOW_TASK_FAILING
        said = f"{failure.type}: {failure.message}" if failure.type else failure.message
        text = f"the workflow task failed: {said}; {again}, attempt {task.attempt}"
    until_us = task.ready_at_us if is_backing_off else None
    return _of_task(kind, text, task, until_us=until_us, failure=failure)


def _waiting(task: Task, service: Service, seq: int = 0) -> Cause:
    kind, advice = _WAITS[service]
    what = f"activity {task.type!r} ({seq})" if seq else "the code of the workflow"
    text = f"{what} waits since {_when(task.ready_at_us)}: {reason(task, service)}; {advice}"
    return _of_task(kind, text, task, since_us=task.ready_at_us, seq=seq)


def _of_cancellation(state: RunState, events: Iterable[EventRow]) -> Iterator[Cause]:
    if not state.run.cancel_requested:
        return
    asked = next((row for row in events if row.kind == "workflow_cancel_requested"), None)
    text = "somebody asked the run to end"
    if state.run.cancel_reason:
        text += f" ({state.run.cancel_reason})"
    if asked is not None and asked.seq > state.run.seen_seq:
        text += "; its code has not heard of it yet"
    else:
        text += "; its code has heard of it and has not ended yet"
    deadline = state.timers.get((TimerKind.CANCEL_DEADLINE, 0))
    if deadline is not None:
        text += f"; it is terminated at {_when(deadline.due_at_us)}"
    yield _cause(
        CauseKind.CAUSE_KIND_CANCEL_REQUESTED,
        text,
        since_us=None if asked is None else asked.at_us,
        until_us=None if deadline is None else deadline.due_at_us,
        reason=state.run.cancel_reason,
    )


def _of_activities(
    state: RunState, events: Iterable[EventRow], service: ServiceOf, now_us: int
) -> Iterator[Cause]:
    # Those of the code by number, then those from outside by theirs, which are negative inside.
    for seq in sorted(state.activities, key=lambda seq: (seq < 0, abs(seq))):
        task = state.tasks[TaskKind.ACTIVITY, seq]
        if task.is_held_back:
            yield _paused_activity(state.activities[seq], task, events)
        else:
            yield _of_activity(state.activities[seq], task, service, now_us)


def _paused_activity(activity: Activity, task: Task, events: Iterable[EventRow]) -> Cause:
    pause, since_us = ActivityPaused(), None
    for row in events:
        if row.kind == "activity_paused":
            found = parse_frame(row.frame).activity_paused
            if found.activity_seq == activity.seq:
                pause, since_us = found, row.at_us
    return _of_task(
        CauseKind.CAUSE_KIND_ACTIVITY_PAUSED,
        _pause_text(_what(activity), pause, since_us),
        task,
        seq=abs(activity.seq),
        since_us=since_us,
        reason=pause.reason,
        identity=pause.identity,
    )


def _of_activity(activity: Activity, task: Task, service: ServiceOf, now_us: int) -> Cause:
    seq, what = abs(activity.seq), _what(activity)
    if task.session_id is not None:
        return _running(what, activity, task)
    if task.ready_at_us <= now_us:
        return _waiting(task, service(task), seq)
    failure = Failure.FromString(activity.last_failure)
    text = f"{what} is tried again at {_when(task.ready_at_us)}, attempt {task.attempt}"
    if failure.message:
        text += f", because it failed: {failure.message}"
    kind = CauseKind.CAUSE_KIND_ACTIVITY_RETRYING
    return _of_task(kind, text, task, seq=seq, until_us=task.ready_at_us, failure=failure)


def _what(activity: Activity) -> str:
    number = f"{activity.seq}" if activity.seq > 0 else f"{-activity.seq}, external"
    return f"activity {activity.name!r} ({number})"


def _running(what: str, activity: Activity, task: Task) -> Cause:
    text = f"{what} runs at worker {task.worker_identity!r} since {_when(task.leased_at_us)}"
    beat_us = activity.heartbeat_at_us
    text += f", last heartbeat {_when(beat_us)}" if beat_us else ", without a heartbeat"
    if activity.cancel_requested:
        text += "; it was asked to end"
    if activity.paused:
        text += "; it was paused, which holds back further attempts until it is unpaused"
    kind = CauseKind.CAUSE_KIND_ACTIVITY_RUNNING
    cause = _of_task(
        kind,
        text,
        task,
        seq=abs(activity.seq),
        since_us=task.leased_at_us,
        until_us=task.lease_until_us,
    )
    if beat_us:
        cause.last_heartbeat_at.CopyFrom(to_timestamp(beat_us))
    return cause


def _of_children(state: RunState) -> Iterator[Cause]:
    for seq, child in sorted(state.children.items()):
        if child.closed or not child.child_run_id:
            continue
        text = (
            f"child workflow {child.workflow_id!r} ({child.workflow_type}) is open: explain that"
            " one to learn why"
        )
        yield _cause(CauseKind.CAUSE_KIND_CHILD_OPEN, text, name=child.workflow_id, seq=seq)


def _of_signals(state: RunState, events: Iterable[EventRow]) -> Iterator[Cause]:
    for row in _open_waits(state, events):
        wait = parse_frame(row.frame).workflow_awaiting_signal
        text = f"the code waits for signal {wait.signal_name!r} since {_when(row.at_us)}"
        until_us = None
        if wait.timer_seq:
            until_us = state.timers[TimerKind.USER, wait.timer_seq].due_at_us
            text += f", at most until {_when(until_us)}"
        yield _cause(
            CauseKind.CAUSE_KIND_SIGNAL,
            text,
            name=wait.signal_name,
            seq=wait.wait_seq,
            since_us=row.at_us,
            until_us=until_us,
        )


def _open_waits(state: RunState, events: Iterable[EventRow]) -> list[EventRow]:
    """Returns the events of waits that no signal and no timer has ended, ascending.

    A signal goes to who waits for it longest.
    """
    waits: dict[str, deque[EventRow]] = {}
    for row in events:
        if row.kind == "signal_received":
            waiting = waits.get(parse_frame(row.frame).signal_received.signal_name)
            if waiting:
                waiting.popleft()
        elif row.kind == "workflow_awaiting_signal":
            wait = parse_frame(row.frame).workflow_awaiting_signal
            if not wait.timer_seq or (TimerKind.USER, wait.timer_seq) in state.timers:
                waits.setdefault(wait.signal_name, deque()).append(row)
    return sorted((row for rows in waits.values() for row in rows), key=lambda row: row.seq)


def _of_callers(state: RunState, story: Story) -> Iterator[Cause]:
    """Yields what others want of the run and still wait for."""
    yield from _of_updates(state, story.events)
    yield from _of_unseen_signals(state, story.events)
    yield from (_of_message(message, state.run.run_id) for message in story.messages)


def _of_updates(state: RunState, events: Iterable[EventRow]) -> Iterator[Cause]:
    came = {row.seq: row.at_us for row in events if row.kind == "update_requested"}
    for seq, update in sorted(state.updates.items()):
        text, since_us = f"update {update.name!r} (event {seq}) waits for its answer", came.get(seq)
        if since_us is not None:
            text += f" since {_when(since_us)}"
        if seq > state.run.seen_seq:
            text += "; the code has not been shown it yet"
        else:
            text += "; the code has it and has not answered yet"
        kind = CauseKind.CAUSE_KIND_UPDATE
        yield _cause(kind, text, name=update.name, seq=seq, since_us=since_us)


def _of_unseen_signals(state: RunState, events: Iterable[EventRow]) -> Iterator[Cause]:
    unseen: dict[str, list[int]] = {}
    for row in events:
        if row.kind == "signal_received" and row.seq > state.run.seen_seq:
            name = parse_frame(row.frame).signal_received.signal_name
            unseen.setdefault(name, []).append(row.at_us)
    for name, times in unseen.items():
        count = f"{len(times)} times, first" if len(times) > 1 else "once,"
        text = (
            f"signal {name!r} came {count} at {_when(times[0])}; the code has not been shown it yet"
        )
        yield _cause(CauseKind.CAUSE_KIND_SIGNALS_UNSEEN, text, name=name, since_us=times[0])


def _of_message(message: Message, run_id: str) -> Cause:
    if message.sender_run_id != run_id:
        way = f"from run {message.sender_run_id}"
    elif message.workflow_id:
        way = f"to workflow {message.workflow_id!r}"
    else:
        way = f"to run {message.run_id}"
    since = _when(message.created_at_us)
    text = f"{_MESSAGES[message.kind]} is on its way {way} since {since} and not recorded there yet"
    return _cause(CauseKind.CAUSE_KIND_MESSAGE, text, since_us=message.created_at_us)


def _of_timers(state: RunState) -> Iterator[Cause]:
    timers = [timer for timer in state.timers.values() if timer.kind is TimerKind.USER]
    for timer in sorted(timers, key=lambda timer: (timer.due_at_us, timer.seq)):
        text = f"timer {timer.seq} fires at {_when(timer.due_at_us)}"
        yield _cause(CauseKind.CAUSE_KIND_TIMER, text, seq=timer.seq, until_us=timer.due_at_us)


def _of_task(kind: CauseKind, text: str, task: Task, **fields: Any) -> Cause:
    return _cause(
        kind,
        text,
        name=task.type,
        task_queue=task.queue,
        worker_identity=task.worker_identity,
        attempt=task.attempt,
        **fields,
    )


def _cause(
    kind: CauseKind,
    text: str,
    *,
    since_us: int | None = None,
    until_us: int | None = None,
    failure: Failure | None = None,
    **fields: Any,
) -> Cause:
    cause = Cause(kind=kind, text=text, **fields)
    if since_us is not None:
        cause.since.CopyFrom(to_timestamp(since_us))
    if until_us is not None:
        cause.until.CopyFrom(to_timestamp(until_us))
    if failure is not None and failure.ByteSize():
        cause.failure.CopyFrom(failure)
    return cause


def _when(at_us: int | None) -> str:
    """Returns an instant as a person reads it, to the second."""
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=at_us or 0)
    return moment.strftime("%Y-%m-%d %H:%M:%SZ")
