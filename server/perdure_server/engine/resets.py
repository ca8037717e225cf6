"""Owns the use cases that begin a workflow again behind an event: reset and retry.

The history is read before the decision. An open run may have grown meanwhile, or closed; then it is
all done again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from google.protobuf.message import Message

from perdure.v1 import workflow_service_pb2 as pb
from perdure_server.core import limits
from perdure_server.core.changeset import Changeset
from perdure_server.core.draft import Draft
from perdure_server.core.errors import (
    CannotReset,
    RequestRecorded,
    StaleVersion,
    WorkflowAlreadyExists,
    WorkflowClosed,
    WorkflowNotFailed,
)
from perdure_server.core.frames import parse_frame
from perdure_server.core.model import EventRow, Run
from perdure_server.core.reset import Reset, reset_of, reset_open, reset_run, retry_of
from perdure_server.engine.histories import history_pages
from perdure_server.engine.ports import Clock
from perdure_server.engine.records import status_of
from perdure_server.engine.requests import (
    RequestKey,
    contended,
    in_namespace,
    missing,
    number_key,
    recorded_answer,
    request_key,
)
from perdure_server.engine.runs import Runs
from perdure_server.engine.stimuli import answer_as, stimulus_of
from perdure_server.store.contract import Store

M = TypeVar("M", bound=Message)
Plan = Callable[[Run, Sequence[EventRow]], Reset]


@dataclass(slots=True, frozen=True)
class _Wanted:
    """A request: how its wish follows from a run, and how it is answered."""

    request: Any
    key: RequestKey | None
    plan: Plan
    answer: Callable[[Run, Reset], Message]


class Resets:
    """Begins workflows again."""

    def __init__(self, store: Store, runs: Runs, *, clock: Clock) -> None:
        self._store = store
        self._runs = runs
        self._clock = clock

    async def reset(self, request: pb.ResetWorkflowRequest) -> pb.ResetWorkflowResponse:
        """Begins a run behind any event of another.

        Raises WorkflowNotFound, InvalidRequest, CannotReset and RequestIdReused.
        """
        wanted = _Wanted(
            in_namespace(request),
            request_key("ResetWorkflow", request),
            lambda _run, _rows: reset_of(request),
            lambda run, _reset: pb.ResetWorkflowResponse(
                workflow_id=run.workflow_id, run_id=run.run_id, status=status_of(run.status)
            ),
        )
        return await self._serve(wanted, pb.ResetWorkflowResponse)

    async def retry(self, request: pb.RetryFailedActivityRequest) -> pb.RetryFailedActivityResponse:
        """Begins a run before the failure of the activity that failed last.

        Raises WorkflowNotFound, WorkflowNotFailed, CannotReset and RequestIdReused.
        """
        wanted = _Wanted(
            in_namespace(request),
            request_key("RetryFailedActivity", request),
            lambda run, rows: retry_of(request, run, rows),
            lambda run, reset: pb.RetryFailedActivityResponse(
                workflow_id=run.workflow_id,
                run_id=run.run_id,
                status=status_of(run.status),
                activity_seq=reset.activity_seq,
            ),
        )
        return await self._serve(wanted, pb.RetryFailedActivityResponse)

    async def _serve(self, wanted: _Wanted, kind: type[M]) -> M:
        for _ in range(limits.STALE_RETRIES_MAX):
            recorded = await self._recorded(wanted, kind)
            if recorded is not None:
                return recorded
            try:
                answer: M = answer_as(kind, await self._attempt(wanted))
            except (StaleVersion, RequestRecorded, WorkflowAlreadyExists, WorkflowClosed):
                continue
            except (CannotReset, WorkflowNotFailed):
                # What is in the way may be what the same request has just made at another server.
                recorded = await self._recorded(wanted, kind)
                if recorded is None:
                    raise
                return recorded
            return answer
        raise contended(wanted.request)

    async def _recorded(self, wanted: _Wanted, kind: type[M]) -> M | None:
        """Returns what the request was answered before, or None."""
        if wanted.key is None:
            return None
        recorded = await recorded_answer(self._store, wanted.key)
        return None if recorded is None else kind.FromString(recorded)

    async def _attempt(self, wanted: _Wanted) -> Any:
        request = wanted.request
        latest = await self._run(request, None)
        run = await self._run(request, request.run_id) if request.run_id else latest
        if run.run_id != latest.run_id and not latest.status.is_closed:
            raise CannotReset(
                f"run {latest.run_id} of workflow {run.workflow_id} came later and is open; end it"
                " first, or reset that one"
            )
        rows = [row async for page in history_pages(self._store, run.run_id) for row in page]
        # Children belong to the run with the greatest id, also where the clock of a server is late.
        reset, new = wanted.plan(run, rows), self._runs.next_run(max(run.run_id, latest.run_id))
        numbers = _numbers_taken(run, rows[: reset.event_seq], new.run_id)
        if run.status.is_closed:
            draft = reset_run(
                run,
                rows,
                reset,
                new=new,
                generation=latest.generation + 1,
                now_us=self._clock.now_us(),
            )
            future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
            stimulus = stimulus_of(
                future, lambda created, _now_us: wanted.answer(created.run, reset), wanted.key
            )
            taken = [number.record(None, self._clock.now_us()) for number in numbers]
            self._runs.create(draft, stimulus, Changeset(requests=taken))
            return await future

        def decision(draft: Draft, now_us: int) -> Message:
            opened = reset_open(draft, rows, reset, new=new, now_us=now_us)
            return wanted.answer(opened.run, reset)

        return await self._runs.ask(run.run_id, decision, wanted.key, once=numbers)

    async def _run(self, request: Any, run_id: str | None) -> Run:
        """Returns a run of the workflow; the latest with None. Raises WorkflowNotFound."""
        found = await self._store.find_run(request.namespace, request.workflow_id, run_id)
        summary = None if found is None else await self._store.summarize_run(found)
        if summary is None:
            raise missing(request)
        return summary.run


def _numbers_taken(run: Run, rows: Sequence[EventRow], run_id: str) -> list[RequestKey]:
    """Returns the numbers of activities from outside that a new run takes over with events."""
    seqs = (
        parse_frame(row.frame).activity_scheduled.activity_seq
        for row in rows
        if row.kind == "activity_scheduled"
    )
    return [number_key(run.namespace, run.workflow_id, run_id, seq=-seq) for seq in seqs if seq < 0]
