"""Leases belong to sessions, and sessions outlive their streams."""

from __future__ import annotations

from perdure.v1 import workflow_service_pb2 as pb
from perdure_server.core.errors import SessionReplaced, ShuttingDown
from tests.engine.rig import complete, payload, running, schedule, settle


async def test_a_worker_that_comes_back_keeps_its_tasks(rig):
    hand = await rig.worker()
    await rig.start()
    await hand.command(hand.workflow_tasks[0], schedule())
    token = hand.activity_tasks[0].task_token
    await hand.cut()
    await rig.advance(5)
    again = await rig.worker("s1", held_task_tokens=[token])
    assert not again.welcome.lost_task_tokens
    assert not again.activity_tasks
    result = await again.report(hand.activity_tasks[0], activity_completed={"result": payload()})
    assert not result.reason
    assert await rig.kinds() == ["workflow_started", "activity_scheduled", "activity_completed"]


async def test_a_cached_run_survives_the_stream(rig):
    hand = await rig.worker()
    await rig.start()
    task = hand.workflow_tasks[0]
    await hand.command(task, schedule())
    token = hand.activity_tasks[0].task_token
    await hand.cut()
    again = await rig.worker(
        "s1",
        held_task_tokens=[token],
        cached_runs=[{"run_id": task.run_id, "last_seq": 1}],
    )
    await again.report(hand.activity_tasks[0], activity_completed={"result": payload()})
    assert again.workflow_tasks[0].previous_seq == 1


async def test_what_a_returning_worker_does_not_name_is_ready_at_once(rig):
    hand = await rig.worker()
    await rig.start()
    await hand.command(hand.workflow_tasks[0], schedule())
    await hand.cut()
    again = await rig.worker("s1")
    assert [task.attempt for task in again.activity_tasks] == [1]
    assert again.activity_tasks[0].task_token != hand.activity_tasks[0].task_token


async def test_a_silent_worker_is_given_up_and_its_tasks_run_elsewhere(rig):
    hand = await rig.worker("frozen")
    await rig.start()
    await hand.command(hand.workflow_tasks[0], schedule(retry_policy={"max_attempts": 3}))
    other = await rig.worker("other")
    for _ in range(6):
        await rig.advance(1.5)
        await other.say(ping=1)
    assert isinstance(hand.error, SessionReplaced)
    assert not other.activity_tasks
    await other.say(ping=2)
    await rig.advance(3)
    assert [task.attempt for task in other.activity_tasks] == [2]
    activity = (await rig.describe()).pending_activities[0]
    assert activity.last_failure.message == "the worker frozen was lost"


async def test_a_silent_worker_is_given_up_at_the_end_of_its_time_and_no_later(rig):
    await rig.advance(0.4)
    hand = await rig.worker("frozen")
    await rig.start()
    # Its last word comes between two looks at the sessions.
    policy = {"max_attempts": 3, "initial_interval": {"nanos": 1_000_000}}
    await hand.command(hand.workflow_tasks[0], schedule(retry_policy=policy))
    other = await rig.worker("other")
    for _ in range(5):
        await rig.advance(1.99)
        await other.say(ping=1)
    assert not other.activity_tasks
    await rig.advance(0.06)
    assert [task.attempt for task in other.activity_tasks] == [2]


async def test_a_late_report_of_a_lost_worker_changes_nothing(rig):
    hand = await rig.worker("frozen")
    await rig.start()
    await hand.command(hand.workflow_tasks[0], schedule())
    await rig.advance(12)
    late = await rig.worker("frozen", held_task_tokens=[hand.activity_tasks[0].task_token])
    assert list(late.welcome.lost_task_tokens) == [hand.activity_tasks[0].task_token]
    result = await late.report(hand.activity_tasks[0], activity_completed={"result": payload()})
    assert result.reason == "STALE_TASK"
    assert "activity_completed" not in await rig.kinds()


async def test_an_accepted_report_sent_again_is_answered_again(rig):
    hand = await rig.worker()
    await rig.start()
    first = await hand.command(hand.workflow_tasks[0], schedule())
    again = await hand.command(hand.workflow_tasks[0], schedule())
    assert (first.reason, again.reason) == ("", "")
    activity = hand.activity_tasks[0]
    assert not (await hand.report(activity, activity_completed={"result": payload()})).reason
    assert not (await hand.report(activity, activity_completed={"result": payload()})).reason
    await hand.command(hand.workflow_tasks[1], complete())
    assert not (await hand.report(activity, activity_completed={"result": payload()})).reason
    assert not (await hand.command(hand.workflow_tasks[1], complete())).reason
    kinds = await rig.kinds()
    assert kinds == [
        "workflow_started",
        "activity_scheduled",
        "activity_completed",
        "workflow_completed",
    ]


