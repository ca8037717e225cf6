"""Callers that leave in the middle: nobody else is disturbed, and nothing is left behind."""

from __future__ import annotations

import asyncio

import pytest

from perdure.v1 import worker_service_pb2 as worker
from perdure.v1 import workflow_service_pb2 as pb
from perdure_server.api.errors import to_status
from perdure_server.core.errors import ShuttingDown, StoreUnavailable
from perdure_server.core.model import TaskKind
from perdure_server.core.token import TaskToken
from perdure_server.engine.peers import Peers
from tests.engine.gated import GatedStore
from tests.engine.rig import complete, payload, running, schedule, settle


class Client:
    """A client session, driven call by call; it ends when the client has finished or left."""

    def __init__(self, rig):
        self._calls = asyncio.Queue()
        self._task = asyncio.create_task(self._listen(rig.engine.workflows))
        self.replies = []
        self.ended = False

    async def ask(self, call_id, **call):
        self._calls.put_nowait(pb.SessionCall(call_id=call_id, **call))
        await settle()

    async def finish(self):
        self._calls.put_nowait(None)
        await settle()

    async def leave(self):
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _listen(self, workflows):
        answers = workflows.session(self._requests(), to_status)
        try:
            async for data in answers:
                self.replies += pb.SessionResponse.FromString(data).replies
            self.ended = True
        finally:
            await answers.aclose()

    async def _requests(self):
        while (call := await self._calls.get()) is not None:
            yield pb.SessionRequest(calls=[call])


def execute(workflow_id="w", **fields):
    return {"start": {"workflow_id": workflow_id, "workflow_type": "W", **fields}}


async def signal(rig):
    request = pb.SignalWorkflowRequest(workflow_id="w", signal_name="go")
    await rig.engine.workflows.signal(request)


def poll(**fields):
    defaults = {"task_queue": "default", "worker_id": "p", "wait": {"seconds": 60}}
    return worker.PollWorkflowTaskRequest(**(defaults | fields))


async def test_a_report_whose_caller_left_stops_nobody(rig, store):
    started = await rig.start()
    stale = TaskToken(run_id=started.run_id, kind=TaskKind.WORKFLOW, seq=0, attempt=1, lease=9)
    report = worker.TaskReport(task_token=stale.encode(), workflow_task_completed={})
    with store.closed("commit"):
        signal = pb.SignalWorkflowRequest(workflow_id="w", signal_name="go")
        signalling = asyncio.create_task(rig.engine.workflows.signal(signal))
        await settle()
        request = worker.ReportRequest(worker_id="p", reports=[report])
        leaving = asyncio.create_task(rig.engine.workers.report(request))
        await settle()
        leaving.cancel()
        await settle()
    assert (await signalling).event_seq == 2
    async with asyncio.timeout(5):
        await rig.start("other")


async def test_an_execute_whose_client_left_before_the_start_waits_for_nothing(rig, store):
    client = Client(rig)
    with store.closed("commit"):
        await client.ask(1, execute=execute())
        await client.leave()
    await settle()
    assert await rig.kinds() == ["workflow_started"]
    assert rig.engine.workflows.waiting == 0


@pytest.mark.parametrize("call", ["execute", "result"])
async def test_a_session_that_ends_takes_its_waiters_along(rig, call):
    if call == "result":
        await rig.start()
    client = Client(rig)
    await client.ask(1, **{call: execute() if call == "execute" else {"workflow_id": "w"}})
    assert rig.engine.workflows.waiting == 1
    await client.leave()
    assert rig.engine.workflows.waiting == 0


async def test_a_long_poll_that_is_cut_off_waits_for_nothing(rig):
    await rig.start()
    request = pb.GetWorkflowResultRequest(workflow_id="w", wait={"seconds": 60})
    waiting = asyncio.create_task(rig.engine.workflows.get_result(request))
    await settle()
    assert rig.engine.workflows.waiting == 1
    waiting.cancel()
    await settle()
    assert rig.engine.workflows.waiting == 0


async def test_a_result_that_arrives_while_it_is_looked_up_is_told_once():
    store = GatedStore()
    await store.open()
    async with running(store) as first:
        await first.start()
        clock = first.clock
    async with running(store, clock) as rig:
        client = Client(rig)
        with store.closed("summarize_run"):
            await client.ask(1, result={"workflow_id": "w"})
            hand = await rig.worker()
            await hand.command(hand.workflow_tasks[0], complete("42"))
        await client.finish()
        assert [reply.result.result.data for reply in client.replies] == [b"42"]
        assert client.ended


async def test_an_execute_repeated_after_the_end_is_answered(rig):
    hand = await rig.worker()
    client = Client(rig)
    await client.ask(1, execute=execute(request_id="r"))
    await hand.command(hand.workflow_tasks[0], complete("42"))
    await client.ask(2, execute=execute(request_id="r"))
    assert [reply.execute.result.data for reply in client.replies] == [b"42", b"42"]
    await client.finish()
    assert client.ended


