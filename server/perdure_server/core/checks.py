"""Owns what a request of WorkflowService may say: one function per RPC.

Each returns when the request is good and otherwise raises `InvalidRequest`, `LimitExceeded` or
`PayloadTooLarge`, naming the field, the bound and the value. What the state of a run forbids is
decided elsewhere.
"""

from __future__ import annotations

from typing import Protocol

from perdure.v1.explanation_pb2 import ExplainWorkflowRequest
from perdure.v1.interaction_pb2 import (
    GetSnapshotRequest,
    GetSnapshotValueRequest,
    QueryMode,
    QueryWorkflowRequest,
    UpdateWorkflowRequest,
)
from perdure.v1.workflow_pb2 import ConflictPolicy, ReusePolicy, WorkflowStatus
from perdure.v1.workflow_service_pb2 import (
    CancelWorkflowRequest,
    ContinueAsNewRequest,
    CountWorkflowsRequest,
    ExecuteWorkflowRequest,
    GetActivityRequest,
    GetWorkflowHistoryRequest,
    GetWorkflowRequest,
    GetWorkflowResultRequest,
    HistoryOrder,
    ListChildrenRequest,
    ListWorkflowsRequest,
    PauseWorkflowRequest,
    ResetWorkflowRequest,
    RetryFailedActivityRequest,
    ScheduleActivityRequest,
    SignalWithStartRequest,
    SignalWorkflowRequest,
    StartWorkflowBatchRequest,
    StartWorkflowRequest,
    TerminateWorkflowRequest,
    UnpauseWorkflowRequest,
    UpdateActivityOptionsRequest,
    UpdateWithStartRequest,
)
from perdure_server.core.attributes import check_attributes, check_labels
from perdure_server.core.errors import InvalidRequest, LimitExceeded
from perdure_server.core.fields import (
    check_activity,
    check_activity_options,
    check_count,
    check_duration,
    check_headers,
    check_id,
    check_page_size,
    check_payload,
    check_priority,
    check_reason,
    check_retry_policy,
    check_wait,
    require_id,
)
from perdure_server.core.limits import (
    EXTERNAL_SEQ_MAX,
    OFFSET_MAX,
    START_BATCH_BYTES_MAX,
    START_BATCH_MAX,
)


class _NamesWorkflow(Protocol):
    """A request about one workflow."""

    namespace: str
    workflow_id: str
    run_id: str


class _NamesActivity(_NamesWorkflow, Protocol):
    """A request of an operator about one activity."""

    activity_seq: int
    reason: str
    request_id: str
    identity: str


def check_start(request: StartWorkflowRequest) -> None:
    """Checks StartWorkflow."""
    check_id("namespace", request.namespace)
    check_id("workflow_id", request.workflow_id)
    require_id("workflow_type", request.workflow_type)
    check_id("task_queue", request.task_queue)
    check_id("request_id", request.request_id)
    check_payload("input", request.input)
    check_headers("headers", request.headers)
    check_priority("priority", request.priority)
    check_labels(request)
    if request.conflict_policy not in ConflictPolicy.values():
        raise InvalidRequest(f"is {request.conflict_policy}, an unknown policy", "conflict_policy")
    if request.reuse_policy not in ReusePolicy.values():
        raise InvalidRequest(f"is {request.reuse_policy}, an unknown policy", "reuse_policy")
    if request.HasField("retry_policy"):
        check_retry_policy("retry_policy", request.retry_policy)
    if request.HasField("execution_timeout"):
        check_duration("execution_timeout", request.execution_timeout)
    if request.HasField("run_timeout"):
        check_duration("run_timeout", request.run_timeout)
    if request.HasField("start_delay"):
        check_duration("start_delay", request.start_delay)


def check_execute(request: ExecuteWorkflowRequest) -> None:
    """Checks ExecuteWorkflow."""
    check_start(request.start)
    check_wait("wait", request.wait)


def check_start_batch(request: StartWorkflowBatchRequest) -> None:
    """Checks StartWorkflowBatch as a whole; each start is checked when its turn comes."""
    if (count := len(request.starts)) > START_BATCH_MAX:
        raise LimitExceeded(f"has {count:,} starts; the bound is {START_BATCH_MAX:,}", "starts")
    if (size := request.ByteSize()) > START_BATCH_BYTES_MAX:
        raise LimitExceeded(f"has {size:,} bytes; the bound is {START_BATCH_BYTES_MAX:,}", "starts")


def check_get(request: GetWorkflowRequest) -> None:
    """Checks GetWorkflow."""
    _check_names(request)


def check_get_result(request: GetWorkflowResultRequest) -> None:
    """Checks GetWorkflowResult."""
    _check_names(request)
    check_wait("wait", request.wait)


def check_list(request: ListWorkflowsRequest) -> None:
    """Checks ListWorkflows."""
    check_id("namespace", request.namespace)
    check_id("workflow_type", request.workflow_type)
    check_page_size(request.page_size)
    check_count("offset", request.offset, OFFSET_MAX)
    check_attributes("search_attributes", request.search_attributes)
    if request.status not in WorkflowStatus.values():
        raise InvalidRequest(f"is {request.status}, an unknown status", "status")


def check_count_workflows(request: CountWorkflowsRequest) -> None:
    """Checks CountWorkflows. The filter is read where it is used."""
    check_id("namespace", request.namespace)


def check_list_children(request: ListChildrenRequest) -> None:
    """Checks ListChildren."""
    _check_names(request)
    check_page_size(request.page_size)


