"""Runs that begin again while other things happen, at one server and at several."""

from __future__ import annotations

import asyncio

import pytest

from perdure.v1 import workflow_service_pb2 as pb
from perdure.v1.command_pb2 import Command
from perdure.v1.workflow_pb2 import WorkflowStatus
from perdure_server.core import limits
from perdure_server.core.errors import CannotReset, RunContended, WorkflowNotFailed
from tests.engine.rig import complete, payload, schedule, settle, wait

RUNNING = WorkflowStatus.WORKFLOW_STATUS_RUNNING


def reset(rig, event_seq=2, **fields):
    request = pb.ResetWorkflowRequest(workflow_id="w", event_seq=event_seq, **fields)
    return rig.engine.workflows.reset(request)


def signal(rig, name="go"):
    request = pb.SignalWorkflowRequest(workflow_id="w", signal_name=name)
    return rig.engine.workflows.signal(request)


async def get(rig, run_id=""):
    request = pb.GetWorkflowRequest(workflow_id="w", run_id=run_id)
    return (await rig.engine.workflows.get(request)).workflow


def meanwhile(rig, monkeypatch, happen):
    """Has something happen right after a history was first read."""
    store, seen = rig.store, []
    load = store.load_history

    async def load_history(run_id, **page):
        rows = await load(run_id, **page)
        if not seen:
            seen.append(run_id)
            await happen()
            await settle()
        return rows

    monkeypatch.setattr(store, "load_history", load_history)


async def test_a_signal_that_came_while_the_history_was_read_goes_on(rig, monkeypatch):
    hand = await rig.worker(activities=())
    await rig.start()
    await hand.command(hand.workflow_tasks[0], schedule())
    meanwhile(rig, monkeypatch, lambda: signal(rig))
    await reset(rig)
    assert (await rig.kinds())[2:] == ["workflow_reset", "signal_received"]


async def test_a_run_that_went_on_while_its_history_was_read_is_read_again(rig, monkeypatch):
    hand = await rig.worker(activities=())
    await rig.start()
    await hand.command(hand.workflow_tasks[0], schedule())

    async def go_on():
        await signal(rig)
        await settle()
        await hand.command(hand.workflow_tasks[1], wait("go"))

    meanwhile(rig, monkeypatch, go_on)
    await reset(rig)
    assert (await rig.kinds())[2:] == ["workflow_reset", "signal_received"]


async def test_a_run_that_closed_while_its_history_was_read_stays_as_it_is(rig, monkeypatch):
    hand = await rig.worker(activities=())
    await rig.start()
    await hand.command(hand.workflow_tasks[0], schedule())
    first = (await get(rig)).run_id
    end = pb.TerminateWorkflowRequest(workflow_id="w")
    meanwhile(rig, monkeypatch, lambda: rig.engine.workflows.terminate(end))
    answer = await reset(rig)
    assert (await get(rig, first)).next_run_id == ""
    assert (await get(rig)).run_id == answer.run_id


async def test_another_run_that_began_while_a_closed_one_was_read_stands(rig, monkeypatch):
    await rig.start()
    await rig.engine.workflows.terminate(pb.TerminateWorkflowRequest(workflow_id="w"))
    again = pb.StartWorkflowRequest(workflow_id="w", workflow_type="W", reuse_policy=2)
    meanwhile(rig, monkeypatch, lambda: rig.engine.workflows.start(again))
    first = (await get(rig)).run_id
    with pytest.raises(CannotReset, match="is open"):
        await reset(rig, 1, run_id=first)


async def test_one_that_changes_all_the_time_is_given_up(rig, monkeypatch):
    monkeypatch.setattr(limits, "STALE_RETRIES_MAX", 0)
    await rig.start()
    with pytest.raises(RunContended):
        await reset(rig, 1)


async def test_the_worker_is_told_and_goes_on_with_the_new_run(rig):
    hand = await rig.worker()
    await rig.start()
    await hand.command(hand.workflow_tasks[0], schedule())
    old = hand.activity_tasks[0]
    answer = await reset(rig)
    await settle()
    assert [notice.task_token for notice in hand.cancels] == [old.task_token]
    task = hand.workflow_tasks[-1]
    assert (task.run_id, task.previous_seq) == (answer.run_id, 0)
    assert [event.seq for event in task.history.events] == [1, 2, 3]
    again = hand.activity_tasks[-1]
    assert again.run_id == answer.run_id
    await hand.report(again, activity_completed={"result": payload()})
    await hand.command(task)
    await hand.command(hand.workflow_tasks[-1], complete())
    assert (await rig.kinds())[-1] == "workflow_completed"


async def test_servers_that_reset_at_once_leave_one_open_run(servers):
    hand = await servers[0].worker()
    await servers[1].start()
    await hand.command(hand.workflow_tasks[0], schedule())
    answers = await asyncio.gather(*(reset(rig) for rig in servers for _ in range(2)))
    latest = await get(servers[2])
    assert latest.status == RUNNING
    assert latest.run_id in {answer.run_id for answer in answers}
    others = [await get(servers[0], answer.run_id) for answer in answers]
    assert sum(run.status == RUNNING for run in others) == 1
    assert len({answer.run_id for answer in answers}) == len(answers)


