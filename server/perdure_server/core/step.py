"""Owns local steps: what the worker of a run did beside its code, recorded before that goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perdure.v1.history_pb2 import StepCompleted
from perdure_server.core import fields
from perdure_server.core.batch import CommandBatch, is_new
from perdure_server.core.errors import InvalidRequest

if TYPE_CHECKING:
    from perdure.v1.command_pb2 import RecordStep


def record(batch: CommandBatch, command: RecordStep) -> None:
    """Records how a step has ended. A repetition writes nothing."""
    _check(command)
    draft = batch.draft
    if not is_new(command.seq, draft.run.step_seq_max):
        return
    draft.run.step_seq_max = command.seq
    event = StepCompleted(
        step_seq=command.step_seq or command.seq,
        name=command.name,
        attempt=command.attempt or 1,
    )
    for field in ("result", "failure"):
        if command.HasField(field):
            getattr(event, field).CopyFrom(getattr(command, field))
    draft.append(batch.now_us, step_completed=event)


def _check(command: RecordStep) -> None:
    fields.check_id("name", command.name)
    if command.HasField("result"):
        fields.check_payload("result", command.result)
    if command.HasField("failure"):
        fields.check_failure("failure", command.failure)
        if command.HasField("result"):
            raise InvalidRequest("is set beside result; a step has one end", "failure")
    for field in ("step_seq", "attempt"):
        if getattr(command, field) < 0:
            raise InvalidRequest("must not be negative", field)
