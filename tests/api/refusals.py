"""How each documented error of each RPC is provoked: one row for each pair.

A new RPC needs its smallest request in `SMALLEST`, its name in the lists of the errors that it
shares with others, and a function for each of its own.
"""

from __future__ import annotations

import asyncio
import base64
from functools import partial

from google.protobuf.message_factory import GetMessageClass

from perdure_server.core.limits import PAYLOAD_BYTES_MAX, START_BATCH_MAX, UPDATES_OPEN_MAX
from tests.api.calls import METHODS
from tests.api.flows import QUEUE, schedule_activity
from tests.core import life

W = {"workflow_id": "w"}
START = {"workflow_id": "w", "workflow_type": "checkout", "task_queue": QUEUE}
ACTIVITY = W | {"activity_seq": 1}
CODE = {"workflow_type": "report", "cron_expr": "0 0 * * *"}
DAY = 86_400

SMALLEST = {
    "AdminService/ListQueues": {},
    "AdminService/ListApiKeys": {},
    "AdminService/DeleteApiKey": {"prefix": "perdure_none"},
    "NamespaceService/CreateNamespace": {"name": "n"},
    "NamespaceService/UpdateNamespace": {"name": "n", "retention": {"seconds": 5}},
    "NamespaceService/ListNamespaces": {},
    "NamespaceService/GetNamespace": {"name": "n"},
    "NamespaceService/DeleteNamespace": {"name": "n"},
    "ScheduleService/CreateSchedule": {"name": "s", "spec": CODE},
    "ScheduleService/UpdateSchedule": {"name": "s", "spec": {"priority": 2}},
    "ScheduleService/ListSchedules": {},
    "ScheduleService/BackfillSchedule": {
        "name": "s",
        "start_at": {"seconds": 0},
        "end_at": {"seconds": 2 * DAY},
    },
    **{
        f"ScheduleService/{verb}Schedule": {"name": "s"}
        for verb in ("Get", "Delete", "Pause", "Resume", "Trigger", "Preview")
    },
    "WorkflowService/StartWorkflow": START,
    "WorkflowService/ExecuteWorkflow": {"start": START, "wait": {}},
    "WorkflowService/SignalWithStart": {"start": START, "signal_name": "go"},
    "WorkflowService/UpdateWithStart": {"start": START, "update_name": "add", "wait": {}},
    "WorkflowService/ListWorkflows": {},
    "WorkflowService/CountWorkflows": {},
    "WorkflowService/GetSnapshotValue": W | {"name": "cart"},
    "WorkflowService/SignalWorkflow": W | {"signal_name": "go"},
    "WorkflowService/UpdateWorkflow": W | {"update_name": "add", "wait": {}},
    "WorkflowService/QueryWorkflow": W | {"query_name": "size", "wait": {}},
    "WorkflowService/StartWorkflowBatch": {"starts": []},
    "WorkflowService/ResetWorkflow": W | {"event_seq": 1},
    "WorkflowService/RetryFailedActivity": W | {"reason": "why", "requested_by": "ann"},
    "WorkflowService/ScheduleActivity": W | {"seq": 1, "name": "audit"},
    "WorkflowService/UpdateActivityOptions": ACTIVITY | {"priority": 2},
    **{f"WorkflowService/{verb}Activity": ACTIVITY for verb in ("Pause", "Unpause", "Reset")},
    "WorkflowService/GetActivity": {},
    "WatchService/WatchWorkflow": W,
    "WorkerService/GetWorkflowTaskHistory": {"page_token": "1"},
    "WorkerService/CompleteWorkflowTask": {"worker_id": "me"},
    "WorkerService/FailActivity": {"failure": {"message": "no"}},
    "WorkerService/Heartbeat": {"worker_id": "nobody"},
}
"""The fields without which a request is malformed; those of `W` for the others about a workflow."""

ROWS = {}
"""What provokes an error, by RPC and reason."""


