"""The rows that workers and operators call, said twice."""

from __future__ import annotations

from tests.rest import side_given as given
from tests.rest.side_case import RETRIES, RETRIES_JSON, Case, Stream, W, value

POLL = {"task_queue": "shop", "worker_id": "me"}
POLL_JSON = '{"queue":"shop","worker_id":"me"}'
TOKEN = {"task_token": "{token}"}
COMMANDS = "POST /workflow-tasks/{id}/commands"
ME = {**W, "worker_id": "me"}
WORK = (
    Case(
        "take a workflow task", "POST /workflow-tasks/poll", POLL, POLL_JSON, given=given.signalled
    ),
    Case("take no workflow task", "POST /workflow-tasks/poll", POLL, POLL_JSON, repeats=True),
    Case(
        "take from nowhere",
        "POST /workflow-tasks/poll",
        {"worker_id": "me"},
        '{"worker_id":"me"}',
        given=given.started,
        refused="INVALID_REQUEST",
    ),
    Case(
        "commands",
        COMMANDS,
        {
            **ME,
            "commands": [
                {
                    "schedule_activity": {
                        "seq": 1,
                        "name": "charge",
                        "input": value('{"cents":100}'),
                        "options": {"retry_policy": RETRIES},
                    }
                },
                {"schedule_timer": {"seq": 1, "duration": {"seconds": 1, "nanos": 500_000_000}}},
                {"schedule_timer": {"seq": 2, "duration": {"seconds": 60}}},
                {"cancel_timer": {"seq": 2}},
                {"wait_for_signal": {"seq": 1, "signal_name": "go", "timer_seq": 1}},
            ],
        },
        '{"worker_id":"me","commands":[{"type":"ScheduleActivity","seq":1,"name":"charge",'
        '"input":{"cents":100},' + RETRIES_JSON + '},{"type":"ScheduleTimer","seq":1,'
        '"duration_secs":1.5},{"type":"ScheduleTimer","seq":2,"duration_secs":60},'
        '{"type":"CancelTimer","seq":2},'
        '{"type":"WaitForSignal","seq":1,"name":"go","timer_seq":1}]}',
        given=given.leased,
    ),
    Case(
        "change attributes",
        COMMANDS,
        {
            **ME,
            "commands": [
                {
                    "upsert_search_attributes": {
                        "patch": {"values": {"team": {"keyword": "b"}, "amount": {}}}
                    }
                }
            ],
        },
        '{"worker_id":"me","commands":[{"type":"UpsertSearchAttributes",'
        '"patch":{"team":"b","amount":null}}]}',
        given=given.leased,
    ),
    Case(
        "record steps",
        COMMANDS,
        {
            **ME,
            "commands": [
                {"record_step": {"seq": 1, "name": "fetch", "result": value("4.50"), "attempt": 2}},
                {
                    "record_step": {
                        "seq": 2,
                        "step_seq": 3,
                        "failure": {"message": "no", "type": "ValueError"},
                    }
                },
            ],
        },
        '{"worker_id":"me","commands":[{"type":"RecordStep","seq":1,"name":"fetch","result":4.50,'
        '"attempt":2},{"type":"RecordStep","seq":2,"step_seq":3,'
        '"failure":{"message":"no","type":"ValueError"}}]}',
        given=given.leased,
    ),
    Case(
        "keep a task",
        COMMANDS,
        {
            **ME,
            **TOKEN,
            "commands": [{"record_step": {"seq": 1, "result": value("[4]")}}],
            "keep_task": True,
        },
        '{"worker_id":"me","task_token":"{token}","keep_task":true,'
        '"commands":[{"type":"RecordStep","seq":1,"result":[4]}]}',
        given=given.leased,
    ),
    Case(
        "keep a task without its token",
        COMMANDS,
        {**ME, "commands": [], "keep_task": True},
        '{"worker_id":"me","commands":[],"keep_task":true}',
        given=given.leased,
        refused="INVALID_REQUEST",
    ),
    Case(
        "record a side effect",
        COMMANDS,
        {
            **ME,
            "commands": [{"record_side_effect": {"seq": 1, "name": "dice", "value": value("4")}}],
        },
        '{"worker_id":"me","commands":[{"type":"RecordSideEffect","seq":1,"name":"dice","value":4}]}',
        given=given.leased,
    ),
    Case(
        "change no attributes",
        COMMANDS,
        {
            **ME,
            "commands": [{"upsert_search_attributes": {"patch": {"values": {"": {"int": 1}}}}}],
        },
        '{"worker_id":"me","commands":[{"type":"UpsertSearchAttributes","patch":{"":1}}]}',
        given=given.leased,
        refused="INVALID_COMMAND",
    ),
    Case(
        "complete by token",
        COMMANDS,
        {**ME, **TOKEN, "commands": [{"complete_workflow": {"result": value("[1.0]")}}]},
        '{"worker_id":"me","task_token":"{token}",'
        '"commands":[{"type":"CompleteWorkflow","result":[1.0]}]}',
        given=given.leased,
    ),
    Case(
        "fail the workflow",
        COMMANDS,
        {**ME, "commands": [{"fail_workflow": {"failure": {"message": "no"}}}]},
        '{"worker_id":"me","commands":[{"type":"FailWorkflow","error":"no"}]}',
        given=given.leased,
    ),
    Case(
        "commands without a lease",
        COMMANDS,
        {**ME, "commands": [{"complete_workflow": {}}]},
        '{"worker_id":"me","commands":[{"type":"CompleteWorkflow"}]}',
        given=given.started,
        refused="STALE_TASK",
    ),
    Case(
        "one bad command of two",
        COMMANDS,
        {
            **ME,
            "commands": [
                {"schedule_timer": {"seq": 1, "duration": {"seconds": 1}}},
                {"schedule_activity": {"seq": 1}},
            ],
        },
        '{"worker_id":"me","commands":[{"type":"ScheduleTimer","seq":1,"duration_secs":1},'
        '{"type":"ScheduleActivity","seq":1}]}',
        given=given.leased,
        refused="INVALID_COMMAND",
    ),
    Case("take a task", "POST /tasks/poll", POLL, POLL_JSON, given=given.scheduled),
    Case("take no task", "POST /tasks/poll", POLL, POLL_JSON, given=given.started, repeats=True),
    Case(
        "take a task as nobody",
        "POST /tasks/poll",
        {"task_queue": "shop"},
        '{"queue":"shop"}',
        given=given.scheduled,
        refused="INVALID_REQUEST",
    ),
    Case(
        "complete",
        "POST /tasks/{id}/complete",
        {**TOKEN, "result": value('{"id":1e400}')},
        '{"result":{"id":1e400}}',
        given=given.working,
    ),
    Case(
        "complete again",
        "POST /tasks/{id}/complete",
        {**TOKEN, "result": value("[1]")},
        '{"result":[1]}',
        given=given.worked,
        repeats=True,
    ),
    Case(
        "complete what has failed",
        "POST /tasks/{id}/complete",
        TOKEN,
        given=given.failed,
        refused="STALE_TASK",
    ),
    Case(
        "fail for now",
        "POST /tasks/{id}/fail",
        {**TOKEN, "failure": {"message": "late", "type": "Late", "details": value("[1]")}},
        '{"failure":{"message":"late","type":"Late","details":[1]}}',
        given=given.working,
    ),
    Case(
        "fail for good",
        "POST /tasks/{id}/fail",
        {**TOKEN, "failure": {"message": "no", "non_retryable": True}},
        '{"error":"no","non_retryable":true}',
        given=given.working,
    ),
    Case(
        "fail what has ended",
        "POST /tasks/{id}/fail",
        {**TOKEN, "failure": {"message": "late"}},
        '{"error":"late"}',
        given=given.worked,
        refused="STALE_TASK",
    ),
    Case(
        "heartbeat",
        "POST /tasks/{id}/heartbeat",
        {**TOKEN, "details": value('"half"')},
        '{"details":"half"}',
        given=given.working,
    ),
    Case(
        "heartbeat of what should stop",
        "POST /tasks/{id}/heartbeat",
        TOKEN,
        given=given.cancelling,
    ),
    Case(
        "heartbeat of what has ended",
        "POST /tasks/{id}/heartbeat",
        TOKEN,
        given=given.worked,
        refused="STALE_TASK",
    ),
    Case(
        "register",
        "POST /workers/register",
        {
            "identity": "me",
            "task_queue": "shop",
            "workflow_types": ["checkout"],
            "activity_types": ["charge", "audit"],
            "slots": {"workflow_tasks": 2, "activity_tasks": 5},
        },
        '{"identity":"me","queue":"shop","workflows":["checkout"],"activities":'
        '["charge","audit"],"max_concurrent_workflows":2,"max_concurrent_activities":5}',
    ),
    Case(
        "register without a queue",
        "POST /workers/register",
        {"identity": "me"},
        '{"identity":"me"}',
        refused="INVALID_REQUEST",
    ),
    Case(
        "live on",
        "POST /workers/heartbeat",
        {"worker_id": "{worker}"},
        '{"worker_id":"{worker}"}',
        given=given.registered,
    ),
    Case(
        "live on unknown",
        "POST /workers/heartbeat",
        {"worker_id": "nobody"},
        '{"worker_id":"nobody"}',
        refused="WORKER_NOT_FOUND",
    ),
    Case(
        "tasks of no queue",
        "GET /tasks/stream",
        {"worker_id": "me"},
        query="worker_id=me",
        refused="INVALID_REQUEST",
    ),
)
OURS = {"name": "{namespace}"}
OURS_JSON = '{"name":"{namespace}"}'
OPERATORS = (
    Case("workers", "GET /workers", {}, given=given.busy),
    Case("queues", "GET /queues", {}, given=given.busy),
    Case("create a namespace", "POST /namespaces", OURS, OURS_JSON),
    Case(
        "create a namespace again",
        "POST /namespaces",
        OURS,
        OURS_JSON,
        given=given.created,
        refused="NAMESPACE_ALREADY_EXISTS",
    ),
    Case("namespaces", "GET /namespaces", {}, given=given.created),
    Case("a namespace", "GET /namespaces/{name}", OURS, given=given.busy),
    Case("no namespace", "GET /namespaces/{name}", OURS, refused="NAMESPACE_NOT_FOUND"),
    Case("delete a namespace", "DELETE /namespaces/{name}", OURS, given=given.created),
    Case(
        "delete a namespace and its runs",
        "DELETE /namespaces/{name}",
        {**OURS, "force": True},
        query="force=true",
        given=given.three_started,
    ),
    Case(
        "delete a namespace in use",
        "DELETE /namespaces/{name}",
        OURS,
        given=given.three_started,
        refused="NAMESPACE_IN_USE",
    ),
    Case("create a key", "POST /api-keys", {"label": "ops"}, '{"label":"ops"}'),
    Case(
        "create a key once",
        "POST /api-keys",
        {"label": "ci", "idempotent": True},
        '{"label":"ci","idempotent":true}',
        given=given.keyed,
        repeats=True,
    ),
    Case(
        "create a key with a novel",
        "POST /api-keys",
        {"label": "x" * 256},
        '{"label":"' + "x" * 256 + '"}',
        refused="LIMIT_EXCEEDED",
    ),
    Case("keys", "GET /api-keys", {}, given=given.keyed),
    Case("revoke a key", "DELETE /api-keys/{prefix}", {"prefix": "{key}"}, given=given.keyed),
    Case(
        "revoke no key",
        "DELETE /api-keys/{prefix}",
        {"prefix": "nobody"},
        given=given.keyed,
        refused="API_KEY_NOT_FOUND",
    ),
    Case("health", "GET /health", {}),
    Case("version", "GET /version", {}),
    Case("openapi", "GET /openapi.json", {}),
)
CASES = (*WORK, *OPERATORS)
STREAMS = (
    Stream(
        "tasks",
        "GET /tasks/stream",
        {**POLL, "slots": {"workflow_tasks": 2, "activity_tasks": 2}},
        1,
        query="queue=shop&worker_id=me&slots=2",
        meanwhile=((given.started, 1), (given.outside_again, 1)),
    ),
)
