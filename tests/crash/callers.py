"""Callers of one workflow id, at once and over several servers, who note what they were told."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field, replace
from datetime import timedelta

import grpc
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status

from perdure.v1 import workflow_pb2
from perdure.v1.command_pb2 import Command, CompleteWorkflow, WaitForSignal
from perdure.v1.payload_pb2 import Payload
from perdure.v1.worker_service_pb2 import CompleteWorkflowTaskRequest, PollWorkflowTaskRequest
from perdure.v1.worker_service_pb2_grpc import WorkerServiceStub
from perdure.v1.workflow_service_pb2 import (
    CancelWorkflowRequest,
    GetWorkflowHistoryRequest,
    GetWorkflowRequest,
    GetWorkflowResultRequest,
    SignalWorkflowRequest,
    StartWorkflowRequest,
    TerminateWorkflowRequest,
)
from perdure.v1.workflow_service_pb2_grpc import WorkflowServiceStub
from perdure_server.core.token import TaskToken
from tests.support.linear import UNKNOWN, Operation
from tests.support.linear_workflow import Call

CALL_S = 20.0
"""How long a call may take; its outcome is unknown then."""
_LEASE_NS = 25 * 10**9
"""From when on a lease of a workflow task, which lasts 30 seconds, may have run out."""
_UNKNOWN = {
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.CANCELLED,
}
READS = ("get", "result", "history")
_DETAILS = "grpc-status-details-bin"
_WEIGHTS = {
    "start": 20,
    "signal": 24,
    "cancel": 8,
    "terminate": 4,
    "work": 18,
    "result": 9,
    "get": 13,
    "history": 4,
}
_CONFLICTS = ["FAIL", "USE_EXISTING", "USE_EXISTING", "TERMINATE_EXISTING"]
_REUSES = ["REJECT_DUPLICATE", "ALLOW_DUPLICATE", "ALLOW_DUPLICATE_FAILED_ONLY"]


class Door:
    """One server, as callers reach it. `is_open` says that it is not known to be down."""

    def __init__(self, address):
        quick = [("grpc.initial_reconnect_backoff_ms", 50), ("grpc.max_reconnect_backoff_ms", 200)]
        self.channel = grpc.aio.insecure_channel(address, quick)
        self.workflows = WorkflowServiceStub(self.channel)
        self.workers = WorkerServiceStub(self.channel)
        self.is_open = True


@dataclass(slots=True)
class Play:
    """Several callers of one workflow id, and the history of what they did."""

    workflow_id: str
    doors: list[Door]
    random: object
    history: list[Operation] = field(default_factory=list)
    run_ids: list[str] = field(default_factory=list)
    repeatable: list[Call] = field(default_factory=list)
    tokens: list[TaskToken] = field(default_factory=list)
    tags: int = 0
    began: int = field(default_factory=time.monotonic_ns)

    async def perform(self, *, callers, steps):
        """Lets the callers loose, then reads all that is to be read."""
        async with asyncio.TaskGroup() as group:
            for _ in range(callers):
                group.create_task(self._call(steps))
        for run_id in self.run_ids:
            await self._history(run_id)
        await self._get("")

    async def _call(self, steps):
        kinds, weights = list(_WEIGHTS), list(_WEIGHTS.values())
        for _ in range(steps):
            kind = self.random.choices(kinds, weights)[0]
            if kind == "work":
                await self._work()
            elif kind in ("result", "get", "history"):
                await getattr(self, f"_{kind}")(self._some_run())
            else:
                await self._change(kind)

    async def _change(self, kind):
        """Asks for something new, or for something that was asked for before."""
        again = [call for call in self.repeatable if call.kind == kind]
        if again and self.random.random() < 0.3:
            call = self.random.choice(again)
            if self.random.random() < 0.1:
                call = replace(call, tag=self._tag())
        else:
            call = Call(kind, tag=self._tag())
            if kind == "start":
                conflict, reuse = self.random.choice(_CONFLICTS), self.random.choice(_REUSES)
                call = replace(call, conflict=conflict, reuse=reuse)
            else:
                call = replace(call, run_id=self._some_run())
            if self.random.random() < 0.4:
                call = replace(call, request_id=f"request-{call.tag}")
                self.repeatable.append(call)
        await self._ask(call, getattr(self, f"_send_{kind}"))

    async def _send_start(self, door, call):
        request = StartWorkflowRequest(
            workflow_id=self.workflow_id,
            workflow_type="linear",
            task_queue=self.workflow_id,
            input=Payload(data=call.tag.encode()),
            request_id=call.request_id,
            conflict_policy=f"CONFLICT_POLICY_{call.conflict}",
            reuse_policy=f"REUSE_POLICY_{call.reuse}",
        )
        said = await door.workflows.StartWorkflow(request, timeout=CALL_S)
        self._note_run(said.run_id)
        return "started", said.run_id, _name(said.status), said.started

    async def _send_signal(self, door, call):
        request = SignalWorkflowRequest(signal_name=call.tag, **self._addressed(call))
        said = await door.workflows.SignalWorkflow(request, timeout=CALL_S)
        return "recorded", said.event_seq

    async def _send_cancel(self, door, call):
        request = CancelWorkflowRequest(reason=call.tag, **self._addressed(call))
        said = await door.workflows.CancelWorkflow(request, timeout=CALL_S)
        return "cancelling", _name(said.status)

    async def _send_terminate(self, door, call):
        request = TerminateWorkflowRequest(reason=call.tag, **self._addressed(call))
        await door.workflows.TerminateWorkflow(request, timeout=CALL_S)
        return ("terminated",)

    async def _get(self, run_id):
        async def send(door, _call):
            request = GetWorkflowRequest(workflow_id=self.workflow_id, run_id=run_id)
            run = (await door.workflows.GetWorkflow(request, timeout=CALL_S)).workflow
            self._note_run(run.run_id)
            result = run.result.data.decode()
            return "run", run.run_id, _name(run.status), run.history_length, result

        await self._ask(Call("get", run_id), send)

    async def _result(self, run_id):
        """An end is found in two looks: for the run, and when it has closed, perhaps long after."""
        wait = timedelta(seconds=self.random.choice([0, 0.05, 0.5]))

        async def send(door, _call):
            request = GetWorkflowResultRequest(
                workflow_id=self.workflow_id, run_id=run_id, wait=wait
            )
            said = await door.workflows.GetWorkflowResult(request, timeout=CALL_S)
            self._note_run(said.run_id)
            if not said.closed:
                return "open", said.run_id, _name(said.status)
            return "closed", said.run_id, _name(said.status), said.result.data.decode()

        await self._ask(Call("result", run_id), send, looks_twice=True)

    async def _history(self, run_id):
        async def send(door, _call):
            request = GetWorkflowHistoryRequest(workflow_id=self.workflow_id, run_id=run_id)
            said = await door.workflows.GetWorkflowHistory(request, timeout=CALL_S)
            self._note_run(said.run_id)
            return "history", said.run_id, tuple(map(_event, said.history.events))

        await self._ask(Call("history", run_id), send, looks_twice=True)

    async def _work(self):
        """Takes the workflow task, if there is one now, and reports on it or on an earlier one."""
        worker_id = f"{self.workflow_id}-{self._tag()}"
        request = PollWorkflowTaskRequest(task_queue=self.workflow_id, worker_id=worker_id)

        async def poll(door, _call):
            said = await door.workers.PollWorkflowTask(request, timeout=CALL_S)
            return TaskToken.decode(said.task.task_token) if said.HasField("task") else None

        token, invoked, returned = await self._observe(Call("lease"), poll)
        if token is UNKNOWN:
            self._note(Call("lease"), UNKNOWN, invoked, returned)
        elif token is not None:
            call = Call("lease", token.run_id, lease=token.lease)
            self._note(call, ("leased", token.run_id), invoked, returned)
            self.tokens.append(token)
        if self.tokens:
            await self._report(self.random.choice(self.tokens[-2:]))

    async def _report(self, token):
        tag = self.random.choice(["wait", "wait", "result"]) + f"-{self._tag()}"
        if tag.startswith("wait"):
            command = Command(wait_for_signal=WaitForSignal(signal_name=tag))
        else:
            result = Payload(data=tag.encode())
            command = Command(complete_workflow=CompleteWorkflow(result=result))
        request = CompleteWorkflowTaskRequest(
            task_token=token.encode(), worker_id="any", commands=[command]
        )

        async def send(door, _call):
            await door.workers.CompleteWorkflowTask(request, timeout=CALL_S)
            return ("accepted",)

        await self._ask(Call("complete", token.run_id, tag=tag, lease=token.lease), send)

    async def _ask(self, call, send, *, looks_twice=False):
        """Makes a call, and notes what came of it."""
        answer, invoked, returned = await self._observe(call, send)
        if answer is UNKNOWN and call.kind in READS:
            return
        if looks_twice and answer[0] in ("closed", "history"):
            self._note(replace(call, kind="find"), ("found", answer[1]), invoked, returned)
            after, call = len(self.history) - 1, replace(call, run_id=answer[1])
            self._note(call, answer, invoked, returned, after=after)
        else:
            self._note(call, answer, invoked, returned)

    async def _observe(self, call, send):
        """Makes a call of a server that is not known to be down; returns answer and instants."""
        door = self.random.choice([door for door in self.doors if door.is_open])
        invoked = time.monotonic_ns()
        try:
            answer = await send(door, call)
        except grpc.aio.AioRpcError as error:
            answer = _refusal(error)
        return answer, invoked, time.monotonic_ns()

    def _note(self, call, answer, *instants, after=None):
        late = instants[1] - self.began > _LEASE_NS
        operation = Operation(replace(call, is_late=late), answer, *instants, after=after)
        self.history.append(operation)

    def _addressed(self, call):
        return {
            "workflow_id": self.workflow_id,
            "run_id": call.run_id,
            "request_id": call.request_id,
        }

    def _tag(self):
        self.tags += 1
        return str(self.tags)

    def _some_run(self):
        """The latest run, mostly; or one that somebody was told of."""
        if self.run_ids and self.random.random() < 0.2:
            return self.random.choice(self.run_ids)
        return ""

    def _note_run(self, run_id):
        if run_id not in self.run_ids:
            self.run_ids.append(run_id)


def _refusal(error):
    """Returns a refusal as the model tells it; a fault of the server fails the test."""
    if error.code() in _UNKNOWN:
        return UNKNOWN
    for key, value in error.trailing_metadata() or ():
        if key == _DETAILS:
            info = ErrorInfo()
            assert Status.FromString(value).details[0].Unpack(info)
            return "refused", info.reason
    raise error


def _name(status):
    return workflow_pb2.WorkflowStatus.Name(status).removeprefix("WORKFLOW_STATUS_")


def _event(event):
    kind = event.WhichOneof("event")
    if kind == "signal_received":
        return f"{kind} {event.signal_received.signal_name}"
    return kind
