"""ExplainWorkflow: each cause, by itself and in its order."""

from __future__ import annotations

import pytest

from perdure.v1 import explanation_pb2 as pb
from perdure.v1 import interaction_pb2 as asking
from perdure.v1 import worker_service_pb2 as worker
from perdure.v1 import workflow_service_pb2 as workflow
from perdure.v1.command_pb2 import Command
from perdure.v1.workflow_pb2 import WorkflowStatus
from tests.api.flows import complete_workflow, refused, schedule_activity, wait_for


@pytest.fixture
def why(flows):
    """Explains a workflow."""

    async def explain(workflow_id="w", **fields):
        request = pb.ExplainWorkflowRequest(workflow_id=workflow_id, **fields)
        return await flows.call("WorkflowService/ExplainWorkflow", request)

    return explain


@pytest.fixture
def causes(why):
    """Explains a workflow; returns the kinds of the causes, and the first cause."""

    async def explain(workflow_id="w"):
        found = (await why(workflow_id)).causes
        kinds = [pb.CauseKind.Name(cause.kind).removeprefix("CAUSE_KIND_") for cause in found]
        return kinds, found[0]

    return explain


async def report(flows, *commands):
    """Starts a workflow and reports commands of its first task."""
    await flows.start()
    await flows.complete_workflow_task(await flows.poll_workflow_task(), *commands)


async def register(flows, **types):
    request = worker.RegisterRequest(identity="me", task_queue="shop", **types)
    await flows.call("WorkerService/Register", request)


class TestTheCodeWaits:
    async def test_for_a_worker(self, flows, causes, why):
        await flows.start()
        kinds, cause = await causes()
        assert kinds == ["NO_WORKER"]
        assert "no worker is connected to task queue 'shop'" in cause.text
        assert (cause.name, cause.task_queue, cause.attempt) == ("checkout", "shop", 1)
        assert cause.since.seconds - (await flows.get()).workflow.created_at.seconds in {0, 1}
        answer = await why()
        assert (answer.workflow_id, answer.more) == ("w", 0)
        assert answer.status == WorkflowStatus.WORKFLOW_STATUS_PENDING

    async def test_for_a_worker_that_has_the_type(self, flows, causes):
        await register(flows, workflow_types=["other"])
        await flows.start()
        kinds, cause = await causes()
        assert kinds == ["TYPE_MISSING"]
        assert "'checkout'" in cause.text

    async def test_for_a_worker_that_asks(self, flows, causes):
        await register(flows, workflow_types=["checkout"])
        await flows.start()
        assert (await causes())[0] == ["WORKERS_NOT_ASKING"]

    async def test_until_its_start(self, flows, causes):
        await flows.start(start_delay={"seconds": 600})
        kinds, cause = await causes()
        assert kinds == ["START_DELAYED"]
        assert cause.until.ToSeconds() - (await flows.get()).workflow.created_at.seconds == 600

    async def test_for_nothing_that_is_known(self, flows, causes):
        await report(flows)
        kinds, cause = await causes()
        assert kinds == ["NOTHING_PENDING"]
        assert "condition" in cause.text

    async def test_for_a_closed_run(self, flows, causes, why):
        await report(flows, complete_workflow())
        kinds, cause = await causes()
        assert kinds == ["CLOSED"]
        assert "COMPLETED since" in cause.text
        assert cause.since == (await flows.get()).workflow.completed_at

    async def test_of_an_unknown_workflow(self, why):
        async with refused("NOT_FOUND", "WORKFLOW_NOT_FOUND"):
            await why("nobody")

    async def test_of_a_nameless_workflow(self, why):
        async with refused("INVALID_ARGUMENT", "INVALID_REQUEST"):
            await why("")


class TestTheCodeRuns:
    async def test_at_a_worker(self, flows, causes):
        await flows.start()
        await flows.poll_workflow_task()
        kinds, cause = await causes()
        assert (kinds, cause.worker_identity) == (["CODE_RUNNING"], "me")
        assert cause.HasField("since")

    @pytest.mark.parametrize(
        ("failure", "kind"),
        [
            ({"type": "DeterminismError", "message": "event 3 is X"}, "NOT_DETERMINISTIC"),
            ({"type": "ValueError", "message": "event 3 is X"}, "WORKFLOW_TASK_FAILING"),
            ({"message": "event 3 is X"}, "WORKFLOW_TASK_FAILING"),
        ],
    )
    async def test_and_fails(self, flows, causes, failure, kind):
        await flows.start()
        task = await flows.poll_workflow_task()
        request = worker.FailWorkflowTaskRequest(task_token=task.task_token, failure=failure)
        await flows.call("WorkerService/FailWorkflowTask", request)
        kinds, cause = await causes()
        assert kinds == [kind]
        assert "event 3 is X" in cause.text
        assert cause.HasField("until")
        assert (cause.failure.message, cause.attempt) == ("event 3 is X", 2)
        await flows.poll_workflow_task()
        kinds, cause = await causes()
        assert kinds == [kind, "CODE_RUNNING"]
        assert not cause.HasField("until")


