"""Two servers on one PostgreSQL: neither is special, and either may die at any moment."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json

import pytest
import pytest_asyncio

from tests.crash.histories import count, faults_of
from tests.crash.stage import PLAY_S, a_client, a_worker, end
from tests.crash.worker import journey, word
from tests.support.envoy import running_envoy
from tests.support.processes import SharedServer, any_of

WORKFLOWS = 60
STEPS = 4
ROUNDS = 6
"""Calls after which each of two servers was met, whatever way Envoy deals them."""

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


async def test_a_worker_over_rest_is_known_whichever_server_it_meets(pair):
    async with running_envoy(*(server.address for server in pair)) as door:
        body = {"identity": "me", "queue": "default", "workflows": ["greet"]}
        status, registered = await call(door, "POST", "/workers/register", body)
        assert status == 200
        worker = {"worker_id": registered["worker_id"]}
        for _ in range(ROUNDS):
            assert (await call(door, "POST", "/workers/heartbeat", worker))[0] == 200
            _, listed = await call(door, "GET", "/workers")
            assert [each["id"] for each in listed] == [registered["worker_id"]]
        for name in ("other", "greet"):
            body = {"workflow_type": name, "workflow_id": name}
            assert (await call(door, "POST", "/workflows", body))[0] == 201
        for expected in ["greet", *[None] * ROUNDS]:
            poll = {"queue": "default", "wait_secs": 20 if expected else 0, **worker}
            _, task = await call(door, "POST", "/workflow-tasks/poll", poll)
            assert (task and task["workflow_id"]) == expected
        body = {"commands": [{"type": "CompleteWorkflow", "result": 7}], **worker}
        assert (await call(door, "POST", "/workflow-tasks/greet/commands", body))[0] == 200
        pair[0].kill()
        assert (await patiently(door, "POST", "/workers/heartbeat", worker))[0] == 200


async def call(door, verb, path, body=None):
    """Makes one REST call; returns its status and its JSON."""

    def exchange():
        with contextlib.closing(http.client.HTTPConnection(door.address, timeout=PLAY_S)) as there:
            text = None if body is None else json.dumps(body)
            there.request(verb, f"/api/v1{path}", text)
            answer = there.getresponse()
            return answer.status, json.loads(answer.read() or "null")

    return await asyncio.to_thread(exchange)


async def patiently(door, verb, path, body):
    """Calls until a server answers: Envoy needs a moment to notice that one is gone."""
    async with asyncio.timeout(PLAY_S):
        while True:
            answer = await call(door, verb, path, body)
            if answer[0] < 500:
                return answer
            await asyncio.sleep(0.1)
