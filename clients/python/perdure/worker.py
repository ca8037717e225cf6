"""Owns the worker: it takes the tasks of one queue and reports what became of them.

Three places run its parts: the connection and all bookkeeping on the client's home loop, workflow
code on a thread of its own, activities on the loop on which the worker was entered or in threads.
User code cannot stop the heartbeats.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, fields
from datetime import timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, NoReturn, Self, TypeAlias, TypedDict, Unpack, cast
from uuid import uuid4

from perdure._activity import Activity
from perdure._activity_execution import Surroundings
from perdure._activity_runner import ActivityRunner
from perdure._connection import CALL_TIMEOUT_S, Connection
from perdure._definition import registry
from perdure._inject import missing
from perdure._link import Link
from perdure._options import require_types
from perdure._replay.steps import LocalStep
from perdure._step_runner import StepSurroundings
from perdure._times import require_span
from perdure._workflow import AnyWorkflow, Workflow, workflow_of
from perdure._workflow_runner import WorkflowRunner, WorkflowSurroundings
from perdure.errors import RpcError
from perdure.interceptors import ActivityInterceptor, Interceptor, WorkflowInterceptor, of_kind
from perdure.v1.failure_pb2 import Failure
from perdure.v1.worker_service_pb2 import (
    GetWorkflowTaskHistoryRequest,
    GetWorkflowTaskHistoryResponse,
    WorkHello,
    WorkSlots,
)
from perdure.v1.workflow_service_pb2 import GetWorkflowHistoryRequest, GetWorkflowHistoryResponse

if TYPE_CHECKING:
    from perdure.client import Client

_FLUSH_S: Final = 2.0
"""How long the last reports of a worker wait for their answers."""
_LOOK_S: Final = 0.02
_STOPS: Final = (signal.SIGINT, signal.SIGTERM)


Lifespan: TypeAlias = Callable[[], AbstractAsyncContextManager[Any]]
"""A context manager around the life of a worker; what it gives is `Worker.state`."""


class WorkerSettings(TypedDict, total=False):
    """What a worker may be told beside its work; the defaults stand in `WorkerOptions`."""

    max_workflow_tasks: int
    max_activities: int
    max_cached_runs: int
    workflow_task_timeout: timedelta
    drain_timeout: timedelta
    identity: str
    interceptors: Sequence[Interceptor]
    lifespan: Lifespan


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """A worker before it is connected: what it runs, and how much at once.

    Attributes:
        task_queue: The queue whose tasks it takes.
        workflows: The workflow types it runs.
        activities: The activity types it runs.
        max_workflow_tasks: How many workflow tasks it holds at once; they run one after another.
        max_activities: How many activities it runs at once.
        max_cached_runs: How many runs it keeps in memory between two tasks.
        workflow_task_timeout: How long workflow code may compute without waiting for anything.
        drain_timeout: How long it waits for running work when it leaves.
        identity: What people call it.
        interceptors: What stands around workflow and activity code, inside of the client's.
        lifespan: Makes what activities `inject()`; is entered before the worker begins and left
            when it has ended.
    """

    task_queue: str
    workflows: Sequence[AnyWorkflow] = ()
    activities: Sequence[Activity[..., Any]] = ()
    max_workflow_tasks: int = 256
    max_activities: int = 100
    max_cached_runs: int = 1000
    workflow_task_timeout: timedelta = timedelta(seconds=10)
    drain_timeout: timedelta = timedelta(seconds=10)
    identity: str = ""
    interceptors: Sequence[Interceptor] = ()
    lifespan: Lifespan | None = None

    def __post_init__(self) -> None:
        """Raises TypeError for a value of a wrong type, ValueError for a negative count."""
        require_types({"task_queue": self.task_queue, "identity": self.identity})
        for name in ("workflows", "activities", "interceptors"):
            if not isinstance(getattr(self, name), Sequence):
                raise TypeError(f"{name} is a list, got {getattr(self, name)!r}")
        for name in ("max_workflow_tasks", "max_activities", "max_cached_runs"):
            count = getattr(self, name)
            require_types({name: count})
            if count < 0:
                raise ValueError(f"{name} must not be negative, got {count}")
        require_span("workflow_task_timeout", self.workflow_task_timeout)
        require_span("drain_timeout", self.drain_timeout)

    def hello(self, namespace: str) -> WorkHello:
        """Makes the introduction of a new worker session."""
        return WorkHello(
            session_id=uuid4().hex,
            identity=self.identity or f"{os.getpid()}@{socket.gethostname()}",
            namespace=namespace,
            task_queue=self.task_queue,
            workflow_types=sorted(registry(self.workflows, Workflow)),
            activity_types=sorted(registry(self.activities, Activity)),
            slots=WorkSlots(
                workflow_tasks=self.max_workflow_tasks if self.workflows else 0,
                activity_tasks=self.max_activities if self.activities else 0,
            ),
            answers_queries=bool(self.workflows),
        )


def queues_of(
    workflows: Sequence[AnyWorkflow], activities: Sequence[Activity[..., Any]]
) -> set[str]:
    """The task queues that definitions name."""
    named = {workflow_of(workflow).task_queue for workflow in workflows}
    named.update(activity.task_queue for activity in activities)
    return {queue for queue in named if queue}


class Worker:
    """Works while it is entered: `async with Worker(client, "shop", [checkout], [charge])`.

    Leaving it asks for no more tasks, waits for the running ones and tells their ends. `await
    worker.run()` does the same until it is cancelled, `await worker.serve()` until the process is
    told to end. A server that is away is waited for; when it
    refuses the worker's API key, the block is cancelled and UnauthenticatedError leaves it.

    Attributes:
        state: What the lifespan gave; None without one.
        steps_wait: Whether a step that failed waits before it is tried again; tests do not.
        step_stand_in: Gives what is run in place of a step, in tests.
    """

    def __init__(
        self,
        client: Client,
        task_queue: str,
        workflows: Sequence[AnyWorkflow] = (),
        activities: Sequence[Activity[..., Any]] = (),
        **settings: Unpack[WorkerSettings],
    ) -> None:
        self.state: Any = None
        self.steps_wait = True
        self.step_stand_in: Callable[[LocalStep], Callable[..., Any] | None] | None = None
        self._life = contextlib.AsyncExitStack()
        self._connection: Final = client.connection
        self._options: Final = WorkerOptions(task_queue, workflows, activities, **settings)
        # Made here, so that what cannot be registered is found where the worker is written.
        self._hello: Final = self._options.hello(self._connection.namespace)
        self._refused: RpcError | None = None
        self._block: asyncio.Task[Any] | None = None
        """The task to cancel when the worker is refused, while it is inside the block."""
        self._cancelled_before = 0
        self._interrupted = False
        for workflow in registry(workflows, Workflow).values():
            workflow.warn_of_forbidden_calls()
            self._connection.task_queues.setdefault(workflow.name, set()).add(task_queue)

    @classmethod
    def of(cls, client: Client, options: WorkerOptions) -> Self:
        """Makes a worker of options that were written before there was a client."""
        return cls(
            client,
            **{
                field.name: value
                for field in fields(options)
                if (value := getattr(options, field.name)) is not None
            },
        )

    def __repr__(self) -> str:
        return f"<worker of task queue {self._options.task_queue!r}>"

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()

        def refused(error: RpcError) -> None:
            # On the home loop. A user loop that is closed has nobody left to tell.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(self._refuse, error)

        await self._begin_life()
        surroundings = self._surroundings(loop)
        shift = Shift.begin(
            self._connection, self._options, self._hello, surroundings, on_refused=refused
        )
        try:
            self.shift = await self._connection.home.run(shift)
        except BaseException:
            await self._life.aclose()
            raise
        task = asyncio.current_task()
        assert task is not None
        self._block, self._cancelled_before = task, task.cancelling()
        if self._refused is not None:
            self._refuse(self._refused)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        task, self._block = self._block, None
        others = 0
        if self._interrupted and task is not None:
            others = task.uncancel() - self._cancelled_before
        try:
            await self._connection.home.run(self.shift.end())
        finally:
            await self._life.aclose()
        by_us = self._interrupted and isinstance(error, asyncio.CancelledError) and others <= 0
        if self._refused is not None and (error is None or by_us):
            raise self._refused from None

    async def _begin_life(self) -> None:
        if self._options.lifespan is None:
            self._check_state()
            return
        self.state = await self._life.enter_async_context(self._options.lifespan())
        try:
            self._check_state()
        except BaseException:
            await self._life.aclose()
            raise

    def _check_state(self) -> None:
        for activity in self._options.activities:
            if absent := missing(self.state, activity.signature.needs.values()):
                raise TypeError(
                    f"activity {activity.name} needs {absent[0]!r}, which the lifespan of the "
                    "worker does not give"
                )

    def _surroundings(
        self, loop: asyncio.AbstractEventLoop
    ) -> tuple[WorkflowSurroundings, Surroundings]:
        codecs, converter = self._connection.codecs, self._connection.converter
        interceptors = [*self._connection.interceptors, *self._options.interceptors]
        around_activities = of_kind(interceptors, ActivityInterceptor)
        return (
            WorkflowSurroundings(
                user_loop=loop,
                codecs=codecs,
                interceptors=of_kind(interceptors, WorkflowInterceptor),
                steps=StepSurroundings(
                    threads_max=self._options.max_activities,
                    waits=self.steps_wait,
                    interceptors=around_activities,
                    stand_in=self.step_stand_in,
                ),
            ),
            Surroundings(
                converter=converter,
                codecs=codecs,
                interceptors=around_activities,
                state=self.state,
            ),
        )

    def _refuse(self, error: RpcError) -> None:
        self._refused = error
        if self._block is not None:
            self._interrupted = self._block.cancel()

    async def run(self) -> NoReturn:
        """Works until it is cancelled, then leaves as described above."""
        async with self:
            await asyncio.get_running_loop().create_future()
        raise AssertionError("unreachable: the future is never set")

    async def serve(self) -> None:
        """Works until the process is told to end, by SIGINT or SIGTERM, then leaves as described.

        A second signal cuts the leaving short: what still runs is given back. For the main thread.
        """
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None
        told = asyncio.Event()
        hurried = False

        def tell() -> None:
            nonlocal hurried
            if told.is_set():
                hurried = task.cancel() or hurried
            told.set()

        for number in _STOPS:
            loop.add_signal_handler(number, tell)
        try:
            async with self:
                await told.wait()
        except asyncio.CancelledError:
            if not hurried or task.uncancel():
                raise
        finally:
            for number in _STOPS:
                loop.remove_signal_handler(number)


class Shift:
    """A worker's parts between entering and leaving; lives on the home loop."""

    def __init__(
        self, link: Link, workflows: WorkflowRunner, activities: ActivityRunner, *, drain_s: float
    ) -> None:
        self._link = link
        self._workflows = workflows
        self._activities = activities
        self._drain_s = drain_s

    @classmethod
    async def begin(
        cls,
        connection: Connection,
        options: WorkerOptions,
        hello: WorkHello,
        around: tuple[WorkflowSurroundings, Surroundings],
        *,
        on_refused: Callable[[RpcError], object],
    ) -> Self:
        """Builds the parts and connects; tells when the server refuses the worker for good."""

        async def fetch_history(
            request: GetWorkflowTaskHistoryRequest,
        ) -> GetWorkflowTaskHistoryResponse:
            method = "WorkerService/GetWorkflowTaskHistory"
            answer = await connection.transport.call(method, request, timeout_s=CALL_TIMEOUT_S)
            return cast("GetWorkflowTaskHistoryResponse", answer)

        async def read_history(request: GetWorkflowHistoryRequest) -> GetWorkflowHistoryResponse:
            method = "WorkflowService/GetWorkflowHistory"
            answer = await connection.transport.call(method, request, timeout_s=CALL_TIMEOUT_S)
            return cast("GetWorkflowHistoryResponse", answer)

        around_workflows, around_activities = around
        workflows = WorkflowRunner(
            registry(options.workflows, Workflow),
            connection.converter,
            around=around_workflows,
            fetch_history=fetch_history,
            read_history=read_history,
            cached_runs_max=options.max_cached_runs,
            time_limit_s=options.workflow_task_timeout.total_seconds(),
        )
        activities = ActivityRunner(
            registry(options.activities, Activity),
            around_activities,
            user_loop=around_workflows.user_loop,
            threads_max=options.max_activities,
        )
        link = Link(connection.transport, hello, workflows=workflows, activities=activities)
        workflows.start(link)
        activities.start(link)
        link.open(on_refused)
        return cls(link, workflows, activities, drain_s=options.drain_timeout.total_seconds())

    @property
    def idle(self) -> bool:
        """Whether no task is in work and every report was answered."""
        return self._workflows.idle and self._activities.idle and self._link.settled

    @property
    def task_failure(self) -> Failure | None:
        """Why the last workflow task that failed did so; None when none did."""
        return self._link.task_failure

    def forget_runs(self) -> None:
        """Empties the cache of runs, as a new process would find it."""
        for cached in self._workflows.cached_runs():
            self._workflows.drop_runs((cached.run_id,))

    async def end(self) -> None:
        """Finishes what is in work, stops what takes too long, and disconnects."""
        try:
            self._link.drain()
            self._workflows.kept.leave()
            await self._wait(self._drain_s)
            self._activities.stop()
            await self._wait(_FLUSH_S)
        finally:
            # Also when the one who leaves is in a hurry and cancels the wait.
            self._activities.stop()
            self._workflows.stop()
            await self._link.close()

    def _may_leave(self) -> bool:
        if self._link.refused is not None:
            return True
        # A server that is away and is owed nothing need not come back for us.
        return self.idle and (self._link.drained or self._link.away)

    async def _wait(self, seconds: float) -> None:
        # Looking again is simpler than an event in three classes, and happens while leaving only.
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + seconds
        while loop.time() < ends_at and not self._may_leave():  # noqa: ASYNC110
            await asyncio.sleep(_LOOK_S)