class Doors:
    """Asks RPCs by name, with the smallest request and what a row adds."""

    def __init__(self, flows):
        self.flows = flows

    async def ask(self, rpc, **fields):
        method = METHODS[rpc]
        request = GetMessageClass(method.input_type)(**smallest(rpc) | fields)
        if not method.server_streaming:
            return await self.flows.call(rpc, request)
        async for answer in self.flows.stream(rpc, request):
            last = answer
        return last

    async def prepare(self, rpc):
        """Makes what the smallest request is about."""
        if rpc in _OWN_SUBJECT:
            return
        if rpc.startswith("ScheduleService"):
            await self.ask("ScheduleService/CreateSchedule")
        elif rpc == "WorkflowService/RetryFailedActivity":
            await self.failed()
        elif smallest(rpc).get("activity_seq"):
            await self.flows.activity()
        else:
            await self.flows.start()

    async def failed(self):
        """A run fails after one of its activities has."""
        task = await self.flows.activity(retry_policy={"max_attempts": 1})
        await self.flows.fail_activity(task, message="no")
        task = await self.flows.poll_workflow_task()
        await self.flows.complete_workflow_task(task, life.fail())

    async def task(self, rpc):
        """Returns a task that a worker has and the RPC is about."""
        if "Workflow" in rpc:
            await self.flows.start()
            return await self.flows.poll_workflow_task()
        return await self.flows.activity()


_OWN_SUBJECT = {
    "ScheduleService/CreateSchedule",
    "WorkflowService/StartWorkflow",
    "WorkflowService/ExecuteWorkflow",
    "WorkflowService/SignalWithStart",
    "WorkflowService/UpdateWithStart",
}
"""They need nothing that stands."""


def smallest(rpc):
    return SMALLEST.get(rpc, W if rpc.startswith("WorkflowService") else {})


def rows(reason, *rpcs):
    """Adds the function below as what provokes an error at each of the RPCs."""

    def add(provoke):
        for rpc in rpcs:
            assert (rpc, reason) not in ROWS
            ROWS[rpc, reason] = partial(provoke, rpc=rpc)
        return provoke

    return add


def all_of(service, *names):
    return [f"{service}/{name}" for name in names]


workflow = partial(all_of, "WorkflowService")
schedule = partial(all_of, "ScheduleService")
worker = partial(all_of, "WorkerService")
OF_ACTIVITIES = workflow(
    "PauseActivity", "UnpauseActivity", "ResetActivity", "UpdateActivityOptions"
)
OF_OPEN_RUNS = [
    *workflow("SignalWorkflow", "UpdateWorkflow", "PauseWorkflow", "UnpauseWorkflow"),
    *workflow("ContinueAsNew", "ScheduleActivity"),
    *OF_ACTIVITIES,
]
OF_WORKFLOWS = [
    *workflow("GetWorkflow", "GetWorkflowResult", "ListChildren", "GetWorkflowHistory"),
    *workflow("GetSnapshot", "GetSnapshotValue", "ExplainWorkflow", "CancelWorkflow"),
    *workflow("TerminateWorkflow", "ResetWorkflow", "RetryFailedActivity", "QueryWorkflow"),
    *OF_OPEN_RUNS,
    "WatchService/WatchWorkflow",
]
THAT_START = workflow("StartWorkflow", "ExecuteWorkflow", "SignalWithStart", "UpdateWithStart")
OF_SCHEDULES = schedule("GetSchedule", "UpdateSchedule", "DeleteSchedule", "PauseSchedule")
OF_SCHEDULES += schedule("ResumeSchedule", "TriggerSchedule", "BackfillSchedule", "PreviewSchedule")


# Of what does not stand, or stands no longer.


@rows("WORKFLOW_NOT_FOUND", *OF_WORKFLOWS)
@rows("SCHEDULE_NOT_FOUND", *OF_SCHEDULES)
@rows("API_KEY_NOT_FOUND", "AdminService/DeleteApiKey")
@rows("NAMESPACE_NOT_FOUND", *all_of("NamespaceService", "UpdateNamespace", "GetNamespace"))
@rows("NAMESPACE_NOT_FOUND", "NamespaceService/DeleteNamespace")
@rows("WORKER_NOT_FOUND", "WorkerService/Heartbeat")
async def of_nothing(doors, rpc):
    await doors.ask(rpc)


@rows("WORKFLOW_CLOSED", *OF_OPEN_RUNS)
async def of_a_closed_run(doors, rpc):
    await doors.prepare(rpc)
    await doors.flows.terminate()
    await doors.ask(rpc)


@rows("NO_WORKER", "WorkflowService/QueryWorkflow")
@rows("WORKFLOW_NOT_FAILED", "WorkflowService/RetryFailedActivity")
@rows("SNAPSHOT_NOT_FOUND", *workflow("GetSnapshot", "GetSnapshotValue"))
@rows("ACTIVITY_NOT_FOUND", *OF_ACTIVITIES)
async def of_a_run_that_has_none(doors, rpc):
    await doors.flows.start()
    await doors.ask(rpc)


