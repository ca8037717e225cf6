"""Owns starting workflows: first as if the id were free, and only if it is not, by its policies."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import Message

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


@dataclass(slots=True, frozen=True)
class Beginning:
    """A start with what is to happen to the run in the same commit, new or open.

    `also` does that and returns the number of its event; `answer` makes the response of a run, of
    whether it was started, and of that number.
    """

    rpc: str
    content: Message
    """The whole request: repeated with other content, its request id is refused."""
    also: Callable[[Draft, int], int]
    answer: Callable[[Run, bool, int], Message]


@dataclass(slots=True, frozen=True)
class _Start:
    """A start under way. `request` is checked and normal, and has a workflow id."""

    request: StartWorkflowRequest
    key: RequestKey | None
    beginning: Beginning


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

    def begin(
        self,
        request: StartWorkflowRequest,
        resolve: Resolve,
        reject: Reject,
        beginning: Beginning | None = None,
    ) -> None:
        """Starts a workflow; `resolve` gets a StartWorkflowResponse once the run is durable.

        The answer to a request that was answered before comes encoded: its run may be closed.
        `request` is checked. Without a workflow id it gets one, made from its request id if it has
        one, so that a repetition means the same workflow. With a `beginning`, its answer is given.
        """
        request = decide.normalize_start(request)
        if not request.workflow_id:
            request.workflow_id = self._workflow_id(request)
        if beginning is None:
            beginning = Beginning(_RPC, request, _nothing_else, _started)
        key = request_key(beginning.rpc, request, content=beginning.content)
        start = _Start(request, key, beginning)

        def refused(error: Exception) -> None:
            if isinstance(error, WorkflowAlreadyExists | RequestRecorded):
                job = self._negotiate(start, resolve, reject)
                self._background.spawn(job, f"start {request.workflow_id}")
            else:
                reject(error)

        draft, seq = self._new_run(start, 1)
        stimulus = Stimulus(
            lambda created, _now: beginning.answer(created.run, True, seq),
            resolve,
            refused,
            key,
        )
        self._runs.create(draft, stimulus)

    def _workflow_id(self, request: StartWorkflowRequest) -> str:
        if not request.request_id:
            return self._ids.workflow_id()
        seed = f"{request.namespace}\0{request.request_id}".encode()
        return "wf-" + hashlib.blake2b(seed, digest_size=16).hexdigest()

    def _new_run(self, start: _Start, generation: int) -> tuple[Draft, int]:
        now_us = self._clock.now_us()
        draft = decide.decide_start(
            start.request,
            new=self._runs.next_run(),
            generation=generation,
            now_us=now_us,
        )
        return draft, start.beginning.also(draft, now_us)

    async def _negotiate(self, start: _Start, resolve: Resolve, reject: Reject) -> None:
        """Starts a workflow whose id is taken.

        A race with others is run again, a bounded number of times.
        """
        try:
            resolve(await self._settle(start))
        except Exception as error:  # noqa: BLE001 - every outcome belongs to the caller
            reject(error)

    async def _settle(self, start: _Start) -> Message | bytes:
        for _ in range(limits.STALE_RETRIES_MAX):
            if start.key is not None:
                answer = await recorded_answer(self._store, start.key)
                if answer is not None:
                    return answer
            try:
                return await self._attempt(start)
            except (_Raced, RequestRecorded, WorkflowNotFound, WorkflowClosed):
                continue
        workflow_id = start.request.workflow_id
        raise RunContended(f"workflow {workflow_id!r} is started too often now; try again")

    async def _attempt(self, start: _Start) -> Message | bytes:
        request = start.request
        run_id = await self._store.find_run(request.namespace, request.workflow_id, None)
        if run_id is None:
            return await self._create_once(start, 1)
        summary = await self._store.summarize_run(run_id)
        if summary is None:
            raise _Raced
        try:
            taken = decide.decide_taken_id(request, summary.run)
        except WorkflowAlreadyExists as error:
            await self._make_sure(start, run_id, error)
            raise
        match taken:
            case TakenId.START_NEXT:
                return await self._create_once(start, summary.run.generation + 1)
            case TakenId.USE_EXISTING:
                return await self._ask(run_id, lambda d, now: _existing(d, start, now), start)
            case TakenId.TERMINATE_EXISTING:
                return await self._ask(run_id, lambda d, now: self._replace(d, start, now), start)

    async def _make_sure(self, start: _Start, run_id: str, refusal: WorkflowAlreadyExists) -> None:
        """Raises _Raced when a refusal by the run that was the latest may not hold.

        The run may have closed in the commit that began the next, or be what this very request,
        sent before, has started meanwhile.
        """
        request = start.request
        latest = await self._store.find_run(request.namespace, request.workflow_id, None)
        if latest != run_id:
            raise _Raced from refusal
        if start.key is not None and await recorded_answer(self._store, start.key) is not None:
            raise _Raced from refusal

    async def _ask(
        self, run_id: str, decision: Callable[[Draft, int], Any], start: _Start
    ) -> Message | bytes:
        answer: Message | bytes = await self._runs.ask(run_id, decision, start.key)
        return answer

    def _replace(self, draft: Draft, start: _Start, now_us: int) -> Message:
        new, beginning = self._runs.next_run(), start.beginning
        following, seq = decide.decide_replacement(
            draft, start.request, new=new, also=beginning.also, now_us=now_us
        )
        return beginning.answer(following.run, True, seq)

    async def _create_once(self, start: _Start, generation: int) -> Message | bytes:
        draft, seq = self._new_run(start, generation)
        try:
            answer: Message | bytes = await self._runs.create_and_wait(
                draft,
                lambda created, _now: start.beginning.answer(created.run, True, seq),
                start.key,
            )
        except WorkflowAlreadyExists as error:
            raise _Raced from error
        return answer


class _Raced(Exception):
    """Another start or an ending came first; look again."""


def _started(run: Run, started: bool, _seq: int) -> StartWorkflowResponse:
    return StartWorkflowResponse(
        workflow_id=run.workflow_id,
        run_id=run.run_id,
        status=status_of(run.status),
        started=started,
    )


def _nothing_else(_draft: Draft, _now_us: int) -> int:
    return 0


def _existing(draft: Draft, start: _Start, now_us: int) -> Message:
    if draft.run.status.is_closed:
        raise WorkflowClosed("the run closed meanwhile")
    seq = start.beginning.also(draft, now_us)
    return start.beginning.answer(draft.run, False, seq)
