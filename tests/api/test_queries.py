"""QueryWorkflow, and the questions and answers on the streams of workers."""

from __future__ import annotations

import asyncio

import pytest

from perdure.v1 import interaction_pb2 as asking
from perdure.v1 import worker_service_pb2 as worker
from perdure.v1.command_pb2 import Command
from perdure_server.core import limits
from tests.api.flows import json_payload, refused, wait_for
from tests.api.streams import WorkStream

SNAPSHOT = asking.QUERY_MODE_SNAPSHOT
SOON = {"nanos": 20_000_000}


def query(flows, name="listed", workflow_id="w", **fields):
    request = asking.QueryWorkflowRequest(workflow_id=workflow_id, query_name=name, **fields)
    return flows.call("WorkflowService/QueryWorkflow", request)


class Answering(WorkStream):
    """A worker that is asked."""

    async def query(self):
        return await self.next("queries")

    def answer(self, task, **outcome):
        answer = worker.QueryAnswer(query_id=task.query_id, outcome=outcome)
        self.send(worker.WorkRequest(query_answers=[answer]))

    def give_back(self, task):
        answer = worker.QueryAnswer(query_id=task.query_id)
        self.send(worker.WorkRequest(query_answers=[answer]))


@pytest.fixture
async def work(caller):
    stream = Answering(caller)
    yield stream
    await stream.close()


async def waiting(flows, work):
    """Starts a workflow whose code waits, at a worker."""
    work.hello(answers_queries=True)
    await flows.start()
    await work.report(
        1, await work.workflow_task(), workflow_task_completed={"commands": [wait_for("go")]}
    )


async def test_a_worker_answers(flows, work):
    await waiting(flows, work)
    async with asyncio.TaskGroup() as group:
        asked = group.create_task(query(flows, input=json_payload("[1]")))
        task = await work.query()
        work.answer(task, value=json_payload("7"), event_seq=1)
    assert (task.workflow_id, task.workflow_type, task.task_queue) == ("w", "checkout", "shop")
    assert (task.query_name, task.input.data, task.current_seq) == ("listed", b"[1]", 1)
    answer = asked.result()
    assert (answer.value.data, answer.event_seq) == (b"7", 1)
    assert answer.run_id == task.run_id
    assert await flows.kinds() == ["workflow_started", "workflow_awaiting_signal"]


async def test_what_was_recorded_before_is_to_be_known(flows, work):
    await waiting(flows, work)
    await flows.signal(signal_name="else")
    held = await work.workflow_task()
    async with asyncio.TaskGroup() as group:
        asked = group.create_task(query(flows))
        task = await work.query()
        assert task.current_seq == 3
        work.answer(task, value=json_payload("7"))
    assert asked.result().value.data == b"7"
    assert not (await work.report(2, held, workflow_task_completed={})).reason


async def test_a_run_in_no_memory_and_a_closed_one(flows, work):
    work.hello(answers_queries=True, workflow_types=["other"])
    await flows.start(workflow_type="other", start_delay={"seconds": 3000})
    for _ in range(2):
        async with asyncio.TaskGroup() as group:
            group.create_task(query(flows))
            task = await work.query()
            assert task.current_seq == 0
            work.answer(task, value=json_payload("7"))
        await flows.terminate(request_id="t")


async def test_the_code_fails(flows, work):
    await waiting(flows, work)
    async with asyncio.TaskGroup() as group:

        async def ask():
            async with refused("FAILED_PRECONDITION", "QUERY_FAILED", "no room"):
                await query(flows)

        group.create_task(ask())
        work.answer(await work.query(), failure={"message": "no room", "type": "Full"})


async def test_an_answer_that_is_too_large(flows, work):
    await waiting(flows, work)
    async with asyncio.TaskGroup() as group:

        async def ask():
            async with refused("FAILED_PRECONDITION", "QUERY_FAILED", "the bound is 2097152"):
                await query(flows)

        group.create_task(ask())
        value = {"data": b"x" * (limits.PAYLOAD_BYTES_MAX + 1)}
        work.answer(await work.query(), value=value)


async def test_nobody_answers(flows, work):
    await flows.start()
    text = "workflow type 'checkout' on task queue 'shop' of namespace 'main'"
    async with refused("FAILED_PRECONDITION", "NO_WORKER", text):
        await query(flows, wait={})
    # One that says nothing of queries is not asked.
    work.hello()
    await work.next("welcome")
    async with refused("FAILED_PRECONDITION", "NO_WORKER", "is connected"):
        await query(flows, wait=SOON)


