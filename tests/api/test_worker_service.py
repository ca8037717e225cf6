"""Every unary RPC of WorkerService: its answer, and each error it documents."""

from __future__ import annotations

import pytest

from perdure.v1 import worker_service_pb2 as pb
from perdure.v1.activity_pb2 import ActivityStatus
from perdure.v1.command_pb2 import Command
from perdure.v1.failure_pb2 import FailureKind
from perdure.v1.workflow_pb2 import WorkflowStatus
from tests.api.flows import (
    QUEUE,
    complete_workflow,
    json_payload,
    refused,
    schedule_activity,
)
from tests.core.life import nested_failure

ONCE = {"retry_policy": {"max_attempts": 1}}
AT_ONCE = {"retry_policy": {"max_attempts": 3, "initial_interval": {"nanos": 1_000_000}}}
LATER = {"retry_policy": {"max_attempts": 3, "initial_interval": {"seconds": 60}}}
RUNNING = WorkflowStatus.WORKFLOW_STATUS_RUNNING
COMPLETED = WorkflowStatus.WORKFLOW_STATUS_COMPLETED


class TestPollWorkflowTask:
    async def test_answers_nothing_when_there_is_nothing(self, flows):
        assert not (await flows.poll_workflow_task(wait=None)).task_token

    async def test_hands_out_the_run_with_its_history(self, flows):
        started = await flows.start(input=json_payload("[1]"))
        task = await flows.poll_workflow_task()
        assert (task.workflow_id, task.run_id) == ("w", started.run_id)
        assert (task.workflow_type, task.attempt, task.previous_seq) == ("checkout", 1, 0)
        (event,) = task.history.events
        assert event.workflow_started.input.data == b"[1]"
        pending = (await flows.get()).pending_workflow_task
        assert pending.worker_identity == "me"

    async def test_hands_out_a_task_once(self, flows):
        await flows.start()
        assert (await flows.poll_workflow_task()).task_token
        assert not (await flows.poll_workflow_task("other", wait=None)).task_token

    async def test_keeps_queues_apart(self, flows):
        await flows.start()
        assert not (await flows.poll_workflow_task(task_queue="other", wait=None)).task_token

    @pytest.mark.parametrize("field", ["task_queue", "worker_id"])
    async def test_needs_queue_and_worker(self, flows, field):
        async with refused("INVALID_ARGUMENT", "INVALID_REQUEST", field):
            await flows.poll_workflow_task(**{field: ""})


