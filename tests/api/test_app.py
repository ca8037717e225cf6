"""How a server starts and stops, and what it serves besides its own services."""

from __future__ import annotations

import asyncio

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from perdure.v1 import watch_service_pb2 as watching
from perdure.v1 import workflow_service_pb2 as pb
from perdure_server.app import (
    StartError,
    SystemClock,
    SystemIds,
    listening,
    new_error_id,
    running_engine,
)
from tests.api.calls import Caller, Refused
from tests.api.flows import refused
from tests.api.streams import Session, WorkStream
from tests.support.model_store import ModelStore

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


@pytest.fixture
async def channel(address):
    async with grpc.aio.insecure_channel(address) as channel:
        yield channel


@pytest.mark.parametrize("service", ["", "perdure.v1.WorkflowService", "perdure.v1.WatchService"])
async def test_health(channel, service):
    request = health_pb2.HealthCheckRequest(service=service)
    assert (await health_pb2_grpc.HealthStub(channel).Check(request)).status == SERVING


async def test_reflection_lists_every_service(channel):
    async def ask():
        yield reflection_pb2.ServerReflectionRequest(list_services="")

    stub = reflection_pb2_grpc.ServerReflectionStub(channel)
    answers = [answer async for answer in stub.ServerReflectionInfo(ask())]
    names = {service.name for service in answers[0].list_services_response.service}
    assert names == {
        "perdure.v1.WorkflowService",
        "perdure.v1.WorkerService",
        "perdure.v1.WatchService",
        "perdure.v1.NamespaceService",
        "perdure.v1.AdminService",
        "perdure.v1.ScheduleService",
        "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection",
    }


async def test_a_port_that_is_taken_is_told(engine, address):
    with pytest.raises(StartError, match=f"{address}: another program"):
        async with listening(engine, address, grace_seconds=0):
            pass


async def test_a_host_that_is_none_is_told(engine):
    with pytest.raises(StartError, match=r"cannot listen on no\.such\.host\.invalid:0"):
        async with listening(engine, "no.such.host.invalid:0", grace_seconds=0):
            pass


async def test_a_message_of_33_mebibytes_is_not_read(caller):
    request = pb.StartWorkflowRequest(input={"data": b"1" * (34 * 1024 * 1024)})
    with pytest.raises(Refused) as refusal:
        await caller.call("WorkflowService/StartWorkflow", request)
    assert refusal.value.code == "RESOURCE_EXHAUSTED"


class Stopping:
    """A server that is told to stop while a test looks on."""

    def __init__(self):
        self.address = asyncio.get_running_loop().create_future()
        self._told = asyncio.Event()
        self._task = asyncio.create_task(self._serve())

    async def _serve(self):
        async with (
            running_engine(ModelStore(), SystemClock(), SystemIds()) as engine,
            listening(engine, "127.0.0.1:0", grace_seconds=30) as address,
        ):
            self.address.set_result(address)
            await self._told.wait()

    def tell(self):
        self._told.set()

    async def ended(self):
        await self._task


async def test_stopping_ends_every_stream_at_once_and_says_so():
    server = Stopping()
    caller = Caller(await server.address)
    work, session = WorkStream(caller), Session(caller)
    work.hello()
    await work.next("welcome")
    session.send(pb.SessionRequest(ping=1))
    await session.read()
    watch = caller.stream("WatchService/Watch", watching.WatchRequest())
    await anext(watch)
    server.tell()
    for answers in (work.rest(), session.rest(), anext(watch)):
        async with refused("UNAVAILABLE", "SHUTTING_DOWN"):
            await answers
    await server.ended()
    await caller.close()


async def test_stopping_tells_health_first():
    server = Stopping()
    async with grpc.aio.insecure_channel(await server.address) as channel:
        request = health_pb2.HealthCheckRequest(service="perdure.v1.WorkflowService")
        watch = health_pb2_grpc.HealthStub(channel).Watch(request)
        assert (await watch.read()).status == SERVING
        server.tell()
        assert (await watch.read()).status == NOT_SERVING
        watch.cancel()
        await server.ended()


async def test_a_server_that_is_cut_off_sends_callers_and_workers_away(engine, caller, channel):
    session, work = Session(caller), WorkStream(caller)
    session.send(pb.SessionRequest(ping=1))
    await session.read()
    work.hello()
    await work.next("welcome")
    watch = caller.stream("WatchService/Watch", watching.WatchRequest())
    await anext(watch)
    health = health_watch(channel)
    assert (await health.read()).status == SERVING
    engine.standing.has_others = True
    engine.standing.lost()
    for answers in (session.rest(), work.rest()):
        async with refused("UNAVAILABLE", "SHUTTING_DOWN"):
            await answers
    assert (await health.read()).status == NOT_SERVING
    again = Session(caller)
    again.send(pb.SessionRequest(ping=1))
    async with refused("UNAVAILABLE", "SHUTTING_DOWN"):
        await again.read()
    engine.standing.reached()
    assert (await health.read()).status == SERVING
    started = pb.StartWorkflowRequest(workflow_type="W", workflow_id="w")
    await caller.call("WorkflowService/StartWorkflow", started)
    while (await anext(watch)).event.WhichOneof("event") != "workflow_started":
        pass
    again = Session(caller)
    again.send(pb.SessionRequest(ping=1))
    await again.read()
    health.cancel()


async def test_who_is_alone_and_cut_off_keeps_its_streams(engine, caller, channel):
    session = Session(caller)
    session.send(pb.SessionRequest(ping=1))
    await session.read()
    health = health_watch(channel)
    await health.read()
    engine.standing.has_others = False
    engine.standing.lost()
    assert (await health.read()).status == NOT_SERVING
    session.send(pb.SessionRequest(ping=2))
    await session.read()
    health.cancel()


def health_watch(channel):
    """Watches what the server says of itself as a whole, which is what Envoy asks for."""
    return health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())


async def test_alarms_never_ring_early():
    clock = SystemClock()
    rung = asyncio.get_running_loop().create_future()
    due_us = clock.now_us() + 5_000
    clock.call_at(due_us, lambda: rung.set_result(clock.now_us()))
    assert await rung >= due_us


async def test_an_alarm_can_be_cancelled():
    clock = SystemClock()
    rung = []
    clock.call_at(clock.now_us(), lambda: rung.append("cancelled")).cancel()
    done = asyncio.Event()
    clock.call_at(clock.now_us(), done.set)
    await done.wait()
    assert not rung


def test_run_ids_are_uuids_that_grow():
    ids = SystemIds()
    made = [ids.run_id() for _ in range(10_000)]
    assert made == sorted(set(made))
    assert all(len(run_id) == 36 and run_id[14] == "7" and run_id[19] in "89ab" for run_id in made)


def test_a_run_id_is_greater_than_one_of_a_server_whose_clock_is_ahead():
    ids, ahead = SystemIds(), "ffffffff-fffe-7fff-bfff-ffffffffffff"
    assert ids.run_id("run-1") < ahead < ids.run_id(ahead) < ids.run_id("") < ids.run_id(ahead)


def test_ids_differ():
    ids = SystemIds()
    for make in (ids.workflow_id, ids.worker_id, ids.seed, new_error_id):
        assert make() != make()
    assert 0 <= ids.seed() < 2**64
