"""One-way streams of tasks: what a worker that comes back keeps, and what is handed out again."""

from __future__ import annotations

import asyncio

import pytest

from perdure.v1 import worker_service_pb2 as worker
from perdure.v1.workflow_service_pb2 import TerminateWorkflowRequest
from tests.engine.rig import complete, payload, running, schedule, settle


class Reader:
    """One `StreamTasks` stream; its batches are kept in order."""

    def __init__(self, rig, **fields):
        defaults = {"worker_id": "r", "task_queue": "default"}
        self._rig = rig
        self._request = worker.StreamTasksRequest(**(defaults | fields))
        self._task = None
        self.batches = []
        self.error = None
        self.ended = False

    async def open(self):
        self._task = asyncio.create_task(self._listen())
        await settle()
        return self

    async def cut(self):
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await settle()

    @property
    def workflow_tasks(self):
        return [task for batch in self.batches for task in batch.workflow_tasks]

    @property
    def activity_tasks(self):
        return [task for batch in self.batches for task in batch.activity_tasks]

    async def _listen(self):
        answers = self._rig.engine.workers.stream_tasks(self._request)
        try:
            async for data in answers:
                self.batches.append(worker.StreamTasksResponse.FromString(data))
            self.ended = True
        except Exception as error:  # noqa: BLE001 - tests look at it
            self.error = error
        finally:
            await answers.aclose()


@pytest.fixture
async def read(rig):
    readers = []

    async def open_reader(**fields):
        readers.append(await Reader(rig, **fields).open())
        return readers[-1]

    yield open_reader
    for reader in readers:
        await reader.cut()


async def register(rig, **fields):
    defaults = {"identity": "me", "task_queue": "default"}
    request = worker.RegisterRequest(**(defaults | fields))
    return (await rig.engine.workers.register(request)).worker_id


async def finish(rig, task, *commands):
    request = worker.CompleteWorkflowTaskRequest(task_token=task.task_token, commands=commands)
    await rig.engine.workers.complete_workflow_task(request)
    await settle()


async def succeed(rig, task):
    request = worker.CompleteActivityRequest(task_token=task.task_token, result=payload())
    await rig.engine.workers.complete_activity(request)
    await settle()


def shown(rig, session_id):
    return rig.engine.sessions.get(session_id)


async def test_the_first_message_is_empty_and_comes_at_once(read):
    assert (await read()).batches == [worker.StreamTasksResponse()]


async def test_batches_are_numbered_across_the_streams_of_a_worker(rig, read):
    first = await read()
    await rig.start("a")
    await rig.start("b")
    assert [batch.batch for batch in first.batches] == [0, 1, 2]
    await first.cut()
    second = await read(received_batch=2)
    await rig.start("c")
    assert [batch.batch for batch in second.batches] == [2, 3]
    assert [task.workflow_id for task in second.workflow_tasks] == ["c"]


async def test_what_was_received_stays_the_workers_own(rig, read):
    first = await read()
    await rig.start("a")
    await rig.start("b")
    await first.cut()
    second = await read(received_batch=1)
    # The first task was received; the second is handed out again, and is no lost attempt.
    assert [(task.workflow_id, task.attempt) for task in second.workflow_tasks] == [("b", 1)]
    await finish(rig, first.workflow_tasks[0], complete())
    await finish(rig, second.workflow_tasks[0], complete())
    assert shown(rig, "r").used == dict.fromkeys(shown(rig, "r").used, 0)


async def test_who_names_no_batch_has_received_nothing(rig, read):
    first = await read()
    await rig.start("a")
    await first.cut()
    second = await read()
    assert [task.workflow_id for task in second.workflow_tasks] == ["a"]
    assert [batch.batch for batch in second.batches] == [0, 2]


async def test_what_is_kept_fills_its_slot(rig, read):
    first = await read(slots={"workflow_tasks": 1})
    await rig.start("a")
    await first.cut()
    second = await read(slots={"workflow_tasks": 1}, received_batch=1)
    await rig.start("b")
    assert second.workflow_tasks == []
    await finish(rig, first.workflow_tasks[0], complete())
    assert [task.workflow_id for task in second.workflow_tasks] == ["b"]


async def test_a_lease_that_ended_meanwhile_is_not_kept(rig, read):
    first = await read()
    await rig.start("a")
    await first.cut()
    await rig.advance(11)
    second = await read(received_batch=1)
    assert [(task.workflow_id, task.attempt) for task in second.workflow_tasks] == [("a", 2)]


async def test_a_notice_is_a_batch_too(rig, read):
    stream = await read()
    await rig.start("a")
    await finish(rig, stream.workflow_tasks[0], schedule())
    (task,) = stream.activity_tasks
    await rig.engine.workflows.terminate(TerminateWorkflowRequest(workflow_id="a"))
    await settle()
    assert [notice.task_token for notice in stream.batches[-1].cancels] == [task.task_token]
    assert [batch.batch for batch in stream.batches] == [0, 1, 2, 3]


