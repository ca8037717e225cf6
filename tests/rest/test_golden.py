"""The exact bytes of every endpoint, through a real Envoy; `--regenerate` writes them anew.

The engine has a clock that stands still and ids that count, so that an answer has one form only.
"""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path

import pytest

from perdure_server.app import listening, running_engine
from perdure_server.rest.openapi import FILE
from tests.rest.routes import routes
from tests.support.clock import ManualClock
from tests.support.envoy import running_envoy
from tests.support.ids import SequentialIds
from tests.support.model_store import ModelStore

GOLDEN = Path(__file__).parent / "golden"
SHOWN = ("content-type", "cache-control", "www-authenticate", "link", "x-next-page-token")
START = (
    '{"workflow_type":"order","workflow_id":"o-1","input":{"z":1,"a":1234567890123456789,"f":1.0}}'
)
SCHEDULE = (
    '{"worker_id":"w","commands":[{"type":"ScheduleActivity","seq":1,"name":"charge",'
    '"input":{"cents":100}},{"type":"ScheduleTimer","seq":1,"duration_secs":1.5}]}'
)
CHILD = (
    '{"worker_id":"w","commands":[{"type":"StartChildWorkflow","workflow_type":"refund",'
    '"workflow_id":"c-1","input":[1]}]}'
)
SNAPSHOT = (
    '{"worker_id":"w","commands":[{"type":"RecordSnapshot","state":{"step":"paid","total":'
    '12345678901234567890.50,"last":null}}]}'
)
ANSWER = (
    '{"worker_id":"w","commands":[{"type":"CompleteUpdate","requested_seq":2,"result":'
    '{"total":1.50}}]}'
)
KEPT_STEP = (
    '{"worker_id":"w","task_token":"TOKEN","keep_task":true,"commands":[{"type":"RecordStep",'
    '"seq":1,"step_seq":2,"name":"fetch","result":{"total":1.50},"attempt":2}]}'
)
FAILED_STEP = (
    '{"worker_id":"w","commands":[{"type":"RecordStep","seq":2,"step_seq":1,"name":"pay",'
    '"failure":{"message":"no","type":"ValueError"}}]}'
)
FOUND = (
    '{"workflow_type":"order","workflow_id":"o-3","search_attributes":{"team":"a","amount":12,'
    '"share":1.0,"due":"2026-03-29T01:00:00Z","tags":["x","y"]},"memo":{"by":"ann"}}'
)
NIGHTLY = (
    '{"name":"nightly","workflow_type":"report","cron_expr":"30 3 * * *",'
    '"timezone":"Europe/Berlin","input":{"z":1}}'
)
BACKFILL = '{"start_at":1699900000,"end_at":1700000000}'

