"""Timers, back-off, leases and heartbeats, each at its exact instant."""

from __future__ import annotations

import pytest

from perdure.v1 import worker_service_pb2 as pb
from perdure.v1 import workflow_service_pb2 as workflows
from perdure_server.core.errors import StaleTask
from tests.engine.rig import complete, payload, running, schedule, settle, timer


async def keep_alive(rig, hand, seconds, *, beats=()):
    """Moves time; the worker pings every second and heartbeats for the given activity tasks."""
    for _ in range(int(seconds)):
        await rig.advance(1)
        await hand.say(ping=1, received_batch=hand.batch)
        for task in beats:
            await hand.report(task, activity_heartbeat={})


async def test_a_timer_fires_at_its_instant(rig):
    hand = await rig.worker()
    await rig.start()
    await hand.command(hand.workflow_tasks[0], timer(seconds=5))
    await keep_alive(rig, hand, 4)
    assert len(hand.workflow_tasks) == 1
    await keep_alive(rig, hand, 1)
    assert (await rig.kinds())[-1] == "timer_fired"
    assert len(hand.workflow_tasks) == 2


async def test_timers_survive_a_restart():
    async with running() as rig:
        hand = await rig.worker()
        await rig.start()
        await hand.command(hand.workflow_tasks[0], timer(seconds=100))
        store, clock = rig.store, rig.clock
    async with running(store, clock) as rig:
        await rig.advance(99)
        assert (await rig.kinds())[-1] == "timer_scheduled"
        await rig.advance(1)
        assert (await rig.kinds())[-1] == "timer_fired"


async def test_a_timer_that_is_late_at_start_fires_at_once():
    async with running() as rig:
        hand = await rig.worker()
        await rig.start()
        await hand.command(hand.workflow_tasks[0], timer(seconds=1))
        store, clock = rig.store, rig.clock
    clock.advance(10_000_000)
    async with running(store, clock) as rig:
        await rig.advance(0.001)
        assert (await rig.kinds())[-1] == "timer_fired"


async def test_a_failed_attempt_waits_for_its_back_off(rig):
    hand = await rig.worker()
    await rig.start()
    await hand.command(hand.workflow_tasks[0], schedule())
    await hand.report(hand.activity_tasks[0], activity_failed={"failure": {"message": "no"}})
    await keep_alive(rig, hand, 1)
    assert [task.attempt for task in hand.activity_tasks] == [1, 2]
    await hand.report(hand.activity_tasks[1], activity_failed={"failure": {"message": "no"}})
    await keep_alive(rig, hand, 1)
    assert len(hand.activity_tasks) == 2
    await keep_alive(rig, hand, 1)
    assert [task.attempt for task in hand.activity_tasks] == [1, 2, 3]
    await hand.report(hand.activity_tasks[2], activity_failed={"failure": {"message": "no"}})
    assert (await rig.kinds())[-1] == "activity_failed"


async def test_a_back_off_survives_a_restart():
    async with running() as rig:
        hand = await rig.worker()
        await rig.start()
        retry = {"initial_interval": {"seconds": 30}}
        await hand.command(hand.workflow_tasks[0], schedule(retry_policy=retry))
        await hand.report(hand.activity_tasks[0], activity_failed={"failure": {"message": "no"}})
        store, clock = rig.store, rig.clock
    async with running(store, clock) as rig:
        hand = await rig.worker()
        await keep_alive(rig, hand, 29)
        assert not hand.activity_tasks
        await keep_alive(rig, hand, 2)
        assert [task.attempt for task in hand.activity_tasks] == [2]


async def test_start_to_close_ends_an_attempt_and_the_worker_is_told(rig):
    hand = await rig.worker()
    await rig.start()
    await hand.command(
        hand.workflow_tasks[0],
        schedule(start_to_close_timeout={"seconds": 5}, retry_policy={"max_attempts": 1}),
    )
    await keep_alive(rig, hand, 5)
    assert (await rig.kinds())[-1] == "activity_timed_out"
    assert [notice.reason for notice in hand.cancels] == ["LEASE_LOST"]
    late = await hand.report(hand.activity_tasks[0], activity_completed={"result": payload()})
    assert late.reason == "STALE_TASK"


async def test_heartbeats_keep_an_attempt_and_their_silence_ends_it(rig):
    hand = await rig.worker()
    await rig.start()
    await hand.command(
        hand.workflow_tasks[0],
        schedule(heartbeat_timeout={"seconds": 3}, retry_policy={"max_attempts": 1}),
    )
    task = hand.activity_tasks[0]
    await keep_alive(rig, hand, 10, beats=[task])
    assert (await rig.kinds())[-1] == "activity_scheduled"
    await keep_alive(rig, hand, 4)
    assert (await rig.kinds())[-1] == "activity_timed_out"


async def test_heartbeat_details_reach_the_next_attempt(rig):
    hand = await rig.worker()
    await rig.start()
    await hand.command(hand.workflow_tasks[0], schedule())
    task = hand.activity_tasks[0]
    await hand.report(task, activity_heartbeat={"details": payload("10")})
    await hand.report(task, activity_heartbeat={"details": payload("20")})
    await keep_alive(rig, hand, 1)
    await hand.report(task, activity_failed={"failure": {"message": "no"}})
    await keep_alive(rig, hand, 1)
    assert hand.activity_tasks[1].heartbeat_details.data == b"20"


