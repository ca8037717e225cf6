"""Owns a simulated worker process: the SDK's own session, cache and machines, without threads.

Workflow code runs inline, a moment after it is asked for; activities run on the one loop.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from random import Random
from typing import Any, cast

from perdure._activity import Activity
from perdure._activity_execution import Surroundings
from perdure._activity_runner import ActivityRunner
from perdure._link import Link
from perdure._workflow import Workflow
from perdure._workflow_runner import WorkflowRunner
from perdure._workflow_thread import Job
from perdure.converter import Converter
from perdure.v1.worker_service_pb2 import (
    CachedRun,
    GetWorkflowTaskHistoryRequest,
    GetWorkflowTaskHistoryResponse,
    TaskReport,
    WorkHello,
    WorkSlots,
)
from perdure.v1.workflow_service_pb2 import (
    GetWorkflowHistoryRequest,
    GetWorkflowHistoryResponse,
)
from tests.support.sim_network import Network, SimTransport
from tests.support.virtual_loop import pause

_TIME_LIMIT_S = 10.0


class InlineRunner(WorkflowRunner):
    """The SDK's runner of workflow tasks, whose thread is the loop itself."""

    def _start_thread(self) -> None:
        thread = _InlineThread(self._hand_over)
        # Both are all that the runner knows of threads: where work goes, and what runs now.
        self._queue = cast("Any", thread)
        self._thread = cast("Any", thread)


class _InlineThread:
    """Takes work like a queue and does it like a thread, in order, a moment later."""

    def __init__(self, hand_over: Callable[[Job, TaskReport | None], None]) -> None:
        self.job: Job | None = None
        self._hand_over = hand_over
        self._work: deque[Job | Callable[[], None]] = deque()

    def put(self, work: Job | Callable[[], None] | None) -> None:
        """Takes work; None, which ends a thread, means nothing here."""
        if work is not None:
            self._work.append(work)
            asyncio.get_running_loop().call_later(0.0005, self._do)

    def _do(self) -> None:
        work = self._work.popleft()
        if isinstance(work, Job):
            self._hand_over(work, work.run())
        else:
            work()


class SimWorker:
    """A worker that can crash and return. `session` names its session, another after each crash."""

    def __init__(
        self,
        name: str,
        network: Network,
        random: Random,
        *,
        workflows: Iterable[Workflow[Any, Any]],
        activities: Iterable[Activity[Any, Any]],
    ) -> None:
        self.name = name
        self._transport = SimTransport(network)
        self._random = random
        self._workflows = {workflow.name: workflow for workflow in workflows}
        self._activities = {activity.name: activity for activity in activities}
        self._slots = WorkSlots(
            workflow_tasks=random.choice([1, 4, 100]), activity_tasks=random.choice([1, 3, 100])
        )
        self._cached_runs_max = random.choice([1, 3, 1000])
        self.drains = False
        """Whether it wants no more tasks."""
        self._lives = 0
        self._link: Link | None = None

    @property
    def runs(self) -> bool:
        """Whether the process lives."""
        return self._link is not None

    def cached_runs(self) -> Iterable[CachedRun]:
        """Names the runs in its cache."""
        return self._runner.cached_runs()

    async def start(self, *, same_session: bool = False) -> None:
        """Starts the process, with a new session or, empty-handed, with that of its last life."""
        self.drains = False
        if not same_session:
            self._lives += 1
        converter = Converter()
        self._runner = InlineRunner(
            self._workflows,
            converter,
            fetch_history=self._fetch_history,
            read_history=self._read_history,
            cached_runs_max=self._cached_runs_max,
            time_limit_s=_TIME_LIMIT_S,
        )
        self._activity_runner = ActivityRunner(
            self._activities,
            Surroundings(converter=converter),
            user_loop=asyncio.get_running_loop(),
            threads_max=1,
        )
        hello = WorkHello(
            session_id=f"{self.name}-{self._lives}",
            identity=self.name,
            task_queue="default",
            workflow_types=sorted(self._workflows),
            activity_types=sorted(self._activities),
            slots=self._slots,
        )
        self._link = Link(
            self._transport, hello, workflows=self._runner, activities=self._activity_runner
        )
        self._runner.start(self._link)
        self._activity_runner.start(self._link)
        self._link.open()

    async def crash(self) -> None:
        """Ends the process at once: nothing of what it did since is reported."""
        if self._link is None:
            return
        link, self._link = self._link, None
        await link.close()
        self._activity_runner.stop()
        self._runner.stop()

    async def drain(self, *, patience_s: float) -> None:
        """Finishes what it has, for so long, and ends."""
        if self._link is None:
            return
        link = self._link
        self.drains = True
        link.drain()
        end = asyncio.get_running_loop().time() + patience_s
        while asyncio.get_running_loop().time() < end and self._link is link:
            if link.drained and self._runner.idle and self._activity_runner.idle:
                break
            await pause(0.1)
        if self._link is link:
            await self.crash()

    async def _fetch_history(
        self, request: GetWorkflowTaskHistoryRequest
    ) -> GetWorkflowTaskHistoryResponse:
        answer = await self._transport.call("WorkerService/GetWorkflowTaskHistory", request)
        return cast("GetWorkflowTaskHistoryResponse", answer)

    async def _read_history(self, request: GetWorkflowHistoryRequest) -> GetWorkflowHistoryResponse:
        answer = await self._transport.call("WorkflowService/GetWorkflowHistory", request)
        return cast("GetWorkflowHistoryResponse", answer)
