import datetime

from google.api import annotations_pb2 as _annotations_pb2
from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from perdure.v1 import command_pb2 as _command_pb2
from perdure.v1 import failure_pb2 as _failure_pb2
from perdure.v1 import history_pb2 as _history_pb2
from perdure.v1 import interaction_pb2 as _interaction_pb2
from perdure.v1 import payload_pb2 as _payload_pb2
from perdure.v1 import rest_pb2 as _rest_pb2
from perdure.v1 import task_pb2 as _task_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class WorkRequest(_message.Message):
    __slots__ = ("hello", "slots", "reports", "received_batch", "ping", "evicted_run_ids", "draining", "query_answers")
    HELLO_FIELD_NUMBER: _ClassVar[int]
    SLOTS_FIELD_NUMBER: _ClassVar[int]
    REPORTS_FIELD_NUMBER: _ClassVar[int]
    RECEIVED_BATCH_FIELD_NUMBER: _ClassVar[int]
    PING_FIELD_NUMBER: _ClassVar[int]
    EVICTED_RUN_IDS_FIELD_NUMBER: _ClassVar[int]
    DRAINING_FIELD_NUMBER: _ClassVar[int]
    QUERY_ANSWERS_FIELD_NUMBER: _ClassVar[int]
    hello: WorkHello
    slots: WorkSlots
    reports: _containers.RepeatedCompositeFieldContainer[TaskReport]
    received_batch: int
    ping: int
    evicted_run_ids: _containers.RepeatedScalarFieldContainer[str]
    draining: bool
    query_answers: _containers.RepeatedCompositeFieldContainer[QueryAnswer]
    def __init__(self, hello: _Optional[_Union[WorkHello, _Mapping]] = ..., slots: _Optional[_Union[WorkSlots, _Mapping]] = ..., reports: _Optional[_Iterable[_Union[TaskReport, _Mapping]]] = ..., received_batch: _Optional[int] = ..., ping: _Optional[int] = ..., evicted_run_ids: _Optional[_Iterable[str]] = ..., draining: _Optional[bool] = ..., query_answers: _Optional[_Iterable[_Union[QueryAnswer, _Mapping]]] = ...) -> None: ...

class QueryAnswer(_message.Message):
    __slots__ = ("query_id", "outcome")
    QUERY_ID_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    query_id: int
    outcome: _interaction_pb2.QueryOutcome
    def __init__(self, query_id: _Optional[int] = ..., outcome: _Optional[_Union[_interaction_pb2.QueryOutcome, _Mapping]] = ...) -> None: ...

class WorkHello(_message.Message):
    __slots__ = ("session_id", "identity", "namespace", "task_queue", "workflow_types", "activity_types", "slots", "held_task_tokens", "cached_runs", "answers_queries")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    IDENTITY_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    TASK_QUEUE_FIELD_NUMBER: _ClassVar[int]
    WORKFLOW_TYPES_FIELD_NUMBER: _ClassVar[int]
    ACTIVITY_TYPES_FIELD_NUMBER: _ClassVar[int]
    SLOTS_FIELD_NUMBER: _ClassVar[int]
    HELD_TASK_TOKENS_FIELD_NUMBER: _ClassVar[int]
    CACHED_RUNS_FIELD_NUMBER: _ClassVar[int]
    ANSWERS_QUERIES_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    identity: str
    namespace: str
    task_queue: str
    workflow_types: _containers.RepeatedScalarFieldContainer[str]
    activity_types: _containers.RepeatedScalarFieldContainer[str]
    slots: WorkSlots
    held_task_tokens: _containers.RepeatedScalarFieldContainer[str]
    cached_runs: _containers.RepeatedCompositeFieldContainer[CachedRun]
    answers_queries: bool
    def __init__(self, session_id: _Optional[str] = ..., identity: _Optional[str] = ..., namespace: _Optional[str] = ..., task_queue: _Optional[str] = ..., workflow_types: _Optional[_Iterable[str]] = ..., activity_types: _Optional[_Iterable[str]] = ..., slots: _Optional[_Union[WorkSlots, _Mapping]] = ..., held_task_tokens: _Optional[_Iterable[str]] = ..., cached_runs: _Optional[_Iterable[_Union[CachedRun, _Mapping]]] = ..., answers_queries: _Optional[bool] = ...) -> None: ...

