"""Owns queries: asking the code of a run something that changes nothing.

A query is answered by a worker, which plays the history when it does not have the run in memory at
its end. It sees what was recorded before the call: the run is looked at after the call has come.
"""

from __future__ import annotations

import asyncio

from perdure.v1.interaction_pb2 import (
    QueryMode,
    QueryOutcome,
    QueryWorkflowRequest,
    QueryWorkflowResponse,
)
from perdure.v1.task_pb2 import QueryTask
from perdure_server.core import limits
from perdure_server.core.errors import DomainError, LimitExceeded, NoWorker, StoreUnavailable
from perdure_server.core.query import question, value_of
from perdure_server.core.times import from_duration
from perdure_server.engine.asks import state_now
from perdure_server.engine.errands import Errands
from perdure_server.engine.questions import Questions, lane_of
from perdure_server.engine.requests import in_namespace, missing
from perdure_server.engine.runs import Runs
from perdure_server.engine.snapshots import read_value
from perdure_server.store.contract import Store


class Queries:
    """The use case of queries."""

    def __init__(
        self, store: Store, runs: Runs, questions: Questions, *, errands: Errands | None
    ) -> None:
        self._store = store
        self._runs = runs
        self._questions = questions
        self._errands = errands
        self._under_way = 0
        self._bytes = 0

    @property
    def under_way(self) -> int:
        """How many queries have no answer yet."""
        return self._under_way

    def close(self, error: DomainError) -> None:
        """Refuses the queries that have no answer yet."""
        self._questions.end(error)

    async def query(self, request: QueryWorkflowRequest) -> QueryWorkflowResponse:
        """Returns what the code answers, within `request.wait`.

        Raises WorkflowNotFound, QueryFailed, NoWorker, SnapshotNotFound, LimitExceeded and
        StoreUnavailable.
        """
        in_namespace(request)
        run_id = await self._find(request)
        if request.mode == QueryMode.QUERY_MODE_SNAPSHOT:
            found = await read_value(self._store, run_id, request.query_name)
            return QueryWorkflowResponse(
                run_id=run_id, event_seq=found.event_seq, value=found.value
            )
        size = request.ByteSize()
        if self._under_way >= limits.QUERIES_MAX or self._bytes + size > limits.QUERIES_BYTES_MAX:
            raise LimitExceeded(
                f"{self._under_way} queries with {self._bytes} bytes wait for answers; the bounds "
                f"are {limits.QUERIES_MAX} and {limits.QUERIES_BYTES_MAX}"
            )
        self._under_way += 1
        self._bytes += size
        try:
            return await self._ask(request, run_id)
        finally:
            self._under_way -= 1
            self._bytes -= size

    async def _ask(self, request: QueryWorkflowRequest, run_id: str) -> QueryWorkflowResponse:
        wait_us = from_duration(request.wait) if request.HasField("wait") else limits.QUERY_WAIT_US
        task = await self._task(request, run_id)
        asked: set[str] = set()
        try:
            async with asyncio.timeout(wait_us / 1e6):
                outcome = await self._outcome(task, asked)
        except TimeoutError:
            is_there = bool(asked) or self._questions.can_ask(lane_of(task))
            raise _nobody(task, wait_us, is_there=is_there) from None
        return QueryWorkflowResponse(
            run_id=run_id, event_seq=outcome.event_seq, value=value_of(outcome)
        )

    async def _outcome(self, task: QueryTask, asked: set[str]) -> QueryOutcome:
        """Returns the first answer: of a worker here, or while there is none, of one elsewhere."""
        if self._errands is None:
            return await self._questions.ask(task)
        here = asyncio.create_task(self._questions.ask(task), name="ask here")
        there = asyncio.create_task(self._errands.ask(task, asked), name="ask elsewhere")
        try:
            await asyncio.wait([here, there], return_when=asyncio.FIRST_COMPLETED)
            return here.result() if here.done() else there.result()
        finally:
            here.cancel()
            there.cancel()
            await asyncio.gather(here, there, return_exceptions=True)

    async def _find(self, request: QueryWorkflowRequest) -> str:
        """Returns the run that a request means: by its run id, else the latest."""
        runs, names = self._runs, (request.namespace, request.workflow_id)
        known = request.run_id or runs.latest(*names)
        if known and not runs.are_shared and runs.is_open(known, *names):
            return known
        run_id = await self._store.find_run(*names, request.run_id or None)
        if run_id is None:
            raise missing(request)
        return run_id

    async def _task(self, request: QueryWorkflowRequest, run_id: str) -> QueryTask:
        """Returns the question, with the run as it is now."""
        try:
            # Not a part of the wait, which is for workers and may be none at all.
            async with asyncio.timeout(limits.QUERY_WAIT_US / 1e6):
                state = await state_now(self._runs, run_id)
        except TimeoutError:
            raise StoreUnavailable("the run could not be read in time; try again") from None
        if state is None:
            raise missing(request)
        return question(request, state.run)


def _nobody(task: QueryTask, wait_us: int, *, is_there: bool) -> NoWorker:
    who = (
        f"workflow type {task.workflow_type!r} on task queue {task.task_queue!r} of namespace "
        f"{task.namespace!r}"
    )
    if is_there:
        return NoWorker(f"no worker for {who} has answered within {wait_us / 1e6:g} s")
    return NoWorker(
        f"no worker that answers queries is connected for {who}; waited {wait_us / 1e6:g} s"
    )
