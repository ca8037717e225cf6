"""ScheduleActivity and GetActivity: their answers, and each error they document."""

from __future__ import annotations

import asyncio

import pytest

from perdure.v1 import activity_pb2
from perdure.v1.failure_pb2 import FailureKind, TimeoutType
from perdure.v1.workflow_pb2 import ConflictPolicy, ReusePolicy
from tests.api.flows import (
    QUEUE,
    complete_workflow,
    json_payload,
    refused,
    schedule_activity,
)

MEBIBYTE = 1024 * 1024
ONCE = {"retry_policy": {"max_attempts": 1}}
AT_ONCE = {"retry_policy": {"max_attempts": 3, "initial_interval": {"nanos": 1_000_000}}}
LATER = {"retry_policy": {"max_attempts": 3, "initial_interval": {"seconds": 60}}}
AGAIN = ReusePolicy.REUSE_POLICY_ALLOW_DUPLICATE


def status_of(activity):
    name = activity_pb2.ActivityStatus.Name(activity.status)
    return name.removeprefix("ACTIVITY_STATUS_")


class TestScheduleActivity:
    async def test_answers_with_the_activity(self, flows):
        run_id = (await flows.start()).run_id
        activity = await flows.schedule_outside(7, input=json_payload("[1]"), priority=2)
        assert (activity.seq, activity.external, activity.name) == (7, True, "audit")
        assert (activity.workflow_id, activity.run_id) == ("w", run_id)
        assert (activity.task_queue, activity.input.data) == (QUEUE, b"[1]")
        assert (status_of(activity), activity.attempt) == ("PENDING", 1)
        assert activity.options.start_to_close_timeout.seconds == 300
        assert activity.options.retry_policy.max_attempts == 3
        assert activity.scheduled_at.seconds
        event = (await flows.history()).history.events[-1].activity_scheduled
        assert (event.activity_seq, event.external, event.priority) == (-7, True, 2)
        assert await flows.get_activity(activity.activity_id) == shown(activity, "no worker")

    async def test_a_worker_does_it_and_the_code_hears_nothing(self, flows):
        await flows.start()
        await flows.complete_workflow_task(await flows.poll_workflow_task(), schedule_activity(1))
        await flows.schedule_outside(1)
        names = set()
        for _ in range(2):
            task = await flows.poll_activity_task()
            names.add((task.activity_seq, task.name))
            if task.activity_seq < 0:
                await flows.complete_activity(task, "5")
        assert names == {(1, "charge"), (-1, "audit")}
        assert not (await flows.poll_workflow_task(wait=None)).task_token
        assert (await flows.kinds())[-1] == "activity_completed"

    async def test_a_workflow_that_never_ran_may_have_one(self, flows):
        await flows.start(task_queue="nobody")
        await flows.schedule_outside(1, task_queue=QUEUE)
        await flows.complete_activity(await flows.poll_activity_task())
        assert (await flows.kinds())[1:] == ["activity_scheduled", "activity_completed"]

    async def test_a_pending_number_stands(self, flows):
        await flows.start()
        first = await flows.schedule_outside(1, input=json_payload("1"))
        again = await flows.schedule_outside(1, name="other", input=json_payload("2"))
        assert again == shown(first, "no worker")
        assert (await flows.kinds()).count("activity_scheduled") == 1

    async def test_a_number_at_work_stands(self, flows):
        await flows.start()
        await flows.schedule_outside(1)
        task = await flows.poll_activity_task()
        again = await flows.schedule_outside(1)
        assert (status_of(again), again.worker_identity) == ("RUNNING", "me")
        assert again.activity_id == task.task_token

    async def test_an_ended_number_stands(self, flows):
        await flows.start()
        await flows.schedule_outside(1)
        await flows.complete_activity(await flows.poll_activity_task(), "5")
        again = await flows.schedule_outside(1, request_id="late")
        assert (status_of(again), again.result.data) == ("COMPLETED", b"5")
        assert (await flows.kinds()).count("activity_scheduled") == 1
        await flows.terminate()
        await flows.start(reuse_policy=AGAIN)
        assert await flows.schedule_outside(1, request_id="late") == again
        assert (await flows.kinds()).count("activity_scheduled") == 0

    async def test_a_number_stands_when_its_run_has_closed(self, flows):
        await flows.start()
        await flows.schedule_outside(1)
        await flows.terminate()
        assert status_of(await flows.schedule_outside(1)) == "CANCELLED"
        async with refused("FAILED_PRECONDITION", "WORKFLOW_CLOSED", "no more activities"):
            await flows.schedule_outside(2)

    async def test_many_at_once_take_a_number_once(self, flows):
        await flows.start()
        await asyncio.gather(*[flows.schedule_outside(1 + n % 5) for n in range(40)])
        assert (await flows.kinds()).count("activity_scheduled") == 5

    async def test_each_run_counts_for_itself(self, flows):
        first = await flows.start()
        await flows.schedule_outside(1)
        policy = ConflictPolicy.CONFLICT_POLICY_TERMINATE_EXISTING
        second = await flows.start(conflict_policy=policy, reuse_policy=AGAIN)
        activity = await flows.schedule_outside(1)
        assert (activity.run_id, status_of(activity)) == (second.run_id, "PENDING")
        old = await flows.schedule_outside(1, run_id=first.run_id)
        assert (old.run_id, status_of(old)) == (first.run_id, "CANCELLED")

    async def test_a_request_is_answered_as_the_first_time(self, flows):
        await flows.start()
        first = await flows.schedule_outside(1, request_id="r")
        await flows.complete_activity(await flows.poll_activity_task())
        assert await flows.schedule_outside(1, request_id="r") == first
        await flows.terminate()
        assert await flows.schedule_outside(1, request_id="r") == first
        await flows.start(reuse_policy=AGAIN)
        assert await flows.schedule_outside(1, request_id="r") == first
        assert (await flows.kinds()) == ["workflow_started"]

    async def test_a_request_id_is_not_for_another_request(self, flows):
        await flows.start()
        await flows.schedule_outside(1, request_id="r")
        async with refused("INVALID_ARGUMENT", "REQUEST_ID_REUSED", "'r'"):
            await flows.schedule_outside(2, request_id="r")
        assert (await flows.kinds()).count("activity_scheduled") == 1

    async def test_one_request_id_for_two_at_once_serves_one(self, flows):
        await flows.start()
        outcomes = await asyncio.gather(
            *[flows.schedule_outside(n, request_id="r") for n in range(1, 9)],
            return_exceptions=True,
        )
        reasons = sorted(getattr(outcome, "reason", "") for outcome in outcomes)
        assert reasons == ["", *["REQUEST_ID_REUSED"] * 7]
        assert (await flows.kinds()).count("activity_scheduled") == 1

    async def test_is_shown_with_the_workflow_after_those_of_its_code(self, flows):
        await flows.activity()
        for seq in (2, 1):
            await flows.schedule_outside(seq)
        pending = (await flows.get()).pending_activities
        assert [(info.seq, info.external) for info in pending] == [
            (1, False),
            (1, True),
            (2, True),
        ]

    async def test_cancelling_the_workflow_cancels_it(self, flows):
        await flows.activity()
        await flows.schedule_outside(1)
        task = await flows.poll_activity_task()
        second = await flows.schedule_outside(2)
        await flows.cancel()
        assert (await flows.heartbeat_activity(task)).cancel_requested
        assert (await flows.get_activity(task.task_token)).cancel_requested
        ended = await flows.get_activity(second.activity_id)
        assert (status_of(ended), ended.cancel_requested) == ("CANCELLED", True)
        assert ended.failure.kind == FailureKind.FAILURE_KIND_CANCELLED

    async def test_refuses_what_does_not_exist(self, flows):
        run_id = (await flows.start()).run_id
        async with refused("NOT_FOUND", "WORKFLOW_NOT_FOUND", "'nobody'"):
            await flows.schedule_outside(workflow_id="nobody")
        async with refused("NOT_FOUND", "WORKFLOW_NOT_FOUND", "'elsewhere'"):
            await flows.schedule_outside(namespace="elsewhere", run_id=run_id)

    @pytest.mark.parametrize(
        ("field", "value"),
        [("seq", 0), ("seq", -1), ("seq", 2**53), ("name", ""), ("workflow_id", "")],
    )
    async def test_refuses_bad_fields(self, flows, field, value):
        reason = "LIMIT_EXCEEDED" if value == 2**53 else "INVALID_REQUEST"
        async with refused("INVALID_ARGUMENT", reason, field):
            await flows.schedule_outside(**{field: value})

    async def test_refuses_a_large_input(self, flows):
        await flows.start()
        async with refused("INVALID_ARGUMENT", "PAYLOAD_TOO_LARGE", "input"):
            await flows.schedule_outside(input=json_payload("1" * (2 * MEBIBYTE + 1)))


