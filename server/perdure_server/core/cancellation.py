"""Owns the cancellation of a run: the request, its deadline, and the run that ends at once."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final

from perdure.v1.history_pb2 import WorkflowCancelRequested
from perdure_server.core import external
from perdure_server.core.closing import cancel_unseen
from perdure_server.core.model import Timer, TimerKind
from perdure_server.core.times import from_duration, to_timestamp

if TYPE_CHECKING:
    from perdure.v1.workflow_service_pb2 import CancelWorkflowRequest
    from perdure_server.core.draft import Draft


class CancellationPhase(StrEnum):
    """How far the cancellation of a run has come."""

    NONE = "NONE"
    REQUESTED = "REQUESTED"
    ENDED = "ENDED"


CANCELLATION_TRANSITIONS: Final[dict[tuple[CancellationPhase, str], CancellationPhase]] = {
    (CancellationPhase.NONE, "workflow_cancel_requested"): CancellationPhase.REQUESTED,
    # The code may cancel itself unasked.
    (CancellationPhase.NONE, "workflow_cancelled"): CancellationPhase.ENDED,
    (CancellationPhase.REQUESTED, "workflow_cancelled"): CancellationPhase.ENDED,
}
"""A second request has no row: it writes no event."""


def cancellation_phase(draft: Draft) -> CancellationPhase:
    """Returns how far the cancellation of an open run has come."""
    return CancellationPhase.REQUESTED if draft.run.cancel_requested else CancellationPhase.NONE


def request_cancel(draft: Draft, request: CancelWorkflowRequest, now_us: int) -> None:
    """Asks an open run to end. A run whose code has never run ends at once.

    One that goes on from another does not: code that has run there may have something to undo.
    Activities that were scheduled from outside are cancelled with it; those of the code are for the
    code to cancel.
    """
    due_us = None
    if request.HasField("deadline"):
        due_us = draft.instant(now_us) + from_duration(request.deadline)
    phase = cancellation_phase(draft)
    if (phase, "workflow_cancel_requested") in CANCELLATION_TRANSITIONS:
        event = WorkflowCancelRequested(reason=request.reason)
        if due_us is not None:
            event.deadline.CopyFrom(to_timestamp(due_us))
        draft.append(now_us, workflow_cancel_requested=event)
        draft.run.cancel_reason = request.reason
    if draft.run.seen_seq == 0 and not _goes_on(draft):
        cancel_unseen(draft, now_us)
        return
    external.cancel_all(draft, now_us)
    if due_us is not None:
        _bring_forward(draft, due_us)


def deadline_reason(draft: Draft) -> str:
    """Says why a run is terminated whose cancellation did not end it in time."""
    text, reason = "the deadline of the cancellation passed", draft.run.cancel_reason
    return f"{text}: {reason}" if reason else text


def _goes_on(draft: Draft) -> bool:
    """Whether a run whose code has not run goes on from another; not so one that begins again."""
    run = draft.run
    is_reset = any(row.kind == "workflow_reset" for row in draft.recent())
    return run.attempt == 1 and bool(run.previous_run_id) and not is_reset


def _bring_forward(draft: Draft, due_us: int) -> None:
    """Sets the deadline, unless an earlier one stands."""
    timer = draft.timer(TimerKind.CANCEL_DEADLINE, 0)
    if timer is None or due_us < timer.due_at_us:
        draft.put_timer(Timer(draft.run.run_id, TimerKind.CANCEL_DEADLINE, 0, due_us))
