"""Options of wrong types are refused where they are written, in words that help."""

from __future__ import annotations

from datetime import timedelta

import pytest

from perdure import (
    ApplicationError,
    Client,
    RetryPolicy,
    Start,
    WorkerOptions,
    activity,
    workflow,
)
from perdure._options import child_to_proto
from perdure.testing import Environment

HOUR = timedelta(hours=1)


@activity
async def charge() -> None: ...


@workflow
async def checkout() -> None: ...


def test_a_number_is_no_span_of_time():
    with pytest.raises(TypeError) as caught:
        RetryPolicy(initial_interval=600)
    assert str(caught.value) == (
        "initial_interval is a timedelta, got 600: write timedelta(seconds=600), if seconds are"
        " meant"
    )


@pytest.mark.parametrize(
    "options",
    [
        {"max_interval": 9.5},
        {"initial_interval": "1s"},
        {"max_interval": True},
        {"max_attempts": "3"},
        {"max_attempts": 1.5},
        {"max_attempts": True},
        {"backoff_coefficient": "2"},
        {"non_retryable_types": "ValueError"},
        {"non_retryable_types": ValueError},
        {"non_retryable_types": (3,)},
        {"non_retryable_types": (int,)},
    ],
)
def test_a_retry_policy(options):
    (name,) = options
    with pytest.raises(TypeError, match=name):
        RetryPolicy(**options)


@pytest.mark.parametrize(
    "options",
    [
        {"start_to_close": 60},
        {"schedule_to_start": 60},
        {"schedule_to_close": "1h"},
        {"heartbeat": 5},
        {"retry": 3},
        {"retry": {"max_attempts": 3}},
        {"priority": "high"},
        {"task_queue": 1},
    ],
)
def test_an_activity(options):
    (name,) = options
    with pytest.raises(TypeError, match=name):
        charge.options(**options)
    with pytest.raises(TypeError, match=name):
        activity(**options)


@pytest.mark.parametrize(
    "options",
    [
        {"execution_timeout": 60},
        {"run_timeout": 60},
        {"retry": timedelta(1)},
        {"priority": 1.0},
        {"id": 7},
        {"task_queue": b"q"},
        {"summary": 1},
    ],
)
def test_a_child_and_a_start(options):
    (name,) = options
    with pytest.raises(TypeError, match=name):
        checkout.options(**options)
    with pytest.raises(TypeError, match=name):
        Start(checkout, **options)


async def test_a_policy_that_does_not_exist():
    with pytest.raises(ValueError, match=r"parent_close_policy is one of terminate, .*; got 'end'"):
        child_to_proto("checkout", {"parent_close_policy": "end"})
    async with Environment([checkout]) as env:
        for name in ("conflict_policy", "reuse_policy"):
            with pytest.raises(ValueError, match=rf"{name} is one of .*; got 'alow'"):
                await env.client.start(checkout, **{name: "alow"})


def test_what_no_start_takes():
    with pytest.raises(TypeError, match="a start has no option idd"):
        Start(checkout, idd="o-1")
    with pytest.raises(TypeError, match="one value, got 2: put several into a dataclass"):
        Start("checkout", 1, 2)


async def test_a_start_and_a_schedule():
    async with Environment([checkout]) as env:
        with pytest.raises(TypeError, match="start_delay is a timedelta"):
            await env.client.start(checkout, start_delay=60)
        handle = await env.client.start(checkout)
        with pytest.raises(TypeError, match="timeout is a timedelta"):
            await handle.result(timeout=5)
        with pytest.raises(TypeError, match="timeout is a timedelta"):
            await handle.update("add", 1, timeout=5)
        with pytest.raises(TypeError, match="deadline is a timedelta"):
            await handle.cancel(deadline=5)
        with pytest.raises(TypeError, match="heartbeat is a timedelta"):
            await handle.activity(1).update_options(heartbeat=5)
        with pytest.raises(TypeError, match="span is a timedelta"):
            await env.advance(5)
        for name in ("every", "offset", "catchup", "jitter", "start_at", "end_at", "retry"):
            with pytest.raises(TypeError, match=name):
                await env.client.create_schedule("s", checkout, **{"every": HOUR, name: 60})


def test_a_worker_a_client_and_an_error():
    with pytest.raises(TypeError, match="drain_timeout is a timedelta"):
        WorkerOptions("q", drain_timeout=5)
    with pytest.raises(TypeError, match="workflow_task_timeout is a timedelta"):
        WorkerOptions("q", workflow_task_timeout=5)
    for name, value in (
        ("workflows", checkout),
        ("activities", charge),
        ("max_activities", "3"),
        ("max_cached_runs", 1.5),
        ("identity", 5),
        ("task_queue", 5),
    ):
        with pytest.raises(TypeError, match=name):
            WorkerOptions(**{"task_queue": "q", name: value})
    with pytest.raises(ValueError, match="max_activities must not be negative"):
        WorkerOptions("q", max_activities=-1)
    with pytest.raises(TypeError, match="patience is a timedelta"):
        Client.connect(patience=5)
    with pytest.raises(TypeError, match="next_retry_delay is a timedelta"):
        ApplicationError("no", next_retry_delay=5)


@pytest.mark.parametrize("span", ["5", True, None])
async def test_what_workflow_code_waits_for(span):
    @workflow
    async def waits() -> str:
        try:
            await workflow.sleep(span)
        except TypeError as error:
            return str(error)
        return "slept"

    async with Environment([waits]) as env:
        said = await env.client.execute(waits)
    assert said == f"a span is a timedelta or a number of seconds, got {span!r}"


def test_what_is_left_out_is_no_bad_option():
    RetryPolicy(initial_interval=None, max_attempts=0, non_retryable_types=["Refused", ValueError])
    charge.options(retry=RetryPolicy(), start_to_close=HOUR, priority=1)
