"""The one configuration of Envoy: what it says, and what a real Envoy makes of it."""

from __future__ import annotations

import asyncio
import http.client
import json
import subprocess
from contextlib import asynccontextmanager

import grpc
import pytest
import pytest_asyncio
import yaml
from grpc_health.v1 import health_pb2, health_pb2_grpc

from perdure.v1 import watch_service_pb2, workflow_service_pb2
from perdure.v1.watch_service_pb2_grpc import WatchServiceStub
from perdure.v1.workflow_service_pb2_grpc import WorkflowServiceStub
from perdure_server.app import CHANNEL_OPTIONS, SystemClock, SystemIds, listening, running_engine
from perdure_server.config import ConfigError
from perdure_server.rest.descriptor import service_files
from perdure_server.sidecar import as_yaml, compose, find_envoy
from tests.support.envoy import running_envoy
from tests.support.model_store import ModelStore
from tests.tidy.sources import ROOT

TEXT = (ROOT / "envoy.yaml").read_text(encoding="utf-8")
CONFIG = yaml.safe_load(TEXT)
(LISTENER,) = CONFIG["static_resources"]["listeners"]
(CLUSTER,) = CONFIG["static_resources"]["clusters"]
MANAGER = LISTENER["filter_chains"][0]["filters"][0]["typed_config"]
ROUTES = MANAGER["route_config"]["virtual_hosts"][0]["routes"]
FILTERS = {
    entry["name"].rpartition(".")[2]: entry["typed_config"] for entry in MANAGER["http_filters"]
}
SERVICES = [service for file in service_files() for service in file.services_by_name.values()]
METHODS = [method for service in SERVICES for method in service.methods]
LONGEST_WAIT_SECONDS = 300
in_one_loop = pytest.mark.asyncio(loop_scope="module")
MEBIBYTE = 1024 * 1024


def seconds(text):
    assert text.endswith("s")
    return float(text[:-1])


def route_of(path):
    """Returns the first route that takes a path, as Envoy does."""
    for route in ROUTES:
        match = route["match"]
        if match.get("path") == path or path.startswith(match.get("prefix", "\0")):
            return route
    raise AssertionError(path)


class TestWhatItSays:
    def test_every_service_of_the_contract_is_transcoded(self):
        transcoded = FILTERS["grpc_json_transcoder"]["services"]
        assert transcoded == sorted(service.full_name for service in SERVICES)

    @pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
    def test_every_rpc_has_a_route_that_lets_it_live(self, method):
        route = route_of(f"/{method.containing_service.full_name}/{method.name}").get("route", {})
        assert route.get("cluster") == "perdure"
        limits = [seconds(route[name]) for name in ("timeout", "idle_timeout")]
        if method.client_streaming or method.server_streaming:
            assert limits == [0, 0]
            assert "max_stream_duration" not in route["max_stream_duration"]
        else:
            assert min(limits) > LONGEST_WAIT_SECONDS
            assert seconds(route["max_stream_duration"]["max_stream_duration"]) > max(limits)

    @pytest.mark.parametrize("service", ["grpc.health.v1.Health", "grpc.reflection.v1alpha.X"])
    def test_operators_services_are_routed(self, service):
        assert route_of(f"/{service}/Call")["route"]["cluster"] == "perdure"

    def test_nothing_is_retried_that_may_have_reached_a_server(self):
        for route in ROUTES:
            if "route" in route:
                retried = route["route"]["retry_policy"]["retry_on"]
                assert retried == "connect-failure,refused-stream"

    def test_only_this_machine_reaches_it(self):
        ends = [
            end["endpoint"] for end in CLUSTER["load_assignment"]["endpoints"][0]["lb_endpoints"]
        ]
        places = [CONFIG["admin"], LISTENER, *ends]
        assert {place["address"]["socket_address"]["address"] for place in places} == {"127.0.0.1"}

    def test_a_second_envoy_cannot_take_connections(self):
        assert LISTENER["enable_reuse_port"] is False

    def test_its_pings_do_not_offend_the_server(self):
        options = dict(CHANNEL_OPTIONS)
        (protocol,) = CLUSTER["typed_extension_protocol_options"].values()
        pings = protocol["explicit_http_config"]["http2_protocol_options"]["connection_keepalive"]
        assert options["grpc.http2.max_ping_strikes"] == 0
        allowed_ms = options["grpc.http2.min_ping_interval_without_data_ms"]
        assert seconds(pings["interval"]) * 1000 > allowed_ms

    def test_readers_that_do_not_read_leave_room_for_calls(self):
        (protocol,) = CLUSTER["typed_extension_protocol_options"].values()
        http2 = protocol["explicit_http_config"]["http2_protocol_options"]
        unread = 1_000 * http2["initial_stream_window_size"]
        assert unread < http2["initial_connection_window_size"] < 2**31

    def test_no_header_and_no_query_is_logged(self):
        (log,) = MANAGER["access_log"]
        lines = log["typed_config"]["log_format"]["json_format"].values()
        asked = {line for line in lines if "REQ" in line or "RESP(" in line}
        assert asked == {"%REQ(X-ENVOY-ORIGINAL-METHOD?:METHOD)%", "%REQ(X-REQUEST-ID)%"}
        assert all("NQ" in line for line in lines if "PATH" in line)

    def test_origins_are_written_once(self):
        assert TEXT.count("localhost|127") == 1


