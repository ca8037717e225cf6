from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from google.protobuf.message import Message

from perdure.v1 import (
    explanation_pb2,
    interaction_pb2,
    watch_service_pb2,
    worker_service_pb2,
    workflow_service_pb2,
)
from perdure.v1.activity_pb2 import ActivityOptions
from perdure.v1.command_pb2 import Command
from perdure.v1.payload_pb2 import Header, Payload
from perdure.v1.retry_policy_pb2 import RetryPolicy
from perdure.v1.worker_service_pb2 import TaskReport, WorkSlots
from perdure_server.core import checks, worker_checks
from perdure_server.core.errors import InvalidRequest, LimitExceeded
from perdure_server.core.limits import EXTERNAL_SEQ_MAX, PAYLOAD_BYTES_MAX
from tests.core.life import seconds

LONG = "x" * 256
LARGE = Payload(data=b"x" * (PAYLOAD_BYTES_MAX + 1))
PAST = seconds(1)
PAST.seconds = -1
START = workflow_service_pb2.StartWorkflowRequest
BAD_START = START(workflow_type="checkout", priority=9)
OVER = WorkSlots(activity_tasks=10_001)

NAMES = {"namespace": LONG, "workflow_id": "", "run_id": LONG}
WORKER = {"namespace": LONG, "task_queue": "", "worker_id": "", "wait": seconds(301)}
TYPES = {"workflow_types": ["a", ""], "activity_types": ["a"] * 1_001, "slots": OVER}

