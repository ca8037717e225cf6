"""Owns what a request of ScheduleService may say: one function per RPC.

The rest is as in `checks`. What the fields of a schedule mean together is judged in `schedule`.
"""

from __future__ import annotations

from google.protobuf.timestamp_pb2 import Timestamp

from perdure.v1.schedule_pb2 import OverlapPolicy, ScheduleSpec
from perdure.v1.schedule_service_pb2 import (
    BackfillScheduleRequest,
    CreateScheduleRequest,
    DeleteScheduleRequest,
    GetScheduleRequest,
    ListSchedulesRequest,
    PauseScheduleRequest,
    PreviewScheduleRequest,
    ResumeScheduleRequest,
    TriggerScheduleRequest,
    UpdateScheduleRequest,
)
from perdure_server.core.attributes import check_labels
from perdure_server.core.errors import InvalidRequest, InvalidSchedule
from perdure_server.core.fields import (
    check_count,
    check_duration,
    check_id,
    check_page_size,
    check_payload,
    check_priority,
    check_reason,
    check_retry_policy,
    check_text,
    require_id,
)
from perdure_server.core.limits import (
    PAGE_SIZE_MAX,
    REMAINING_RUNS_MAX,
    SCHEDULE_NAME_BYTES_MAX,
    SCHEDULE_TIME_US_MAX,
    SECOND_US,
)
from perdure_server.core.times import from_timestamp

_NANOS = 1_000_000_000
_DURATIONS = (
    "interval",
    "interval_offset",
    "catchup_window",
    "jitter",
    "execution_timeout",
    "run_timeout",
)
_AnyRequest = (
    DeleteScheduleRequest
    | GetScheduleRequest
    | PauseScheduleRequest
    | PreviewScheduleRequest
    | ResumeScheduleRequest
    | TriggerScheduleRequest
    | BackfillScheduleRequest
    | UpdateScheduleRequest
    | CreateScheduleRequest
)


def check_create_schedule(request: CreateScheduleRequest) -> None:
    """Checks CreateSchedule."""
    _check_name(request)
    check_text("name", request.name, SCHEDULE_NAME_BYTES_MAX)
    require_id("workflow_type", request.spec.workflow_type)
    _check_spec(request.spec)
    check_reason("note", request.note)
    check_id("request_id", request.request_id)


def check_list_schedules(request: ListSchedulesRequest) -> None:
    """Checks ListSchedules."""
    check_id("namespace", request.namespace)
    check_page_size(request.page_size)


def check_get_schedule(request: GetScheduleRequest) -> None:
    """Checks GetSchedule."""
    _check_name(request)


def check_update_schedule(request: UpdateScheduleRequest) -> None:
    """Checks UpdateSchedule."""
    _check_name(request)
    if request.spec.HasField("workflow_type"):
        require_id("workflow_type", request.spec.workflow_type)
    _check_spec(request.spec)
    check_id("request_id", request.request_id)


def check_delete_schedule(request: DeleteScheduleRequest) -> None:
    """Checks DeleteSchedule."""
    _check_name(request)
    check_id("request_id", request.request_id)


def check_pause_schedule(request: PauseScheduleRequest) -> None:
    """Checks PauseSchedule."""
    _check_name(request)
    check_id("request_id", request.request_id)
    check_reason("note", request.note)


def check_resume_schedule(request: ResumeScheduleRequest) -> None:
    """Checks ResumeSchedule."""
    _check_name(request)
    check_id("request_id", request.request_id)
    check_reason("note", request.note)


def check_trigger_schedule(request: TriggerScheduleRequest) -> None:
    """Checks TriggerSchedule."""
    _check_name(request)
    _check_policy(request.overlap_policy)
    check_id("request_id", request.request_id)


def check_backfill_schedule(request: BackfillScheduleRequest) -> None:
    """Checks BackfillSchedule."""
    _check_name(request)
    for field in ("start_at", "end_at"):
        if not request.HasField(field):
            raise InvalidRequest("is required", field)
        _check_instant(field, getattr(request, field))
    if from_timestamp(request.end_at) < from_timestamp(request.start_at):
        raise InvalidRequest("is before start_at", "end_at")
    _check_policy(request.overlap_policy)
    check_id("request_id", request.request_id)


def check_preview_schedule(request: PreviewScheduleRequest) -> None:
    """Checks PreviewSchedule."""
    _check_name(request)
    check_count("count", request.count, PAGE_SIZE_MAX)
    if request.HasField("after"):
        _check_instant("after", request.after)


def _check_name(request: _AnyRequest) -> None:
    check_id("namespace", request.namespace)
    require_id("name", request.name)


def _check_spec(spec: ScheduleSpec) -> None:
    check_id("task_queue", spec.task_queue)
    check_payload("input", spec.input)
    _check_policy(spec.overlap_policy)
    for field in _DURATIONS:
        check_duration(field, getattr(spec, field))
    for field in ("start_at", "end_at"):
        if spec.HasField(field):
            _check_instant(field, getattr(spec, field))
    if spec.HasField("remaining_runs"):
        check_count("remaining_runs", spec.remaining_runs, REMAINING_RUNS_MAX)
        if not spec.remaining_runs:
            raise InvalidRequest("must be positive", "remaining_runs")
    if spec.HasField("retry_policy"):
        check_retry_policy("retry_policy", spec.retry_policy)
    check_priority("priority", spec.priority)
    check_labels(spec)


def _check_policy(policy: int) -> None:
    if policy not in OverlapPolicy.values():
        raise InvalidSchedule(f"{policy} is no overlap policy", "overlap_policy")


def _check_instant(field: str, instant: Timestamp) -> None:
    if not 0 <= instant.nanos < _NANOS:
        raise InvalidRequest(f"has {instant.nanos} nanoseconds", field)
    if not 0 <= instant.seconds < SCHEDULE_TIME_US_MAX // SECOND_US:
        raise InvalidRequest("is not between 1970 and 2099", field)
