"""What a request of ScheduleService may say."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from perdure.v1 import schedule_service_pb2 as pb
from perdure.v1.payload_pb2 import Payload
from perdure.v1.retry_policy_pb2 import RetryPolicy
from perdure.v1.schedule_pb2 import ScheduleSpec
from perdure_server.core import schedule_checks as checks
from perdure_server.core.errors import InvalidRequest

GOOD = Timestamp(seconds=1)
NAMED = [
    (checks.check_get_schedule, pb.GetScheduleRequest),
    (checks.check_delete_schedule, pb.DeleteScheduleRequest),
    (checks.check_pause_schedule, pb.PauseScheduleRequest),
    (checks.check_resume_schedule, pb.ResumeScheduleRequest),
    (checks.check_trigger_schedule, pb.TriggerScheduleRequest),
    (checks.check_preview_schedule, pb.PreviewScheduleRequest),
    (checks.check_update_schedule, pb.UpdateScheduleRequest),
    (checks.check_create_schedule, pb.CreateScheduleRequest),
    (checks.check_backfill_schedule, pb.BackfillScheduleRequest),
]


@pytest.mark.parametrize(("check", "kind"), NAMED)
@pytest.mark.parametrize(
    ("fields", "field"),
    [({}, "name"), ({"name": "\n"}, "name"), ({"name": "s", "namespace": "\0"}, "namespace")],
)
def test_every_request_names_a_schedule(
    check: Any, kind: Any, fields: dict[str, str], field: str
) -> None:
    with pytest.raises(InvalidRequest) as caught:
        check(kind(**fields))
    assert caught.value.field == field


def test_good_requests_pass() -> None:
    whole = ScheduleSpec(
        workflow_type="t",
        cron_expr="@daily",
        start_at=GOOD,
        end_at=GOOD,
        remaining_runs=1,
        retry_policy=RetryPolicy(max_attempts=1),
        overlap_policy=3,
    )
    checks.check_create_schedule(pb.CreateScheduleRequest(name="s", spec=whole))
    checks.check_update_schedule(pb.UpdateScheduleRequest(name="s"))
    checks.check_update_schedule(pb.UpdateScheduleRequest(name="s", spec=whole))
    for check, kind in NAMED[:6]:
        check(kind(name="s"))
    checks.check_preview_schedule(pb.PreviewScheduleRequest(name="s", after=GOOD, count=1000))
    checks.check_backfill_schedule(pb.BackfillScheduleRequest(name="s", start_at=GOOD, end_at=GOOD))
    checks.check_list_schedules(pb.ListSchedulesRequest())


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({}, "workflow_type"),
        ({"workflow_type": "t\0"}, "workflow_type"),
        ({"task_queue": "q\0"}, "task_queue"),
        ({"input": Payload(data=b"x" * (2 * 1024 * 1024 + 1))}, "input"),
        ({"overlap_policy": 99}, "overlap_policy"),
        ({"interval": Duration(seconds=-1)}, "interval"),
        ({"jitter": Duration(seconds=10**11)}, "jitter"),
        ({"start_at": Timestamp(seconds=-1)}, "start_at"),
        ({"end_at": Timestamp(seconds=5_000_000_000)}, "end_at"),
        ({"end_at": Timestamp(nanos=-1)}, "end_at"),
        ({"remaining_runs": -1}, "remaining_runs"),
        ({"remaining_runs": 0}, "remaining_runs"),
        ({"retry_policy": RetryPolicy(max_attempts=-1)}, "retry_policy.max_attempts"),
        ({"priority": 9}, "priority"),
        ({"memo": Payload(data=b"x" * (2 * 1024 * 1024 + 1))}, "memo"),
        ({"summary": "x" * 1025}, "summary"),
        ({"details": "x" * 20_481}, "details"),
        ({"search_attributes": {"values": {"": {}}}}, "search_attributes.name"),
    ],
)
def test_a_bad_field_of_a_schedule_is_named(spec: dict[str, Any], field: str) -> None:
    whole = spec if not spec else {"workflow_type": "t", **spec}
    with pytest.raises(InvalidRequest) as caught:
        checks.check_create_schedule(pb.CreateScheduleRequest(name="s", spec=ScheduleSpec(**whole)))
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("check", "kind"),
    [
        each
        for each in NAMED
        if each[0] not in (checks.check_get_schedule, checks.check_preview_schedule)
    ],
)
def test_a_request_id_is_bounded(check: Any, kind: Any) -> None:
    fields: dict[str, Any] = {"name": "s", "request_id": "x" * 256}
    if check is checks.check_create_schedule:
        fields["spec"] = ScheduleSpec(workflow_type="t")
    if check is checks.check_backfill_schedule:
        fields |= {"start_at": GOOD, "end_at": GOOD}
    with pytest.raises(InvalidRequest) as caught:
        check(kind(**fields))
    assert caught.value.field == "request_id"


@pytest.mark.parametrize(
    ("check", "request_", "field"),
    [
        (
            checks.check_create_schedule,
            pb.CreateScheduleRequest(name="s" * 201, spec=ScheduleSpec(workflow_type="t")),
            "name",
        ),
        (
            checks.check_update_schedule,
            pb.UpdateScheduleRequest(name="s", spec=ScheduleSpec(workflow_type="")),
            "workflow_type",
        ),
        (checks.check_list_schedules, pb.ListSchedulesRequest(page_size=1001), "page_size"),
        (checks.check_pause_schedule, pb.PauseScheduleRequest(name="s", note="x" * 5000), "note"),
        (
            checks.check_trigger_schedule,
            pb.TriggerScheduleRequest(name="s", overlap_policy=99),
            "overlap_policy",
        ),
        (checks.check_preview_schedule, pb.PreviewScheduleRequest(name="s", count=-1), "count"),
        (
            checks.check_preview_schedule,
            pb.PreviewScheduleRequest(name="s", after=Timestamp(seconds=-1)),
            "after",
        ),
        (
            checks.check_backfill_schedule,
            pb.BackfillScheduleRequest(name="s", end_at=GOOD),
            "start_at",
        ),
        (
            checks.check_backfill_schedule,
            pb.BackfillScheduleRequest(name="s", start_at=GOOD),
            "end_at",
        ),
        (
            checks.check_backfill_schedule,
            pb.BackfillScheduleRequest(name="s", start_at=GOOD, end_at=Timestamp()),
            "end_at",
        ),
    ],
)
def test_a_bad_field_of_a_request_is_named(check: Any, request_: Any, field: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        check(request_)
    assert caught.value.field == field
