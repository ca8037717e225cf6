import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from perdure.v1 import activity_pb2 as _activity_pb2
from perdure.v1 import failure_pb2 as _failure_pb2
from perdure.v1 import history_pb2 as _history_pb2
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

class Command(_message.Message):
    __slots__ = ("schedule_activity", "cancel_activity", "schedule_timer", "cancel_timer", "wait_for_signal", "upsert_search_attributes", "record_snapshot", "start_child_workflow", "record_side_effect", "record_step", "cancel_child", "signal_workflow", "complete_update", "reject_update", "complete_workflow", "fail_workflow", "cancel_workflow", "continue_as_new", "source")
    SCHEDULE_ACTIVITY_FIELD_NUMBER: _ClassVar[int]
    CANCEL_ACTIVITY_FIELD_NUMBER: _ClassVar[int]
    SCHEDULE_TIMER_FIELD_NUMBER: _ClassVar[int]
    CANCEL_TIMER_FIELD_NUMBER: _ClassVar[int]
    WAIT_FOR_SIGNAL_FIELD_NUMBER: _ClassVar[int]
    UPSERT_SEARCH_ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    RECORD_SNAPSHOT_FIELD_NUMBER: _ClassVar[int]
    START_CHILD_WORKFLOW_FIELD_NUMBER: _ClassVar[int]
    RECORD_SIDE_EFFECT_FIELD_NUMBER: _ClassVar[int]
    RECORD_STEP_FIELD_NUMBER: _ClassVar[int]
    CANCEL_CHILD_FIELD_NUMBER: _ClassVar[int]
    SIGNAL_WORKFLOW_FIELD_NUMBER: _ClassVar[int]
    COMPLETE_UPDATE_FIELD_NUMBER: _ClassVar[int]
    REJECT_UPDATE_FIELD_NUMBER: _ClassVar[int]
    COMPLETE_WORKFLOW_FIELD_NUMBER: _ClassVar[int]
    FAIL_WORKFLOW_FIELD_NUMBER: _ClassVar[int]
    CANCEL_WORKFLOW_FIELD_NUMBER: _ClassVar[int]
    CONTINUE_AS_NEW_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    schedule_activity: ScheduleActivity
    cancel_activity: CancelActivity
    schedule_timer: ScheduleTimer
    cancel_timer: CancelTimer
    wait_for_signal: WaitForSignal
    upsert_search_attributes: UpsertSearchAttributes
    record_snapshot: RecordSnapshot
    start_child_workflow: StartChildWorkflow
    record_side_effect: RecordSideEffect
    record_step: RecordStep
    cancel_child: CancelChild
    signal_workflow: SignalWorkflow
    complete_update: CompleteUpdate
    reject_update: RejectUpdate
    complete_workflow: CompleteWorkflow
    fail_workflow: FailWorkflow
    cancel_workflow: CancelWorkflow
    continue_as_new: ContinueAsNew
    source: str
    def __init__(self, schedule_activity: _Optional[_Union[ScheduleActivity, _Mapping]] = ..., cancel_activity: _Optional[_Union[CancelActivity, _Mapping]] = ..., schedule_timer: _Optional[_Union[ScheduleTimer, _Mapping]] = ..., cancel_timer: _Optional[_Union[CancelTimer, _Mapping]] = ..., wait_for_signal: _Optional[_Union[WaitForSignal, _Mapping]] = ..., upsert_search_attributes: _Optional[_Union[UpsertSearchAttributes, _Mapping]] = ..., record_snapshot: _Optional[_Union[RecordSnapshot, _Mapping]] = ..., start_child_workflow: _Optional[_Union[StartChildWorkflow, _Mapping]] = ..., record_side_effect: _Optional[_Union[RecordSideEffect, _Mapping]] = ..., record_step: _Optional[_Union[RecordStep, _Mapping]] = ..., cancel_child: _Optional[_Union[CancelChild, _Mapping]] = ..., signal_workflow: _Optional[_Union[SignalWorkflow, _Mapping]] = ..., complete_update: _Optional[_Union[CompleteUpdate, _Mapping]] = ..., reject_update: _Optional[_Union[RejectUpdate, _Mapping]] = ..., complete_workflow: _Optional[_Union[CompleteWorkflow, _Mapping]] = ..., fail_workflow: _Optional[_Union[FailWorkflow, _Mapping]] = ..., cancel_workflow: _Optional[_Union[CancelWorkflow, _Mapping]] = ..., continue_as_new: _Optional[_Union[ContinueAsNew, _Mapping]] = ..., source: _Optional[str] = ...) -> None: ...

