"""Owns reading what runs published last."""

from __future__ import annotations

from perdure.v1.interaction_pb2 import GetSnapshotResponse, GetSnapshotValueResponse
from perdure.v1.payload_pb2 import Payload
from perdure_server.core.errors import SnapshotNotFound
from perdure_server.core.snapshot import value_of
from perdure_server.core.times import to_timestamp
from perdure_server.store.contract import Store


async def read_snapshot(store: Store, run_id: str) -> GetSnapshotResponse:
    """Returns what a run published last. Raises SnapshotNotFound."""
    found = await store.find_snapshot(run_id)
    if found is None:
        raise SnapshotNotFound(f"run {run_id} has published no snapshot")
    return GetSnapshotResponse(
        state=Payload.FromString(found.state),
        event_seq=found.event_seq,
        created_at=to_timestamp(found.created_at_us),
    )


async def read_value(store: Store, run_id: str, name: str) -> GetSnapshotValueResponse:
    """Returns the value of one key of it. Raises SnapshotNotFound."""
    snapshot = await read_snapshot(store, run_id)
    return GetSnapshotValueResponse(
        value=value_of(snapshot.state, name),
        event_seq=snapshot.event_seq,
        created_at=snapshot.created_at,
    )
