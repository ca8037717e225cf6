"""Owns the way between the wire's Timestamp and Duration and the core's integer microseconds."""

from __future__ import annotations

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from perdure_server.core.limits import SECOND_US

_MICROSECOND_NS = 1_000


def to_timestamp(us: int) -> Timestamp:
    """Returns an instant as the wire carries it."""
    seconds, rest = divmod(us, SECOND_US)
    return Timestamp(seconds=seconds, nanos=rest * _MICROSECOND_NS)


def from_timestamp(timestamp: Timestamp) -> int:
    """Returns an instant in microseconds, rounded down."""
    return timestamp.seconds * SECOND_US + timestamp.nanos // _MICROSECOND_NS


def to_duration(us: int) -> Duration:
    """Returns a span that is not negative as the wire carries it."""
    seconds, rest = divmod(us, SECOND_US)
    return Duration(seconds=seconds, nanos=rest * _MICROSECOND_NS)


def from_duration(duration: Duration) -> int:
    """Returns a span in microseconds, rounded down."""
    return duration.seconds * SECOND_US + duration.nanos // _MICROSECOND_NS
