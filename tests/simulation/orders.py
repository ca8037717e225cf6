"""What the clients of a world want: they start workflows, and tell and ask them this and that."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from random import Random

from perdure.errors import WorkflowAlreadyExistsError, WorkflowClosedError, WorkflowNotFoundError
from perdure.v1.payload_pb2 import Payload
from perdure.v1.retry_policy_pb2 import RetryPolicy
from perdure.v1.workflow_pb2 import ConflictPolicy, ReusePolicy
from perdure.v1.workflow_service_pb2 import (
    CancelWorkflowRequest,
    GetWorkflowResultRequest,
    ScheduleActivityRequest,
    SignalWithStartRequest,
    SignalWorkflowRequest,
    StartWorkflowRequest,
    TerminateWorkflowRequest,
)
from tests.simulation.accounts import Accountant
from tests.simulation.operators import Operator
from tests.simulation.plan import Plan
from tests.support.model_contents import Contents
from tests.support.sim_client import SimClient
from tests.support.virtual_loop import pause

_SIZES = {
    "sequence": (1, 6),
    "fan_out": (1, 8),
    "inbox": (1, 4),
    "saga": (1, 1),
    "stubborn": (0, 2),
    "kinds": (1, 1),
    "mix": (1, 4),
    "by_polls": (1, 3),
}
_WIDE_SIZES = {"family": (1, 3), "nudged": (1, 3), "Account": (1, 3), "medley": (1, 4)}


class Orders:
    """The orders of a world. In a `wide` one they are of every kind, and operators meddle."""

    def __init__(
        self,
        seed: int,
        plan: Plan,
        clients: Sequence[SimClient],
        contents: Contents,
        *,
        wide: bool,
    ) -> None:
        self._seed = seed
        self._plan = plan
        self._clients = clients
        self._contents = contents
        self._wide = wide
        self._kinds = [*_SIZES, "mix", "mix"]
        if wide:
            self._kinds += [*_WIDE_SIZES, "medley", "medley", "Account"]

    async def place(self, number: int) -> None:
        """Starts a workflow some time, and does to it what its client wants."""
        random = Random(f"{self._seed}/order{number}")
        client = random.choice(self._clients)
        await pause(random.uniform(0, self._plan.faulty_s))
        request = self._start_request(random, number)
        async with asyncio.TaskGroup() as group:
            if random.random() < 0.2:
                group.create_task(self._twin(random, request))
            outside = Random(f"{self._seed}/outside{number}")
            if outside.random() < 0.3:
                group.create_task(self._schedule_outside(outside, request.workflow_id))
            if self._wide:
                self._meddle(group, number, request)
            run_id = await self._begin(random, client, request)
            if run_id is None:
                return
            group.create_task(self._talk(random, client, request.workflow_id))
            if random.random() < 0.5:
                group.create_task(self.await_result(client, request.workflow_id, run_id))

    async def start(self, client: SimClient, request: StartWorkflowRequest) -> str | None:
        """Starts a workflow and returns its run; None when the workflow id is taken."""
        try:
            answer = await client.ask("start", request)
        except WorkflowAlreadyExistsError:
            return None
        return self._known(answer.run_id)

    async def await_result(self, client: SimClient, workflow_id: str, run_id: str) -> None:
        """Waits for the end of a workflow."""
        request = GetWorkflowResultRequest(workflow_id=workflow_id, run_id=run_id)
        request.wait.FromSeconds(10)
        while not (await client.ask("result", request)).closed:
            await pause(0.1)

    def _meddle(self, group: asyncio.TaskGroup, number: int, request: StartWorkflowRequest) -> None:
        random = Random(f"{self._seed}/operator{number}")
        operator = Operator(random, self._clients, self._contents, request.workflow_id)
        group.create_task(operator.work(), name=f"operator {number}")
        if request.workflow_type == "Account":
            random = Random(f"{self._seed}/accountant{number}")
            accountant = Accountant(random, self._clients, self._contents, request)
            group.create_task(accountant.work(), name=f"accountant {number}")

    async def _begin(
        self, random: Random, client: SimClient, request: StartWorkflowRequest
    ) -> str | None:
        if not self._wide or random.random() < 0.7:
            return await self.start(client, request)
        joint = SignalWithStartRequest(
            start=request, signal_name="note", payload=Payload(data=b"-1")
        )
        try:
            answer = await client.ask("signal_with_start", joint)
        except WorkflowAlreadyExistsError:
            return None
        return self._known(answer.run_id)

    def _known(self, run_id: str) -> str:
        assert run_id in self._contents.runs, "a start was answered and is not on disk"
        return run_id

    async def _twin(self, random: Random, request: StartWorkflowRequest) -> None:
        """Starts the same workflow id again, as the same request or as another."""
        twin = StartWorkflowRequest()
        twin.CopyFrom(request)
        await pause(random.uniform(0, 3))
        if random.random() < 0.6:
            twin.request_id += "-twin"
            twin.conflict_policy = random.choice(ConflictPolicy.values())
            twin.reuse_policy = random.choice(ReusePolicy.values())
        await self.start(random.choice(self._clients), twin)

    def _start_request(self, random: Random, number: int) -> StartWorkflowRequest:
        kind = random.choice(self._kinds)
        sizes = _SIZES | _WIDE_SIZES
        request = StartWorkflowRequest(
            workflow_id=f"order-{number}",
            workflow_type=kind,
            input=Payload(data=str(random.randint(*sizes[kind])).encode()),
            request_id=f"start-{number}",
            task_queue="polled" if kind == "by_polls" else "",
        )
        if kind == "stubborn" or random.random() < 0.2:
            request.retry_policy.CopyFrom(RetryPolicy(max_attempts=3))
            request.retry_policy.initial_interval.FromMilliseconds(500)
        if random.random() < 0.1:
            request.run_timeout.FromSeconds(random.randint(1, 10))
        if random.random() < 0.1:
            request.execution_timeout.FromSeconds(random.randint(1, 20))
        if random.random() < 0.1:
            request.start_delay.FromMilliseconds(random.randint(1, 3000))
        return request

    async def _talk(self, random: Random, client: SimClient, workflow_id: str) -> None:
        for number in range(random.randrange(6)):
            await pause(random.uniform(0, 1.5))
            signal = SignalWorkflowRequest(
                workflow_id=workflow_id,
                signal_name="note",
                payload=Payload(data=str(number).encode()),
                request_id=f"signal-{number}",
            )
            await self._tell(client, "signal", signal)
        if random.random() < 0.25:
            await pause(random.uniform(0, 3))
            cancel = CancelWorkflowRequest(workflow_id=workflow_id, request_id="cancel")
            if random.random() < 0.3:
                cancel.deadline.FromSeconds(random.randint(0, 3))
            await self._tell(client, "cancel", cancel)
        if random.random() < 0.1:
            await pause(random.uniform(0, 3))
            terminate = TerminateWorkflowRequest(workflow_id=workflow_id, request_id="terminate")
            await self._tell(client, "terminate", terminate)

    async def _schedule_outside(self, random: Random, workflow_id: str) -> None:
        """Schedules activities of a workflow that may not be there yet, or no longer."""
        for _ in range(random.randrange(1, 5)):
            await pause(random.uniform(0, 3))
            seq = random.randrange(1, 5)
            request = ScheduleActivityRequest(
                workflow_id=workflow_id,
                seq=seq,
                name=["step", "flaky"][seq % 2],
                input=Payload(data=str(seq % 3).encode()),
                request_id=random.choice(["", f"activity-{seq}"]),
            )
            request.options.retry_policy.initial_interval.FromMilliseconds(200)
            await self._tell(random.choice(self._clients), "activity", request)

    async def _tell(self, client: SimClient, kind: str, request: object) -> None:
        with suppress(WorkflowClosedError, WorkflowNotFoundError):
            await client.ask(kind, request)