class WorkSlots(_message.Message):
    __slots__ = ("workflow_tasks", "activity_tasks")
    WORKFLOW_TASKS_FIELD_NUMBER: _ClassVar[int]
    ACTIVITY_TASKS_FIELD_NUMBER: _ClassVar[int]
    workflow_tasks: int
    activity_tasks: int
    def __init__(self, workflow_tasks: _Optional[int] = ..., activity_tasks: _Optional[int] = ...) -> None: ...

class CachedRun(_message.Message):
    __slots__ = ("run_id", "last_seq")
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    LAST_SEQ_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    last_seq: int
    def __init__(self, run_id: _Optional[str] = ..., last_seq: _Optional[int] = ...) -> None: ...

class TaskReport(_message.Message):
    __slots__ = ("report_id", "task_token", "workflow_task_completed", "workflow_task_failed", "workflow_task_cache_miss", "activity_completed", "activity_failed", "activity_heartbeat", "activity_detached")
    REPORT_ID_FIELD_NUMBER: _ClassVar[int]
    TASK_TOKEN_FIELD_NUMBER: _ClassVar[int]
    WORKFLOW_TASK_COMPLETED_FIELD_NUMBER: _ClassVar[int]
    WORKFLOW_TASK_FAILED_FIELD_NUMBER: _ClassVar[int]
    WORKFLOW_TASK_CACHE_MISS_FIELD_NUMBER: _ClassVar[int]
    ACTIVITY_COMPLETED_FIELD_NUMBER: _ClassVar[int]
    ACTIVITY_FAILED_FIELD_NUMBER: _ClassVar[int]
    ACTIVITY_HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    ACTIVITY_DETACHED_FIELD_NUMBER: _ClassVar[int]
    report_id: int
    task_token: str
    workflow_task_completed: WorkflowTaskCompletion
    workflow_task_failed: WorkflowTaskFailure
    workflow_task_cache_miss: WorkflowTaskCacheMiss
    activity_completed: ActivityCompletion
    activity_failed: ActivityFailure
    activity_heartbeat: ActivityHeartbeat
    activity_detached: ActivityDetached
    def __init__(self, report_id: _Optional[int] = ..., task_token: _Optional[str] = ..., workflow_task_completed: _Optional[_Union[WorkflowTaskCompletion, _Mapping]] = ..., workflow_task_failed: _Optional[_Union[WorkflowTaskFailure, _Mapping]] = ..., workflow_task_cache_miss: _Optional[_Union[WorkflowTaskCacheMiss, _Mapping]] = ..., activity_completed: _Optional[_Union[ActivityCompletion, _Mapping]] = ..., activity_failed: _Optional[_Union[ActivityFailure, _Mapping]] = ..., activity_heartbeat: _Optional[_Union[ActivityHeartbeat, _Mapping]] = ..., activity_detached: _Optional[_Union[ActivityDetached, _Mapping]] = ...) -> None: ...

class WorkflowTaskCompletion(_message.Message):
    __slots__ = ("commands", "keep_task")
    COMMANDS_FIELD_NUMBER: _ClassVar[int]
    KEEP_TASK_FIELD_NUMBER: _ClassVar[int]
    commands: _containers.RepeatedCompositeFieldContainer[_command_pb2.Command]
    keep_task: bool
    def __init__(self, commands: _Optional[_Iterable[_Union[_command_pb2.Command, _Mapping]]] = ..., keep_task: _Optional[bool] = ...) -> None: ...

class WorkflowTaskFailure(_message.Message):
    __slots__ = ("failure",)
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    failure: _failure_pb2.Failure
    def __init__(self, failure: _Optional[_Union[_failure_pb2.Failure, _Mapping]] = ...) -> None: ...