async def test_a_worker_does_not_answer_in_time(flows, work):
    await waiting(flows, work)
    async with refused("FAILED_PRECONDITION", "NO_WORKER", "has answered within 0.02 s"):
        await query(flows, wait=SOON)
    late = await work.query()
    async with asyncio.TaskGroup() as group:
        asked = group.create_task(query(flows))
        task = await work.query()
        work.answer(late, value=json_payload("1"))
        work.answer(task, value=json_payload("2"))
    assert asked.result().value.data == b"2"


async def test_the_worker_may_come_later(flows, work):
    await flows.start()
    async with asyncio.TaskGroup() as group:
        asked = group.create_task(query(flows))
        work.hello(answers_queries=True)
        work.answer(await work.query(), value=json_payload("7"))
    assert asked.result().value.data == b"7"


async def test_another_worker_is_asked_when_one_is_lost(flows, work, caller):
    await waiting(flows, work)
    other = Answering(caller)
    async with asyncio.TaskGroup() as group:
        asked = group.create_task(query(flows))
        await work.query()
        other.hello("s2", answers_queries=True)
        await other.next("welcome")
        await work.close()
        other.answer(await other.query(), value=json_payload("7"))
    assert asked.result().value.data == b"7"
    await other.close()


async def test_a_question_that_is_given_back_is_put_again(flows, work):
    await waiting(flows, work)
    async with asyncio.TaskGroup() as group:
        asked = group.create_task(query(flows))
        work.give_back(await work.query())
        work.answer(await work.query(), value=json_payload("7"))
    assert asked.result().value.data == b"7"


async def test_a_snapshot_needs_no_worker(flows):
    await flows.start()
    async with refused("NOT_FOUND", "SNAPSHOT_NOT_FOUND"):
        await query(flows, mode=SNAPSHOT)
    state = Command(record_snapshot={"state": json_payload('{"listed":[1.50]}')})
    await flows.complete_workflow_task(await flows.poll_workflow_task(), state)
    answer = await query(flows, mode=SNAPSHOT)
    assert (answer.value.data, answer.event_seq) == (b"[1.50]", 1)
    async with refused("INVALID_ARGUMENT", "INVALID_REQUEST", "input"):
        await query(flows, mode=SNAPSHOT, input=json_payload("1"))


async def test_what_cannot_be_asked(flows):
    async with refused("NOT_FOUND", "WORKFLOW_NOT_FOUND"):
        await query(flows)
    await flows.start()
    async with refused("NOT_FOUND", "WORKFLOW_NOT_FOUND"):
        await query(flows, namespace="other")
    async with refused("NOT_FOUND", "WORKFLOW_NOT_FOUND"):
        await query(flows, run_id="r")
    async with refused("INVALID_ARGUMENT", "INVALID_REQUEST", "query_name"):
        await query(flows, "")
    large = json_payload("1" * (limits.PAYLOAD_BYTES_MAX + 1))
    async with refused("INVALID_ARGUMENT", "PAYLOAD_TOO_LARGE"):
        await query(flows, input=large)


async def test_workers_of_other_namespaces_queues_and_types_are_not_asked(flows, caller):
    await flows.start()
    streams = []
    for number, other in enumerate(
        ({"namespace": "other"}, {"task_queue": "else"}, {"workflow_types": ["else"]})
    ):
        stream = Answering(caller)
        streams.append(stream)
        stream.hello(f"s{number}", answers_queries=True, **other)
        await stream.next("welcome")
    async with refused("FAILED_PRECONDITION", "NO_WORKER", "is connected"):
        await query(flows, wait=SOON)
    for stream in streams:
        await stream.close()


async def test_queries_under_way_are_bounded(flows, work, monkeypatch):
    monkeypatch.setattr(limits, "QUERIES_MAX", 1)
    await waiting(flows, work)
    async with asyncio.TaskGroup() as group:
        asked = group.create_task(query(flows))
        task = await work.query()
        async with refused("INVALID_ARGUMENT", "LIMIT_EXCEEDED", "1 queries"):
            await query(flows)
        work.answer(task, value=json_payload("7"))
    assert asked.result().value.data == b"7"
