"""Workflows that start, signal and cancel others, and ListChildren."""

from __future__ import annotations

import asyncio

import pytest

from perdure.v1 import workflow_service_pb2 as pb
from perdure.v1.command_pb2 import Command
from perdure.v1.workflow_pb2 import ParentClosePolicy, ReusePolicy, WorkflowStatus
from tests.api.flows import complete_workflow, json_payload, refused, wait_for

TERMINATED = WorkflowStatus.WORKFLOW_STATUS_TERMINATED
ABANDON = ParentClosePolicy.PARENT_CLOSE_POLICY_ABANDON


def start_child(seq=1, workflow_id="child", **fields):
    defaults = {"seq": seq, "workflow_id": workflow_id, "workflow_type": "refund"}
    return Command(start_child_workflow=defaults | fields)


async def parent_of(flows, *commands):
    """Starts a workflow and reports commands of its first task."""
    await flows.start("parent")
    task = await flows.poll_workflow_task()
    await flows.complete_workflow_task(task, *commands)


async def work(flows, workflow_id, *commands):
    """Takes the next workflow task, which is of this workflow, and reports commands."""
    task = await flows.poll_workflow_task()
    assert task.workflow_id == workflow_id
    await flows.complete_workflow_task(task, *commands)
    return task


async def children_of(flows, **fields):
    request = pb.ListChildrenRequest(workflow_id="parent", **fields)
    return await flows.call("WorkflowService/ListChildren", request)


class TestStartChildWorkflow:
    async def test_the_parent_goes_on_with_the_result(self, flows):
        await parent_of(flows, start_child(input=json_payload("1")))
        child = await work(flows, "child", complete_workflow("7"))
        assert child.history.events[0].workflow_started.parent.workflow_id == "parent"
        task = await work(flows, "parent", complete_workflow())
        event = task.history.events[-1].child_workflow_completed
        assert (event.child_seq, event.result.data) == (1, b"7")
        assert (await flows.get("child")).workflow.parent_workflow_id == "parent"
        assert (await flows.get("parent")).workflow.parent_workflow_id == ""

    async def test_an_id_in_use_is_an_event(self, flows):
        await flows.start("child", task_queue="elsewhere")
        await parent_of(flows, start_child())
        task = await work(flows, "parent", complete_workflow())
        event = task.history.events[-1].child_workflow_failed
        assert (event.failure.type, event.child_run_id) == ("ID_IN_USE", "")

    async def test_of_many_children_those_that_can_be_are_started(self, flows):
        await flows.start("c-2", task_queue="elsewhere")
        await parent_of(flows, *(start_child(seq, f"c-{seq}") for seq in (1, 2, 3)))
        kinds = (await flows.kinds("parent"))[1:]
        assert kinds == [
            "child_workflow_started",
            "child_workflow_failed",
            "child_workflow_started",
        ]

    async def test_children_end_with_their_parent(self, flows):
        stays = start_child(2, "stays", parent_close_policy=ABANDON, task_queue="elsewhere")
        await parent_of(flows, start_child(task_queue="elsewhere"), stays)
        await flows.terminate("parent")
        answer = await flows.result("child", wait={"seconds": 30})
        assert answer.status == TERMINATED
        assert not (await flows.result("stays")).closed

    async def test_a_terminated_child_is_told_to_its_parent(self, flows):
        await parent_of(flows, start_child(task_queue="elsewhere"))
        await flows.terminate("child", reason="enough")
        task = await flows.poll_workflow_task()
        event = task.history.events[-1].child_workflow_failed
        assert (event.failure.message, event.status) == ("enough", TERMINATED)

    async def test_a_malformed_child_refuses_the_batch(self, flows):
        await flows.start("parent")
        task = await flows.poll_workflow_task()
        async with refused("INVALID_ARGUMENT", "INVALID_COMMAND", "command 0"):
            await flows.complete_workflow_task(task, start_child(workflow_type=""))


