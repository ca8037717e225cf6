"""What happens between two steps of the engine: nothing is lost, nobody is passed over."""

from __future__ import annotations

import asyncio

import pytest

from perdure.v1 import worker_service_pb2 as worker
from perdure.v1 import workflow_service_pb2 as pb
from perdure.v1.command_pb2 import Command
from perdure_server.core import limits
from perdure_server.core.errors import StaleVersion, StoreUnavailable
from perdure_server.engine.alarms import Alarms
from tests.engine.rig import complete, payload, running, schedule, settle, timer
from tests.support.clock import ManualClock

FULL = StoreUnavailable("the disk is full")


def signal():
    return pb.SignalWorkflowRequest(workflow_id="w", signal_name="go")


async def test_a_timer_committed_while_the_window_is_read_rings(store, monkeypatch):
    async with running(store) as first:
        hand = await first.worker()
        await first.start("early")
        timers = [timer(seq, seconds) for seq, seconds in enumerate((10, 20, 60), start=1)]
        await hand.command(hand.workflow_tasks[0], *timers)
        clock = first.clock
    monkeypatch.setattr(limits, "TIMER_WINDOW", 2)
    async with running(store, clock) as rig:
        await rig.advance(19)
        hand = await rig.worker("s2")
        with store.closed("due_timers"):
            await rig.advance(1)
            await rig.start("late")
            late = next(task for task in hand.workflow_tasks if task.workflow_id == "late")
            await hand.command(late, timer(seconds=5))
        await rig.advance(6)
        assert (await rig.kinds("late"))[-1] == "timer_fired"


async def test_a_worker_that_comes_back_hears_of_a_cancellation(rig):
    hand = await rig.worker()
    await rig.start()
    await hand.command(hand.workflow_tasks[0], schedule())
    activity = hand.activity_tasks[0]
    await hand.cut()
    other = await rig.worker("other")
    await rig.engine.workflows.signal(signal())
    await settle()
    await other.command(other.workflow_tasks[0], Command(cancel_activity={"seq": 1}))
    again = await rig.worker("s1", held_task_tokens=[activity.task_token])
    assert not again.welcome.lost_task_tokens
    (notice,) = again.cancels
    assert (notice.task_token, notice.reason) == (activity.task_token, "CANCEL_REQUESTED")


async def test_two_tasks_that_go_back_at_once_are_one_decision_after_the_other(rig, store):
    hand = await rig.worker("first", activities=())
    await rig.start()
    await hand.command(hand.workflow_tasks[0], schedule(1), schedule(2), schedule(3))
    with store.closed("commit"):
        signalling = asyncio.create_task(rig.engine.workflows.signal(signal()))
        await settle()
        leaving = await rig.worker("leaving", workflows=())
        await leaving.cut()
    await signalling
    await settle()
    taking = await rig.worker("taking", workflows=())
    assert [task.attempt for task in taking.activity_tasks] == [1, 1, 1]
    assert not [answer for answer in store.outcomes if isinstance(answer, StaleVersion)]


async def test_the_last_heartbeat_reaches_the_next_attempt(rig):
    hand = await rig.worker()
    await rig.start()
    retry = {"max_attempts": 2, "initial_interval": {"seconds": 1}}
    await hand.command(hand.workflow_tasks[0], schedule(retry_policy=retry))
    first = hand.activity_tasks[0]
    for details in ("1", "2"):
        await hand.report(first, activity_heartbeat={"details": payload(details)})
    await hand.report(first, activity_failed={"failure": {"message": "no"}})
    await rig.advance(2)
    assert hand.activity_tasks[1].heartbeat_details.data == b"2"


async def test_the_last_heartbeat_of_a_lost_worker_reaches_the_next_attempt(rig):
    hand = await rig.worker()
    await rig.start()
    await hand.command(hand.workflow_tasks[0], schedule(retry_policy={"max_attempts": 2}))
    first = hand.activity_tasks[0]
    for details in ("1", "2"):
        await hand.report(first, activity_heartbeat={"details": payload(details)})
    await hand.cut()
    # A worker that comes back without the task had lost it.
    again = await rig.worker("s1")
    assert again.activity_tasks[0].heartbeat_details.data == b"2"