@rows("ACTIVITY_NOT_FOUND", "WorkflowService/GetActivity")
async def of_an_activity_that_is_not(doors, rpc):
    await doors.flows.start()
    activity = await doors.flows.schedule_outside()
    await doors.ask(rpc, activity_id=activity.activity_id.replace(activity.run_id, "other"))


@rows("STALE_TASK", *worker("GetWorkflowTaskHistory", "CompleteWorkflowTask", "FailWorkflowTask"))
@rows("STALE_TASK", *worker("CompleteActivity", "FailActivity", "HeartbeatActivity"))
async def of_a_task_of_a_closed_run(doors, rpc):
    task = await doors.task(rpc)
    await doors.flows.terminate()
    await doors.ask(rpc, task_token=task.task_token)


# Of what stands already.


@rows("WORKFLOW_ALREADY_EXISTS", *THAT_START)
async def of_a_workflow_that_was_started(doors, rpc):
    await doors.flows.start()
    start = START | {"conflict_policy": 1}
    await doors.ask(rpc, **({"start": start} if "start" in smallest(rpc) else start))


@rows("NAMESPACE_ALREADY_EXISTS", "NamespaceService/CreateNamespace")
@rows("SCHEDULE_ALREADY_EXISTS", "ScheduleService/CreateSchedule")
async def twice(doors, rpc):
    await doors.ask(rpc)
    await doors.ask(rpc)


@rows("NAMESPACE_IN_USE", "NamespaceService/DeleteNamespace")
async def of_a_namespace_with_a_run(doors, rpc):
    await doors.flows.start(namespace="n")
    await doors.ask(rpc)


ANOTHER = {
    "ScheduleService/CreateSchedule": {"note": "other"},
    "ScheduleService/UpdateSchedule": {"spec": {"priority": 3}},
    "ScheduleService/BackfillSchedule": {"end_at": {"seconds": 3 * DAY}},
    "ScheduleService/TriggerSchedule": {"overlap_policy": 2},
    "ScheduleService/PauseSchedule": {"note": "other"},
    "ScheduleService/ResumeSchedule": {"note": "other"},
    "WorkflowService/StartWorkflow": {"priority": 2},
    "WorkflowService/SignalWorkflow": {"signal_name": "stop"},
    "WorkflowService/SignalWithStart": {"signal_name": "stop"},
    "WorkflowService/UpdateWorkflow": {"update_name": "remove"},
    "WorkflowService/UpdateWithStart": {"update_name": "remove"},
    "WorkflowService/ContinueAsNew": {"workflow_type": "other"},
    "WorkflowService/ScheduleActivity": {"seq": 2},
}
"""What makes it another request; a reason does for those that have one."""


@rows("REQUEST_ID_REUSED", *schedule("CreateSchedule", "UpdateSchedule", "TriggerSchedule"))
@rows("REQUEST_ID_REUSED", *schedule("PauseSchedule", "ResumeSchedule", "BackfillSchedule"))
@rows("REQUEST_ID_REUSED", "WorkflowService/StartWorkflow", *OF_OPEN_RUNS)
@rows("REQUEST_ID_REUSED", *workflow("ResetWorkflow", "RetryFailedActivity"))
@rows("REQUEST_ID_REUSED", *workflow("CancelWorkflow", "TerminateWorkflow"))
async def under_a_known_request_id(doors, rpc):
    await doors.prepare(rpc)
    await doors.ask(rpc, request_id="r")
    await doors.ask(rpc, request_id="r", **ANOTHER.get(rpc, {"reason": "other"}))


@rows("REQUEST_ID_REUSED", *workflow("ExecuteWorkflow", "SignalWithStart", "UpdateWithStart"))
async def under_a_known_request_id_of_its_start(doors, rpc):
    start = START | {"request_id": "r"}
    await doors.ask(rpc, start=start)
    await doors.ask(rpc, start=start | {"priority": 2})


# Of something that is too large.

LARGE = {"data": b"1" * (PAYLOAD_BYTES_MAX + 1)}
FIELDS = {
    "WorkflowService/SignalWorkflow": "payload",
    "WorkflowService/SignalWithStart": "payload",
    "WorkerService/CompleteActivity": "result",
    "WorkerService/HeartbeatActivity": "details",
}


