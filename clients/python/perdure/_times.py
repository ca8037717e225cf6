"""Owns the way between the instants and spans of messages and those of Python."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp


def to_datetime(timestamp: Timestamp) -> datetime:
    """Returns an instant in UTC."""
    return timestamp.ToDatetime(UTC)


def instant_of(message: Message, field: str) -> datetime | None:
    """Returns the instant in a field, None when the field is absent."""
    return to_datetime(getattr(message, field)) if message.HasField(field) else None


def span_of(message: Message, field: str) -> timedelta | None:
    """Returns the span in a field, None when the field is absent."""
    if not message.HasField(field):
        return None
    span: Duration = getattr(message, field)
    return span.ToTimedelta()


def to_duration(span: timedelta | None) -> Duration | None:
    """Returns a span as a message; None stays None."""
    if span is None:
        return None
    duration = Duration()
    duration.FromTimedelta(span)
    return duration
