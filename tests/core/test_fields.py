from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from google.protobuf.duration_pb2 import Duration

from perdure.v1.activity_pb2 import ActivityOptions
from perdure.v1.failure_pb2 import Failure
from perdure.v1.payload_pb2 import Header, Payload
from perdure.v1.retry_policy_pb2 import RetryPolicy
from perdure_server.core import fields
from perdure_server.core.errors import InvalidRequest, LimitExceeded, PayloadTooLarge
from perdure_server.core.limits import (
    DURATION_US_MAX,
    FAILURE_BYTES_MAX,
    FAILURE_CAUSES_MAX,
    HEADERS_BYTES_MAX,
    HEADERS_MAX,
    PAYLOAD_BYTES_MAX,
    SECOND_US,
)
from tests.core.life import nested_failure, seconds

LARGE = Payload(data=b"x" * (PAYLOAD_BYTES_MAX + 1))

GOOD: list[tuple[Callable[..., None], object]] = [
    (fields.check_id, ""),
    (fields.check_id, "o-1"),
    (fields.check_id, "x" * 255),
    (fields.check_id, "\u00fc" * 127),
    (fields.check_id, "two\u00a0words"),
    (fields.require_id, "a/b:c d"),
    (fields.check_reason, "line\nline"),
    (fields.check_payload, Payload()),
    (fields.check_payload, Payload(data=b"x" * PAYLOAD_BYTES_MAX, encoding="binary/plain")),
    (fields.check_headers, []),
    (fields.check_headers, [Header(name=f"h-{n}") for n in range(HEADERS_MAX)]),
    (fields.check_failure, Failure()),
    (fields.check_failure, Failure(details=Payload(data=b"x" * PAYLOAD_BYTES_MAX))),
    (fields.check_failure, Failure(cause=Failure(details=Payload(data=b"x" * 100_000)))),
    (fields.check_failure, Failure(next_retry_delay=seconds(0))),
    (fields.check_failure, nested_failure(FAILURE_CAUSES_MAX)),
    (fields.check_duration, seconds(0)),
    (fields.check_duration, Duration(seconds=DURATION_US_MAX // SECOND_US)),
    (fields.check_wait, seconds(300)),
    (fields.check_priority, 0),
    (fields.check_priority, 5),
    (fields.check_retry_policy, RetryPolicy()),
    (fields.check_retry_policy, RetryPolicy(max_attempts=0, backoff_coefficient=1)),
    (
        fields.check_retry_policy,
        RetryPolicy(initial_interval=seconds(200), max_interval=seconds(200)),
    ),
    (fields.check_retry_policy, RetryPolicy(initial_interval=seconds(200))),
    (fields.check_activity_options, ActivityOptions()),
    (
        fields.check_activity_options,
        ActivityOptions(heartbeat_timeout=seconds(1), retry_policy=RetryPolicy()),
    ),
]

BAD: list[tuple[Callable[..., None], object, type[InvalidRequest], str]] = [
    (fields.check_headers, [Header()], InvalidRequest, "f[0].name: is required"),
    (fields.check_headers, [Header(name="a")] * 2, InvalidRequest, "f[1].name: is 'a', like an"),
    (
        fields.check_headers,
        [Header(name="a", value=Payload(encoding="x" * 256))],
        LimitExceeded,
        "f[0].value.encoding: has 256",
    ),
    (
        fields.check_headers,
        [Header(name=f"h-{n}") for n in range(HEADERS_MAX + 1)],
        LimitExceeded,
        "f: is 65; the bound is 64",
    ),
    (
        fields.check_headers,
        [Header(name="a", value=Payload(data=b"x" * HEADERS_BYTES_MAX))],
        LimitExceeded,
        "f: have 655",
    ),
    (fields.check_id, "x" * 256, LimitExceeded, "f: has 256 bytes; the bound is 255"),
    (fields.check_id, "\u00fc" * 128, LimitExceeded, "f: has 256 bytes; the bound is 255"),
    (fields.check_id, "a\0b", InvalidRequest, "f: has the control character '\\x00'"),
    (fields.check_id, "a\u0085b", InvalidRequest, "f: has the control character '\\x85'"),
    (fields.require_id, "", InvalidRequest, "f: is required"),
    (fields.check_reason, "x" * 4097, LimitExceeded, "f: has 4097 bytes; the bound is 4096"),
    (fields.check_payload, LARGE, PayloadTooLarge, "f: has 2097153 bytes; the bound is 2097152"),
    (fields.check_payload, Payload(encoding="x" * 256), LimitExceeded, "f.encoding: has 256"),
    (fields.check_failure, Failure(details=LARGE), PayloadTooLarge, "f.details: has 2097153"),
    (
        fields.check_failure,
        Failure(cause=Failure(cause=Failure(details=LARGE))),
        PayloadTooLarge,
        "f.cause.cause.details: has",
    ),
    (
        fields.check_failure,
        Failure(cause=Failure(stack_trace="x" * FAILURE_BYTES_MAX)),
        LimitExceeded,
        "without its details; the bound is 65536",
    ),
    (
        fields.check_failure,
        nested_failure(FAILURE_CAUSES_MAX + 1),
        LimitExceeded,
        "f: has more causes one behind another than the bound of 50",
    ),
    (fields.check_failure, nested_failure(1000), LimitExceeded, "f: has more causes"),
    (
        fields.check_failure,
        Failure(next_retry_delay=Duration(seconds=-1)),
        InvalidRequest,
        "f.next_retry_delay: is negative",
    ),
    (fields.check_duration, Duration(seconds=-1), InvalidRequest, "f: is negative"),
    (fields.check_duration, Duration(nanos=-1), InvalidRequest, "f: is negative"),
    (fields.check_duration, Duration(nanos=10**9), InvalidRequest, "f: has 1000000000 nanosec"),
    (fields.check_duration, Duration(seconds=2**62), LimitExceeded, "the bound is 3153600000 s"),
    (fields.check_wait, seconds(300.5), LimitExceeded, "f: is 300.5 s; the bound is 300 s"),
    (fields.check_priority, 6, InvalidRequest, "f: is 6; it goes from 1 (first) to 5"),
    (fields.check_priority, -1, InvalidRequest, "f: is -1"),
    (fields.check_retry_policy, RetryPolicy(max_attempts=-1), InvalidRequest, "f.max_attempts"),
    (
        fields.check_retry_policy,
        RetryPolicy(backoff_coefficient=0.5),
        InvalidRequest,
        "f.backoff_coefficient: is 0.5; it must be at least 1",
    ),
    (
        fields.check_retry_policy,
        RetryPolicy(backoff_coefficient=math.inf),
        InvalidRequest,
        "f.backoff_coefficient: is inf",
    ),
    (
        fields.check_retry_policy,
        RetryPolicy(backoff_coefficient=math.nan),
        InvalidRequest,
        "f.backoff_coefficient: is nan",
    ),
    (
        fields.check_retry_policy,
        RetryPolicy(initial_interval=seconds(0)),
        InvalidRequest,
        "f.initial_interval: must be positive",
    ),
    (
        fields.check_retry_policy,
        RetryPolicy(max_interval=Duration(seconds=-1)),
        InvalidRequest,
        "f.max_interval: is negative",
    ),
    (
        fields.check_retry_policy,
        RetryPolicy(initial_interval=seconds(200), max_interval=seconds(100)),
        InvalidRequest,
        "f.max_interval: is 100.0 s, below initial_interval (200.0 s)",
    ),
    (
        fields.check_retry_policy,
        RetryPolicy(non_retryable_types=["A", ""]),
        InvalidRequest,
        "f.non_retryable_types[1]: is required",
    ),
    (
        fields.check_activity_options,
        ActivityOptions(schedule_to_start_timeout=Duration(seconds=-1)),
        InvalidRequest,
        "f.schedule_to_start_timeout: is negative",
    ),
    (
        fields.check_activity_options,
        ActivityOptions(retry_policy=RetryPolicy(max_attempts=-1)),
        InvalidRequest,
        "f.retry_policy.max_attempts",
    ),
]


@pytest.mark.parametrize(("check", "value"), GOOD)
def test_a_good_value_passes(check: Callable[..., None], value: object) -> None:
    check("f", value)


@pytest.mark.parametrize(("check", "value", "error", "text"), BAD)
def test_a_bad_value_is_named_with_its_bound(
    check: Callable[..., None], value: object, error: type[InvalidRequest], text: str
) -> None:
    with pytest.raises(error) as caught:
        check("f", value)
    assert type(caught.value) is error
    assert text in str(caught.value)
    assert caught.value.field.startswith("f")


def test_a_page_has_a_bound() -> None:
    fields.check_page_size(1_000)
    with pytest.raises(LimitExceeded, match="page_size: is 1001; the bound is 1000"):
        fields.check_page_size(1_001)
    with pytest.raises(InvalidRequest, match="page_size: is -1; it must not be negative"):
        fields.check_page_size(-1)


def test_an_error_without_a_field_is_its_problem() -> None:
    error = InvalidRequest("nothing is set")
    assert (str(error), error.problem, error.field) == ("nothing is set", "nothing is set", "")
