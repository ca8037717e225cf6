from __future__ import annotations

import json
from urllib.parse import quote, urlencode

import pytest
from google.protobuf.message_factory import GetMessageClass
from hypothesis import given
from hypothesis import strategies as st

from perdure.v1.admin_service_pb2 import CreateApiKeyResponse, GetOpenApiResponse
from perdure.v1.failure_pb2 import Failure
from perdure.v1.watch_service_pb2 import WatchResponse, WatchWorkflowResponse
from perdure.v1.worker_service_pb2 import (
    ListWorkersResponse,
    PollActivityTaskResponse,
    PollWorkflowTaskResponse,
    StreamTasksResponse,
)
from perdure.v1.workflow_service_pb2 import (
    ExecuteWorkflowResponse,
    GetWorkflowHistoryResponse,
    GetWorkflowResultResponse,
    ListWorkflowsResponse,
    SignalWorkflowRequest,
)
from perdure_server.core.errors import InvalidRequest
from perdure_server.rest.codec import RouteCodec
from perdure_server.rest.decoder import Decoders
from perdure_server.rest.encoder import Encoders
from perdure_server.rest.query import PARAMETERS_MAX
from tests.rest.made import PATIENT, codec, read, routes
from tests.rest.test_json_text import JSON_VALUES

METHODS = [route.method for route in routes()]


def refused(method, *args, **kwargs) -> str:
    with pytest.raises(InvalidRequest) as caught:
        read(method, *args, **kwargs)
    return str(caught.value)


@pytest.mark.parametrize("method", METHODS)
def test_every_route_has_a_codec_that_writes_an_empty_answer(method):
    answer = GetMessageClass(codec(method).route.response)()
    json.loads(codec(method).write(answer))
    json.loads(codec(method).data(answer))


@pytest.mark.parametrize("body", [b"", b" \n", b"null", b" null ", b"[]", b"[ ]", b"{}"])
def test_bodies_that_say_nothing(body):
    assert read("SignalWorkflow", body, workflow_id="w") == SignalWorkflowRequest(workflow_id="w")


@pytest.mark.parametrize(
    "body",
    [
        b"1",
        b'"a"',
        b"true",
        b"[1]",
        b"[{}]",
        b"{",
        b'{"a":1}x',
        b'{"a":NaN}',
        b'{"payload":"\xff"}',
        b'{"unknown":"\xff"}',
        b'{"unknown":' + b"[" * 100 + b"]" * 100 + b"}",
        b"[" * 100_000,
    ],
)
def test_bodies_that_are_refused(body):
    assert refused("SignalWorkflow", body).startswith("the body ")


def test_a_body_of_the_deepest_levels_is_taken():
    deep = b"[" * 99 + b"]" * 99
    assert read("SignalWorkflow", b'{"payload":%b}' % deep).payload.data == deep


def test_the_last_of_equal_keys_counts():
    assert read("SignalWorkflow", b'{"run_id":"a","run_id":"b"}').run_id == "b"
    assert read("SignalWorkflow", b'{"run_id":"a","run_id":null}').run_id == ""


def test_a_route_without_body_ignores_one():
    assert read("GetWorkflow", b'{"run_id":"x"}', workflow_id="w").run_id == ""


def test_the_path_stands_before_the_body_and_contradictions_name_both():
    request = read("CancelWorkflow", b'{"workflow_id":"\\u0077"}', "workflow_id=x", workflow_id="w")
    assert request.workflow_id == "w"
    assert read("CancelWorkflow", b'{"workflow_id":null}', workflow_id="w").workflow_id == "w"
    for body, said in ((b'"v"', '"v"'), (b"5", "5"), (b"[]", "[]")):
        text = refused("CancelWorkflow", b'{"workflow_id":%b}' % body, workflow_id="w")
        assert text == f'workflow_id: is "w" in the path and {said} in the body'


def test_the_query_fills_what_path_and_body_left():
    request = read(
        "CancelWorkflow", b'{"run_id":"b","reason":null}', "run_id=q&reason=r&namespace=n"
    )
    assert (request.run_id, request.reason, request.namespace) == ("b", "r", "n")


