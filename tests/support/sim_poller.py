"""Owns a simulated worker of the simplest kind: it polls for one task at a time, over unary calls.

It keeps nothing between two tasks: a workflow task is answered from its whole history.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from random import Random
from typing import Any, cast

from perdure._replay.machine import Machine
from perdure._workflow import Workflow
from perdure.converter import Converter
from perdure.errors import RpcError, StaleTaskError
from perdure.v1.payload_pb2 import Payload
from perdure.v1.task_pb2 import ActivityTask, WorkflowTask
from perdure.v1.worker_service_pb2 import (
    CompleteActivityRequest,
    CompleteWorkflowTaskRequest,
    HeartbeatActivityRequest,
    PollActivityTaskRequest,
    PollActivityTaskResponse,
    PollWorkflowTaskRequest,
    PollWorkflowTaskResponse,
)
from tests.support.sim_client import is_repeatable
from tests.support.sim_network import Network, SimTransport
from tests.support.virtual_loop import pause

_TIMEOUT_S = 20.0
_WAIT_S = 5
_TRIES_MAX = 5


class SimPoller:
    """A worker on a queue of its own. It forgets a task now and then, as if it had crashed."""

    def __init__(
        self,
        network: Network,
        random: Random,
        *,
        queue: str,
        workflows: Iterable[Workflow[Any, Any]],
        is_reliable: Callable[[], bool],
    ) -> None:
        self._transport = SimTransport(network)
        self._random = random
        self._queue = queue
        self._workflows = {workflow.name: workflow for workflow in workflows}
        self._is_reliable = is_reliable

    async def run_workflows(self) -> None:
        """Polls for workflow tasks until cancelled."""
        request = PollWorkflowTaskRequest(task_queue=self._queue, worker_id="poller")
        request.wait.FromSeconds(_WAIT_S)
        while True:
            answer = await self._ask("PollWorkflowTask", request)
            if isinstance(answer, PollWorkflowTaskResponse) and answer.HasField("task"):
                await self._run_workflow(answer.task)

    async def run_activities(self) -> None:
        """Polls for activity tasks until cancelled."""
        request = PollActivityTaskRequest(task_queue=self._queue, worker_id="poller")
        request.wait.FromSeconds(_WAIT_S)
        while True:
            answer = await self._ask("PollActivityTask", request)
            if isinstance(answer, PollActivityTaskResponse) and answer.HasField("task"):
                await self._run_activity(answer.task)

    async def _run_workflow(self, task: WorkflowTask) -> None:
        if self._forgets():
            return
        assert task.history.events[0].seq == 1, "a poll carries the whole history"
        machine = Machine(
            self._workflows[task.workflow_type],
            namespace=task.namespace,
            workflow_id=task.workflow_id,
            run_id=task.run_id,
            task_queue=task.task_queue,
            converter=Converter(),
        )
        try:
            commands = machine.run_task(task.history.events)
        finally:
            machine.close()
        request = CompleteWorkflowTaskRequest(task_token=task.task_token, commands=commands)
        await self._ask("CompleteWorkflowTask", request)

    async def _run_activity(self, task: ActivityTask) -> None:
        if self._forgets():
            return
        for _ in range(self._random.randrange(3)):
            await pause(self._random.random())
            beat = HeartbeatActivityRequest(task_token=task.task_token)
            await self._ask("HeartbeatActivity", beat)
        request = CompleteActivityRequest(
            task_token=task.task_token, result=Payload(data=str(task.attempt).encode())
        )
        await self._ask("CompleteActivity", request)

    def _forgets(self) -> bool:
        return not self._is_reliable() and self._random.random() < 0.1

    async def _ask(self, method: str, request: object) -> object:
        """Calls a few times; None when the task is lost or there was no answer."""
        for _ in range(_TRIES_MAX):
            try:
                return await self._transport.call(
                    f"WorkerService/{method}", cast("Any", request), timeout_s=_TIMEOUT_S
                )
            except StaleTaskError:
                return None
            except RpcError as error:
                if not is_repeatable(error):
                    raise
            await pause(self._random.random())
        return None
