"""The rows about schedules, said twice."""

from __future__ import annotations

from tests.rest import side_given as given
from tests.rest.side_case import RETRIES, RETRIES_JSON, Case, value

S = {"name": "nightly"}
SPEC = {"workflow_type": "report", "cron_expr": "30 3 * * *"}
SPEC_JSON = '"workflow_type":"report","cron_expr":"30 3 * * *"'
NIGHTLY_JSON = '{"name":"nightly",' + SPEC_JSON + "}"

CASES = (
    Case("schedule", "POST /schedules", {**S, "spec": SPEC}, NIGHTLY_JSON),
    Case(
        "schedule with all",
        "POST /schedules",
        {
            **S,
            "spec": {
                **SPEC,
                "timezone": "Europe/Berlin",
                "input": value('{"z":1,"a":12345678901234567890.5}'),
                "task_queue": "shop",
                "overlap_policy": "OVERLAP_POLICY_BUFFER_ONE",
                "catchup_window": {"seconds": 60},
                "jitter": {"seconds": 1, "nanos": 500_000_000},
                "start_at": {"seconds": 1_700_000_000, "nanos": 500_000_000},
                "end_at": {"seconds": 1_900_000_000},
                "remaining_runs": 3,
                "pause_on_failure": True,
                "retry_policy": RETRIES,
                "execution_timeout": {"seconds": 3600},
                "run_timeout": {"seconds": 60},
                "priority": 1,
                "memo": value("[2]"),
                "search_attributes": {"values": {"team": {"keyword": "a"}}},
                "summary": "sales",
                "details": "of the day",
            },
            "paused": True,
            "note": "not yet",
            "request_id": "r-9",
        },
        '{"name":"nightly",' + SPEC_JSON + ',"timezone":"Europe/Berlin","input":'
        '{"z":1,"a":12345678901234567890.5},"task_queue":"shop","overlap_policy":"buffer_one",'
        '"catchup_window_secs":60,"jitter_secs":1.5,"start_at":1700000000.5,"end_at":1900000000,'
        '"remaining_runs":3,"pause_on_failure":true,"retry_policy":{' + RETRIES_JSON + "},"
        '"execution_timeout_secs":3600,"run_timeout_secs":60,"priority":1,"memo":[2],'
        '"search_attributes":{"team":"a"},"summary":"sales","details":"of the day","paused":true,'
        '"note":"not yet","request_id":"r-9"}',
    ),
    Case(
        "schedule an interval",
        "POST /schedules",
        {
            **S,
            "spec": {
                "workflow_type": "t",
                "interval": {"seconds": 90},
                "interval_offset": {"seconds": 5},
            },
        },
        '{"name":"nightly","workflow_type":"t","interval_secs":90,"interval_offset_secs":5}',
    ),
    Case(
        "schedule again",
        "POST /schedules",
        {**S, "spec": SPEC},
        NIGHTLY_JSON,
        given=given.nightly,
        refused="SCHEDULE_ALREADY_EXISTS",
    ),
    Case(
        "schedule nothing",
        "POST /schedules",
        {**S, "spec": {"workflow_type": "t", "cron_expr": "0 0 0 ? * 2"}},
        '{"name":"nightly","workflow_type":"t","cron_expr":"0 0 0 ? * 2"}',
        refused="INVALID_SCHEDULE",
    ),
    Case("schedules", "GET /schedules", {}, given=given.nightly),
    Case("a schedule", "GET /schedules/{name}", S, given=given.busy_nightly),
    Case("no schedule", "GET /schedules/{name}", S, refused="SCHEDULE_NOT_FOUND"),
    Case(
        "change a schedule",
        "PATCH /schedules/{name}",
        {
            **S,
            "spec": {
                "cron_expr": "@hourly",
                "timezone": "America/New_York",
                "overlap_policy": "OVERLAP_POLICY_ALLOW_ALL",
            },
            "clear": ["input"],
        },
        '{"cron_expr":"@hourly","timezone":"America/New_York","overlap_policy":"ALLOW_ALL",'
        '"clear":["input"],"task_queue":null}',
        given=given.nightly,
    ),
    Case(
        "change a schedule to nothing",
        "PATCH /schedules/{name}",
        {**S, "spec": {"timezone": "Nowhere"}},
        '{"timezone":"Nowhere"}',
        given=given.nightly,
        refused="INVALID_SCHEDULE",
    ),
    Case("delete a schedule", "DELETE /schedules/{name}", S, given=given.nightly),
    Case(
        "pause a schedule once",
        "POST /schedules/{name}/pause",
        {**S, "request_id": "r-1"},
        '{"request_id":"r-1"}',
        given=given.nightly,
    ),
    Case("delete no schedule", "DELETE /schedules/{name}", S, refused="SCHEDULE_NOT_FOUND"),
    Case(
        "pause a schedule",
        "POST /schedules/{name}/pause",
        {**S, "note": "holidays"},
        '{"note":"holidays"}',
        given=given.nightly,
    ),
    Case("pause none", "POST /schedules/{name}/pause", S, refused="SCHEDULE_NOT_FOUND"),
    Case("resume a schedule", "POST /schedules/{name}/resume", S, "[]", given=given.paused_nightly),
    Case("resume none", "POST /schedules/{name}/resume", S, refused="SCHEDULE_NOT_FOUND"),
    Case(
        "trigger a schedule",
        "POST /schedules/{name}/trigger",
        {**S, "overlap_policy": "OVERLAP_POLICY_ALLOW_ALL"},
        '{"overlap_policy":"allow_all"}',
        given=given.busy_nightly,
    ),
    Case(
        "trigger while one runs",
        "POST /schedules/{name}/trigger",
        S,
        given=given.busy_nightly,
        repeats=True,
    ),
    Case("trigger none", "POST /schedules/{name}/trigger", S, refused="SCHEDULE_NOT_FOUND"),
    Case(
        "backfill a schedule",
        "POST /schedules/{name}/backfill",
        {**S, "start_at": {"seconds": 1_699_000_000}, "end_at": {"seconds": 1_699_300_000}},
        '{"start_at":1699000000,"end_at":1699300000}',
        given=given.nightly,
    ),
    Case(
        "backfill without an end",
        "POST /schedules/{name}/backfill",
        {**S, "start_at": {"seconds": 1}},
        '{"start_at":1}',
        given=given.nightly,
        refused="INVALID_REQUEST",
    ),
    Case(
        "preview a schedule",
        "GET /schedules/{name}/preview",
        {**S, "count": 3},
        query="limit=3",
        given=given.paused_nightly,
    ),
    Case(
        "preview a schedule later",
        "GET /schedules/{name}/preview",
        {**S, "after": {"seconds": 1_800_000_000}},
        query="after=1800000000",
        given=given.nightly,
    ),
)
