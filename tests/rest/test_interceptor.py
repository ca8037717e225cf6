"""The REST door around handlers that do not know it: requests, answers, headers, refusals."""

from __future__ import annotations

import asyncio
import json
import logging

import grpc
import pytest
from google.api.httpbody_pb2 import HttpBody

from perdure.v1 import worker_service_pb2 as working
from perdure.v1 import workflow_pb2
from perdure.v1 import workflow_service_pb2 as pb
from perdure_server.app import SystemClock, SystemIds, listening, running_engine
from perdure_server.core.errors import (
    InvalidCommand,
    InvalidRequest,
    PayloadTooLarge,
    WorkflowAlreadyExists,
    WorkflowNotFound,
)
from perdure_server.rest.interceptor import next_page
from perdure_server.rest.sse import ENDING
from tests.rest.door import ERROR_ID, Envoy, Fake, metadata_of, serving
from tests.support.model_store import ModelStore

WORKFLOWS = "/api/v1/workflows"


def workflows(**behaviours):
    return Fake("WorkflowService", **behaviours)


def workers(**behaviours):
    return Fake("WorkerService", **behaviours)


class Recorder:
    """Answers every request alike and keeps them."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.requests = []

    async def __call__(self, request):
        kept = type(request)()
        kept.CopyFrom(request)
        self.requests.append(kept)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


def refusing(error):
    async def refuse(request):
        raise error

    return refuse


# --- requests


async def test_a_request_has_path_body_and_key():
    start = Recorder(pb.StartWorkflowResponse(workflow_id="w", run_id="r", started=True))
    async with serving(workflows(StartWorkflow=start)) as envoy:
        answer = await envoy.post(
            WORKFLOWS,
            b'{"workflow_type": "T", "input": {"a" : 9007199254740993}, "unknown": 1}',
            idempotency_key="k1",
        )
    assert (answer.status, answer.content_type) == (201, "application/json")
    assert (answer.json["workflow_id"], answer.json["run_id"]) == ("w", "r")
    (request,) = start.requests
    assert (request.workflow_type, request.request_id) == ("T", "k1")
    assert request.input.data == b'{"a" : 9007199254740993}'
    assert b"unknown" not in request.SerializeToString()


async def test_ids_in_a_path_may_be_anything_in_utf_8():
    get = Recorder(pb.GetWorkflowResponse())
    async with serving(workflows(GetWorkflow=get)) as envoy:
        await envoy.get(f"{WORKFLOWS}/a%2Fb%3A..%00%C3%A9%25?run_id=r%2B+1")
    assert get.requests == [pb.GetWorkflowRequest(workflow_id="a/b:..\0é%", run_id="r+ 1")]


async def test_a_path_that_is_not_utf_8_is_refused_and_logged(caplog):
    with caplog.at_level(logging.INFO):
        async with serving(workflows(GetWorkflow=None)) as envoy:
            answer = await envoy.get(f"{WORKFLOWS}/%FF")
    assert (answer.status, answer.json["reason"]) == (400, "INVALID_REQUEST")
    assert "UTF-8" in answer.json["error"]
    assert [line["code"] for line in access_lines(caplog)] == ["INVALID_ARGUMENT"]


def access_lines(caplog):
    return [record.fields for record in caplog.records if record.name.endswith("access")]


@pytest.mark.parametrize("data", [b"\xff\xff\xff", b"\xc2\x3e\x05\xff", b"\xc2\x3e\x02\x12\x05"])
async def test_what_envoy_would_never_send_is_refused(data):
    async with serving(workflows(StartWorkflow=None)) as envoy:
        call = envoy.channel.unary_unary("/perdure.v1.WorkflowService/StartWorkflow")(
            data, metadata=metadata_of("POST", WORKFLOWS, {})
        )
        told = json.loads(HttpBody.FromString(await call).data)
        assert dict(await call.initial_metadata())["x-http-code"] == "400"
    assert told["reason"] == "INVALID_REQUEST"


@pytest.mark.parametrize("body", [b"{", b"5", b'"x"', b"[1]", b'{"workflow_type": 5}', b"\xff"])
async def test_a_bad_body_is_refused_and_logged(body, caplog):
    with caplog.at_level(logging.INFO):
        async with serving(workflows(StartWorkflow=None)) as envoy:
            answer = await envoy.post(WORKFLOWS, body)
    assert (answer.status, answer.content_type) == (400, "application/json")
    assert set(answer.json) == {"error", "reason", "details"}
    assert answer.json["reason"] == "INVALID_REQUEST"
    assert [line["reason"] for line in access_lines(caplog)] == ["INVALID_REQUEST"]


async def test_a_long_poll_ends_before_its_deadline():
    result = Recorder(pb.GetWorkflowResultResponse())
    async with serving(workflows(GetWorkflowResult=result)) as envoy:
        await envoy.call("GET", f"{WORKFLOWS}/w/result?wait_secs=60", timeout=10)
        await envoy.get(f"{WORKFLOWS}/w/result?wait_secs=60")
    assert 5 < result.requests[0].wait.ToSeconds() < 10
    assert result.requests[1].wait.ToSeconds() == 60


# --- answers


async def test_an_answer_may_be_bytes_already():
    get = Recorder(
        pb.GetWorkflowResponse(workflow=workflow_pb2.Workflow(workflow_id="w")).SerializeToString()
    )
    async with serving(workflows(GetWorkflow=get)) as envoy:
        answer = await envoy.get(f"{WORKFLOWS}/w")
    assert (answer.status, answer.headers, answer.json["id"]) == (200, {}, "w")


async def test_another_status_for_some_answers():
    result = Recorder(pb.GetWorkflowResultResponse(), pb.GetWorkflowResultResponse(closed=True))
    async with serving(workflows(GetWorkflowResult=result)) as envoy:
        assert (await envoy.get(f"{WORKFLOWS}/w/result")).status == 202
        assert (await envoy.get(f"{WORKFLOWS}/w/result")).status == 200


async def test_an_absent_answer():
    async with serving(
        workers(
            PollWorkflowTask=Recorder(working.PollWorkflowTaskResponse()),
            PollActivityTask=Recorder(working.PollActivityTaskResponse()),
        )
    ) as envoy:
        body = b'{"queue": "q", "worker_id": "w"}'
        assert (await envoy.post("/api/v1/workflow-tasks/poll", body)).body == b"null"
        assert (await envoy.post("/api/v1/tasks/poll", body)).json == {"task": None}


async def test_the_next_page_is_in_the_headers():
    listed = Recorder(pb.ListWorkflowsResponse(next_page_token="a/b+c"))
    async with serving(workflows(ListWorkflows=listed)) as envoy:
        answer = await envoy.get(f"{WORKFLOWS}?limit=2&page_token=old&type=T%20x")
    assert answer.body == b"[]"
    assert answer.headers == {
        "link": f'<{WORKFLOWS}?limit=2&type=T%20x&page_token=a%2Fb%2Bc>; rel="next"',
        "x-next-page-token": "a/b+c",
    }
    assert listed.requests[0].page_token == "old"


async def test_the_last_page_has_no_next():
    async with serving(workflows(ListWorkflows=Recorder(pb.ListWorkflowsResponse()))) as envoy:
        assert (await envoy.get(WORKFLOWS)).headers == {}


@pytest.mark.parametrize(
    ("query", "link"),
    [
        ("", "/p?cursor=t"),
        ("cursor=old", "/p?cursor=t"),
        ("cursor=1&cursor=2&a=b", "/p?a=b&cursor=t"),
        ("%63ursor=old&&a", "/p?a&cursor=t"),
        ('a=<">&b=%3C', "/p?a=%3C%22%3E&b=%3C&cursor=t"),
    ],
)
def test_the_token_takes_its_parameters_place(query, link):
    assert next_page("/p", query, "cursor", "t") == link


def history(*seqs, token=""):
    answer = pb.GetWorkflowHistoryResponse(next_page_token=token, run_id="r")
    for seq in seqs:
        answer.history.events.add(seq=seq).workflow_cancelled.SetInParent()
    return answer


async def test_a_history_is_whole_when_no_paging_is_asked():
    pages = Recorder(history(1, 2, token="t2"), history(3, token="t3"), history(4))
    async with serving(workflows(GetWorkflowHistory=pages)) as envoy:
        answer = await envoy.get(f"{WORKFLOWS}/w/events?run_id=r")
    assert [event["seq"] for event in answer.json] == [1, 2, 3, 4]
    assert answer.headers == {}
    assert [request.page_token for request in pages.requests] == ["", "t2", "t3"]
    assert {(request.workflow_id, request.run_id) for request in pages.requests} == {("w", "r")}


async def test_a_history_comes_by_pages_when_asked():
    pages = Recorder(history(2, 3, token="3"))
    async with serving(workflows(GetWorkflowHistory=pages)) as envoy:
        answer = await envoy.get(f"{WORKFLOWS}/w/events?limit=2&cursor=1")
    assert [event["seq"] for event in answer.json] == [2, 3]
    assert answer.headers["link"] == f'<{WORKFLOWS}/w/events?limit=2&cursor=3>; rel="next"'
    (request,) = pages.requests
    assert (request.page_size, request.page_token) == (2, "1")


async def test_a_refusal_while_pages_are_joined_is_the_answer():
    async def page(request):
        if request.page_token:
            raise WorkflowNotFound("no workflow 'w'")
        return history(1, token="t1")

    async with serving(workflows(GetWorkflowHistory=page)) as envoy:
        assert (await envoy.get(f"{WORKFLOWS}/w/events")).status == 404


# --- refusals


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (WorkflowAlreadyExists("taken"), 409),
        (PayloadTooLarge("too large"), 413),
        (WorkflowNotFound("none"), 404),
    ],
)
async def test_a_refusal_has_status_and_json(error, status):
    async with serving(workflows(StartWorkflow=refusing(error))) as envoy:
        answer = await envoy.post(WORKFLOWS, b'{"workflow_type": "T"}')
    assert (answer.status, answer.content_type, answer.headers) == (status, "application/json", {})
    assert answer.json == {"error": str(error), "reason": error.reason, "details": {}}


async def test_fields_are_told_by_their_rest_names():
    error = InvalidRequest("is required", "task_queue")
    async with serving(workers(PollWorkflowTask=refusing(error))) as envoy:
        answer = await envoy.post("/api/v1/workflow-tasks/poll", b'{"worker_id": "w"}')
    assert answer.json == {
        "error": "queue: is required",
        "reason": "INVALID_REQUEST",
        "details": {"field": "queue"},
    }


async def test_commands_are_told_by_index_and_field():
    error = InvalidCommand(1, "schedule_activity.name", "is required")
    async with serving(workers(CompleteWorkflowTask=refusing(error))) as envoy:
        answer = await envoy.post(
            "/api/v1/workflow-tasks/w/commands", b'{"worker_id": "w", "commands": []}'
        )
    assert answer.status == 400
    assert answer.json == {
        "error": "command 1: name: is required",
        "reason": "INVALID_COMMAND",
        "details": {"command_index": "1", "field": "name"},
    }


async def test_a_fault_of_a_handler_is_told_by_its_id(caplog):
    async with serving(workflows(GetWorkflow=refusing(ZeroDivisionError("secret")))) as envoy:
        answer = await envoy.get(f"{WORKFLOWS}/w")
    assert (answer.status, answer.json["reason"]) == (500, "INTERNAL")
    assert ERROR_ID in answer.json["error"]
    assert "secret" not in answer.json["error"]
    assert len(failures(caplog)) == 1


async def test_a_fault_of_the_door_is_told_by_its_id(caplog):
    async with serving(workflows(GetWorkflow=Recorder("secret"))) as envoy:
        answer = await envoy.get(f"{WORKFLOWS}/w")
    assert (answer.status, answer.json["reason"]) == (500, "INTERNAL")
    assert ERROR_ID in answer.json["error"]
    (line,) = failures(caplog)
    assert line.fields == {"method": "perdure.v1.WorkflowService/GetWorkflow", "error_id": ERROR_ID}


async def test_a_fault_while_reading_is_told_by_its_id(caplog, monkeypatch):
    def fail(self, request, **given):
        raise ZeroDivisionError("secret")

    monkeypatch.setattr("perdure_server.rest.interceptor.RouteCodec.read", fail)
    with caplog.at_level(logging.INFO):
        async with serving(workflows(GetWorkflow=None)) as envoy:
            answer = await envoy.get(f"{WORKFLOWS}/w")
    assert (answer.status, answer.json["reason"]) == (500, "INTERNAL")
    assert "secret" not in answer.json["error"]
    assert [line["code"] for line in access_lines(caplog)] == ["INTERNAL"]
    assert len(failures(caplog)) == 1


def failures(caplog):
    return [record for record in caplog.records if record.name.endswith("failures")]


async def test_a_caller_that_leaves_ends_its_call(caplog):
    waiting, ended = asyncio.Event(), asyncio.Event()

    async def wait(request):
        waiting.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with serving(workflows(GetWorkflowResult=wait)) as envoy:
        call = asyncio.create_task(envoy.get(f"{WORKFLOWS}/w/result"))
        await waiting.wait()
        call.cancel()
        await ended.wait()
    assert not failures(caplog)


# --- in the server as it is


@pytest.fixture
async def envoy():
    async with (
        running_engine(ModelStore(), SystemClock(), SystemIds()) as engine,
        listening(engine, "127.0.0.1:0", grace_seconds=1) as address,
    ):
        envoy = Envoy(address)
        yield envoy
        await envoy.channel.close()


async def test_a_workflow_over_rest_alone(envoy):
    body = b'{"workflow_type": "T", "workflow_id": "a/b", "input": {"z": 1.0, "a": 1e400}}'
    started = await envoy.post(WORKFLOWS, body)
    assert (started.status, started.json["workflow_id"]) == (201, "a/b")
    again = await envoy.post(WORKFLOWS, body)
    assert (again.status, again.json["reason"]) == (409, "WORKFLOW_ALREADY_EXISTS")
    shown = await envoy.get(f"{WORKFLOWS}/a%2Fb")
    assert (shown.status, shown.json["id"], shown.json["status"]) == (200, "a/b", "PENDING")
    assert b'"input":{"z": 1.0, "a": 1e400}' in shown.body
    assert (await envoy.get(f"{WORKFLOWS}/a%2Fb/result")).status == 202
    stream = envoy.open(f"{WORKFLOWS}/a%2Fb/events/stream")
    assert (await stream.first()).body.startswith(b": connected\n\nid: ")
    assert b"event: workflow_started" in await stream.next()
    assert (await envoy.post(f"{WORKFLOWS}/a%2Fb/terminate", b'{"reason": "r"}')).status == 200
    assert b"event: workflow_terminated" in await stream.rest()
    assert (await envoy.get(f"{WORKFLOWS}/a%2Fb/result")).status == 200
    events = await envoy.get(f"{WORKFLOWS}/a%2Fb/events")
    assert [event["seq"] for event in events.json] == [1, 2]


async def test_a_stream_resumes_where_it_broke(envoy):
    await envoy.post(WORKFLOWS, b'{"workflow_type": "T", "workflow_id": "w"}')
    url = f"{WORKFLOWS}/w/events/stream"
    stream = envoy.open(url)
    await stream.first()
    frame = await stream.next()
    stream.leave()
    place = frame.partition(b"\n")[0].removeprefix(b"id: ").decode()
    assert place.endswith(":1")
    await envoy.post(f"{WORKFLOWS}/w/signal/s", b'{"payload": [1]}')
    await envoy.post(f"{WORKFLOWS}/w/terminate")
    frames = await envoy.open(url, last_event_id=place).rest()
    kinds = [line for line in frames.splitlines() if line.startswith(b"event: ")]
    assert kinds == [b"event: signal_received", b"event: workflow_terminated"]


async def test_a_url_of_30_kb_is_served(envoy):
    answer = await envoy.get(f"{WORKFLOWS}?type={'x' * 30_000}")
    assert (answer.status, answer.json["reason"]) == (400, "LIMIT_EXCEEDED")
    assert answer.json["details"] == {"field": "type"}
    assert (await envoy.get(f"{WORKFLOWS}?unknown={'x' * 30_000}")).status == 200


async def test_an_unknown_workflow_is_404_on_every_path(envoy):
    for verb, path in (
        ("GET", ""),
        ("GET", "/result"),
        ("GET", "/events"),
        ("POST", "/cancel"),
        ("POST", "/signal/s"),
    ):
        answer = await envoy.call(verb, f"{WORKFLOWS}/no{path}")
        assert (answer.status, answer.json["reason"]) == (404, "WORKFLOW_NOT_FOUND")
    answer = await envoy.open(f"{WORKFLOWS}/no/events/stream").first()
    assert (answer.status, answer.json["reason"]) == (404, "WORKFLOW_NOT_FOUND")


async def test_a_stopping_server_ends_its_streams_cleanly():
    async with running_engine(ModelStore(), SystemClock(), SystemIds()) as engine:
        async with listening(engine, "127.0.0.1:0", grace_seconds=5) as address:
            envoy = Envoy(address)
            stream = envoy.open("/api/v1/events/stream")
            await stream.first()
        assert await stream.rest() == ENDING
        await envoy.channel.close()


# --- who is served how


async def test_native_callers_are_served_as_before():
    get = Recorder(pb.GetWorkflowResponse(workflow=workflow_pb2.Workflow(workflow_id="w")))
    async with serving(workflows(GetWorkflow=get)) as envoy:
        call = envoy.channel.unary_unary("/perdure.v1.WorkflowService/GetWorkflow")
        request = pb.GetWorkflowRequest(workflow_id="w").SerializeToString()
        assert pb.GetWorkflowResponse.FromString(await call(request)).workflow.workflow_id == "w"


async def test_native_callers_get_their_handler_itself():
    async with serving(workflows()) as envoy:
        method = "/perdure.v1.WorkflowService/GetWorkflow"
        details = Details(method, (("user-agent", "x"),))
        handler = envoy.door.service(details)
        assert handler is not None
        assert handler is envoy.door.service(details)
        marked = Details(method, (("x-envoy-original-path", "/"),))
        assert envoy.door.service(marked) is not handler


class Details:
    def __init__(self, method, invocation_metadata):
        self.method = method
        self.invocation_metadata = invocation_metadata


@pytest.mark.parametrize("metadata", [(), (("x-envoy-original-path", "/"),)])
async def test_an_unknown_method_is_unimplemented(metadata):
    async with serving(workflows()) as envoy:
        with pytest.raises(grpc.aio.AioRpcError) as refusal:
            await envoy.channel.unary_unary("/perdure.v1.WorkflowService/No")(
                b"", metadata=metadata
            )
    assert refusal.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_an_rpc_without_rest_is_what_it_is():
    async with serving(workers(Report=Recorder(working.ReportResponse()))) as envoy:
        call = envoy.channel.unary_unary("/perdure.v1.WorkerService/Report")
        assert await call(b"", metadata=(("x-envoy-original-path", "/"),)) == b""
