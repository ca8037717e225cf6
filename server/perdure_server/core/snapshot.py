"""Owns snapshots: what the code of a run publishes, and one value of it."""

from __future__ import annotations

from typing import Final

import msgspec

from perdure.v1.command_pb2 import RecordSnapshot
from perdure.v1.payload_pb2 import Payload
from perdure_server.core import fields
from perdure_server.core.batch import CommandBatch
from perdure_server.core.errors import InvalidRequest, SnapshotNotFound
from perdure_server.core.model import Snapshot

_JSON: Final = ("", "json/plain")
_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])


def record(batch: CommandBatch, command: RecordSnapshot) -> None:
    """Replaces the snapshot of the run. It is no event: nobody learns of it who does not ask."""
    if not command.HasField("state"):
        raise InvalidRequest("is required", "state")
    fields.check_payload("state", command.state)
    run = batch.draft.run
    batch.draft.snapshot = Snapshot(
        run_id=run.run_id,
        state=command.state.SerializeToString(),
        event_seq=run.history_length,
        created_at_us=batch.draft.instant(batch.now_us),
    )


def value_of(state: Payload, name: str) -> Payload:
    """Returns the value of one key, as it was written. Raises `SnapshotNotFound`."""
    if state.encoding not in _JSON:
        raise SnapshotNotFound(f"the snapshot is {state.encoding}; only JSON can be picked from")
    try:
        members = _OBJECT.decode(state.data)
    except (ValueError, RecursionError):
        raise SnapshotNotFound("the snapshot is not a JSON object, so it has no keys") from None
    if name not in members:
        raise SnapshotNotFound(f"the snapshot has no key {name!r}")
    return Payload(data=bytes(members[name]).strip(b" \t\r\n"), encoding=state.encoding)
