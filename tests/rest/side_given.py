"""What stands before a case is tried, made by native calls; each returns the names it learnt."""

from __future__ import annotations

from contextlib import aclosing

from perdure.v1 import admin_service_pb2 as admin
from perdure.v1 import interaction_pb2 as interaction
from perdure.v1 import namespace_service_pb2 as namespaces
from perdure.v1 import schedule_service_pb2 as schedules
from perdure.v1 import watch_service_pb2 as watch
from perdure.v1 import worker_service_pb2 as worker
from perdure.v1.command_pb2 import Command
from perdure.v1.payload_pb2 import Payload
from tests.api.flows import QUEUE, complete_workflow, json_payload, schedule_activity, wait_for


async def nothing(flows):
    return {}


async def started(flows):
    """An open run whose code has never run."""
    await flows.start(request_id="r-1", input=json_payload('{"z":1,"a":12345678901234567890.5}'))
    return {}


async def ordered(flows):
    await flows.start("o", workflow_type="order", task_queue="", request_id="r-1")
    return {}


async def three_started(flows):
    for workflow_id in ("a", "b", "c"):
        await flows.start(workflow_id)
    await flows.terminate("b")
    return {}


async def attributed(flows):
    """Runs of two teams; one has a memo, another has none of all that."""
    for number, team in enumerate(("a", "a", "b"), 1):
        found_by = {"team": {"keyword": team}, "amount": {"int": number}}
        fields = {"search_attributes": {"values": found_by}, "memo": json_payload("[1]")}
        await flows.start(f"{team}-{number}", **fields)
    await flows.start("c")
    return {}


async def published(flows):
    """An open run that has published its state."""
    await started(flows)
    state = json_payload('{"z": 1.50, "a":[12345678901234567890.5, null], "n":null}')
    snapshot = Command(record_snapshot={"state": state})
    await flows.complete_workflow_task(await flows.poll_workflow_task(), snapshot)
    return {}


async def answered(flows):
    """A run that has answered one update and refused another."""
    await running(flows)
    for name in ("add", "take"):
        asked = interaction.UpdateWorkflowRequest(
            workflow_id="w",
            update_name=name,
            request_id=f"u-{name}",
            input=Payload(data=b"[1,2.50]", encoding="json/plain"),
            wait={},
        )
        await flows.call("WorkflowService/UpdateWorkflow", asked)
    result = json_payload('{"z":1.50,"a":12345678901234567890.5}')
    answers = (
        Command(complete_update={"requested_seq": 3, "result": result}),
        Command(reject_update={"requested_seq": 4, "failure": {"message": "no", "type": "Full"}}),
    )
    await flows.complete_workflow_task(await flows.poll_workflow_task(), *answers)
    return {}


async def leased(flows):
    """A run whose workflow task a worker `me` holds."""
    await started(flows)
    task = await flows.poll_workflow_task()
    return {"token": task.task_token}


async def running(flows):
    """A run that waits for a signal."""
    await started(flows)
    await flows.complete_workflow_task(await flows.poll_workflow_task(), wait_for("go"))
    return {}


async def signalled(flows):
    await running(flows)
    await flows.signal(payload=json_payload('"a"'))
    await flows.signal(signal_name="later")
    return {}


async def parent(flows):
    """A run that has started two children."""
    await started(flows)
    commands = [
        Command(start_child_workflow={"seq": seq, "workflow_id": name, "workflow_type": "refund"})
        for seq, name in ((1, "c"), (2, "d"))
    ]
    await flows.complete_workflow_task(await flows.poll_workflow_task(), *commands)
    return {}


async def paused(flows):
    await scheduled(flows)
    await flows.pause(reason="look")
    return {}


async def scheduled(flows):
    """A run with an activity that nobody has taken."""
    await started(flows)
    task = await flows.poll_workflow_task()
    await flows.complete_workflow_task(task, schedule_activity())
    return {}


