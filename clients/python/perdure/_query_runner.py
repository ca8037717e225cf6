"""Owns the queries that a worker answers: from a cached run when that has seen enough, else by
playing the history.

Lives on the home loop; the code is asked on the thread that runs all workflow code. One history is
held at a time.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Final, Protocol, TypeAlias, TypeVar

from perdure._failures import to_failure
from perdure._replay.machine import Machine
from perdure._workflow_thread import QueryJob
from perdure.codec import Codecs
from perdure.converter import Converter
from perdure.errors import ApplicationError, RpcError
from perdure.v1.history_pb2 import HistoryEvent
from perdure.v1.interaction_pb2 import QueryOutcome
from perdure.v1.task_pb2 import QueryTask
from perdure.v1.worker_service_pb2 import QueryAnswer
from perdure.v1.workflow_service_pb2 import GetWorkflowHistoryRequest, GetWorkflowHistoryResponse

_PAGE: Final = 1_000
"""Events read at once; the server bounds their bytes."""
_log = logging.getLogger("perdure.worker")

T = TypeVar("T")
ReadHistory: TypeAlias = Callable[
    [GetWorkflowHistoryRequest], Awaitable[GetWorkflowHistoryResponse]
]


class Runs(Protocol):
    """What the runner of workflow tasks has that queries need."""

    @property
    def codecs(self) -> Codecs:
        """What stands between payloads and the wire."""

    @property
    def converter(self) -> Converter:
        """What makes values of payloads."""

    def cached(self, run_id: str) -> Machine | None:
        """The run in memory; None when it is not there."""

    def new_machine(self, task: QueryTask) -> Machine | None:
        """A run that has applied nothing; None for a workflow type that the worker has not."""

    def queue(self, job: QueryJob) -> None:
        """Has the thread do a job; `QueryRunner.finished` follows."""

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Does something beside, until the worker ends."""

    async def on_user_loop(self, code: Coroutine[Any, Any, T]) -> T:
        """Runs code of users where it belongs."""


class QueryRunner:
    """Answers queries through `tell`."""

    def __init__(
        self, runs: Runs, read_history: ReadHistory, tell: Callable[[QueryAnswer], None]
    ) -> None:
        self._runs = runs
        self._read_history = read_history
        self._tell = tell
        self._replaying = asyncio.Lock()
        self._left: dict[QueryJob, asyncio.Future[None]] = {}

    def take(self, tasks: Sequence[QueryTask]) -> None:
        """Begins queries."""
        for task in tasks:
            machine = self._runs.cached(task.run_id) if task.current_seq else None
            if machine is None or self._runs.codecs:
                self._runs.spawn(self._answer(task, machine))
            else:
                self._runs.queue(QueryJob(task, machine, self._runs.converter))

    def finished(self, job: QueryJob, outcome: QueryOutcome | None) -> None:
        """Takes what the thread says of a job; no outcome: the run has not seen enough."""
        left = self._left.get(job)
        if left is not None:
            job.outcome = outcome
            left.set_result(None)
        elif outcome is None:
            self._runs.spawn(self._answer(job.task, None))
        else:
            self._tell(QueryAnswer(query_id=job.task.query_id, outcome=outcome))

    async def _answer(self, task: QueryTask, machine: Machine | None) -> None:
        try:
            outcome = await self._outcome(task, machine)
        except RpcError as error:
            # Another worker may be luckier; without an outcome the query goes to one.
            _log.warning("a query could not be answered: %s", error)
            outcome = None
        except Exception as error:  # noqa: BLE001  # a codec of the author may raise anything
            outcome = QueryOutcome(failure=to_failure(error, self._runs.converter))
        self._tell(QueryAnswer(query_id=task.query_id, outcome=outcome))

    async def _outcome(self, task: QueryTask, machine: Machine | None) -> QueryOutcome | None:
        codecs = self._runs.codecs
        if codecs:
            await self._runs.on_user_loop(codecs.decode(task))
        outcome = None
        if machine is not None:
            outcome = await self._do(QueryJob(task, machine, self._runs.converter))
        if outcome is None:
            outcome = await self._replayed(task)
        if codecs and outcome is not None:
            outcome = await self._runs.on_user_loop(codecs.encoded(outcome))
        return outcome

    async def _replayed(self, task: QueryTask) -> QueryOutcome | None:
        async with self._replaying:
            machine = self._runs.new_machine(task)
            if machine is None:
                raise ApplicationError(
                    f"the worker has no workflow named {task.workflow_type!r}",
                    type="UnknownWorkflow",
                )
            events = await self._history(task)
            job = QueryJob(task, machine, self._runs.converter, events=events)
            return await self._do(job)

    async def _do(self, job: QueryJob) -> QueryOutcome | None:
        """Has the thread do a job and waits for it."""
        done = self._left[job] = asyncio.get_running_loop().create_future()
        try:
            self._runs.queue(job)
            await done
        finally:
            del self._left[job]
        return job.outcome

    async def _history(self, task: QueryTask) -> list[HistoryEvent]:
        events: list[HistoryEvent] = []
        request = GetWorkflowHistoryRequest(
            namespace=task.namespace,
            workflow_id=task.workflow_id,
            run_id=task.run_id,
            page_size=_PAGE,
        )
        while True:
            page = await self._read_history(request)
            events.extend(page.history.events)
            request.page_token = page.next_page_token
            if not request.page_token:
                break
        if self._runs.codecs:
            await self._runs.on_user_loop(self._decode(events))
        return events

    async def _decode(self, events: Sequence[HistoryEvent]) -> None:
        for event in events:
            await self._runs.codecs.decode(event)