class ScheduleActivity(_message.Message):
    __slots__ = ("seq", "name", "task_queue", "input", "options", "priority", "headers")
    SEQ_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    TASK_QUEUE_FIELD_NUMBER: _ClassVar[int]
    INPUT_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    HEADERS_FIELD_NUMBER: _ClassVar[int]
    seq: int
    name: str
    task_queue: str
    input: _payload_pb2.Payload
    options: _activity_pb2.ActivityOptions
    priority: int
    headers: _containers.RepeatedCompositeFieldContainer[_payload_pb2.Header]
    def __init__(self, seq: _Optional[int] = ..., name: _Optional[str] = ..., task_queue: _Optional[str] = ..., input: _Optional[_Union[_payload_pb2.Payload, _Mapping]] = ..., options: _Optional[_Union[_activity_pb2.ActivityOptions, _Mapping]] = ..., priority: _Optional[int] = ..., headers: _Optional[_Iterable[_Union[_payload_pb2.Header, _Mapping]]] = ...) -> None: ...

class CancelActivity(_message.Message):
    __slots__ = ("seq",)
    SEQ_FIELD_NUMBER: _ClassVar[int]
    seq: int
    def __init__(self, seq: _Optional[int] = ...) -> None: ...

class ScheduleTimer(_message.Message):
    __slots__ = ("seq", "duration")
    SEQ_FIELD_NUMBER: _ClassVar[int]
    DURATION_FIELD_NUMBER: _ClassVar[int]
    seq: int
    duration: _duration_pb2.Duration
    def __init__(self, seq: _Optional[int] = ..., duration: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class CancelTimer(_message.Message):
    __slots__ = ("seq",)
    SEQ_FIELD_NUMBER: _ClassVar[int]
    seq: int
    def __init__(self, seq: _Optional[int] = ...) -> None: ...

class WaitForSignal(_message.Message):
    __slots__ = ("seq", "signal_name", "timer_seq")
    SEQ_FIELD_NUMBER: _ClassVar[int]
    SIGNAL_NAME_FIELD_NUMBER: _ClassVar[int]
    TIMER_SEQ_FIELD_NUMBER: _ClassVar[int]
    seq: int
    signal_name: str
    timer_seq: int
    def __init__(self, seq: _Optional[int] = ..., signal_name: _Optional[str] = ..., timer_seq: _Optional[int] = ...) -> None: ...

class UpsertSearchAttributes(_message.Message):
    __slots__ = ("seq", "patch")
    SEQ_FIELD_NUMBER: _ClassVar[int]
    PATCH_FIELD_NUMBER: _ClassVar[int]
    seq: int
    patch: _search_attributes_pb2.SearchAttributes
    def __init__(self, seq: _Optional[int] = ..., patch: _Optional[_Union[_search_attributes_pb2.SearchAttributes, _Mapping]] = ...) -> None: ...

class RecordSnapshot(_message.Message):
    __slots__ = ("state",)
    STATE_FIELD_NUMBER: _ClassVar[int]
    state: _payload_pb2.Payload
    def __init__(self, state: _Optional[_Union[_payload_pb2.Payload, _Mapping]] = ...) -> None: ...

class StartChildWorkflow(_message.Message):
    __slots__ = ("seq", "workflow_type", "workflow_id", "task_queue", "input", "parent_close_policy", "reuse_policy", "retry_policy", "execution_timeout", "run_timeout", "priority", "headers", "memo", "search_attributes", "summary", "details")
    SEQ_FIELD_NUMBER: _ClassVar[int]
    WORKFLOW_TYPE_FIELD_NUMBER: _ClassVar[int]
    WORKFLOW_ID_FIELD_NUMBER: _ClassVar[int]
    TASK_QUEUE_FIELD_NUMBER: _ClassVar[int]
    INPUT_FIELD_NUMBER: _ClassVar[int]
    PARENT_CLOSE_POLICY_FIELD_NUMBER: _ClassVar[int]
    REUSE_POLICY_FIELD_NUMBER: _ClassVar[int]
    RETRY_POLICY_FIELD_NUMBER: _ClassVar[int]
    EXECUTION_TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    RUN_TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    HEADERS_FIELD_NUMBER: _ClassVar[int]
    MEMO_FIELD_NUMBER: _ClassVar[int]
    SEARCH_ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    SUMMARY_FIELD_NUMBER: _ClassVar[int]
    DETAILS_FIELD_NUMBER: _ClassVar[int]
    seq: int
    workflow_type: str
    workflow_id: str
    task_queue: str
    input: _payload_pb2.Payload
    parent_close_policy: _workflow_pb2.ParentClosePolicy
    reuse_policy: _workflow_pb2.ReusePolicy
    retry_policy: _retry_policy_pb2.RetryPolicy
    execution_timeout: _duration_pb2.Duration
    run_timeout: _duration_pb2.Duration
    priority: int
    headers: _containers.RepeatedCompositeFieldContainer[_payload_pb2.Header]
    memo: _payload_pb2.Payload
    search_attributes: _search_attributes_pb2.SearchAttributes
    summary: str
    details: str
    def __init__(self, seq: _Optional[int] = ..., workflow_type: _Optional[str] = ..., workflow_id: _Optional[str] = ..., task_queue: _Optional[str] = ..., input: _Optional[_Union[_payload_pb2.Payload, _Mapping]] = ..., parent_close_policy: _Optional[_Union[_workflow_pb2.ParentClosePolicy, str]] = ..., reuse_policy: _Optional[_Union[_workflow_pb2.ReusePolicy, str]] = ..., retry_policy: _Optional[_Union[_retry_policy_pb2.RetryPolicy, _Mapping]] = ..., execution_timeout: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., run_timeout: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., priority: _Optional[int] = ..., headers: _Optional[_Iterable[_Union[_payload_pb2.Header, _Mapping]]] = ..., memo: _Optional[_Union[_payload_pb2.Payload, _Mapping]] = ..., search_attributes: _Optional[_Union[_search_attributes_pb2.SearchAttributes, _Mapping]] = ..., summary: _Optional[str] = ..., details: _Optional[str] = ...) -> None: ...

class RecordSideEffect(_message.Message):
    __slots__ = ("seq", "name", "value")
    SEQ_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    seq: int
    name: str
    value: _payload_pb2.Payload
    def __init__(self, seq: _Optional[int] = ..., name: _Optional[str] = ..., value: _Optional[_Union[_payload_pb2.Payload, _Mapping]] = ...) -> None: ...

class RecordStep(_message.Message):
    __slots__ = ("seq", "step_seq", "name", "result", "failure", "attempt")
    SEQ_FIELD_NUMBER: _ClassVar[int]
    STEP_SEQ_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    seq: int
    step_seq: int
    name: str
    result: _payload_pb2.Payload
    failure: _failure_pb2.Failure
    attempt: int
    def __init__(self, seq: _Optional[int] = ..., step_seq: _Optional[int] = ..., name: _Optional[str] = ..., result: _Optional[_Union[_payload_pb2.Payload, _Mapping]] = ..., failure: _Optional[_Union[_failure_pb2.Failure, _Mapping]] = ..., attempt: _Optional[int] = ...) -> None: ...

class CancelChild(_message.Message):
    __slots__ = ("seq", "workflow_id", "run_id", "reason")
    SEQ_FIELD_NUMBER: _ClassVar[int]
    WORKFLOW_ID_FIELD_NUMBER: _ClassVar[int]
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    seq: int
    workflow_id: str
    run_id: str
    reason: str
    def __init__(self, seq: _Optional[int] = ..., workflow_id: _Optional[str] = ..., run_id: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class SignalWorkflow(_message.Message):
    __slots__ = ("seq", "workflow_id", "run_id", "signal_name", "payload")
    SEQ_FIELD_NUMBER: _ClassVar[int]
    WORKFLOW_ID_FIELD_NUMBER: _ClassVar[int]
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    SIGNAL_NAME_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    seq: int
    workflow_id: str
    run_id: str
    signal_name: str
    payload: _payload_pb2.Payload
    def __init__(self, seq: _Optional[int] = ..., workflow_id: _Optional[str] = ..., run_id: _Optional[str] = ..., signal_name: _Optional[str] = ..., payload: _Optional[_Union[_payload_pb2.Payload, _Mapping]] = ...) -> None: ...

class CompleteUpdate(_message.Message):
    __slots__ = ("requested_seq", "result")
    REQUESTED_SEQ_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    requested_seq: int
    result: _payload_pb2.Payload
    def __init__(self, requested_seq: _Optional[int] = ..., result: _Optional[_Union[_payload_pb2.Payload, _Mapping]] = ...) -> None: ...

class RejectUpdate(_message.Message):
    __slots__ = ("requested_seq", "failure")
    REQUESTED_SEQ_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    requested_seq: int
    failure: _failure_pb2.Failure
    def __init__(self, requested_seq: _Optional[int] = ..., failure: _Optional[_Union[_failure_pb2.Failure, _Mapping]] = ...) -> None: ...

class CompleteWorkflow(_message.Message):
    __slots__ = ("result", "unconsumed_signals")
    RESULT_FIELD_NUMBER: _ClassVar[int]
    UNCONSUMED_SIGNALS_FIELD_NUMBER: _ClassVar[int]
    result: _payload_pb2.Payload
    unconsumed_signals: _containers.RepeatedCompositeFieldContainer[_history_pb2.UnhandledSignal]
    def __init__(self, result: _Optional[_Union[_payload_pb2.Payload, _Mapping]] = ..., unconsumed_signals: _Optional[_Iterable[_Union[_history_pb2.UnhandledSignal, _Mapping]]] = ...) -> None: ...

class FailWorkflow(_message.Message):
    __slots__ = ("failure", "unconsumed_signals")
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    UNCONSUMED_SIGNALS_FIELD_NUMBER: _ClassVar[int]
    failure: _failure_pb2.Failure
    unconsumed_signals: _containers.RepeatedCompositeFieldContainer[_history_pb2.UnhandledSignal]
    def __init__(self, failure: _Optional[_Union[_failure_pb2.Failure, _Mapping]] = ..., unconsumed_signals: _Optional[_Iterable[_Union[_history_pb2.UnhandledSignal, _Mapping]]] = ...) -> None: ...

class CancelWorkflow(_message.Message):
    __slots__ = ("unconsumed_signals",)
    UNCONSUMED_SIGNALS_FIELD_NUMBER: _ClassVar[int]
    unconsumed_signals: _containers.RepeatedCompositeFieldContainer[_history_pb2.UnhandledSignal]
    def __init__(self, unconsumed_signals: _Optional[_Iterable[_Union[_history_pb2.UnhandledSignal, _Mapping]]] = ...) -> None: ...

class ContinueAsNew(_message.Message):
    __slots__ = ("input", "workflow_type", "task_queue", "unconsumed_signals")
    INPUT_FIELD_NUMBER: _ClassVar[int]
    WORKFLOW_TYPE_FIELD_NUMBER: _ClassVar[int]
    TASK_QUEUE_FIELD_NUMBER: _ClassVar[int]
    UNCONSUMED_SIGNALS_FIELD_NUMBER: _ClassVar[int]
    input: _payload_pb2.Payload
    workflow_type: str
    task_queue: str
    unconsumed_signals: _containers.RepeatedCompositeFieldContainer[_history_pb2.UnhandledSignal]
    def __init__(self, input: _Optional[_Union[_payload_pb2.Payload, _Mapping]] = ..., workflow_type: _Optional[str] = ..., task_queue: _Optional[str] = ..., unconsumed_signals: _Optional[_Iterable[_Union[_history_pb2.UnhandledSignal, _Mapping]]] = ...) -> None: ...
