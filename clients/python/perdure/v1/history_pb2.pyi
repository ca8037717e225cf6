import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from perdure.v1 import activity_pb2 as _activity_pb2
from perdure.v1 import failure_pb2 as _failure_pb2
from perdure.v1 import payload_pb2 as _payload_pb2
from perdure.v1 import rest_pb2 as _rest_pb2
from perdure.v1 import retry_policy_pb2 as _retry_policy_pb2
from perdure.v1 import search_attributes_pb2 as _search_attributes_pb2
from perdure.v1 import workflow_pb2 as _workflow_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class History(_message.Message):
    __slots__ = ("events",)
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    events: _containers.RepeatedCompositeFieldContainer[HistoryEvent]
    def __init__(self, events: _Optional[_Iterable[_Union[HistoryEvent, _Mapping]]] = ...) -> None: ...

class HistoryEvent(_message.Message):
    __slots__ = ("seq", "timestamp", "workflow_started", "workflow_completed", "workflow_failed", "workflow_cancelled", "workflow_terminated", "workflow_timed_out", "workflow_cancel_requested", "workflow_paused", "workflow_unpaused", "workflow_continued_as_new", "workflow_reset", "signal_received", "workflow_awaiting_signal", "update_requested", "update_completed", "update_rejected", "activity_scheduled", "activity_completed", "activity_failed", "activity_timed_out", "activity_cancelled", "activity_cancel_requested", "activity_options_updated", "activity_paused", "activity_unpaused", "activity_reset", "child_workflow_started", "child_workflow_completed", "child_workflow_failed", "signal_workflow_initiated", "signal_workflow_delivered", "signal_workflow_failed", "cancel_workflow_initiated", "cancel_workflow_delivered", "cancel_workflow_failed", "timer_scheduled", "timer_fired", "timer_cancelled", "side_effect_recorded", "step_completed", "search_attributes_upserted")
    SEQ_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    WORKFLOW_STARTED_FIELD_NUMBER: _ClassVar[int]
    WORKFLOW_COMPLETED_FIELD_NUMBER: _ClassVar[int]
    WORKFLOW_FAILED_FIELD_NUMBER: _ClassVar[int]
    WORKFLOW_CANCELLED_FIELD_NUMBER: _ClassVar[int]
    WORKFLOW_TERMINATED_FIELD_NUMBER: _ClassVar[int]
    WORKFLOW_TIMED_OUT_FIELD_NUMBER: _ClassVar[int]
    WORKFLOW_CANCEL_REQUESTED_FIELD_NUMBER: _ClassVar[int]
    WORKFLOW_PAUSED_FIELD_NUMBER: _ClassVar[int]
    WORKFLOW_UNPAUSED_FIELD_NUMBER: _ClassVar[int]
    WORKFLOW_CONTINUED_AS_NEW_FIELD_NUMBER: _ClassVar[int]
    WORKFLOW_RESET_FIELD_NUMBER: _ClassVar[int]
    SIGNAL_RECEIVED_FIELD_NUMBER: _ClassVar[int]
    WORKFLOW_AWAITING_SIGNAL_FIELD_NUMBER: _ClassVar[int]
    UPDATE_REQUESTED_FIELD_NUMBER: _ClassVar[int]
    UPDATE_COMPLETED_FIELD_NUMBER: _ClassVar[int]
    UPDATE_REJECTED_FIELD_NUMBER: _ClassVar[int]
    ACTIVITY_SCHEDULED_FIELD_NUMBER: _ClassVar[int]
    ACTIVITY_COMPLETED_FIELD_NUMBER: _ClassVar[int]
    ACTIVITY_FAILED_FIELD_NUMBER: _ClassVar[int]
    ACTIVITY_TIMED_OUT_FIELD_NUMBER: _ClassVar[int]
    ACTIVITY_CANCELLED_FIELD_NUMBER: _ClassVar[int]
    ACTIVITY_CANCEL_REQUESTED_FIELD_NUMBER: _ClassVar[int]
    ACTIVITY_OPTIONS_UPDATED_FIELD_NUMBER: _ClassVar[int]
    ACTIVITY_PAUSED_FIELD_NUMBER: _ClassVar[int]
    ACTIVITY_UNPAUSED_FIELD_NUMBER: _ClassVar[int]
    ACTIVITY_RESET_FIELD_NUMBER: _ClassVar[int]
    CHILD_WORKFLOW_STARTED_FIELD_NUMBER: _ClassVar[int]
    CHILD_WORKFLOW_COMPLETED_FIELD_NUMBER: _ClassVar[int]
    CHILD_WORKFLOW_FAILED_FIELD_NUMBER: _ClassVar[int]
    SIGNAL_WORKFLOW_INITIATED_FIELD_NUMBER: _ClassVar[int]
    SIGNAL_WORKFLOW_DELIVERED_FIELD_NUMBER: _ClassVar[int]
    SIGNAL_WORKFLOW_FAILED_FIELD_NUMBER: _ClassVar[int]
    CANCEL_WORKFLOW_INITIATED_FIELD_NUMBER: _ClassVar[int]
    CANCEL_WORKFLOW_DELIVERED_FIELD_NUMBER: _ClassVar[int]
    CANCEL_WORKFLOW_FAILED_FIELD_NUMBER: _ClassVar[int]
    TIMER_SCHEDULED_FIELD_NUMBER: _ClassVar[int]
    TIMER_FIRED_FIELD_NUMBER: _ClassVar[int]
    TIMER_CANCELLED_FIELD_NUMBER: _ClassVar[int]
    SIDE_EFFECT_RECORDED_FIELD_NUMBER: _ClassVar[int]
    STEP_COMPLETED_FIELD_NUMBER: _ClassVar[int]
    SEARCH_ATTRIBUTES_UPSERTED_FIELD_NUMBER: _ClassVar[int]
    seq: int
    timestamp: _timestamp_pb2.Timestamp
    workflow_started: WorkflowStarted
    workflow_completed: WorkflowCompleted
    workflow_failed: WorkflowFailed
    workflow_cancelled: WorkflowCancelled
    workflow_terminated: WorkflowTerminated
    workflow_timed_out: WorkflowTimedOut
    workflow_cancel_requested: WorkflowCancelRequested
    workflow_paused: WorkflowPaused
    workflow_unpaused: WorkflowUnpaused
    workflow_continued_as_new: WorkflowContinuedAsNew
    workflow_reset: WorkflowReset
    signal_received: SignalReceived
    workflow_awaiting_signal: WorkflowAwaitingSignal
    update_requested: UpdateRequested
    update_completed: UpdateCompleted
    update_rejected: UpdateRejected
    activity_scheduled: ActivityScheduled
    activity_completed: ActivityCompleted
    activity_failed: ActivityFailed
    activity_timed_out: ActivityTimedOut
    activity_cancelled: ActivityCancelled
    activity_cancel_requested: ActivityCancelRequested
    activity_options_updated: ActivityOptionsUpdated
    activity_paused: ActivityPaused
    activity_unpaused: ActivityUnpaused
    activity_reset: ActivityReset
    child_workflow_started: ChildWorkflowStarted
    child_workflow_completed: ChildWorkflowCompleted
    child_workflow_failed: ChildWorkflowFailed
    signal_workflow_initiated: SignalWorkflowInitiated
    signal_workflow_delivered: SignalWorkflowDelivered
    signal_workflow_failed: SignalWorkflowFailed
    cancel_workflow_initiated: CancelWorkflowInitiated
    cancel_workflow_delivered: CancelWorkflowDelivered
    cancel_workflow_failed: CancelWorkflowFailed
    timer_scheduled: TimerScheduled
    timer_fired: TimerFired
    timer_cancelled: TimerCancelled
    side_effect_recorded: SideEffectRecorded
    step_completed: StepCompleted
    search_attributes_upserted: SearchAttributesUpserted
    def __init__(self, seq: _Optional[int] = ..., timestamp: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., workflow_started: _Optional[_Union[WorkflowStarted, _Mapping]] = ..., workflow_completed: _Optional[_Union[WorkflowCompleted, _Mapping]] = ..., workflow_failed: _Optional[_Union[WorkflowFailed, _Mapping]] = ..., workflow_cancelled: _Optional[_Union[WorkflowCancelled, _Mapping]] = ..., workflow_terminated: _Optional[_Union[WorkflowTerminated, _Mapping]] = ..., workflow_timed_out: _Optional[_Union[WorkflowTimedOut, _Mapping]] = ..., workflow_cancel_requested: _Optional[_Union[WorkflowCancelRequested, _Mapping]] = ..., workflow_paused: _Optional[_Union[WorkflowPaused, _Mapping]] = ..., workflow_unpaused: _Optional[_Union[WorkflowUnpaused, _Mapping]] = ..., workflow_continued_as_new: _Optional[_Union[WorkflowContinuedAsNew, _Mapping]] = ..., workflow_reset: _Optional[_Union[WorkflowReset, _Mapping]] = ..., signal_received: _Optional[_Union[SignalReceived, _Mapping]] = ..., workflow_awaiting_signal: _Optional[_Union[WorkflowAwaitingSignal, _Mapping]] = ..., update_requested: _Optional[_Union[UpdateRequested, _Mapping]] = ..., update_completed: _Optional[_Union[UpdateCompleted, _Mapping]] = ..., update_rejected: _Optional[_Union[UpdateRejected, _Mapping]] = ..., activity_scheduled: _Optional[_Union[ActivityScheduled, _Mapping]] = ..., activity_completed: _Optional[_Union[ActivityCompleted, _Mapping]] = ..., activity_failed: _Optional[_Union[ActivityFailed, _Mapping]] = ..., activity_timed_out: _Optional[_Union[ActivityTimedOut, _Mapping]] = ..., activity_cancelled: _Optional[_Union[ActivityCancelled, _Mapping]] = ..., activity_cancel_requested: _Optional[_Union[ActivityCancelRequested, _Mapping]] = ..., activity_options_updated: _Optional[_Union[ActivityOptionsUpdated, _Mapping]] = ..., activity_paused: _Optional[_Union[ActivityPaused, _Mapping]] = ..., activity_unpaused: _Optional[_Union[ActivityUnpaused, _Mapping]] = ..., activity_reset: _Optional[_Union[ActivityReset, _Mapping]] = ..., child_workflow_started: _Optional[_Union[ChildWorkflowStarted, _Mapping]] = ..., child_workflow_completed: _Optional[_Union[ChildWorkflowCompleted, _Mapping]] = ..., child_workflow_failed: _Optional[_Union[ChildWorkflowFailed, _Mapping]] = ..., signal_workflow_initiated: _Optional[_Union[SignalWorkflowInitiated, _Mapping]] = ..., signal_workflow_delivered: _Optional[_Union[SignalWorkflowDelivered, _Mapping]] = ..., signal_workflow_failed: _Optional[_Union[SignalWorkflowFailed, _Mapping]] = ..., cancel_workflow_initiated: _Optional[_Union[CancelWorkflowInitiated, _Mapping]] = ..., cancel_workflow_delivered: _Optional[_Union[CancelWorkflowDelivered, _Mapping]] = ..., cancel_workflow_failed: _Optional[_Union[CancelWorkflowFailed, _Mapping]] = ..., timer_scheduled: _Optional[_Union[TimerScheduled, _Mapping]] = ..., timer_fired: _Optional[_Union[TimerFired, _Mapping]] = ..., timer_cancelled: _Optional[_Union[TimerCancelled, _Mapping]] = ..., side_effect_recorded: _Optional[_Union[SideEffectRecorded, _Mapping]] = ..., step_completed: _Optional[_Union[StepCompleted, _Mapping]] = ..., search_attributes_upserted: _Optional[_Union[SearchAttributesUpserted, _Mapping]] = ...) -> None: ...

