"""Whatever is sent, the answer is a refusal that says why; nothing hangs and nothing is a 500."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest

from tests.rest.caller import START, Caller, assert_refused
from tests.rest.process import rest_server

MIB = 1024 * 1024


@pytest.fixture(scope="module")
def caller(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Caller]:
    with rest_server(tmp_path_factory.mktemp("data")) as address:
        yield Caller(address)


NO_OBJECTS = [b"1", b"0", b"-1.5", b'"text"', b"true", b"false", b"[1]", b"[{}]"]
NO_JSON = {
    "truncated": b'{"workflow_type": "t"',
    "half a string": b'{"workflow_type": "t',
    "half an escape": b'{"workflow_type": "\\u00"}',
    "no value": b'{"workflow_type": }',
    "a comma too many": b'{"workflow_type": "t",}',
    "two values": b'{"workflow_type": "t"} {}',
    "NaN": b'{"workflow_type": "t", "input": NaN}',
    "a bare word": b"workflow",
    "a comment": b'{"workflow_type": "t"} // here',
    "a control character": b'{"workflow_type": "a\nb"}',
    "a byte order mark": b'\xef\xbb\xbf{"workflow_type": "t"}',
    "UTF-16": '{"workflow_type": "t"}'.encode("utf-16"),
    "invalid UTF-8": b'{"workflow_type": "t", "input": "\xff\xfe"}',
    "invalid UTF-8 in a key": b'{"workflow_type": "t", "\xc3": 1}',
    "an overlong NUL": b'{"workflow_type": "\xc0\x80"}',
    "a surrogate as UTF-8": b'{"workflow_type": "t", "input": "\xed\xa0\x80"}',
    "101 levels": b'{"workflow_type": "t", "input": ' + b"[" * 100 + b"]" * 100 + b"}",
    "a million levels": b"[" * 1_000_000,
    "a million objects": b'{"a":' * 1_000_000,
    "a form": b"workflow_type=t",
    "nothing but NUL": b"\x00",
}
WRONG_TYPES = [
    {"workflow_type": 5},
    {"workflow_type": None},
    {"workflow_type": ["t"]},
    {"workflow_type": {}},
    {"workflow_type": ""},
    {},
    {"workflow_type": "t", "workflow_id": 5},
    {"workflow_type": "t", "workflow_id": "a\u0000b"},
    {"workflow_type": "t", "workflow_id": "é" * 128},
    {"workflow_type": "t", "priority": "3"},
    {"workflow_type": "t", "priority": 1.5},
    {"workflow_type": "t", "priority": 6},
    {"workflow_type": "t", "priority": 10**30},
    {"workflow_type": "t", "execution_timeout_secs": -1},
    {"workflow_type": "t", "execution_timeout_secs": "1s"},
    {"workflow_type": "t", "execution_timeout_secs": 1e300},
    {"workflow_type": "t", "retry_policy": 5},
    {"workflow_type": "t", "retry_policy": {"max_attempts": True}},
    {"workflow_type": "t", "conflict_policy": "PERHAPS"},
]


@pytest.mark.parametrize("body", NO_OBJECTS, ids=bytes.decode)
def test_a_body_that_is_no_object(caller: Caller, body: bytes) -> None:
    assert_refused(caller.post(body), 400)


@pytest.mark.parametrize("kind", NO_JSON)
def test_a_body_that_is_no_json(caller: Caller, kind: str) -> None:
    assert_refused(caller.post(NO_JSON[kind]), 400)


@pytest.mark.parametrize("body", WRONG_TYPES, ids=json.dumps)
def test_a_field_of_the_wrong_type(caller: Caller, body: dict[str, Any]) -> None:
    answer = caller.post(json.dumps(body).encode())
    assert_refused(answer, 400)
    *_, field = body or ["workflow_type"]
    assert field in answer[1]["details"]["field"]


@pytest.mark.parametrize("body", [b"", b"null", b"[]", b"{}", b" \n"], ids=repr)
def test_what_counts_as_an_empty_object(caller: Caller, body: bytes) -> None:
    workflow_id = caller.start(f"empty {body!r}")
    assert caller.post(body, f"{START}/{quote(workflow_id, safe='')}/terminate") == (200, {})


def test_of_two_equal_keys_the_last_one_counts(caller: Caller) -> None:
    body = b'{"workflow_type":"t","workflow_id":"first","workflow_id":"second"}'
    assert caller.post(body)[1]["workflow_id"] == "second"


def test_a_hundred_levels_pass(caller: Caller) -> None:
    body = b'{"workflow_type": "t", "input": ' + b"[" * 99 + b"]" * 99 + b"}"
    assert caller.post(body)[0] == 201


@pytest.mark.parametrize("kind", ["text/plain", "application/xml", "multipart/form-data", "x", ""])
def test_the_content_type_does_not_matter(caller: Caller, kind: str) -> None:
    assert caller.post(b'{"workflow_type": "t"}', content_type=kind)[0] == 201


def test_no_content_type(caller: Caller) -> None:
    assert caller.post(b'{"workflow_type": "t"}')[0] == 201


IDS = [
    "a/b",
    "..",
    ".",
    "../../etc",
    "a:b",
    "b:execute",
    ":cancel",
    "%2F",
    "a%b",
    "a b",
    "a+b",
    "a?b#c",
    "café",
    "日本語",
    "🦀",
    "e\u0301",
    "\u202e",
    "{workflow_id}",
    "null",
    "-",
    "'; drop table runs; --",
    "é" * 127,
]


@pytest.mark.parametrize("workflow_id", IDS)
def test_ids_of_any_characters(caller: Caller, workflow_id: str) -> None:
    caller.start(workflow_id)
    path = f"{START}/{quote(workflow_id, safe='')}"
    status, told = caller.send("GET", path)
    assert (status, told["id"]) == (200, workflow_id)
    assert caller.send("GET", f"{path}/events")[0] == 200
    assert caller.post(b"", f"{path}/signal/{quote(workflow_id, safe='')}")[0] == 200


def test_pages_of_names_of_any_characters(caller: Caller) -> None:
    for name in IDS[:-1]:  # Names of schedules are shorter.
        named = {"name": name, "workflow_type": "t", "cron_expr": "@hourly", "task_queue": name}
        for path in (START, "/api/v1/schedules", "/api/v1/namespaces"):
            assert caller.post(json.dumps(named).encode(), path)[0] == 201, (path, name)
    for path, key in (("namespaces", "name"), ("schedules", "name"), ("queues", "queue")):
        listed = caller.send("GET", f"/api/v1/{path}?limit=1000")[1]
        paged: list[str] = []
        token = ""
        while token is not None:
            query = f"limit=1&page_token={quote(token, safe='')}"
            status, page, token = caller.page(f"/api/v1/{path}?{query}")
            assert status == 200, page
            paged += [each[key] for each in page]
        assert paged == [each[key] for each in listed]
        assert set(IDS[:-1]) <= set(paged)


@pytest.mark.parametrize("path", ["a%00b", "%00", "a%0Ab", "%7F", "%C2%80"])
def test_ids_with_control_characters(caller: Caller, path: str) -> None:
    assert_refused(caller.send("GET", f"{START}/{path}"), 400)


@pytest.mark.parametrize("path", ["%FF", "%C3%28", "%ED%A0%80"])
def test_ids_that_are_not_unicode(caller: Caller, path: str) -> None:
    assert_refused(caller.send("GET", f"{START}/{path}"), 400)


@pytest.mark.parametrize("path", ["%", "%zz", "a%2", "%u0041"])
def test_broken_percent_signs(caller: Caller, path: str) -> None:
    assert_refused(caller.send("GET", f"{START}/{path}"), 400, 404)


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/api",
        "/api/v1",
        "/api/v1/",
        "/api/v1/nothing",
        "/api/v1/workflows/x/nothing",
        "/api/v1//workflows",
        "//api/v1/workflows",
        "/api/v2/workflows",
        "/api/v1/../../etc/passwd",
        "/api/v1/%2e%2e/workflows",
        "/api/v1/workflows/../workflows",
        "/api/v1/workflows:nothing",
    ],
)
def test_paths_that_lead_nowhere(caller: Caller, path: str) -> None:
    assert_refused(caller.send("GET", path), 404)


@pytest.mark.parametrize(
    ("verb", "path"),
    [
        ("DELETE", START),
        ("PUT", START),
        ("PATCH", START),
        ("POST", f"{START}/x"),
        ("GET", f"{START}/x/cancel"),
        ("DELETE", "/api/v1/health"),
        ("POST", "/api/v1/events/stream"),
        ("TRACE", START),
        ("BREW", START),
    ],
)
def test_a_wrong_method(caller: Caller, verb: str, path: str) -> None:
    assert_refused(caller.send(verb, path), 400, 404, 405)


@pytest.mark.parametrize("path", [START, "/api/v1/health", "/api/v1/events/stream", "/nothing"])
def test_head(caller: Caller, path: str) -> None:
    status, told = caller.send("HEAD", path)
    assert (status, told) == (404, None)


@pytest.mark.parametrize(
    "query",
    [
        "limit=x",
        "limit=",
        "limit=1.5",
        "limit=-1",
        "limit=1001",
        "limit=9999999999999999999999",
        "offset=10001",
        "status=PERHAPS",
        "page_token=x",
        "namespace=%00",
        "namespace=%FF",
        "type=" + "é" * 128,
        "&".join(["a=1"] * 1_001),
    ],
    ids=lambda query: query[:20],
)
def test_bad_parameters(caller: Caller, query: str) -> None:
    path = f"{START}?{quote(query, safe='=&%')}"
    assert_refused(caller.send("GET", path), 400)


@pytest.mark.parametrize("query", ["a=1", "limit=5&nothing", "&&&", "=", "%zz=1", "?", "limit=5&"])
def test_parameters_that_are_ignored(caller: Caller, query: str) -> None:
    assert caller.send("GET", f"{START}?{query}")[0] == 200


def test_a_url_of_30_kb(caller: Caller) -> None:
    assert caller.send("GET", f"{START}?nothing={'x' * 30_000}")[0] == 200
    assert_refused(caller.send("GET", f"{START}/{'x' * 30_000}"), 400, 404)


@pytest.mark.parametrize("kilobytes", [65, 100, 500])
def test_a_url_that_is_too_long(caller: Caller, kilobytes: int) -> None:
    answer = caller.send("GET", f"{START}?nothing={'x' * kilobytes * 1024}")
    assert_refused(answer, 414, 429, 431)


def test_many_headers(caller: Caller) -> None:
    headers = {f"x_{number}": "x" for number in range(500)}
    assert_refused(caller.send("GET", START, **headers), 431)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("a+b", "c"),
        ("x!", "c"),
        ("x-anything-bin", "!!!"),
        ("grpc-encoding", "zzz"),
        ("grpc-internal-encoding-request", "zzz"),
        ("x-text", "caf\xe9"),
        ("authorization", "Basic x"),
        ("idempotency-key", "x"),
        ("x-envoy-original-path", "/etc"),
        ("x-http-code", "300"),
        ("content-encoding", "gzip"),
    ],
)
def test_headers_that_grpc_does_not_know(caller: Caller, name: str, value: str) -> None:
    assert caller.send("GET", START, **{name: value})[0] == 200


@pytest.mark.parametrize("value", ["", " ", "x" * 256, "caf\xe9", "\t"])
def test_an_idempotency_key_at_the_edge(caller: Caller, value: str) -> None:
    status, told = caller.post(b'{"workflow_type":"t"}', idempotency_key=value)
    assert status == 201 or (status == 400 and told["reason"])


@pytest.mark.parametrize("value", ["x", "-1", "99999999999999999999999", "1.5", "caf\xe9"])
@pytest.mark.parametrize(
    "path", ["/api/v1/events/stream", "/api/v1/tasks/stream?queue=q&worker_id=w"]
)
def test_an_event_id_that_nobody_sent(caller: Caller, path: str, value: str) -> None:
    assert_refused(caller.send("GET", path, last_event_id=value), 400)


def test_a_payload_above_the_bound(caller: Caller) -> None:
    body = b'{"workflow_type":"t","input":"' + b"x" * (2 * MIB) + b'"}'
    status, told = caller.post(body)
    assert (status, told["reason"]) == (413, "PAYLOAD_TOO_LARGE")


def test_an_unknown_key_is_ignored_however_large(caller: Caller) -> None:
    body = b'{"workflow_type":"t","nothing":"' + b"x" * (20 * MIB) + b'"}'
    assert caller.post(body)[0] == 201


def test_a_body_above_the_bound(caller: Caller) -> None:
    # One byte too many: what is sent after the refusal may reset the connection before it is read.
    assert_refused(caller.post(b"x" * (34 * MIB + 1)), 413)


def test_a_slow_body_is_waited_for(caller: Caller) -> None:
    body = b'{"workflow_type": "t"}'
    head = f"POST {START} HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n".encode()
    answer = caller.raw(head, *(bytes([byte]) for byte in body), pause_seconds=0.02)
    assert answer[0] == 201


def test_readers_that_do_not_read_hold_back_no_calls(caller: Caller) -> None:
    signal = b'{"payload": "' + b"x" * (MIB + MIB // 2) + b'"}'
    path = f"{START}/{caller.start('much to read')}".replace(" ", "%20")
    for _ in range(20):
        assert caller.post(signal, f"{path}/signal/s")[0] == 200
    with contextlib.ExitStack() as readers:
        for _ in range(4):
            readers.enter_context(caller.unread(f"{path}/events/stream"))
        for _ in range(40):
            assert caller.send("GET", "/api/v1/health")[0] == 200


def test_a_body_in_chunks(caller: Caller) -> None:
    head = f"POST {START} HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n".encode()
    chunks = [b'c\r\n{"workflow_t\r\n', b'a\r\nype": "t"}\r\n', b"0\r\n\r\n"]
    assert caller.raw(head, *chunks)[0] == 201


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/9.9\r\n\r\n",
        b"nonsense\r\n\r\n",
        b"GET /api/v1/health HTTP/1.1\r\n\r\n",
        b"POST /api/v1/workflows HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n",
        b"POST /api/v1/workflows HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"GET /api/v1/health HTTP/1.1\r\nhost: x\r\nbad header: 1\r\n\r\n",
    ],
    ids=lambda head: head[:40].decode(),
)
def test_requests_that_are_no_http(caller: Caller, head: bytes) -> None:
    status, _ = caller.raw(head)
    assert 400 <= status < 500


def test_a_body_that_contradicts_the_path(caller: Caller) -> None:
    body = b'{"workflow_id": "other"}'
    status, told = caller.post(body, f"{START}/{caller.start('mine')}/cancel")
    assert status == 400
    assert "other" in told["error"]
    assert "mine" in told["error"]


@pytest.mark.parametrize(
    ("commands", "index"),
    [
        ([{}], 0),
        ([{"type": "Nothing"}], 0),
        ([{"type": "CancelTimer", "seq": 1}, {"type": 5}], 1),
        ([{"type": "ScheduleTimer", "seq": "1", "duration_secs": 1}], 0),
        ([5], 0),
    ],
)
def test_bad_commands(caller: Caller, commands: list[Any], index: int) -> None:
    body = json.dumps({"worker_id": "w", "commands": commands}).encode()
    answer = caller.post(body, "/api/v1/workflow-tasks/x/commands")
    assert_refused(answer, 400)
    assert str(index) in answer[1]["error"]


def test_a_failure_with_too_many_causes(caller: Caller) -> None:
    def nested(causes: int) -> dict[str, Any]:
        failure: dict[str, Any] = {"message": "root"}
        for _ in range(causes):
            failure = {"message": "m", "cause": failure}
        return failure

    def fail(causes: int) -> tuple[int, Any]:
        commands = [{"type": "FailWorkflow", "failure": nested(causes)}]
        body = json.dumps({"worker_id": "w", "commands": commands}).encode()
        return caller.post(body, "/api/v1/workflow-tasks/nested/commands")

    caller.post(b'{"workflow_id": "nested", "workflow_type": "t", "task_queue": "nested"}')
    body = b'{"queue": "nested", "worker_id": "w"}'
    assert caller.post(body, "/api/v1/workflow-tasks/poll")[0] == 200
    status, told = fail(51)
    assert (status, told["reason"]) == (400, "INVALID_COMMAND")
    assert "more causes" in told["error"]
    assert_refused(fail(90), 400)
    assert fail(50) == (200, {})
    assert caller.send("GET", f"{START}/nested")[1]["status"] == "FAILED"
