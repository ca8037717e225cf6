"""Which worker gets which task, and when."""

from __future__ import annotations

from perdure.v1 import worker_service_pb2 as pb
from tests.engine.rig import complete, payload, schedule, settle


async def test_a_task_is_pushed_to_a_connected_worker(rig):
    hand = await rig.worker()
    await rig.start()
    assert [task.workflow_id for task in hand.workflow_tasks] == ["w"]
    assert hand.workflow_tasks[0].previous_seq == 0


async def test_a_task_waits_for_a_worker_of_its_type(rig):
    other = await rig.worker("other", workflows=["X"])
    await rig.start()
    assert not other.workflow_tasks
    pending = (await rig.describe()).pending_workflow_task
    assert pending.waiting_reason == "no worker on task queue 'default' has workflow type 'W'"
    right = await rig.worker("right")
    assert len(right.workflow_tasks) == 1
    assert not (await rig.describe()).pending_workflow_task.waiting_reason


async def test_no_worker_at_all_is_said(rig):
    await rig.start()
    pending = (await rig.describe()).pending_workflow_task
    assert pending.waiting_reason == "no worker is connected to task queue 'default'"


async def test_slots_bound_what_is_pushed_and_a_report_frees_one(rig):
    hand = await rig.worker(slots=(2, 10))
    for number in range(5):
        await rig.start(f"w{number}")
    assert len(hand.workflow_tasks) == 2
    assert (await rig.describe("w4")).pending_workflow_task.waiting_reason.endswith("is busy")
    await hand.command(hand.workflow_tasks[0], complete())
    assert [task.workflow_id for task in hand.workflow_tasks] == ["w0", "w1", "w2"]


async def test_priority_orders_a_backlog(rig):
    await rig.start("late", priority=5)
    await rig.start("early", priority=1)
    hand = await rig.worker(slots=(1, 1))
    assert [task.workflow_id for task in hand.workflow_tasks] == ["early"]


async def test_workers_take_turns(rig):
    first, second = await rig.worker("a"), await rig.worker("b")
    for number in range(4):
        await rig.start(f"w{number}")
    assert len(first.workflow_tasks) == len(second.workflow_tasks) == 2


async def test_a_cached_run_gets_only_the_new_events(rig):
    hand = await rig.worker()
    await rig.start()
    await hand.command(hand.workflow_tasks[0], schedule())
    await hand.report(hand.activity_tasks[0], activity_completed={"result": payload()})
    task = hand.workflow_tasks[1]
    assert task.previous_seq == 1
    assert [event.seq for event in task.history.events] == [2, 3]


async def test_a_run_goes_to_the_worker_that_caches_it(rig):
    first, second = await rig.worker("a"), await rig.worker("b")
    await rig.start()
    hand, other = (first, second) if first.workflow_tasks else (second, first)
    await hand.command(hand.workflow_tasks[0], schedule())
    holder = first if first.activity_tasks else second
    await holder.report(holder.activity_tasks[0], activity_completed={"result": payload()})
    assert len(hand.workflow_tasks) == 2
    assert not other.workflow_tasks


async def test_an_evicted_run_gets_the_whole_history(rig):
    hand = await rig.worker()
    await rig.start()
    await hand.command(hand.workflow_tasks[0], schedule())
    await hand.say(evicted_run_ids=[hand.workflow_tasks[0].run_id])
    await hand.report(hand.activity_tasks[0], activity_completed={"result": payload()})
    task = hand.workflow_tasks[1]
    assert task.previous_seq == 0
    assert [event.seq for event in task.history.events] == [1, 2, 3]


async def test_a_cache_miss_brings_the_same_task_with_the_whole_history(rig):
    hand = await rig.worker()
    await rig.start()
    await hand.command(hand.workflow_tasks[0], schedule())
    await hand.report(hand.activity_tasks[0], activity_completed={"result": payload()})
    assert not (await hand.report(hand.workflow_tasks[1], workflow_task_cache_miss={})).reason
    again = hand.workflow_tasks[2]
    assert (again.previous_seq, again.attempt) == (0, hand.workflow_tasks[1].attempt)
    assert not (await hand.command(again, complete())).reason
    assert (await rig.kinds())[-1] == "workflow_completed"


async def test_a_draining_worker_finishes_and_gets_no_more(rig):
    hand = await rig.worker()
    await rig.start("first")
    await hand.say(draining=True)
    await rig.start("second")
    assert len(hand.workflow_tasks) == 1
    assert not (await hand.command(hand.workflow_tasks[0], complete())).reason
    successor = await rig.worker("next")
    assert [task.workflow_id for task in successor.workflow_tasks] == ["second"]


async def test_a_worker_that_does_not_acknowledge_gets_no_more(rig):
    hand = await rig.worker()
    await rig.start("first")
    await rig.advance(1.5)
    await rig.start("second")
    assert len(hand.workflow_tasks) == 1
    await hand.say(received_batch=hand.batch)
    assert len(hand.workflow_tasks) == 2


async def test_more_slots_take_from_the_backlog(rig):
    hand = await rig.worker(slots=(1, 1))
    await rig.start("first")
    await rig.start("second")
    await hand.say(slots={"workflow_tasks": 2, "activity_tasks": 1}, received_batch=hand.batch)
    assert len(hand.workflow_tasks) == 2


async def test_one_workflow_task_at_a_time(rig):
    hand = await rig.worker()
    await rig.start()
    await hand.command(hand.workflow_tasks[0], schedule(1), schedule(2))
    first, second = hand.activity_tasks
    await hand.report(first, activity_completed={"result": payload()})
    await hand.report(second, activity_completed={"result": payload()})
    assert len(hand.workflow_tasks) == 2
    await hand.command(hand.workflow_tasks[1])
    task = hand.workflow_tasks[2]
    assert [event.WhichOneof("event") for event in task.history.events] == ["activity_completed"]


async def test_a_long_history_is_continued_by_page_token(rig):
    hand = await rig.worker()
    big = payload('"' + "x" * 700_000 + '"')
    await rig.start(input=big)
    await hand.command(hand.workflow_tasks[0], schedule())
    await hand.say(evicted_run_ids=[hand.workflow_tasks[0].run_id])
    await hand.report(hand.activity_tasks[0], activity_completed={"result": big})
    await settle()
    task = hand.workflow_tasks[1]
    assert [event.seq for event in task.history.events] == [1, 2]
    page = await rig.engine.workers.get_workflow_task_history(
        pb.GetWorkflowTaskHistoryRequest(
            task_token=task.task_token, page_token=task.next_page_token
        )
    )
    answer = pb.GetWorkflowTaskHistoryResponse.FromString(page)
    assert [event.seq for event in answer.history.events] == [3]
    assert not answer.next_page_token