class WorkflowTaskCacheMiss(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ActivityCompletion(_message.Message):
    __slots__ = ("result",)
    RESULT_FIELD_NUMBER: _ClassVar[int]
    result: _payload_pb2.Payload
    def __init__(self, result: _Optional[_Union[_payload_pb2.Payload, _Mapping]] = ...) -> None: ...

class ActivityFailure(_message.Message):
    __slots__ = ("failure",)
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    failure: _failure_pb2.Failure
    def __init__(self, failure: _Optional[_Union[_failure_pb2.Failure, _Mapping]] = ...) -> None: ...

class ActivityHeartbeat(_message.Message):
    __slots__ = ("details",)
    DETAILS_FIELD_NUMBER: _ClassVar[int]
    details: _payload_pb2.Payload
    def __init__(self, details: _Optional[_Union[_payload_pb2.Payload, _Mapping]] = ...) -> None: ...

class ActivityDetached(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ReportResult(_message.Message):
    __slots__ = ("report_id", "reason", "message", "cancel_requested", "kept")
    REPORT_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    CANCEL_REQUESTED_FIELD_NUMBER: _ClassVar[int]
    KEPT_FIELD_NUMBER: _ClassVar[int]
    report_id: int
    reason: str
    message: str
    cancel_requested: bool
    kept: KeptTask
    def __init__(self, report_id: _Optional[int] = ..., reason: _Optional[str] = ..., message: _Optional[str] = ..., cancel_requested: _Optional[bool] = ..., kept: _Optional[_Union[KeptTask, _Mapping]] = ...) -> None: ...

class WorkResponse(_message.Message):
    __slots__ = ("welcome", "batch", "workflow_tasks", "activity_tasks", "results", "cancels", "pong", "evict_run_ids", "draining", "queries", "kept_tasks")
    WELCOME_FIELD_NUMBER: _ClassVar[int]
    BATCH_FIELD_NUMBER: _ClassVar[int]
    WORKFLOW_TASKS_FIELD_NUMBER: _ClassVar[int]
    ACTIVITY_TASKS_FIELD_NUMBER: _ClassVar[int]
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    CANCELS_FIELD_NUMBER: _ClassVar[int]
    PONG_FIELD_NUMBER: _ClassVar[int]
    EVICT_RUN_IDS_FIELD_NUMBER: _ClassVar[int]
    DRAINING_FIELD_NUMBER: _ClassVar[int]
    QUERIES_FIELD_NUMBER: _ClassVar[int]
    KEPT_TASKS_FIELD_NUMBER: _ClassVar[int]
    welcome: WorkWelcome
    batch: int
    workflow_tasks: _containers.RepeatedCompositeFieldContainer[_task_pb2.WorkflowTask]
    activity_tasks: _containers.RepeatedCompositeFieldContainer[_task_pb2.ActivityTask]
    results: _containers.RepeatedCompositeFieldContainer[ReportResult]
    cancels: _containers.RepeatedCompositeFieldContainer[ActivityCancelNotice]
    pong: int
    evict_run_ids: _containers.RepeatedScalarFieldContainer[str]
    draining: bool
    queries: _containers.RepeatedCompositeFieldContainer[_task_pb2.QueryTask]
    kept_tasks: _containers.RepeatedCompositeFieldContainer[KeptTask]
    def __init__(self, welcome: _Optional[_Union[WorkWelcome, _Mapping]] = ..., batch: _Optional[int] = ..., workflow_tasks: _Optional[_Iterable[_Union[_task_pb2.WorkflowTask, _Mapping]]] = ..., activity_tasks: _Optional[_Iterable[_Union[_task_pb2.ActivityTask, _Mapping]]] = ..., results: _Optional[_Iterable[_Union[ReportResult, _Mapping]]] = ..., cancels: _Optional[_Iterable[_Union[ActivityCancelNotice, _Mapping]]] = ..., pong: _Optional[int] = ..., evict_run_ids: _Optional[_Iterable[str]] = ..., draining: _Optional[bool] = ..., queries: _Optional[_Iterable[_Union[_task_pb2.QueryTask, _Mapping]]] = ..., kept_tasks: _Optional[_Iterable[_Union[KeptTask, _Mapping]]] = ...) -> None: ...

class KeptTask(_message.Message):
    __slots__ = ("task_token", "run_id", "history")
    TASK_TOKEN_FIELD_NUMBER: _ClassVar[int]
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    HISTORY_FIELD_NUMBER: _ClassVar[int]
    task_token: str
    run_id: str
    history: _history_pb2.History
    def __init__(self, task_token: _Optional[str] = ..., run_id: _Optional[str] = ..., history: _Optional[_Union[_history_pb2.History, _Mapping]] = ...) -> None: ...

class WorkWelcome(_message.Message):
    __slots__ = ("lost_task_tokens", "server_id")
    LOST_TASK_TOKENS_FIELD_NUMBER: _ClassVar[int]
    SERVER_ID_FIELD_NUMBER: _ClassVar[int]
    lost_task_tokens: _containers.RepeatedScalarFieldContainer[str]
    server_id: str
    def __init__(self, lost_task_tokens: _Optional[_Iterable[str]] = ..., server_id: _Optional[str] = ...) -> None: ...

class ActivityCancelNotice(_message.Message):
    __slots__ = ("task_token", "reason")
    TASK_TOKEN_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    task_token: str
    reason: str
    def __init__(self, task_token: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class StreamTasksRequest(_message.Message):
    __slots__ = ("worker_id", "namespace", "task_queue", "workflow_types", "activity_types", "slots", "received_batch")
    WORKER_ID_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    TASK_QUEUE_FIELD_NUMBER: _ClassVar[int]
    WORKFLOW_TYPES_FIELD_NUMBER: _ClassVar[int]
    ACTIVITY_TYPES_FIELD_NUMBER: _ClassVar[int]
    SLOTS_FIELD_NUMBER: _ClassVar[int]
    RECEIVED_BATCH_FIELD_NUMBER: _ClassVar[int]
    worker_id: str
    namespace: str
    task_queue: str
    workflow_types: _containers.RepeatedScalarFieldContainer[str]
    activity_types: _containers.RepeatedScalarFieldContainer[str]
    slots: WorkSlots
    received_batch: int
    def __init__(self, worker_id: _Optional[str] = ..., namespace: _Optional[str] = ..., task_queue: _Optional[str] = ..., workflow_types: _Optional[_Iterable[str]] = ..., activity_types: _Optional[_Iterable[str]] = ..., slots: _Optional[_Union[WorkSlots, _Mapping]] = ..., received_batch: _Optional[int] = ...) -> None: ...

class StreamTasksResponse(_message.Message):
    __slots__ = ("workflow_tasks", "activity_tasks", "cancels", "batch")
    WORKFLOW_TASKS_FIELD_NUMBER: _ClassVar[int]
    ACTIVITY_TASKS_FIELD_NUMBER: _ClassVar[int]
    CANCELS_FIELD_NUMBER: _ClassVar[int]
    BATCH_FIELD_NUMBER: _ClassVar[int]
    workflow_tasks: _containers.RepeatedCompositeFieldContainer[_task_pb2.WorkflowTask]
    activity_tasks: _containers.RepeatedCompositeFieldContainer[_task_pb2.ActivityTask]
    cancels: _containers.RepeatedCompositeFieldContainer[ActivityCancelNotice]
    batch: int
    def __init__(self, workflow_tasks: _Optional[_Iterable[_Union[_task_pb2.WorkflowTask, _Mapping]]] = ..., activity_tasks: _Optional[_Iterable[_Union[_task_pb2.ActivityTask, _Mapping]]] = ..., cancels: _Optional[_Iterable[_Union[ActivityCancelNotice, _Mapping]]] = ..., batch: _Optional[int] = ...) -> None: ...

class ReportRequest(_message.Message):
    __slots__ = ("worker_id", "reports")
    WORKER_ID_FIELD_NUMBER: _ClassVar[int]
    REPORTS_FIELD_NUMBER: _ClassVar[int]
    worker_id: str
    reports: _containers.RepeatedCompositeFieldContainer[TaskReport]
    def __init__(self, worker_id: _Optional[str] = ..., reports: _Optional[_Iterable[_Union[TaskReport, _Mapping]]] = ...) -> None: ...

class ReportResponse(_message.Message):
    __slots__ = ("results",)
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[ReportResult]
    def __init__(self, results: _Optional[_Iterable[_Union[ReportResult, _Mapping]]] = ...) -> None: ...

class GetWorkflowTaskHistoryRequest(_message.Message):
    __slots__ = ("task_token", "page_token")
    TASK_TOKEN_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    task_token: str
    page_token: str
    def __init__(self, task_token: _Optional[str] = ..., page_token: _Optional[str] = ...) -> None: ...

class GetWorkflowTaskHistoryResponse(_message.Message):
    __slots__ = ("history", "next_page_token")
    HISTORY_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    history: _history_pb2.History
    next_page_token: str
    def __init__(self, history: _Optional[_Union[_history_pb2.History, _Mapping]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class PollWorkflowTaskRequest(_message.Message):
    __slots__ = ("namespace", "task_queue", "worker_id", "wait")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    TASK_QUEUE_FIELD_NUMBER: _ClassVar[int]
    WORKER_ID_FIELD_NUMBER: _ClassVar[int]
    WAIT_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    task_queue: str
    worker_id: str
    wait: _duration_pb2.Duration
    def __init__(self, namespace: _Optional[str] = ..., task_queue: _Optional[str] = ..., worker_id: _Optional[str] = ..., wait: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class PollWorkflowTaskResponse(_message.Message):
    __slots__ = ("task",)
    TASK_FIELD_NUMBER: _ClassVar[int]
    task: _task_pb2.WorkflowTask
    def __init__(self, task: _Optional[_Union[_task_pb2.WorkflowTask, _Mapping]] = ...) -> None: ...

class CompleteWorkflowTaskRequest(_message.Message):
    __slots__ = ("namespace", "workflow_id", "worker_id", "task_token", "commands", "keep_task")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    WORKFLOW_ID_FIELD_NUMBER: _ClassVar[int]
    WORKER_ID_FIELD_NUMBER: _ClassVar[int]
    TASK_TOKEN_FIELD_NUMBER: _ClassVar[int]
    COMMANDS_FIELD_NUMBER: _ClassVar[int]
    KEEP_TASK_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    workflow_id: str
    worker_id: str
    task_token: str
    commands: _containers.RepeatedCompositeFieldContainer[_command_pb2.Command]
    keep_task: bool
    def __init__(self, namespace: _Optional[str] = ..., workflow_id: _Optional[str] = ..., worker_id: _Optional[str] = ..., task_token: _Optional[str] = ..., commands: _Optional[_Iterable[_Union[_command_pb2.Command, _Mapping]]] = ..., keep_task: _Optional[bool] = ...) -> None: ...

class CompleteWorkflowTaskResponse(_message.Message):
    __slots__ = ("kept",)
    KEPT_FIELD_NUMBER: _ClassVar[int]
    kept: KeptTask
    def __init__(self, kept: _Optional[_Union[KeptTask, _Mapping]] = ...) -> None: ...

class FailWorkflowTaskRequest(_message.Message):
    __slots__ = ("task_token", "failure")
    TASK_TOKEN_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    task_token: str
    failure: _failure_pb2.Failure
    def __init__(self, task_token: _Optional[str] = ..., failure: _Optional[_Union[_failure_pb2.Failure, _Mapping]] = ...) -> None: ...

class FailWorkflowTaskResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class PollActivityTaskRequest(_message.Message):
    __slots__ = ("namespace", "task_queue", "worker_id", "wait")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    TASK_QUEUE_FIELD_NUMBER: _ClassVar[int]
    WORKER_ID_FIELD_NUMBER: _ClassVar[int]
    WAIT_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    task_queue: str
    worker_id: str
    wait: _duration_pb2.Duration
    def __init__(self, namespace: _Optional[str] = ..., task_queue: _Optional[str] = ..., worker_id: _Optional[str] = ..., wait: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class PollActivityTaskResponse(_message.Message):
    __slots__ = ("task",)
    TASK_FIELD_NUMBER: _ClassVar[int]
    task: _task_pb2.ActivityTask
    def __init__(self, task: _Optional[_Union[_task_pb2.ActivityTask, _Mapping]] = ...) -> None: ...

class CompleteActivityRequest(_message.Message):
    __slots__ = ("task_token", "result")
    TASK_TOKEN_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    task_token: str
    result: _payload_pb2.Payload
    def __init__(self, task_token: _Optional[str] = ..., result: _Optional[_Union[_payload_pb2.Payload, _Mapping]] = ...) -> None: ...

class CompleteActivityResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class FailActivityRequest(_message.Message):
    __slots__ = ("task_token", "failure")
    TASK_TOKEN_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    task_token: str
    failure: _failure_pb2.Failure
    def __init__(self, task_token: _Optional[str] = ..., failure: _Optional[_Union[_failure_pb2.Failure, _Mapping]] = ...) -> None: ...

class FailActivityResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class HeartbeatActivityRequest(_message.Message):
    __slots__ = ("task_token", "details")
    TASK_TOKEN_FIELD_NUMBER: _ClassVar[int]
    DETAILS_FIELD_NUMBER: _ClassVar[int]
    task_token: str
    details: _payload_pb2.Payload
    def __init__(self, task_token: _Optional[str] = ..., details: _Optional[_Union[_payload_pb2.Payload, _Mapping]] = ...) -> None: ...

class HeartbeatActivityResponse(_message.Message):
    __slots__ = ("cancel_requested",)
    CANCEL_REQUESTED_FIELD_NUMBER: _ClassVar[int]
    cancel_requested: bool
    def __init__(self, cancel_requested: _Optional[bool] = ...) -> None: ...

class RegisterRequest(_message.Message):
    __slots__ = ("identity", "namespace", "task_queue", "workflow_types", "activity_types", "slots")
    IDENTITY_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    TASK_QUEUE_FIELD_NUMBER: _ClassVar[int]
    WORKFLOW_TYPES_FIELD_NUMBER: _ClassVar[int]
    ACTIVITY_TYPES_FIELD_NUMBER: _ClassVar[int]
    SLOTS_FIELD_NUMBER: _ClassVar[int]
    identity: str
    namespace: str
    task_queue: str
    workflow_types: _containers.RepeatedScalarFieldContainer[str]
    activity_types: _containers.RepeatedScalarFieldContainer[str]
    slots: WorkSlots
    def __init__(self, identity: _Optional[str] = ..., namespace: _Optional[str] = ..., task_queue: _Optional[str] = ..., workflow_types: _Optional[_Iterable[str]] = ..., activity_types: _Optional[_Iterable[str]] = ..., slots: _Optional[_Union[WorkSlots, _Mapping]] = ...) -> None: ...

class RegisterResponse(_message.Message):
    __slots__ = ("worker_id",)
    WORKER_ID_FIELD_NUMBER: _ClassVar[int]
    worker_id: str
    def __init__(self, worker_id: _Optional[str] = ...) -> None: ...

class HeartbeatRequest(_message.Message):
    __slots__ = ("worker_id",)
    WORKER_ID_FIELD_NUMBER: _ClassVar[int]
    worker_id: str
    def __init__(self, worker_id: _Optional[str] = ...) -> None: ...

class HeartbeatResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListWorkersRequest(_message.Message):
    __slots__ = ("namespace", "page_size", "page_token")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    page_size: int
    page_token: str
    def __init__(self, namespace: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListWorkersResponse(_message.Message):
    __slots__ = ("workers", "next_page_token")
    WORKERS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    workers: _containers.RepeatedCompositeFieldContainer[WorkerInfo]
    next_page_token: str
    def __init__(self, workers: _Optional[_Iterable[_Union[WorkerInfo, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class WorkerInfo(_message.Message):
    __slots__ = ("worker_id", "identity", "namespace", "task_queue", "workflow_types", "activity_types", "slots", "active_tasks", "last_heartbeat_at", "registered_at", "draining")
    WORKER_ID_FIELD_NUMBER: _ClassVar[int]
    IDENTITY_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    TASK_QUEUE_FIELD_NUMBER: _ClassVar[int]
    WORKFLOW_TYPES_FIELD_NUMBER: _ClassVar[int]
    ACTIVITY_TYPES_FIELD_NUMBER: _ClassVar[int]
    SLOTS_FIELD_NUMBER: _ClassVar[int]
    ACTIVE_TASKS_FIELD_NUMBER: _ClassVar[int]
    LAST_HEARTBEAT_AT_FIELD_NUMBER: _ClassVar[int]
    REGISTERED_AT_FIELD_NUMBER: _ClassVar[int]
    DRAINING_FIELD_NUMBER: _ClassVar[int]
    worker_id: str
    identity: str
    namespace: str
    task_queue: str
    workflow_types: _containers.RepeatedScalarFieldContainer[str]
    activity_types: _containers.RepeatedScalarFieldContainer[str]
    slots: WorkSlots
    active_tasks: int
    last_heartbeat_at: _timestamp_pb2.Timestamp
    registered_at: _timestamp_pb2.Timestamp
    draining: bool
    def __init__(self, worker_id: _Optional[str] = ..., identity: _Optional[str] = ..., namespace: _Optional[str] = ..., task_queue: _Optional[str] = ..., workflow_types: _Optional[_Iterable[str]] = ..., activity_types: _Optional[_Iterable[str]] = ..., slots: _Optional[_Union[WorkSlots, _Mapping]] = ..., active_tasks: _Optional[int] = ..., last_heartbeat_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., registered_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., draining: _Optional[bool] = ...) -> None: ...