CASES: list[tuple[Callable[[Any], None], type[Message], dict[str, Any], dict[str, Any]]] = [
    (
        checks.check_start,
        START,
        {"workflow_type": "checkout", "retry_policy": RetryPolicy(), "run_timeout": seconds(1)},
        {
            "namespace": LONG,
            "workflow_id": LONG,
            "workflow_type": "",
            "task_queue": LONG,
            "request_id": LONG,
            "input": LARGE,
            "headers": [Header()],
            "priority": 9,
            "conflict_policy": 9,
            "reuse_policy": 9,
            "retry_policy": RetryPolicy(max_attempts=-1),
            "execution_timeout": PAST,
            "run_timeout": PAST,
            "start_delay": PAST,
        },
    ),
    (
        checks.check_execute,
        workflow_service_pb2.ExecuteWorkflowRequest,
        {"start": START(workflow_type="checkout")},
        {"start": BAD_START, "wait": seconds(301)},
    ),
    (
        checks.check_start_batch,
        workflow_service_pb2.StartWorkflowBatchRequest,
        {"starts": [BAD_START] * 1_000},
        {"starts": [START()] * 1_001},
    ),
    (checks.check_get, workflow_service_pb2.GetWorkflowRequest, {"workflow_id": "o"}, NAMES),
    (
        checks.check_signal_with_start,
        workflow_service_pb2.SignalWithStartRequest,
        {"start": START(workflow_type="checkout"), "signal_name": "go"},
        {"start": BAD_START, "signal_name": "", "payload": LARGE},
    ),
    (
        checks.check_update_with_start,
        workflow_service_pb2.UpdateWithStartRequest,
        {"start": START(workflow_type="checkout"), "update_name": "add"},
        {"start": BAD_START, "update_name": "", "input": LARGE, "wait": seconds(301)},
    ),
    (
        checks.check_query,
        interaction_pb2.QueryWorkflowRequest,
        {"workflow_id": "o", "query_name": "listed"},
        {**NAMES, "query_name": "", "mode": 7, "input": LARGE, "wait": seconds(301)},
    ),
    (
        checks.check_query,
        interaction_pb2.QueryWorkflowRequest,
        {"workflow_id": "o", "query_name": "listed", "mode": "QUERY_MODE_SNAPSHOT"},
        {"input": {"data": b"1"}},
    ),
    (
        checks.check_update,
        interaction_pb2.UpdateWorkflowRequest,
        {"workflow_id": "o", "update_name": "add"},
        {
            **NAMES,
            "update_name": "",
            "request_id": LONG,
            "input": LARGE,
            "wait": seconds(301),
        },
    ),
    (
        checks.check_get_snapshot,
        interaction_pb2.GetSnapshotRequest,
        {"workflow_id": "o"},
        NAMES,
    ),
    (
        checks.check_get_snapshot_value,
        interaction_pb2.GetSnapshotValueRequest,
        {"workflow_id": "o", "name": "n"},
        {**NAMES, "name": ""},
    ),
    (
        checks.check_get_result,
        workflow_service_pb2.GetWorkflowResultRequest,
        {"workflow_id": "o"},
        {**NAMES, "wait": seconds(301)},
    ),
    (
        checks.check_list,
        workflow_service_pb2.ListWorkflowsRequest,
        {},
        {"namespace": LONG, "workflow_type": LONG, "page_size": 1_001, "status": 77, "offset": -1},
    ),
    (
        checks.check_pause,
        workflow_service_pb2.PauseWorkflowRequest,
        {"workflow_id": "o"},
        {**NAMES, "request_id": LONG, "identity": LONG, "reason": "x" * 5_000},
    ),
    (
        checks.check_operation,
        workflow_service_pb2.ResetActivityRequest,
        {"workflow_id": "o", "activity_seq": 1},
        {**NAMES, "request_id": LONG, "identity": LONG, "reason": "x" * 5_000, "activity_seq": 0},
    ),
    (
        checks.check_update_options,
        workflow_service_pb2.UpdateActivityOptionsRequest,
        {"workflow_id": "o", "activity_seq": 1},
        {"workflow_id": "", "activity_seq": 0, "priority": 9},
    ),
    (
        checks.check_reset,
        workflow_service_pb2.ResetWorkflowRequest,
        {"workflow_id": "o", "event_seq": 1},
        {**NAMES, "request_id": LONG, "identity": LONG, "reason": "x" * 5_000, "event_seq": 0},
    ),
    (
        checks.check_retry,
        workflow_service_pb2.RetryFailedActivityRequest,
        {"workflow_id": "o", "requested_by": "ann", "reason": "fixed"},
        {**NAMES, "request_id": LONG, "requested_by": "", "reason": ""},
    ),
    (
        checks.check_continue_as_new,
        workflow_service_pb2.ContinueAsNewRequest,
        {"workflow_id": "o"},
        {
            **NAMES,
            "request_id": LONG,
            "workflow_type": LONG,
            "task_queue": LONG,
            "input": LARGE,
        },
    ),
    (
        checks.check_count_workflows,
        workflow_service_pb2.CountWorkflowsRequest,
        {},
        {"namespace": LONG},
    ),
    (
        checks.check_list_children,
        workflow_service_pb2.ListChildrenRequest,
        {"workflow_id": "o"},
        {**NAMES, "page_size": -1},
    ),
    (
        checks.check_get_history,
        workflow_service_pb2.GetWorkflowHistoryRequest,
        {"workflow_id": "o"},
        {**NAMES, "page_size": -1, "order": 7},
    ),
    (
        checks.check_explain,
        explanation_pb2.ExplainWorkflowRequest,
        {"workflow_id": "o"},
        NAMES,
    ),
    (
        checks.check_signal,
        workflow_service_pb2.SignalWorkflowRequest,
        {"workflow_id": "o", "signal_name": "go"},
        {**NAMES, "signal_name": "", "request_id": LONG, "payload": LARGE},
    ),
    (
        checks.check_cancel,
        workflow_service_pb2.CancelWorkflowRequest,
        {"workflow_id": "o"},
        {**NAMES, "reason": "x" * 4_097, "request_id": LONG, "deadline": PAST},
    ),
    (
        checks.check_terminate,
        workflow_service_pb2.TerminateWorkflowRequest,
        {"workflow_id": "o"},
        {**NAMES, "reason": "x" * 4_097, "request_id": LONG},
    ),
    (
        checks.check_schedule_activity,
        workflow_service_pb2.ScheduleActivityRequest,
        {"workflow_id": "o", "seq": EXTERNAL_SEQ_MAX, "name": "audit"},
        {
            **NAMES,
            "seq": 0,
            "name": "",
            "task_queue": LONG,
            "input": LARGE,
            "options": ActivityOptions(retry_policy=RetryPolicy(max_attempts=-1)),
            "headers": [Header()],
            "priority": 9,
            "request_id": LONG,
        },
    ),
    (
        checks.check_get_activity,
        workflow_service_pb2.GetActivityRequest,
        {"activity_id": "1x1.1.1.0.run-1"},
        {"activity_id": ""},
    ),
    (
        worker_checks.check_hello,
        worker_service_pb2.WorkHello,
        {"session_id": "s", "task_queue": "q", "workflow_types": ["checkout"]},
        {"session_id": "", "identity": LONG, "namespace": LONG, "task_queue": "", **TYPES},
    ),
    (
        worker_checks.check_stream_tasks,
        worker_service_pb2.StreamTasksRequest,
        {"worker_id": "w", "task_queue": "q"},
        {
            "worker_id": "",
            "namespace": LONG,
            "task_queue": "",
            "received_batch": 2**53,
            **TYPES,
        },
    ),
    (
        worker_checks.check_report,
        worker_service_pb2.ReportRequest,
        {"worker_id": "w", "reports": [TaskReport()]},
        {"worker_id": "", "reports": [TaskReport()] * 10_001},
    ),
    (
        worker_checks.check_poll_workflow_task,
        worker_service_pb2.PollWorkflowTaskRequest,
        {"worker_id": "w", "task_queue": "q"},
        WORKER,
    ),
    (
        worker_checks.check_poll_activity_task,
        worker_service_pb2.PollActivityTaskRequest,
        {"worker_id": "w", "task_queue": "q", "wait": seconds(300)},
        WORKER,
    ),
    (
        worker_checks.check_complete_workflow_task,
        worker_service_pb2.CompleteWorkflowTaskRequest,
        {"task_token": "t"},
        {
            "namespace": LONG,
            "workflow_id": LONG,
            "worker_id": LONG,
            "commands": [Command()] * 10_001,
            "task_token": "",
        },
    ),
    (
        worker_checks.check_get_workflow_task_history,
        worker_service_pb2.GetWorkflowTaskHistoryRequest,
        {"task_token": "t", "page_token": "p"},
        {"task_token": "", "page_token": ""},
    ),
    (
        worker_checks.check_register,
        worker_service_pb2.RegisterRequest,
        {"identity": "ann", "task_queue": "q"},
        {"identity": "", "namespace": LONG, "task_queue": "", **TYPES},
    ),
    (
        worker_checks.check_worker_heartbeat,
        worker_service_pb2.HeartbeatRequest,
        {"worker_id": "w"},
        {"worker_id": ""},
    ),
    (
        worker_checks.check_list_workers,
        worker_service_pb2.ListWorkersRequest,
        {},
        {"namespace": LONG, "page_size": 1_001},
    ),
    (
        worker_checks.check_watch,
        watch_service_pb2.WatchRequest,
        {"kinds": ["workflow_completed", "workflow_running"]},
        {"namespace": LONG, "workflow_id": LONG, "workflow_type": LONG, "kinds": ["nonsense"]},
    ),
    (
        worker_checks.check_watch_workflow,
        watch_service_pb2.WatchWorkflowRequest,
        {"workflow_id": "o", "after_seq": 3},
        {**NAMES, "after_seq": -1},
    ),
]