class TestCompleteWorkflowTask:
    async def test_applies_the_commands(self, flows):
        await flows.start()
        await flows.complete_workflow_task(await flows.poll_workflow_task(), schedule_activity())
        assert (await flows.kinds())[1:] == ["activity_scheduled"]
        assert (await flows.get()).workflow.status == RUNNING

    async def test_sent_again_is_answered_as_the_first_time(self, flows):
        await flows.start()
        task = await flows.poll_workflow_task()
        await flows.complete_workflow_task(task, schedule_activity())
        await flows.complete_workflow_task(task, schedule_activity())
        assert (await flows.kinds()).count("activity_scheduled") == 1

    async def test_without_a_token_finds_the_task_that_the_worker_holds(self, flows):
        await flows.start()
        await flows.poll_workflow_task("me")
        request = pb.CompleteWorkflowTaskRequest(
            workflow_id="w", worker_id="me", commands=[complete_workflow()]
        )
        await flows.call("WorkerService/CompleteWorkflowTask", request)
        assert (await flows.get()).workflow.status == COMPLETED

    async def test_without_a_token_refuses_another_worker(self, flows):
        await flows.start()
        await flows.poll_workflow_task("me")
        request = pb.CompleteWorkflowTaskRequest(workflow_id="w", worker_id="other")
        async with refused("FAILED_PRECONDITION", "STALE_TASK"):
            await flows.call("WorkerService/CompleteWorkflowTask", request)

    @pytest.mark.parametrize("state", ["ready", "done", "closed"])
    async def test_without_a_token_refuses_a_worker_that_holds_nothing(self, flows, state):
        await flows.start()
        if state != "ready":
            task = await flows.poll_workflow_task("me")
            command = complete_workflow() if state == "closed" else schedule_activity()
            await flows.complete_workflow_task(task, command)
        request = pb.CompleteWorkflowTaskRequest(
            workflow_id="w", worker_id="me", commands=[complete_workflow()]
        )
        async with refused("FAILED_PRECONDITION", "STALE_TASK", "'me'"):
            await flows.call("WorkerService/CompleteWorkflowTask", request)

    async def test_without_a_token_refuses_an_unknown_workflow(self, flows):
        request = pb.CompleteWorkflowTaskRequest(workflow_id="w", worker_id="me")
        async with refused("NOT_FOUND", "WORKFLOW_NOT_FOUND"):
            await flows.call("WorkerService/CompleteWorkflowTask", request)

    async def test_refuses_a_task_of_a_closed_run(self, flows):
        await flows.start()
        task = await flows.poll_workflow_task()
        await flows.terminate()
        async with refused("FAILED_PRECONDITION", "STALE_TASK"):
            await flows.complete_workflow_task(task, complete_workflow())

    @pytest.mark.parametrize(
        ("commands", "text"),
        [
            ([Command()], "command 0"),
            ([schedule_activity(), schedule_activity(3)], "command 1"),
            ([complete_workflow(), schedule_activity()], "command 1"),
            ([schedule_activity(name="")], "command 0"),
            (
                [Command(schedule_timer={"seq": 1, "duration": {"seconds": -1}})],
                "command 0",
            ),
        ],
    )
    async def test_refuses_a_bad_batch_whole(self, flows, commands, text):
        await flows.start()
        task = await flows.poll_workflow_task()
        async with refused("INVALID_ARGUMENT", "INVALID_COMMAND", text):
            await flows.complete_workflow_task(task, *commands)
        assert await flows.kinds() == ["workflow_started"]
        await flows.complete_workflow_task(task, complete_workflow())

    async def test_refuses_a_token_that_is_none(self, flows):
        request = pb.CompleteWorkflowTaskRequest(task_token="nonsense")
        async with refused("INVALID_ARGUMENT", "INVALID_TASK_TOKEN"):
            await flows.call("WorkerService/CompleteWorkflowTask", request)

    async def test_needs_a_token_or_workflow_and_worker(self, flows):
        async with refused("INVALID_ARGUMENT", "INVALID_REQUEST", "task_token"):
            await flows.call("WorkerService/CompleteWorkflowTask", pb.CompleteWorkflowTaskRequest())


class TestFailWorkflowTask:
    async def fail(self, flows, task, **failure):
        request = pb.FailWorkflowTaskRequest(task_token=task.task_token, failure=failure)
        return await flows.call("WorkerService/FailWorkflowTask", request)

    async def test_backs_off_and_shows_why(self, flows):
        await flows.start()
        await self.fail(flows, await flows.poll_workflow_task(), message="line 7 changed")
        pending = (await flows.get()).pending_workflow_task
        assert pending.attempt == 2
        assert pending.last_failure.message == "line 7 changed"
        assert pending.HasField("next_attempt_at")
        assert await flows.kinds() == ["workflow_started"]

    async def test_refuses_a_task_of_a_closed_run(self, flows):
        await flows.start()
        task = await flows.poll_workflow_task()
        await flows.terminate()
        async with refused("FAILED_PRECONDITION", "STALE_TASK"):
            await self.fail(flows, task)

    async def test_refuses_the_token_of_an_activity(self, flows):
        task = await flows.activity()
        with pytest.raises(Exception, match=r"INVALID_TASK_TOKEN|STALE_TASK"):
            await self.fail(flows, task)


