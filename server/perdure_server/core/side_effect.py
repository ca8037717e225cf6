"""Owns side effects: values that the code of a run made by itself, recorded once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from perdure.v1.history_pb2 import SideEffectRecorded
from perdure_server.core import fields
from perdure_server.core.batch import CommandBatch, is_new

if TYPE_CHECKING:
    from collections.abc import Iterable

    from perdure.v1.command_pb2 import RecordSideEffect

_ANSWERED_BY_NOBODY: Final = frozenset(
    {
        "record_side_effect",
        "record_snapshot",
        "upsert_search_attributes",
        "cancel_activity",
        "cancel_timer",
        "complete_update",
        "reject_update",
    }
)
"""Commands after which nothing need ever happen to the run."""


def record(batch: CommandBatch, command: RecordSideEffect) -> None:
    """Records a value. A repetition writes nothing."""
    fields.check_id("name", command.name)
    fields.check_payload("value", command.value)
    draft = batch.draft
    if not is_new(command.seq, draft.run.side_effect_seq_max):
        return
    draft.run.side_effect_seq_max = command.seq
    event = SideEffectRecorded(side_effect_seq=command.seq, name=command.name)
    if command.HasField("value"):
        event.value.CopyFrom(command.value)
    draft.append(batch.now_us, side_effect_recorded=event)
    batch.side_effects = True


def stall(kinds: Iterable[str | None]) -> bool:
    """Whether nothing in a batch of such commands would cause the code to be run again."""
    return all(kind in _ANSWERED_BY_NOBODY for kind in kinds)
