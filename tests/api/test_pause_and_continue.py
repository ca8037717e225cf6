"""PauseWorkflow, UnpauseWorkflow and ContinueAsNew: answers, and each error they document."""

from __future__ import annotations

import pytest

from perdure.v1.command_pb2 import Command
from perdure.v1.workflow_pb2 import WorkflowStatus
from tests.api.flows import (
    complete_workflow,
    json_payload,
    refused,
    schedule_activity,
    wait_for,
)

MEBIBYTE = 1024 * 1024
PAUSED = WorkflowStatus.WORKFLOW_STATUS_PAUSED
PENDING = WorkflowStatus.WORKFLOW_STATUS_PENDING
RUNNING = WorkflowStatus.WORKFLOW_STATUS_RUNNING
CONTINUED = WorkflowStatus.WORKFLOW_STATUS_CONTINUED_AS_NEW
CANCELLED = WorkflowStatus.WORKFLOW_STATUS_CANCELLED


class TestPauseWorkflow:
    async def test_workers_get_nothing_until_it_goes_on(self, flows):
        await flows.start()
        task = await flows.poll_workflow_task()
        await flows.complete_workflow_task(task, schedule_activity())
        assert (await flows.pause(reason="look", identity="ann")).status == PAUSED
        assert not (await flows.poll_activity_task(wait=None)).task_token
        record = (await flows.get()).workflow
        assert (record.pause.reason, record.pause.identity) == ("look", "ann")
        await flows.signal()
        assert not (await flows.poll_workflow_task(wait=None)).task_token
        assert (await flows.unpause()).status == RUNNING
        assert not (await flows.get()).workflow.HasField("pause")
        await flows.complete_activity(await flows.poll_activity_task())
        task = await flows.poll_workflow_task()
        kinds = [event.WhichOneof("event") for event in task.history.events]
        assert kinds[2:] == [
            "workflow_paused",
            "signal_received",
            "workflow_unpaused",
            "activity_completed",
        ]

    async def test_one_that_never_ran_pends_again(self, flows):
        await flows.start()
        await flows.pause()
        assert not (await flows.poll_workflow_task(wait=None)).task_token
        assert (await flows.unpause()).status == PENDING
        assert (await flows.poll_workflow_task()).task_token

    async def test_what_a_worker_has_is_accepted(self, flows):
        await flows.start()
        task = await flows.poll_workflow_task()
        await flows.pause()
        await flows.complete_workflow_task(task, complete_workflow())
        assert (await flows.result()).closed

    async def test_pausing_twice_is_one_pause(self, flows):
        await flows.start()
        assert (await flows.pause(request_id="r-1")).status == PAUSED
        assert (await flows.pause(request_id="r-1")).status == PAUSED
        assert (await flows.pause()).status == PAUSED
        assert (await flows.kinds())[1:] == ["workflow_paused"]

    @pytest.mark.parametrize("how", ["pause", "unpause", "continue_as_new"])
    async def test_errors(self, flows, how):
        call = getattr(flows, how)
        async with refused("NOT_FOUND", "WORKFLOW_NOT_FOUND"):
            await call()
        await flows.start()
        await flows.terminate()
        async with refused("FAILED_PRECONDITION", "WORKFLOW_CLOSED"):
            await call()

    @pytest.mark.parametrize("how", ["pause", "unpause"])
    async def test_a_request_id_means_one_request(self, flows, how):
        await flows.start()
        call = getattr(flows, how)
        await call(request_id="r-1")
        async with refused("INVALID_ARGUMENT", "REQUEST_ID_REUSED"):
            await call(request_id="r-1", reason="another")


class TestContinueAsNew:
    async def test_another_run_goes_on_with_what_was_not_seen(self, flows):
        first = (await flows.start(input=json_payload("1"))).run_id
        await flows.signal()
        answer = await flows.continue_as_new(input=json_payload("2"))
        assert (answer.workflow_id, answer.status) == ("w", PENDING)
        assert answer.run_id != first
        old = (await flows.get(run_id=first)).workflow
        assert (old.status, old.next_run_id) == (CONTINUED, answer.run_id)
        task = await flows.poll_workflow_task()
        assert task.run_id == answer.run_id
        started, received = task.history.events
        assert started.workflow_started.input.data == b"2"
        assert started.workflow_started.previous_run_id == first
        assert received.signal_received.signal_name == "go"

    async def test_who_waits_for_the_first_gets_the_result_of_the_last(self, flows):
        first = (await flows.start()).run_id
        task = await flows.poll_workflow_task()
        go_on = Command(continue_as_new={"input": json_payload("5")})
        await flows.complete_workflow_task(task, go_on)
        await flows.complete_workflow_task(await flows.poll_workflow_task(), complete_workflow("7"))
        answer = await flows.result(run_id=first, wait={"seconds": 30})
        assert (answer.closed, answer.result.data) == (True, b"7")

    async def test_signals_seen_long_ago_go_on_too(self, flows):
        await flows.start()
        for name in ("a", "b"):
            await flows.signal(signal_name=name, payload=json_payload(f'"{name}"'))
        await flows.complete_workflow_task(await flows.poll_workflow_task(), wait_for("later"))
        await flows.signal(signal_name="later")
        task = await flows.poll_workflow_task()
        unconsumed = [{"event_seq": 3, "signal_name": "b"}]
        go_on = Command(continue_as_new={"unconsumed_signals": unconsumed})
        await flows.complete_workflow_task(task, go_on)
        events = (await flows.poll_workflow_task()).history.events
        assert [event.signal_received.payload.data for event in events[1:]] == [b'"b"']

    async def test_what_is_no_signal_is_refused(self, flows):
        await flows.start()
        task = await flows.poll_workflow_task()
        unconsumed = [{"event_seq": 1, "signal_name": "b"}]
        go_on = Command(continue_as_new={"unconsumed_signals": unconsumed})
        async with refused("INVALID_ARGUMENT", "INVALID_COMMAND", "unconsumed_signals"):
            await flows.complete_workflow_task(task, go_on)

    async def test_a_request_to_end_is_not_lost_with_the_run(self, flows):
        await flows.start()
        await flows.complete_workflow_task(await flows.poll_workflow_task(), wait_for("go"))
        await flows.signal()
        task = await flows.poll_workflow_task()
        await flows.cancel(reason="enough")
        await flows.complete_workflow_task(task, Command(continue_as_new={}))
        task = await flows.poll_workflow_task()
        event = task.history.events[-1].workflow_cancel_requested
        assert (event.reason, len(task.history.events)) == ("enough", 2)
        await flows.complete_workflow_task(task, Command(cancel_workflow={}))
        assert (await flows.result()).status == CANCELLED

    async def test_repeating_it_is_one_continuation(self, flows):
        await flows.start()
        first = await flows.continue_as_new(request_id="r-1")
        assert await flows.continue_as_new(request_id="r-1") == first
        async with refused("INVALID_ARGUMENT", "REQUEST_ID_REUSED"):
            await flows.continue_as_new(request_id="r-1", task_queue="other")

    async def test_an_input_beyond_the_bound(self, flows):
        await flows.start()
        async with refused("INVALID_ARGUMENT", "PAYLOAD_TOO_LARGE"):
            await flows.continue_as_new(input=json_payload("1" * (2 * MEBIBYTE + 1)))
