import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from perdure.v1 import failure_pb2 as _failure_pb2
from perdure.v1 import payload_pb2 as _payload_pb2
from perdure.v1 import rest_pb2 as _rest_pb2
from perdure.v1 import retry_policy_pb2 as _retry_policy_pb2
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ActivityStatus(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ACTIVITY_STATUS_UNSPECIFIED: _ClassVar[ActivityStatus]
    ACTIVITY_STATUS_PENDING: _ClassVar[ActivityStatus]
    ACTIVITY_STATUS_RUNNING: _ClassVar[ActivityStatus]
    ACTIVITY_STATUS_BACKING_OFF: _ClassVar[ActivityStatus]
    ACTIVITY_STATUS_COMPLETED: _ClassVar[ActivityStatus]
    ACTIVITY_STATUS_FAILED: _ClassVar[ActivityStatus]
    ACTIVITY_STATUS_CANCELLED: _ClassVar[ActivityStatus]
    ACTIVITY_STATUS_TIMED_OUT: _ClassVar[ActivityStatus]
ACTIVITY_STATUS_UNSPECIFIED: ActivityStatus
ACTIVITY_STATUS_PENDING: ActivityStatus
ACTIVITY_STATUS_RUNNING: ActivityStatus
ACTIVITY_STATUS_BACKING_OFF: ActivityStatus
ACTIVITY_STATUS_COMPLETED: ActivityStatus
ACTIVITY_STATUS_FAILED: ActivityStatus
ACTIVITY_STATUS_CANCELLED: ActivityStatus
ACTIVITY_STATUS_TIMED_OUT: ActivityStatus

class Activity(_message.Message):
    __slots__ = ("seq", "name", "task_queue", "status", "attempt", "options", "input", "scheduled_at", "started_at", "next_attempt_at", "last_failure", "heartbeat_details", "last_heartbeat_at", "cancel_requested", "worker_identity", "waiting_reason", "activity_id", "workflow_id", "run_id", "result", "failure", "completed_at", "external", "paused")
    SEQ_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    TASK_QUEUE_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    INPUT_FIELD_NUMBER: _ClassVar[int]
    SCHEDULED_AT_FIELD_NUMBER: _ClassVar[int]
    STARTED_AT_FIELD_NUMBER: _ClassVar[int]
    NEXT_ATTEMPT_AT_FIELD_NUMBER: _ClassVar[int]
    LAST_FAILURE_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_DETAILS_FIELD_NUMBER: _ClassVar[int]
    LAST_HEARTBEAT_AT_FIELD_NUMBER: _ClassVar[int]
    CANCEL_REQUESTED_FIELD_NUMBER: _ClassVar[int]
    WORKER_IDENTITY_FIELD_NUMBER: _ClassVar[int]
    WAITING_REASON_FIELD_NUMBER: _ClassVar[int]
    ACTIVITY_ID_FIELD_NUMBER: _ClassVar[int]
    WORKFLOW_ID_FIELD_NUMBER: _ClassVar[int]
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    COMPLETED_AT_FIELD_NUMBER: _ClassVar[int]
    EXTERNAL_FIELD_NUMBER: _ClassVar[int]
    PAUSED_FIELD_NUMBER: _ClassVar[int]
    seq: int
    name: str
    task_queue: str
    status: ActivityStatus
    attempt: int
    options: ActivityOptions
    input: _payload_pb2.Payload
    scheduled_at: _timestamp_pb2.Timestamp
    started_at: _timestamp_pb2.Timestamp
    next_attempt_at: _timestamp_pb2.Timestamp
    last_failure: _failure_pb2.Failure
    heartbeat_details: _payload_pb2.Payload
    last_heartbeat_at: _timestamp_pb2.Timestamp
    cancel_requested: bool
    worker_identity: str
    waiting_reason: str
    activity_id: str
    workflow_id: str
    run_id: str
    result: _payload_pb2.Payload
    failure: _failure_pb2.Failure
    completed_at: _timestamp_pb2.Timestamp
    external: bool
    paused: bool
    def __init__(self, seq: _Optional[int] = ..., name: _Optional[str] = ..., task_queue: _Optional[str] = ..., status: _Optional[_Union[ActivityStatus, str]] = ..., attempt: _Optional[int] = ..., options: _Optional[_Union[ActivityOptions, _Mapping]] = ..., input: _Optional[_Union[_payload_pb2.Payload, _Mapping]] = ..., scheduled_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., started_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., next_attempt_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., last_failure: _Optional[_Union[_failure_pb2.Failure, _Mapping]] = ..., heartbeat_details: _Optional[_Union[_payload_pb2.Payload, _Mapping]] = ..., last_heartbeat_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., cancel_requested: _Optional[bool] = ..., worker_identity: _Optional[str] = ..., waiting_reason: _Optional[str] = ..., activity_id: _Optional[str] = ..., workflow_id: _Optional[str] = ..., run_id: _Optional[str] = ..., result: _Optional[_Union[_payload_pb2.Payload, _Mapping]] = ..., failure: _Optional[_Union[_failure_pb2.Failure, _Mapping]] = ..., completed_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., external: _Optional[bool] = ..., paused: _Optional[bool] = ...) -> None: ...

class ActivityOptions(_message.Message):
    __slots__ = ("retry_policy", "schedule_to_start_timeout", "start_to_close_timeout", "schedule_to_close_timeout", "heartbeat_timeout")
    RETRY_POLICY_FIELD_NUMBER: _ClassVar[int]
    SCHEDULE_TO_START_TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    START_TO_CLOSE_TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    SCHEDULE_TO_CLOSE_TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    retry_policy: _retry_policy_pb2.RetryPolicy
    schedule_to_start_timeout: _duration_pb2.Duration
    start_to_close_timeout: _duration_pb2.Duration
    schedule_to_close_timeout: _duration_pb2.Duration
    heartbeat_timeout: _duration_pb2.Duration
    def __init__(self, retry_policy: _Optional[_Union[_retry_policy_pb2.RetryPolicy, _Mapping]] = ..., schedule_to_start_timeout: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., start_to_close_timeout: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., schedule_to_close_timeout: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., heartbeat_timeout: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...