class TestGetWorkflowTaskHistory:
    def request(self, task, page_token):
        return pb.GetWorkflowTaskHistoryRequest(task_token=task.task_token, page_token=page_token)

    async def test_refuses_a_page_token_of_somewhere_else(self, flows):
        await flows.start()
        task = await flows.poll_workflow_task()
        async with refused("INVALID_ARGUMENT", "INVALID_PAGE_TOKEN"):
            await flows.call("WorkerService/GetWorkflowTaskHistory", self.request(task, "nonsense"))

    async def test_refuses_a_task_that_is_no_longer_current(self, flows):
        await flows.start()
        task = await flows.poll_workflow_task()
        await flows.terminate()
        async with refused("FAILED_PRECONDITION", "STALE_TASK"):
            await flows.call("WorkerService/GetWorkflowTaskHistory", self.request(task, "1"))

    async def test_needs_a_page_token(self, flows):
        async with refused("INVALID_ARGUMENT", "INVALID_REQUEST", "page_token"):
            request = pb.GetWorkflowTaskHistoryRequest(task_token="t")
            await flows.call("WorkerService/GetWorkflowTaskHistory", request)


class TestPollActivityTask:
    async def test_hands_out_the_attempt_with_every_option_filled_in(self, flows):
        task = await flows.activity(start_to_close_timeout={"seconds": 7})
        assert (task.name, task.attempt, task.activity_seq) == ("charge", 1, 1)
        assert task.input.data == b"[1]"
        assert task.options.start_to_close_timeout.seconds == 7
        assert task.options.retry_policy.max_attempts == 3
        (pending,) = (await flows.get()).pending_activities
        assert pending.status == ActivityStatus.ACTIVITY_STATUS_RUNNING
        assert pending.worker_identity == "me"

    async def test_answers_nothing_when_there_is_nothing(self, flows):
        assert not (await flows.poll_activity_task(wait=None)).task_token

    @pytest.mark.parametrize("field", ["task_queue", "worker_id"])
    async def test_needs_queue_and_worker(self, flows, field):
        async with refused("INVALID_ARGUMENT", "INVALID_REQUEST", field):
            await flows.poll_activity_task(**{field: ""})


class TestCompleteActivity:
    async def test_records_the_result_and_makes_a_workflow_task(self, flows):
        await flows.complete_activity(await flows.activity(), "42")
        task = await flows.poll_workflow_task()
        assert task.history.events[-1].activity_completed.result.data == b"42"

    async def test_sent_again_is_answered_as_the_first_time(self, flows):
        task = await flows.activity()
        await flows.complete_activity(task)
        await flows.complete_activity(task)
        assert (await flows.kinds()).count("activity_completed") == 1

    async def test_may_come_from_anyone_who_was_given_the_token(self, flows):
        task = await flows.activity()
        await flows.complete_activity(type(task)(task_token=task.task_token))
        assert "activity_completed" in await flows.kinds()

    async def test_refuses_an_earlier_attempt(self, flows):
        first = await flows.activity(**AT_ONCE)
        await flows.fail_activity(first, message="no")
        second = await flows.poll_activity_task()
        assert second.attempt == 2
        await flows.fail_activity(second, message="no")
        async with refused("FAILED_PRECONDITION", "STALE_TASK"):
            await flows.complete_activity(first)

    async def test_refuses_an_activity_of_a_closed_run(self, flows):
        task = await flows.activity()
        await flows.terminate()
        async with refused("FAILED_PRECONDITION", "STALE_TASK"):
            await flows.complete_activity(task)

    async def test_refuses_a_result_above_the_bound(self, flows):
        task = await flows.activity()
        async with refused("INVALID_ARGUMENT", "PAYLOAD_TOO_LARGE"):
            await flows.complete_activity(task, "1" * (2 * 1024 * 1024 + 1))
        await flows.complete_activity(task)

    @pytest.mark.parametrize("token", ["", "nonsense", "1", "é", "a" * 10_000])
    async def test_refuses_a_token_that_is_none(self, flows, token):
        request = pb.CompleteActivityRequest(task_token=token)
        async with refused("INVALID_ARGUMENT", "INVALID_TASK_TOKEN"):
            await flows.call("WorkerService/CompleteActivity", request)