async def test_many_heartbeats_are_few_commits(rig):
    hand = await rig.worker()
    await rig.start()
    await hand.command(hand.workflow_tasks[0], schedule())
    before = (await rig.store.load_run(hand.workflow_tasks[0].run_id)).run.version
    for _ in range(50):
        await hand.report(hand.activity_tasks[0], activity_heartbeat={"details": payload("1")})
    await keep_alive(rig, hand, 1)
    after = (await rig.store.load_run(hand.workflow_tasks[0].run_id)).run.version
    assert after - before <= 2


async def test_a_heartbeat_tells_of_cancellation(rig):
    hand = await rig.worker()
    await rig.start()
    await hand.command(hand.workflow_tasks[0], schedule(), timer(seconds=1))
    await keep_alive(rig, hand, 1)
    cancel = {"cancel_activity": {"seq": 1}}
    await hand.command(hand.workflow_tasks[1], cancel)
    assert [notice.reason for notice in hand.cancels] == ["CANCEL_REQUESTED"]
    beat = await hand.report(hand.activity_tasks[0], activity_heartbeat={})
    assert beat.cancel_requested
    failure = {"message": "stopped", "kind": "FAILURE_KIND_CANCELLED"}
    await hand.report(hand.activity_tasks[0], activity_failed={"failure": failure})
    assert (await rig.kinds())[-1] == "activity_cancelled"


async def test_a_workflow_task_that_failed_backs_off(rig):
    hand = await rig.worker()
    await rig.start()
    failure = {"message": "history does not fit", "type": "DeterminismError"}
    await hand.report(hand.workflow_tasks[0], workflow_task_failed={"failure": failure})
    pending = (await rig.describe()).pending_workflow_task
    assert (pending.attempt, pending.last_failure.type) == (2, "DeterminismError")
    assert pending.HasField("next_attempt_at")
    assert len(hand.workflow_tasks) == 1
    await keep_alive(rig, hand, 2)
    assert len(hand.workflow_tasks) == 2


async def test_run_and_execution_timeouts_close_the_run(rig):
    await rig.start("run", run_timeout={"seconds": 5})
    await rig.start("chain", execution_timeout={"seconds": 7})
    await rig.advance(5)
    assert (await rig.kinds("run"))[-1] == "workflow_timed_out"
    await rig.advance(2)
    assert (await rig.kinds("chain"))[-1] == "workflow_timed_out"


async def test_a_start_delay_holds_the_first_task_back(rig):
    hand = await rig.worker()
    await rig.start(start_delay={"seconds": 3})
    await keep_alive(rig, hand, 2)
    assert not hand.workflow_tasks
    await keep_alive(rig, hand, 2)
    assert len(hand.workflow_tasks) == 1


async def test_a_failed_workflow_is_tried_again_and_waiters_follow(rig):
    hand = await rig.worker()
    await rig.start(retry_policy={"max_attempts": 2})
    failing = {"fail_workflow": {"failure": {"message": "no"}}}
    await hand.command(hand.workflow_tasks[0], failing)
    await keep_alive(rig, hand, 2)
    assert hand.workflow_tasks[1].run_id != hand.workflow_tasks[0].run_id
    await hand.command(hand.workflow_tasks[1], complete())
    request = workflows.GetWorkflowResultRequest(
        workflow_id="w", run_id=hand.workflow_tasks[0].run_id
    )
    answer = await rig.engine.workflows.get_result(request)
    assert (answer.run_id, answer.result.data) == (hand.workflow_tasks[1].run_id, b"1")


async def test_a_polled_task_comes_back_when_its_lease_ends(rig):
    await rig.start()
    poll = pb.PollWorkflowTaskRequest(task_queue="default", worker_id="curl")
    first = pb.PollWorkflowTaskResponse.FromString(
        await rig.engine.workers.poll_workflow_task(poll)
    )
    assert first.task.attempt == 1
    await rig.advance(31)
    second = pb.PollWorkflowTaskResponse.FromString(
        await rig.engine.workers.poll_workflow_task(poll)
    )
    assert second.task.attempt == 2
    late = pb.CompleteWorkflowTaskRequest(task_token=first.task.task_token)
    with pytest.raises(StaleTask):
        await rig.engine.workers.complete_workflow_task(late)


async def test_a_detached_activity_is_completed_by_its_token(rig):
    hand = await rig.worker(slots=(5, 1))
    await rig.start()
    await hand.command(hand.workflow_tasks[0], schedule(1), schedule(2))
    first = hand.activity_tasks[0]
    assert not (await hand.report(first, activity_detached={})).reason
    assert len(hand.activity_tasks) == 2
    await hand.cut()
    await rig.advance(20)
    request = pb.CompleteActivityRequest(task_token=first.task_token, result=payload())
    await rig.engine.workers.complete_activity(request)
    await settle()
    assert "activity_completed" in await rig.kinds()
