"""A stream of events is resumed over `kill -9` of Envoy and of the server, and misses nothing."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from abc import ABC, abstractmethod
from collections import Counter, defaultdict
from itertools import count

import pytest

from tests.e2e.sse import PATIENCE_S, EventSource, Rest
from tests.support.envoy import running_envoy
from tests.support.processes import ServerProcess

KILLS = {"envoy": 3, "server": 2}
BETWEEN_KILLS = 20
"""Events that arrive before the next kill, so that it comes in mid-stream."""
PAUSE_S = 0.003
"""Between two writes: what is written meanwhile is read by the test as well."""
# They take 3 seconds, or a minute where many others run beside them.
pytestmark = pytest.mark.timeout(300)

NOBODYS = {"workflow_type": "nobodys", "task_queue": "nobodys"}


class Stage:
    """A server and the Envoy in front of it: processes that are killed and come back."""

    def __init__(self, server, door):
        self._server = server
        self._door = door

    @property
    def address(self):
        return self._door.address

    async def kill(self, victim):
        if victim == "envoy":
            os.kill(self._door.pid, signal.SIGKILL)  # whoever minds it starts it again
        else:
            self._server.kill()
            await asyncio.to_thread(self._server.start)


@pytest.fixture
async def stage(tmp_path):
    server = ServerProcess(tmp_path / "data")
    server.start()
    try:
        async with running_envoy(server.address) as door:
            yield Stage(server, door)
    finally:
        server.kill()


class Writer(ABC):
    """Writes until it is told that it is enough; notes what was acknowledged.

    An event is known by its workflow and its number there, a task by its number.
    """

    def __init__(self, address):
        self.rest = Rest(address)
        self.enough = threading.Event()
        self.acknowledged = []

    def run(self):
        try:
            for number in count(1):
                if self.enough.is_set():
                    self.finish()
                    return
                self.write(number)
                time.sleep(PAUSE_S)
        finally:
            self.rest.close()

    @abstractmethod
    def write(self, number):
        """Makes the next events."""

    @abstractmethod
    def finish(self):
        """Makes the last ones."""

    def start(self, workflow_id):
        body = {**NOBODYS, "workflow_id": workflow_id}
        self._post("/workflows", body, key=f"start-{workflow_id}")
        self.acknowledged.append((workflow_id, 1))

    def signal(self, workflow_id, number):
        path = f"/workflows/{workflow_id}/signal/told"
        answer = self._post(path, {"payload": number}, key=f"signal-{number}")
        self.acknowledged.append((workflow_id, answer["event_seq"]))

    def schedule(self, workflow_id, number):
        body = {"seq": number, "name": "step", "task_queue": "steps"}
        self._post(f"/workflows/{workflow_id}/activities", body)
        self.acknowledged.append(number)

    def terminate(self, workflow_id):
        self._post(f"/workflows/{workflow_id}/terminate", {"reason": "over"}, key="terminate")
        self.acknowledged.append((workflow_id, len(self.acknowledged) + 1))

    def _post(self, path, body, key=""):
        status, answer = self.rest.insist("POST", path, body, key=key)
        assert status in (200, 201), (path, status, answer)
        return answer


class WriterOfMany(Writer):
    """Starts workflows and tells each something several times; the last one is named so."""

    def write(self, number):
        name = f"w-{number // 5}"
        if number == 1 or number % 5 == 0:
            self.start(name)
        self.signal(name, number)

    def finish(self):
        self.start("last")


class WriterOfOne(Writer):
    """Tells one workflow, and terminates it at the end."""

    def write(self, number):
        self.signal("one", number)

    def finish(self):
        self.terminate("one")


class WriterOfTasks(Writer):
    """Schedules activities; `tasks` is their number once that is known."""

    def __init__(self, address):
        super().__init__(address)
        self._scheduled = 0
        self.tasks = None

    def write(self, number):
        self.schedule("one", number)
        self._scheduled = number

    def finish(self):
        self.tasks = self._scheduled + 1
        self.schedule("one", self.tasks)


class Reader:
    """Collects the events of a stream up to the one that is `last`."""

    def __init__(self, source, last):
        self._last = last
        self.source = source
        self.seen = []

    def run(self):
        for event in self.source.events():
            self.seen.append(event.json)
            if self._last(event):
                return


async def write_and_kill(stage, victim, writer, reader):
    """Kills in mid-stream, several times; returns when the reader has had the last event."""
    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(asyncio.to_thread(reader.run))
            await eventually(lambda: reader.source.connections)
            tasks.create_task(asyncio.to_thread(writer.run))
            for _ in range(KILLS[victim]):
                await some_more(reader)
                await stage.kill(victim)
            await some_more(reader)
            writer.enough.set()
    finally:
        writer.enough.set()
    assert reader.source.connections > KILLS[victim]


async def some_more(reader):
    wanted = len(reader.seen) + BETWEEN_KILLS
    await eventually(lambda: len(reader.seen) >= wanted)


async def eventually(condition):
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "it does not happen"
        await asyncio.sleep(0.005)


def assert_nothing_is_missing(writer, reader):
    """Every event was seen once or twice, and those of one run in their order."""
    seen = [(event["workflow_id"], event["seq"]) for event in reader.seen]
    times = Counter(seen)
    assert set(times) == set(writer.acknowledged)
    assert max(times.values()) <= 2
    numbers = defaultdict(list)
    for workflow_id, number in times:
        numbers[workflow_id].append(number)
    for of_one in numbers.values():
        assert of_one == list(range(1, len(of_one) + 1))


def source_for(stage, victim, path):
    # While the server is away its Envoy says 503.
    return EventSource(stage.address, path, patient=victim == "server")


victims = pytest.mark.parametrize("victim", KILLS)


@victims
async def test_a_watch_of_everything_sees_every_event(stage, victim):
    writer = WriterOfMany(stage.address)
    source = source_for(stage, victim, "/events/stream")
    reader = Reader(source, lambda event: event.json["workflow_id"] == "last")
    await write_and_kill(stage, victim, writer, reader)
    assert_nothing_is_missing(writer, reader)


@victims
async def test_a_watch_of_one_workflow_sees_every_event(stage, victim):
    writer = WriterOfOne(stage.address)
    writer.start("one")
    source = source_for(stage, victim, "/workflows/one/events/stream")
    reader = Reader(source, lambda event: event.kind == "workflow_terminated")
    await write_and_kill(stage, victim, writer, reader)
    assert_nothing_is_missing(writer, reader)


@victims
async def test_a_stream_of_tasks_brings_every_task(stage, victim):
    writer = WriterOfTasks(stage.address)
    writer.start("one")
    delivered = set()

    def is_last(event):
        # Scheduled from outside, their numbers in the workflow are negative.
        delivered.update(-task["seq"] for task in event.json["activity_tasks"])
        return len(delivered) == writer.tasks

    path = "/tasks/stream?queue=steps&worker_id=w&slots=10000"
    await write_and_kill(stage, victim, writer, Reader(source_for(stage, victim, path), is_last))
    assert delivered == set(range(1, writer.tasks + 1))