def check_get_history(request: GetWorkflowHistoryRequest) -> None:
    """Checks GetWorkflowHistory."""
    _check_names(request)
    check_page_size(request.page_size)
    if request.order not in HistoryOrder.values():
        raise InvalidRequest(f"is {request.order}, an unknown order", "order")


def check_get_snapshot(request: GetSnapshotRequest) -> None:
    """Checks GetSnapshot."""
    _check_names(request)


def check_get_snapshot_value(request: GetSnapshotValueRequest) -> None:
    """Checks GetSnapshotValue."""
    _check_names(request)
    if not request.name:
        raise InvalidRequest("is required", "name")


def check_explain(request: ExplainWorkflowRequest) -> None:
    """Checks ExplainWorkflow."""
    _check_names(request)


def check_signal_with_start(request: SignalWithStartRequest) -> None:
    """Checks SignalWithStart."""
    check_start(request.start)
    require_id("signal_name", request.signal_name)
    check_payload("payload", request.payload)


def check_update_with_start(request: UpdateWithStartRequest) -> None:
    """Checks UpdateWithStart."""
    check_start(request.start)
    require_id("update_name", request.update_name)
    check_payload("input", request.input)
    check_wait("wait", request.wait)


def check_update(request: UpdateWorkflowRequest) -> None:
    """Checks UpdateWorkflow."""
    _check_names(request)
    require_id("update_name", request.update_name)
    check_id("request_id", request.request_id)
    check_payload("input", request.input)
    check_wait("wait", request.wait)


def check_query(request: QueryWorkflowRequest) -> None:
    """Checks QueryWorkflow."""
    _check_names(request)
    require_id("query_name", request.query_name)
    check_payload("input", request.input)
    check_wait("wait", request.wait)
    if request.mode not in QueryMode.values():
        raise InvalidRequest(f"is {request.mode}, an unknown mode", "mode")
    if request.mode == QueryMode.QUERY_MODE_SNAPSHOT and request.HasField("input"):
        raise InvalidRequest("cannot be given with a snapshot, which was made before", "input")


def check_signal(request: SignalWorkflowRequest) -> None:
    """Checks SignalWorkflow."""
    _check_names(request)
    require_id("signal_name", request.signal_name)
    check_id("request_id", request.request_id)
    check_payload("payload", request.payload)


def check_pause(request: PauseWorkflowRequest | UnpauseWorkflowRequest) -> None:
    """Checks PauseWorkflow and UnpauseWorkflow."""
    _check_names(request)
    check_id("request_id", request.request_id)
    check_id("identity", request.identity)
    check_reason("reason", request.reason)


def check_continue_as_new(request: ContinueAsNewRequest) -> None:
    """Checks ContinueAsNew."""
    _check_names(request)
    check_id("request_id", request.request_id)
    check_id("workflow_type", request.workflow_type)
    check_id("task_queue", request.task_queue)
    check_payload("input", request.input)


def check_reset(request: ResetWorkflowRequest) -> None:
    """Checks ResetWorkflow; which events there are is known later."""
    _check_names(request)
    check_id("request_id", request.request_id)
    check_id("identity", request.identity)
    check_reason("reason", request.reason)
    if request.event_seq < 1:
        raise InvalidRequest(f"is {request.event_seq}; events count from 1", "event_seq")


def check_retry(request: RetryFailedActivityRequest) -> None:
    """Checks RetryFailedActivity."""
    _check_names(request)
    check_id("request_id", request.request_id)
    require_id("requested_by", request.requested_by)
    if not request.reason:
        raise InvalidRequest("is required", "reason")
    check_reason("reason", request.reason)


def check_operation(request: _NamesActivity) -> None:
    """Checks PauseActivity, UnpauseActivity and ResetActivity."""
    _check_names(request)
    check_id("request_id", request.request_id)
    check_id("identity", request.identity)
    check_reason("reason", request.reason)
    if not request.activity_seq:
        raise InvalidRequest("is required", "activity_seq")


def check_update_options(request: UpdateActivityOptionsRequest) -> None:
    """Checks UpdateActivityOptions."""
    check_operation(request)
    check_priority("priority", request.priority)
    check_activity_options("options", request.options)


def check_cancel(request: CancelWorkflowRequest) -> None:
    """Checks CancelWorkflow."""
    _check_names(request)
    check_id("request_id", request.request_id)
    check_reason("reason", request.reason)
    check_duration("deadline", request.deadline)


def check_terminate(request: TerminateWorkflowRequest) -> None:
    """Checks TerminateWorkflow."""
    _check_names(request)
    check_id("request_id", request.request_id)
    check_reason("reason", request.reason)


def check_schedule_activity(request: ScheduleActivityRequest) -> None:
    """Checks ScheduleActivity."""
    _check_names(request)
    if request.seq < 1:
        raise InvalidRequest(f"is {request.seq}; activities are numbered from 1", "seq")
    if request.seq > EXTERNAL_SEQ_MAX:
        raise LimitExceeded(f"is {request.seq}; the bound is {EXTERNAL_SEQ_MAX}", "seq")
    check_activity(request)
    check_id("request_id", request.request_id)


def check_get_activity(request: GetActivityRequest) -> None:
    """Checks GetActivity. What the id says is read where it is used."""
    if not request.activity_id:
        raise InvalidRequest("is required", "activity_id")


def _check_names(request: _NamesWorkflow) -> None:
    check_id("namespace", request.namespace)
    require_id("workflow_id", request.workflow_id)
    check_id("run_id", request.run_id)