# Each call with the name of its file. {activity} and {key} stand for what an earlier answer told.
CALLS = (
    ("health", "GET /health", None),
    ("version", "GET /version", None),
    ("register", "POST /workers/register", '{"identity":"w","queue":"default"}'),
    ("worker_heartbeat", "POST /workers/heartbeat", '{"worker_id":"nobody"}'),
    ("list_workers", "GET /workers", None),
    ("start", "POST /workflows", START),
    ("start", "POST /workflows", START),
    ("start", "POST /workflows", '{"workflow_type":5}'),
    ("start", "POST /workflows", "[]"),
    ("execute", "POST /workflows:execute", '{"workflow_type":"order","workflow_id":"o-2"}'),
    ("get", "GET /workflows/o-1", None),
    ("get", "GET /workflows/nobody", None),
    ("list", "GET /workflows?limit=1&status=pending", None),
    ("list", "GET /workflows?limit=x", None),
    ("result", "GET /workflows/o-1/result", None),
    ("signal", "POST /workflows/o-1/signal/go", '{"payload":[1,2.50,"\\u00fc"]}'),
    ("history", "GET /workflows/o-1/events", None),
    ("history", "GET /workflows/o-1/events?order=desc&limit=1", None),
    ("poll_workflow", "POST /workflow-tasks/poll", '{"queue":"default","worker_id":"w"}'),
    ("commands", "POST /workflow-tasks/o-1/commands", SCHEDULE),
    ("commands", "POST /workflow-tasks/o-1/commands", '{"worker_id":"w","commands":[]}'),
    (
        "commands",
        "POST /workflow-tasks/o-1/commands",
        '{"worker_id":"w","commands":[{"type":"Fly"}]}',
    ),
    ("queues", "GET /queues", None),
    ("poll_activity", "POST /tasks/poll", '{"queue":"default","worker_id":"w"}'),
    ("poll_activity", "POST /tasks/poll", '{"queue":"empty","worker_id":"w"}'),
    ("get_activity", "GET /activities/{activity}", None),
    ("heartbeat", "POST /tasks/{activity}/heartbeat", '{"details":"half"}'),
    ("complete", "POST /tasks/{activity}/complete", '{"result":{"id":"r-1"}}'),
    ("complete", "POST /tasks/nobody/complete", '{"result":null}'),
    ("fail", "POST /tasks/{activity}/fail", '{"error":"late"}'),
    ("fail", "POST /tasks/{activity}/fail", "{}"),
    ("schedule_activity", "POST /workflows/o-1/activities", '{"seq":7,"name":"audit"}'),
    ("cancel", "POST /workflows/o-2/cancel", '{"reason":"enough"}'),
    ("cancel", "POST /workflows/o-2/cancel", None),
    ("terminate", "POST /workflows/o-1/terminate", '{"reason":"over"}'),
    ("get", "GET /workflows/o-1", None),
    ("result", "GET /workflows/o-1/result", None),
    ("watch_workflow", "GET /workflows/o-1/events/stream", None),
    ("watch_workflow", "GET /workflows/nobody/events/stream", None),
    ("watch", "GET /events/stream", None),
    ("watch", "GET /events/stream?after=x", None),
    ("tasks_stream", "GET /tasks/stream?queue=default&worker_id=s&slots=1", None),
    ("create_namespace", "POST /namespaces", '{"name":"shop"}'),
    ("create_namespace", "POST /namespaces", '{"name":"shop"}'),
    ("list_namespaces", "GET /namespaces", None),
    ("get_namespace", "GET /namespaces/main", None),
    ("delete_namespace", "DELETE /namespaces/shop", None),
    ("delete_namespace", "DELETE /namespaces/main", None),
    ("create_key", "POST /api-keys", '{"label":"ci"}'),
    ("create_key", "POST /api-keys", '{"label":"ci","idempotent":true}'),
    ("list_keys", "GET /api-keys", None),
    ("delete_key", "DELETE /api-keys/{key}", None),
    ("delete_key", "DELETE /api-keys/nobody", None),
    ("start", "POST /workflows", FOUND),
    ("get", "GET /workflows/o-3", None),
    ("list", "GET /workflows?filter=amount%20%3E%203%20AND%20team%20%3D%20'a'", None),
    ("list", "GET /workflows?filter=amount%20%3E", None),
    ("count", "GET /workflows:count", None),
    ("count", "GET /workflows:count?group_by=team&filter=type%20%3D%20'order'", None),
    ("start", "POST /workflows", '{"workflow_type":"t","workflow_id":"p-1","task_queue":"p"}'),
    ("poll_workflow", "POST /workflow-tasks/poll", '{"queue":"p","worker_id":"w"}'),
    ("commands", "POST /workflow-tasks/p-1/commands", CHILD),
    ("children", "GET /workflows/p-1/children", None),
    ("history", "GET /workflows/p-1/events", None),
    ("start", "POST /workflows", '{"workflow_type":"t","workflow_id":"s-1","task_queue":"p"}'),
    ("poll_workflow", "POST /workflow-tasks/poll", '{"queue":"p","worker_id":"w"}'),
    ("commands", "POST /workflow-tasks/s-1/commands", SNAPSHOT),
    ("state", "GET /workflows/s-1/state", None),
    ("state", "GET /workflows/p-1/state", None),
    ("state_value", "GET /workflows/s-1/state/total", None),
    ("state_value", "GET /workflows/s-1/state/none", None),
    ("create_schedule", "POST /schedules", NIGHTLY),
    ("create_schedule", "POST /schedules", NIGHTLY),
    ("create_schedule", "POST /schedules", '{"name":"s","workflow_type":"t","cron_expr":"* * *"}'),
    ("list_schedules", "GET /schedules", None),
    ("trigger_schedule", "POST /schedules/nightly/trigger", None),
    ("get_schedule", "GET /schedules/nightly", None),
    ("get_schedule", "GET /schedules/nobody", None),
    ("update_schedule", "PATCH /schedules/nightly", '{"cron_expr":"0 4 * * *"}'),
    ("update_schedule", "PATCH /schedules/nightly", '{"timezone":"Nowhere"}'),
    ("preview_schedule", "GET /schedules/nightly/preview?limit=2", None),
    ("backfill_schedule", "POST /schedules/nightly/backfill", BACKFILL),
    ("pause_schedule", "POST /schedules/nightly/pause", '{"note":"holidays"}'),
    ("resume_schedule", "POST /schedules/nightly/resume", None),
    ("delete_schedule", "DELETE /schedules/nightly", None),
    ("delete_schedule", "DELETE /schedules/nightly", None),
    ("pause", "POST /workflows/p-1/pause", '{"reason":"look"}'),
    ("pause", "POST /workflows/nobody/pause", None),
    ("unpause", "POST /workflows/p-1/unpause", None),
    ("continue_as_new", "POST /workflows/p-1/continue-as-new", '{"input":[2]}'),
    ("continue_as_new", "POST /workflows/o-1/continue-as-new", None),
    ("explain", "GET /workflows/s-1/explain", None),
    ("explain", "GET /workflows/p-1/explain", None),
    ("explain", "GET /workflows/o-1/explain", None),
    ("explain", "GET /workflows/nobody/explain", None),
    ("update", "POST /workflows/s-1/update/add", '{"input":[1],"request_id":"u","wait_secs":0}'),
    ("poll_workflow", "POST /workflow-tasks/poll", '{"queue":"p","worker_id":"w"}'),
    ("commands", "POST /workflow-tasks/s-1/commands", ANSWER),
    ("update", "POST /workflows/s-1/update/add", '{"input":[1],"request_id":"u"}'),
    ("update", "POST /workflows/nobody/update/add", None),
    ("history", "GET /workflows/s-1/events", None),
    ("reset", "POST /workflows/p-1/reset", '{"event_seq":1,"reason":"bug","identity":"ann"}'),
    ("reset", "POST /workflows/p-1/reset", '{"event_seq":7}'),
    ("history", "GET /workflows/p-1/events", None),
    ("retry", "POST /workflows/p-1/retry", '{"requested_by":"ann","reason":"mended"}'),
    ("retry", "POST /workflows/p-1/retry", "{}"),
    ("query", "POST /workflows/p-1/query/listed", '{"input":[1],"wait_secs":0}'),
    ("query", "POST /workflows/s-1/query/total", '{"mode":"snapshot"}'),
    ("query", "POST /workflows/s-1/query/total", '{"mode":"eager"}'),
    ("query", "POST /workflows/nobody/query/listed", None),
    ("start", "POST /workflows", '{"workflow_type":"t","workflow_id":"k-1","task_queue":"k"}'),
    ("poll_workflow", "POST /workflow-tasks/poll", '{"queue":"k","worker_id":"w"}'),
    ("commands", "POST /workflow-tasks/k-1/commands", KEPT_STEP),
    ("commands", "POST /workflow-tasks/k-1/commands", FAILED_STEP),
    ("history", "GET /workflows/k-1/events", None),
)
LIVE_RETRY = (
    '{"worker_id":"w","commands":[{"type":"ScheduleActivity","seq":1,"name":"pay","max_attempts":1'
    "}]}"
)
FAIL = '{"worker_id":"w","commands":[{"type":"FailWorkflow","error":"unpaid"}]}'
OLD_CURSOR = "MS45LjAuMA"  # Of another epoch.

