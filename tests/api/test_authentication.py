"""Who may call a server that asks for API keys: on each door, with each RPC."""

from __future__ import annotations

import asyncio
import json
import logging
from contextlib import asynccontextmanager

import grpc
import pytest
from google.api.httpbody_pb2 import HttpBody
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from perdure.v1 import (
    admin_service_pb2,
    namespace_service_pb2,
    watch_service_pb2,
    worker_service_pb2,
    workflow_service_pb2,
)
from perdure.v1.admin_service_pb2_grpc import AdminServiceStub
from perdure.v1.watch_service_pb2_grpc import WatchServiceStub
from perdure.v1.worker_service_pb2_grpc import WorkerServiceStub
from perdure.v1.workflow_service_pb2_grpc import WorkflowServiceStub
from perdure_server.api.authentication import OPEN, Authentication
from perdure_server.api.interceptors import Interceptors
from perdure_server.api.rpcs import rpcs_of
from perdure_server.app import listening
from perdure_server.rest.options import routes_of

admin = admin_service_pb2
worker = worker_service_pb2
workflow = workflow_service_pb2

SERVICES = [
    service
    for file in (
        admin_service_pb2,
        namespace_service_pb2,
        watch_service_pb2,
        worker_service_pb2,
        workflow_service_pb2,
    )
    for service in file.DESCRIPTOR.services_by_name.values()
]
METHODS = sorted(
    f"{service.name}/{method.name}" for service in SERVICES for method in service.methods
)
GUARDED = [name for name in METHODS if name not in OPEN]
REFLECTION = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
ROUTES = [
    route
    for route in routes_of(SERVICES)
    if f"{route.service.rpartition('.')[2]}/{route.method}" not in OPEN
]
STREAMING = {
    REFLECTION,
    *(
        f"/{service.full_name}/{method.name}"
        for service in SERVICES
        for method in service.methods
        if method.client_streaming
    ),
}
WRONG = "perdure_" + "0" * 64
LISTED = reflection_pb2.ServerReflectionRequest(list_services="")


def bearer(key, scheme="Bearer"):
    return (("authorization", f"{scheme} {key}"),)


@pytest.fixture
async def server(engine):
    """A server that asks for keys."""
    async with listening(engine, "127.0.0.1:0", 0, auth="keys") as address:
        yield address


@pytest.fixture
async def channel(server):
    async with grpc.aio.insecure_channel(server) as channel:
        yield channel


@pytest.fixture
async def key(channel):
    """A key that stands."""
    return await create(channel)


@pytest.fixture
async def revoked(channel, key):
    """A key that stood."""
    made = await create(channel, key=key.plaintext)
    await revoke(channel, made.prefix, key)
    return made


async def create(channel, *, key=None, label=""):
    request = admin.CreateApiKeyRequest(label=label)
    metadata = bearer(key) if key else ()
    return await AdminServiceStub(channel).CreateApiKey(request, metadata=metadata)


async def revoke(channel, prefix, key):
    request = admin.DeleteApiKeyRequest(prefix=prefix)
    await AdminServiceStub(channel).DeleteApiKey(request, metadata=bearer(key.plaintext))


async def first_word(channel, path, metadata=(), data=None):
    """Calls a method in its own shape; returns (code, reason, text) or "served".

    With no `data` a stream of requests stays silent: gRPC's client tells INTERNAL in place of the
    refusal when it was about to write.
    """
    call = _open(channel, path, metadata, data)
    try:
        await anext(aiter(call), None)
    except grpc.aio.AioRpcError as error:
        return told(error)
    finally:
        call.cancel()
    return "served"


def _open(channel, path, metadata, data):
    if path not in STREAMING:
        return channel.unary_stream(path)(data or b"", metadata=metadata)

    async def feed():
        if data is None:
            await asyncio.Event().wait()
        yield data

    return channel.stream_stream(path)(feed(), metadata=metadata)


