"""Workflow tasks that are kept while steps run, through every door."""

from __future__ import annotations

from contextlib import aclosing

import pytest

from perdure.v1 import worker_service_pb2 as pb
from perdure.v1.command_pb2 import Command
from perdure.v1.workflow_pb2 import WorkflowStatus
from tests.api.flows import QUEUE, complete_workflow, json_payload, refused, schedule_activity
from tests.api.streams import WorkStream


@pytest.fixture
async def work(caller):
    stream = WorkStream(caller)
    yield stream
    await stream.close()


def step(seq, text="1"):
    return Command(record_step={"seq": seq, "name": "fetch", "result": json_payload(text)})


def keeping(*commands):
    return {"commands": commands, "keep_task": True}


def kinds(kept):
    return [(event.seq, event.WhichOneof("event")) for event in kept.history.events]


async def complete(flows, token, *commands, keep=True):
    request = pb.CompleteWorkflowTaskRequest(task_token=token, commands=commands, keep_task=keep)
    return (await flows.call("WorkerService/CompleteWorkflowTask", request)).kept


async def test_each_answer_has_what_is_new_and_the_next_token(flows):
    started = await flows.start()
    task = await flows.poll_workflow_task()
    first = await complete(flows, task.task_token, step(1))
    assert (kinds(first), first.run_id) == ([(2, "step_completed")], started.run_id)
    await flows.signal()
    second = await complete(flows, first.task_token, step(2), step(3))
    assert kinds(second) == [
        (3, "signal_received"),
        (4, "step_completed"),
        (5, "step_completed"),
    ]
    await complete(flows, second.task_token, complete_workflow("3"), keep=False)
    assert (await flows.result()).result.data == b"3"


async def test_a_report_sent_again_is_answered_again(flows):
    await flows.start()
    task = await flows.poll_workflow_task()
    first = await complete(flows, task.task_token, step(1))
    await flows.signal()
    again = await complete(flows, task.task_token, step(1))
    assert kinds(again) == [*kinds(first), (3, "signal_received")]
    await complete(flows, again.task_token, step(2))
    async with refused("FAILED_PRECONDITION", "STALE_TASK"):
        await complete(flows, task.task_token, step(1))


async def test_without_commands_it_asks_for_what_is_new(flows):
    await flows.start()
    task = await flows.poll_workflow_task()
    assert kinds(await complete(flows, task.task_token)) == []
    await flows.signal()
    assert kinds(await complete(flows, task.task_token)) == [(2, "signal_received")]


async def test_it_closes_no_run(flows):
    await flows.start()
    task = await flows.poll_workflow_task()
    async with refused("INVALID_ARGUMENT", "INVALID_COMMAND"):
        await complete(flows, task.task_token, complete_workflow())


async def test_the_task_of_a_run_that_was_closed_is_stale(flows):
    await flows.start()
    task = await flows.poll_workflow_task()
    kept = await complete(flows, task.task_token, step(1))
    await flows.terminate()
    async with refused("FAILED_PRECONDITION", "STALE_TASK"):
        await complete(flows, kept.task_token, step(2))


async def test_on_a_stream_what_happens_meanwhile_is_pushed(work, flows):
    work.hello()
    await flows.start()
    task = await work.workflow_task()
    answer = await work.report(1, task, workflow_task_completed=keeping(schedule_activity()))
    assert kinds(answer.kept) == [(2, "activity_scheduled")]
    await flows.signal()
    pushed = await work.next("kept_tasks")
    assert (kinds(pushed), pushed.run_id) == ([(3, "signal_received")], task.run_id)
    activity = await work.activity_task()
    await work.report(2, activity, activity_completed={"result": json_payload("1")})
    pushed = await work.next("kept_tasks")
    assert kinds(pushed) == [(4, "activity_completed")]
    answer = await work.report(3, pushed, workflow_task_completed=keeping(step(1)))
    assert kinds(answer.kept) == [(5, "step_completed")]
    done = {"commands": [complete_workflow("9")]}
    assert not (await work.report(4, answer.kept, workflow_task_completed=done)).reason
    status = (await flows.get()).workflow.status
    assert status == WorkflowStatus.WORKFLOW_STATUS_COMPLETED


async def test_a_stream_is_told_that_the_run_was_closed(work, flows):
    work.hello()
    await flows.start()
    task = await work.workflow_task()
    await work.report(1, task, workflow_task_completed=keeping(step(1)))
    await flows.terminate()
    notice = await work.next("cancels")
    assert (notice.task_token, notice.reason) == (task.task_token, "WORKFLOW_CLOSED")


async def test_a_worker_of_one_way_keeps_its_task_too(flows):
    await flows.start()
    request = pb.StreamTasksRequest(
        worker_id="me", task_queue=QUEUE, workflow_types=["checkout"], slots={"workflow_tasks": 1}
    )
    async with aclosing(flows.stream("WorkerService/StreamTasks", request)) as batches:
        await anext(batches)
        (task,) = (await anext(batches)).workflow_tasks
        report = pb.TaskReport(
            report_id=1,
            task_token=task.task_token,
            workflow_task_completed=keeping(step(1)),
        )
        request = pb.ReportRequest(worker_id="me", reports=[report])
        answer = await flows.call("WorkerService/Report", request)
        assert kinds(answer.results[0].kept) == [(2, "step_completed")]