class TestActivities:
    async def test_waits_for_a_worker(self, flows, causes):
        await report(flows, schedule_activity())
        kinds, cause = await causes()
        assert kinds == ["NO_WORKER"]
        assert (cause.name, cause.seq) == ("charge", 1)
        assert "activity 'charge' (1)" in cause.text

    async def test_runs(self, flows, causes):
        task = await flows.activity(heartbeat_timeout={"seconds": 60})
        kinds, cause = await causes()
        assert (kinds, cause.worker_identity) == (["ACTIVITY_RUNNING"], "me")
        assert "without a heartbeat" in cause.text
        await flows.heartbeat_activity(task)
        _, cause = await causes()
        assert "last heartbeat" in cause.text
        assert cause.HasField("last_heartbeat_at")

    async def test_runs_though_it_was_asked_to_end(self, flows, causes, why):
        await flows.activity()
        await flows.cancel(reason="enough")
        cancel = Command(cancel_activity={"seq": 1})
        task = await flows.poll_workflow_task()
        kinds, cause = await causes()
        assert kinds == ["CODE_RUNNING", "CANCEL_REQUESTED", "ACTIVITY_RUNNING"]
        await flows.complete_workflow_task(task, cancel)
        kinds, cause = await causes()
        assert kinds == ["CANCEL_REQUESTED", "ACTIVITY_RUNNING"]
        assert (cause.reason, "(enough)" in cause.text) == ("enough", True)
        assert "has not ended yet" in cause.text
        assert "it was asked to end" in (await why()).causes[1].text

    async def test_is_tried_again(self, flows, causes):
        policy = {"initial_interval": {"seconds": 600}, "max_interval": {"seconds": 600}}
        task = await flows.activity(retry_policy=policy)
        await flows.fail_activity(task, message="the bank is closed")
        kinds, cause = await causes()
        assert kinds == ["ACTIVITY_RETRYING"]
        assert "because it failed: the bank is closed" in cause.text
        assert (cause.attempt, cause.failure.message) == (2, "the bank is closed")
        assert cause.HasField("until")

    async def test_is_paused(self, flows, causes, why):
        await report(flows, schedule_activity(), schedule_activity(2))
        for seq, reason in ((1, "audit"), (2, "")):
            request = workflow.PauseActivityRequest(
                workflow_id="w", activity_seq=seq, reason=reason, identity="ann" if reason else ""
            )
            await flows.call("WorkflowService/PauseActivity", request)
        kinds, cause = await causes()
        assert kinds == ["ACTIVITY_PAUSED", "ACTIVITY_PAUSED"]
        assert (cause.name, cause.seq, cause.reason) == ("charge", 1, "audit")
        assert (cause.identity, cause.HasField("since")) == ("ann", True)
        assert "activity 'charge' (1) was paused by 'ann' at " in cause.text
        assert "(audit); unpause it to go on" in cause.text
        assert "activity 'charge' (2) was paused at " in (await why()).causes[1].text

    async def test_goes_on_though_further_attempts_are_paused(self, flows, causes):
        await flows.activity()
        request = workflow.PauseActivityRequest(workflow_id="w", activity_seq=1)
        await flows.call("WorkflowService/PauseActivity", request)
        kinds, cause = await causes()
        assert kinds == ["ACTIVITY_RUNNING"]
        assert "; it was paused, which holds back further attempts" in cause.text