# What is refused, so that each status that a row may answer with stands in its file.
REFUSED = (
    ("worker_heartbeat", "POST /workers/heartbeat", '{"worker_id":"WORKER"}'),
    ("worker_heartbeat", "POST /workers/heartbeat", '{"worker_id":5}'),
    ("register", "POST /workers/register", "{}"),
    ("list_workers", "GET /workers?limit=x", None),
    ("execute", "POST /workflows:execute", '{"workflow_type":"order","workflow_id":"o-1"}'),
    ("execute", "POST /workflows:execute", "{}"),
    ("get", "GET /workflows/%00", None),
    ("result", "GET /workflows/nobody/result", None),
    ("result", "GET /workflows/o-1/result?wait_secs=x", None),
    ("signal", "POST /workflows/nobody/signal/go", None),
    ("signal", "POST /workflows/o-1/signal/go", None),
    ("signal", "POST /workflows/o-1/signal/go", '{"signal_name":"stop"}'),
    ("history", "GET /workflows/nobody/events", None),
    ("history", "GET /workflows/o-1/events?limit=x", None),
    ("poll_workflow", "POST /workflow-tasks/poll", "{}"),
    ("poll_activity", "POST /tasks/poll", '{"queue":"default"}'),
    ("queues", "GET /queues?namespace=%00", None),
    ("get_activity", "GET /activities/nobody", None),
    ("get_activity", "GET /activities/1a1.1.1.0.run-99999999", None),
    ("heartbeat", "POST /tasks/{activity}/heartbeat", None),
    ("heartbeat", "POST /tasks/nobody/heartbeat", None),
    ("schedule_activity", "POST /workflows/nobody/activities", '{"seq":7,"name":"audit"}'),
    ("schedule_activity", "POST /workflows/o-1/activities", '{"seq":8,"name":"audit"}'),
    ("schedule_activity", "POST /workflows/o-1/activities", '{"name":"audit"}'),
    ("cancel", "POST /workflows/o-3/cancel", '{"reason":5}'),
    ("terminate", "POST /workflows/nobody/terminate", None),
    ("terminate", "POST /workflows/o-3/terminate", '{"reason":5}'),
    ("watch_workflow", "GET /workflows/o-1/events/stream?after=x", None),
    ("watch", f"GET /events/stream?after={OLD_CURSOR}", None),
    ("tasks_stream", "GET /tasks/stream?queue=default", None),
    ("create_namespace", "POST /namespaces", "{}"),
    ("list_namespaces", "GET /namespaces?limit=x", None),
    ("get_namespace", "GET /namespaces/nobody", None),
    ("get_namespace", "GET /namespaces/%00", None),
    ("delete_namespace", "DELETE /namespaces/nobody", None),
    ("delete_namespace", "DELETE /namespaces/%00", None),
    ("create_key", "POST /api-keys", '{"label":5}'),
    ("list_keys", "GET /api-keys?limit=x", None),
    ("delete_key", "DELETE /api-keys/%00", None),
    ("count", "GET /workflows:count?filter=amount%20%3E", None),
    ("children", "GET /workflows/nobody/children", None),
    ("children", "GET /workflows/p-1/children?limit=x", None),
    ("state", "GET /workflows/%00/state", None),
    ("state_value", "GET /workflows/%00/state/total", None),
    ("list_schedules", "GET /schedules?limit=x", None),
    ("create_schedule", "POST /schedules", NIGHTLY),
    ("trigger_schedule", "POST /schedules/nobody/trigger", None),
    ("trigger_schedule", "POST /schedules/nightly/trigger", '{"request_id":5}'),
    ("get_schedule", "GET /schedules/%00", None),
    ("update_schedule", "PATCH /schedules/nobody", '{"cron_expr":"0 4 * * *"}'),
    ("preview_schedule", "GET /schedules/nobody/preview", None),
    ("preview_schedule", "GET /schedules/nightly/preview?limit=x", None),
    ("backfill_schedule", "POST /schedules/nobody/backfill", BACKFILL),
    ("backfill_schedule", "POST /schedules/nightly/backfill", "{}"),
    ("pause_schedule", "POST /schedules/nobody/pause", None),
    ("pause_schedule", "POST /schedules/nightly/pause", '{"note":5}'),
    ("resume_schedule", "POST /schedules/nobody/resume", None),
    ("resume_schedule", "POST /schedules/nightly/resume", '{"note":5}'),
    ("delete_schedule", "DELETE /schedules/%00", None),
    ("pause", "POST /workflows/o-1/pause", None),
    ("pause", "POST /workflows/o-1/pause", '{"reason":5}'),
    ("unpause", "POST /workflows/nobody/unpause", None),
    ("unpause", "POST /workflows/o-1/unpause", None),
    ("unpause", "POST /workflows/o-1/unpause", '{"reason":5}'),
    ("continue_as_new", "POST /workflows/nobody/continue-as-new", None),
    ("continue_as_new", "POST /workflows/p-1/continue-as-new", '{"workflow_type":5}'),
    ("explain", "GET /workflows/%00/explain", None),
    ("update", "POST /workflows/o-1/update/add", '{"input":[1]}'),
    ("update", "POST /workflows/s-1/update/add", '{"wait_secs":301}'),
    ("reset", "POST /workflows/nobody/reset", '{"event_seq":1}'),
    ("retry", "POST /workflows/nobody/retry", '{"requested_by":"ann","reason":"mended"}'),
    ("start", "POST /workflows", '{"workflow_type":"t","workflow_id":"r-1","task_queue":"r"}'),
    ("poll_workflow", "POST /workflow-tasks/poll", '{"queue":"r","worker_id":"w"}'),
    ("commands", "POST /workflow-tasks/r-1/commands", LIVE_RETRY),
    ("poll_activity", "POST /tasks/poll", '{"queue":"r","worker_id":"w"}'),
    ("fail", "POST /tasks/{activity}/fail", '{"error":"no money"}'),
    ("complete", "POST /tasks/{activity}/complete", '{"result":"late"}'),
    ("poll_workflow", "POST /workflow-tasks/poll", '{"queue":"r","worker_id":"w"}'),
    ("commands", "POST /workflow-tasks/r-1/commands", FAIL),
    ("reset", "POST /workflows/p-1/reset?run_id={first}", '{"event_seq":1}'),
    ("retry", "POST /workflows/r-1/retry", '{"requested_by":"ann","reason":"mended"}'),
    ("history", "GET /workflows/r-1/events", None),
)
PATHS = {f"{route.verb} {route.path}" for route in routes()} - {"GET /api/v1/openapi.json"}