async def test_a_newer_stream_of_a_session_replaces_the_older(rig):
    old = await rig.worker("s1")
    new = await rig.worker("s1")
    assert isinstance(old.error, SessionReplaced)
    await rig.start()
    assert len(new.workflow_tasks) == 1
    assert not old.workflow_tasks


async def test_a_stopped_process_hears_its_workers_before_it_gives_them_up(rig):
    hand = await rig.worker()
    await rig.start()
    await hand.command(hand.workflow_tasks[0], schedule())
    # The whole process was stopped for a minute: one late tick, then the sockets are read.
    rig.clock.jump(60)
    await hand.say(ping=1)
    await rig.advance(3)
    assert not hand.ended
    result = await hand.report(hand.activity_tasks[0], activity_completed={"result": payload()})
    assert not result.reason


async def test_a_restart_keeps_the_leases_of_workers_that_return():
    async with running() as rig:
        hand = await rig.worker()
        await rig.start()
        await hand.command(hand.workflow_tasks[0], schedule())
        token = hand.activity_tasks[0].task_token
        store, clock = rig.store, rig.clock
        activity = hand.activity_tasks[0]
    async with running(store, clock) as rig:
        await rig.advance(5)
        again = await rig.worker("s1", held_task_tokens=[token])
        assert not again.welcome.lost_task_tokens
        await rig.advance(6)
        result = await again.report(activity, activity_completed={"result": payload()})
        assert not result.reason


async def test_a_restart_gives_up_workers_that_do_not_return():
    async with running() as rig:
        hand = await rig.worker()
        await rig.start()
        await hand.command(hand.workflow_tasks[0], schedule())
        store, clock = rig.store, rig.clock
    async with running(store, clock) as rig:
        await rig.advance(9)
        other = await rig.worker("other")
        assert not other.activity_tasks
        await rig.advance(3)
        assert [task.attempt for task in other.activity_tasks] == [2]


async def test_workers_of_the_same_process_died_with_it():
    async with running() as rig:
        hand = await rig.worker()
        await rig.start()
        await hand.command(hand.workflow_tasks[0], schedule())
        store, clock = rig.store, rig.clock
    async with running(store, clock, workers_return=False) as rig:
        other = await rig.worker("other")
        await rig.advance(1)
        assert [task.attempt for task in other.activity_tasks] == [2]


async def test_a_restart_dispatches_what_was_ready():
    async with running() as rig:
        await rig.start("a")
        await rig.start("b")
        store, clock = rig.store, rig.clock
    async with running(store, clock) as rig:
        hand = await rig.worker()
        assert [task.workflow_id for task in hand.workflow_tasks] == ["a", "b"]


async def test_a_server_that_leaves_says_so(rig):
    hand = await rig.worker()
    await rig.engine.drain()
    await rig.advance(0.1)
    assert isinstance(hand.error, ShuttingDown)


async def test_a_workflow_task_whose_worker_dies_three_times_backs_off(rig):
    await rig.start()
    for number in range(3):
        hand = await rig.worker(f"dying-{number}")
        assert len(hand.workflow_tasks) == 1, number
        await hand.cut()
        await rig.advance(12)
    patient = await rig.worker("patient")
    assert not patient.workflow_tasks or patient.workflow_tasks[0].attempt == 4
    assert (await rig.describe()).pending_workflow_task.attempt == 4


async def test_a_run_whose_task_is_lost_is_not_cached(rig):
    hand = await rig.worker()
    await rig.start()
    (task,) = hand.workflow_tasks
    await hand.cut()
    await rig.engine.workflows.terminate(pb.TerminateWorkflowRequest(workflow_id="w"))
    await settle()
    again = await rig.worker(
        "s1",
        held_task_tokens=[task.task_token, "not a token"],
        cached_runs=[{"run_id": task.run_id, "last_seq": 0}, {"run_id": "other", "last_seq": 3}],
    )
    assert list(again.welcome.lost_task_tokens) == [task.task_token, "not a token"]
    assert rig.engine.sessions.get("s1").cached == {"other": 3}
