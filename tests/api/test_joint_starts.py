"""SignalWithStart and UpdateWithStart."""

from __future__ import annotations

import asyncio

import pytest

from perdure.v1 import workflow_service_pb2 as pb
from perdure.v1.command_pb2 import Command
from perdure.v1.workflow_pb2 import ConflictPolicy, ReusePolicy
from tests.api.flows import QUEUE, complete_workflow, json_payload, refused, wait_for

FAIL = ConflictPolicy.CONFLICT_POLICY_FAIL
TERMINATE = ConflictPolicy.CONFLICT_POLICY_TERMINATE_EXISTING
ALLOW = ReusePolicy.REUSE_POLICY_ALLOW_DUPLICATE


def begin(**fields):
    return {"workflow_id": "w", "workflow_type": "checkout", "task_queue": QUEUE, **fields}


async def signal(flows, text="1", **start):
    request = pb.SignalWithStartRequest(
        start=begin(**start), signal_name="go", payload=json_payload(text)
    )
    return await flows.call("WorkflowService/SignalWithStart", request)


async def update(flows, wait=None, **start):
    request = pb.UpdateWithStartRequest(
        start=begin(**start), update_name="add", input=json_payload("1"), wait=wait
    )
    return await flows.call("WorkflowService/UpdateWithStart", request)


def complete_update(seq):
    return Command(complete_update={"requested_seq": seq, "result": json_payload("7")})


async def answer(flows, seq, *commands):
    task = await flows.poll_workflow_task()
    await flows.complete_workflow_task(task, complete_update(seq), *commands)


class TestSignalWithStart:
    async def test_a_workflow_that_is_not_there_is_started_with_it(self, flows):
        answer = await signal(flows)
        assert (answer.started, answer.event_seq) == (True, 2)
        task = await flows.poll_workflow_task()
        assert task.history.events[1].signal_received.payload.data == b"1"

    async def test_an_open_run_gets_it(self, flows):
        first = await signal(flows)
        second = await signal(flows, "2")
        assert (second.started, second.event_seq) == (False, 3)
        assert second.run_id == first.run_id

    async def test_the_same_request_is_one_signal(self, flows):
        answers = [await signal(flows, request_id="r") for _ in range(3)]
        assert {(each.run_id, each.started, each.event_seq) for each in answers} == {
            (answers[0].run_id, True, 2)
        }
        assert await flows.kinds() == ["workflow_started", "signal_received"]
        async with refused("INVALID_ARGUMENT", "REQUEST_ID_REUSED"):
            await signal(flows, "2", request_id="r")

    async def test_many_at_once_make_one_run(self, flows):
        answers = await asyncio.gather(*[signal(flows, str(n)) for n in range(10)])
        assert len({each.run_id for each in answers}) == 1
        assert sum(each.started for each in answers) == 1
        assert (await flows.kinds()).count("signal_received") == 10

    async def test_the_policies_of_a_start_hold(self, flows):
        await flows.start()
        async with refused("ALREADY_EXISTS", "WORKFLOW_ALREADY_EXISTS"):
            await signal(flows, conflict_policy=FAIL)
        replaced = await signal(flows, conflict_policy=TERMINATE)
        assert (replaced.started, replaced.event_seq) == (True, 2)
        await flows.terminate()
        async with refused("ALREADY_EXISTS", "WORKFLOW_ALREADY_EXISTS"):
            await signal(flows)
        assert (await signal(flows, reuse_policy=ALLOW)).started

    async def test_without_an_id_the_request_id_makes_one(self, flows):
        answers = [await signal(flows, workflow_id="", request_id="r") for _ in range(2)]
        assert len({each.workflow_id for each in answers}) == 1

    async def test_without_a_type(self, flows):
        async with refused("INVALID_ARGUMENT", "INVALID_REQUEST", "workflow_type"):
            await signal(flows, workflow_type="")


class TestUpdateWithStart:
    async def test_a_workflow_that_is_not_there_is_started_with_it(self, flows):
        async with asyncio.TaskGroup() as group:
            asked = group.create_task(update(flows))
            await answer(flows, 2)
        done = asked.result()
        assert (done.started, done.completed, done.result.data) == (True, True, b"7")

    async def test_an_open_run_gets_it(self, flows):
        await flows.start()
        await flows.complete_workflow_task(await flows.poll_workflow_task(), wait_for("never"))
        async with asyncio.TaskGroup() as group:
            asked = group.create_task(update(flows))
            await answer(flows, 3)
        assert (asked.result().started, asked.result().result.data) == (False, b"7")

    async def test_the_same_request_has_one_answer(self, flows):
        first = await update(flows, wait={}, request_id="r")
        assert not first.completed
        await answer(flows, first.event_seq, complete_workflow())
        for wait in (None, {"seconds": 1}):
            done = await update(flows, wait=wait, request_id="r")
            assert (done.run_id, done.started, done.result.data) == (first.run_id, True, b"7")
        assert (await flows.kinds()).count("update_requested") == 1

    @pytest.mark.parametrize("policy", [FAIL, TERMINATE])
    async def test_the_policies_of_a_start_hold(self, flows, policy):
        await flows.start()
        if policy == FAIL:
            async with refused("ALREADY_EXISTS", "WORKFLOW_ALREADY_EXISTS"):
                await update(flows, conflict_policy=policy)
            return
        replaced = await update(flows, wait={}, conflict_policy=policy)
        assert (replaced.started, replaced.event_seq) == (True, 2)

    async def test_without_a_name(self, flows):
        request = pb.UpdateWithStartRequest(start=begin())
        async with refused("INVALID_ARGUMENT", "INVALID_REQUEST", "update_name"):
            await flows.call("WorkflowService/UpdateWithStart", request)
