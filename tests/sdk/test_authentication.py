"""Clients and workers of a server that asks for API keys."""

from __future__ import annotations

import asyncio
import logging

import pytest

from perdure import Client, Worker, activity, workflow
from perdure._transport import GrpcTransport
from perdure.errors import UnauthenticatedError
from perdure.v1.admin_service_pb2 import CreateApiKeyRequest, DeleteApiKeyRequest
from perdure_server.app import SystemClock, SystemIds, listening, running_engine
from tests.support.model_store import ModelStore

WRONG = "perdure_" + "0" * 64


@activity
async def double(number: int) -> int:
    return 2 * number


@workflow
async def doubled(number: int) -> int:
    return await double(number)


@pytest.fixture(autouse=True)
def no_key_of_the_environment(monkeypatch):
    monkeypatch.delenv("PERDURE_API_KEY", raising=False)


@pytest.fixture
async def engine():
    async with running_engine(ModelStore(), SystemClock(), SystemIds()) as engine:
        yield engine


@pytest.fixture
async def address(engine):
    async with listening(engine, "127.0.0.1:0", 0, auth="keys") as address:
        yield address


@pytest.fixture
async def key(engine):
    return await engine.keys.create(CreateApiKeyRequest())


async def revoke(engine, key):
    await engine.keys.delete(DeleteApiKeyRequest(prefix=key.prefix))


def worker_of(client):
    return Worker(client, "q", [doubled], [double])


@pytest.mark.parametrize("use_session", [True, False])
@pytest.mark.parametrize("given", ["argument", "environment"])
async def test_with_a_key_all_is_as_without(address, key, monkeypatch, given, use_session):
    argument = {"api_key": key.plaintext}
    if given == "environment":
        monkeypatch.setenv("PERDURE_API_KEY", f" {key.plaintext}\n")
        argument = {}
    client = Client.connect(address, use_session=use_session, **argument)
    async with client, worker_of(client):
        assert await client.execute(doubled, 4) == 8
        assert [run.workflow_type async for run in client.list()] == ["doubled"]


async def test_an_argument_wins_over_the_environment(address, key, monkeypatch):
    monkeypatch.setenv("PERDURE_API_KEY", key.plaintext)
    async with Client.connect(address, api_key="") as client:
        with pytest.raises(UnauthenticatedError):
            await client.start(doubled, 1)


@pytest.mark.parametrize("use_session", [True, False])
@pytest.mark.parametrize("api_key", [None, WRONG])
async def test_a_client_without_a_valid_key_is_told_at_once(address, key, api_key, use_session):
    async with Client.connect(address, api_key=api_key, use_session=use_session) as client:
        for _ in range(2):
            with pytest.raises(UnauthenticatedError, match="PERDURE_API_KEY") as refusal:
                await client.execute(doubled, 1)
            assert refusal.value.reason == "UNAUTHENTICATED"
        with pytest.raises(UnauthenticatedError):
            await anext(client.list())


async def test_a_block_around_a_refused_worker_is_left_with_the_error(address, key):
    async with Client.connect(address, api_key=WRONG) as client:
        with pytest.raises(UnauthenticatedError, match="unknown or revoked"):
            async with worker_of(client):
                await asyncio.Event().wait()
        assert not asyncio.current_task().cancelling()


async def test_a_refused_worker_stops_to_run(address, key):
    async with Client.connect(address, api_key=WRONG) as client:
        with pytest.raises(UnauthenticatedError):
            await worker_of(client).run()


async def test_a_worker_ends_when_its_key_is_revoked(address, engine, key):
    async with Client.connect(address, api_key=key.plaintext) as client:
        working = asyncio.create_task(worker_of(client).run())
        assert await client.execute(doubled, 4, task_queue="q") == 8
        await revoke(engine, key)
        with pytest.raises(UnauthenticatedError, match="revoked"):
            await working


async def test_a_worker_with_work_at_hand_ends_when_its_key_is_revoked(address, engine, key):
    begun, ended = asyncio.Event(), asyncio.Event()

    @activity(name="long")
    async def long() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    @workflow(name="waits")
    async def waits() -> None:
        await long()

    async with Client.connect(address, api_key=key.plaintext) as client:
        working = asyncio.create_task(Worker(client, "q", [waits], [long]).run())
        await client.start(waits, task_queue="q")
        await begun.wait()
        await revoke(engine, key)
        with pytest.raises(UnauthenticatedError):
            await working
    await ended.wait()


async def test_who_cancels_a_refused_worker_too_is_obeyed(address, key):
    async with Client.connect(address, api_key=WRONG) as client:
        inside = asyncio.Event()

        async def work():
            async with worker_of(client):
                try:
                    await asyncio.Event().wait()
                except asyncio.CancelledError:
                    inside.set()
                    await asyncio.Event().wait()

        task = asyncio.create_task(work())
        await inside.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_an_error_of_the_block_itself_is_not_hidden(address, key):
    async with Client.connect(address, api_key=WRONG) as client:

        async def work():
            async with worker_of(client):
                try:
                    await asyncio.Event().wait()
                finally:
                    raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await work()


async def test_no_text_holds_the_key(address, engine, key, caplog):
    with caplog.at_level(logging.DEBUG):
        async with Client.connect(address, api_key=key.plaintext) as client:
            await client.start(doubled, 1)
            await revoke(engine, key)
            with pytest.raises(UnauthenticatedError) as refusal:
                await client.start(doubled, 1)
            shown = (client, client.connection, client.connection.transport, refusal.value)
            texts = [repr(thing) + str(thing) for thing in shown]
    assert key.plaintext not in "\n".join([*texts, caplog.text])


@pytest.mark.parametrize("api_key", ["perdure_ä", "perdure_\x00", "a b", "perdure_1\nx: y"])
async def test_what_no_key_can_be_is_refused_without_being_shown(api_key):
    with pytest.raises(ValueError, match="PERDURE_API_KEY") as refusal:
        GrpcTransport("localhost:1", api_key=api_key)
    assert api_key not in str(refusal.value)