async def test_numbers_go_on_after_those_of_an_earlier_process(rig):
    reader = await Reader(rig).open()
    await rig.start("a")
    await rig.start("b")
    await reader.cut()
    async with running(rig.store, rig.clock) as again:
        first = await Reader(again, received_batch=2).open()
        assert sorted(task.workflow_id for task in first.workflow_tasks) == ["a", "b"]
        assert min(batch.batch for batch in first.batches[1:]) == 3
        await first.cut()
        # What went out since was not received: the old number does not stand for it.
        second = await Reader(again, received_batch=2).open()
        assert sorted(task.workflow_id for task in second.workflow_tasks) == ["a", "b"]
        await second.cut()


async def test_slots_are_those_asked_for_else_those_registered_else_ten(rig, read):
    worker_id = await register(rig, workflow_types=["W"], slots={"activity_tasks": 3})
    await read(worker_id=worker_id)
    assert list(shown(rig, worker_id).slots.values()) == [10, 3]
    await read(worker_id=worker_id, slots={"workflow_tasks": 2})
    assert list(shown(rig, worker_id).slots.values()) == [2, 0]
    await read(worker_id="other")
    assert list(shown(rig, "other").slots.values()) == [10, 10]
    listed = await rig.engine.workers.list_workers(worker.ListWorkersRequest())
    assert {info.worker_id for info in listed.workers} == {worker_id, "other"}


async def test_who_registers_without_slots_has_ten_of_each_kind(rig):
    await register(rig)
    (info,) = (await rig.engine.workers.list_workers(worker.ListWorkersRequest())).workers
    assert info.slots == worker.WorkSlots(workflow_tasks=10, activity_tasks=10)


async def test_a_registered_worker_gets_its_types_on_the_queue_it_names(rig, read):
    worker_id = await register(rig, workflow_types=["refund"], namespace="shop")
    stream = await read(worker_id=worker_id, task_queue="other")
    place = {"namespace": "shop", "task_queue": "other"}
    await rig.start("a", workflow_type="W", **place)
    await rig.start("b", workflow_type="refund", **place)
    await rig.start("c", workflow_type="refund", namespace="shop")
    assert [task.workflow_id for task in stream.workflow_tasks] == ["b"]


async def test_who_never_registered_gets_every_type(rig, read):
    stream = await read()
    await rig.start("a", workflow_type="W")
    await rig.start("b", workflow_type="V")
    assert [task.workflow_id for task in stream.workflow_tasks] == ["a", "b"]


async def test_reports_by_token_keep_the_leases_of_a_stream(rig, read):
    stream = await read()
    await rig.start("a")
    await rig.start("b")
    await rig.advance(7)
    await finish(rig, stream.workflow_tasks[0], schedule())
    await rig.advance(7)
    beat = worker.HeartbeatActivityRequest(task_token=stream.activity_tasks[0].task_token)
    await rig.engine.workers.heartbeat_activity(beat)
    await rig.advance(7)
    await succeed(rig, stream.activity_tasks[0])
    await finish(rig, stream.workflow_tasks[1], complete())
    assert not stream.ended
    assert (await rig.kinds("b"))[-1] == "workflow_completed"


async def test_a_heartbeat_every_nine_seconds_is_enough(rig, read):
    worker_id = await register(rig, workflow_types=["W"])
    stream = await read(worker_id=worker_id)
    await rig.start("a")
    for _ in range(3):
        await rig.advance(9)
        await rig.engine.workers.heartbeat(worker.HeartbeatRequest(worker_id=worker_id))
    assert (stream.ended, stream.error) == (False, None)
    await finish(rig, stream.workflow_tasks[0], complete())
    await rig.advance(12)
    assert (stream.ended, stream.error) == (False, None)


async def test_a_worker_that_is_silent_about_its_tasks_loses_its_stream(rig, read):
    stream = await read()
    await rig.advance(60)
    assert not stream.ended
    await rig.start("a")
    await rig.advance(9)
    assert not stream.ended
    await rig.advance(3)
    assert (stream.ended, stream.error) == (True, None)


async def test_commands_without_a_token_find_the_task_of_a_stream(rig, read):
    await read()
    await rig.start("a")
    request = worker.CompleteWorkflowTaskRequest(
        workflow_id="a", worker_id="r", commands=[complete()]
    )
    await rig.engine.workers.complete_workflow_task(request)
    assert (await rig.kinds("a"))[-1] == "workflow_completed"


async def test_commands_without_a_token_count_after_a_restart(rig):
    poll = worker.PollWorkflowTaskRequest(task_queue="default", worker_id="me")
    await rig.start("a")
    assert await rig.engine.workers.poll_workflow_task(poll)
    async with running(rig.store, rig.clock) as again:
        request = worker.CompleteWorkflowTaskRequest(
            workflow_id="a", worker_id="me", commands=[schedule()]
        )
        await again.engine.workers.complete_workflow_task(request)
        assert await again.kinds("a") == ["workflow_started", "activity_scheduled"]
        # What the worker had seen is not known any more, so its code is run once again.
        assert await again.engine.workers.poll_workflow_task(poll)
        await again.engine.workers.complete_workflow_task(request)
        assert await again.kinds("a") == ["workflow_started", "activity_scheduled"]
        assert not await again.engine.workers.poll_workflow_task(poll)
