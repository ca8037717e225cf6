"""Owns starting workflows: first as if the id were free, and only if it is not, by its policies."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

from perdure.v1.workflow_service_pb2 import StartWorkflowRequest, StartWorkflowResponse
from perdure_server.core import decide, limits
from perdure_server.core.draft import Draft
from perdure_server.core.errors import (
    RequestRecorded,
    RunContended,
    WorkflowAlreadyExists,
    WorkflowClosed,
    WorkflowNotFound,
)
from perdure_server.core.model import Run
from perdure_server.core.start import TakenId
from perdure_server.engine.background import Background
from perdure_server.engine.ports import Clock, Ids
from perdure_server.engine.records import status_of
from perdure_server.engine.requests import RequestKey, recorded_answer, request_key
from perdure_server.engine.runs import Runs
from perdure_server.engine.stimuli import Stimulus
from perdure_server.store.contract import Store

Resolve = Callable[[Any], None]
Reject = Callable[[Exception], None]

_RPC = "StartWorkflow"


class Starts:
    """Starts workflows for every door."""

    def __init__(
        self, store: Store, runs: Runs, *, clock: Clock, ids: Ids, background: Background
    ) -> None:
        self._store = store
        self._runs = runs
        self._clock = clock
        self._ids = ids
        self._background = background

    def begin(self, request: StartWorkflowRequest, resolve: Resolve, reject: Reject) -> None:
        """Starts a workflow; `resolve` gets a StartWorkflowResponse once the run is durable.

        The answer to a request that was answered before comes encoded: its run may be closed.
        `request` is checked. Without a workflow id it gets one, made from its request id if it has
        one, so that a repetition means the same workflow.
        """
        request = decide.normalize_start(request)
        if not request.workflow_id:
            request.workflow_id = self._workflow_id(request)
        key = request_key(_RPC, request)

        def refused(error: Exception) -> None:
            if isinstance(error, WorkflowAlreadyExists | RequestRecorded):
                job = self._negotiate(request, key, resolve, reject)
                self._background.spawn(job, f"start {request.workflow_id}")
            else:
                reject(error)

        draft = self._new_run(request, 1)
        stimulus = Stimulus(lambda created, _now: _started(created.run), resolve, refused, key)
        self._runs.create(draft, stimulus)

    def _workflow_id(self, request: StartWorkflowRequest) -> str:
        if not request.request_id:
            return self._ids.workflow_id()
        seed = f"{request.namespace}\0{request.request_id}".encode()
        return "wf-" + hashlib.blake2b(seed, digest_size=16).hexdigest()

    def _new_run(self, request: StartWorkflowRequest, generation: int) -> Draft:
        return decide.decide_start(
            request,
            new=self._runs.next_run(),
            generation=generation,
            now_us=self._clock.now_us(),
        )

    async def _negotiate(
        self,
        request: StartWorkflowRequest,
        key: RequestKey | None,
        resolve: Resolve,
        reject: Reject,
    ) -> None:
        """Starts a workflow whose id is taken.

        A race with others is run again, a bounded number of times.
        """
        try:
            resolve(await self._settle(request, key))
        except Exception as error:  # noqa: BLE001 - every outcome belongs to the caller
            reject(error)

    async def _settle(
        self, request: StartWorkflowRequest, key: RequestKey | None
    ) -> StartWorkflowResponse | bytes:
        for _ in range(limits.STALE_RETRIES_MAX):
            if key is not None:
                answer = await recorded_answer(self._store, key)
                if answer is not None:
                    return answer
            try:
                return await self._attempt(request, key)
            except (_Raced, RequestRecorded, WorkflowNotFound, WorkflowClosed):
                continue
        raise RunContended(f"workflow {request.workflow_id!r} is started too often now; try again")

    async def _attempt(
        self, request: StartWorkflowRequest, key: RequestKey | None
    ) -> StartWorkflowResponse | bytes:
        run_id = await self._store.find_run(request.namespace, request.workflow_id, None)
        if run_id is None:
            return await self._create_once(request, key, 1)
        summary = await self._store.summarize_run(run_id)
        if summary is None:
            raise _Raced
        try:
            taken = decide.decide_taken_id(request, summary.run)
        except WorkflowAlreadyExists as error:
            await self._make_sure(request, key, run_id, error)
            raise
        match taken:
            case TakenId.START_NEXT:
                return await self._create_once(request, key, summary.run.generation + 1)
            case TakenId.USE_EXISTING:
                return await self._ask(run_id, lambda d, _now: _existing(d), key)
            case TakenId.TERMINATE_EXISTING:
                return await self._ask(run_id, lambda d, now: self._replace(d, request, now), key)

    async def _make_sure(
        self,
        request: StartWorkflowRequest,
        key: RequestKey | None,
        run_id: str,
        refusal: WorkflowAlreadyExists,
    ) -> None:
        """Raises _Raced when a refusal by the run that was the latest may not hold.

        The run may have closed in the commit that began the next, or be what this very request,
        sent before, has started meanwhile.
        """
        latest = await self._store.find_run(request.namespace, request.workflow_id, None)
        if latest != run_id:
            raise _Raced from refusal
        if key is not None and await recorded_answer(self._store, key) is not None:
            raise _Raced from refusal

    async def _ask(
        self, run_id: str, decision: Callable[[Draft, int], Any], key: RequestKey | None
    ) -> StartWorkflowResponse | bytes:
        answer: StartWorkflowResponse | bytes = await self._runs.ask(run_id, decision, key)
        return answer

    def _replace(
        self, draft: Draft, request: StartWorkflowRequest, now_us: int
    ) -> StartWorkflowResponse:
        new = self._runs.next_run()
        return _started(decide.decide_replacement(draft, request, new=new, now_us=now_us).run)

    async def _create_once(
        self, request: StartWorkflowRequest, key: RequestKey | None, generation: int
    ) -> StartWorkflowResponse | bytes:
        draft = self._new_run(request, generation)
        try:
            answer: StartWorkflowResponse | bytes = await self._runs.create_and_wait(
                draft, lambda created, _now: _started(created.run), key
            )
        except WorkflowAlreadyExists as error:
            raise _Raced from error
        return answer


class _Raced(Exception):
    """Another start or an ending came first; look again."""


def _started(run: Run) -> StartWorkflowResponse:
    return StartWorkflowResponse(
        workflow_id=run.workflow_id,
        run_id=run.run_id,
        status=status_of(run.status),
        started=True,
    )


def _existing(draft: Draft) -> StartWorkflowResponse:
    if draft.run.status.is_closed:
        raise WorkflowClosed("the run closed meanwhile")
    response = _started(draft.run)
    response.started = False
    return response
