"""Servers that are cut off from their database: who met them goes to one that is not."""

from __future__ import annotations

import asyncio

import asyncpg
import grpc
import pytest
import pytest_asyncio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from perdure.v1 import admin_service_pb2 as admin
from tests.api.calls import Caller, Refused
from tests.crash.histories import faults_of
from tests.crash.stage import PLAY_S, a_client, a_worker, end
from tests.crash.test_server_pairs import call
from tests.crash.worker import journey, word
from tests.support.envoy import running_envoy
from tests.support.processes import SharedServer, any_of
from tests.support.proxy import freezing_proxy

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
CALLS = 12
"""Of so many calls some would meet one of the two that are cut off, if they were dealt to all."""

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(PLAY_S + 20)]


@pytest_asyncio.fixture(loop_scope="session")
async def network(schemas):
    """What is between two of the servers and the database."""
    if schemas.cluster is None:
        pytest.skip("the database belongs to somebody else")
    async with freezing_proxy(str(schemas.cluster.folder / ".s.PGSQL.5432")) as network:
        yield network
        network.thaw()


@pytest_asyncio.fixture(loop_scope="session")
async def trio(schemas, network, tmp_path):
    """Three servers that know of one another; the network of the first two can be cut."""
    schema = schemas.new()
    stores = [f"postgresql://perdure@{network.address}/perdure"] * 2 + [schemas.url]
    servers = [
        SharedServer(store, schema=schema, log=tmp_path / f"server-{number}.log")
        for number, store in enumerate(stores)
    ]
    try:
        await asyncio.gather(*(asyncio.to_thread(server.start) for server in servers))
        await all_have_beaten(schemas.url, schema)
        yield servers
    finally:
        end(servers)


async def test_callers_and_workers_go_to_another_server(trio, network, tmp_path):
    async with (
        a_worker(any_of(trio), tmp_path),
        a_client(any_of(trio)) as client,
        running_envoy(*(server.address for server in trio)) as door,
    ):
        assert await travel(client, 1) == 12
        network.freeze()
        await asyncio.gather(*(until(server, NOT_SERVING) for server in trio[:2]))
        with pytest.raises(Refused) as refusal:
            await health_of(trio[0])
        assert (refusal.value.code, refusal.value.reason) == ("UNAVAILABLE", "STORE_UNAVAILABLE")

        # Both were at the first server, and are told by nobody but it.
        assert [await travel(client, number) for number in (2, 3)] == [24, 36]
        await rest_is_served(door)
        network.thaw()
        await asyncio.gather(*(until(server, SERVING) for server in trio))
        assert (await health_of(trio[0])).status == "ok"
        async with a_client(trio[0].address) as there:
            assert await travel(there, 4) == 48


async def travel(client, number):
    handle = await client.start(journey, number, id=f"journey-{number}")
    await handle.signal(word, number)
    result = await handle.result()
    assert faults_of(await handle.history()) == []
    return result


async def rest_is_served(door):
    """Calls until Envoy has noticed who is cut off; from then on nobody is refused."""
    served = 0
    async with asyncio.timeout(PLAY_S):
        while served < CALLS:
            status, _ = await call(door, "GET", "/workflows/journey-1")
            served = served + 1 if status == 200 else 0
    assert (await call(door, "GET", "/health"))[0] == 200


async def until(server, status):
    """Waits until a server says that of itself."""
    async with asyncio.timeout(PLAY_S), grpc.aio.insecure_channel(server.address) as channel:
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
        while (await watch.read()).status != status:
            pass
        watch.cancel()


async def health_of(server):
    caller = Caller(server.address)
    try:
        return await caller.call("AdminService/GetHealth", admin.GetHealthRequest())
    finally:
        await caller.close()


async def all_have_beaten(url, schema):
    """Waits until each server has seen in a beat that there are others."""
    connection = await asyncpg.connect(url)
    query = f'SELECT server_id, beat_at_us FROM "{schema}".servers'
    first = dict(await connection.fetch(query))
    async with asyncio.timeout(PLAY_S):
        while any(first[name] == beat_us for name, beat_us in await connection.fetch(query)):
            await asyncio.sleep(0.05)
    await connection.close()