async def test_a_call_number_used_twice_leaves_nothing_behind(rig):
    await rig.start()
    client = Client(rig)
    await client.ask(1, result={"workflow_id": "w"})
    await client.ask(1, result={"workflow_id": "w"})
    await client.leave()
    assert rig.engine.workflows.waiting == 0


async def test_a_poll_that_is_cut_off_gives_its_task_back_at_once(rig):
    polling = asyncio.create_task(rig.engine.workers.poll_workflow_task(poll()))
    await settle()
    request = pb.StartWorkflowRequest(workflow_id="w", workflow_type="W")
    await rig.engine.workflows.start(request)
    # The task is with the poll, whose caller leaves before it is answered.
    polling.cancel()
    await settle()
    hand = await rig.worker()
    assert [task.attempt for task in hand.workflow_tasks] == [1]


async def test_a_poll_that_the_store_refuses_gives_its_task_back_at_once(rig, monkeypatch):
    async def discover(_peers, _session):
        await settle()
        raise StoreUnavailable("away")

    monkeypatch.setattr(Peers, "discover", discover)
    request = pb.StartWorkflowRequest(workflow_id="w", workflow_type="W")
    await rig.engine.workflows.start(request)
    with pytest.raises(StoreUnavailable):
        await rig.engine.workers.poll_workflow_task(poll())
    await settle()
    hand = await rig.worker()
    assert [task.attempt for task in hand.workflow_tasks] == [1]


@pytest.mark.parametrize("seen", [False, True])
@pytest.mark.parametrize("turns", range(8))
async def test_a_poll_that_is_cut_off_as_its_task_comes_gives_it_back(rig, store, turns, seen):
    """Whether the task is being leased, read or sent when the caller of the poll leaves."""
    if seen:
        hand = await rig.worker()
        await rig.start("w")
        await hand.command(hand.workflow_tasks[0])
        await hand.cut()
    request = poll(worker_id="q")
    polling = asyncio.create_task(rig.engine.workers.poll_workflow_task(request))
    await settle()
    with store.closed("commit"):
        stimulus = rig.start("v") if not seen else signal(rig)
        starting = asyncio.create_task(stimulus)
        await settle()
    for _ in range(turns):
        await asyncio.sleep(0)
    answered = not polling.cancel()
    await settle()
    await starting
    other = await rig.worker("s2")
    name = "w" if seen else "v"
    tasks = [(task.workflow_id, task.attempt) for task in other.workflow_tasks]
    assert tasks == ([] if answered else [(name, 1)])


async def test_a_poll_of_activities_that_is_cut_off_gives_its_task_back_at_once(rig):
    await rig.start()
    hand = await rig.worker(activities=())
    request = worker.PollActivityTaskRequest(
        task_queue="default", worker_id="p", wait={"seconds": 60}
    )
    polling = asyncio.create_task(rig.engine.workers.poll_activity_task(request))
    await settle()
    await hand.command(hand.workflow_tasks[0], schedule())
    assert polling.done()
    polling = asyncio.create_task(rig.engine.workers.poll_activity_task(request))
    await settle()
    polling.cancel()
    await settle()
    await rig.start("v")
    await hand.command(hand.workflow_tasks[1], schedule())
    second = await rig.worker("s2", workflows=())
    assert [(task.workflow_id, task.attempt) for task in second.activity_tasks] == [("v", 1)]


async def test_a_worker_leaves_no_trace_of_what_it_has_done(rig):
    hand = await rig.worker(slots=(3, 3))
    for number in range(10):
        await rig.start(f"w{number}")
    for number in range(10):
        await hand.command(hand.workflow_tasks[number], schedule())
    for task in list(hand.activity_tasks):
        await hand.report(task, activity_completed={"result": payload()})
    while len(hand.activity_tasks) < 10:
        await hand.report(hand.activity_tasks[-1], activity_completed={"result": payload()})
    for task in hand.activity_tasks:
        await hand.report(task, activity_completed={"result": payload()})
    while open_tasks := hand.workflow_tasks[10:]:
        del hand.workflow_tasks[10:]
        for task in open_tasks:
            await hand.command(task, complete())
    session = rig.engine.sessions.get("s1")
    assert set(session.used.values()) == {0}
    assert (session.held, session.cached) == ({}, {})
    assert rig.engine.is_quiet()


async def test_a_poll_that_is_still_read_for_as_the_server_leaves_does_not_stay(rig, monkeypatch):
    gate = asyncio.Event()
    roster = rig.engine.workers._roster
    find = roster.find

    async def find_slowly(worker_id):
        await gate.wait()
        return await find(worker_id)

    monkeypatch.setattr(roster, "find", find_slowly)
    polling = asyncio.create_task(rig.engine.workers.poll_workflow_task(poll()))
    await settle()
    await rig.engine.drain()
    gate.set()
    with pytest.raises(ShuttingDown):
        await polling
