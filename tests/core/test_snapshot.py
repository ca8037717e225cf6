from __future__ import annotations

import pytest

from perdure.v1.payload_pb2 import Payload
from perdure_server.core.errors import InvalidCommand, SnapshotNotFound
from perdure_server.core.snapshot import value_of
from tests.core.life import Life, complete, record_snapshot, schedule


def test_a_snapshot_is_no_event_and_causes_no_task() -> None:
    life = Life()
    life.work(schedule(), record_snapshot(b'{"n": 1}'))
    assert life.kinds == ["workflow_started", "activity_scheduled"]
    snapshot = life.draft.snapshot
    assert snapshot is not None
    assert (snapshot.run_id, snapshot.event_seq) == ("run-1", 2)
    assert Payload.FromString(snapshot.state).data == b'{"n": 1}'
    assert snapshot.created_at_us == life.now_us
    assert not [key for key in life.state.tasks if key[0] == "workflow"]


def test_the_last_one_of_a_batch_stays_also_when_the_run_closes() -> None:
    life = Life()
    life.work(record_snapshot(b"1"), record_snapshot(b"2"), complete())
    assert life.draft.change().snapshot is life.draft.snapshot
    assert life.draft.snapshot is not None
    assert Payload.FromString(life.draft.snapshot.state).data == b"2"


@pytest.mark.parametrize("data", [None, b"x" * (2 * 1024 * 1024 + 1)])
def test_a_snapshot_has_a_state_within_the_bound(data: bytes | None) -> None:
    with pytest.raises(InvalidCommand, match=r"record_snapshot\.state"):
        Life().work(record_snapshot(data))


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b'{"a": 1.50, "b": [1,  2], "a": 1234567890123456789012.0 }', b"1234567890123456789012.0"),
        (b'{"a":null}', b"null"),
        (b'{"a" : {"z": 1, "a": 2}\n}', b'{"z": 1, "a": 2}'),
    ],
)
def test_a_value_is_picked_as_it_was_written(data: bytes, value: bytes) -> None:
    assert value_of(Payload(data=data), "a") == Payload(data=value)
    picked = value_of(Payload(data=data, encoding="json/plain"), "a")
    assert picked == Payload(data=value, encoding="json/plain")


@pytest.mark.parametrize(
    "state",
    [
        Payload(data=b'{"b":1}'),
        Payload(data=b"[1]"),
        Payload(data=b'{"a":'),
        Payload(data=b'{"\xff":1}'),
        Payload(data=b'{"a":' + b"[" * 100_000),
        Payload(data=b'{"a":1}', encoding="binary/encrypted"),
    ],
)
def test_what_has_no_such_key_has_no_value(state: Payload) -> None:
    with pytest.raises(SnapshotNotFound):
        value_of(state, "a")
