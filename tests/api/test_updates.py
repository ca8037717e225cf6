"""UpdateWorkflow, and the commands that answer it."""

from __future__ import annotations

import asyncio

from perdure.v1 import interaction_pb2 as asking
from perdure.v1.command_pb2 import Command
from tests.api.flows import complete_workflow, json_payload, refused, wait_for


def complete_update(seq, text="7"):
    return Command(complete_update={"requested_seq": seq, "result": json_payload(text)})


def reject_update(seq, **failure):
    return Command(reject_update={"requested_seq": seq, "failure": failure})


async def update(flows, name="add", workflow_id="w", **fields):
    request = asking.UpdateWorkflowRequest(workflow_id=workflow_id, update_name=name, **fields)
    return await flows.call("WorkflowService/UpdateWorkflow", request)


async def waiting(flows):
    """Starts a workflow whose code waits."""
    await flows.start()
    await flows.complete_workflow_task(await flows.poll_workflow_task(), wait_for("never"))


async def work(flows, *commands):
    """Takes the next workflow task and reports commands."""
    task = await flows.poll_workflow_task()
    await flows.complete_workflow_task(task, *commands)
    return task


class TestUpdateWorkflow:
    async def test_the_caller_gets_the_answer_of_the_code(self, flows):
        await waiting(flows)
        async with asyncio.TaskGroup() as group:
            asked = group.create_task(update(flows, input=json_payload("[1]")))
            task = await work(flows, complete_update(3))
        event = task.history.events[-1].update_requested
        assert (event.update_name, event.input.data) == ("add", b"[1]")
        answer = asked.result()
        assert (answer.completed, answer.result.data, answer.event_seq) == (True, b"7", 3)
        assert (await flows.kinds())[-2:] == ["update_requested", "update_completed"]

    async def test_a_refusal_of_the_code_is_an_error(self, flows):
        await waiting(flows)
        async with asyncio.TaskGroup() as group:
            group.create_task(work(flows, reject_update(3, message="too many", type="Full")))
            async with refused("FAILED_PRECONDITION", "UPDATE_REJECTED", "too many"):
                await update(flows)

    async def test_an_answer_that_does_not_come_in_time(self, flows):
        await waiting(flows)
        answer = await update(flows, wait={})
        assert (answer.completed, answer.event_seq) == (False, 3)
        answer = await update(flows, wait={"nanos": 1_000_000})
        assert (answer.completed, answer.event_seq) == (False, 4)

    async def test_the_same_request_is_one_update(self, flows):
        await waiting(flows)
        first = await update(flows, request_id="r", wait={})
        async with asyncio.TaskGroup() as group:
            again = [group.create_task(update(flows, request_id="r")) for _ in range(3)]
            await work(flows, complete_update(first.event_seq))
        late = await update(flows, request_id="r", wait={"seconds": 1})
        answers = {(each.event_seq, each.result.data) for each in (t.result() for t in again)}
        assert answers == {(3, b"7")} == {(late.event_seq, late.result.data)}
        assert (await flows.kinds()).count("update_requested") == 1

    async def test_its_answer_stands_after_the_end(self, flows):
        await waiting(flows)
        await update(flows, request_id="r", wait={})
        await work(flows, complete_update(3), complete_workflow())
        assert (await update(flows, request_id="r")).result.data == b"7"
        async with refused("FAILED_PRECONDITION", "WORKFLOW_CLOSED"):
            await update(flows, request_id="another")

    async def test_other_content_under_the_same_request_id(self, flows):
        await waiting(flows)
        await update(flows, request_id="r", wait={})
        async with refused("INVALID_ARGUMENT", "REQUEST_ID_REUSED"):
            await update(flows, "other", request_id="r", wait={})

    async def test_an_end_without_an_answer(self, flows):
        await waiting(flows)
        async with asyncio.TaskGroup() as group:
            group.create_task(work(flows, complete_workflow()))
            async with refused("FAILED_PRECONDITION", "RUN_CLOSED", "COMPLETED"):
                await update(flows, request_id="r")
        async with refused("FAILED_PRECONDITION", "RUN_CLOSED"):
            await update(flows, request_id="r")
        events = (await flows.history()).history.events
        assert events[-1].workflow_completed.unhandled_updates[0].event_seq == 3

    async def test_an_update_may_come_before_the_code_has_run(self, flows):
        await flows.start()
        async with asyncio.TaskGroup() as group:
            asked = group.create_task(update(flows))
            while len(await flows.kinds()) < 2:
                pass
            await work(flows, complete_update(2))
        assert asked.result().result.data == b"7"

    async def test_a_closed_workflow(self, flows):
        await flows.start()
        await flows.terminate()
        async with refused("FAILED_PRECONDITION", "WORKFLOW_CLOSED"):
            await update(flows)

    async def test_an_unknown_workflow(self, flows):
        async with refused("NOT_FOUND", "WORKFLOW_NOT_FOUND"):
            await update(flows)

    async def test_without_a_name(self, flows):
        async with refused("INVALID_ARGUMENT", "INVALID_REQUEST", "update_name"):
            await update(flows, "")


class TestAnswers:
    async def test_an_answer_to_nothing_refuses_the_batch(self, flows):
        await flows.start()
        task = await flows.poll_workflow_task()
        async with refused("INVALID_ARGUMENT", "INVALID_COMMAND", "requested_seq"):
            await flows.complete_workflow_task(task, complete_update(9))