@rows("PAYLOAD_TOO_LARGE", *workflow("StartWorkflow", "SignalWorkflow", "SignalWithStart"))
@rows("PAYLOAD_TOO_LARGE", *workflow("UpdateWorkflow", "UpdateWithStart", "ContinueAsNew"))
@rows("PAYLOAD_TOO_LARGE", *workflow("ScheduleActivity", "QueryWorkflow"))
async def with_a_large_payload(doors, rpc):
    await doors.prepare(rpc)
    await doors.ask(rpc, **{FIELDS.get(rpc, "input"): LARGE})


@rows("PAYLOAD_TOO_LARGE", "WorkflowService/ExecuteWorkflow")
async def with_a_large_payload_of_its_start(doors, rpc):
    await doors.ask(rpc, start=START | {"input": LARGE})


@rows("PAYLOAD_TOO_LARGE", *schedule("CreateSchedule", "UpdateSchedule"))
async def with_a_large_payload_of_its_spec(doors, rpc):
    await doors.prepare(rpc)
    await doors.ask(rpc, spec=smallest(rpc)["spec"] | {"input": LARGE})


@rows("PAYLOAD_TOO_LARGE", *worker("CompleteActivity", "HeartbeatActivity"))
async def with_a_large_payload_of_its_task(doors, rpc):
    task = await doors.task(rpc)
    await doors.ask(rpc, task_token=task.task_token, **{FIELDS[rpc]: LARGE})


@rows("LIMIT_EXCEEDED", *worker("FailActivity", "FailWorkflowTask"))
async def with_a_large_failure(doors, rpc):
    task = await doors.task(rpc)
    await doors.ask(rpc, task_token=task.task_token, failure={"message": "a" * 70_000})


@rows("LIMIT_EXCEEDED", "WorkflowService/ScheduleActivity")
async def with_a_large_number(doors, rpc):
    await doors.flows.start()
    await doors.ask(rpc, seq=2**53)


@rows("LIMIT_EXCEEDED", *workflow("UpdateWorkflow", "UpdateWithStart"))
async def beside_many_updates(doors, rpc):
    await doors.flows.start()
    update = partial(doors.ask, "WorkflowService/UpdateWorkflow")
    await asyncio.gather(*(update() for _ in range(UPDATES_OPEN_MAX)))
    await doors.ask(rpc)


@rows("LIMIT_EXCEEDED", "WorkflowService/StartWorkflowBatch")
async def of_many_starts(doors, rpc):
    await doors.ask(rpc, starts=[START] * (START_BATCH_MAX + 1))


@rows("LIMIT_EXCEEDED", "ScheduleService/BackfillSchedule")
async def of_many_due_times(doors, rpc):
    await doors.prepare(rpc)
    await doors.ask(rpc, end_at={"seconds": 1_002 * DAY})


@rows("LIMIT_EXCEEDED", "ScheduleService/TriggerSchedule")
async def beside_many_starts_that_wait(doors, rpc):
    await doors.ask("ScheduleService/CreateSchedule", spec=CODE | {"overlap_policy": 3})
    for days in (0, 900):
        span = {"start_at": {"seconds": days * DAY}, "end_at": {"seconds": (days + 899) * DAY}}
        await doors.ask("ScheduleService/BackfillSchedule", **span)
    await doors.ask(rpc)


# Of something that is malformed in its own way.


@rows("INVALID_PAGE_TOKEN", *all_of("AdminService", "ListQueues", "ListApiKeys"))
@rows("INVALID_PAGE_TOKEN", *all_of("NamespaceService", "ListNamespaces"))
@rows("INVALID_PAGE_TOKEN", *schedule("ListSchedules"), *worker("ListWorkers"))
@rows("INVALID_PAGE_TOKEN", *workflow("ListWorkflows", "ListChildren", "GetWorkflowHistory"))
async def with_a_page_token_of_nobody(doors, rpc):
    await doors.flows.start()
    await doors.ask(rpc, page_token="nonsense")


@rows("INVALID_PAGE_TOKEN", "WorkerService/GetWorkflowTaskHistory")
async def with_a_task_and_a_page_token_of_nobody(doors, rpc):
    task = await doors.task(rpc)
    await doors.ask(rpc, task_token=task.task_token, page_token="nonsense")