@pytest.mark.parametrize(("check", "request_type", "good", "_bad"), CASES)
def test_a_good_request_passes(
    check: Callable[[Any], None], request_type: type[Message], good: dict[str, Any], _bad: Any
) -> None:
    check(request_type(**good))


@pytest.mark.parametrize(
    ("check", "request_type", "good", "field", "value"),
    [
        pytest.param(check, request_type, good, field, value, id=f"{check.__name__}-{field}")
        for check, request_type, good, bad in CASES
        for field, value in bad.items()
    ],
)
def test_a_bad_field_is_named(
    check: Callable[[Any], None],
    request_type: type[Message],
    good: dict[str, Any],
    *,
    field: str,
    value: Any,
) -> None:
    with pytest.raises(InvalidRequest) as caught:
        check(request_type(**{**good, field: value}))
    assert field in caught.value.field or caught.value.field.startswith("priority")


def test_a_session_must_not_look_like_a_poll() -> None:
    hello = worker_service_pb2.WorkHello(session_id="poll:me", task_queue="q")
    with pytest.raises(InvalidRequest, match="kept for polls"):
        worker_checks.check_hello(hello)
    stream = worker_service_pb2.StreamTasksRequest(worker_id="poll:me", task_queue="q")
    with pytest.raises(InvalidRequest, match="kept for polls"):
        worker_checks.check_stream_tasks(stream)


def test_a_workflow_task_may_be_named_by_its_worker() -> None:
    request = worker_service_pb2.CompleteWorkflowTaskRequest(workflow_id="o", worker_id="w")
    worker_checks.check_complete_workflow_task(request)


def test_one_that_is_kept_is_named_by_its_token() -> None:
    request = worker_service_pb2.CompleteWorkflowTaskRequest(
        workflow_id="o", worker_id="w", keep_task=True
    )
    with pytest.raises(InvalidRequest, match="task_token: is required to keep the task"):
        worker_checks.check_complete_workflow_task(request)
    request.task_token = "t"
    worker_checks.check_complete_workflow_task(request)


def test_many_starts_are_bounded_by_their_bytes() -> None:
    start = START(input=Payload(data=b"x" * PAYLOAD_BYTES_MAX))
    request = workflow_service_pb2.StartWorkflowBatchRequest(starts=[start] * 8)
    with pytest.raises(LimitExceeded, match="the bound is 16,777,216"):
        checks.check_start_batch(request)


def test_the_number_of_an_activity_from_outside_is_bounded() -> None:
    request = workflow_service_pb2.ScheduleActivityRequest(
        workflow_id="o", seq=EXTERNAL_SEQ_MAX + 1, name="audit"
    )
    with pytest.raises(LimitExceeded, match="the bound is 9007199254740991"):
        checks.check_schedule_activity(request)
