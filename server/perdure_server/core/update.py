"""Owns updates: what callers ask of the code of a run, and what it answers.

An update is recorded when it arrives, as a signal is; its number is that of its event. What became
of it stands in its row until the run is deleted.
"""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from perdure.v1.history_pb2 import (
    UnhandledUpdate,
    UpdateCompleted,
    UpdateRejected,
    UpdateRequested,
)
from perdure.v1.interaction_pb2 import UpdateOutcome
from perdure.v1.payload_pb2 import Payload
from perdure_server.core import errors, fields
from perdure_server.core.errors import InvalidRequest, LimitExceeded
from perdure_server.core.limits import UPDATES_OPEN_MAX
from perdure_server.core.model import Update

if TYPE_CHECKING:
    from collections.abc import Sequence

    from perdure.v1.command_pb2 import CompleteUpdate, RejectUpdate
    from perdure.v1.interaction_pb2 import UpdateWorkflowRequest
    from perdure_server.core.batch import CommandBatch
    from perdure_server.core.draft import Draft


class UpdatePhase(StrEnum):
    """How far an update has come."""

    OPEN = "OPEN"
    ANSWERED = "ANSWERED"


UPDATE_TRANSITIONS: Final[dict[tuple[UpdatePhase | None, str], UpdatePhase]] = {
    (None, "update_requested"): UpdatePhase.OPEN,
    (UpdatePhase.OPEN, "update_completed"): UpdatePhase.ANSWERED,
    (UpdatePhase.OPEN, "update_rejected"): UpdatePhase.ANSWERED,
}
"""Where an event leads. A second answer has no row, and is not written."""


def request(draft: Draft, asked: UpdateWorkflowRequest, now_us: int) -> int:
    """Records an update and returns the event's number. Raises `LimitExceeded`."""
    if len(draft.updates()) >= UPDATES_OPEN_MAX:
        raise LimitExceeded(f"the run has {UPDATES_OPEN_MAX} updates without an answer, the bound")
    event = UpdateRequested(update_name=asked.update_name)
    if asked.HasField("input"):
        event.input.CopyFrom(asked.input)
    seq = draft.append(now_us, update_requested=event)
    draft.put_update(Update(draft.run.run_id, seq, asked.update_name, asked.request_id))
    return seq


def complete(batch: CommandBatch, command: CompleteUpdate) -> None:
    """Answers an update with a result. One that has its answer keeps it."""
    fields.check_payload("result", command.result)
    update = _open(batch.draft, command.requested_seq)
    if update is None:
        return
    event = UpdateCompleted(requested_seq=update.seq, result=command.result)
    batch.draft.append(batch.now_us, update_completed=event)
    _answer(batch.draft, update, UpdateOutcome(result=command.result))


def reject(batch: CommandBatch, command: RejectUpdate) -> None:
    """Answers an update with a failure. One that has its answer keeps it."""
    fields.check_failure("failure", command.failure)
    update = _open(batch.draft, command.requested_seq)
    if update is None:
        return
    event = UpdateRejected(requested_seq=update.seq, failure=command.failure)
    batch.draft.append(batch.now_us, update_rejected=event)
    _answer(batch.draft, update, UpdateOutcome(failure=command.failure))


def close_all(draft: Draft, updates: Sequence[Update]) -> None:
    """Ends the updates of a run that closed without an answer."""
    for update in updates:
        _answer(draft, update, UpdateOutcome(closed=draft.run.status.value))


def unhandled(updates: Sequence[Update]) -> list[UnhandledUpdate]:
    """Lists updates as a closing event does."""
    return [UnhandledUpdate(event_seq=each.seq, update_name=each.name) for each in updates]


def answer_of(run_id: str, outcome: bytes) -> Payload:
    """Returns the result that an encoded UpdateOutcome holds.

    Raises `RunClosed` and `errors.UpdateRejected` for what it holds instead.
    """
    held = UpdateOutcome.FromString(outcome)
    match held.WhichOneof("outcome"):
        case "failure":
            raise errors.UpdateRejected(held.failure.message, held.failure.type)
        case "closed":
            raise errors.RunClosed(f"run {run_id} closed ({held.closed}) before its code answered")
    return held.result


def _open(draft: Draft, seq: int) -> Update | None:
    """Returns an update without an answer; None for one that has it.

    Raises `InvalidRequest` for a number that no event has.
    """
    if not 1 <= seq <= draft.run.history_length:
        problem = f"is {seq}; the history has the events 1 to {draft.run.history_length}"
        raise InvalidRequest(problem, "requested_seq")
    return draft.update(seq)


def _answer(draft: Draft, update: Update, outcome: UpdateOutcome) -> None:
    draft.put_update(replace(update, outcome=outcome.SerializeToString()))
