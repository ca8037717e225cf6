"""What waits for minutes behind Envoy lives on: idle streams of events, and long polls."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.e2e.sse import EventSource, Rest
from tests.support.envoy import running_envoy
from tests.support.processes import ServerProcess

IDLE_S = 360.0
"""Longer than any timeout in `envoy.yaml` for what is under way. Streams have none."""
WAIT_S = 300
"""The longest wait that the server grants; Envoy cuts calls off after 330 seconds."""
LATE_S = WAIT_S - 5.0
SILENCE_S = 20.0
"""A ping comes every 15 seconds; the rest is for a machine that is busy."""

CALLS = 10
"""Calls under way at once, each with a thread."""

pytestmark = pytest.mark.timeout(IDLE_S + 120)


@pytest.fixture
async def address(tmp_path):
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(CALLS))
    server = ServerProcess(tmp_path / "data")
    server.start()
    try:
        async with running_envoy(server.address) as door:
            yield door.address
    finally:
        server.kill()


class Waiting:
    """Runs blocking calls in threads of their own, and acts at instants since the begin."""

    def __init__(self, address):
        self.address = address
        self._began_at = time.monotonic()

    @property
    def elapsed_s(self):
        return time.monotonic() - self._began_at

    async def until(self, instant_s):
        await asyncio.sleep(instant_s - self.elapsed_s)

    async def post(self, path, **body):
        """Returns the JSON of a call that must succeed."""
        status, answer = await self.call("POST", path, body)
        assert status in (200, 201), (path, status, answer)
        return answer

    async def call(self, verb, path, body=None):
        """Returns status and JSON of a call that must be answered the first time."""
        rest = Rest(self.address, timeout_s=IDLE_S)
        try:
            answer = await asyncio.to_thread(rest.insist, verb, path, body)
        finally:
            rest.close()
        assert rest.failures == 0
        return answer

    async def start(self, workflow_id, **fields):
        body = {"workflow_id": workflow_id, "workflow_type": "quiet", **fields}
        return await self.post("/workflows", **body)

    async def first_event(self, path):
        """Returns the first event of a stream, which must not break before it."""
        source = EventSource(self.address, path)
        event = await asyncio.to_thread(next, source.events(IDLE_S + 60))
        assert source.connections == 1
        assert source.silence_s < SILENCE_S
        assert self.elapsed_s > IDLE_S
        return event


async def test_they_live_as_long_as_they_are_wanted(address):
    waiting = Waiting(address)
    await waiting.start("w")
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(see_the_first_event_of_many(waiting))
        tasks.create_task(see_the_next_event_of_one(waiting))
        tasks.create_task(take_a_workflow_task(waiting))
        tasks.create_task(take_an_activity_task(waiting))
        tasks.create_task(find_nothing_to_do(waiting))
        tasks.create_task(find_no_result(waiting))
        await waiting.until(LATE_S)
        await waiting.start("late", task_queue="workflows")
        await waiting.post("/workflows/w/activities", seq=1, name="late", task_queue="steps")
        await waiting.until(IDLE_S + 1)
        await waiting.post("/workflows/w/signal/late", payload=1)


async def see_the_first_event_of_many(waiting):
    event = await waiting.first_event("/events/stream?kind=signal_received")
    assert (event.json["workflow_id"], event.kind) == ("w", "signal_received")


async def see_the_next_event_of_one(waiting):
    event = await waiting.first_event("/workflows/w/events/stream?after_seq=2")
    assert (event.json["seq"], event.kind) == (3, "signal_received")


async def take_a_workflow_task(waiting):
    wanted = {"queue": "workflows", "worker_id": "one", "wait_secs": WAIT_S}
    task = await waiting.post("/workflow-tasks/poll", **wanted)
    assert task["workflow_id"] == "late"
    assert LATE_S <= waiting.elapsed_s < WAIT_S


async def take_an_activity_task(waiting):
    wanted = {"queue": "steps", "worker_id": "two", "wait_secs": WAIT_S}
    task = await waiting.post("/tasks/poll", **wanted)
    assert task["name"] == "late"
    assert LATE_S <= waiting.elapsed_s < WAIT_S


async def find_nothing_to_do(waiting):
    wanted = {"queue": "nobodys", "worker_id": "three", "wait_secs": WAIT_S}
    assert await waiting.post("/tasks/poll", **wanted) == {"task": None}
    assert waiting.elapsed_s >= WAIT_S


async def find_no_result(waiting):
    status, _ = await waiting.call("GET", f"/workflows/w/result?wait_secs={WAIT_S}")
    assert status == 202
    assert waiting.elapsed_s >= WAIT_S
