from __future__ import annotations

import pytest

from perdure.v1.history_pb2 import History, HistoryEvent, SignalReceived
from perdure.v1.payload_pb2 import Payload
from perdure_server.core.frames import event_frame, field, parse_frame


def an_event(seq: int, size: int) -> HistoryEvent:
    return HistoryEvent(
        seq=seq,
        signal_received=SignalReceived(signal_name="go", payload=Payload(data=b"x" * size)),
    )


@pytest.mark.parametrize("size", [0, 1, 90, 127, 128, 300, 16_383, 16_384, 2_000_000])
def test_a_frame_gives_its_event_back(size: int) -> None:
    event = an_event(7, size)
    assert parse_frame(event_frame(event)) == event


def test_frames_join_to_a_history() -> None:
    events = [an_event(seq, size) for seq, size in enumerate((0, 200, 20_000), start=1)]
    joined = b"".join(event_frame(event) for event in events)
    assert joined == History(events=events).SerializeToString()


def test_a_frame_is_field_one() -> None:
    event = an_event(1, 500)
    assert field(1, event.SerializeToString()) == event_frame(event)


def test_a_field_has_a_number_of_any_size() -> None:
    # Numbers from 16 on need two bytes of tag.
    inner = Payload(data=b"1").SerializeToString()
    assert field(30, inner)[:3] == bytes([0xF2, 0x01, len(inner)])