def test_the_idempotency_key_is_the_request_id_unless_one_is_given():
    assert read("CancelWorkflow", key="k").request_id == "k"
    assert read("CancelWorkflow", b'{"request_id":""}', key="k").request_id == "k"
    assert read("CancelWorkflow", b'{"request_id":"b"}', key="k").request_id == "b"
    assert read("CancelWorkflow", b"", "request_id=q", "k").request_id == "q"
    assert read("ExecuteWorkflow", key="k").start.request_id == "k"
    assert read("GetWorkflow", key="k").ByteSize() == 0
    assert "Unicode" in refused("CancelWorkflow", key="\ud800")


def test_queries():
    request = read("ListWorkflows", query="status=Failed&type=a+b%2B%C3%A9&limit=5&offset=2.0&x=1")
    assert (request.status, request.workflow_type) == (5, "a b+é")
    assert (request.page_size, request.offset) == (5, 2)
    assert read("ListWorkflows", query="limit=1&limit=2").page_size == 2
    assert list(read("Watch", query="kind=a&kind=b&kind=").kinds) == ["a", "b", ""]
    assert read("DeleteNamespace", query="force=TRUE").force
    assert not read("DeleteNamespace", query="force=0").force
    assert read("GetWorkflowResult", query="wait_secs=2.5").wait.nanos == 500_000_000
    request = read("StreamTasks", query="slots=5&workflows=a&workflows=b&received_batch=3")
    assert (request.slots.activity_tasks, list(request.workflow_types)) == (5, ["a", "b"])
    assert read("StreamTasks", query="max_concurrent_workflows=2").slots.workflow_tasks == 2


def test_payloads_and_messages_in_a_query_are_json_text():
    assert read("SignalWorkflow", query="payload=%7B%22a%22:1%7D").payload.data == b'{"a":1}'
    assert not read("SignalWorkflow", query="payload=null").HasField("payload")
    query = "retry_policy=" + quote('{"max_attempts":2}')
    assert read("StartWorkflow", query=query).retry_policy.max_attempts == 2
    request = read("FailActivity", query="error=e&non_retryable=1")
    assert request.failure == Failure(message="e", non_retryable=True)


@pytest.mark.parametrize(
    ("method", "query", "error"),
    [
        ("ListWorkflows", "limit=x", "limit: must be a number"),
        ("ListWorkflows", "limit=", "limit: must be a number"),
        ("ListWorkflows", "limit=1.5", "limit: is 1.5; it must be a whole number"),
        ("ListWorkflows", "limit=%201", "limit: must be a number"),
        ("ListWorkflows", "limit=99999999999", "limit: is 99999999999; it goes from"),
        ("ListWorkflows", "limit=" + "9" * 5000, "limit: is 999"),
        ("ListWorkflows", "limit=NaN", "limit: must be a number"),
        ("ListWorkflows", "limit=null", "limit: must be a number"),
        ("ListWorkflows", "limit=%D9%A1", "limit: must be a number"),
        ("ListWorkflows", "status=", "status: is '', not one of PENDING"),
        ("ListWorkflows", "status=nope", "status: is 'nope', not one of PENDING"),
        ("ListWorkflows", "type=%ff", "the query is not percent-encoded UTF-8"),
        ("GetWorkflowResult", "wait_secs=1e400", "wait_secs: is 1e400, which is out of range"),
        ("GetWorkflowResult", "wait_secs=1e12", "wait_secs: is 1e12; it goes from"),
        ("DeleteNamespace", "force=yes", "force: must be true or false"),
        ("DeleteNamespace", "force", "force: must be true or false"),
        ("SignalWorkflow", "payload=%7B", "payload: is not JSON"),
        ("SignalWorkflow", "payload=\ud800", "payload: is not Unicode text"),
        ("ListWorkflows", "type=\ud800", "type: is not Unicode text"),
        ("StreamTasks", "slots=x", "slots: must be a number"),
        ("StreamTasks", "slots=1&slots=-99999999999", "slots: is -99999999999; it goes from"),
    ],
)
def test_a_bad_parameter_is_named(method, query, error):
    assert refused(method, query=query).startswith(error)


