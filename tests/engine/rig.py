"""An engine whose time stands still until a test moves it, with hand-driven workers and clients."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

from perdure.v1 import worker_service_pb2 as worker
from perdure.v1 import workflow_service_pb2 as pb
from perdure.v1.command_pb2 import Command
from perdure.v1.payload_pb2 import Payload
from perdure_server.engine.engine import Engine
from tests.support.clock import ManualClock
from tests.support.ids import SequentialIds
from tests.support.model_shared import SharedContents, SharedModelStore
from tests.support.model_store import ModelStore

SECOND_US = 1_000_000
_TURNS = 40
"""Loop turns after which nothing moves any more without time: far more than any path needs."""


async def settle():
    """Lets everything happen that needs no time."""
    for _ in range(_TURNS):
        await asyncio.sleep(0)


class HandWorker:
    """One worker stream, driven message by message; what the server says is kept in order."""

    def __init__(self, rig, session_id):
        self._rig = rig
        self._requests = asyncio.Queue()
        self._task = None
        self._reports = 0
        self.session_id = session_id
        self.welcome = None
        self.workflow_tasks = []
        self.activity_tasks = []
        self.results = []
        self.cancels = []
        self.kept_tasks = []
        self.queries = []
        self.batch = 0
        self.error = None
        self.ended = False

    async def connect(self, *, workflows=("W",), activities=("A",), slots=(10, 10), **fields):
        hello = worker.WorkHello(
            session_id=self.session_id,
            identity=self.session_id,
            task_queue="default",
            workflow_types=workflows,
            activity_types=activities,
            slots=worker.WorkSlots(workflow_tasks=slots[0], activity_tasks=slots[1]),
            **fields,
        )
        self._requests.put_nowait(worker.WorkRequest(hello=hello))
        self._task = asyncio.create_task(self._listen())
        await settle()
        return self

    async def say(self, **fields):
        self._requests.put_nowait(worker.WorkRequest(**fields))
        await settle()

    async def report(self, task, **what):
        self._reports += 1
        report = worker.TaskReport(report_id=self._reports, task_token=task.task_token, **what)
        await self.say(reports=[report], received_batch=self.batch)
        return next((r for r in self.results if r.report_id == report.report_id), None)

    async def command(self, task, *commands):
        return await self.report(task, workflow_task_completed={"commands": commands})

    async def cut(self):
        """Ends the stream as a broken connection does."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await settle()

    async def _listen(self):
        answers = self._rig.engine.workers.work(self._incoming())
        try:
            async for data in answers:
                self._take(worker.WorkResponse.FromString(data))
        except Exception as error:  # noqa: BLE001 - tests look at it
            self.error = error
        finally:
            self.ended = True
            await answers.aclose()

    async def _incoming(self):
        while True:
            yield await self._requests.get()

    def _take(self, message):
        if message.HasField("welcome"):
            self.welcome = message.welcome
        self.batch = message.batch or self.batch
        self.workflow_tasks += message.workflow_tasks
        self.activity_tasks += message.activity_tasks
        self.results += message.results
        self.cancels += message.cancels
        self.kept_tasks += message.kept_tasks
        self.queries += message.queries


class Rig:
    """The engine with its clock and its store."""

    def __init__(self, store, clock, *, ids=None, **options):
        self.store = store
        self.clock = clock
        self.engine = Engine(store, clock, ids or SequentialIds(), **options)
        self.workers = []

    async def worker(self, session_id="s1", **options):
        hand = HandWorker(self, session_id)
        self.workers.append(hand)
        return await hand.connect(**options)

    async def start(self, workflow_id="w", **fields):
        defaults = {"workflow_id": workflow_id, "workflow_type": "W"}
        answer = await self.engine.workflows.start(pb.StartWorkflowRequest(**(defaults | fields)))
        await settle()
        return answer

    async def advance(self, seconds):
        """Moves time second by second, letting everything happen on the way."""
        left_us = int(seconds * SECOND_US)
        while left_us > 0:
            step_us = min(left_us, SECOND_US)
            self.clock.advance(step_us)
            left_us -= step_us
            await settle()

    async def kinds(self, workflow_id="w"):
        run_id = await self.store.find_run("main", workflow_id, None)
        rows = await self.store.load_history(run_id, after_seq=0, limit=1000, max_bytes=10**8)
        return [row.kind for row in rows]

    async def describe(self, workflow_id="w"):
        return await self.engine.workflows.get(pb.GetWorkflowRequest(workflow_id=workflow_id))


class Database:
    """What the servers of a test share."""

    def __init__(self):
        self.clock = ManualClock()
        self.ids = SequentialIds()
        self.contents = SharedContents()

    def store(self):
        return SharedModelStore(self.contents, self.clock.now_us)

    async def advance(self, seconds):
        """Moves the time of all servers, in steps that let everything happen on the way."""
        for _ in range(int(seconds * 2)):
            self.clock.advance(500_000)
            await settle()


@asynccontextmanager
async def running(store=None, clock=None, **options):
    """Runs a rig on a store that is open or new."""
    fresh = store is None
    rig = Rig(store or ModelStore(), clock or ManualClock(), **options)
    if fresh:
        await rig.store.open()
    await rig.engine.start()
    try:
        yield rig
    finally:
        for hand in rig.workers:
            await hand.cut()
        await rig.engine.drain()
        await rig.engine.stop()


def payload(text="1"):
    return Payload(data=text.encode())


def schedule(seq=1, name="A", **options):
    return Command(
        schedule_activity={"seq": seq, "name": name, "input": payload(), "options": options}
    )


def timer(seq=1, seconds=1):
    return Command(schedule_timer={"seq": seq, "duration": {"seconds": seconds}})


def wait(name="go", seq=1):
    return Command(wait_for_signal={"seq": seq, "signal_name": name})


def complete(text="1"):
    return Command(complete_workflow={"result": payload(text)})