class TestTheRest:
    async def test_a_run_that_is_paused(self, flows, causes):
        await report(flows, schedule_activity())
        await flows.pause(reason="audit", identity="ann")
        kinds, cause = await causes()
        assert (kinds, cause.reason, cause.identity) == (["PAUSED"], "audit", "ann")
        assert cause.text.startswith("the run was paused by 'ann' at ")
        assert cause.text.endswith("(audit); unpause it to go on")
        assert cause.since == (await flows.history()).history.events[-1].timestamp

    async def test_a_cancellation_that_the_code_has_not_heard_of(self, flows, causes):
        await report(flows)
        await flows.cancel(deadline={"seconds": 600})
        kinds, _ = await causes()
        assert kinds == ["NO_WORKER", "CANCEL_REQUESTED"]

    async def test_signals_that_are_waited_for(self, flows, causes, why):
        await report(flows, wait_for("go"), wait_for("stop", 2), wait_for("go", 3))
        found = (await why()).causes
        assert [(cause.name, cause.seq) for cause in found] == [("go", 1), ("stop", 2), ("go", 3)]
        await flows.signal(signal_name="go")
        await flows.signal(signal_name="other")
        found = (await why()).causes[1:]
        assert [(cause.name, cause.seq) for cause in found[:2]] == [("stop", 2), ("go", 3)]
        assert "waits for signal 'stop' since" in found[0].text

    async def test_a_wait_that_time_bounds(self, flows, causes):
        timer = Command(schedule_timer={"seq": 1, "duration": {"seconds": 600}})
        wait = Command(wait_for_signal={"seq": 1, "signal_name": "go", "timer_seq": 1})
        await report(flows, timer, wait)
        kinds, cause = await causes()
        assert kinds == ["SIGNAL", "TIMER"]
        assert "at most until" in cause.text
        assert cause.HasField("until")

    async def test_a_wait_whose_time_is_over_is_not_named(self, flows, causes):
        wait = Command(wait_for_signal={"seq": 1, "signal_name": "go", "timer_seq": 1})
        timer = Command(schedule_timer={"seq": 1, "duration": {"seconds": 600}})
        await report(flows, timer, wait, Command(cancel_timer={"seq": 1}))
        assert (await causes())[0] == ["NOTHING_PENDING"]

    async def test_timers_the_next_first(self, flows, why):
        spans = enumerate((900, 600), 1)
        timers = [
            Command(schedule_timer={"seq": seq, "duration": {"seconds": span}})
            for seq, span in spans
        ]
        await report(flows, *timers)
        found = (await why()).causes
        assert [(cause.kind, cause.seq) for cause in found] == [
            (pb.CAUSE_KIND_TIMER, 2),
            (pb.CAUSE_KIND_TIMER, 1),
        ]

    async def test_a_child_that_is_open(self, flows, causes):
        child = {"seq": 1, "workflow_id": "c", "workflow_type": "refund", "task_queue": "far"}
        await report(flows, Command(start_child_workflow=child))
        kinds, cause = await causes()
        assert (kinds, cause.name, cause.seq) == (["CHILD_OPEN"], "c", 1)
        await flows.terminate("c")
        assert "CHILD_OPEN" not in (await causes())[0]

    async def test_causes_beyond_the_bound_are_counted(self, flows, why):
        timers = [
            Command(schedule_timer={"seq": seq, "duration": {"seconds": 600}})
            for seq in range(1, 104)
        ]
        await report(flows, *timers)
        answer = await why()
        assert (len(answer.causes), answer.more) == (100, 3)


class TestOthersWait:
    """For the run, not the run for them."""

    @staticmethod
    async def ask(flows, name="add"):
        request = asking.UpdateWorkflowRequest(workflow_id="w", update_name=name, wait={})
        return await flows.call("WorkflowService/UpdateWorkflow", request)

    async def test_for_the_answer_to_an_update(self, flows, causes, why):
        await report(flows)
        asked = await self.ask(flows)
        assert (await causes())[0] == ["NO_WORKER", "UPDATE"]
        cause = (await why()).causes[1]
        assert (cause.name, cause.seq) == ("add", asked.event_seq)
        assert cause.text.startswith(f"update 'add' (event {asked.event_seq}) waits for its answer")
        assert cause.text.endswith("; the code has not been shown it yet")
        assert cause.HasField("since")

    async def test_for_code_that_does_not_answer(self, flows, causes):
        await report(flows)
        first, second = await self.ask(flows), await self.ask(flows, "remove")
        task = await flows.poll_workflow_task()
        answer = {"requested_seq": first.event_seq}
        await flows.complete_workflow_task(task, Command(complete_update=answer))
        kinds, cause = await causes()
        assert kinds == ["UPDATE"]
        assert (cause.name, cause.seq) == ("remove", second.event_seq)
        assert cause.text.endswith("; the code has it and has not answered yet")

    async def test_for_a_paused_run(self, flows, causes):
        await report(flows)
        await self.ask(flows)
        await flows.signal()
        await flows.pause()
        assert (await causes())[0] == ["PAUSED", "UPDATE", "SIGNALS_UNSEEN"]

    async def test_for_code_that_has_not_been_shown_signals(self, flows, causes, why):
        await report(flows)
        for name in ("go", "stop", "go"):
            await flows.signal(signal_name=name)
        assert (await causes())[0] == ["NO_WORKER", "SIGNALS_UNSEEN", "SIGNALS_UNSEEN"]
        _, first, second = (await why()).causes
        assert (first.name, second.name) == ("go", "stop")
        assert "came 2 times, first at" in first.text
        assert "came once, at" in second.text
        task = await flows.poll_workflow_task()
        await flows.complete_workflow_task(task)
        assert (await causes())[0] == ["NOTHING_PENDING"]
