"""Owns signals, and the waits for them that workflow code records."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final

from perdure.v1.history_pb2 import SignalReceived, WorkflowAwaitingSignal
from perdure_server.core import fields
from perdure_server.core.batch import is_new
from perdure_server.core.errors import InvalidRequest
from perdure_server.core.frames import parse_frame

if TYPE_CHECKING:
    from perdure.v1.command_pb2 import WaitForSignal
    from perdure.v1.workflow_service_pb2 import SignalWorkflowRequest
    from perdure_server.core.batch import CommandBatch
    from perdure_server.core.draft import Draft


class WaitPhase(StrEnum):
    """Whether the code waits for a signal of one name."""

    IDLE = "IDLE"
    WAITING = "WAITING"


WAIT_TRANSITIONS: Final[dict[tuple[WaitPhase, str], WaitPhase]] = {
    (WaitPhase.IDLE, "workflow_awaiting_signal"): WaitPhase.WAITING,
    (WaitPhase.IDLE, "signal_received"): WaitPhase.IDLE,
    # Another branch of the code may wait for the same name.
    (WaitPhase.WAITING, "workflow_awaiting_signal"): WaitPhase.WAITING,
    (WaitPhase.WAITING, "signal_received"): WaitPhase.IDLE,
}
"""How the events of one signal name open and end a wait."""


def receive(draft: Draft, request: SignalWorkflowRequest, now_us: int) -> int:
    """Records a signal and returns the event's number."""
    event = SignalReceived(signal_name=request.signal_name)
    if request.HasField("payload"):
        event.payload.CopyFrom(request.payload)
    return draft.append(now_us, signal_received=event)


def wait(batch: CommandBatch, command: WaitForSignal) -> None:
    """Records that the code waits.

    A repetition writes nothing; number 0 writes nothing while an equal wait is open.
    """
    fields.require_id("signal_name", command.signal_name)
    if command.timer_seq < 0:
        raise InvalidRequest(f"is {command.timer_seq}; it must not be negative", "timer_seq")
    draft, run = batch.draft, batch.draft.run
    if command.seq == 0:
        if wait_phase(draft, command.signal_name) is WaitPhase.WAITING:
            return
    elif not is_new(command.seq, run.wait_seq_max):
        return
    run.wait_seq_max += 1
    event = WorkflowAwaitingSignal(
        wait_seq=run.wait_seq_max, signal_name=command.signal_name, timer_seq=command.timer_seq
    )
    draft.append(batch.now_us, workflow_awaiting_signal=event)


def wait_phase(draft: Draft, signal_name: str) -> WaitPhase:
    """Returns whether a wait for the signal is open, as far as the events at hand tell.

    A wait that was recorded before the last accepted workflow task is forgotten, and may so be
    recorded twice.
    """
    phase = WaitPhase.IDLE
    for row in draft.recent():
        if (phase, row.kind) in WAIT_TRANSITIONS:
            event = parse_frame(row.frame)
            if getattr(event, row.kind).signal_name == signal_name:
                phase = WAIT_TRANSITIONS[phase, row.kind]
    return phase
