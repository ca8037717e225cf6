"""ResetWorkflow and RetryFailedActivity: answers, and each error they document."""

from __future__ import annotations

import asyncio

import pytest

from perdure.v1 import workflow_service_pb2 as pb
from perdure.v1.command_pb2 import Command
from perdure.v1.workflow_pb2 import WorkflowStatus
from tests.api.flows import complete_workflow, refused, wait_for

RUNNING = WorkflowStatus.WORKFLOW_STATUS_RUNNING
PENDING = WorkflowStatus.WORKFLOW_STATUS_PENDING
FAILED = WorkflowStatus.WORKFLOW_STATUS_FAILED
TERMINATED = WorkflowStatus.WORKFLOW_STATUS_TERMINATED
COMPLETED = WorkflowStatus.WORKFLOW_STATUS_COMPLETED
FAIL = Command(fail_workflow={"failure": {"message": "no"}})
MINUTE = {"seconds": 60}
ONCE = {"retry_policy": {"max_attempts": 1}}


def reset(flows, event_seq=2, workflow_id="w", **fields):
    request = pb.ResetWorkflowRequest(workflow_id=workflow_id, event_seq=event_seq, **fields)
    return flows.call("WorkflowService/ResetWorkflow", request)


def retry(flows, workflow_id="w", **fields):
    defaults = {"workflow_id": workflow_id, "requested_by": "ann", "reason": "fixed"}
    request = pb.RetryFailedActivityRequest(**(defaults | fields))
    return flows.call("WorkflowService/RetryFailedActivity", request)


async def fail_by_activity(flows):
    """1 started, 2 scheduled, 3 the activity failed, 4 so did the run."""
    await flows.fail_activity(await flows.activity(**ONCE), message="no")
    await flows.complete_workflow_task(await flows.poll_workflow_task(), FAIL)


async def with_child(flows):
    """1 started, 2 the child `c` started; it waits for a worker at another queue."""
    await flows.start()
    child = {"seq": 1, "workflow_type": "refund", "workflow_id": "c", "task_queue": "other"}
    command = Command(start_child_workflow=child)
    await flows.complete_workflow_task(await flows.poll_workflow_task(), command)