def told(error):
    reason = ""
    for name, value in error.trailing_metadata() or ():
        if name == "grpc-status-details-bin":
            info = ErrorInfo()
            assert Status.FromString(value).details[0].Unpack(info)
            reason = info.reason
    return error.code().name, reason, error.details()


def assert_refused(answer, *secrets):
    assert answer[:2] == ("UNAUTHENTICATED", "UNAUTHENTICATED")
    assert "PERDURE_API_KEY" in answer[2]
    for secret in secrets:
        assert secret not in answer[2]


async def test_every_rpc_refuses_who_has_no_valid_key(channel, key, revoked):
    assert len(GUARDED) > 30
    presented = {
        "missing": (),
        "wrong": bearer(WRONG),
        "revoked": bearer(revoked.plaintext),
        "prefix": bearer(key.prefix),
        "empty": bearer(""),
        "scheme": (("authorization", f"Basic {key.plaintext}"),),
        "bare": (("authorization", key.plaintext),),
        "twice": bearer(key.plaintext) * 2,
    }
    for path in [*(f"/perdure.v1.{name}" for name in GUARDED), REFLECTION]:
        for metadata in presented.values():
            answer = await first_word(channel, path, metadata)
            assert_refused(answer, key.plaintext, revoked.plaintext, WRONG)


async def test_a_key_is_asked_for_before_the_message_is_looked_at(channel, key):
    for name in GUARDED:
        method = next(m for s in SERVICES for m in s.methods if f"{s.name}/{m.name}" == name)
        if not method.client_streaming:
            assert_refused(await first_word(channel, f"/perdure.v1.{name}", data=b"\xff\xff\xff"))


async def test_every_rpc_serves_who_has_a_key(channel, key):
    for path in [*(f"/perdure.v1.{name}" for name in METHODS), REFLECTION]:
        data = LISTED.SerializeToString() if path == REFLECTION else b""
        answer = await first_word(channel, path, bearer(key.plaintext), data)
        assert answer == "served" or answer[0] in ("INVALID_ARGUMENT", "NOT_FOUND"), path


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
async def test_the_scheme_is_read_in_any_case(channel, key, scheme):
    metadata = bearer(key.plaintext, scheme)
    assert await AdminServiceStub(channel).ListApiKeys(
        admin.ListApiKeysRequest(), metadata=metadata
    )


@pytest.mark.parametrize("metadata", [(), bearer(WRONG)], ids=["missing", "wrong"])
async def test_some_calls_need_no_key(channel, key, metadata):
    stub = AdminServiceStub(channel)
    assert (await stub.GetHealth(admin.GetHealthRequest(), metadata=metadata)).status == "ok"
    assert (await stub.GetVersion(admin.GetVersionRequest(), metadata=metadata)).version
    assert await stub.GetOpenApi(admin.GetOpenApiRequest(), metadata=metadata)
    health = health_pb2_grpc.HealthStub(channel)
    for service in ("", "perdure.v1.WorkflowService"):
        request = health_pb2.HealthCheckRequest(service=service)
        answer = await health.Check(request, metadata=metadata)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING


async def test_the_first_key_needs_none_and_the_second_does(channel):
    first = await create(channel)
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await create(channel)
    assert_refused(told(refusal.value))
    second = await create(channel, key=first.plaintext)
    assert second.prefix != first.prefix


async def test_nothing_else_is_open_while_there_is_no_key(channel):
    for name in GUARDED:
        if name != "AdminService/CreateApiKey":
            assert_refused(await first_word(channel, f"/perdure.v1.{name}"))


async def test_a_first_key_is_checked_like_any_other(channel):
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await create(channel, label="x" * 256)
    assert told(refusal.value)[:2] == ("INVALID_ARGUMENT", "LIMIT_EXCEEDED")