DOCUMENT = json.loads(FILE.read_bytes())
OWN_REFUSALS = {"400", "404", "409", "410"}
"""Statuses of refusals that are not the same everywhere."""
TAKE_ANYTHING = {"GET /api/v1/health", "GET /api/v1/version"}


async def exchange(address, line, body):
    """Makes one call; returns status line, some headers and body, or what a stream says at once."""
    verb, path = line.split(" ")
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    data = (body or "").encode()
    head = f"{verb} /api/v1{path} HTTP/1.1\r\nhost: golden\r\ncontent-length: {len(data)}\r\n\r\n"
    writer.write(head.encode() + data)
    try:
        status, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = dict(text.split(": ", 1) for text in lines if text)
        if headers.get("content-type") == "text/event-stream":
            answer = await _events(reader, whole="/workflows/" in path)
        elif headers.get("transfer-encoding") == "chunked":
            answer = await _events(reader, whole=True)
        elif "content-length" in headers:
            answer = await reader.readexactly(int(headers["content-length"]))
        else:
            answer = b""
    finally:
        writer.close()
    shown = [f"{name}: {headers[name]}" for name in SHOWN if name in headers]
    return "\n".join([status, *shown, "", answer.decode()])


async def _events(reader, *, whole):
    """Reads a stream: to its end, or the frame that comes at once."""
    frames = b""
    while size := int(await reader.readuntil(b"\r\n"), 16):
        frames += (await reader.readexactly(size + 2))[:-2]
        if not whole:
            break
    return frames


