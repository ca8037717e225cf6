"""Owns simulated clients: they repeat what was not answered, and remember what was promised."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final

from google.protobuf.message import Message

from perdure._session import Session
from perdure.errors import RpcError
from perdure.v1.watch_service_pb2 import WatchRequest, WatchResponse
from perdure.v1.worker_service_pb2 import TaskReport
from perdure.v1.workflow_service_pb2 import SessionCall
from tests.support.sim_network import Network, SimTransport
from tests.support.virtual_loop import pause

_PATIENCE_S = 1e9
_REPEATABLE: Final = frozenset(
    {"STORE_BUSY", "STORE_UNAVAILABLE", "RUN_CONTENDED", "SHUTTING_DOWN"}
)
KINDS: Final = {
    "start": "WorkflowService/StartWorkflow",
    "signal": "WorkflowService/SignalWorkflow",
    "cancel": "WorkflowService/CancelWorkflow",
    "terminate": "WorkflowService/TerminateWorkflow",
    "activity": "WorkflowService/ScheduleActivity",
    "result": "WorkflowService/GetWorkflowResult",
    "signal_with_start": "WorkflowService/SignalWithStart",
    "update": "WorkflowService/UpdateWorkflow",
    "update_with_start": "WorkflowService/UpdateWithStart",
    "pause": "WorkflowService/PauseWorkflow",
    "unpause": "WorkflowService/UnpauseWorkflow",
    "continue": "WorkflowService/ContinueAsNew",
    "reset": "WorkflowService/ResetWorkflow",
    "retry": "WorkflowService/RetryFailedActivity",
    "pause_activity": "WorkflowService/PauseActivity",
    "unpause_activity": "WorkflowService/UnpauseActivity",
    "reset_activity": "WorkflowService/ResetActivity",
    "activity_options": "WorkflowService/UpdateActivityOptions",
    "create_schedule": "ScheduleService/CreateSchedule",
    "pause_schedule": "ScheduleService/PauseSchedule",
    "resume_schedule": "ScheduleService/ResumeSchedule",
    "trigger_schedule": "ScheduleService/TriggerSchedule",
    "delete_schedule": "ScheduleService/DeleteSchedule",
}
"""The RPC of each kind of call."""
_BY_SESSION: Final = frozenset({"start", "signal", "cancel", "result"})


@dataclass(slots=True)
class Promises:
    """What the server has answered, and so must hold."""

    answered: list[tuple[str, Message, Message]] = field(default_factory=list)
    """Kind of the call, request and answer."""
    refused: list[tuple[str, Message, str]] = field(default_factory=list)
    """Kind of the call, request and the reason of the refusal."""
    accepted: list[TaskReport] = field(default_factory=list)
    watched: list[WatchResponse] = field(default_factory=list)


class SimClient:
    """A process that calls the server, over a session or one call at a time."""

    def __init__(
        self, network: Network, random: Random, promises: Promises, *, by_session: bool
    ) -> None:
        self._transport = SimTransport(network)
        self._random = random
        self._promises = promises
        self._session = Session(self._transport, patience_s=_PATIENCE_S) if by_session else None
        self._call_id = 0

    async def close(self) -> None:
        """Leaves."""
        if self._session is not None:
            await self._session.close()

    async def ask(self, kind: str, request: Any) -> Any:
        """Calls until there is an answer. Raises an `RpcError` that repeating does not help."""
        while True:
            try:
                answer = await self._ask_once(kind, request)
            except RpcError as error:
                if not is_repeatable(error):
                    self._promises.refused.append((kind, request, error.reason))
                    raise
                await pause(self._random.random())
                continue
            self._promises.answered.append((kind, request, answer))
            return answer

    async def _ask_once(self, kind: str, request: Any) -> Message:
        if self._session is None or kind not in _BY_SESSION:
            return await self._transport.call(KINDS[kind], request, timeout_s=20.0)
        self._call_id += 1
        future: asyncio.Future[Message] = asyncio.get_running_loop().create_future()

        def done(reply: Message | RpcError) -> None:
            if future.done():
                return
            if isinstance(reply, RpcError):
                future.set_exception(reply)
            else:
                future.set_result(reply)

        call = SessionCall(**{kind: request})
        self._session.begin(self._call_id, call, done)
        return await future


class SimWatcher:
    """Follows all events, and resumes after the last one whenever it is cut off."""

    def __init__(self, network: Network, promises: Promises) -> None:
        self._transport = SimTransport(network)
        self._promises = promises
        self._cursor = ""

    async def run(self) -> None:
        """Watches until cancelled."""
        while True:
            try:
                await self._follow()
            except RpcError as error:
                if not is_repeatable(error):
                    raise
            await pause(0.5)

    async def _follow(self) -> None:
        async for answer in self._transport.stream("WatchService/Watch", self._ask()):
            assert isinstance(answer, WatchResponse)
            self._cursor = answer.cursor
            if answer.HasField("event") and not self._repeats(answer):
                self._promises.watched.append(answer)

    def _repeats(self, answer: WatchResponse) -> bool:
        """Whether a message is one of the last again: who resumes may hear notices once more."""
        last = [(told.cursor, told.run_id, told.kind) for told in self._promises.watched[-2:]]
        return (answer.cursor, answer.run_id, answer.kind) in last

    async def _ask(self) -> Any:
        yield WatchRequest(after=self._cursor)
        await asyncio.get_running_loop().create_future()


def is_repeatable(error: RpcError) -> bool:
    """Whether the same call may succeed later."""
    return error.reason in _REPEATABLE or error.code in {"UNAVAILABLE", "DEADLINE_EXCEEDED"}
