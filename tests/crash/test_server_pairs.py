"""Two servers on one PostgreSQL: neither is special, and either may die at any moment."""

from __future__ import annotations

import asyncio

import pytest
import pytest_asyncio

from tests.crash.histories import count, faults_of
from tests.crash.stage import PLAY_S, a_client, a_worker, end
from tests.crash.worker import journey, word
from tests.support.processes import SharedServer, any_of

WORKFLOWS = 60
STEPS = 4

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(PLAY_S + 20)]


@pytest_asyncio.fixture(loop_scope="session")
async def pair(schemas, tmp_path):
    """Two servers; in the end they are killed."""
    schema = schemas.new()
    servers = [
        SharedServer(schemas.url, schema=schema, log=tmp_path / f"server-{number}.log")
        for number in range(2)
    ]
    try:
        await asyncio.gather(*(asyncio.to_thread(server.start) for server in servers))
        yield servers
    finally:
        end(servers)


async def test_what_a_killed_server_acknowledged_finishes_on_the_other(pair, tmp_path):
    first, _ = pair
    async with a_worker(any_of(pair), tmp_path), a_client(any_of(pair)) as client:
        handles = [
            await client.start(journey, number, id=f"journey-{number}")
            for number in range(WORKFLOWS)
        ]
        words = [
            handle.signal(word, number, request_id=f"word-{number}")
            for number, handle in enumerate(handles)
        ]
        await asyncio.gather(*words[::2])
        results = asyncio.gather(*(handle.result() for handle in handles))
        first.kill()
        await asyncio.gather(*words[1::2])

        assert await results == [12 * number for number in range(WORKFLOWS)]
        histories = [await handle.history() for handle in handles]
    assert [faults for history in histories if (faults := faults_of(history))] == []
    assert {count(history, "activity_completed") for history in histories} == {STEPS}
    assert {count(history, "signal_received") for history in histories} == {1}


async def test_worker_and_caller_meet_whatever_server_each_has(pair, tmp_path):
    here, there = pair
    async with (
        a_worker(here.address, tmp_path),
        a_client(here.address) as one,
        a_client(there.address) as other,
    ):
        handle = await other.start(journey, 1, id="journey")
        result = asyncio.create_task(handle.result())
        await one.get_handle("journey").signal(word, 1)

        assert await result == 12
        assert await one.get_handle("journey").result() == 12
        assert faults_of(await handle.history()) == []