class TestComposing:
    def test_addresses(self):
        config = compose(http="[::1]:0", servers=["127.0.0.1:1", "[::]:2"], admin="/a.sock")
        text = as_yaml(config)
        assert yaml.safe_load(text) == config
        (listener,) = config["static_resources"]["listeners"]
        assert listener["address"]["socket_address"] == {"address": "::1", "port_value": 0}
        assert config["admin"]["address"] == {"pipe": {"path": "/a.sock"}}
        (cluster,) = config["static_resources"]["clusters"]
        ends = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"]
        found = [tuple(end["endpoint"]["address"]["socket_address"].values()) for end in ends]
        assert found == [("127.0.0.1", 1), ("::1", 2)]
        assert cluster["type"] == "STATIC"

    def test_servers_may_have_names(self):
        config = compose(http="0.0.0.0:80", servers=["perdure:7766"], admin="127.0.0.1:1")
        assert config["static_resources"]["clusters"][0]["type"] == "STRICT_DNS"

    def test_the_log_may_be_left_out(self):
        config = compose(http="127.0.0.1:0", servers=[], admin="/a", access_log=False)
        assert "access_log" not in as_yaml(config)

    def test_what_is_no_address_is_refused(self):
        with pytest.raises(ConfigError, match="HOST:PORT"):
            compose(http="8080", servers=[], admin="/a")

    @pytest.mark.parametrize("server", ["127.0.0.1:7766", "perdure.example:7766", "/run/p.sock"])
    def test_envoy_accepts_it(self, server, tmp_path):
        path = tmp_path / "envoy.yaml"
        path.write_text(as_yaml(compose(http="127.0.0.1:0", servers=[server], admin="/a.sock")))
        command = [find_envoy(), "--mode", "validate", "-c", path]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    def test_envoy_accepts_the_file_as_it_is(self):
        command = [find_envoy(), "--mode", "validate", "-c", "envoy.yaml"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


class Client:
    """Speaks HTTP/1.1 with an Envoy, a connection for each call."""

    def __init__(self, door):
        self.address = door.address

    async def get(self, path, **headers):
        return await self.send("GET", path, **headers)

    async def post(self, path, body=b"", **headers):
        return await self.send("POST", path, body, **headers)

    async def send(self, verb, path, body=None, **headers):
        """Returns status, headers and body."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await asyncio.to_thread(self._send, verb, path, body, named)

    def _send(self, verb, path, body, headers):
        connection = http.client.HTTPConnection(self.address, timeout=20)
        try:
            connection.putrequest(verb, path)
            for name, value in headers.items():
                connection.putheader(name, value)
            if body is not None:
                connection.putheader("content-length", str(len(body)))
            connection.endheaders(body)
            answer = connection.getresponse()
            return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
        finally:
            connection.close()


@asynccontextmanager
async def serving(engine):
    async with (
        listening(engine, "127.0.0.1:0", grace_seconds=0) as address,
        running_envoy(address) as door,
    ):
        yield door


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def door():
    """A real Envoy in front of a real server."""
    async with (
        running_engine(ModelStore(), SystemClock(), SystemIds()) as engine,
        serving(engine) as door,
    ):
        yield door


@pytest.fixture
def client(door):
    return Client(door)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def channel(door):
    async with grpc.aio.insecure_channel(door.address) as channel:
        yield channel


def refusal(answer):
    """Returns status and reason of an error in our shape."""
    status, headers, body = answer
    error = json.loads(body)
    assert headers["content-type"] == "application/json"
    assert set(error) == {"error", "reason", "details"}
    assert error["error"]
    return status, error["reason"]


@in_one_loop
class TestRest:
    async def test_a_status_of_the_server_arrives(self, client):
        status, headers, body = await client.post("/api/v1/workflows", b'{"workflow_type": "t"}')
        assert status == 201
        assert headers["content-type"] == "application/json"
        assert not {"x-http-code", "grpc-status", "grpc-message"} & set(headers)
        assert json.loads(body)["status"] == "PENDING"

    async def test_health(self, client):
        status, _, _ = await client.get("/healthz")
        assert status == 200
        status, _, _ = await client.get("/api/v1/health")
        assert status == 200

    async def test_no_content_has_no_body(self, client):
        status, _, body = await client.post("/api/v1/api-keys", b'{"label": "a"}')
        assert status == 201
        key = json.loads(body)
        secret = {"authorization": f"Bearer {key['plaintext']}"}
        status, headers, body = await client.send(
            "DELETE", f"/api/v1/api-keys/{key['prefix']}", **secret
        )
        assert (status, body) == (204, b"")
        assert "content-type" not in headers

    @pytest.mark.parametrize(
        ("path", "workflow_id"),
        [
            ("a%2Fb", "a/b"),
            ("a:execute", "a:execute"),
            ("a:b", "a:b"),
            ("%C3%A9+%20", "é+ "),
            ("..", ".."),
            ("a%252Fb", "a%2Fb"),
            ("%2e%2E%2f.", "../."),
            ("a;b=c,d", "a;b=c,d"),
        ],
    )
    async def test_ids_may_be_any_text(self, client, path, workflow_id):
        body = json.dumps({"workflow_type": "t", "workflow_id": workflow_id}).encode()
        status, _, _ = await client.post("/api/v1/workflows", body)
        assert status == 201
        status, _, body = await client.get(f"/api/v1/workflows/{path}")
        assert (status, json.loads(body)["id"]) == (200, workflow_id)
        status, _, body = await client.post(f"/api/v1/workflows/{path}/cancel")
        assert status == 200, body

    async def test_a_verb_of_a_collection(self, client):
        answer = await client.post("/api/v1/workflows:execute", b"{}")
        assert refusal(answer)[0] == 400
        assert b"workflow_type" in answer[2]
        answer = await client.post("/api/v1/workflows%3Aexecute?workflow_type=", b"{}")
        assert refusal(answer)[0] == 400

    async def test_a_stream_of_events_begins_at_once(self, door):
        reader, writer = await asyncio.open_connection(*door.address.split(":"))
        writer.write(b"GET /api/v1/events/stream HTTP/1.1\r\nhost: x\r\n\r\n")
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        assert b" 200 " in head
        assert b"content-type: text/event-stream" in head
        await reader.readuntil(b": ")
        writer.close()


@in_one_loop
class TestRefusals:
    @pytest.mark.parametrize(
        ("verb", "path"),
        [
            ("GET", "/"),
            ("GET", "/api/v1/nothing"),
            ("GET", "/api/v1/nothing?key=secret"),
            ("PUT", "/api/v1/workflows"),
            ("HEAD", "/api/v1/workflows"),
            ("POST", "/perdure.v1.WorkflowService/StartWorkflow"),
            ("GET", "/api/v2/workflows"),
            ("GET", "/api/v1/workflows/a/b/c/d"),
        ],
    )
    async def test_no_route(self, client, verb, path):
        answer = await client.send(verb, path, b"" if verb == "POST" else None)
        if verb == "HEAD":
            assert answer[0] == 404
            return
        assert refusal(answer) == (404, "ROUTE_NOT_FOUND")
        assert b"secret" not in answer[2]

    async def test_a_body_beyond_the_bound(self, client):
        _, _, before = await client.get("/api/v1/workflows")
        body = b'{"input": "' + b"x" * (35 * MEBIBYTE) + b'"}'
        try:
            answer = await client.post("/api/v1/workflows", body)
        except (BrokenPipeError, ConnectionResetError):
            # Refused before all of it was sent, so the answer may be lost; nothing else is.
            answer = None
        assert answer is None or refusal(answer) == (413, "REQUEST_TOO_LARGE")
        status, _, after = await client.get("/api/v1/workflows")
        assert (status, after) == (200, before)

    async def test_a_body_beyond_the_bound_of_the_server(self, client):
        body = b'{"input": "' + b"x" * (34 * MEBIBYTE - 100) + b'"}'
        assert refusal(await client.post("/api/v1/workflows", body)) == (413, "REQUEST_TOO_LARGE")

    async def test_a_large_body_within_the_bounds_reaches_the_server(self, client):
        body = b'{"workflow_type": "t", "input": "' + b"x" * (20 * MEBIBYTE) + b'"}'
        assert refusal(await client.post("/api/v1/workflows", body)) == (413, "PAYLOAD_TOO_LARGE")

    async def test_headers_beyond_the_bound(self, client):
        status, _, _ = await client.get("/api/v1/workflows", cookie="x" * 70_000)
        assert status == 431

    async def test_a_long_url_reaches_the_server(self, client):
        status, _, body = await client.get(f"/api/v1/workflows?type={'x' * 30_000}")
        assert status in (200, 400), body

    async def test_an_error_of_the_server_keeps_its_shape(self, client):
        answer = await client.get("/api/v1/workflows/none")
        assert refusal(answer) == (404, "WORKFLOW_NOT_FOUND")

    async def test_no_server(self):
        async with running_envoy("127.0.0.1:1") as door:
            client = Client(door)
            assert refusal(await client.get("/api/v1/workflows")) == (503, "UNAVAILABLE")
            assert refusal(await client.get("/healthz")) == (503, "UNAVAILABLE")
            async with grpc.aio.insecure_channel(door.address) as channel:
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await WorkflowServiceStub(channel).ListWorkflows(
                        workflow_service_pb2.ListWorkflowsRequest()
                    )
        assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
        assert "{" not in caught.value.details()


@in_one_loop
class TestOrigins:
    PAGE = "http://localhost:3000"
    STRANGER = "https://evil.example"

    async def test_a_page_of_this_machine_may_ask(self, client):
        wanted = {
            "access_control_request_method": "POST",
            "access_control_request_headers": "authorization,idempotency-key,last-event-id",
        }
        status, headers, _ = await client.send(
            "OPTIONS", "/api/v1/workflows", origin=self.PAGE, **wanted
        )
        assert status == 200
        assert headers["access-control-allow-origin"] == self.PAGE
        allowed = set(headers["access-control-allow-headers"].split(", "))
        assert {"authorization", "content-type", "last-event-id", "idempotency-key"} <= allowed
        status, headers, _ = await client.get("/api/v1/workflows", origin=self.PAGE)
        assert status == 200
        assert {"link", "x-next-page-token"} <= set(
            headers["access-control-expose-headers"].split(", ")
        )

    async def test_others_change_nothing(self, client):
        body = b'{"workflow_type": "t", "workflow_id": "of-a-page"}'
        for origin in (self.STRANGER, "null", f"{self.PAGE}.evil.example"):
            answer = await client.post(
                "/api/v1/workflows", body, origin=origin, content_type="text/plain"
            )
            assert refusal(answer) == (403, "ORIGIN_REFUSED")
            assert "access-control-allow-origin" not in answer[1]
        assert (await client.get("/api/v1/workflows/of-a-page"))[0] == 404
        status, _, _ = await client.post("/api/v1/workflows", body, origin=self.PAGE)
        assert status == 201


@in_one_loop
class TestGrpc:
    async def test_calls_and_streams(self, channel):
        stub = WorkflowServiceStub(channel)
        watch = WatchServiceStub(channel).Watch(watch_service_pb2.WatchRequest())
        assert (await watch.read()).cursor
        await stub.StartWorkflow(
            workflow_service_pb2.StartWorkflowRequest(workflow_id="w", workflow_type="t")
        )
        assert (await watch.read()).workflow_id == "w"
        watch.cancel()

    async def test_health(self, channel):
        answer = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
        assert answer.status == health_pb2.HealthCheckResponse.SERVING

    async def test_errors_stay_as_they_are(self, channel):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await WorkflowServiceStub(channel).GetWorkflow(
                workflow_service_pb2.GetWorkflowRequest(workflow_id="none")
            )
        assert caught.value.code() == grpc.StatusCode.NOT_FOUND
        assert "grpc-status-details-bin" in dict(caught.value.trailing_metadata())
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await channel.unary_unary("/perdure.v1.WorkflowService/Nothing")(b"")
        assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await channel.unary_unary("/nothing.Service/Call")(b"")
        assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED
        assert "{" not in caught.value.details()

    async def test_nobody_can_pretend_to_come_from_rest(self, channel):
        forged = (("x-envoy-original-path", "/api/v1/workflows"),)
        answer = await WorkflowServiceStub(channel).StartWorkflow(
            workflow_service_pb2.StartWorkflowRequest(workflow_id="forged", workflow_type="t"),
            metadata=forged,
        )
        assert answer.workflow_id == "forged"

    async def test_grpc_web(self, client):
        request = workflow_service_pb2.ListWorkflowsRequest().SerializeToString()
        status, headers, body = await client.post(
            "/perdure.v1.WorkflowService/ListWorkflows",
            b"\0" + len(request).to_bytes(4, "big") + request,
            content_type="application/grpc-web+proto",
            x_grpc_web="1",
        )
        assert (status, headers["content-type"]) == (200, "application/grpc-web+proto")
        assert b"grpc-status:0" in body
