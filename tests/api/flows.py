"""What tests do over and over: start a workflow, take its tasks, report."""

from __future__ import annotations

from contextlib import asynccontextmanager

import pytest

from perdure.v1 import worker_service_pb2 as worker
from perdure.v1 import workflow_service_pb2 as pb
from perdure.v1.command_pb2 import Command
from perdure.v1.payload_pb2 import Payload
from tests.api.calls import Refused

QUEUE = "shop"


def json_payload(text):
    return Payload(data=text.encode())


def complete_workflow(text="1"):
    return Command(complete_workflow={"result": json_payload(text)})


def schedule_activity(seq=1, name="charge", **options):
    return Command(
        schedule_activity={
            "seq": seq,
            "name": name,
            "input": json_payload("[1]"),
            "options": options,
        }
    )


def wait_for(name, seq=1):
    return Command(wait_for_signal={"seq": seq, "signal_name": name})


class Flows:
    """Calls with sensible requests; keyword arguments replace or add fields."""

    def __init__(self, caller):
        self.call = caller.call
        self.stream = caller.stream
        self.converse = caller.converse

    async def start(self, workflow_id="w", **fields):
        defaults = {"workflow_id": workflow_id, "workflow_type": "checkout", "task_queue": QUEUE}
        request = pb.StartWorkflowRequest(**(defaults | fields))
        return await self.call("WorkflowService/StartWorkflow", request)

    async def get(self, workflow_id="w", **fields):
        request = pb.GetWorkflowRequest(workflow_id=workflow_id, **fields)
        return await self.call("WorkflowService/GetWorkflow", request)

    async def terminate(self, workflow_id="w", **fields):
        request = pb.TerminateWorkflowRequest(workflow_id=workflow_id, **fields)
        return await self.call("WorkflowService/TerminateWorkflow", request)

    async def signal(self, workflow_id="w", signal_name="go", **fields):
        request = pb.SignalWorkflowRequest(
            workflow_id=workflow_id, signal_name=signal_name, **fields
        )
        return await self.call("WorkflowService/SignalWorkflow", request)

    async def cancel(self, workflow_id="w", **fields):
        request = pb.CancelWorkflowRequest(workflow_id=workflow_id, **fields)
        return await self.call("WorkflowService/CancelWorkflow", request)

    async def pause(self, workflow_id="w", **fields):
        request = pb.PauseWorkflowRequest(workflow_id=workflow_id, **fields)
        return await self.call("WorkflowService/PauseWorkflow", request)

    async def unpause(self, workflow_id="w", **fields):
        request = pb.UnpauseWorkflowRequest(workflow_id=workflow_id, **fields)
        return await self.call("WorkflowService/UnpauseWorkflow", request)

    async def continue_as_new(self, workflow_id="w", **fields):
        request = pb.ContinueAsNewRequest(workflow_id=workflow_id, **fields)
        return await self.call("WorkflowService/ContinueAsNew", request)

    async def result(self, workflow_id="w", **fields):
        request = pb.GetWorkflowResultRequest(workflow_id=workflow_id, **fields)
        return await self.call("WorkflowService/GetWorkflowResult", request)

    async def history(self, workflow_id="w", **fields):
        request = pb.GetWorkflowHistoryRequest(workflow_id=workflow_id, **fields)
        return await self.call("WorkflowService/GetWorkflowHistory", request)

    async def kinds(self, workflow_id="w"):
        answer = await self.history(workflow_id)
        return [event.WhichOneof("event") for event in answer.history.events]

    async def poll_workflow_task(self, worker_id="me", **fields):
        defaults = {"task_queue": QUEUE, "worker_id": worker_id, "wait": {"seconds": 30}}
        request = worker.PollWorkflowTaskRequest(**(defaults | fields))
        return (await self.call("WorkerService/PollWorkflowTask", request)).task

    async def poll_activity_task(self, worker_id="me", **fields):
        defaults = {"task_queue": QUEUE, "worker_id": worker_id, "wait": {"seconds": 30}}
        request = worker.PollActivityTaskRequest(**(defaults | fields))
        return (await self.call("WorkerService/PollActivityTask", request)).task

    async def complete_workflow_task(self, task, *commands):
        request = worker.CompleteWorkflowTaskRequest(task_token=task.task_token, commands=commands)
        return await self.call("WorkerService/CompleteWorkflowTask", request)

    async def complete_activity(self, task, text="1"):
        request = worker.CompleteActivityRequest(
            task_token=task.task_token, result=json_payload(text)
        )
        return await self.call("WorkerService/CompleteActivity", request)

    async def fail_activity(self, task, **failure):
        request = worker.FailActivityRequest(task_token=task.task_token, failure=failure)
        return await self.call("WorkerService/FailActivity", request)

    async def heartbeat_activity(self, task, **fields):
        request = worker.HeartbeatActivityRequest(task_token=task.task_token, **fields)
        return await self.call("WorkerService/HeartbeatActivity", request)

    async def schedule_outside(self, seq=1, workflow_id="w", **fields):
        defaults = {"workflow_id": workflow_id, "seq": seq, "name": "audit"}
        request = pb.ScheduleActivityRequest(**(defaults | fields))
        return (await self.call("WorkflowService/ScheduleActivity", request)).activity

    async def get_activity(self, activity_id):
        request = pb.GetActivityRequest(activity_id=activity_id)
        return (await self.call("WorkflowService/GetActivity", request)).activity

    async def activity(self, **options):
        """Starts a workflow that schedules one activity, and takes its task."""
        await self.start()
        task = await self.poll_workflow_task()
        await self.complete_workflow_task(task, schedule_activity(**options))
        return await self.poll_activity_task()


@asynccontextmanager
async def refused(code, reason, text=""):
    """Asserts that the call in the block is refused with a code and a reason."""
    with pytest.raises(Refused) as refusal:
        yield
    assert (refusal.value.code, refusal.value.reason) == (code, reason)
    assert text in refusal.value.text
