from __future__ import annotations

from google.protobuf.duration_pb2 import Duration
from hypothesis import given
from hypothesis import strategies as st

from perdure_server.core.limits import DURATION_US_MAX
from perdure_server.core.times import from_duration, from_timestamp, to_duration, to_timestamp


@given(st.integers(min_value=0, max_value=2**53))
def test_an_instant_survives_the_wire(us: int) -> None:
    timestamp = to_timestamp(us)
    assert from_timestamp(timestamp) == us
    assert timestamp.ToMicroseconds() == us


@given(st.integers(min_value=0, max_value=DURATION_US_MAX))
def test_a_span_survives_the_wire(us: int) -> None:
    duration = to_duration(us)
    assert from_duration(duration) == us
    assert duration.ToMicroseconds() == us


def test_nanoseconds_are_rounded_down() -> None:
    assert from_duration(Duration(seconds=1, nanos=1_999)) == 1_000_001
    assert from_duration(Duration(nanos=999)) == 0
