import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from perdure.v1 import payload_pb2 as _payload_pb2
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class FailureKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FAILURE_KIND_UNSPECIFIED: _ClassVar[FailureKind]
    FAILURE_KIND_APPLICATION: _ClassVar[FailureKind]
    FAILURE_KIND_TIMEOUT: _ClassVar[FailureKind]
    FAILURE_KIND_CANCELLED: _ClassVar[FailureKind]
    FAILURE_KIND_TERMINATED: _ClassVar[FailureKind]
    FAILURE_KIND_WORKER_LOST: _ClassVar[FailureKind]
    FAILURE_KIND_LIMIT: _ClassVar[FailureKind]

class TimeoutType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TIMEOUT_TYPE_UNSPECIFIED: _ClassVar[TimeoutType]
    TIMEOUT_TYPE_SCHEDULE_TO_START: _ClassVar[TimeoutType]
    TIMEOUT_TYPE_START_TO_CLOSE: _ClassVar[TimeoutType]
    TIMEOUT_TYPE_SCHEDULE_TO_CLOSE: _ClassVar[TimeoutType]
    TIMEOUT_TYPE_HEARTBEAT: _ClassVar[TimeoutType]
    TIMEOUT_TYPE_RUN: _ClassVar[TimeoutType]
    TIMEOUT_TYPE_EXECUTION: _ClassVar[TimeoutType]
FAILURE_KIND_UNSPECIFIED: FailureKind
FAILURE_KIND_APPLICATION: FailureKind
FAILURE_KIND_TIMEOUT: FailureKind
FAILURE_KIND_CANCELLED: FailureKind
FAILURE_KIND_TERMINATED: FailureKind
FAILURE_KIND_WORKER_LOST: FailureKind
FAILURE_KIND_LIMIT: FailureKind
TIMEOUT_TYPE_UNSPECIFIED: TimeoutType
TIMEOUT_TYPE_SCHEDULE_TO_START: TimeoutType
TIMEOUT_TYPE_START_TO_CLOSE: TimeoutType
TIMEOUT_TYPE_SCHEDULE_TO_CLOSE: TimeoutType
TIMEOUT_TYPE_HEARTBEAT: TimeoutType
TIMEOUT_TYPE_RUN: TimeoutType
TIMEOUT_TYPE_EXECUTION: TimeoutType

class Failure(_message.Message):
    __slots__ = ("message", "kind", "type", "non_retryable", "details", "stack_trace", "cause", "next_retry_delay", "timeout_type")
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    NON_RETRYABLE_FIELD_NUMBER: _ClassVar[int]
    DETAILS_FIELD_NUMBER: _ClassVar[int]
    STACK_TRACE_FIELD_NUMBER: _ClassVar[int]
    CAUSE_FIELD_NUMBER: _ClassVar[int]
    NEXT_RETRY_DELAY_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_TYPE_FIELD_NUMBER: _ClassVar[int]
    message: str
    kind: FailureKind
    type: str
    non_retryable: bool
    details: _payload_pb2.Payload
    stack_trace: str
    cause: Failure
    next_retry_delay: _duration_pb2.Duration
    timeout_type: TimeoutType
    def __init__(self, message: _Optional[str] = ..., kind: _Optional[_Union[FailureKind, str]] = ..., type: _Optional[str] = ..., non_retryable: _Optional[bool] = ..., details: _Optional[_Union[_payload_pb2.Payload, _Mapping]] = ..., stack_trace: _Optional[str] = ..., cause: _Optional[_Union[Failure, _Mapping]] = ..., next_retry_delay: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., timeout_type: _Optional[_Union[TimeoutType, str]] = ...) -> None: ...