async def test_a_heartbeat_that_counted_outlasts_a_failing_store(rig, store):
    hand = await rig.worker()
    await rig.start()
    await hand.command(hand.workflow_tasks[0], schedule(retry_policy={"max_attempts": 2}))
    first = hand.activity_tasks[0]
    for details in ("1", "2"):
        answer = await hand.report(first, activity_heartbeat={"details": payload(details)})
        assert not answer.reason
    store.refuse_with = FULL
    await rig.advance(2)
    store.refuse_with = None
    await rig.advance(2)
    assert (await rig.describe()).pending_activities[0].heartbeat_details.data == b"2"


async def test_a_heartbeat_over_the_limit_is_refused_whenever_it_comes(rig):
    hand = await rig.worker()
    await rig.start()
    await hand.command(hand.workflow_tasks[0], schedule())
    big = payload("x" * (limits.PAYLOAD_BYTES_MAX + 1))
    for _ in range(2):
        result = await hand.report(hand.activity_tasks[0], activity_heartbeat={"details": big})
        assert result.reason == "PAYLOAD_TOO_LARGE"
        ok = await hand.report(hand.activity_tasks[0], activity_heartbeat={})
        assert not ok.reason


async def test_an_error_that_no_rule_foresaw_reaches_whoever_waits_for_the_run(store):
    async with running(store) as first:
        await first.start()
        clock = first.clock
    async with running(store, clock) as rig:
        store.refuse_with = RuntimeError("a row that cannot be read")
        with pytest.raises(RuntimeError):
            async with asyncio.timeout(5):
                await rig.engine.workflows.signal(signal())
        store.refuse_with = None
        assert (await rig.engine.workflows.signal(signal())).event_seq == 2


async def test_a_task_that_closes_while_its_history_is_read_takes_no_slot(rig, store):
    hand = await rig.worker(slots=(1, 1))
    await rig.start()
    await hand.command(hand.workflow_tasks[0])
    await hand.say(evicted_run_ids=[hand.workflow_tasks[0].run_id])
    sending = asyncio.create_task(rig.engine.workflows.signal(signal()))
    request = pb.TerminateWorkflowRequest(workflow_id="w")
    await sending
    await rig.engine.workflows.terminate(request)
    await settle()
    session = rig.engine.sessions.get("s1")
    for task in hand.workflow_tasks[1:]:
        await hand.command(task, complete())
    assert (set(session.used.values()), session.held) == ({0}, {})


def test_an_alarm_that_fails_does_not_silence_the_others():
    clock, rung = ManualClock(), []

    def ring(key, _due_us):
        if key == "bad":
            raise RuntimeError(key)
        rung.append(key)

    alarms = Alarms(clock, ring)
    for key in ("bad", "good"):
        alarms.set(key, clock.now_us() + 1)
    with pytest.raises(RuntimeError):
        clock.advance(1)
    clock.advance(1)
    assert rung == ["good"]
    alarms.close()
    alarms.set("late", clock.now_us())
    clock.advance(1)
    assert rung == ["good"]


async def test_a_worker_whose_heartbeats_are_not_asked_for_is_told_to_stop(rig):
    hand = await rig.worker()
    await rig.start()
    await hand.command(hand.workflow_tasks[0], schedule())
    stale = hand.activity_tasks[0].task_token
    await rig.engine.workflows.terminate(pb.TerminateWorkflowRequest(workflow_id="w"))
    await settle()
    request = worker.ReportRequest(
        worker_id="p", reports=[worker.TaskReport(task_token=stale, activity_heartbeat={})]
    )
    (result,) = (await rig.engine.workers.report(request)).results
    assert result.reason in ("STALE_TASK", "WORKFLOW_NOT_FOUND")
