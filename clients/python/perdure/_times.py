"""Owns the way between the instants and spans of messages and those of Python."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

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


def require_span(name: str, span: Any) -> None:
    """Raises TypeError for what is no timedelta: a number would leave open of what."""
    if isinstance(span, timedelta):
        return
    is_number = isinstance(span, int | float) and not isinstance(span, bool)
    hint = f": write timedelta(seconds={span!r}), if seconds are meant" if is_number else ""
    raise TypeError(f"{name} is a timedelta, got {span!r}{hint}")


def to_seconds(name: str, span: timedelta | None) -> float | None:
    """Returns a span in seconds; None stays None. TypeError for what is no timedelta."""
    if span is None:
        return None
    require_span(name, span)
    return span.total_seconds()


def to_duration(name: str, span: timedelta | None) -> Duration | None:
    """Returns a span as a message; None stays None. TypeError for what is no timedelta."""
    if span is None:
        return None
    require_span(name, span)
    duration = Duration()
    duration.FromTimedelta(span)
    return duration