async def test_of_first_keys_that_race_one_wins(channel):
    outcomes = await asyncio.gather(*(create(channel) for _ in range(8)), return_exceptions=True)
    made = [outcome for outcome in outcomes if not isinstance(outcome, BaseException)]
    refused = [outcome for outcome in outcomes if isinstance(outcome, grpc.aio.AioRpcError)]
    assert (len(made), len(refused)) == (1, 7)
    for refusal in refused:
        assert told(refusal)[:2] == ("UNAUTHENTICATED", "UNAUTHENTICATED")
    listed = await AdminServiceStub(channel).ListApiKeys(
        admin.ListApiKeysRequest(), metadata=bearer(made[0].plaintext)
    )
    assert [shown.prefix for shown in listed.api_keys] == [made[0].prefix]


async def test_after_the_last_key_the_next_is_the_first_again(channel, key):
    await revoke(channel, key.prefix, key)
    assert (await create(channel)).prefix != key.prefix


@asynccontextmanager
async def streams(channel, metadata):
    """One stream of each kind, all of which have said something."""

    async def hello():
        yield worker.WorkRequest(
            hello={"session_id": "s", "task_queue": "q", "workflow_types": ["W"]}
        )
        await asyncio.Event().wait()

    async def ping():
        yield workflow.SessionRequest(ping=1)
        await asyncio.Event().wait()

    async def listing():
        yield LISTED
        await asyncio.Event().wait()

    watch = watch_service_pb2.WatchRequest()
    calls = {
        "work": WorkerServiceStub(channel).Work(hello(), metadata=metadata),
        "session": WorkflowServiceStub(channel).Session(ping(), metadata=metadata),
        "watch": WatchServiceStub(channel).Watch(watch, metadata=metadata),
        "reflection": reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(
            listing(), metadata=metadata
        ),
    }
    for call in calls.values():
        assert await call.read() is not grpc.aio.EOF
    try:
        yield calls
    finally:
        for call in calls.values():
            call.cancel()


async def rest_of(call):
    try:
        while await call.read() is not grpc.aio.EOF:
            pass
    except grpc.aio.AioRpcError as error:
        return told(error)
    return "ended"


async def test_a_revoked_key_ends_its_streams_and_no_others(channel, key):
    made = await create(channel, key=key.plaintext)
    async with streams(channel, bearer(made.plaintext)) as calls:
        other = WatchServiceStub(channel).Watch(
            watch_service_pb2.WatchRequest(), metadata=bearer(key.plaintext)
        )
        await other.read()
        await revoke(channel, made.prefix, key)
        for call in calls.values():
            assert_refused(await rest_of(call), made.plaintext)
        assert not other.done()
        other.cancel()


class Polled:
    """A service whose polls wait until the test ends them."""

    DESCRIPTOR = worker.DESCRIPTOR.services_by_name["WorkerService"]

    def __init__(self):
        self.begun, self.may_end = asyncio.Event(), asyncio.Event()

    def __getattr__(self, name):
        return self._poll

    async def _poll(self, request):
        self.begun.set()
        await self.may_end.wait()
        return worker.PollWorkflowTaskResponse()


async def test_a_long_poll_may_finish_although_its_key_is_revoked(engine):
    service = Polled()
    interceptors = Interceptors(monotonic_us=lambda: 0, error_id=str)
    guard = Authentication(engine.keys, interceptors.end_stream).guard
    server = grpc.aio.server()
    server.add_generic_rpc_handlers(tuple(interceptors.handlers(rpcs_of([service]), guard)))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    made = await engine.keys.create(admin.CreateApiKeyRequest())
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        polling = WorkerServiceStub(channel).PollWorkflowTask(
            worker.PollWorkflowTaskRequest(), metadata=bearer(made.plaintext)
        )
        await service.begun.wait()
        await engine.keys.delete(admin.DeleteApiKeyRequest(prefix=made.prefix))
        service.may_end.set()
        assert await polling == worker.PollWorkflowTaskResponse()
    await server.stop(0)


