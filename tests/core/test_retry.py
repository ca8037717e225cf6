from __future__ import annotations

import pytest

from perdure.v1.activity_pb2 import ActivityOptions
from perdure.v1.failure_pb2 import Failure
from perdure.v1.retry_policy_pb2 import RetryPolicy
from perdure_server.core.limits import SECOND_US
from perdure_server.core.retry import (
    backoff_us,
    next_delay_us,
    resolve_options,
    resolve_policy,
    task_backoff_us,
)
from perdure_server.core.times import from_duration
from tests.core.life import seconds


def test_an_empty_policy_gets_the_documented_defaults() -> None:
    policy = resolve_policy(RetryPolicy())
    assert from_duration(policy.initial_interval) == SECOND_US
    assert policy.backoff_coefficient == 2
    assert from_duration(policy.max_interval) == 100 * SECOND_US
    assert policy.max_attempts == 3
    assert not policy.non_retryable_types


def test_a_policy_keeps_what_it_says() -> None:
    policy = RetryPolicy(
        initial_interval=seconds(5),
        backoff_coefficient=1,
        max_interval=seconds(7),
        max_attempts=0,
        non_retryable_types=["ValueError"],
    )
    assert resolve_policy(policy) == policy


def test_a_long_first_wait_lifts_the_default_of_the_longest() -> None:
    policy = resolve_policy(RetryPolicy(initial_interval=seconds(3600)))
    assert from_duration(policy.max_interval) == 3600 * SECOND_US


def test_options_get_the_documented_defaults() -> None:
    options = resolve_options(ActivityOptions())
    assert from_duration(options.start_to_close_timeout) == 300 * SECOND_US
    assert options.retry_policy == resolve_policy(RetryPolicy())
    assert not options.HasField("schedule_to_start_timeout")
    assert not options.HasField("schedule_to_close_timeout")
    assert not options.HasField("heartbeat_timeout")


def test_a_timeout_of_zero_counts_as_absent() -> None:
    options = ActivityOptions(
        start_to_close_timeout=seconds(0),
        heartbeat_timeout=seconds(0),
        schedule_to_close_timeout=seconds(9),
    )
    resolved = resolve_options(options)
    assert from_duration(resolved.start_to_close_timeout) == 300 * SECOND_US
    assert not resolved.HasField("heartbeat_timeout")
    assert from_duration(resolved.schedule_to_close_timeout) == 9 * SECOND_US


@pytest.mark.parametrize(
    ("attempt", "expected_s"), [(1, 1), (2, 2), (3, 4), (7, 64), (8, 100), (5_000_000, 100)]
)
def test_back_off_grows_to_its_bound(attempt: int, expected_s: int) -> None:
    assert backoff_us(resolve_policy(RetryPolicy()), attempt) == expected_s * SECOND_US


def test_a_coefficient_beyond_floats_stays_at_the_bound() -> None:
    policy = resolve_policy(RetryPolicy(backoff_coefficient=1e300))
    assert backoff_us(policy, 2) == 100 * SECOND_US
    assert backoff_us(policy, 9) == 100 * SECOND_US


@pytest.mark.parametrize(
    ("policy", "attempt", "failure", "expected_s"),
    [
        (RetryPolicy(), 1, Failure(), 1),
        (RetryPolicy(), 3, Failure(), None),
        (RetryPolicy(max_attempts=1), 1, Failure(), None),
        (RetryPolicy(max_attempts=0), 9, Failure(), 100),
        (RetryPolicy(), 1, Failure(non_retryable=True), None),
        (RetryPolicy(non_retryable_types=["A"]), 1, Failure(type="A"), None),
        (RetryPolicy(non_retryable_types=["A"]), 1, Failure(type="B"), 1),
        (RetryPolicy(), 1, Failure(next_retry_delay=seconds(9)), 9),
        (RetryPolicy(), 1, Failure(next_retry_delay=seconds(0)), 0),
    ],
)
def test_the_next_attempt(
    policy: RetryPolicy, attempt: int, failure: Failure, expected_s: int | None
) -> None:
    expected = None if expected_s is None else expected_s * SECOND_US
    assert next_delay_us(resolve_policy(policy), attempt, failure) == expected


@pytest.mark.parametrize(
    ("failures", "expected_s"), [(1, 1), (2, 2), (6, 32), (7, 60), (1_000_000, 60)]
)
def test_back_off_of_workflow_tasks(failures: int, expected_s: int) -> None:
    assert task_backoff_us(failures) == expected_s * SECOND_US
