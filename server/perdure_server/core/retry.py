"""Owns the arithmetic of trying again: defaults, back-off, and whether there is another attempt."""

from __future__ import annotations

from perdure.v1.activity_pb2 import ActivityOptions
from perdure.v1.failure_pb2 import Failure
from perdure.v1.retry_policy_pb2 import RetryPolicy
from perdure_server.core.limits import (
    RETRY_COEFFICIENT,
    RETRY_INITIAL_US,
    RETRY_MAX_ATTEMPTS,
    RETRY_MAX_INTERVAL_US,
    START_TO_CLOSE_US,
    TASK_BACKOFF_FIRST_US,
    TASK_BACKOFF_MAX_US,
)
from perdure_server.core.times import from_duration, to_duration


def resolve_policy(policy: RetryPolicy) -> RetryPolicy:
    """Returns a copy in which every absent field has its default."""
    initial_us = from_duration(policy.initial_interval)
    resolved = RetryPolicy(
        initial_interval=to_duration(RETRY_INITIAL_US),
        backoff_coefficient=RETRY_COEFFICIENT,
        max_interval=to_duration(max(RETRY_MAX_INTERVAL_US, initial_us)),
        max_attempts=RETRY_MAX_ATTEMPTS,
    )
    for field, _ in policy.ListFields():
        resolved.ClearField(field.name)
    resolved.MergeFrom(policy)
    return resolved


def resolve_options(options: ActivityOptions) -> ActivityOptions:
    """Returns a copy in which every absent field that has a default has it.

    A timeout of zero counts as absent.
    """
    resolved = ActivityOptions(retry_policy=resolve_policy(options.retry_policy))
    for field, value in options.ListFields():
        if field.name != "retry_policy" and from_duration(value):
            getattr(resolved, field.name).CopyFrom(value)
    if not resolved.HasField("start_to_close_timeout"):
        resolved.start_to_close_timeout.CopyFrom(to_duration(START_TO_CLOSE_US))
    return resolved


def backoff_us(policy: RetryPolicy, attempt: int) -> int:
    """Returns the wait after `attempt` under a resolved policy."""
    max_us = from_duration(policy.max_interval)
    try:
        wait_us = from_duration(policy.initial_interval) * policy.backoff_coefficient ** (
            attempt - 1
        )
    except OverflowError:
        return max_us
    return int(min(wait_us, max_us))


def next_delay_us(policy: RetryPolicy, attempt: int, failure: Failure) -> int | None:
    """Returns the wait before the next attempt under a resolved policy; None after the last."""
    if failure.non_retryable or failure.type in policy.non_retryable_types:
        return None
    if 0 < policy.max_attempts <= attempt:
        return None
    if failure.HasField("next_retry_delay"):
        return from_duration(failure.next_retry_delay)
    return backoff_us(policy, attempt)


def task_backoff_us(failures: int) -> int:
    """Returns the wait after a workflow task failed for the `failures`-th time in a row."""
    # Thirty doublings are far beyond the bound; more would only make large numbers.
    return min(TASK_BACKOFF_FIRST_US << min(failures - 1, 30), TASK_BACKOFF_MAX_US)