class TestSignalWorkflow:
    async def test_another_workflow_hears_it_and_the_sender_hears_that(self, flows):
        await flows.start("other", task_queue="elsewhere")
        signal = {"seq": 1, "workflow_id": "other", "signal_name": "go"}
        await parent_of(flows, Command(signal_workflow=signal))
        task = await work(flows, "parent", complete_workflow())
        assert task.history.events[-1].signal_workflow_delivered.signal_seq == 1
        assert (await flows.kinds("other"))[-1] == "signal_received"

    async def test_signals_to_one_workflow_keep_their_order(self, flows):
        await flows.start("other", task_queue="elsewhere")
        signals = [
            Command(signal_workflow={"seq": seq, "workflow_id": "other", "signal_name": f"s-{seq}"})
            for seq in range(1, 21)
        ]
        await parent_of(flows, *signals)
        while len(await flows.kinds("other")) < 21:
            await work(flows, "parent", wait_for("never"))
        events = (await flows.history("other")).history.events[1:]
        names = [event.signal_received.signal_name for event in events]
        assert names == [f"s-{seq}" for seq in range(1, 21)]

    @pytest.mark.parametrize("closed", [False, True])
    async def test_nobody_to_hear_it_is_an_event(self, flows, closed):
        if closed:
            await flows.start("other", task_queue="elsewhere")
            await flows.terminate("other")
        signal = {"seq": 1, "workflow_id": "other", "signal_name": "go"}
        await parent_of(flows, Command(signal_workflow=signal))
        task = await flows.poll_workflow_task()
        failed = task.history.events[-1].signal_workflow_failed
        assert failed.failure.type == "WORKFLOW_NOT_FOUND"


class TestCancelChild:
    async def test_another_workflow_is_asked_to_end(self, flows):
        await flows.start("other")
        await work(flows, "other", wait_for("never"))
        cancel = {"seq": 1, "workflow_id": "other", "reason": "enough"}
        await parent_of(flows, Command(cancel_child=cancel))
        tasks = [await flows.poll_workflow_task() for _ in range(2)]
        last = {task.workflow_id: task.history.events[-1] for task in tasks}
        assert last["other"].workflow_cancel_requested.reason == "enough"
        assert last["parent"].cancel_workflow_delivered.cancel_seq == 1

    async def test_nobody_to_cancel_is_an_event(self, flows):
        await parent_of(flows, Command(cancel_child={"seq": 1, "workflow_id": "other"}))
        task = await flows.poll_workflow_task()
        assert task.history.events[-1].cancel_workflow_failed.cancel_seq == 1


class TestListChildren:
    async def test_lists_them_oldest_first_in_pages(self, flows):
        await parent_of(flows, *(start_child(seq, f"c-{seq}") for seq in (1, 2, 3)))
        page = await children_of(flows, page_size=2)
        assert [child.workflow_id for child in page.children] == ["c-1", "c-2"]
        rest = await children_of(flows, page_size=2, page_token=page.next_page_token)
        assert [child.workflow_id for child in rest.children] == ["c-3"]
        assert rest.next_page_token == ""

    async def test_a_filter_finds_them_whatever_became_of_the_parent(self, flows):
        await parent_of(flows, start_child(1, "c-1"), start_child(2, "c-2"), complete_workflow())
        await flows.start("parent", reuse_policy=ReusePolicy.REUSE_POLICY_ALLOW_DUPLICATE)
        for text, expected in (
            ("parent_id = 'parent'", ["c-2", "c-1"]),
            ("ParentWorkflowId = 'parent' AND id = 'c-1'", ["c-1"]),
            ("parent_workflow_id = ''", ["parent", "parent"]),
            ("parent_id = 'other'", []),
        ):
            request = pb.ListWorkflowsRequest(filter=text)
            page = await flows.call("WorkflowService/ListWorkflows", request)
            assert [run.workflow_id for run in page.workflows] == expected, text
            counted = pb.CountWorkflowsRequest(filter=text)
            answer = await flows.call("WorkflowService/CountWorkflows", counted)
            assert answer.count == len(expected), text

    async def test_a_workflow_without_children_has_none(self, flows):
        await asyncio.gather(flows.start("parent"), flows.start("other"))
        assert not (await children_of(flows)).children

    async def test_an_unknown_workflow(self, flows):
        async with refused("NOT_FOUND", "WORKFLOW_NOT_FOUND"):
            await children_of(flows)

    async def test_a_page_token_of_something_else(self, flows):
        await flows.start("parent")
        async with refused("INVALID_ARGUMENT", "INVALID_PAGE_TOKEN"):
            await children_of(flows, page_token="nonsense")
