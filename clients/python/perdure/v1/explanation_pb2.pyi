import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from perdure.v1 import failure_pb2 as _failure_pb2
from perdure.v1 import rest_pb2 as _rest_pb2
from perdure.v1 import workflow_pb2 as _workflow_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class CauseKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CAUSE_KIND_UNSPECIFIED: _ClassVar[CauseKind]
    CAUSE_KIND_CLOSED: _ClassVar[CauseKind]
    CAUSE_KIND_PAUSED: _ClassVar[CauseKind]
    CAUSE_KIND_NOT_DETERMINISTIC: _ClassVar[CauseKind]
    CAUSE_KIND_WORKFLOW_TASK_FAILING: _ClassVar[CauseKind]
    CAUSE_KIND_NO_WORKER: _ClassVar[CauseKind]
    CAUSE_KIND_TYPE_MISSING: _ClassVar[CauseKind]
    CAUSE_KIND_WORKERS_NOT_ASKING: _ClassVar[CauseKind]
    CAUSE_KIND_WORKERS_BUSY: _ClassVar[CauseKind]
    CAUSE_KIND_START_DELAYED: _ClassVar[CauseKind]
    CAUSE_KIND_CODE_RUNNING: _ClassVar[CauseKind]
    CAUSE_KIND_CANCEL_REQUESTED: _ClassVar[CauseKind]
    CAUSE_KIND_ACTIVITY_PAUSED: _ClassVar[CauseKind]
    CAUSE_KIND_ACTIVITY_RETRYING: _ClassVar[CauseKind]
    CAUSE_KIND_ACTIVITY_RUNNING: _ClassVar[CauseKind]
    CAUSE_KIND_CHILD_OPEN: _ClassVar[CauseKind]
    CAUSE_KIND_SIGNAL: _ClassVar[CauseKind]
    CAUSE_KIND_TIMER: _ClassVar[CauseKind]
    CAUSE_KIND_NOTHING_PENDING: _ClassVar[CauseKind]
    CAUSE_KIND_UPDATE: _ClassVar[CauseKind]
    CAUSE_KIND_SIGNALS_UNSEEN: _ClassVar[CauseKind]
    CAUSE_KIND_MESSAGE: _ClassVar[CauseKind]
CAUSE_KIND_UNSPECIFIED: CauseKind
CAUSE_KIND_CLOSED: CauseKind
CAUSE_KIND_PAUSED: CauseKind
CAUSE_KIND_NOT_DETERMINISTIC: CauseKind
CAUSE_KIND_WORKFLOW_TASK_FAILING: CauseKind
CAUSE_KIND_NO_WORKER: CauseKind
CAUSE_KIND_TYPE_MISSING: CauseKind
CAUSE_KIND_WORKERS_NOT_ASKING: CauseKind
CAUSE_KIND_WORKERS_BUSY: CauseKind
CAUSE_KIND_START_DELAYED: CauseKind
CAUSE_KIND_CODE_RUNNING: CauseKind
CAUSE_KIND_CANCEL_REQUESTED: CauseKind
CAUSE_KIND_ACTIVITY_PAUSED: CauseKind
CAUSE_KIND_ACTIVITY_RETRYING: CauseKind
CAUSE_KIND_ACTIVITY_RUNNING: CauseKind
CAUSE_KIND_CHILD_OPEN: CauseKind
CAUSE_KIND_SIGNAL: CauseKind
CAUSE_KIND_TIMER: CauseKind
CAUSE_KIND_NOTHING_PENDING: CauseKind
CAUSE_KIND_UPDATE: CauseKind
CAUSE_KIND_SIGNALS_UNSEEN: CauseKind
CAUSE_KIND_MESSAGE: CauseKind

class ExplainWorkflowRequest(_message.Message):
    __slots__ = ("namespace", "workflow_id", "run_id")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    WORKFLOW_ID_FIELD_NUMBER: _ClassVar[int]
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    workflow_id: str
    run_id: str
    def __init__(self, namespace: _Optional[str] = ..., workflow_id: _Optional[str] = ..., run_id: _Optional[str] = ...) -> None: ...

class ExplainWorkflowResponse(_message.Message):
    __slots__ = ("workflow_id", "run_id", "status", "causes", "more")
    WORKFLOW_ID_FIELD_NUMBER: _ClassVar[int]
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    CAUSES_FIELD_NUMBER: _ClassVar[int]
    MORE_FIELD_NUMBER: _ClassVar[int]
    workflow_id: str
    run_id: str
    status: _workflow_pb2.WorkflowStatus
    causes: _containers.RepeatedCompositeFieldContainer[Cause]
    more: int
    def __init__(self, workflow_id: _Optional[str] = ..., run_id: _Optional[str] = ..., status: _Optional[_Union[_workflow_pb2.WorkflowStatus, str]] = ..., causes: _Optional[_Iterable[_Union[Cause, _Mapping]]] = ..., more: _Optional[int] = ...) -> None: ...

class Cause(_message.Message):
    __slots__ = ("kind", "text", "name", "seq", "task_queue", "worker_identity", "attempt", "since", "until", "last_heartbeat_at", "failure", "reason", "identity")
    KIND_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    SEQ_FIELD_NUMBER: _ClassVar[int]
    TASK_QUEUE_FIELD_NUMBER: _ClassVar[int]
    WORKER_IDENTITY_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    SINCE_FIELD_NUMBER: _ClassVar[int]
    UNTIL_FIELD_NUMBER: _ClassVar[int]
    LAST_HEARTBEAT_AT_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    IDENTITY_FIELD_NUMBER: _ClassVar[int]
    kind: CauseKind
    text: str
    name: str
    seq: int
    task_queue: str
    worker_identity: str
    attempt: int
    since: _timestamp_pb2.Timestamp
    until: _timestamp_pb2.Timestamp
    last_heartbeat_at: _timestamp_pb2.Timestamp
    failure: _failure_pb2.Failure
    reason: str
    identity: str
    def __init__(self, kind: _Optional[_Union[CauseKind, str]] = ..., text: _Optional[str] = ..., name: _Optional[str] = ..., seq: _Optional[int] = ..., task_queue: _Optional[str] = ..., worker_identity: _Optional[str] = ..., attempt: _Optional[int] = ..., since: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., until: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., last_heartbeat_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., failure: _Optional[_Union[_failure_pb2.Failure, _Mapping]] = ..., reason: _Optional[str] = ..., identity: _Optional[str] = ...) -> None: ...