def test_a_query_has_bounded_parameters():
    assert read("GetWorkflow", query="&".join(["x=1"] * PARAMETERS_MAX)) is not None
    assert "parameters" in refused("GetWorkflow", query="&".join(["x=1"] * (PARAMETERS_MAX + 1)))


def test_answers():
    assert codec("PollWorkflowTask").write(PollWorkflowTaskResponse()) == b"null"
    assert codec("PollActivityTask").write(PollActivityTaskResponse()) == b'{"task":null}'
    assert codec("ListWorkers").write(ListWorkersResponse()) == b"[]"
    answer = GetWorkflowHistoryResponse()
    assert codec("GetWorkflowHistory").write(answer) == b"[]"
    answer.history.events.add(seq=1).timer_fired.timer_seq = 2
    assert codec("GetWorkflowHistory").write(answer) == (
        b'[{"seq":1,"event_type":"TimerFired","payload":{"timer_seq":2},"timestamp":null}]'
    )
    document = GetOpenApiResponse()
    document.document.data = b'{"openapi" : "3.1.0"}'
    assert codec("GetOpenApi").write(document) == b'{"openapi" : "3.1.0"}'


def test_statuses():
    assert codec("StartWorkflow").status(GetWorkflowResultResponse()) == 201
    assert codec("GetWorkflowResult").status(GetWorkflowResultResponse()) == 202
    assert codec("GetWorkflowResult").status(GetWorkflowResultResponse(closed=True)) == 200
    assert codec("CreateApiKey").status(CreateApiKeyResponse(plaintext="p")) == 201
    assert codec("CreateApiKey").status(CreateApiKeyResponse()) == 200
    assert b"plaintext" not in codec("CreateApiKey").write(CreateApiKeyResponse())


def test_pages():
    assert codec("ListWorkflows").next_page(ListWorkflowsResponse(next_page_token="t")) == "t"
    assert codec("GetWorkflow").next_page(ListWorkflowsResponse(next_page_token="t")) == ""
    history = codec("GetWorkflowHistory")
    for query in ("limit=5", "a=b&cursor=", "order=desc"):
        assert history.asks_paging(query)
    for query in ("", "run_id=x", "page_size=5", "page_token=x"):
        assert not history.asks_paging(query)
    assert codec("ListWorkflows").asks_paging("offset=0")
    assert history.rest_name("page_token") == "cursor"


@pytest.mark.parametrize(
    ("method", "path", "name"),
    [
        ("PollActivityTask", "task_queue", "queue"),
        ("PollActivityTask", "wait", "wait_secs"),
        ("ExecuteWorkflow", "start.start_delay", "start_delay_secs"),
        ("ExecuteWorkflow", "workflow_id", "workflow_id"),
        ("ScheduleActivity", "options.heartbeat_timeout", "heartbeat_timeout_secs"),
        (
            "ScheduleActivity",
            "options.retry_policy.non_retryable_types[1]",
            "non_retryable_errors[1]",
        ),
        ("StartWorkflow", "retry_policy.max_interval", "retry_policy.max_interval_secs"),
        ("Watch", "kinds[2]", "kind[2]"),
        ("StreamTasks", "slots.workflow_tasks", "slots"),
        ("Register", "slots.workflow_tasks", "max_concurrent_workflows"),
        ("FailActivity", "failure", "error"),
        ("FailActivity", "failure.message", "error"),
        ("FailActivity", "failure.non_retryable", "non_retryable"),
        ("FailActivity", "failure.next_retry_delay", "failure.next_retry_delay_secs"),
        ("FailActivity", "failure.cause.cause.details", "failure.cause.cause.details"),
        ("CompleteWorkflowTask", "commands[3].signal_name", "commands[3].name"),
        (
            "CompleteWorkflowTask",
            "commands[0].schedule_timer.duration",
            "commands[0].duration_secs",
        ),
        ("CompleteWorkflowTask", "commands[0].options", "commands[0]"),
        ("CompleteWorkflowTask", "commands[0].source", "commands[0].source"),
        ("CompleteWorkflowTask", "commands[0].nope.x", "commands[0].nope.x"),
        ("CompleteWorkflowTask", "command 3: seq", "command 3: seq"),
        ("GetWorkflow", "", ""),
        ("GetWorkflow", "workflow_id.x", "workflow_id.x"),
    ],
)
def test_rest_names(method, path, name):
    assert codec(method).rest_name(path) == name