@rows("INVALID_TASK_TOKEN", *worker("CompleteWorkflowTask", "FailWorkflowTask"))
@rows("INVALID_TASK_TOKEN", *worker("GetWorkflowTaskHistory", "HeartbeatActivity"))
@rows("INVALID_TASK_TOKEN", *worker("CompleteActivity", "FailActivity"))
async def with_a_task_token_of_nobody(doors, rpc):
    await doors.ask(rpc, task_token="nonsense")


@rows("INVALID_TASK_TOKEN", "WorkflowService/GetActivity")
async def with_an_activity_id_of_nobody(doors, rpc):
    await doors.ask(rpc, activity_id="nonsense")


@rows("INVALID_COMMAND", "WorkerService/CompleteWorkflowTask")
async def with_a_number_left_out(doors, rpc):
    task = await doors.task(rpc)
    await doors.ask(rpc, task_token=task.task_token, commands=[schedule_activity(seq=2)])


@rows("INVALID_FILTER", *workflow("ListWorkflows", "CountWorkflows"))
async def with_half_a_filter(doors, rpc):
    await doors.ask(rpc, filter="status =")


@rows("INVALID_SCHEDULE", *schedule("CreateSchedule", "UpdateSchedule"))
async def with_an_hour_that_is_none(doors, rpc):
    await doors.prepare(rpc)
    await doors.ask(rpc, spec=smallest(rpc)["spec"] | {"cron_expr": "0 25 * * *"})


@rows("INVALID_REQUEST", "WorkflowService/ResetWorkflow")
async def to_an_event_that_is_not(doors, rpc):
    await doors.flows.start()
    await doors.ask(rpc, event_seq=2)


@rows("INVALID_REQUEST", *OF_ACTIVITIES)
async def of_the_activity_zero(doors, rpc):
    await doors.flows.activity()
    await doors.ask(rpc, activity_seq=0)


@rows("INVALID_CURSOR", "WatchService/Watch", "WatchService/WatchWorkflow")
async def after_a_cursor_of_nobody(doors, rpc):
    await doors.flows.start()
    await doors.ask(rpc, after="nonsense")


@rows("CURSOR_EXPIRED", "WatchService/Watch")
async def after_a_cursor_of_another_epoch(doors, rpc):
    cursor = base64.urlsafe_b64encode(b"1.999.1.0").decode().rstrip("=")
    await doors.ask(rpc, after=cursor)


# Of what the code says, or does not.


@rows("UPDATE_REJECTED", "WorkflowService/UpdateWorkflow", "WorkflowService/UpdateWithStart")
async def that_the_code_refuses(doors, rpc):
    again = await _an_update(doors, rpc)
    task = await doors.flows.poll_workflow_task()
    await doors.flows.complete_workflow_task(task, life.reject_update(2))
    await again()


@rows("RUN_CLOSED", "WorkflowService/UpdateWorkflow", "WorkflowService/UpdateWithStart")
async def that_the_code_does_not_answer(doors, rpc):
    again = await _an_update(doors, rpc)
    await doors.flows.terminate()
    await again()


async def _an_update(doors, rpc):
    """Asks without waiting; returns how to ask the same again."""
    await doors.prepare(rpc)
    asked = {"request_id": "r"}
    if "start" in smallest(rpc):
        asked = {"start": START | asked}
    await doors.ask(rpc, **asked)
    return partial(doors.ask, rpc, **asked)


@rows("SNAPSHOT_NOT_FOUND", "WorkflowService/QueryWorkflow")
async def of_a_snapshot_that_is_not(doors, rpc):
    await doors.flows.start()
    await doors.ask(rpc, mode="QUERY_MODE_SNAPSHOT", wait=None)


@rows("CANNOT_RESET", "WorkflowService/ResetWorkflow")
async def beside_a_later_run_that_is_open(doors, rpc):
    first = await doors.flows.start()
    await doors.flows.terminate()
    await doors.flows.start(reuse_policy=2)
    await doors.ask(rpc, run_id=first.run_id)


@rows("CANNOT_RESET", "WorkflowService/RetryFailedActivity")
async def of_a_failed_run_beside_a_later_one(doors, rpc):
    await doors.failed()
    (first,) = (await doors.ask("WorkflowService/ListWorkflows")).workflows
    await doors.flows.start(reuse_policy=2)
    await doors.ask(rpc, run_id=first.run_id)