class TestResetWorkflow:
    async def test_an_open_run_ends_and_another_goes_on(self, flows):
        old = await flows.activity()
        await flows.signal(signal_name="late")
        first = (await flows.get()).workflow.run_id
        waiter = asyncio.create_task(flows.result(run_id=first, wait={"seconds": 60}))
        answer = await reset(flows, reason="bug", identity="ann")
        assert (answer.workflow_id, answer.status) == ("w", RUNNING)
        ended = (await flows.get(run_id=first)).workflow
        assert (ended.status, ended.next_run_id) == (TERMINATED, answer.run_id)
        record = await flows.get()
        assert (record.workflow.run_id, record.workflow.previous_run_id) == (answer.run_id, first)
        assert [each.seq for each in record.pending_activities] == [1]
        async with refused("FAILED_PRECONDITION", "STALE_TASK"):
            await flows.complete_activity(old)
        await flows.complete_activity(await flows.poll_activity_task())
        task = await flows.poll_workflow_task()
        kinds = [event.WhichOneof("event") for event in task.history.events]
        assert kinds == [
            "workflow_started",
            "activity_scheduled",
            "workflow_reset",
            "signal_received",
            "activity_completed",
        ]
        event = task.history.events[2].workflow_reset
        assert (event.reason, event.identity, event.event_seq, event.from_run_id) == (
            "bug",
            "ann",
            2,
            first,
        )
        await flows.complete_workflow_task(task, complete_workflow())
        end = await waiter
        assert (end.status, end.run_id) == (COMPLETED, answer.run_id)

    async def test_a_closed_run_stays_as_it_is(self, flows):
        await fail_by_activity(flows)
        before = await flows.history()
        answer = await reset(flows, 1)
        assert answer.status == PENDING
        assert (await flows.history(run_id=before.run_id)) == before
        assert (await flows.get(run_id=before.run_id)).workflow.status == FAILED
        assert (await flows.result(run_id=before.run_id)).status == FAILED
        assert await flows.kinds() == ["workflow_started", "workflow_reset"]

    async def test_any_run_of_the_past_may_be_taken(self, flows):
        await fail_by_activity(flows)
        first = (await flows.get()).workflow.run_id
        await flows.start(reuse_policy="REUSE_POLICY_ALLOW_DUPLICATE")
        async with refused("FAILED_PRECONDITION", "CANNOT_RESET", "came later and is open"):
            await reset(flows, run_id=first)
        await flows.terminate()
        answer = await reset(flows, run_id=first)
        record = (await flows.get()).workflow
        assert (record.run_id, record.previous_run_id) == (answer.run_id, first)

    async def test_later_signals_may_be_left_out(self, flows):
        await flows.activity()
        await flows.signal()
        await reset(flows, drop_signals=True)
        assert (await flows.kinds())[2:] == ["workflow_reset"]

    async def test_timers_keep_their_instants(self, flows):
        await flows.start()
        timer = Command(schedule_timer={"seq": 1, "duration": {"seconds": 900}})
        await flows.complete_workflow_task(await flows.poll_workflow_task(), timer)
        (before,) = (await flows.get()).pending_timers
        await reset(flows)
        assert list((await flows.get()).pending_timers) == [before]

    async def test_the_same_request_is_answered_the_same(self, flows):
        await flows.activity()
        first = await reset(flows, request_id="r")
        assert await reset(flows, request_id="r") == first
        await flows.terminate()
        assert await reset(flows, request_id="r") == first
        second = await reset(flows, request_id="s")
        assert second.run_id != first.run_id
        assert await reset(flows, request_id="s") == second
        async with refused("INVALID_ARGUMENT", "REQUEST_ID_REUSED"):
            await reset(flows, 1, request_id="r")

    async def test_many_at_once_make_one_open_run(self, flows):
        await flows.activity()
        answers = await asyncio.gather(*(reset(flows) for _ in range(4)), return_exceptions=True)
        runs = {answer.run_id for answer in answers if not isinstance(answer, Exception)}
        open_runs = [
            run for run in sorted(runs) if (await flows.get(run_id=run)).workflow.status == RUNNING
        ]
        assert open_runs == [(await flows.get()).workflow.run_id]

    async def test_an_open_child_goes_on_for_the_new_run(self, flows):
        await with_child(flows)
        await reset(flows)
        await flows.complete_workflow_task(await flows.poll_workflow_task(), wait_for("go"))
        task = await flows.poll_workflow_task(task_queue="other")
        await flows.complete_workflow_task(task, complete_workflow())
        task = await flows.poll_workflow_task()
        event = task.history.events[-1].child_workflow_completed
        assert (event.child_seq, event.child_workflow_id) == (1, "c")
        await flows.complete_workflow_task(task, complete_workflow())
        assert (await flows.result()).status == COMPLETED

    async def test_an_open_child_ends_with_the_new_run(self, flows):
        await with_child(flows)
        await reset(flows)
        await flows.terminate()
        assert (await flows.result("c", wait=MINUTE)).status == TERMINATED

    async def test_a_child_that_ended_with_its_parent_is_known_to_have(self, flows):
        await with_child(flows)
        await flows.terminate()
        assert (await flows.result("c", wait=MINUTE)).status == TERMINATED
        await reset(flows)
        task = await flows.poll_workflow_task()
        if task.history.events[-1].WhichOneof("event") == "workflow_reset":
            await flows.complete_workflow_task(task, wait_for("go"))
            task = await flows.poll_workflow_task()
        # What the code asked for meanwhile may stand behind it.
        (event,) = [
            event for event in task.history.events if event.HasField("child_workflow_failed")
        ]
        child = event.child_workflow_failed
        assert (child.status, child.child_workflow_id) == (TERMINATED, "c")

    async def test_a_child_of_later_ends_with_the_run_that_was_left(self, flows):
        await with_child(flows)
        await reset(flows, 1)
        assert (await flows.result("c", wait=MINUTE)).status == TERMINATED

    async def test_there_must_be_such_an_event(self, flows):
        await flows.start()
        async with refused("NOT_FOUND", "WORKFLOW_NOT_FOUND"):
            await reset(flows, 1, "nobody")
        async with refused("NOT_FOUND", "WORKFLOW_NOT_FOUND"):
            await reset(flows, 1, run_id="nobody")
        for event_seq in (0, 2):
            async with refused("INVALID_ARGUMENT", "INVALID_REQUEST", "event_seq"):
                await reset(flows, event_seq)
        await flows.terminate()
        async with refused("INVALID_ARGUMENT", "INVALID_REQUEST", "the events 1 to 1"):
            await reset(flows, 2)

    async def test_other_bad_fields(self, flows):
        async with refused("INVALID_ARGUMENT", "INVALID_REQUEST", "workflow_id"):
            await reset(flows, 1, "")
        async with refused("INVALID_ARGUMENT", "LIMIT_EXCEEDED", "reason"):
            await reset(flows, 1, reason="x" * 5_000)