def test_events():
    watch = codec("Watch")
    message = WatchResponse(cursor="c", kind="timer_fired")
    message.event.timer_fired.timer_seq = 1
    message.event.signal_received.payload.data = b'{\r\n"a":\n1}'
    assert (watch.event_id(message), watch.event_kind(message)) == ("c", "timer_fired")
    assert b'"payload":{"a":1}' in watch.data(message)
    assert b"\n" not in watch.data(message)
    assert watch.event_kind(WatchResponse(cursor="c")) == ""
    assert codec("WatchWorkflow").event_id(WatchWorkflowResponse(cursor="r:1")) == "r:1"
    tasks = StreamTasksResponse(batch=7)
    assert (codec("StreamTasks").event_id(tasks), codec("StreamTasks").event_kind(tasks)) == (
        "7",
        "tasks",
    )
    assert (codec("GetWorkflow").event_id(tasks), codec("GetWorkflow").event_kind(tasks)) == (
        "",
        "",
    )


def test_codecs_may_share_their_plans():
    encoders, decoders = Encoders(), Decoders()
    route = codec("StartWorkflow").route
    one, two = (RouteCodec(route, encoders=encoders, decoders=decoders) for _ in range(2))
    assert one._plan is two._plan


@PATIENT
@given(value=JSON_VALUES, ascii_only=st.booleans(), indent=st.sampled_from([None, 2]))
def test_any_json_comes_back_byte_for_byte_but_for_raw_line_breaks(value, ascii_only, indent):
    try:
        sent = json.dumps(value, ensure_ascii=ascii_only, indent=indent).encode()
    except UnicodeEncodeError:
        return
    if b"\\ud" in sent or sent == b"null":
        return
    payload = read("SignalWorkflow", b'{"x":1, "payload" : %b }' % sent).payload
    assert (payload.data, payload.encoding) == (sent, "json/plain")
    answer = ExecuteWorkflowResponse()
    answer.workflow.result.CopyFrom(payload)
    written = codec("ExecuteWorkflow").write(answer)
    assert b'"result":%b,"error"' % sent.replace(b"\n", b"") in written


ALPHABET = b'[]{}",:\\u0123456789deE+-. truefalsn\n\xff\xc3'
KEYS = [
    "workflow_id",
    "commands",
    "type",
    "seq",
    "failure",
    "error",
    "cause",
    "input",
    "wait_secs",
    "slots",
    "limit",
    "status",
    "retry_policy",
    "max_attempts",
    "queue",
    "workflows",
    "payload",
    "force",
    "encoding",
    "data",
]
ODD = JSON_VALUES | st.sampled_from(["ScheduleActivity", "FailWorkflow", 1e300, -1, 2**63, "x"])
OBJECTS = st.recursive(
    ODD,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4)
    ),
)


@PATIENT
@given(
    method=st.sampled_from(METHODS),
    body=st.binary()
    | st.lists(st.sampled_from(ALPHABET)).map(bytes)
    | st.dictionaries(st.sampled_from(KEYS), OBJECTS).map(lambda o: json.dumps(o).encode()),
    query=st.text()
    | st.dictionaries(st.sampled_from(KEYS), st.text(st.characters(exclude_categories=["Cs"]))).map(
        urlencode
    ),
    key=st.text(),
)
def test_whatever_is_sent_is_read_or_refused(method, body, query, key):
    try:
        request = read(method, body, query, key)
    except InvalidRequest:
        return
    assert type(request).FromString(request.SerializeToString()) == request
