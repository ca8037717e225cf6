"""Owns the rules for single fields.

Each function returns when the value is good and otherwise raises `InvalidRequest` or one of its
kinds, with a text that names the field, the bound and the value.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from google.protobuf.duration_pb2 import Duration

from perdure.v1.activity_pb2 import ActivityOptions
from perdure.v1.command_pb2 import ScheduleActivity
from perdure.v1.failure_pb2 import Failure
from perdure.v1.payload_pb2 import Header, Payload
from perdure.v1.retry_policy_pb2 import RetryPolicy
from perdure.v1.workflow_service_pb2 import ScheduleActivityRequest
from perdure_server.core.errors import InvalidRequest, LimitExceeded, PayloadTooLarge
from perdure_server.core.limits import (
    DURATION_US_MAX,
    FAILURE_BYTES_MAX,
    FAILURE_CAUSES_MAX,
    HEADERS_BYTES_MAX,
    HEADERS_MAX,
    ID_BYTES_MAX,
    PAGE_SIZE_MAX,
    PAYLOAD_BYTES_MAX,
    PRIORITY_MAX,
    REASON_BYTES_MAX,
    RETRY_INITIAL_US,
    RETRY_MAX_INTERVAL_US,
    SECOND_US,
    WAIT_US_MAX,
)
from perdure_server.core.times import from_duration

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_SURELY_SHORT = ID_BYTES_MAX // 4
"""Text of so many characters fits whatever they are: UTF-8 needs at most four bytes for one."""
_NANOS = 1_000_000_000


def check_id(field: str, text: str) -> None:
    """Checks an optional id or name: at most 255 bytes, no control characters."""
    if len(text) <= _SURELY_SHORT and text.isprintable():
        return
    check_text(field, text, ID_BYTES_MAX)
    if control := _CONTROL.search(text):
        raise InvalidRequest(f"has the control character {control.group()!r}", field)


def require_id(field: str, text: str) -> None:
    """Checks a required id or name."""
    if not text:
        raise InvalidRequest("is required", field)
    check_id(field, text)


def check_reason(field: str, text: str) -> None:
    """Checks a reason written by a person."""
    check_text(field, text, REASON_BYTES_MAX)


def check_text(field: str, text: str, bytes_max: int) -> None:
    """Checks the size of a text."""
    size = len(text.encode())
    if size > bytes_max:
        raise LimitExceeded(f"has {size} bytes; the bound is {bytes_max}", field)


def check_payload(field: str, payload: Payload) -> None:
    """Checks a user value."""
    size = len(payload.data)
    if size > PAYLOAD_BYTES_MAX:
        raise PayloadTooLarge(f"has {size} bytes; the bound is {PAYLOAD_BYTES_MAX}", field)
    check_id(f"{field}.encoding", payload.encoding)


def check_headers(field: str, headers: Sequence[Header]) -> None:
    """Checks what travels beside an input."""
    if not headers:
        return
    check_count(field, len(headers), HEADERS_MAX)
    names = set()
    for index, header in enumerate(headers):
        require_id(f"{field}[{index}].name", header.name)
        check_id(f"{field}[{index}].value.encoding", header.value.encoding)
        if header.name in names:
            where = f"{field}[{index}].name"
            raise InvalidRequest(f"is {header.name!r}, like an earlier one", where)
        names.add(header.name)
    size = sum(header.ByteSize() for header in headers)
    if size > HEADERS_BYTES_MAX:
        raise LimitExceeded(f"have {size} bytes; the bound is {HEADERS_BYTES_MAX}", field)


def check_failure(field: str, failure: Failure) -> None:
    """Checks a failure: its details like payloads, the rest with all its causes as one."""
    _check_causes(field, failure)
    size = failure.ByteSize()
    link, name = failure, field
    while True:
        if link.HasField("details"):
            check_payload(f"{name}.details", link.details)
            size -= link.details.ByteSize()
        if link.HasField("next_retry_delay"):
            check_duration(f"{name}.next_retry_delay", link.next_retry_delay)
        if not link.HasField("cause"):
            break
        link, name = link.cause, f"{name}.cause"
    if size > FAILURE_BYTES_MAX:
        raise LimitExceeded(
            f"has {size} bytes without its details; the bound is {FAILURE_BYTES_MAX}", field
        )


def check_duration(field: str, duration: Duration, max_us: int = DURATION_US_MAX) -> None:
    """Checks a span: well formed, not negative, at most `max_us`."""
    if duration.seconds < 0 or duration.nanos < 0:
        raise InvalidRequest("is negative", field)
    if duration.nanos >= _NANOS:
        raise InvalidRequest(f"has {duration.nanos} nanoseconds; a second has {_NANOS}", field)
    us = from_duration(duration)
    if us > max_us:
        raise LimitExceeded(f"is {us / SECOND_US} s; the bound is {max_us // SECOND_US} s", field)


def check_wait(field: str, duration: Duration) -> None:
    """Checks how long a call may wait."""
    check_duration(field, duration, WAIT_US_MAX)


def check_priority(field: str, priority: int) -> None:
    """Checks a priority; 0 takes the default."""
    if not 0 <= priority <= PRIORITY_MAX:
        raise InvalidRequest(f"is {priority}; it goes from 1 (first) to {PRIORITY_MAX}", field)


def check_count(field: str, count: int, count_max: int) -> None:
    """Checks a number of things."""
    if count < 0:
        raise InvalidRequest(f"is {count}; it must not be negative", field)
    if count > count_max:
        raise LimitExceeded(f"is {count}; the bound is {count_max}", field)


def check_page_size(page_size: int) -> None:
    """Checks the size of a page; 0 takes the default."""
    check_count("page_size", page_size, PAGE_SIZE_MAX)


def check_retry_policy(field: str, policy: RetryPolicy) -> None:
    """Checks a retry policy, with the defaults of what it leaves out."""
    initial_us = _interval_us(f"{field}.initial_interval", policy, RETRY_INITIAL_US)
    default_us = max(RETRY_MAX_INTERVAL_US, initial_us)
    max_us = _interval_us(f"{field}.max_interval", policy, default_us)
    if initial_us > max_us:
        raise InvalidRequest(
            f"is {max_us / SECOND_US} s, below initial_interval ({initial_us / SECOND_US} s)",
            f"{field}.max_interval",
        )
    coefficient = policy.backoff_coefficient
    if policy.HasField("backoff_coefficient") and not 1 <= coefficient < math.inf:
        raise InvalidRequest(
            f"is {coefficient}; it must be at least 1 and finite", f"{field}.backoff_coefficient"
        )
    if policy.max_attempts < 0:
        raise InvalidRequest(f"is {policy.max_attempts}", f"{field}.max_attempts")
    for index, name in enumerate(policy.non_retryable_types):
        require_id(f"{field}.non_retryable_types[{index}]", name)


def check_activity(request: ScheduleActivity | ScheduleActivityRequest) -> None:
    """Checks what describes an activity that is to be scheduled; not its number."""
    require_id("name", request.name)
    check_id("task_queue", request.task_queue)
    check_payload("input", request.input)
    check_headers("headers", request.headers)
    check_priority("priority", request.priority)
    if request.HasField("options"):
        check_activity_options("options", request.options)


def check_activity_options(field: str, options: ActivityOptions) -> None:
    """Checks the timeouts and the retry policy of an activity."""
    for timeout, value in options.ListFields():
        if timeout.name == "retry_policy":
            check_retry_policy(f"{field}.retry_policy", options.retry_policy)
        else:
            check_duration(f"{field}.{timeout.name}", value)


def _check_causes(field: str, failure: Failure) -> None:
    link = failure
    for _ in range(FAILURE_CAUSES_MAX + 1):
        if not link.HasField("cause"):
            return
        link = link.cause
    raise LimitExceeded(
        f"has more causes one behind another than the bound of {FAILURE_CAUSES_MAX}", field
    )


def _interval_us(field: str, policy: RetryPolicy, default_us: int) -> int:
    name = field.rpartition(".")[2]
    if not policy.HasField(name):
        return default_us
    interval = getattr(policy, name)
    check_duration(field, interval)
    us = from_duration(interval)
    if us == 0:
        raise InvalidRequest("must be positive", field)
    return us