class TestFailActivity:
    async def test_leads_to_another_attempt_after_a_back_off(self, flows):
        task = await flows.activity(**LATER)
        await flows.fail_activity(task, message="declined", type="Declined")
        (pending,) = (await flows.get()).pending_activities
        assert pending.status == ActivityStatus.ACTIVITY_STATUS_BACKING_OFF
        assert pending.attempt == 2
        assert pending.last_failure.message == "declined"
        assert not (await flows.poll_activity_task(wait=None)).task_token

    async def test_is_recorded_when_no_attempt_is_left(self, flows):
        await flows.fail_activity(await flows.activity(**ONCE), message="declined")
        assert (await flows.kinds())[-1] == "activity_failed"

    async def test_refuses_more_causes_than_can_be_read_again(self, flows):
        task = await flows.activity(**ONCE)
        async with refused("INVALID_ARGUMENT", "LIMIT_EXCEEDED", "the bound of 50"):
            await flows.call(
                "WorkerService/FailActivity",
                pb.FailActivityRequest(task_token=task.task_token, failure=nested_failure(51)),
            )
        await flows.call(
            "WorkerService/FailActivity",
            pb.FailActivityRequest(task_token=task.task_token, failure=nested_failure(50)),
        )
        (*_, last) = (await flows.history()).history.events
        assert last.activity_failed.failure == nested_failure(50)
        assert (await flows.poll_workflow_task()).history.events[-1] == last

    async def test_is_recorded_when_it_must_not_be_retried(self, flows):
        task = await flows.activity(**AT_ONCE)
        await flows.fail_activity(task, message="declined", non_retryable=True)
        assert (await flows.kinds())[-1] == "activity_failed"

    async def test_refuses_an_activity_of_a_closed_run(self, flows):
        task = await flows.activity()
        await flows.terminate()
        async with refused("FAILED_PRECONDITION", "STALE_TASK"):
            await flows.fail_activity(task)

    async def test_refuses_a_failure_above_the_bound(self, flows):
        task = await flows.activity()
        async with refused("INVALID_ARGUMENT", "LIMIT_EXCEEDED"):
            await flows.fail_activity(task, message="a" * 70_000)

    async def test_refuses_a_token_that_is_none(self, flows):
        request = pb.FailActivityRequest(task_token="nonsense")
        async with refused("INVALID_ARGUMENT", "INVALID_TASK_TOKEN"):
            await flows.call("WorkerService/FailActivity", request)


class TestHeartbeatActivity:
    async def test_its_details_reach_the_next_attempt(self, flows):
        task = await flows.activity(**AT_ONCE)
        await flows.heartbeat_activity(task, details=json_payload("7"))
        await flows.fail_activity(task, message="no")
        assert (await flows.poll_activity_task()).heartbeat_details.data == b"7"

    async def test_tells_that_cancellation_was_requested(self, flows):
        task = await flows.activity()
        assert not (await flows.heartbeat_activity(task)).cancel_requested
        await flows.cancel()
        cancel = Command(cancel_activity={"seq": 1})
        await flows.complete_workflow_task(await flows.poll_workflow_task(), cancel)
        assert (await flows.heartbeat_activity(task)).cancel_requested
        await flows.fail_activity(task, kind=FailureKind.FAILURE_KIND_CANCELLED)
        assert (await flows.kinds())[-1] == "activity_cancelled"

    async def test_refuses_an_activity_of_a_closed_run(self, flows):
        task = await flows.activity()
        await flows.terminate()
        async with refused("FAILED_PRECONDITION", "STALE_TASK"):
            await flows.heartbeat_activity(task)

    async def test_refuses_a_token_that_is_none(self, flows):
        request = pb.HeartbeatActivityRequest(task_token="nonsense")
        async with refused("INVALID_ARGUMENT", "INVALID_TASK_TOKEN"):
            await flows.call("WorkerService/HeartbeatActivity", request)