async def converse(address):
    """Makes all calls; returns the text of each file."""
    files, known = {}, dict.fromkeys(("activity", "key", "task", "worker", "first"), "")
    for name, line, given in CALLS + REFUSED:
        body = given and given.replace("TOKEN", known["task"]).replace("WORKER", known["worker"])
        answer = await exchange(address, line.format(**known) if "{" in line else line, body)
        if name == "poll_activity" and (found := re.search(r'"id":"([^"]+)"', answer)):
            known["activity"] = found[1]
        if name == "poll_workflow" and (found := re.search(r'"task_token":"([^"]+)"', answer)):
            known["task"] = found[1]
        if name == "register" and (found := re.search(r'"worker_id":"([^"]+)"', answer)):
            known["worker"] = found[1]
        if line.endswith("/p-1/continue-as-new") and (
            found := re.search(r'"run_id":"([^"]+)"', answer)
        ):
            known["first"] = known["first"] or found[1]
        if name == "create_key" and (found := re.search(r'"prefix":"([^"]+)"', answer)):
            known["key"] = found[1]
        files.setdefault(name, []).append("\n".join(filter(None, [line, body])) + "\n\n" + answer)
    return {name: "\n\n---\n\n".join(texts) + "\n" for name, texts in files.items()}


async def test_every_endpoint_answers_byte_for_byte(request):
    async with (
        running_engine(ModelStore(), ManualClock(), SequentialIds()) as engine,
        listening(engine, "127.0.0.1:0", grace_seconds=0) as address,
        running_envoy(address) as door,
    ):
        files = await converse(door.address)
    if request.config.getoption("--regenerate"):
        for name, text in files.items():
            (GOLDEN / f"{name}.http").write_text(text, encoding="utf-8")
    found = {path.stem: path.read_text(encoding="utf-8") for path in GOLDEN.glob("*.http")}
    assert files == found