class WorkflowStarted(_message.Message):
    __slots__ = ("workflow_type", "task_queue", "input", "seed", "attempt", "retry_policy", "execution_timeout", "run_timeout", "previous_run_id", "first_run_id", "execution_started_at", "start_delay", "priority", "memo", "search_attributes", "summary", "details", "headers", "parent", "schedule_name", "schedule_due_at")
    WORKFLOW_TYPE_FIELD_NUMBER: _ClassVar[int]
    TASK_QUEUE_FIELD_NUMBER: _ClassVar[int]
    INPUT_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    RETRY_POLICY_FIELD_NUMBER: _ClassVar[int]
    EXECUTION_TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    RUN_TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_RUN_ID_FIELD_NUMBER: _ClassVar[int]
    FIRST_RUN_ID_FIELD_NUMBER: _ClassVar[int]
    EXECUTION_STARTED_AT_FIELD_NUMBER: _ClassVar[int]
    START_DELAY_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    MEMO_FIELD_NUMBER: _ClassVar[int]
    SEARCH_ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    SUMMARY_FIELD_NUMBER: _ClassVar[int]
    DETAILS_FIELD_NUMBER: _ClassVar[int]
    HEADERS_FIELD_NUMBER: _ClassVar[int]
    PARENT_FIELD_NUMBER: _ClassVar[int]
    SCHEDULE_NAME_FIELD_NUMBER: _ClassVar[int]
    SCHEDULE_DUE_AT_FIELD_NUMBER: _ClassVar[int]
    workflow_type: str
    task_queue: str
    input: _payload_pb2.Payload
    seed: int
    attempt: int
    retry_policy: _retry_policy_pb2.RetryPolicy
    execution_timeout: _duration_pb2.Duration
    run_timeout: _duration_pb2.Duration
    previous_run_id: str
    first_run_id: str
    execution_started_at: _timestamp_pb2.Timestamp
    start_delay: _duration_pb2.Duration
    priority: int
    memo: _payload_pb2.Payload
    search_attributes: _search_attributes_pb2.SearchAttributes
    summary: str
    details: str
    headers: _containers.RepeatedCompositeFieldContainer[_payload_pb2.Header]
    parent: ParentLink
    schedule_name: str
    schedule_due_at: _timestamp_pb2.Timestamp
    def __init__(self, workflow_type: _Optional[str] = ..., task_queue: _Optional[str] = ..., input: _Optional[_Union[_payload_pb2.Payload, _Mapping]] = ..., seed: _Optional[int] = ..., attempt: _Optional[int] = ..., retry_policy: _Optional[_Union[_retry_policy_pb2.RetryPolicy, _Mapping]] = ..., execution_timeout: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., run_timeout: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., previous_run_id: _Optional[str] = ..., first_run_id: _Optional[str] = ..., execution_started_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., start_delay: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., priority: _Optional[int] = ..., memo: _Optional[_Union[_payload_pb2.Payload, _Mapping]] = ..., search_attributes: _Optional[_Union[_search_attributes_pb2.SearchAttributes, _Mapping]] = ..., summary: _Optional[str] = ..., details: _Optional[str] = ..., headers: _Optional[_Iterable[_Union[_payload_pb2.Header, _Mapping]]] = ..., parent: _Optional[_Union[ParentLink, _Mapping]] = ..., schedule_name: _Optional[str] = ..., schedule_due_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class ParentLink(_message.Message):
    __slots__ = ("workflow_id", "run_id", "child_seq")
    WORKFLOW_ID_FIELD_NUMBER: _ClassVar[int]
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    CHILD_SEQ_FIELD_NUMBER: _ClassVar[int]
    workflow_id: str
    run_id: str
    child_seq: int
    def __init__(self, workflow_id: _Optional[str] = ..., run_id: _Optional[str] = ..., child_seq: _Optional[int] = ...) -> None: ...

class WorkflowCompleted(_message.Message):
    __slots__ = ("result", "unhandled_signals", "unhandled_updates")
    RESULT_FIELD_NUMBER: _ClassVar[int]
    UNHANDLED_SIGNALS_FIELD_NUMBER: _ClassVar[int]
    UNHANDLED_UPDATES_FIELD_NUMBER: _ClassVar[int]
    result: _payload_pb2.Payload
    unhandled_signals: _containers.RepeatedCompositeFieldContainer[UnhandledSignal]
    unhandled_updates: _containers.RepeatedCompositeFieldContainer[UnhandledUpdate]
    def __init__(self, result: _Optional[_Union[_payload_pb2.Payload, _Mapping]] = ..., unhandled_signals: _Optional[_Iterable[_Union[UnhandledSignal, _Mapping]]] = ..., unhandled_updates: _Optional[_Iterable[_Union[UnhandledUpdate, _Mapping]]] = ...) -> None: ...

class WorkflowFailed(_message.Message):
    __slots__ = ("failure", "unhandled_signals", "next_run_id", "unhandled_updates")
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    UNHANDLED_SIGNALS_FIELD_NUMBER: _ClassVar[int]
    NEXT_RUN_ID_FIELD_NUMBER: _ClassVar[int]
    UNHANDLED_UPDATES_FIELD_NUMBER: _ClassVar[int]
    failure: _failure_pb2.Failure
    unhandled_signals: _containers.RepeatedCompositeFieldContainer[UnhandledSignal]
    next_run_id: str
    unhandled_updates: _containers.RepeatedCompositeFieldContainer[UnhandledUpdate]
    def __init__(self, failure: _Optional[_Union[_failure_pb2.Failure, _Mapping]] = ..., unhandled_signals: _Optional[_Iterable[_Union[UnhandledSignal, _Mapping]]] = ..., next_run_id: _Optional[str] = ..., unhandled_updates: _Optional[_Iterable[_Union[UnhandledUpdate, _Mapping]]] = ...) -> None: ...

class WorkflowCancelled(_message.Message):
    __slots__ = ("unhandled_signals", "reason", "unhandled_updates")
    UNHANDLED_SIGNALS_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    UNHANDLED_UPDATES_FIELD_NUMBER: _ClassVar[int]
    unhandled_signals: _containers.RepeatedCompositeFieldContainer[UnhandledSignal]
    reason: str
    unhandled_updates: _containers.RepeatedCompositeFieldContainer[UnhandledUpdate]
    def __init__(self, unhandled_signals: _Optional[_Iterable[_Union[UnhandledSignal, _Mapping]]] = ..., reason: _Optional[str] = ..., unhandled_updates: _Optional[_Iterable[_Union[UnhandledUpdate, _Mapping]]] = ...) -> None: ...

class WorkflowTerminated(_message.Message):
    __slots__ = ("reason", "unhandled_signals", "unhandled_updates")
    REASON_FIELD_NUMBER: _ClassVar[int]
    UNHANDLED_SIGNALS_FIELD_NUMBER: _ClassVar[int]
    UNHANDLED_UPDATES_FIELD_NUMBER: _ClassVar[int]
    reason: str
    unhandled_signals: _containers.RepeatedCompositeFieldContainer[UnhandledSignal]
    unhandled_updates: _containers.RepeatedCompositeFieldContainer[UnhandledUpdate]
    def __init__(self, reason: _Optional[str] = ..., unhandled_signals: _Optional[_Iterable[_Union[UnhandledSignal, _Mapping]]] = ..., unhandled_updates: _Optional[_Iterable[_Union[UnhandledUpdate, _Mapping]]] = ...) -> None: ...

class WorkflowTimedOut(_message.Message):
    __slots__ = ("timeout_type", "unhandled_signals", "next_run_id", "unhandled_updates")
    TIMEOUT_TYPE_FIELD_NUMBER: _ClassVar[int]
    UNHANDLED_SIGNALS_FIELD_NUMBER: _ClassVar[int]
    NEXT_RUN_ID_FIELD_NUMBER: _ClassVar[int]
    UNHANDLED_UPDATES_FIELD_NUMBER: _ClassVar[int]
    timeout_type: _failure_pb2.TimeoutType
    unhandled_signals: _containers.RepeatedCompositeFieldContainer[UnhandledSignal]
    next_run_id: str
    unhandled_updates: _containers.RepeatedCompositeFieldContainer[UnhandledUpdate]
    def __init__(self, timeout_type: _Optional[_Union[_failure_pb2.TimeoutType, str]] = ..., unhandled_signals: _Optional[_Iterable[_Union[UnhandledSignal, _Mapping]]] = ..., next_run_id: _Optional[str] = ..., unhandled_updates: _Optional[_Iterable[_Union[UnhandledUpdate, _Mapping]]] = ...) -> None: ...

class UnhandledSignal(_message.Message):
    __slots__ = ("event_seq", "signal_name")
    EVENT_SEQ_FIELD_NUMBER: _ClassVar[int]
    SIGNAL_NAME_FIELD_NUMBER: _ClassVar[int]
    event_seq: int
    signal_name: str
    def __init__(self, event_seq: _Optional[int] = ..., signal_name: _Optional[str] = ...) -> None: ...

class UnhandledUpdate(_message.Message):
    __slots__ = ("event_seq", "update_name")
    EVENT_SEQ_FIELD_NUMBER: _ClassVar[int]
    UPDATE_NAME_FIELD_NUMBER: _ClassVar[int]
    event_seq: int
    update_name: str
    def __init__(self, event_seq: _Optional[int] = ..., update_name: _Optional[str] = ...) -> None: ...

class WorkflowCancelRequested(_message.Message):
    __slots__ = ("reason", "deadline")
    REASON_FIELD_NUMBER: _ClassVar[int]
    DEADLINE_FIELD_NUMBER: _ClassVar[int]
    reason: str
    deadline: _timestamp_pb2.Timestamp
    def __init__(self, reason: _Optional[str] = ..., deadline: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class WorkflowPaused(_message.Message):
    __slots__ = ("reason", "identity")
    REASON_FIELD_NUMBER: _ClassVar[int]
    IDENTITY_FIELD_NUMBER: _ClassVar[int]
    reason: str
    identity: str
    def __init__(self, reason: _Optional[str] = ..., identity: _Optional[str] = ...) -> None: ...

class WorkflowUnpaused(_message.Message):
    __slots__ = ("reason", "identity")
    REASON_FIELD_NUMBER: _ClassVar[int]
    IDENTITY_FIELD_NUMBER: _ClassVar[int]
    reason: str
    identity: str
    def __init__(self, reason: _Optional[str] = ..., identity: _Optional[str] = ...) -> None: ...

class WorkflowContinuedAsNew(_message.Message):
    __slots__ = ("new_run_id", "workflow_type", "task_queue", "input", "carried_signals", "external", "unhandled_updates")
    NEW_RUN_ID_FIELD_NUMBER: _ClassVar[int]
    WORKFLOW_TYPE_FIELD_NUMBER: _ClassVar[int]
    TASK_QUEUE_FIELD_NUMBER: _ClassVar[int]
    INPUT_FIELD_NUMBER: _ClassVar[int]
    CARRIED_SIGNALS_FIELD_NUMBER: _ClassVar[int]
    EXTERNAL_FIELD_NUMBER: _ClassVar[int]
    UNHANDLED_UPDATES_FIELD_NUMBER: _ClassVar[int]
    new_run_id: str
    workflow_type: str
    task_queue: str
    input: _payload_pb2.Payload
    carried_signals: _containers.RepeatedCompositeFieldContainer[UnhandledSignal]
    external: bool
    unhandled_updates: _containers.RepeatedCompositeFieldContainer[UnhandledUpdate]
    def __init__(self, new_run_id: _Optional[str] = ..., workflow_type: _Optional[str] = ..., task_queue: _Optional[str] = ..., input: _Optional[_Union[_payload_pb2.Payload, _Mapping]] = ..., carried_signals: _Optional[_Iterable[_Union[UnhandledSignal, _Mapping]]] = ..., external: _Optional[bool] = ..., unhandled_updates: _Optional[_Iterable[_Union[UnhandledUpdate, _Mapping]]] = ...) -> None: ...

class WorkflowReset(_message.Message):
    __slots__ = ("reason", "identity", "event_seq", "from_run_id", "activity_seq")
    REASON_FIELD_NUMBER: _ClassVar[int]
    IDENTITY_FIELD_NUMBER: _ClassVar[int]
    EVENT_SEQ_FIELD_NUMBER: _ClassVar[int]
    FROM_RUN_ID_FIELD_NUMBER: _ClassVar[int]
    ACTIVITY_SEQ_FIELD_NUMBER: _ClassVar[int]
    reason: str
    identity: str
    event_seq: int
    from_run_id: str
    activity_seq: int
    def __init__(self, reason: _Optional[str] = ..., identity: _Optional[str] = ..., event_seq: _Optional[int] = ..., from_run_id: _Optional[str] = ..., activity_seq: _Optional[int] = ...) -> None: ...

class SignalReceived(_message.Message):
    __slots__ = ("signal_name", "payload")
    SIGNAL_NAME_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    signal_name: str
    payload: _payload_pb2.Payload
    def __init__(self, signal_name: _Optional[str] = ..., payload: _Optional[_Union[_payload_pb2.Payload, _Mapping]] = ...) -> None: ...

class UpdateRequested(_message.Message):
    __slots__ = ("update_name", "input")
    UPDATE_NAME_FIELD_NUMBER: _ClassVar[int]
    INPUT_FIELD_NUMBER: _ClassVar[int]
    update_name: str
    input: _payload_pb2.Payload
    def __init__(self, update_name: _Optional[str] = ..., input: _Optional[_Union[_payload_pb2.Payload, _Mapping]] = ...) -> None: ...

class UpdateCompleted(_message.Message):
    __slots__ = ("requested_seq", "result")
    REQUESTED_SEQ_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    requested_seq: int
    result: _payload_pb2.Payload
    def __init__(self, requested_seq: _Optional[int] = ..., result: _Optional[_Union[_payload_pb2.Payload, _Mapping]] = ...) -> None: ...

class UpdateRejected(_message.Message):
    __slots__ = ("requested_seq", "failure")
    REQUESTED_SEQ_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    requested_seq: int
    failure: _failure_pb2.Failure
    def __init__(self, requested_seq: _Optional[int] = ..., failure: _Optional[_Union[_failure_pb2.Failure, _Mapping]] = ...) -> None: ...

class WorkflowAwaitingSignal(_message.Message):
    __slots__ = ("wait_seq", "signal_name", "timer_seq")
    WAIT_SEQ_FIELD_NUMBER: _ClassVar[int]
    SIGNAL_NAME_FIELD_NUMBER: _ClassVar[int]
    TIMER_SEQ_FIELD_NUMBER: _ClassVar[int]
    wait_seq: int
    signal_name: str
    timer_seq: int
    def __init__(self, wait_seq: _Optional[int] = ..., signal_name: _Optional[str] = ..., timer_seq: _Optional[int] = ...) -> None: ...

class ActivityScheduled(_message.Message):
    __slots__ = ("activity_seq", "name", "task_queue", "input", "options", "priority", "external", "headers")
    ACTIVITY_SEQ_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    TASK_QUEUE_FIELD_NUMBER: _ClassVar[int]
    INPUT_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    EXTERNAL_FIELD_NUMBER: _ClassVar[int]
    HEADERS_FIELD_NUMBER: _ClassVar[int]
    activity_seq: int
    name: str
    task_queue: str
    input: _payload_pb2.Payload
    options: _activity_pb2.ActivityOptions
    priority: int
    external: bool
    headers: _containers.RepeatedCompositeFieldContainer[_payload_pb2.Header]
    def __init__(self, activity_seq: _Optional[int] = ..., name: _Optional[str] = ..., task_queue: _Optional[str] = ..., input: _Optional[_Union[_payload_pb2.Payload, _Mapping]] = ..., options: _Optional[_Union[_activity_pb2.ActivityOptions, _Mapping]] = ..., priority: _Optional[int] = ..., external: _Optional[bool] = ..., headers: _Optional[_Iterable[_Union[_payload_pb2.Header, _Mapping]]] = ...) -> None: ...

class ActivityCompleted(_message.Message):
    __slots__ = ("activity_seq", "name", "result", "attempt", "lease")
    ACTIVITY_SEQ_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    LEASE_FIELD_NUMBER: _ClassVar[int]
    activity_seq: int
    name: str
    result: _payload_pb2.Payload
    attempt: int
    lease: int
    def __init__(self, activity_seq: _Optional[int] = ..., name: _Optional[str] = ..., result: _Optional[_Union[_payload_pb2.Payload, _Mapping]] = ..., attempt: _Optional[int] = ..., lease: _Optional[int] = ...) -> None: ...

class ActivityFailed(_message.Message):
    __slots__ = ("activity_seq", "name", "failure", "attempt", "lease")
    ACTIVITY_SEQ_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    LEASE_FIELD_NUMBER: _ClassVar[int]
    activity_seq: int
    name: str
    failure: _failure_pb2.Failure
    attempt: int
    lease: int
    def __init__(self, activity_seq: _Optional[int] = ..., name: _Optional[str] = ..., failure: _Optional[_Union[_failure_pb2.Failure, _Mapping]] = ..., attempt: _Optional[int] = ..., lease: _Optional[int] = ...) -> None: ...

class ActivityTimedOut(_message.Message):
    __slots__ = ("activity_seq", "name", "failure", "attempt")
    ACTIVITY_SEQ_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    activity_seq: int
    name: str
    failure: _failure_pb2.Failure
    attempt: int
    def __init__(self, activity_seq: _Optional[int] = ..., name: _Optional[str] = ..., failure: _Optional[_Union[_failure_pb2.Failure, _Mapping]] = ..., attempt: _Optional[int] = ...) -> None: ...

class ActivityCancelled(_message.Message):
    __slots__ = ("activity_seq", "name", "failure", "attempt", "lease")
    ACTIVITY_SEQ_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    LEASE_FIELD_NUMBER: _ClassVar[int]
    activity_seq: int
    name: str
    failure: _failure_pb2.Failure
    attempt: int
    lease: int
    def __init__(self, activity_seq: _Optional[int] = ..., name: _Optional[str] = ..., failure: _Optional[_Union[_failure_pb2.Failure, _Mapping]] = ..., attempt: _Optional[int] = ..., lease: _Optional[int] = ...) -> None: ...

class ActivityCancelRequested(_message.Message):
    __slots__ = ("activity_seq",)
    ACTIVITY_SEQ_FIELD_NUMBER: _ClassVar[int]
    activity_seq: int
    def __init__(self, activity_seq: _Optional[int] = ...) -> None: ...

class ActivityOptionsUpdated(_message.Message):
    __slots__ = ("activity_seq", "options", "priority", "reason", "identity")
    ACTIVITY_SEQ_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    IDENTITY_FIELD_NUMBER: _ClassVar[int]
    activity_seq: int
    options: _activity_pb2.ActivityOptions
    priority: int
    reason: str
    identity: str
    def __init__(self, activity_seq: _Optional[int] = ..., options: _Optional[_Union[_activity_pb2.ActivityOptions, _Mapping]] = ..., priority: _Optional[int] = ..., reason: _Optional[str] = ..., identity: _Optional[str] = ...) -> None: ...

class ActivityPaused(_message.Message):
    __slots__ = ("activity_seq", "reason", "identity")
    ACTIVITY_SEQ_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    IDENTITY_FIELD_NUMBER: _ClassVar[int]
    activity_seq: int
    reason: str
    identity: str
    def __init__(self, activity_seq: _Optional[int] = ..., reason: _Optional[str] = ..., identity: _Optional[str] = ...) -> None: ...

class ActivityUnpaused(_message.Message):
    __slots__ = ("activity_seq", "reason", "identity")
    ACTIVITY_SEQ_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    IDENTITY_FIELD_NUMBER: _ClassVar[int]
    activity_seq: int
    reason: str
    identity: str
    def __init__(self, activity_seq: _Optional[int] = ..., reason: _Optional[str] = ..., identity: _Optional[str] = ...) -> None: ...

class ActivityReset(_message.Message):
    __slots__ = ("activity_seq", "reason", "identity", "drop_heartbeat_details")
    ACTIVITY_SEQ_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    IDENTITY_FIELD_NUMBER: _ClassVar[int]
    DROP_HEARTBEAT_DETAILS_FIELD_NUMBER: _ClassVar[int]
    activity_seq: int
    reason: str
    identity: str
    drop_heartbeat_details: bool
    def __init__(self, activity_seq: _Optional[int] = ..., reason: _Optional[str] = ..., identity: _Optional[str] = ..., drop_heartbeat_details: _Optional[bool] = ...) -> None: ...

class TimerScheduled(_message.Message):
    __slots__ = ("timer_seq", "fire_at", "duration")
    TIMER_SEQ_FIELD_NUMBER: _ClassVar[int]
    FIRE_AT_FIELD_NUMBER: _ClassVar[int]
    DURATION_FIELD_NUMBER: _ClassVar[int]
    timer_seq: int
    fire_at: _timestamp_pb2.Timestamp
    duration: _duration_pb2.Duration
    def __init__(self, timer_seq: _Optional[int] = ..., fire_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., duration: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class TimerFired(_message.Message):
    __slots__ = ("timer_seq",)
    TIMER_SEQ_FIELD_NUMBER: _ClassVar[int]
    timer_seq: int
    def __init__(self, timer_seq: _Optional[int] = ...) -> None: ...

class TimerCancelled(_message.Message):
    __slots__ = ("timer_seq",)
    TIMER_SEQ_FIELD_NUMBER: _ClassVar[int]
    timer_seq: int
    def __init__(self, timer_seq: _Optional[int] = ...) -> None: ...

class StepCompleted(_message.Message):
    __slots__ = ("step_seq", "name", "result", "failure", "attempt")
    STEP_SEQ_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    step_seq: int
    name: str
    result: _payload_pb2.Payload
    failure: _failure_pb2.Failure
    attempt: int
    def __init__(self, step_seq: _Optional[int] = ..., name: _Optional[str] = ..., result: _Optional[_Union[_payload_pb2.Payload, _Mapping]] = ..., failure: _Optional[_Union[_failure_pb2.Failure, _Mapping]] = ..., attempt: _Optional[int] = ...) -> None: ...

class SideEffectRecorded(_message.Message):
    __slots__ = ("side_effect_seq", "name", "value")
    SIDE_EFFECT_SEQ_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    side_effect_seq: int
    name: str
    value: _payload_pb2.Payload
    def __init__(self, side_effect_seq: _Optional[int] = ..., name: _Optional[str] = ..., value: _Optional[_Union[_payload_pb2.Payload, _Mapping]] = ...) -> None: ...

class SearchAttributesUpserted(_message.Message):
    __slots__ = ("seq", "patch")
    SEQ_FIELD_NUMBER: _ClassVar[int]
    PATCH_FIELD_NUMBER: _ClassVar[int]
    seq: int
    patch: _search_attributes_pb2.SearchAttributes
    def __init__(self, seq: _Optional[int] = ..., patch: _Optional[_Union[_search_attributes_pb2.SearchAttributes, _Mapping]] = ...) -> None: ...

class ChildWorkflowStarted(_message.Message):
    __slots__ = ("child_seq", "child_workflow_id", "child_run_id", "workflow_type", "parent_close_policy")
    CHILD_SEQ_FIELD_NUMBER: _ClassVar[int]
    CHILD_WORKFLOW_ID_FIELD_NUMBER: _ClassVar[int]
    CHILD_RUN_ID_FIELD_NUMBER: _ClassVar[int]
    WORKFLOW_TYPE_FIELD_NUMBER: _ClassVar[int]
    PARENT_CLOSE_POLICY_FIELD_NUMBER: _ClassVar[int]
    child_seq: int
    child_workflow_id: str
    child_run_id: str
    workflow_type: str
    parent_close_policy: _workflow_pb2.ParentClosePolicy
    def __init__(self, child_seq: _Optional[int] = ..., child_workflow_id: _Optional[str] = ..., child_run_id: _Optional[str] = ..., workflow_type: _Optional[str] = ..., parent_close_policy: _Optional[_Union[_workflow_pb2.ParentClosePolicy, str]] = ...) -> None: ...

class ChildWorkflowCompleted(_message.Message):
    __slots__ = ("child_seq", "child_workflow_id", "child_run_id", "result")
    CHILD_SEQ_FIELD_NUMBER: _ClassVar[int]
    CHILD_WORKFLOW_ID_FIELD_NUMBER: _ClassVar[int]
    CHILD_RUN_ID_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    child_seq: int
    child_workflow_id: str
    child_run_id: str
    result: _payload_pb2.Payload
    def __init__(self, child_seq: _Optional[int] = ..., child_workflow_id: _Optional[str] = ..., child_run_id: _Optional[str] = ..., result: _Optional[_Union[_payload_pb2.Payload, _Mapping]] = ...) -> None: ...

class ChildWorkflowFailed(_message.Message):
    __slots__ = ("child_seq", "child_workflow_id", "child_run_id", "failure", "status", "workflow_type")
    CHILD_SEQ_FIELD_NUMBER: _ClassVar[int]
    CHILD_WORKFLOW_ID_FIELD_NUMBER: _ClassVar[int]
    CHILD_RUN_ID_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    WORKFLOW_TYPE_FIELD_NUMBER: _ClassVar[int]
    child_seq: int
    child_workflow_id: str
    child_run_id: str
    failure: _failure_pb2.Failure
    status: _workflow_pb2.WorkflowStatus
    workflow_type: str
    def __init__(self, child_seq: _Optional[int] = ..., child_workflow_id: _Optional[str] = ..., child_run_id: _Optional[str] = ..., failure: _Optional[_Union[_failure_pb2.Failure, _Mapping]] = ..., status: _Optional[_Union[_workflow_pb2.WorkflowStatus, str]] = ..., workflow_type: _Optional[str] = ...) -> None: ...

class SignalWorkflowInitiated(_message.Message):
    __slots__ = ("signal_seq", "workflow_id", "run_id", "signal_name", "payload")
    SIGNAL_SEQ_FIELD_NUMBER: _ClassVar[int]
    WORKFLOW_ID_FIELD_NUMBER: _ClassVar[int]
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    SIGNAL_NAME_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    signal_seq: int
    workflow_id: str
    run_id: str
    signal_name: str
    payload: _payload_pb2.Payload
    def __init__(self, signal_seq: _Optional[int] = ..., workflow_id: _Optional[str] = ..., run_id: _Optional[str] = ..., signal_name: _Optional[str] = ..., payload: _Optional[_Union[_payload_pb2.Payload, _Mapping]] = ...) -> None: ...

class SignalWorkflowDelivered(_message.Message):
    __slots__ = ("signal_seq",)
    SIGNAL_SEQ_FIELD_NUMBER: _ClassVar[int]
    signal_seq: int
    def __init__(self, signal_seq: _Optional[int] = ...) -> None: ...

class SignalWorkflowFailed(_message.Message):
    __slots__ = ("signal_seq", "failure")
    SIGNAL_SEQ_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    signal_seq: int
    failure: _failure_pb2.Failure
    def __init__(self, signal_seq: _Optional[int] = ..., failure: _Optional[_Union[_failure_pb2.Failure, _Mapping]] = ...) -> None: ...

class CancelWorkflowInitiated(_message.Message):
    __slots__ = ("cancel_seq", "workflow_id", "run_id", "reason")
    CANCEL_SEQ_FIELD_NUMBER: _ClassVar[int]
    WORKFLOW_ID_FIELD_NUMBER: _ClassVar[int]
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    cancel_seq: int
    workflow_id: str
    run_id: str
    reason: str
    def __init__(self, cancel_seq: _Optional[int] = ..., workflow_id: _Optional[str] = ..., run_id: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class CancelWorkflowDelivered(_message.Message):
    __slots__ = ("cancel_seq",)
    CANCEL_SEQ_FIELD_NUMBER: _ClassVar[int]
    cancel_seq: int
    def __init__(self, cancel_seq: _Optional[int] = ...) -> None: ...

class CancelWorkflowFailed(_message.Message):
    __slots__ = ("cancel_seq", "failure")
    CANCEL_SEQ_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    cancel_seq: int
    failure: _failure_pb2.Failure
    def __init__(self, cancel_seq: _Optional[int] = ..., failure: _Optional[_Union[_failure_pb2.Failure, _Mapping]] = ...) -> None: ...
