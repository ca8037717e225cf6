"""The streams of workers: Work and StreamTasks."""

from __future__ import annotations

from contextlib import aclosing

import pytest

from perdure.v1 import worker_service_pb2 as pb
from perdure.v1.workflow_pb2 import WorkflowStatus
from tests.api.flows import QUEUE, complete_workflow, json_payload, refused, schedule_activity
from tests.api.streams import WorkStream


@pytest.fixture
async def work(caller):
    stream = WorkStream(caller)
    yield stream
    await stream.close()


async def test_welcome_answers_hello(work):
    work.hello()
    welcome = await work.next("welcome")
    assert welcome.server_id
    assert not welcome.lost_task_tokens


async def test_a_worker_runs_a_workflow(work, flows):
    work.hello()
    await flows.start(input=json_payload("[1]"))
    task = await work.workflow_task()
    assert (task.workflow_id, task.previous_seq) == ("w", 0)
    commands = {"commands": [schedule_activity()]}
    assert not (await work.report(1, task, workflow_task_completed=commands)).reason
    activity = await work.activity_task()
    result = {"result": json_payload("42")}
    assert not (await work.report(2, activity, activity_completed=result)).reason
    task = await work.workflow_task()
    assert task.history.events[-1].activity_completed.result.data == b"42"
    commands = {"commands": [complete_workflow("43")]}
    assert not (await work.report(3, task, workflow_task_completed=commands)).reason
    assert (await flows.result()).result.data == b"43"


async def test_a_cached_run_gets_only_new_events(work, flows):
    work.hello()
    await flows.start()
    task = await work.workflow_task()
    await work.report(1, task, workflow_task_completed={})
    await flows.signal()
    task = await work.workflow_task()
    assert task.previous_seq == 1
    assert [event.seq for event in task.history.events] == [2]
    miss = await work.report(2, task, workflow_task_cache_miss={})
    assert not miss.reason
    task = await work.workflow_task()
    assert task.previous_seq == 0
    assert [event.seq for event in task.history.events] == [1, 2]


async def test_an_evicted_run_gets_its_whole_history(work, flows):
    work.hello()
    started = await flows.start()
    await work.report(1, await work.workflow_task(), workflow_task_completed={})
    work.send(pb.WorkRequest(evicted_run_ids=[started.run_id], ping=1))
    await work.next("pong")
    await flows.signal()
    assert (await work.workflow_task()).previous_seq == 0


async def test_a_ping_is_answered(work):
    work.hello()
    work.send(pb.WorkRequest(ping=7))
    assert await work.next("pong") == 7


async def test_no_more_tasks_than_slots(work, flows):
    work.hello(slots={"workflow_tasks": 1})
    await flows.start("a")
    await flows.start("b")
    first = await work.workflow_task()
    assert (await flows.get("b")).pending_workflow_task.worker_identity == ""
    await work.report(1, first, workflow_task_completed={})
    assert (await work.workflow_task()).workflow_id == "b"


async def test_a_refused_report_changes_nothing(work, flows):
    work.hello()
    await flows.start()
    task = await work.workflow_task()
    await flows.terminate()
    result = await work.report(1, task, workflow_task_completed={"commands": [complete_workflow()]})
    assert result.reason == "STALE_TASK"
    assert result.message
    status = (await flows.get()).workflow.status
    assert status == WorkflowStatus.WORKFLOW_STATUS_TERMINATED


async def test_cancellation_reaches_a_running_activity(work, flows):
    work.hello()
    await flows.start()
    commands = {"commands": [schedule_activity()]}
    await work.report(1, await work.workflow_task(), workflow_task_completed=commands)
    activity = await work.activity_task()
    await flows.terminate()
    notice = await work.next("cancels")
    assert (notice.task_token, notice.reason) == (activity.task_token, "WORKFLOW_CLOSED")


async def test_a_session_that_comes_back_keeps_its_leases(work, caller, flows):
    work.hello()
    await flows.start()
    task = await work.workflow_task()
    await work.close()
    again = WorkStream(caller)
    again.hello(held_task_tokens=[task.task_token, "nonsense"])
    welcome = await again.next("welcome")
    assert welcome.lost_task_tokens == ["nonsense"]
    result = await again.report(1, task, workflow_task_completed={})
    assert not result.reason
    await again.close()


async def test_a_newer_stream_replaces_the_older(work, caller):
    work.hello()
    await work.next("welcome")
    newer = WorkStream(caller)
    newer.hello()
    await newer.next("welcome")
    async with refused("FAILED_PRECONDITION", "SESSION_REPLACED"):
        await work.rest()
    await newer.close()


async def test_the_first_message_must_be_hello(work):
    work.send(pb.WorkRequest(ping=1))
    async with refused("INVALID_ARGUMENT", "INVALID_REQUEST", "hello"):
        await work.read()


async def test_a_bad_hello_is_refused_by_field(work):
    work.hello(session_id="")
    async with refused("INVALID_ARGUMENT", "INVALID_REQUEST", "session_id"):
        await work.read()


async def test_a_draining_worker_gets_no_more(work, flows):
    work.hello()
    work.send(pb.WorkRequest(draining=True, ping=1))
    await work.next("pong")
    await flows.start()
    assert (await flows.poll_workflow_task("other")).workflow_id == "w"


async def test_a_stream_of_tasks_feeds_a_worker_that_reports(flows):
    await flows.start()
    request = pb.StreamTasksRequest(
        worker_id="me",
        task_queue=QUEUE,
        workflow_types=["checkout"],
        slots={"workflow_tasks": 1},
    )
    async with aclosing(flows.stream("WorkerService/StreamTasks", request)) as batches:
        assert await anext(batches) == pb.StreamTasksResponse()
        batch = await anext(batches)
        assert batch.batch == 1
        (task,) = batch.workflow_tasks
        report = pb.TaskReport(
            report_id=1,
            task_token=task.task_token,
            workflow_task_completed={"commands": [complete_workflow()]},
        )
        request = pb.ReportRequest(worker_id="me", reports=[report])
        answer = await flows.call("WorkerService/Report", request)
        assert not answer.results[0].reason
    assert (await flows.result()).HasField("result")


async def test_a_stream_of_tasks_keeps_what_was_received(flows):
    request = pb.StreamTasksRequest(worker_id="me", task_queue=QUEUE)
    async with aclosing(flows.stream("WorkerService/StreamTasks", request)) as batches:
        await anext(batches)
        await flows.start()
        batch = await anext(batches)
    request.received_batch = batch.batch
    async with aclosing(flows.stream("WorkerService/StreamTasks", request)) as batches:
        assert await anext(batches) == pb.StreamTasksResponse(batch=batch.batch)
        await flows.complete_workflow_task(batch.workflow_tasks[0], complete_workflow())
        await flows.start("next")
        following = await anext(batches)
    assert [task.workflow_id for task in following.workflow_tasks] == ["next"]
    assert following.batch == batch.batch + 1


async def test_a_stream_of_tasks_refuses_a_batch_out_of_range(flows):
    request = pb.StreamTasksRequest(worker_id="me", task_queue=QUEUE, received_batch=2**60)
    async with refused("INVALID_ARGUMENT", "LIMIT_EXCEEDED", "received_batch"):
        async for _ in flows.stream("WorkerService/StreamTasks", request):
            pass


async def test_a_stream_of_tasks_needs_queue_and_worker(flows):
    async with refused("INVALID_ARGUMENT", "INVALID_REQUEST", "worker_id"):
        async for _ in flows.stream("WorkerService/StreamTasks", pb.StreamTasksRequest()):
            pass
