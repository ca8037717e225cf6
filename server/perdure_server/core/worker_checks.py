"""Owns what a request of WorkerService or WatchService may say: one function per RPC.

The rest is as in `checks`.

Reports are checked where they are decided, since each stands or falls alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from perdure.v1.history_pb2 import HistoryEvent
from perdure.v1.watch_service_pb2 import WatchRequest, WatchWorkflowRequest
from perdure.v1.worker_service_pb2 import (
    CompleteWorkflowTaskRequest,
    GetWorkflowTaskHistoryRequest,
    HeartbeatRequest,
    ListWorkersRequest,
    PollActivityTaskRequest,
    PollWorkflowTaskRequest,
    RegisterRequest,
    ReportRequest,
    StreamTasksRequest,
    WorkHello,
    WorkSlots,
)
from perdure_server.core.errors import InvalidRequest
from perdure_server.core.fields import (
    check_count,
    check_id,
    check_page_size,
    check_wait,
    require_id,
)
from perdure_server.core.limits import (
    BATCH_MAX,
    COMMANDS_MAX,
    POLL_SESSION_PREFIX,
    SLOTS_MAX,
    TYPES_MAX,
)

EVENT_KINDS: Final = frozenset(
    field.name for field in HistoryEvent.DESCRIPTOR.oneofs_by_name["event"].fields
)
"""What an event can be: the names of the oneof."""
NOTICE_KINDS: Final = frozenset({"workflow_running", "workflow_continued", "schedule_triggered"})
"""What a watcher may ask for besides events."""


def check_hello(hello: WorkHello) -> None:
    """Checks the first message of Work."""
    _check_session_id("hello.session_id", hello.session_id)
    check_id("hello.identity", hello.identity)
    check_id("hello.namespace", hello.namespace)
    require_id("hello.task_queue", hello.task_queue)
    _check_types("hello.workflow_types", hello.workflow_types)
    _check_types("hello.activity_types", hello.activity_types)
    check_slots("hello.slots", hello.slots)


def check_slots(field: str, slots: WorkSlots) -> None:
    """Checks how many tasks a worker takes at once."""
    check_count(f"{field}.workflow_tasks", slots.workflow_tasks, SLOTS_MAX)
    check_count(f"{field}.activity_tasks", slots.activity_tasks, SLOTS_MAX)


def check_stream_tasks(request: StreamTasksRequest) -> None:
    """Checks StreamTasks."""
    _check_session_id("worker_id", request.worker_id)
    check_id("namespace", request.namespace)
    require_id("task_queue", request.task_queue)
    _check_types("workflow_types", request.workflow_types)
    _check_types("activity_types", request.activity_types)
    check_slots("slots", request.slots)
    check_count("received_batch", request.received_batch, BATCH_MAX)


def check_report(request: ReportRequest) -> None:
    """Checks Report, but none of the reports in it."""
    require_id("worker_id", request.worker_id)
    check_count("reports", len(request.reports), SLOTS_MAX)


def check_poll_workflow_task(request: PollWorkflowTaskRequest) -> None:
    """Checks PollWorkflowTask."""
    _check_poll(request)


def check_poll_activity_task(request: PollActivityTaskRequest) -> None:
    """Checks PollActivityTask."""
    _check_poll(request)


def check_complete_workflow_task(request: CompleteWorkflowTaskRequest) -> None:
    """Checks CompleteWorkflowTask, but none of the commands in it."""
    check_id("namespace", request.namespace)
    check_id("workflow_id", request.workflow_id)
    check_id("worker_id", request.worker_id)
    check_count("commands", len(request.commands), COMMANDS_MAX)
    if not request.task_token and not (request.workflow_id and request.worker_id):
        raise InvalidRequest("is required, or else workflow_id and worker_id", "task_token")
    if request.keep_task and not request.task_token:
        raise InvalidRequest("is required to keep the task: it tells what was seen", "task_token")


def check_get_workflow_task_history(request: GetWorkflowTaskHistoryRequest) -> None:
    """Checks GetWorkflowTaskHistory."""
    if not request.task_token:
        raise InvalidRequest("is required", "task_token")
    if not request.page_token:
        raise InvalidRequest("is required", "page_token")


def check_register(request: RegisterRequest) -> None:
    """Checks Register."""
    require_id("identity", request.identity)
    check_id("namespace", request.namespace)
    require_id("task_queue", request.task_queue)
    _check_types("workflow_types", request.workflow_types)
    _check_types("activity_types", request.activity_types)
    check_slots("slots", request.slots)


def check_worker_heartbeat(request: HeartbeatRequest) -> None:
    """Checks Heartbeat."""
    require_id("worker_id", request.worker_id)


def check_list_workers(request: ListWorkersRequest) -> None:
    """Checks ListWorkers."""
    check_id("namespace", request.namespace)
    check_page_size(request.page_size)


def check_watch(request: WatchRequest) -> None:
    """Checks Watch."""
    check_id("namespace", request.namespace)
    check_id("workflow_id", request.workflow_id)
    check_id("workflow_type", request.workflow_type)
    for index, kind in enumerate(request.kinds):
        if kind not in EVENT_KINDS | NOTICE_KINDS:
            raise InvalidRequest(f"is {kind!r}, which no event is", f"kinds[{index}]")


def check_watch_workflow(request: WatchWorkflowRequest) -> None:
    """Checks WatchWorkflow."""
    check_id("namespace", request.namespace)
    require_id("workflow_id", request.workflow_id)
    check_id("run_id", request.run_id)
    if request.after_seq < 0:
        raise InvalidRequest(f"is {request.after_seq}; it must not be negative", "after_seq")


def _check_session_id(field: str, session_id: str) -> None:
    require_id(field, session_id)
    if session_id.startswith(POLL_SESSION_PREFIX):
        problem = f"begins with {POLL_SESSION_PREFIX!r}, which is kept for polls"
        raise InvalidRequest(problem, field)


def _check_poll(request: PollWorkflowTaskRequest | PollActivityTaskRequest) -> None:
    check_id("namespace", request.namespace)
    require_id("task_queue", request.task_queue)
    require_id("worker_id", request.worker_id)
    check_wait("wait", request.wait)


def _check_types(field: str, types: Iterable[str]) -> None:
    """Checks a list of names."""
    names = list(types)
    check_count(field, len(names), TYPES_MAX)
    for index, name in enumerate(names):
        require_id(f"{field}[{index}]", name)