class TestRetryFailedActivity:
    async def test_the_failed_run_stays_and_another_tries_again(self, flows):
        await fail_by_activity(flows)
        first = (await flows.get()).workflow.run_id
        answer = await retry(flows)
        assert (answer.workflow_id, answer.status, answer.activity_seq) == ("w", RUNNING, 1)
        assert (await flows.get(run_id=first)).workflow.status == FAILED
        event = (await flows.history()).history.events[-1].workflow_reset
        assert (event.reason, event.identity) == ("fixed", "ann")
        assert (event.from_run_id, event.event_seq, event.activity_seq) == (first, 2, 1)
        task = await flows.poll_activity_task()
        assert task.attempt == 1
        await flows.complete_activity(task)
        await flows.complete_workflow_task(await flows.poll_workflow_task(), complete_workflow())
        assert (await flows.result()).status == COMPLETED

    async def test_the_same_request_is_answered_the_same(self, flows):
        await fail_by_activity(flows)
        first = await retry(flows, request_id="r")
        assert await retry(flows, request_id="r") == first
        async with refused("INVALID_ARGUMENT", "REQUEST_ID_REUSED"):
            await retry(flows, request_id="r", reason="other")

    async def test_only_a_failed_run_is_tried_again(self, flows):
        async with refused("NOT_FOUND", "WORKFLOW_NOT_FOUND"):
            await retry(flows)
        await flows.start()
        async with refused("FAILED_PRECONDITION", "WORKFLOW_NOT_FAILED", "is PENDING"):
            await retry(flows)
        await flows.complete_workflow_task(await flows.poll_workflow_task(), FAIL)
        async with refused("FAILED_PRECONDITION", "WORKFLOW_NOT_FAILED", "no activity failed"):
            await retry(flows)

    async def test_a_later_run_that_is_open_stands_in_the_way(self, flows):
        await fail_by_activity(flows)
        first = (await flows.get()).workflow.run_id
        await retry(flows)
        async with refused("FAILED_PRECONDITION", "CANNOT_RESET"):
            await retry(flows, run_id=first)

    @pytest.mark.parametrize("field", ["requested_by", "reason", "workflow_id"])
    async def test_who_and_why_must_be_said(self, flows, field):
        async with refused("INVALID_ARGUMENT", "INVALID_REQUEST", field):
            await retry(flows, **{field: ""})


async def test_a_wait_that_was_recorded_is_not_recorded_twice(flows):
    await flows.start()
    await flows.complete_workflow_task(await flows.poll_workflow_task(), wait_for("go"))
    await reset(flows, 2)
    await flows.complete_workflow_task(await flows.poll_workflow_task(), wait_for("go"))
    assert await flows.kinds() == [
        "workflow_started",
        "workflow_awaiting_signal",
        "workflow_reset",
    ]