async def failed_by_activity(flows):
    """A run that failed after its activity had."""
    await started(flows)
    task = await flows.poll_workflow_task()
    await flows.complete_workflow_task(task, schedule_activity(retry_policy={"max_attempts": 1}))
    await flows.fail_activity(await flows.poll_activity_task(), message="no")
    command = Command(fail_workflow={"failure": {"message": "no"}})
    await flows.complete_workflow_task(await flows.poll_workflow_task(), command)
    return {}


async def working(flows):
    """A run with an activity that a worker holds."""
    await scheduled(flows)
    task = await flows.poll_activity_task()
    return {"token": task.task_token}


async def beaten(flows):
    """The same, after a heartbeat."""
    task = await flows.activity(heartbeat_timeout={"seconds": 60})
    await flows.heartbeat_activity(task, details=json_payload("[50]"))
    return {"token": task.task_token}


async def cancelling(flows):
    """The same, of a run that was asked to end and has passed that on."""
    task = await flows.activity()
    await flows.cancel()
    cancel = {"cancel_activity": {"seq": 1}}
    await flows.complete_workflow_task(await flows.poll_workflow_task(), cancel)
    return {"token": task.task_token}


async def worked(flows):
    """A run whose activity has ended."""
    task = await flows.activity()
    await flows.complete_activity(task, '{"id":"r-1"}')
    return {"token": task.task_token}


async def failed(flows):
    """A run whose activity has failed."""
    task = await flows.activity()
    await flows.fail_activity(task, message="no", non_retryable=True)
    return {"token": task.task_token}


async def completed(flows):
    await started(flows)
    task = await flows.poll_workflow_task()
    await flows.complete_workflow_task(task, complete_workflow("[1,2.50]"))
    return {}


async def terminated(flows):
    await started(flows)
    await flows.terminate(reason="over")
    return {}


async def outside(flows):
    """A run with an activity that was scheduled from outside its code."""
    await started(flows)
    activity = await flows.schedule_outside(seq=7, input=json_payload("[1]"))
    return {"activity": activity.activity_id}


async def registered(flows):
    request = worker.RegisterRequest(
        identity="me", task_queue=QUEUE, workflow_types=["checkout"], slots={"activity_tasks": 3}
    )
    answer = await flows.call("WorkerService/Register", request)
    return {"worker": answer.worker_id}


async def busy(flows):
    """Two queues, one of them with a worker."""
    await registered(flows)
    await working(flows)
    await flows.start("v", task_queue="other")
    return {}


async def created(flows):
    """The namespace of the case, still empty."""
    request = namespaces.CreateNamespaceRequest(name=flows.namespace)
    await flows.call("NamespaceService/CreateNamespace", request)
    return {}


async def keyed(flows):
    answer = await flows.call("AdminService/CreateApiKey", admin.CreateApiKeyRequest(label="ci"))
    return {"key": answer.prefix}


async def watched(flows):
    """A cursor behind which lie the events of one run."""
    stream = flows.stream("WatchService/Watch", watch.WatchRequest())
    async with aclosing(stream):
        cursor = (await anext(stream)).cursor
    await completed(flows)
    return {"cursor": cursor}


async def finish(flows):
    """Completes the run, whose workflow task is waiting."""
    await flows.complete_workflow_task(await flows.poll_workflow_task(), complete_workflow())


async def outside_again(flows):
    await flows.schedule_outside(seq=7)


async def nightly(flows):
    """A schedule that starts a workflow each night."""
    spec = {"workflow_type": "report", "cron_expr": "30 3 * * *", "input": json_payload("[1]")}
    request = schedules.CreateScheduleRequest(name="nightly", spec=spec)
    await flows.call("ScheduleService/CreateSchedule", request)
    return {}


async def paused_nightly(flows):
    """The same, paused."""
    await nightly(flows)
    request = schedules.PauseScheduleRequest(name="nightly", note="holidays")
    await flows.call("ScheduleService/PauseSchedule", request)
    return {}


async def busy_nightly(flows):
    """The same, with a workflow that is open."""
    await nightly(flows)
    request = schedules.TriggerScheduleRequest(name="nightly")
    await flows.call("ScheduleService/TriggerSchedule", request)
    return {}