def endpoint_of(line):
    """Returns the endpoint that a call is for."""
    verb, _, path = line.partition(" ")
    called = f"{verb} /api/v1{path.split('?')[0]}"
    fits = [known for known in PATHS if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", known), called)]
    # Of two that fit, the one without a variable in that place is meant.
    return min(fits, key=lambda known: known.count("{"))


def shown_of(endpoint):
    """Returns the statuses that the golden files show of an endpoint."""
    names = {name for name, line, _ in CALLS + REFUSED if endpoint_of(line) == endpoint}
    texts = [(GOLDEN / f"{name}.http").read_text(encoding="utf-8") for name in names]
    return {
        status for text in texts for status in re.findall(r"^HTTP/1.1 (\d+)", text, re.MULTILINE)
    }


@pytest.mark.parametrize("endpoint", sorted(PATHS))
def test_no_endpoint_and_no_status_is_left_out(endpoint):
    verb, _, path = endpoint.partition(" ")
    answers = DOCUMENT["paths"][path][verb.lower()]["responses"]
    described = {
        status for status, told in answers.items() if status < "300" or status in OWN_REFUSALS
    }
    # A path that leads nowhere is the same for all of them.
    if described & {"404"} and set(reasons_in(answers["404"])) == {"ROUTE_NOT_FOUND"}:
        described.discard("404")
    if endpoint in TAKE_ANYTHING:
        described.discard("400")
    assert described <= shown_of(endpoint)


def reasons_in(answer):
    """Returns the reasons that a described refusal lists."""
    if "$ref" in answer:
        answer = DOCUMENT["components"]["responses"][answer["$ref"].rpartition("/")[2]]
    return re.findall(r"^\* `(\w+)`", answer["description"], re.MULTILINE)
