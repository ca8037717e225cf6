"""Owns the states of a run: one table, and `apply`, the only mutator of what the table governs.

`apply` serves both ways: it advances a run during a decision and folds a stored history, so the two
cannot differ. Rows, timers and what follows from an event are the business of the decisions.
"""

from __future__ import annotations

from typing import Final

from perdure_server.core.model import Run, RunStatus

TASK_ACCEPTED: Final = "workflow_task_accepted"
"""Not an event of the history: a report was accepted, and every event up to `seq` was seen."""
TASK_WANTED: Final = "workflow_task_wanted"
"""Not an event either: the code is run again to learn of event `seq`, which it caused itself."""

COMMAND_KINDS: Final = frozenset(
    {
        "activity_scheduled",
        "activity_cancel_requested",
        "timer_scheduled",
        "timer_cancelled",
        "workflow_awaiting_signal",
        "search_attributes_upserted",
        "side_effect_recorded",
        "child_workflow_started",
        "signal_workflow_initiated",
        "cancel_workflow_initiated",
        "update_completed",
        "update_rejected",
    }
)
"""Events that the code caused itself, so that it need not be run to learn of them."""

_ARRIVALS: Final = ("signal_received", "update_requested", "workflow_cancel_requested")
"""Events that reach a run from outside, whether its code has run or not."""
_OUTSIDE: Final = (
    "activity_scheduled",
    "activity_completed",
    "activity_failed",
    "activity_timed_out",
    "activity_cancel_requested",
    "activity_cancelled",
)
"""Events of activities that were scheduled from outside: they need no code that has run."""
_RESOLUTIONS: Final = (
    "activity_completed",
    "activity_failed",
    "activity_timed_out",
    "activity_cancelled",
    "timer_fired",
    "child_workflow_completed",
    "child_workflow_failed",
    "signal_workflow_delivered",
    "signal_workflow_failed",
    "cancel_workflow_delivered",
    "cancel_workflow_failed",
    "step_completed",
)
_OPERATIONS: Final = (
    "activity_options_updated",
    "activity_paused",
    "activity_unpaused",
    "activity_reset",
)
_UNHEARD: Final = frozenset({"workflow_paused", "workflow_unpaused", *_OPERATIONS})
"""Events that the code is not run to learn of, although it did not cause them."""
_UNTOLD: Final = COMMAND_KINDS | _UNHEARD
_CLOSINGS: Final = {
    "workflow_failed": RunStatus.FAILED,
    "workflow_cancelled": RunStatus.CANCELLED,
    "workflow_terminated": RunStatus.TERMINATED,
    "workflow_timed_out": RunStatus.TIMED_OUT,
    "workflow_continued_as_new": RunStatus.CONTINUED_AS_NEW,
}

RUN_TRANSITIONS: Final[dict[tuple[RunStatus | None, str], RunStatus]] = {
    (None, "workflow_started"): RunStatus.PENDING,
    **{(RunStatus.PENDING, kind): RunStatus.PENDING for kind in (*_ARRIVALS, *_OUTSIDE)},
    **{(RunStatus.PENDING, kind): status for kind, status in _CLOSINGS.items()},
    (RunStatus.PENDING, TASK_ACCEPTED): RunStatus.RUNNING,
    (RunStatus.RUNNING, TASK_ACCEPTED): RunStatus.RUNNING,
    (RunStatus.RUNNING, TASK_WANTED): RunStatus.RUNNING,
    **{
        (RunStatus.RUNNING, kind): RunStatus.RUNNING
        for kind in (*_ARRIVALS, *sorted(COMMAND_KINDS), *_RESOLUTIONS)
    },
    (RunStatus.RUNNING, "workflow_completed"): RunStatus.COMPLETED,
    **{(RunStatus.RUNNING, kind): status for kind, status in _CLOSINGS.items()},
    (RunStatus.PENDING, "workflow_paused"): RunStatus.PAUSED,
    (RunStatus.RUNNING, "workflow_paused"): RunStatus.PAUSED,
    **{
        (RunStatus.PAUSED, kind): RunStatus.PAUSED
        for kind in (TASK_ACCEPTED, TASK_WANTED, *_ARRIVALS, *sorted(COMMAND_KINDS), *_RESOLUTIONS)
    },
    (RunStatus.PAUSED, "workflow_completed"): RunStatus.COMPLETED,
    **{(RunStatus.PAUSED, kind): status for kind, status in _CLOSINGS.items()},
    **{
        (status, kind): status
        for status in (RunStatus.PENDING, RunStatus.RUNNING, RunStatus.PAUSED)
        for kind in ("workflow_reset", *_OPERATIONS)
    },
    # Or PENDING, when the code has never run.
    (RunStatus.PAUSED, "workflow_unpaused"): RunStatus.RUNNING,
}
"""Where an event leads. No row leaves a terminal status."""


def apply(
    run: Run, kind: str, seq: int, *, at_us: int, size: int = 0, external: bool = False
) -> None:
    """Advances a run by one event of `size` bytes, or by one of the steps that are none.

    `external` says that the event is one of an activity that was scheduled from outside: the code
    is not run to learn of it.

    Instants never decrease. Raises `KeyError`, and changes nothing, when the table has no row: a
    defect of the caller.
    """
    status = RUN_TRANSITIONS[run.status if run.history_length else None, kind]
    if kind == "workflow_unpaused" and run.started_at_us is None:
        status = RunStatus.PENDING
    run.status = status
    run.updated_at_us = max(at_us, run.updated_at_us)
    if kind == TASK_ACCEPTED:
        run.seen_seq = seq
        if run.started_at_us is None:
            run.started_at_us = run.updated_at_us
        return
    if kind == TASK_WANTED:
        run.stimulus_seq = seq
        return
    run.history_length = seq
    run.history_bytes += size
    if kind not in _UNTOLD and not external:
        run.stimulus_seq = seq
    if kind == "workflow_cancel_requested":
        run.cancel_requested = True
    if status.is_closed:
        run.closed_at_us = run.updated_at_us