async def test_the_log_names_refused_calls_and_never_a_key(channel, caplog):
    with caplog.at_level(logging.DEBUG):
        made = await create(channel, label="ci")
        for metadata in ((), bearer(WRONG), bearer(made.plaintext)):
            await first_word(channel, "/perdure.v1.WorkflowService/ListWorkflows", metadata)
        await first_word(channel, REFLECTION)
        await revoke(channel, made.prefix, made)
    lines = [record.fields for record in caplog.records if record.name.endswith("access")]
    assert [(line["method"].rpartition("/")[2], line["code"]) for line in lines] == [
        ("CreateApiKey", "OK"),
        ("ListWorkflows", "UNAUTHENTICATED"),
        ("ListWorkflows", "UNAUTHENTICATED"),
        ("ListWorkflows", "OK"),
        ("ServerReflectionInfo", "UNAUTHENTICATED"),
        ("DeleteApiKey", "OK"),
    ]
    everything = "\n".join(f"{record.getMessage()} {record.__dict__}" for record in caplog.records)
    for secret in (made.plaintext, WRONG):
        assert secret not in everything


async def test_a_server_that_asks_for_no_key_keeps_them_all_the_same(engine):
    async with (
        listening(engine, "127.0.0.1:0", 0) as address,
        grpc.aio.insecure_channel(address) as channel,
    ):
        stub = AdminServiceStub(channel)
        for metadata in ((), bearer(WRONG)):
            assert await stub.ListApiKeys(admin.ListApiKeysRequest(), metadata=metadata)
        made = [await create(channel) for _ in range(2)]
        listed = await stub.ListApiKeys(admin.ListApiKeysRequest())
        assert {shown.prefix for shown in listed.api_keys} == {key.prefix for key in made}
        await stub.DeleteApiKey(admin.DeleteApiKeyRequest(prefix=made[0].prefix))
        with pytest.raises(grpc.aio.AioRpcError) as refusal:
            await stub.DeleteApiKey(admin.DeleteApiKeyRequest(prefix=made[0].prefix))
        assert told(refusal.value)[:2] == ("NOT_FOUND", "API_KEY_NOT_FOUND")


async def over_rest(channel, route, metadata, data=b""):
    """Calls a route as Envoy does; returns the HTTP status, the other headers, the first body."""
    call = channel.unary_stream(f"/{route.service}/{route.method}")(
        data, metadata=(*metadata, ("x-envoy-original-path", route.path))
    )
    headers = dict(await call.initial_metadata())
    body = HttpBody.FromString(await call.read()).data
    call.cancel()
    return int(headers.pop("x-http-code", 200)), headers, body


async def test_every_row_of_rest_refuses_who_has_no_valid_key(channel, key, revoked):
    assert len(ROUTES) > 25
    for route in ROUTES:
        for metadata in ((), bearer(WRONG), bearer(revoked.plaintext)):
            status, headers, body = await over_rest(channel, route, metadata)
            answer = json.loads(body)
            assert (status, answer["reason"]) == (401, "UNAUTHENTICATED"), route
            assert headers == {"www-authenticate": "Bearer"}
            assert revoked.plaintext not in answer["error"]


async def test_rest_creates_the_first_key_without_one(channel):
    (route,) = [route for route in ROUTES if route.method == "CreateApiKey"]
    status, headers, body = await over_rest(channel, route, ())
    made = json.loads(body)
    assert (status, headers) == (201, {"cache-control": "no-store"})
    assert made["plaintext"].startswith(made["prefix"])
    assert (await over_rest(channel, route, ()))[0] == 401
    assert (await over_rest(channel, route, bearer(made["plaintext"])))[0] == 201


async def test_a_revoked_key_ends_a_stream_of_events(channel, key):
    made = await create(channel, key=key.plaintext)
    (route,) = [route for route in ROUTES if route.method == "Watch"]
    call = channel.unary_stream(f"/{route.service}/{route.method}")(
        b"", metadata=(*bearer(made.plaintext), ("x-envoy-original-path", route.path))
    )
    assert b": connected" in HttpBody.FromString(await call.read()).data
    await revoke(channel, made.prefix, key)
    said = b""
    while (message := await call.read()) is not grpc.aio.EOF:
        said += HttpBody.FromString(message).data
    assert b"event: error" in said
    assert b"UNAUTHENTICATED" in said