class TestGetActivity:
    async def test_shows_what_a_worker_does(self, flows):
        task = await flows.activity(heartbeat_timeout={"seconds": 30})
        await flows.heartbeat_activity(task, details=json_payload("3"))
        activity = await flows.get_activity(task.task_token)
        assert (activity.activity_id, activity.external) == (task.task_token, False)
        assert (activity.seq, status_of(activity)) == (1, "RUNNING")
        assert (activity.worker_identity, activity.workflow_id) == ("me", "w")
        assert (activity.heartbeat_details.data, activity.input.data) == (b"3", b"[1]")
        assert activity.started_at.seconds
        assert activity.last_heartbeat_at.seconds

    async def test_shows_a_back_off_by_the_id_of_the_first_attempt(self, flows):
        task = await flows.activity(**LATER)
        await flows.fail_activity(task, message="declined")
        activity = await flows.get_activity(task.task_token)
        assert (status_of(activity), activity.attempt) == ("BACKING_OFF", 2)
        assert activity.last_failure.message == "declined"
        assert activity.next_attempt_at.seconds > activity.scheduled_at.seconds
        assert await flows.get_activity(activity.activity_id) == activity

    async def test_shows_a_result_by_the_id_of_any_attempt(self, flows):
        first = await flows.activity(**AT_ONCE)
        await flows.fail_activity(first, message="declined")
        last = await flows.poll_activity_task()
        await flows.complete_activity(last, "5")
        activity = await flows.get_activity(first.task_token)
        assert (status_of(activity), activity.attempt) == ("COMPLETED", 2)
        assert (activity.activity_id, activity.result.data) == (last.task_token, b"5")
        assert (activity.task_queue, activity.input.data) == (QUEUE, b"[1]")
        assert activity.options.retry_policy.max_attempts == 3
        assert activity.completed_at.seconds
        assert not activity.HasField("failure")
        assert await flows.get_activity(last.task_token) == activity

    async def test_shows_a_failure(self, flows):
        task = await flows.activity(**ONCE)
        await flows.fail_activity(task, message="declined", type="Declined")
        activity = await flows.get_activity(task.task_token)
        assert (status_of(activity), activity.failure.type) == ("FAILED", "Declined")
        assert not activity.HasField("result")

    async def test_shows_a_timeout(self, flows):
        task = await flows.activity(start_to_close_timeout={"nanos": 50_000_000}, **ONCE)
        assert (await flows.poll_workflow_task()).task_token
        activity = await flows.get_activity(task.task_token)
        assert status_of(activity) == "TIMED_OUT"
        assert activity.failure.timeout_type == TimeoutType.TIMEOUT_TYPE_START_TO_CLOSE

    async def test_shows_one_that_ended_with_its_run(self, flows):
        task = await flows.activity()
        await flows.terminate()
        activity = await flows.get_activity(task.task_token)
        assert (status_of(activity), activity.seq) == ("CANCELLED", 1)
        assert activity.failure.message == "the run closed (TERMINATED) before the activity ended"
        assert activity.completed_at == (await flows.get()).workflow.completed_at

    async def test_shows_what_ended_before_its_run_did(self, flows):
        task = await flows.activity()
        await flows.complete_activity(task, "5")
        await flows.complete_workflow_task(await flows.poll_workflow_task(), complete_workflow())
        assert status_of(await flows.get_activity(task.task_token)) == "COMPLETED"

    async def test_shows_an_ended_one_from_outside(self, flows):
        await flows.start()
        scheduled = await flows.schedule_outside(9)
        await flows.complete_activity(await flows.poll_activity_task(), "5")
        activity = await flows.get_activity(scheduled.activity_id)
        assert (activity.seq, activity.external, status_of(activity)) == (9, True, "COMPLETED")

    async def test_refuses_what_does_not_exist(self, flows):
        task = await flows.activity()
        for letter, number in (("a", 2), ("a", 0), ("x", 1)):
            unknown = f"1{letter}{number}.1.1.0.{task.run_id}"
            async with refused("NOT_FOUND", "ACTIVITY_NOT_FOUND", unknown):
                await flows.get_activity(unknown)
        async with refused("NOT_FOUND", "ACTIVITY_NOT_FOUND", "no-such-run"):
            await flows.get_activity("1a1.1.1.0.no-such-run")

    async def test_refuses_what_is_no_id(self, flows):
        await flows.start()
        async with refused("INVALID_ARGUMENT", "INVALID_REQUEST", "activity_id"):
            await flows.get_activity("")
        async with refused("INVALID_ARGUMENT", "INVALID_TASK_TOKEN", "activity_id"):
            await flows.get_activity("nonsense")
        task = await flows.poll_workflow_task()
        async with refused("INVALID_ARGUMENT", "INVALID_TASK_TOKEN", "a workflow task"):
            await flows.get_activity(task.task_token)


def shown(activity, reason):
    """What reading says of an activity that was just scheduled and waits: also why."""
    waits = type(activity).FromString(activity.SerializeToString())
    waits.waiting_reason = f"{reason} is connected to task queue {QUEUE!r}"
    return waits