class TestWorkers:
    async def register(self, flows, **fields):
        defaults = {"identity": "me", "task_queue": QUEUE}
        request = pb.RegisterRequest(**(defaults | fields))
        return (await flows.call("WorkerService/Register", request)).worker_id

    async def list(self, flows, **fields):
        return await flows.call("WorkerService/ListWorkers", pb.ListWorkersRequest(**fields))

    async def test_a_registered_worker_is_listed(self, flows):
        worker_id = await self.register(
            flows,
            workflow_types=["checkout"],
            activity_types=["charge"],
            slots={"workflow_tasks": 1, "activity_tasks": 2},
        )
        (info,) = (await self.list(flows)).workers
        assert (info.worker_id, info.identity, info.task_queue) == (worker_id, "me", QUEUE)
        assert (info.workflow_types, info.activity_types) == (["checkout"], ["charge"])
        assert info.HasField("last_heartbeat_at")
        assert not (await self.list(flows, namespace="other")).workers

    async def test_a_registered_worker_gets_only_its_types(self, flows):
        worker_id = await self.register(flows, workflow_types=["refund"])
        await flows.start("a", workflow_type="checkout")
        assert not (await flows.poll_workflow_task(worker_id, wait=None)).task_token
        await flows.start("b", workflow_type="refund")
        assert (await flows.poll_workflow_task(worker_id)).workflow_id == "b"

    async def test_a_registered_worker_gets_only_its_types_of_activity(self, flows):
        worker_id = await self.register(flows, activity_types=["refund"])
        await flows.start()
        task = await flows.poll_workflow_task()
        commands = [schedule_activity(1), schedule_activity(2, "refund")]
        await flows.complete_workflow_task(task, *commands)
        assert (await flows.poll_activity_task(worker_id)).name == "refund"
        assert not (await flows.poll_activity_task(worker_id, wait=None)).task_token
        # Who never registered gets whatever is on the queue.
        assert (await flows.poll_activity_task("nobody")).name == "charge"

    async def test_who_never_registered_gets_every_type(self, flows):
        await flows.start("a", workflow_type="checkout")
        await flows.start("b", workflow_type="refund")
        taken = [(await flows.poll_workflow_task("nobody")).workflow_id for _ in range(2)]
        assert sorted(taken) == ["a", "b"]

    async def test_a_registration_gives_the_namespace(self, flows):
        worker_id = await self.register(flows, namespace="other", workflow_types=["checkout"])
        await flows.start(namespace="other")
        assert (await flows.poll_workflow_task(worker_id)).namespace == "other"
        request = pb.CompleteWorkflowTaskRequest(
            workflow_id="w", worker_id=worker_id, commands=[complete_workflow()]
        )
        await flows.call("WorkerService/CompleteWorkflowTask", request)
        assert (await flows.get(namespace="other")).workflow.status == COMPLETED

    async def test_the_list_pages(self, flows):
        ids = {await self.register(flows) for _ in range(3)}
        first = await self.list(flows, page_size=2)
        last = await self.list(flows, page_size=2, page_token=first.next_page_token)
        assert {info.worker_id for info in [*first.workers, *last.workers]} == ids
        assert not last.next_page_token

    async def test_heartbeat_of_a_registered_worker(self, flows):
        worker_id = await self.register(flows)
        request = pb.HeartbeatRequest(worker_id=worker_id)
        assert await flows.call("WorkerService/Heartbeat", request) == pb.HeartbeatResponse()

    async def test_heartbeat_refuses_an_unknown_worker(self, flows):
        async with refused("NOT_FOUND", "WORKER_NOT_FOUND"):
            await flows.call("WorkerService/Heartbeat", pb.HeartbeatRequest(worker_id="none"))

    async def test_register_needs_an_identity(self, flows):
        async with refused("INVALID_ARGUMENT", "INVALID_REQUEST", "identity"):
            await self.register(flows, identity="")


class TestReport:
    async def test_each_report_stands_or_falls_alone(self, flows):
        task = await flows.activity()
        good = pb.TaskReport(report_id=1, task_token=task.task_token)
        good.activity_completed.result.data = b"1"
        bad = pb.TaskReport(report_id=2, task_token="nonsense")
        bad.activity_completed.SetInParent()
        empty = pb.TaskReport(report_id=3, task_token=task.task_token)
        request = pb.ReportRequest(worker_id="me", reports=[good, bad, empty])
        results = (await flows.call("WorkerService/Report", request)).results
        assert [result.report_id for result in results] == [1, 2, 3]
        assert [result.reason for result in results] == [
            "",
            "INVALID_TASK_TOKEN",
            "INVALID_REQUEST",
        ]
        assert (await flows.kinds())[-1] == "activity_completed"

    async def test_needs_a_worker(self, flows):
        async with refused("INVALID_ARGUMENT", "INVALID_REQUEST", "worker_id"):
            await flows.call("WorkerService/Report", pb.ReportRequest())