async def test_a_request_that_two_servers_serve_at_once_is_answered_once(servers, monkeypatch):
    hand = await servers[0].worker()
    await servers[0].start()
    await hand.command(hand.workflow_tasks[0], complete())
    request = {"run_id": (await get(servers[0])).run_id, "event_seq": 1, "request_id": "r"}
    store, answers = servers[1].store, []
    find = store.find_request

    async def find_request(*key):
        found = await find(*key)
        if not answers:
            answers.append(await reset(servers[2], **request))
            await settle()
        return found

    monkeypatch.setattr(store, "find_request", find_request)
    assert [await reset(servers[1], **request)] == answers
    with pytest.raises(CannotReset):
        await reset(servers[1], **(request | {"request_id": "other"}))
    with pytest.raises(CannotReset):
        await reset(servers[1], **(request | {"request_id": ""}))


@pytest.mark.parametrize("is_closed", [False, True])
async def test_the_number_of_an_activity_from_outside_stays_taken(rig, is_closed):
    hand = await rig.worker()
    await rig.start()
    await hand.command(hand.workflow_tasks[0], wait("go"))
    asked = pb.ScheduleActivityRequest(workflow_id="w", seq=3, name="A")
    await rig.engine.workflows.schedule_activity(asked)
    await settle()
    if is_closed:
        await rig.engine.workflows.terminate(pb.TerminateWorkflowRequest(workflow_id="w"))
    await reset(rig, 3)
    await settle()
    await hand.report(hand.activity_tasks[-1], activity_completed={"result": payload("7")})
    kinds = await rig.kinds()
    assert kinds[-1] == "activity_completed"
    again = await rig.engine.workflows.schedule_activity(asked)
    assert (again.activity.result.data, await rig.kinds()) == (b"7", kinds)


async def test_a_wait_at_one_server_follows_a_reset_at_another(servers):
    hand = await servers[1].worker(activities=())
    await servers[0].start()
    await hand.command(hand.workflow_tasks[0], wait("go"))
    request = pb.GetWorkflowResultRequest(workflow_id="w", run_id=(await get(servers[0])).run_id)
    request.wait.seconds = 60
    waiting = asyncio.create_task(servers[0].engine.workflows.get_result(request))
    await settle()
    answer = await reset(servers[2])
    await settle()
    await hand.command(hand.workflow_tasks[-1], complete("7"))
    end = await waiting
    assert (end.run_id, end.result.data) == (answer.run_id, b"7")


async def test_a_failed_activity_is_tried_again_at_another_server(servers):
    hand = await servers[0].worker()
    await servers[0].start()
    once = Command(
        schedule_activity={
            "seq": 1,
            "name": "A",
            "options": {"retry_policy": {"max_attempts": 1}},
        }
    )
    await hand.command(hand.workflow_tasks[0], once)
    await hand.report(hand.activity_tasks[0], activity_failed={"failure": {"message": "no"}})
    fail = Command(fail_workflow={"failure": {"message": "no"}})
    await hand.command(hand.workflow_tasks[-1], fail)
    request = pb.RetryFailedActivityRequest(
        workflow_id="w", requested_by="ann", reason="mended", request_id="r"
    )
    answers = await asyncio.gather(
        *(rig.engine.workflows.retry(request) for rig in servers), return_exceptions=True
    )
    assert len({str(answer) for answer in answers}) == 1
    await settle()
    assert hand.activity_tasks[-1].run_id == answers[0].run_id
    with pytest.raises(WorkflowNotFailed):
        await servers[1].engine.workflows.retry(
            pb.RetryFailedActivityRequest(workflow_id="w", requested_by="ann", reason="mended")
        )


async def children(rig, run_id):
    request = pb.ListChildrenRequest(workflow_id="w", run_id=run_id)
    return [
        child.workflow_id for child in (await rig.engine.workflows.list_children(request)).children
    ]


def start_child():
    child = {"seq": 1, "workflow_type": "V", "workflow_id": "c"}
    return Command(start_child_workflow=child)


async def test_a_child_that_is_taken_over_tells_its_end_at_another_server(servers):
    hand = await servers[0].worker(workflows=("W", "V"))
    await servers[1].start()
    await hand.command(hand.workflow_tasks[0], start_child())
    await settle()
    first = (await get(servers[2])).run_id
    answer = await reset(servers[2])
    await settle()
    assert (await children(servers[0], first), await children(servers[0], answer.run_id)) == (
        [],
        ["c"],
    )
    (child,) = (task for task in hand.workflow_tasks if task.workflow_type == "V")
    await hand.command(child, complete("7"))
    await settle()
    assert (await servers[1].kinds())[2:] == ["workflow_reset", "child_workflow_completed"]


async def test_the_end_of_a_child_is_known_though_it_came_to_a_closed_run(servers):
    hand = await servers[0].worker(workflows=("W", "V"))
    await servers[1].start()
    await hand.command(hand.workflow_tasks[0], start_child())
    await servers[1].engine.workflows.terminate(pb.TerminateWorkflowRequest(workflow_id="w"))
    await settle()
    assert (await servers[0].kinds("c"))[-1] == "workflow_terminated"
    await reset(servers[2])
    await settle()
    assert (await servers[1].kinds())[2:] == ["workflow_reset", "child_workflow_failed"]
