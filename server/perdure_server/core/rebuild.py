"""Owns how a run is made again from a part of a history: its counters, and what is pending in it.

What the store has for a run that went on is what `repeat` makes of its events, but for what no
event tells: attempts, leases and heartbeats, which begin anew.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from perdure.v1.search_attributes_pb2 import SearchAttributes
from perdure.v1.workflow_pb2 import ParentClosePolicy
from perdure_server.core import attributes
from perdure_server.core.frames import parse_frame
from perdure_server.core.model import Child, Run, Timer, TimerKind, Update
from perdure_server.core.run import COMMAND_KINDS, RUN_TRANSITIONS, TASK_ACCEPTED, apply
from perdure_server.core.times import from_timestamp

if TYPE_CHECKING:
    from collections.abc import Sequence

    from perdure.v1.history_pb2 import ActivityScheduled
    from perdure_server.core.draft import Draft
    from perdure_server.core.model import EventRow
    from perdure_server.core.state import RunState

CHILD_KINDS: Final = frozenset(
    {"child_workflow_started", "child_workflow_completed", "child_workflow_failed"}
)
"""The events that tell all that the rows of children say."""
Call = tuple[str, int]
"""A signal or a cancellation sent to another workflow: its kind and its number."""


@dataclass(slots=True)
class Pending:
    """What a history leaves without an end."""

    run: Run
    activities: dict[int, ActivityScheduled] = field(default_factory=dict)
    cancelling: set[int] = field(default_factory=set)
    """Those of the activities that were asked to end."""
    held: set[int] = field(default_factory=set)
    """Those of the activities that are paused."""
    timers: dict[tuple[TimerKind, int], Timer] = field(default_factory=dict)
    children: dict[int, Child] = field(default_factory=dict)
    """All of them, also those that have ended."""
    calls: set[Call] = field(default_factory=set)
    updates: dict[int, Update] = field(default_factory=dict)
    seq: int = 0
    """The number of the event that was read last."""

    def read(self, row: EventRow) -> None:
        """Takes in the next event."""
        self.seq, reader = row.seq, _READERS.get(row.kind)
        if reader is not None:
            reader(self, getattr(parse_frame(row.frame), row.kind))


def repeat(draft: Draft, rows: Sequence[EventRow]) -> Pending:
    """Copies events into the draft of a new run, and returns what they leave without an end."""
    pending = Pending(draft.run)
    for row in rows:
        external = _activity_seq(row) < 0
        if _shows_code(draft.run, row.kind, external=external):
            apply(draft.run, TASK_ACCEPTED, row.seq - 1, at_us=row.at_us)
        draft.repeat(row, external=external)
        pending.read(row)
    return pending


def renew(known: RunState, found: RunState) -> RunState:
    """Returns a run as it is now, of which only what is new was read since it was `known`.

    `found` has no children, and of events all those behind the last one that was known.
    """
    pending = Pending(found.run.copy(), children=dict(known.children))
    for row in found.tail:
        if row.kind in CHILD_KINDS:
            pending.read(row)
    found.children = {} if found.run.status.is_closed else pending.children
    found.tail = [row for row in (*known.tail, *found.tail) if row.seq > found.run.seen_seq]
    return found


def _shows_code(run: Run, kind: str, *, external: bool) -> bool:
    """Whether the code had run before an event: it asked for it, or it is none before that."""
    asked = kind in COMMAND_KINDS and not external
    return asked or (run.history_length > 0 and (run.status, kind) not in RUN_TRANSITIONS)


def _activity_seq(row: EventRow) -> int:
    """Returns the number of the activity that an event is about; 0 for other events."""
    if not row.kind.startswith("activity_"):
        return 0
    number: int = getattr(parse_frame(row.frame), row.kind).activity_seq
    return number


def _started(pending: Pending, event: Any) -> None:
    pending.run.attributes = attributes.encoded(event.search_attributes)


def _activity_scheduled(pending: Pending, event: ActivityScheduled) -> None:
    pending.activities[event.activity_seq] = event
    pending.run.activity_seq_max = max(pending.run.activity_seq_max, event.activity_seq)


def _activity_cancelling(pending: Pending, event: Any) -> None:
    pending.cancelling.add(event.activity_seq)


def _activity_changed(pending: Pending, event: Any) -> None:
    scheduled = pending.activities[event.activity_seq]
    scheduled.options.CopyFrom(event.options)
    scheduled.priority = event.priority


def _activity_paused(pending: Pending, event: Any) -> None:
    pending.held.add(event.activity_seq)


def _activity_unpaused(pending: Pending, event: Any) -> None:
    pending.held.discard(event.activity_seq)


def _activity_ended(pending: Pending, event: Any) -> None:
    del pending.activities[event.activity_seq]


def _timer_scheduled(pending: Pending, event: Any) -> None:
    seq = pending.run.timer_seq_max = event.timer_seq
    timer = Timer(pending.run.run_id, TimerKind.USER, seq, from_timestamp(event.fire_at))
    pending.timers[timer.kind, timer.seq] = timer


def _timer_ended(pending: Pending, event: Any) -> None:
    pending.timers.pop((TimerKind.USER, event.timer_seq), None)


def _waiting(pending: Pending, event: Any) -> None:
    pending.run.wait_seq_max = event.wait_seq


def _side_effect(pending: Pending, event: Any) -> None:
    pending.run.side_effect_seq_max = event.side_effect_seq


def _step(pending: Pending, _event: Any) -> None:
    pending.run.step_seq_max += 1


def _upserted(pending: Pending, event: Any) -> None:
    run = pending.run
    after = SearchAttributes.FromString(run.attributes)
    attributes.patch(after, event.patch)
    run.attributes = attributes.encoded(after)
    run.attribute_seq_max = max(run.attribute_seq_max, event.seq)


def _child_started(pending: Pending, event: Any) -> None:
    seq = pending.run.child_seq_max = event.child_seq
    policy = ParentClosePolicy.Name(event.parent_close_policy)
    pending.children[seq] = Child(
        run_id=pending.run.run_id,
        seq=seq,
        workflow_id=event.child_workflow_id,
        workflow_type=event.workflow_type,
        child_run_id=event.child_run_id,
        policy=policy.removeprefix("PARENT_CLOSE_POLICY_"),
    )


def _child_ended(pending: Pending, event: Any) -> None:
    child = pending.children.get(event.child_seq)
    if child is None:
        # It could not be started.
        pending.run.child_seq_max = event.child_seq
        child = Child(
            run_id=pending.run.run_id,
            seq=event.child_seq,
            workflow_id=event.child_workflow_id,
            workflow_type=event.workflow_type,
            child_run_id="",
            policy="",
        )
    pending.children[event.child_seq] = replace(child, closed=True)


def _update_requested(pending: Pending, event: Any) -> None:
    update = Update(pending.run.run_id, pending.seq, event.update_name, update_id="")
    pending.updates[update.seq] = update


def _update_answered(pending: Pending, event: Any) -> None:
    del pending.updates[event.requested_seq]


def _signal_sent(pending: Pending, event: Any) -> None:
    pending.run.signal_seq_max = event.signal_seq
    pending.calls.add(("signal", event.signal_seq))


def _signal_answered(pending: Pending, event: Any) -> None:
    pending.calls.discard(("signal", event.signal_seq))


def _cancel_sent(pending: Pending, event: Any) -> None:
    pending.run.cancel_seq_max = event.cancel_seq
    pending.calls.add(("cancel", event.cancel_seq))


def _cancel_answered(pending: Pending, event: Any) -> None:
    pending.calls.discard(("cancel", event.cancel_seq))


def _cancel_requested(pending: Pending, event: Any) -> None:
    pending.run.cancel_reason = event.reason
    if event.HasField("deadline"):
        due_us = from_timestamp(event.deadline)
        timer = Timer(pending.run.run_id, TimerKind.CANCEL_DEADLINE, 0, due_us)
        pending.timers[timer.kind, timer.seq] = timer


def _paused(pending: Pending, event: Any) -> None:
    pending.run.pause = event.SerializeToString()


def _unpaused(pending: Pending, _event: Any) -> None:
    pending.run.pause = b""


_READERS: Final[dict[str, Callable[[Pending, Any], None]]] = {
    "workflow_started": _started,
    "activity_scheduled": _activity_scheduled,
    "activity_cancel_requested": _activity_cancelling,
    "activity_options_updated": _activity_changed,
    "activity_paused": _activity_paused,
    "activity_unpaused": _activity_unpaused,
    "activity_completed": _activity_ended,
    "activity_failed": _activity_ended,
    "activity_timed_out": _activity_ended,
    "activity_cancelled": _activity_ended,
    "timer_scheduled": _timer_scheduled,
    "timer_fired": _timer_ended,
    "timer_cancelled": _timer_ended,
    "workflow_awaiting_signal": _waiting,
    "search_attributes_upserted": _upserted,
    "side_effect_recorded": _side_effect,
    "step_completed": _step,
    "child_workflow_started": _child_started,
    "child_workflow_completed": _child_ended,
    "child_workflow_failed": _child_ended,
    "update_requested": _update_requested,
    "update_completed": _update_answered,
    "update_rejected": _update_answered,
    "signal_workflow_initiated": _signal_sent,
    "signal_workflow_delivered": _signal_answered,
    "signal_workflow_failed": _signal_answered,
    "cancel_workflow_initiated": _cancel_sent,
    "cancel_workflow_delivered": _cancel_answered,
    "cancel_workflow_failed": _cancel_answered,
    "workflow_cancel_requested": _cancel_requested,
    "workflow_paused": _paused,
    "workflow_unpaused": _unpaused,
}
"""What an event says of a run's rows and counters; `apply` does the rest."""
